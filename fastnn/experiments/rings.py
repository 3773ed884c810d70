"""The second data set: two concentric rings, and the best that anyone can do on them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

import fastnn
from fastnn.experiments import jobs, style
from fastnn.experiments.jobs import Run, Tick
from fastnn.experiments.result import Picture, Result, Table, mean_sd, summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTINGS = ((0.5, 0.1), (0.8, 0.2))
# Enough that an accuracy near 0.69 is known to 0.002.
HELD_OUT = 50_000


def ring_density(r: np.ndarray, radius: float, noise: float) -> np.ndarray:
    """Density of the distance from the centre of a ring's noisy points.

    A point at ``radius``, moved by Gaussian noise in both directions, has a
    distance of Rice's density ``r / s^2 exp(-(r^2 + R^2) / (2 s^2)) I0(r R / s^2)``.

    Parameters
    ----------
    r : ndarray
    radius, noise : float

    Returns
    -------
    ndarray
    """
    from scipy.special import i0e  # I0(x) exp(-x): without it the product overflows

    variance = noise * noise
    exponent = -((r - radius) ** 2) / (2 * variance)
    return r / variance * np.exp(exponent) * i0e(r * radius / variance)


def best_accuracy(factor: float, noise: float) -> tuple[float, list[float]]:
    """The best accuracy of any classifier of two rings, and where it changes its mind.

    Both densities are the same in every direction, so only the radius tells
    anything. The best guess is the denser class, right with probability
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
        Where the two densities are equal.
    """
    from scipy.integrate import quad
    from scipy.optimize import brentq

    def outer(r: float) -> float:
        return float(ring_density(np.float64(r), 1.0, noise))

    def inner(r: float) -> float:
        return float(ring_density(np.float64(r), factor, noise))

    end = 1.0 + 10 * noise
    grid = np.linspace(1e-6, end, 2001)
    difference = ring_density(grid, 1.0, noise) - ring_density(grid, factor, noise)
    # Far out both are zero to rounding: a change of sign there means nothing.
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


def rings(
    seed: int, factor: float, noise: float, samples: int = 500
) -> tuple[np.ndarray, np.ndarray]:
    """Two rings, points (samples, 2) and classes (1 is the inner ring)."""
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
    """Three activations on two rings, beside the best possible accuracy.

    Parameters
    ----------
    settings : sequence of (factor, noise)
    activations : sequence of str
    layer_sizes : sequence of int
    samples, many : int
        Training points: the course's number, and many more.
    epochs, many_epochs : int
        Full-batch steps for ``samples``, passes in batches of 100 for ``many``.
    seeds, backend, tick
        As for :func:`fastnn.experiments.activations`.

    Returns
    -------
    Result
    """
    tests = {(f, s): rings(jobs.HELD_OUT_SEED, f, s, HELD_OUT) for f, s in settings}

    def one(job: tuple[int, tuple[float, float], str, int]) -> tuple[Run, dict[str, float]]:
        points, setting, name, seed = job
        train_set = rings(seed, *setting, points)
        network = jobs.make_network(
            layer_sizes, activation=name, seed=seed, backend=backend, initializer="auto"
        )
        jobs.enlarge_for_sigmoid(network)
        few = points == samples
        run = jobs.train(
            network,
            *train_set,
            optimizer=fastnn.Adam(learning_rate=0.01),
            epochs=epochs if few else many_epochs,
            batch_size=None if few else 100,
        )
        return run, jobs.measure(run, train_set, tests[setting])

    cases = list(product((samples, many), settings, activations, range(seeds)))
    answers = dict(zip(cases, jobs.each(one, cases, tick), strict=True))
    keys = ("train_accuracy", "held_out_accuracy", "train_loss", "held_out_loss")
    records = []
    for factor, noise in settings:
        best, radii = best_accuracy(factor, noise)
        records.append(
            {
                "factor": factor,
                "noise": noise,
                "best_accuracy": best,
                "radii": radii,
                **{
                    f"samples_{points}": {
                        a: {
                            key: summary(
                                [
                                    answers[points, (factor, noise), a, s][1][key]
                                    for s in range(seeds)
                                ]
                            )
                            for key in keys
                        }
                        for a in activations
                    }
                    for points in (samples, many)
                },
            }
        )

    def draw_densities(narrow: bool) -> Figure:
        figure, axes = style.panels(
            len(settings), 1 if narrow else 2, size=(4.2, 3.0) if narrow else (4.4, 3.2),
            sharex=True,
        )  # fmt: skip
        for ax, record in zip(axes, records, strict=True):
            r = np.linspace(0, 1.8, 500)
            outer = ring_density(r, 1.0, record["noise"])
            inner = ring_density(r, record["factor"], record["noise"])
            ax.plot(r, outer, color=style.BLUE, label="outer ring, class 0")
            ax.plot(r, inner, color=style.ORANGE, linestyle="--", label="inner ring, class 1")
            ax.fill_between(
                r, np.minimum(outer, inner), color=style.GREY, alpha=0.35, linewidth=0,
                label="overlap",
            )  # fmt: skip
            for radius in record["radii"]:
                ax.axvline(radius, color=style.BLACK, linestyle=":", linewidth=1.2)
            ax.set_title(
                f"factor {record['factor']:g}, noise {record['noise']:g}: "
                f"best possible {record['best_accuracy']:.3f}"
            )
            ax.set_xlabel("distance from the centre")
            ax.set_ylabel("density")
            ax.set_ylim(0, 1.45 * max(outer.max(), inner.max()))
            ax.legend(loc="upper left", fontsize=8.5)
        return figure

    def draw_boundaries(narrow: bool) -> Figure:
        pairs = (
            [(r, a) for a in activations for r in records]
            if narrow
            else [(r, a) for r in records for a in activations]
        )
        columns = 2 if narrow else len(activations)
        limits = (-1.75, 1.75, -1.75, 1.75)
        figure, axes = style.panels(
            len(pairs), columns, size=(2.4, 2.75) if narrow else (3.2, 3.55),
            sharex=True, sharey=True,
        )  # fmt: skip
        for ax, (record, name) in zip(axes, pairs, strict=True):
            setting = record["factor"], record["noise"]
            run, measured = answers[samples, setting, name, 0]
            numbers = (
                f"{measured['train_accuracy']:.3f} / {measured['held_out_accuracy']:.3f} / "
                f"{record['best_accuracy']:.3f}"
            )
            style.boundary(
                ax,
                run.network,
                *rings(0, *setting, samples),
                limits,
                title=f"{name}, factor {setting[0]:g}, noise {setting[1]:g}\n{numbers}",
                size=7,
            )
            if narrow:
                ax.title.set_fontsize(9)
        style.labels(axes, columns)
        figure.suptitle("Accuracy: training / held out / best possible", fontsize=10)
        return figure

    def draw_accuracies(narrow: bool) -> Figure:
        figure, axes = style.panels(
            len(settings), 1 if narrow else 2, size=(4.2, 3.4) if narrow else (4.6, 3.7),
            extra_height=0.45,
        )  # fmt: skip
        for ax, record in zip(axes, records, strict=True):
            position = 0.0
            ticks, names = [], []
            for points in (samples, many):
                for name in activations:
                    values = record[f"samples_{points}"][name]
                    look = style.activation_style(name)
                    for shift, key, filled in (
                        (-0.21, "train_accuracy", False),
                        (0.21, "held_out_accuracy", True),
                    ):
                        style.spread(
                            ax, position + shift, values[key],
                            color=look["color"], marker=look["marker"], filled=filled,
                        )  # fmt: skip
                    ticks.append(position)
                    names.append(name)
                    position += 1
                position += 0.5
            for middle, points in ((1, samples), (len(activations) + 1.5, many)):
                ax.text(
                    middle, 0.015, f"{points:,} points", ha="center", va="bottom",
                    transform=ax.get_xaxis_transform(), fontsize=9,
                )  # fmt: skip
            best = record["best_accuracy"]
            ax.axhline(best, color=style.GREY, linestyle=":", linewidth=1.4)
            ax.set_xticks(ticks, names, fontsize=8.5)
            low = min(
                min(record[f"samples_{points}"][a][key]["values"])
                for points in (samples, many)
                for a in activations
                for key in ("train_accuracy", "held_out_accuracy")
            )
            high = max(
                max(record[f"samples_{points}"][a]["train_accuracy"]["values"])
                for points in (samples, many)
                for a in activations
            )
            room = max(high, best) - low
            ax.set_ylim(low - 0.22 * room, max(high, best) + 0.1 * room)
            ax.grid(True, axis="y")
            ax.set_ylabel("accuracy")
            ax.set_title(f"factor {record['factor']:g}, noise {record['noise']:g}: best {best:.3f}")
        figure.suptitle(
            "Open: training. Filled: held out.\nBar: mean. Dotted: best possible.", fontsize=10
        )
        return figure

    rows, findings = [], []
    for record in records:
        for points in (samples, many):
            for name in activations:
                values = record[f"samples_{points}"][name]
                rows.append(
                    [
                        f"{record['factor']:g}, {record['noise']:g}",
                        f"{points:,}",
                        name,
                        mean_sd(values["train_accuracy"]),
                        mean_sd(values["held_out_accuracy"]),
                        f"{record['best_accuracy']:.4f}",
                    ]
                )
        few, more = record[f"samples_{samples}"], record[f"samples_{many}"]
        findings.append(
            f"Factor {record['factor']:g}, noise {record['noise']:g}: nobody can exceed "
            f"{record['best_accuracy']:.4f} on fresh points. With {samples} points the networks "
            "reach "
            + ", ".join(f"{few[a]['held_out_accuracy']['mean']:.4f} ({a})" for a in activations)
            + f"; with {many:,} points "
            + ", ".join(f"{more[a]['held_out_accuracy']['mean']:.4f} ({a})" for a in activations)
            + "."
        )
    findings.append(
        "A training accuracy above the best possible is not skill. The network has learned the "
        "noise of its own points, and pays for it on fresh ones."
    )
    sizes = "-".join(map(str, layer_sizes))
    return Result(
        "circles",
        "Second data set: two rings",
        f"make_circles with {samples} points: two concentric rings of radius 1 and 'factor', "
        f"moved by Gaussian noise. A {sizes} network, Adam at 0.01, {epochs:,} full-batch steps; "
        f"sigmoid's hidden weights four times LeCun's (see layers). Once more "
        f"with {many:,} points in batches of 100, {many_epochs} passes. {jobs.n_seeds(seeds)}, "
        f"{HELD_OUT:,} held-out points.",
        {
            "layer_sizes": list(layer_sizes),
            "samples": samples,
            "many": many,
            "epochs": epochs,
            "many_epochs": many_epochs,
            "seeds": seeds,
            "settings": records,
        },
        [
            Picture(
                "circles_densities",
                "How far from the centre the points of each ring lie. Where the densities "
                "overlap (grey), the best guess is the higher one; the dotted line is its "
                "boundary.",
                "Two charts of the radial densities of both rings. With factor 0.5 and noise 0.1 "
                "they hardly touch; with factor 0.8 and noise 0.2 they overlap almost wholly.",
                draw_densities,
            ),
            Picture(
                "circles_boundaries",
                f"Boundaries learned from {samples} points, seed 0. Separate rings are learned "
                "by all three activations; overlapping ones leave only crooked guesses.",
                "Six panels, three activations by two settings. With separate rings each boundary "
                "is a closed curve between them; with overlapping rings it is ragged.",
                draw_boundaries,
            ),
            Picture(
                "circles_accuracies",
                "Every run as a point, training (open) beside held-out (filled).",
                "Accuracies by activation and number of training points. With few points the "
                "training accuracy lies above the best possible and the held-out below; with "
                "many points both lie at it.",
                draw_accuracies,
            ),
        ],
        [
            Table(
                f"Mean ± standard deviation over {jobs.n_seeds(seeds)}",
                ["factor, noise", "training points", "activation", "training accuracy",
                 "held-out accuracy", "best possible"],
                rows,
            )
        ],
        findings,
    )  # fmt: skip
