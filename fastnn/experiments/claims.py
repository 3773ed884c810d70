"""Claims of the original report, their corrections, and the evidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastnn.experiments.jobs import n_seeds
from fastnn.experiments.result import Result, vector
from fastnn.experiments.trouble import failure

# Number of test images of MNIST, and the accuracies of two single runs that the original ranked.
TEST_IMAGES = 10_000
ORIGINAL_RELU, ORIGINAL_TANH = 0.9867, 0.9846


@dataclass(frozen=True)
class Claim:
    """A row of the table of claims.

    Attributes
    ----------
    original, holds : str
        The claim, and the corrected statement.
    evidence : str
        Numbers from this run, or the names of the experiments that would provide them.
    shown : bool
        Whether the evidence is available.
    """

    original: str
    holds: str
    evidence: str
    shown: bool


def single_run_noise() -> dict[str, float]:
    """Standard deviation of one test accuracy, and of the difference of two, for MNIST.

    Only the random choice of the test images is taken into account (binomial distribution).
    """
    p = 0.5 * (ORIGINAL_RELU + ORIGINAL_TANH)
    deviation = math.sqrt(p * (1 - p) / TEST_IMAGES)
    return {
        "accuracy": p,
        "sd_of_one": deviation,
        "sd_of_difference": math.sqrt(2) * deviation,
        "interval_95": 1.96 * math.sqrt(2) * deviation,
        "original_difference": ORIGINAL_RELU - ORIGINAL_TANH,
    }


def claims(results: dict[str, Result]) -> list[Claim]:
    """The table of claims, with evidence from the experiments that were run.

    Parameters
    ----------
    results : dict of Result by name

    Returns
    -------
    list of Claim
    """
    rows = []
    for original, holds, needs, evidence in _ROWS:
        missing = [name for name in needs if name not in results]
        if missing:
            text = f"Not in this run: it needs {' and '.join(missing)}."
        else:
            text = evidence(*(results[name].data for name in needs))
        rows.append(Claim(original, holds, text, not missing))
    return rows


def _relu_slope(gradients: dict[str, Any]) -> str:
    relu = gradients["activations"]["relu"]
    slopes = {float(z): float(slope) for z, slope in zip(relu["z"], relu["slope"], strict=True)}
    return (
        f"The kernel's slope is {slopes[-1.0]:g} at z = -1, {slopes[0.0]:g} at 0 and "
        f"{slopes[1.0]:g} at 1. max(0, 1) is 1 everywhere, also at -1."
    )


def _slips(gradients: dict[str, Any]) -> str:
    tanh, sigmoid = gradients["activations"]["tanh"], gradients["activations"]["sigmoid"]
    return (
        "Largest error against the complex step on [-3, 3]: tanh, the correct line "
        f"{tanh['correct_line_error']:.0e}, without the denominator "
        f"{tanh['denominator_lost_error']:.2g}; sigmoid, the correct line "
        f"{sigmoid['correct_line_error']:.0e}, with the minus "
        f"{sigmoid['stray_minus_error']:.2g}, with the product "
        f"{sigmoid['product_for_difference_error']:.2g}."
    )


def _jacobian(gradients: dict[str, Any]) -> str:
    softmax = gradients["softmax"]
    return (
        f"diag(p) - p p^T meets the complex step to {softmax['jacobian_error']:.0e}. Logits "
        f"(1, 2, 3), target 0: the full Jacobian gives {vector(softmax['gradient_full'])}, the "
        f"diagonal {vector(softmax['gradient_diagonal_only'])}."
    )


def _last_losses(activations: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """Last step of the loss table, and the losses there as text (two values if it oscillates)."""
    table = activations["activations"]
    step = max(next(iter(table.values()))["losses_after_steps"])
    texts = {}
    for name, record in table.items():
        low, high = sorted(
            (record["losses_after_steps"][step], record["losses_a_step_before"][step])
        )
        swings = high - low > 2e-4
        texts[name] = (
            f"{low:.4f} and {high:.4f} in turn"
            if swings
            else f"{record['losses_after_steps'][step]:.4f}"
        )
    return step, texts


def _sigmoid(activations: dict[str, Any]) -> str:
    step, losses = _last_losses(activations)
    table = activations["activations"]
    return (
        f"Loss after {step:,} steps: "
        + ", ".join(f"{name} {loss}" for name, loss in losses.items())
        + ". Held-out accuracy: "
        + ", ".join(f"{name} {table[name]['held_out_accuracy']['mean']:.4f}" for name in losses)
        + ". The boundary is in the figure."
    )


def _overflow(numerics: dict[str, Any]) -> str:
    rows = numerics["failures"]

    def at(name: str) -> str:
        return " and ".join(
            f"{failure(rows, name, kind)['from']:.2f}" for kind in ("float32", "float64")
        )

    failed = [row for row in numerics["training"] if row["naive_step"]]
    return (
        f"In float32 and float64, exp overflows from {at('exp')}, the naive tanh gives NaN from "
        f"{at('tanh')}, the unshifted softmax from {at('softmax')}. {len(failed)} of "
        f"{len(numerics['training'])} trainings with the naive formulas end in NaN; with the "
        "forms used here none does."
    )


def _ranking(activations: dict[str, Any]) -> str:
    step, losses = _last_losses(activations)
    return (
        f"Loss after {step:,} steps: "
        + ", ".join(f"{name} {losses[name]}" for name in ("tanh", "relu") if name in losses)
        + f". Differences in held-out accuracy over {n_seeds(activations['seeds'])} (± standard "
        "error): "
        + ", ".join(
            f"{pair} {record['mean']:+.4f} ± {record['se']:.4f}"
            for pair, record in activations["held_out_differences"].items()
        )
        + "."
    )


def _names(hidden: dict[str, Any], layers: dict[str, Any]) -> str:
    units = hidden["units"]
    five = units.get(5) or units[min(units)]
    count = 5 if 5 in units else min(units)
    deep = next(iter(layers["same_width"].values()))
    depth = 5 if 5 in deep else max(deep)
    return (
        f"One layer of {count} units has {five['parameters']} parameters; {depth} layers of "
        f"{layers['width']} units have {deep[depth]['parameters']}. They are different networks "
        "with different sections here."
    )


def _more_units(hidden: dict[str, Any]) -> str:
    units = hidden["units"]
    best, last = hidden["least_held_out_loss"], max(units)
    return (
        f"From {best} to {last} units the training loss goes from "
        f"{units[best]['train_loss']['mean']:.4f} to {units[last]['train_loss']['mean']:.4f}, the "
        f"held-out loss from {units[best]['held_out_loss']['mean']:.4f} to "
        f"{units[last]['held_out_loss']['mean']:.4f}. Held-out accuracy stops rising at "
        f"{hidden['highest_held_out_accuracy']} units."
    )


def _rings(circles: dict[str, Any]) -> str:
    parts = []
    for record in circles["settings"]:
        few = record[f"samples_{circles['samples']}"]
        parts.append(
            f"Factor {record['factor']:g}, noise {record['noise']:g}: best possible "
            f"{record['best_accuracy']:.3f}, held out "
            + ", ".join(f"{name} {few[name]['held_out_accuracy']['mean']:.3f}" for name in few)
            + "."
        )
    return " ".join(parts)


def _cnn() -> str:
    noise = single_run_noise()
    return (
        f"At an accuracy of {noise['accuracy']:.4f} on {TEST_IMAGES:,} images one accuracy has a "
        f"standard deviation of {noise['sd_of_one']:.4f}; two of them differ by up to "
        f"{noise['interval_95']:.4f} in 95 of 100 cases by chance. The original's runs, "
        f"{ORIGINAL_RELU} and {ORIGINAL_TANH}, differ by {noise['original_difference']:.4f}."
    )


# Claim, correction, required experiments, and the function that derives evidence from their data.
_ROWS: tuple[tuple[str, str, tuple[str, ...], Callable[..., str]], ...] = (
    (
        "The derivative of ReLU is max(0, 1), and 1 at zero.",
        "1 for z > 0, 0 for z < 0. At 0 there is none; 0 is used.",
        ("gradient_check",),
        _relu_slope,
    ),
    (
        "The middle step of the tanh derivative loses (e^z + e^-z)^2; the sigmoid derivation has "
        "a stray minus and a product for a difference.",
        "The correct lines are in docs/derivations.md.",
        ("gradient_check",),
        _slips,
    ),
    (
        "Softmax is differentiated as elementwise p(1 - p).",
        "The Jacobian is full; the diagonal alone gives wrong classes no gradient.",
        ("gradient_check",),
        _jacobian,
    ),
    (
        'Sigmoid: "decision boundary practically non-existent".',
        "It is close to tanh's: loss 0.0782 against 0.0708.",
        ("activations",),
        _sigmoid,
    ),
    (
        "NaN because a value exceeds max(int32), memory.",
        "Floating-point overflow of exp (above 709.8 in float64, 88.7 in float32), then inf/inf; "
        "cured by stable forms.",
        ("numerics",),
        _overflow,
    ),
    (
        'The relu boundary is "almost linear"; ranking by eye.',
        "It is piecewise linear, loss 0.0712, about tanh's; ranking only with seeds and held-out "
        "data.",
        ("activations",),
        _ranking,
    ),
    (
        '"5 hidden layers", "15 hidden layers".',
        "Hidden units, in one layer.",
        ("hidden_units", "layers"),
        _names,
    ),
    (
        "More units are always more accurate.",
        "On the training data only; on held-out data it soon stops.",
        ("hidden_units",),
        _more_units,
    ),
    (
        'make_circles is "random", tanh and relu "unable".',
        "Two concentric rings. With overlapping noise nobody can exceed 0.689; separable rings "
        "are learned by all three.",
        ("circles",),
        _rings,
    ),
    (
        "CNN accuracies of single runs are compared.",
        "Differences below about 0.003 are noise at 10,000 test images; it takes several seeds.",
        (),
        _cnn,
    ),
)
