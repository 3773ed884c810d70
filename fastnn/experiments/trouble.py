"""Numerical problems: where the formulas of the book fail in floating-point arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import fastnn
from fastnn.backends import codes
from fastnn.experiments import formulas, jobs, style
from fastnn.experiments.jobs import Tick
from fastnn.experiments.result import Picture, Result, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DTYPES = (np.float32, np.float64)
COLORS = {"float32": style.VERMILION, "float64": style.BLUE}
Rows = list[dict[str, Any]]


def numerics(
    *,
    steps: int = 200,
    scales: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0),
    tick: Tick | None = None,
) -> Result:
    """Determine where the naive formulas fail in float32 and float64, unlike the forms used here.

    Parameters
    ----------
    steps : int
        Number of training steps.
    scales : tuple of float
        Factors of the coordinates of the moons, with each of which a network is trained.
    tick
        As for :func:`fastnn.experiments.activations`.

    Returns
    -------
    Result

    Examples
    --------
    >>> from fastnn import experiments
    >>> result = experiments.numerics()  # doctest: +SKIP
    >>> print(result.findings[0])  # doctest: +SKIP
    """
    with np.errstate(all="ignore"):
        failures = _failures()
        small = _small_arguments()
        if tick is not None:
            tick(0.3)
        training = _training(steps, scales)
        curves = _curves()
    if tick is not None:
        tick(1.0)

    return Result(
        "numerics",
        "Numerical trouble",
        "The formulas of the book, typed as they stand, in float32 and float64; the smallest "
        "number at which each fails, found by bisection. Beside it the form used here, in the "
        "NumPy kernels; the tests hold the compiled ones to the same.",
        {"failures": failures, "small_arguments": small, "training": training, "curves": curves},
        [
            Picture(
                "numerics",
                "Left: relative error of tanh. The naive formula loses all digits near zero and "
                "ends in NaN. Right: from which number on each formula gives NaN or infinity. The "
                "forms used here give neither at any of them.",
                "Two charts on logarithmic axes. The naive tanh has a relative error that grows "
                "to one as z goes to zero and stops at 44 in float32 and 355 in float64; the "
                "form used here stays at rounding error. Bars show how far each formula reaches: "
                "44 to 104 in float32, 355 to 746 in float64.",
                partial(_draw, failures, curves),
            )
        ],
        _tables(failures, small, training, steps),
        _findings(failures),
    )


def failure(rows: Rows, name: str, kind: str) -> dict[str, Any]:
    """The row of a formula and a dtype."""
    return next(r for r in rows if r["name"] == name and r["dtype"] == kind)


# --- computation --------------------------------------------------------------------


def _pair(z: np.ndarray) -> np.ndarray:
    """Logits z and 0."""
    return np.stack([z, np.zeros_like(z)])


def _equal(z: np.ndarray) -> np.ndarray:
    """Two equal logits, -z."""
    return np.stack([-z, -z])


# Name, formula as text, naive form, form used here.
_CASES: tuple[tuple[str, str, Callable, Callable], ...] = (
    ("exp", "e^z", np.exp, lambda z: None),
    (
        "tanh",
        "(e^2z - 1)/(e^2z + 1)",
        formulas.naive_tanh,
        lambda z: formulas.activation(z, codes.TANH),
    ),
    (
        "tanh, two exponentials",
        "(e^z - e^-z)/(e^z + e^-z)",
        formulas.naive_tanh_two_exponentials,
        lambda z: formulas.activation(z, codes.TANH),
    ),
    (
        "sigmoid",
        "e^z/(1 + e^z)",
        formulas.naive_sigmoid,
        lambda z: formulas.activation(z, codes.SIGMOID),
    ),
    (
        "softmax",
        "softmax of (z, 0), unshifted",
        lambda z: formulas.naive_softmax(_pair(z)),
        lambda z: formulas.softmax(_pair(z))[0],
    ),
    (
        "softmax, all low",
        "softmax of (-z, -z), unshifted",
        lambda z: formulas.naive_softmax(_equal(z)),
        lambda z: formulas.softmax(_equal(z))[0],
    ),
    (
        "log softmax",
        "-log softmax of (z, 0), class 2, unshifted",
        lambda z: formulas.naive_loss(_pair(z), 1),
        lambda z: formulas.loss(_pair(z), 1),
    ),
    (
        "log softmax, shifted",
        "-log softmax of (z, 0), class 2, shifted",
        lambda z: formulas.naive_loss(_pair(z), 1, shifted=True),
        lambda z: formulas.loss(_pair(z), 1),
    ),
)


def _fails(formula: Callable, z: np.ndarray) -> bool:
    """Whether a formula gives a non-finite value."""
    return not np.isfinite(formula(z)).all()


def _failures() -> Rows:
    """For each naive formula: where it fails first, and its value and that of the stable form."""
    rows = []
    for name, formula, naive, here in _CASES:
        for dtype in DTYPES:
            start = formulas.first_failure(partial(_fails, naive), 2000.0, dtype)
            z = np.array([start], dtype)
            value = np.ravel(naive(z))
            wrong = value[~np.isfinite(value)][0]
            good = here(z)
            rows.append(
                {
                    "name": name,
                    "formula": formula,
                    "dtype": np.dtype(dtype).name,
                    "from": start,
                    "naive": "NaN" if np.isnan(wrong) else "infinity",
                    "here": "-" if good is None else f"{float(good[0]):.6g}",
                }
            )
    return rows


def _tanh_errors(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of the naive tanh and of the form used here, computed in long double."""
    exact = np.tanh(z.astype(np.longdouble))
    forms = formulas.naive_tanh(z), formulas.activation(z, codes.TANH)
    naive, here = (np.abs(form - exact) / exact for form in forms)
    return naive, here


def _small_arguments() -> Rows:
    """Relative error of tanh near zero, where tanh z = z - z^3/3 + ..."""
    rows = []
    for dtype, values in (
        (np.float32, (1e-2, 1e-4, 1e-6, 1e-8)),
        (np.float64, (1e-4, 1e-8, 1e-12, 1e-17)),
    ):
        for value in values:
            naive, here = (float(e[0]) for e in _tanh_errors(np.array([value], dtype)))
            rows.append({"z": value, "dtype": np.dtype(dtype).name, "naive": naive, "here": here})
    return rows


def _training(steps: int, scales: tuple[float, ...]) -> Rows:
    """Train on unscaled data with the naive formulas, and with the forms used here."""
    X, y = jobs.moons(0)
    rows = []
    for scale in scales:
        for dtype in DTYPES:
            step, loss = formulas.train_naively(X * scale, y, dtype=dtype, steps=steps)
            network = fastnn.Network(
                [2, 3, 2],
                l2=jobs.L2,
                initializer="lecun_normal",
                random_state=0,
                backend="numpy",
                dtype=dtype,
            )
            jobs.train(network, X * scale, y, epochs=steps)
            rows.append(
                {
                    "scale": scale,
                    "dtype": np.dtype(dtype).name,
                    "naive_step": step,
                    "naive_loss": loss,
                    "loss_here": jobs.data_loss(network, X * scale, y),
                }
            )
    return rows


def _curves() -> dict[str, Any]:
    """Relative errors of tanh over z, for the figure."""
    curves: dict[str, Any] = {}
    grid = np.geomspace(1e-19, 2000, 440)
    for dtype in DTYPES:
        z = grid.astype(dtype)
        naive, here = (errors.astype(np.float64) for errors in _tanh_errors(z))
        curves[np.dtype(dtype).name] = {"z": z.astype(np.float64), "naive": naive, "ours": here}
    return curves


# --- the figure ---------------------------------------------------------------------


def _draw(failures: Rows, curves: dict[str, Any], narrow: bool) -> Figure:
    figure, (left, right) = style.panels(
        2, 1 if narrow else 2, size=(4.2, 3.6) if narrow else (4.6, 3.8)
    )
    _draw_errors(left, failures, curves)
    _draw_reach(right, failures)
    return figure


def _draw_errors(ax: Axes, failures: Rows, curves: dict[str, Any]) -> None:
    """Draw the relative error of tanh."""
    for kind, color in COLORS.items():
        curve = curves[kind]
        z, naive, ours = (np.array(curve[key]) for key in ("z", "naive", "ours"))
        floor = np.finfo(kind).eps / 8
        good = np.isfinite(naive)
        ax.plot(
            z[good], np.maximum(naive[good], floor), color=color, linewidth=1.3,
            label=f"naive, {kind}",
        )  # fmt: skip
        ax.plot(
            z, np.maximum(ours, floor), color=color, linewidth=1.6, linestyle=":",
            label=f"here, {kind}",
        )  # fmt: skip
        end = z[good][-1]
        ax.plot([end], [floor], marker="X", color=color, markersize=9, zorder=5)
        ax.annotate(
            f"NaN from {failure(failures, 'tanh', kind)['from']:.4g}", (end, floor), (9, 0),
            textcoords="offset points", fontsize=8.5, color=color, va="center",
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(1e-19, 1e11)
    ax.set_ylim(5e-18, 30)
    ax.set_xlabel("z")
    ax.set_ylabel("relative error")
    ax.set_title("tanh as (e²ᶻ - 1)/(e²ᶻ + 1), and here")
    ax.grid(True)
    ax.legend(loc="upper right", fontsize=8.5)


def _draw_reach(ax: Axes, failures: Rows) -> None:
    """Draw the smallest number at which each formula fails."""
    names = {
        "exp": "exp",
        "tanh": "tanh",
        "sigmoid": "sigmoid",
        "softmax": "softmax",
        "log softmax": "-log softmax",
        "log softmax, shifted": "the same,\nshifted",
    }
    for i, name in enumerate(names):
        for shift, kind, hatch in ((-0.2, "float32", "///"), (0.2, "float64", None)):
            row, color = failure(failures, name, kind), COLORS[kind]
            end = row["from"]
            ax.barh(
                i + shift, end - 1, left=1, height=0.36, color=color if hatch is None else "white",
                edgecolor=color, hatch=hatch, label=kind if i == 0 else None,
            )  # fmt: skip
            ax.text(
                end * 1.1, i + shift, f"{end:.1f}: {row['naive']}",
                va="center", fontsize=8.5, color=color,
            )  # fmt: skip
    ax.set_yticks(range(len(names)), names.values())
    ax.set_ylim(len(names) - 0.4, -1.3)
    ax.set_xscale("log")
    ax.set_xlim(1, 9e4)
    ax.set_xlabel("z")
    ax.set_title("How far the naive formulas reach")
    ax.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.01))


# --- tables and sentences -----------------------------------------------------------


def _tables(failures: Rows, small: Rows, training: Rows, steps: int) -> list[Table]:
    return [
        Table(
            "Where the naive formulas fail",
            ["formula", "type", "fails from", "gives", "form used here gives"],
            [
                [r["formula"], r["dtype"], f"{r['from']:.6g}", r["naive"], r["here"]]
                for r in failures
            ],
        ),
        Table(
            "tanh of small numbers: relative error",
            ["z", "type", "naive", "here"],
            [[f"{r['z']:g}", r["dtype"], f"{r['naive']:.1e}", f"{r['here']:.1e}"] for r in small],
        ),
        Table(
            f"Training 2-3-2 on moons whose coordinates are multiplied, {steps} steps",
            ["coordinates times", "type", "naive formulas", "loss here after these steps"],
            [
                [
                    f"{r['scale']:g}",
                    r["dtype"],
                    f"not a number at step {r['naive_step']}"
                    if r["naive_step"]
                    else f"loss {r['naive_loss']:.4f}",
                    f"{r['loss_here']:.4f}",
                ]
                for r in training
            ],
        ),
    ]


def _findings(failures: Rows) -> list[str]:
    def at(name: str, kind: str) -> str:
        return f"{failure(failures, name, kind)['from']:.2f}"

    return [
        f"exp overflows above {at('exp', 'float32')} in float32 and {at('exp', 'float64')} in "
        "float64. No integer and no shortage of memory is involved. The overflow gives "
        "infinity, infinity over infinity gives NaN, and NaN spreads to every weight in one "
        "step.",
        f"The naive tanh doubles its argument first, so it fails from "
        f"{at('tanh', 'float32')} and {at('tanh', 'float64')} already.",
        "Shifting the softmax by its largest logit cures the NaN, but its logarithm is still "
        f"infinite once two logits differ by {at('log softmax, shifted', 'float32')} or "
        f"{at('log softmax, shifted', 'float64')}. Taking the loss from the logits, "
        "log sum exp minus the target's logit, cures that too.",
        "Near zero the naive tanh subtracts two nearly equal numbers and loses every digit.",
    ]
