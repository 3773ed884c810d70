"""Numerical trouble: where the formulas of the book fail on a computer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

import fastnn
from fastnn.backends import codes
from fastnn.backends import numpy as kernels
from fastnn.experiments import jobs, style
from fastnn.experiments.jobs import Tick
from fastnn.experiments.result import Picture, Result, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DTYPES = (np.float32, np.float64)


# --- the formulas of the book -----------------------------------------------


def naive_tanh(z: np.ndarray) -> np.ndarray:
    """``(e^2z - 1) / (e^2z + 1)``."""
    e = np.exp(2 * z)
    return (e - 1) / (e + 1)


def naive_tanh_two_exponentials(z: np.ndarray) -> np.ndarray:
    """``(e^z - e^-z) / (e^z + e^-z)``."""
    up, down = np.exp(z), np.exp(-z)
    return (up - down) / (up + down)


def naive_sigmoid(z: np.ndarray) -> np.ndarray:
    """``e^z / (1 + e^z)``."""
    e = np.exp(z)
    return e / (1 + e)


def naive_softmax(z: np.ndarray) -> np.ndarray:
    """``e^z_k / sum e^z``, classes in rows, not shifted."""
    e = np.exp(z)
    return e / e.sum(axis=0)


def naive_loss(z: np.ndarray, target: int, *, shifted: bool = False) -> np.ndarray:
    """``-log`` of the softmax of ``target``."""
    if shifted:
        z = z - z.max(axis=0)
    return -np.log(naive_softmax(z)[target])


def _pair(z: np.ndarray) -> np.ndarray:
    """Logits z and 0."""
    return np.stack([z, np.zeros_like(z)])


def _equal(z: np.ndarray) -> np.ndarray:
    """Two equal logits, -z."""
    return np.stack([-z, -z])


# --- the forms used here ------------------------------------------------------------------


def _activation(z: np.ndarray, code: int) -> np.ndarray:
    out = np.empty((1, len(z)), z.dtype)
    kernels.activation_forward(np.ascontiguousarray(z[None]), code, 0.0, out)
    return out[0]


def _softmax(logits: np.ndarray) -> np.ndarray:
    out = np.ascontiguousarray(logits)
    kernels.output_transform(codes.CROSS_ENTROPY, out)
    return out


def _loss(logits: np.ndarray, target: int) -> np.ndarray:
    """Each sample's loss, one call a sample."""
    losses = []
    for column in logits.T:
        one = np.ascontiguousarray(column[:, None])
        targets = np.full((1, 1), target, one.dtype)
        none = np.empty(0, one.dtype)
        losses.append(
            kernels.output_loss(
                one, targets, none, codes.CROSS_ENTROPY, 0.0, 1.0, np.empty_like(one)
            )
        )
    return np.array(losses)


def first_failure(fails: Callable[[np.ndarray], bool], high: float, dtype: type) -> float:
    """Smallest number of ``dtype`` in (0, high] that fails, by bisection over the numbers.

    Parameters
    ----------
    fails : callable
        Told an array of one number; false at first, true from some number on.
    high : float
        Where it fails.
    dtype : numpy float type

    Returns
    -------
    float
    """
    low, high = dtype(0), dtype(high)
    if not fails(np.array([high], dtype)):
        return float("inf")
    while np.nextafter(low, high, dtype=dtype) < high:
        middle = dtype(low + (high - low) / dtype(2))
        if middle in (low, high):
            break
        if fails(np.array([middle], dtype)):
            high = middle
        else:
            low = middle
    return float(high)


def train_naively(
    X: np.ndarray, y: np.ndarray, *, dtype: type, steps: int, seed: int = 0
) -> tuple[int | None, float]:
    """Train 2-3-2 with the naive formulas.

    Returns
    -------
    step : int or None
        The first one whose loss is not finite, from 1.
    loss : float
        The last loss.
    """
    X = X.astype(dtype)
    samples = len(X)
    network = jobs.make_network([2, 3, 2], activation="tanh", seed=seed, backend="numpy")
    (w1, w2), (b1, b2) = (
        [a.astype(dtype) for a in part] for part in (network.weights, network.biases)
    )
    onehot = np.eye(2, dtype=dtype)[y]
    rate, l2 = dtype(jobs.LEARNING_RATE), dtype(jobs.L2)
    loss = float("nan")
    for step in range(1, steps + 1):
        a = naive_tanh(X @ w1 + b1)
        p = naive_softmax((a @ w2 + b2).T).T
        loss = float(-np.log(p[np.arange(samples), y]).mean())
        if not np.isfinite(loss):
            return step, loss
        dz = (p - onehot) / dtype(samples)
        dh = (dz @ w2.T) * (1 - a * a)
        w2 -= rate * (a.T @ dz + l2 * w2)
        b2 -= rate * dz.sum(axis=0)
        w1 -= rate * (X.T @ dh + l2 * w1)
        b1 -= rate * dh.sum(axis=0)
    return None, loss


def numerics(
    *,
    steps: int = 200,
    scales: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0),
    tick: Tick | None = None,
) -> Result:
    """Where the naive formulas fail, in float32 and float64, against the forms used here.

    Parameters
    ----------
    steps : int
        Of the training with naive formulas.
    scales : tuple of float
        Factors on the moons' coordinates for that training.
    tick
        As for :func:`fastnn.experiments.activations`.

    Returns
    -------
    Result
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

    def draw(narrow: bool) -> Figure:
        figure, axes = style.panels(
            2, 1 if narrow else 2, size=(4.2, 3.6) if narrow else (4.6, 3.8)
        )
        ax = axes[0]
        for dtype, color in ((np.float32, style.VERMILION), (np.float64, style.BLUE)):
            kind = np.dtype(dtype).name
            curve = curves[kind]
            z = np.array(curve["z"])
            naive, ours = np.array(curve["naive"]), np.array(curve["ours"])
            floor = np.finfo(dtype).eps / 8
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
                f"NaN from {failures_at(failures, 'tanh', kind):.4g}",
                (end, floor),
                (9, 0),
                textcoords="offset points",
                fontsize=8.5,
                color=color,
                va="center",
            )
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(1e-19, 1e11)
        ax.set_ylim(5e-18, 30)
        ax.set_xlabel("z")
        ax.set_ylabel("relative error")
        ax.set_title("tanh as (e²ᶻ - 1)/(e²ᶻ + 1), and here")
        ax.grid(True)
        ax.legend(loc="upper right", fontsize=8.5)

        ax = axes[1]
        names = (
            ("exp", "exp"),
            ("tanh", "tanh"),
            ("sigmoid", "sigmoid"),
            ("softmax", "softmax"),
            ("log softmax", "-log softmax"),
            ("log softmax, shifted", "the same,\nshifted"),
        )
        for i, (name, _) in enumerate(names):
            for shift, kind, color, hatch in (
                (-0.2, "float32", style.VERMILION, "///"),
                (0.2, "float64", style.BLUE, None),
            ):
                end = failures_at(failures, name, kind)
                ax.barh(
                    i + shift,
                    end - 1,
                    left=1,
                    height=0.36,
                    color=color if hatch is None else "white",
                    edgecolor=color,
                    hatch=hatch,
                    label=kind if i == 0 else None,
                )
                what = next(
                    r["naive"] for r in failures if r["name"] == name and r["dtype"] == kind
                )
                ax.text(
                    end * 1.1,
                    i + shift,
                    f"{end:.1f}: {what}",
                    va="center",
                    fontsize=8.5,
                    color=color,
                )
        ax.set_yticks(range(len(names)), [label for _, label in names])
        ax.set_ylim(len(names) - 0.4, -1.3)
        ax.set_xscale("log")
        ax.set_xlim(1, 9e4)
        ax.set_xlabel("z")
        ax.set_title("How far the naive formulas reach")
        ax.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.01))
        return figure

    def at(name: str, kind: str) -> str:
        return f"{failures_at(failures, name, kind):.2f}"

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
                draw,
            )
        ],
        [
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
                [
                    [f"{r['z']:g}", r["dtype"], f"{r['naive']:.1e}", f"{r['here']:.1e}"]
                    for r in small
                ],
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
        ],
        [
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
        ],
    )


def failures_at(failures: list[dict[str, Any]], name: str, kind: str) -> float:
    """Where a formula of the table fails."""
    return next(r["from"] for r in failures if r["name"] == name and r["dtype"] == kind)


def _failures() -> list[dict[str, Any]]:
    """Each naive formula, the first number at which it fails, and what is used here."""

    def bad(values: np.ndarray) -> bool:
        return not np.isfinite(values).all()

    cases: list[tuple[str, str, Callable, Callable]] = [
        ("exp", "e^z", np.exp, lambda z: None),
        (
            "tanh",
            "(e^2z - 1)/(e^2z + 1)",
            naive_tanh,
            lambda z: _activation(z, codes.TANH),
        ),
        (
            "tanh, two exponentials",
            "(e^z - e^-z)/(e^z + e^-z)",
            naive_tanh_two_exponentials,
            lambda z: _activation(z, codes.TANH),
        ),
        (
            "sigmoid",
            "e^z/(1 + e^z)",
            naive_sigmoid,
            lambda z: _activation(z, codes.SIGMOID),
        ),
        (
            "softmax",
            "softmax of (z, 0), unshifted",
            lambda z: naive_softmax(_pair(z)),
            lambda z: _softmax(_pair(z))[0],
        ),
        (
            "softmax, all low",
            "softmax of (-z, -z), unshifted",
            lambda z: naive_softmax(_equal(z)),
            lambda z: _softmax(_equal(z))[0],
        ),
        (
            "log softmax",
            "-log softmax of (z, 0), class 2, unshifted",
            lambda z: naive_loss(_pair(z), 1),
            lambda z: _loss(_pair(z), 1),
        ),
        (
            "log softmax, shifted",
            "-log softmax of (z, 0), class 2, shifted",
            lambda z: naive_loss(_pair(z), 1, shifted=True),
            lambda z: _loss(_pair(z), 1),
        ),
    ]
    rows = []
    for name, formula, naive, here in cases:
        for dtype in DTYPES:
            start = first_failure(lambda z, f=naive: bad(f(z)), 2000.0, dtype)
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


def _small_arguments() -> list[dict[str, Any]]:
    """Relative error of tanh near zero, where tanh z = z - z^3/3 + ..."""
    rows = []
    for dtype, values in (
        (np.float32, (1e-2, 1e-4, 1e-6, 1e-8)),
        (np.float64, (1e-4, 1e-8, 1e-12, 1e-17)),
    ):
        for value in values:
            z = np.array([value], dtype)
            exact = np.tanh(z.astype(np.longdouble))
            rows.append(
                {
                    "z": value,
                    "dtype": np.dtype(dtype).name,
                    "naive": float(abs(naive_tanh(z) - exact)[0] / exact[0]),
                    "here": float(abs(_activation(z, codes.TANH) - exact)[0] / exact[0]),
                }
            )
    return rows


def _training(steps: int, scales: tuple[float, ...]) -> list[dict[str, Any]]:
    """Training on unscaled data, naively and here."""
    X, y = jobs.moons(0)
    rows = []
    for scale in scales:
        for dtype in DTYPES:
            step, loss = train_naively(X * scale, y, dtype=dtype, steps=steps)
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
    """What the figure draws."""
    curves: dict[str, Any] = {}
    grid = np.geomspace(1e-19, 2000, 440)
    for dtype in DTYPES:
        z = grid.astype(dtype)
        exact = np.tanh(z.astype(np.longdouble))
        curves[np.dtype(dtype).name] = {
            "z": z.astype(np.float64),
            "naive": (np.abs(naive_tanh(z) - exact) / exact).astype(np.float64),
            "ours": (np.abs(_activation(z, codes.TANH) - exact) / exact).astype(np.float64),
        }
    return curves
