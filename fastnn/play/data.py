"""Two-dimensional points with classes, and the highest accuracy possible on them.

Most of the data sets are points on curves (or single points) with Gaussian noise. The density of a
class is then a mean of Gaussians along its curve. The optimal classifier predicts the class of the
highest density; its accuracy is the integral of that density, divided by the number of classes.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from fastnn.datasets import train_test_split
from fastnn.datasets.builtin import moons
from fastnn.play.settings import NOISY, PlaySettings

Pair = tuple[np.ndarray, np.ndarray]

N_FRESH = 2000  # number of points for the accuracy on fresh data
FRESH_SEED = 1_000_000
CENTERS = ((-1.5, -1.0), (1.5, 1.0), (-1.5, 1.5), (1.5, -1.5))  # of the blobs
TURNS = 1.5  # of each arm of the spirals


def make_data(
    name: str,
    samples: int = 200,
    *,
    noise: float = 0.2,
    classes: int = 2,
    factor: float = 0.5,
    seed: int = 0,
) -> Pair:
    """Draw points of a known distribution.

    Parameters
    ----------
    name : str
        moons and circles as in scikit-learn; blobs; spirals; quantiles (rings of a Gaussian with
        equally many points in each, without noise); xor.
    samples : int
    noise : float
        Standard deviation of the Gaussian noise added to every point.
    classes : int
        Number of classes of blobs, spirals and quantiles; the others have two.
    factor : float
        Radius of the inner circle.
    seed : int

    Returns
    -------
    X : ndarray of float64, shape (samples, 2)
    y : ndarray of int64, shape (samples,)
    """
    rng = np.random.RandomState(seed)
    if name == "moons":
        X, y = moons(samples, seed, noise)
    elif name == "circles":
        from sklearn.datasets import make_circles

        X, y = make_circles(samples, noise=noise or None, factor=factor, random_state=seed)
    elif name == "quantiles":
        from sklearn.datasets import make_gaussian_quantiles

        X, y = make_gaussian_quantiles(
            n_samples=samples, n_features=2, n_classes=classes, random_state=seed
        )
    elif name == "xor":
        X = rng.uniform(-1, 1, (samples, 2))
        y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
        X += rng.normal(scale=noise, size=X.shape)
    elif name in ("blobs", "spirals"):
        y = np.arange(samples) % classes
        if name == "blobs":
            X = np.array(CENTERS)[y]
        else:
            X = spiral(rng.uniform(size=samples), y, classes)
        X = X + rng.normal(scale=noise, size=X.shape)
    else:
        raise ValueError(f"there are no data {name!r}")
    return X, y.astype(np.int64)


def spiral(t: np.ndarray, arm: np.ndarray, arms: int) -> np.ndarray:
    """Points on the arms of a spiral; ``t`` is the position on the arm, from 0 (inside) to 1."""
    radius = 0.15 + 1.6 * t
    angle = 2 * np.pi * (TURNS * t + arm / arms)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


class Points:
    """The points of a request: training, held-out and fresh points.

    Attributes
    ----------
    X, y : ndarray
        All points and their classes, starting at 0.
    train, test : ndarray of int
        Row indices of the training points and of the held-out points.
    classes : ndarray
        Classes of the training points, in the order of the outputs.
    fresh : tuple of ndarray, or None
        New points from the same distribution; None for user-defined points.
    """

    def __init__(self, settings: PlaySettings) -> None:
        self.X, self.y = _drawn(settings, settings.samples, settings.data_seed)
        self.train, self.test = np.arange(len(self.y)), np.empty(0, np.int64)
        if settings.held_out:
            self.train, self.test = train_test_split(
                self.y, settings.held_out, settings.data_seed, stratify=True
            )
        self.classes = np.unique(self.y[self.train])
        self.fresh = None
        if settings.data != "points":
            self.fresh = _fresh(
                settings.data, settings.noise, settings.n_classes, settings.factor, settings.scale
            )

    @property
    def of_training(self) -> Pair:
        """Training points and their classes."""
        return self.X[self.train], self.y[self.train]

    @property
    def of_test(self) -> Pair | None:
        """Held-out points if there are any, else fresh points; None if there are neither."""
        return (self.X[self.test], self.y[self.test]) if len(self.test) else self.fresh

    def limits(self, settings: PlaySettings) -> list[float]:
        """Limits of the picture: left, right, bottom, top.

        The limits are multiples of a step, so that the picture does not move with every change of a
        slider. For generated data, the step is the same in both directions, so that circles are
        round.
        """
        low, high = self.X.min(axis=0), self.X.max(axis=0)
        if settings.data == "points" and max(-low.min(), high.max()) <= 2:
            return [-2.0, 2.0, -2.0, 2.0]  # fixed limits while points are drawn with the mouse
        width = np.maximum(high - low, 1e-6 * np.maximum(np.abs(high), 1.0))
        if settings.data != "points":
            width[:] = width.max()
        step = 2.0 ** np.floor(np.log2(width / 6))
        steps = np.ceil(1.1 * width / step) + 1
        left = np.round(((low + high) / 2 - steps * step / 2) / step) * step
        right = left + steps * step
        return [float(left[0]), float(right[0]), float(left[1]), float(right[1])]


def _drawn(settings: PlaySettings, samples: int, seed: int) -> Pair:
    """Points of a request, user-defined or generated, scaled."""
    if settings.data == "points":
        table = np.array(settings.points, np.float64)
        X, y = table[:, :2], table[:, 2].astype(np.int64)
    else:
        X, y = make_data(
            settings.data,
            samples,
            noise=settings.noise,
            classes=settings.n_classes,
            factor=settings.factor,
            seed=seed,
        )
    return X * settings.scale, y


@functools.lru_cache(64)
def _fresh(name: str, noise: float, classes: int, factor: float, scale: float) -> Pair:
    """Fresh points of a distribution, drawn with ``FRESH_SEED``."""
    X, y = make_data(name, N_FRESH, noise=noise, classes=classes, factor=factor, seed=FRESH_SEED)
    return X * scale, y


# --- the best possible ------------------------------------------------------------


@functools.lru_cache(256)
def best_accuracy(
    name: str, noise: float = 0.2, classes: int = 2, factor: float = 0.5
) -> float | None:
    """The highest accuracy on fresh points that is possible for any classifier.

    Parameters
    ----------
    name, noise, classes, factor
        As for :func:`make_data`.

    Returns
    -------
    float or None
        None for user-defined points, whose distribution is unknown.
    """
    if name == "points":
        return None
    if name not in NOISY or noise == 0:
        return 1.0
    if name == "xor":
        return _best_of_xor(noise)
    curves = _curves(name, classes, factor)
    noise = max(noise, 0.03)  # with less noise the classes do not overlap; the grid would be large
    low = np.min([curve.min(axis=0) for curve in curves], axis=0) - 6 * noise
    high = np.max([curve.max(axis=0) for curve in curves], axis=0) + 6 * noise
    step = max(noise / 12, float((high - low).max()) / 400)
    across, up = (np.arange(low[i], high[i], step) for i in (0, 1))
    densities = []
    for curve in curves:
        # The Gaussian factorises into x and y: a matrix product sums over the points of the curve.
        gx = _gauss((across[:, None] - curve[:, 0]) / noise)
        gy = _gauss((up[:, None] - curve[:, 1]) / noise)
        densities.append(gy @ gx.T / (len(curve) * 2 * np.pi * noise**2))
    return float(np.max(densities, axis=0).sum() * step**2 / len(curves))


def _gauss(z: np.ndarray) -> np.ndarray:
    """Unnormalised Gaussian; the exponent is at least -40, as subnormal numbers are slow."""
    return np.exp(-0.5 * np.minimum(z * z, 80.0))


def _curves(name: str, classes: int, factor: float) -> list[np.ndarray]:
    """Points along the curve of each class, all with the same probability."""
    t = (np.arange(250) + 0.5) / 250
    if name == "moons":
        half = np.pi * t
        return [
            np.column_stack([np.cos(half), np.sin(half)]),
            np.column_stack([1 - np.cos(half), 0.5 - np.sin(half)]),
        ]
    if name == "circles":
        ring = np.column_stack([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)])
        return [ring, factor * ring]
    if name == "blobs":
        return [np.array([center]) for center in CENTERS[:classes]]
    return [spiral(t, np.full(len(t), arm), classes) for arm in range(classes)]


def _best_of_xor(noise: float) -> float:
    """Highest accuracy on xor: the quadrant is right if none or both of the signs have changed.

    Noise changes the sign of a uniform coordinate with the probability ``noise`` times the integral
    from 0 to ``1 / noise`` of the tail probability of the standard normal distribution.
    """
    u = 1 / noise
    tail = 0.5 * math.erfc(u / math.sqrt(2))
    peak = 1 / math.sqrt(2 * math.pi)
    flip = tail + noise * peak * (1 - math.exp(-0.5 * u * u))
    return (1 - flip) ** 2 + flip**2
