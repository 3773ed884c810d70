"""The second data set: two concentric rings, and the best possible accuracy on them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

import fastnn
from fastnn.experiments import jobs, style
from fastnn.experiments.jobs import Pair, Run, Tick
from fastnn.experiments.result import Picture, Result, Table, mean_sd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SETTINGS = ((0.5, 0.1), (0.8, 0.2))
# Large enough to determine an accuracy near 0.69 with a standard error of 0.002.
HELD_OUT = 50_000


def ring_density(r: np.ndarray, radius: float, noise: float) -> np.ndarray:
    """Density of the distance from the centre for the noisy points of a ring.

    The distance of a point at radius R with Gaussian noise of standard deviation s in both
    coordinates has the Rice density ``r / s^2 exp(-(r^2 + R^2) / (2 s^2)) I0(r R / s^2)``.

    Parameters
    ----------
    r : ndarray
        Distances at which to evaluate the density.
    radius, noise : float
        R and s.

    Returns
    -------
    ndarray
    """
    from scipy.special import i0e  # I0(x) exp(-x), since I0 overflows

    variance = noise * noise
    exponent = -((r - radius) ** 2) / (2 * variance)
    return r / variance * np.exp(exponent) * i0e(r * radius / variance)


def best_accuracy(factor: float, noise: float) -> tuple[float, list[float]]:
    """Accuracy and decision boundaries of the best possible classifier of two rings.

    Both densities are rotationally symmetric, so that only the radius is informative. The best
    classifier predicts the class of higher density; its accuracy is
    ``integral max(p0, p1) / 2 dr``.

    Parameters
    ----------
    factor : float
        Radius of the inner ring; the outer one has radius 1.
    noise : float

    Returns
    -------
    accuracy : float
    radii : list of float
        Radii at which the two densities are equal.
    """
    from scipy.integrate import quad
    from scipy.optimize import brentq

    def outer(r: float) -> float:
        return float(ring_density(np.array(r), 1.0, noise))

    def inner(r: float) -> float:
        return float(ring_density(np.array(r), factor, noise))

    end = 1.0 + 10 * noise
    grid = np.linspace(1e-6, end, 2001)
    difference = ring_density(grid, 1.0, noise) - ring_density(grid, factor, noise)
    # At large radii both densities vanish, and changes of sign are due to rounding.
    weight = ring_density(grid, 1.0, noise) + ring_density(grid, factor, noise)
    turns = np.flatnonzero((np.diff(np.sign(difference)) != 0) & (weight[:-1] > 1e-12))
    radii = [
        float(brentq(lambda r: outer(r) - inner(r), grid[i], grid[i + 1], xtol=1e-14))
        for i in turns
    ]
    edges = [0.0, *radii, end]
    total = 0.0
    for low, high in pairwise(edges):
        middle = 0.5 * (low + high)
        denser = outer if outer(middle) > inner(middle) else inner
        total += quad(denser, low, high, epsabs=1e-12, limit=200)[0]
    return total / 2, radii


def rings(seed: int, factor: float, noise: float, samples: int = 500) -> Pair:
    """Two rings: points, shape (samples, 2), and classes (1 is the inner ring)."""
    from sklearn.datasets import make_circles

    return make_circles(samples, factor=factor, noise=noise, random_state=seed)


def circles(
    *,
    settings: Sequence[tuple[float, float]] = SETTINGS,
    activations: Sequence[str] = ("tanh", "relu", "sigmoid"),
    layer_sizes: Sequence[int] = (2, 8, 8, 8, 2),
    samples: int = 500,
    many: int = 20_000,
    epochs: int = 1_500,
    many_epochs: int = 15,
    seeds: int = 6,
    backend: str = "auto",
    tick: Tick | None = None,
) -> Result:
    """Compare activations on two rings with each other and with the best possible accuracy.

    Parameters
    ----------
    settings : sequence of (factor, noise)
        Radius of the inner ring and standard deviation of the noise.
    activations : sequence of str
        Names of the activations to compare.
    layer_sizes : sequence of int
        Inputs, units of the hidden layers, outputs.
    samples, many : int
        Numbers of training points: as in the course, and many more.
    epochs, many_epochs : int
        Full-batch steps with ``samples`` points; epochs with batches of 100 with ``many`` points.
    seeds, backend, tick
        As for :func:`fastnn.experiments.activations`.

    Returns
    -------
    Result

    Examples
    --------
    >>> from fastnn import experiments
    >>> result = experiments.circles(seeds=1)  # doctest: +SKIP
    >>> result.figure.savefig("circles.png")  # doctest: +SKIP
    """
    tests = {(f, s): rings(jobs.HELD_OUT_SEED, f, s, HELD_OUT) for f, s in settings}

    def one(job: tuple[int, tuple[float, float], str, int]) -> Run:
        points, setting, name, seed = job
        network = jobs.make_network(
            layer_sizes, activation=name, seed=seed, backend=backend, initializer="auto"
        )
        jobs.enlarge_for_sigmoid(network)
        few = points == samples
        return jobs.train_and_measure(
            network,
            rings(seed, *setting, points),
            tests[setting],
            optimizer=fastnn.Adam(learning_rate=0.01),
            epochs=epochs if few else many_epochs,
            batch_size=None if few else 100,
        )

    points = (samples, many)
    runs = jobs.by_case(one, product(points, settings, activations, range(seeds)), tick)
    records = [_numbers(setting, points, activations, seeds, runs) for setting in settings]
    first = {
        (setting, a): runs[samples, setting, a, 0] for setting in settings for a in activations
    }
    return Result(
        "circles",
        "Second data set: two rings",
        f"make_circles with {samples} points: two concentric rings of radius 1 and 'factor', "
        f"moved by Gaussian noise. A {'-'.join(map(str, layer_sizes))} network, Adam at 0.01, "
        f"{epochs:,} full-batch steps; sigmoid's hidden weights four times LeCun's (see layers). "
        f"Once more with {many:,} points in batches of 100, {many_epochs} passes. "
        f"{jobs.n_seeds(seeds)}, {HELD_OUT:,} held-out points.",
        {
            "layer_sizes": list(layer_sizes),
            "samples": samples,
            "many": many,
            "epochs": epochs,
            "many_epochs": many_epochs,
            "seeds": seeds,
            "settings": records,
        },
        _pictures(records, points, first),
        [_table(records, points, jobs.n_seeds(seeds))],
        _findings(records, points),
    )


def _numbers(
    setting: tuple[float, float],
    points: tuple[int, int],
    activations: Sequence[str],
    seeds: int,
    runs: dict[tuple[int, tuple[float, float], str, int], Run],
) -> dict[str, Any]:
    """Results of one setting, by number of points and activation."""
    best, radii = best_accuracy(*setting)
    by_points = {
        f"samples_{n}": {
            a: jobs.summaries([runs[n, setting, a, s] for s in range(seeds)]) for a in activations
        }
        for n in points
    }
    factor, noise = setting
    return {"factor": factor, "noise": noise, "best_accuracy": best, "radii": radii, **by_points}


def _named(record: dict[str, Any]) -> str:
    return f"factor {record['factor']:g}, noise {record['noise']:g}"


# --- figures ------------------------------------------------------------------------


def _pictures(
    records: list[dict[str, Any]],
    points: tuple[int, int],
    first: dict[tuple[tuple[float, float], str], Run],
) -> list[Picture]:
    return [
        Picture(
            "circles_densities",
            "How far from the centre the points of each ring lie. Where the densities "
            "overlap (grey), the best guess is the higher one; the dotted line is its "
            "boundary.",
            "Two charts of the radial densities of both rings. With factor 0.5 and noise 0.1 "
            "they hardly touch; with factor 0.8 and noise 0.2 they overlap almost wholly.",
            partial(_draw_densities, records),
        ),
        Picture(
            "circles_boundaries",
            f"Boundaries learned from {points[0]} points, seed 0. Separate rings are learned "
            "by all three activations; overlapping ones leave only crooked guesses.",
            "Six panels, three activations by two settings. With separate rings each boundary "
            "is a closed curve between them; with overlapping rings it is ragged.",
            partial(_draw_boundaries, records, points[0], first),
        ),
        Picture(
            "circles_accuracies",
            "Every run as a point, training (open) beside held-out (filled).",
            "Accuracies by activation and number of training points. With few points the "
            "training accuracy lies above the best possible and the held-out below; with "
            "many points both lie at it.",
            partial(_draw_accuracies, records, points),
        ),
    ]


def _draw_densities(records: list[dict[str, Any]], narrow: bool) -> Figure:
    figure, axes = style.panels(
        len(records), 1 if narrow else 2, size=(4.2, 3.0) if narrow else (4.4, 3.2), sharex=True
    )
    for ax, record in zip(axes, records, strict=True):
        r = np.linspace(0, 1.8, 500)
        outer = ring_density(r, 1.0, record["noise"])
        inner = ring_density(r, record["factor"], record["noise"])
        ax.plot(r, outer, color=style.BLUE, label="outer ring, class 0")
        ax.plot(r, inner, color=style.ORANGE, linestyle="--", label="inner ring, class 1")
        ax.fill_between(
            r, np.minimum(outer, inner), color=style.GREY, alpha=0.35, linewidth=0, label="overlap"
        )
        for radius in record["radii"]:
            ax.axvline(radius, color=style.BLACK, linestyle=":", linewidth=1.2)
        ax.set_title(f"{_named(record)}: best possible {record['best_accuracy']:.3f}")
        ax.set_xlabel("distance from the centre")
        ax.set_ylabel("density")
        ax.set_ylim(0, 1.45 * max(outer.max(), inner.max()))
        ax.legend(loc="upper left", fontsize=8.5)
    return figure


def _draw_boundaries(
    records: list[dict[str, Any]],
    samples: int,
    first: dict[tuple[tuple[float, float], str], Run],
    narrow: bool,
) -> Figure:
    best = {(r["factor"], r["noise"]): r["best_accuracy"] for r in records}
    # Wide layout: one row per setting. Narrow layout: one row per activation.
    settings, names = map(dict.fromkeys, zip(*first, strict=True))
    pairs = [(s, name) for name in names for s in settings] if narrow else list(first)
    columns = 2 if narrow else len(names)
    figure, axes = style.panels(
        len(pairs), columns, size=(2.4, 2.75) if narrow else (3.2, 3.55), sharex=True, sharey=True
    )
    for ax, (setting, name) in zip(axes, pairs, strict=True):
        run = first[setting, name]
        style.boundary(
            ax,
            run.network,
            *rings(0, setting[0], setting[1], samples),
            (-1.75, 1.75, -1.75, 1.75),
            title=f"{name}, factor {setting[0]:g}, noise {setting[1]:g}\n"
            f"{run.measured['train_accuracy']:.3f} / {run.measured['held_out_accuracy']:.3f} / "
            f"{best[setting]:.3f}",
            size=7,
        )
        if narrow:
            ax.title.set_fontsize(9)
    style.labels(axes, columns)
    figure.suptitle("Accuracy: training / held out / best possible", fontsize=10)
    return figure


def _draw_accuracies(
    records: list[dict[str, Any]], points: tuple[int, int], narrow: bool
) -> Figure:
    figure, axes = style.panels(
        len(records), 1 if narrow else 2, size=(4.2, 3.4) if narrow else (4.6, 3.7),
        extra_height=0.45,
    )  # fmt: skip
    for ax, record in zip(axes, records, strict=True):
        _accuracies(ax, record, points)
    figure.suptitle(
        "Open: training. Filled: held out.\nBar: mean. Dotted: best possible.", fontsize=10
    )
    return figure


def _accuracies(ax: Axes, record: dict[str, Any], points: tuple[int, int]) -> None:
    """Draw one setting: on the left the runs with few points, on the right those with many."""
    few, many = (record[f"samples_{n}"] for n in points)
    start = {0: few, len(few) + 0.5: many}
    ticks = [(left + i, name) for left, group in start.items() for i, name in enumerate(group)]
    for left, group in start.items():
        for i, (name, values) in enumerate(group.items()):
            style.spread_both(ax, left + i, values, name)
    for middle, n in zip((1, len(few) + 1.5), points, strict=True):
        ax.text(
            middle, 0.015, f"{n:,} points", ha="center", va="bottom",
            transform=ax.get_xaxis_transform(), fontsize=9,
        )  # fmt: skip
    best = record["best_accuracy"]
    ax.axhline(best, color=style.GREY, linestyle=":", linewidth=1.4)
    ax.set_xticks(*zip(*ticks, strict=True), fontsize=8.5)
    seen = {
        part: [a for group in (few, many) for v in group.values() for a in v[part]["values"]]
        for part in ("train_accuracy", "held_out_accuracy")
    }
    low = min(map(min, seen.values()))
    high = max(*seen["train_accuracy"], best)
    ax.set_ylim(low - 0.22 * (high - low), high + 0.1 * (high - low))
    ax.grid(True, axis="y")
    ax.set_ylabel("accuracy")
    ax.set_title(f"{_named(record)}: best {best:.3f}")


# --- table and sentences ------------------------------------------------------------


def _table(records: list[dict[str, Any]], points: tuple[int, int], several: str) -> Table:
    rows = [
        [
            f"{record['factor']:g}, {record['noise']:g}",
            f"{n:,}",
            name,
            mean_sd(values["train_accuracy"]),
            mean_sd(values["held_out_accuracy"]),
            f"{record['best_accuracy']:.4f}",
        ]
        for record in records
        for n in points
        for name, values in record[f"samples_{n}"].items()
    ]
    return Table(
        f"Mean ± standard deviation over {several}",
        ["factor, noise", "training points", "activation", "training accuracy",
         "held-out accuracy", "best possible"],
        rows,
    )  # fmt: skip


def _findings(records: list[dict[str, Any]], points: tuple[int, int]) -> list[str]:
    sentences = []
    for record in records:
        few, many = (
            ", ".join(
                f"{values['held_out_accuracy']['mean']:.4f} ({name})"
                for name, values in record[f"samples_{n}"].items()
            )
            for n in points
        )
        named = _named(record)
        sentences.append(
            f"{named[0].upper()}{named[1:]}: nobody can exceed "
            f"{record['best_accuracy']:.4f} on fresh points. With {points[0]} points the networks "
            f"reach {few}; with {points[1]:,} points {many}."
        )
    return [
        *sentences,
        "A training accuracy above the best possible is not skill. The network has learned the "
        "noise of its own points, and pays for it on fresh ones.",
    ]
