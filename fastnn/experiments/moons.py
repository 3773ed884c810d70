"""The two moons: the data, and the best possible accuracy on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.experiments import jobs, style
from fastnn.experiments.result import Picture, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def best_moons_accuracy(noise: float = jobs.NOISE, step: float = 0.02) -> float:
    """The accuracy that no classifier of the two moons can exceed.

    The density of each class is a half circle convolved with a Gaussian. The best classifier
    predicts the class of higher density; its accuracy is ``integral max(p0, p1) / 2``.

    Parameters
    ----------
    noise : float
        Standard deviation of the Gaussian.
    step : float
        Step size of the grid on which the integral is computed.

    Returns
    -------
    float
    """
    angles = np.pi * (np.arange(400) + 0.5) / 400
    arcs = (
        np.column_stack([np.cos(angles), np.sin(angles)]),
        np.column_stack([1 - np.cos(angles), 0.5 - np.sin(angles)]),
    )
    reach = 6 * noise
    across = np.arange(-1 - reach, 2 + reach, step)
    up = np.arange(-0.5 - reach, 1 + reach, step)
    densities = []
    for arc in arcs:
        # A two-dimensional Gaussian is a product, so a matrix product sums over the arc.
        gx = np.exp(-0.5 * ((across[:, None] - arc[:, 0]) / noise) ** 2)
        gy = np.exp(-0.5 * ((up[:, None] - arc[:, 1]) / noise) ** 2)
        densities.append(gy @ gx.T / (len(angles) * 2 * np.pi * noise**2))
    return float(np.maximum(*densities).sum() * step**2 / 2)


def data(*, samples: int = jobs.SAMPLES, noise: float = jobs.NOISE, seed: int = 0) -> Result:
    """The two moons as a scatter plot.

    Parameters
    ----------
    samples : int
        Number of samples.
    noise : float
        Standard deviation of the noise.
    seed : int
        Seed of the random points.

    Returns
    -------
    Result

    Examples
    --------
    >>> from fastnn import experiments
    >>> experiments.data(samples=50, noise=0.1).name
    'data'
    """
    X, y = jobs.moons(seed, samples, noise)
    best = best_moons_accuracy(noise)

    def draw(narrow: bool) -> Figure:
        size = (4.2, 3.6) if narrow else (6.4, 4.4)
        figure, (ax,) = style.panels(1, 1, size=size)
        style.scatter(ax, X, y, size=26, label=True)
        style.set_frame(ax, style.frame(X))
        style.labels([ax], 1)
        ax.set_title(f"Two moons: {samples} points, noise {noise:g}, seed {seed}")
        ax.legend(loc="upper right")
        return figure

    counts = np.bincount(y).tolist()
    return Result(
        "data",
        "Data: two moons",
        f"{samples} points on two half circles that reach into each other, moved by Gaussian "
        f"noise of standard deviation {noise:g} (seed {seed}).",
        {
            "samples": samples,
            "noise": noise,
            "seed": seed,
            "class_counts": counts,
            "low": X.min(axis=0).tolist(),
            "high": X.max(axis=0).tolist(),
            "best_accuracy": best,
        },
        [
            Picture(
                "data",
                "The training data. Circles are class 0, triangles class 1.",
                f"Scatter plot of {samples} points. Class 0 is a half circle open below, class 1 "
                "one open above; the tips lie inside each other and a few points overlap.",
                draw,
            )
        ],
        findings=[
            f"{counts[0]} points are of class 0 and {counts[1]} of class 1.",
            "The noise makes the classes overlap. Integrating their densities gives the best "
            f"accuracy that any classifier can have on fresh points: {best:.4f}.",
        ],
    )
