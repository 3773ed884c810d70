"""Tanh, sigmoid and relu in a 2-3-2 network on the two moons."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.experiments import jobs, style
from fastnn.experiments.jobs import Run, Tick
from fastnn.experiments.moons import best_moons_accuracy
from fastnn.experiments.result import Picture, Result, Table, means_table, summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Losses of the reference program for a 2-3-2 network with seed 0, after these numbers of steps.
REFERENCE_STEPS = (1, 1001, 19001)
REFERENCE_LOSSES = {
    "tanh": (0.432387, 0.068947, 0.070758),
    "sigmoid": (0.628571, 0.088431, 0.078155),
    "relu": (0.560274, 0.072179, 0.071219),
}

Numbers = dict[str, dict[str, Any]]


def activations(
    *,
    activations: Sequence[str] = jobs.ACTIVATIONS,
    seeds: int = 6,
    epochs: int = jobs.EPOCHS,
    backend: str = "auto",
    tick: Tick | None = None,
) -> Result:
    """Compare tanh, sigmoid and relu in a 2-3-2 network on the two moons.

    Parameters
    ----------
    activations : sequence of str
        Names of the activations to compare.
    seeds : int
        Number of runs per activation; a seed determines the weights and the training data.
    epochs : int
        Steps of full-batch gradient descent.
    backend : str
        Name of the backend.
    tick : callable, optional
        Called with the fraction of the work that is done.

    Returns
    -------
    Result

    Examples
    --------
    >>> from fastnn import experiments
    >>> result = experiments.activations(activations=("tanh",), seeds=1, epochs=20)
    >>> result.pictures[0].name
    'activations_boundaries'
    """
    held_out = jobs.moons(jobs.HELD_OUT_SEED, jobs.HELD_OUT)

    def one(job: tuple[str, int]) -> Run:
        name, seed = job
        network = jobs.make_network([2, 3, 2], activation=name, seed=seed, backend=backend)
        return jobs.train_and_measure(network, jobs.moons(seed), held_out, epochs=epochs)

    runs = jobs.by_case(one, product(activations, range(seeds)), tick)
    table = {name: _numbers(name, [runs[name, s] for s in range(seeds)]) for name in activations}
    differences = {
        f"{a} - {b}": summary(
            np.subtract(*(table[name]["held_out_accuracy"]["values"] for name in (a, b)))
        )
        for a, b in combinations(activations, 2)
    }
    best = best_moons_accuracy()
    several = jobs.n_seeds(seeds)
    return Result(
        "activations",
        "Activations: tanh, sigmoid, relu",
        f"A 2-3-2 network on the moons, {epochs:,} steps of full-batch gradient descent, learning "
        f"rate {jobs.LEARNING_RATE:g}, L2 {jobs.L2:g}, LeCun's normal weights, float64. Each of "
        f"{several} draws its own weights and its own 200 points; accuracy is also "
        f"taken on {jobs.HELD_OUT:,} fresh points.",
        {
            "epochs": epochs,
            "seeds": seeds,
            "layer_sizes": [2, 3, 2],
            "learning_rate": jobs.LEARNING_RATE,
            "l2": jobs.L2,
            "best_accuracy": best,
            "activations": table,
            "held_out_differences": differences,
        },
        _pictures({name: runs[name, 0] for name in activations}, table, best),
        [
            _losses_table(table),
            means_table(["activation"], [([name], table[name]) for name in activations], several),
        ],
        [*_findings(table), *(_ranking(*pair, seeds) for pair in differences.items())],
    )


def _numbers(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    """Numbers of an activation: losses of the first seed, summaries of all seeds."""
    losses = runs[0].losses
    steps = [step for step in REFERENCE_STEPS if step < len(losses)]
    shown, there = jobs.thin(losses)
    reference = REFERENCE_LOSSES.get(name)
    return {
        "losses_after_steps": {step: float(losses[step]) for step in steps},
        "losses_a_step_before": {step: float(losses[step - 1]) for step in steps},
        "reference_losses": reference and dict(zip(REFERENCE_STEPS, reference, strict=True)),
        "last_swing": sorted(map(float, losses[-2:])),
        "curve": {"steps": shown.tolist(), "losses": there.tolist()},
        **jobs.summaries(runs),
    }


# --- figures ------------------------------------------------------------------------


def _pictures(first: dict[str, Run], table: Numbers, best: float) -> list[Picture]:
    """Figures of the runs with seed 0, and of all runs."""
    return [
        Picture(
            "activations_boundaries",
            "Decision boundaries of seed 0. The ground shows the probability, the line where "
            "it is one half.",
            "Three panels with the same points and axes: the boundary runs in an S between "
            "the moons, smooth for tanh and sigmoid, in straight pieces for relu.",
            partial(
                style.boundaries,
                [(f"{name}, 2-3-2", run) for name, run in first.items()],
                *jobs.moons(0),
            ),
        ),
        Picture(
            "activations_losses",
            "Loss over the steps of seed 0, both axes logarithmic. A learning rate of 2 is "
            "high: the curves fall fast and then tremble.",
            "Loss curves of tanh, sigmoid and relu; all fall from about 0.6 to about 0.07; "
            "sigmoid falls later.",
            partial(_draw_losses, first),
        ),
        Picture(
            "activations_seeds",
            "Every run as a point, the mean as a bar.",
            "Accuracies by seed for the three activations, training on the left, held-out "
            "on the right.",
            partial(_draw_seeds, table, best),
        ),
    ]


def _draw_losses(first: dict[str, Run], narrow: bool) -> Figure:
    figure, (ax,) = style.panels(1, 1, size=(4.2, 3.4) if narrow else (7.0, 3.8))
    for name, run in first.items():
        look = style.activation_style(name)
        ax.plot(
            *jobs.thin(run.losses, 500),
            color=look["color"],
            linestyle=look["linestyle"],
            linewidth=1.5,
            label=f"{name}, held out {run.measured['held_out_accuracy']:.3f}",
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_yticks([0.05, 0.1, 0.2, 0.5, 1.0], ["0.05", "0.1", "0.2", "0.5", "1"])
    ax.minorticks_off()
    ax.grid(True)
    ax.set_xlabel("steps")
    ax.set_ylabel("loss with L2 term")
    ax.set_title(f"2-3-2, learning rate {jobs.LEARNING_RATE:g}, seed 0")
    ax.legend()
    return figure


def _draw_seeds(table: Numbers, best: float, narrow: bool) -> Figure:
    figure, axes = style.panels(
        2, 1 if narrow else 2, size=(4.2, 3.0) if narrow else (3.8, 3.4), sharey=True
    )
    for ax, key, title in zip(
        axes,
        ("train_accuracy", "held_out_accuracy"),
        ("training, 200 points", f"held out, {jobs.HELD_OUT:,} points"),
        strict=True,
    ):
        for i, name in enumerate(table):
            look = style.activation_style(name)
            style.spread(
                ax, i, table[name][key], color=look["color"], marker=look["marker"], filled=True
            )
        ax.axhline(best, color=style.GREY, linestyle=":", linewidth=1.2)
        ax.text(
            len(table) - 0.52, best, f"best possible {best:.3f}",
            ha="right", va="bottom", fontsize=8.5, color=style.GREY,
        )  # fmt: skip
        ax.set_xticks(range(len(table)), table)
        ax.set_xlim(-0.5, len(table) - 0.5)
        ax.grid(True, axis="y")
        ax.set_title(title)
        ax.set_ylabel("accuracy")
    return figure


# --- tables and sentences -----------------------------------------------------------


def _losses_table(table: Numbers) -> Table:
    rows = []
    for name, record in table.items():
        known = record["reference_losses"]
        for step, loss in record["losses_after_steps"].items():
            before = record["losses_a_step_before"][step]
            reference = "-" if known is None else f"{known[step]:.6f}"
            rows.append([name, f"{step:,}", f"{loss:.6f}", f"{before:.6f}", reference])
    return Table(
        "Loss after so many steps, beside the reference program",
        ["activation", "steps", "fastnn", "a step before", "reference"],
        rows,
    )


def _findings(table: Numbers) -> list[str]:
    """Findings from the losses, as sentences."""
    sentences = [
        "On the training set of seed 0 the three activations end at nearly the same loss. "
        "Each draws a boundary that follows the moons: tanh and sigmoid a smooth one, relu one "
        "made of straight pieces."
    ]
    for name, record in table.items():
        low, high = record["last_swing"]
        if high - low > 2e-4:
            sentences.append(
                f"{name} ends in a swing: its loss jumps between {low:.6f} and "
                f"{high:.6f} in turn, because the learning rate is too high for the valley. "
                "Rounding decides which of the two falls on an odd step, so backends differ there."
            )
    return sentences


def _ranking(pair: str, difference: dict[str, Any], seeds: int) -> str:
    """Sentence on whether the difference between two activations is significant."""
    return (
        f"Held-out accuracy, {pair}, over {jobs.n_seeds(seeds)}: {difference['mean']:+.4f} "
        f"with a standard error of {difference['se']:.4f}"
        + (
            ", more than twice the error."
            if abs(difference["mean"]) > 2 * difference["se"] and seeds > 2
            else ", so these seeds do not rank them."
        )
    )
