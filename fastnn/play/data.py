"""Points of two features with classes, and the best accuracy that anyone can have on them.

Most data are curves (or single points) of which every point is moved by Gaussian noise. The
density of a class is then a mean of Gaussians along its curve. The best guess is the densest class;
it is right with the probability that the integral of the highest density tells.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from fastnn.datasets import train_test_split
from fastnn.datasets.builtin import moons
from fastnn.play.settings import NOISY, PlaySettings

Pair = tuple[np.ndarray, np.ndarray]

N_FRESH = 2000  # points for the accuracy on fresh data
FRESH_SEED = 1_000_000
CENTERS = ((-1.5, -1.0), (1.5, 1.0), (-1.5, 1.5), (1.5, -1.5))  # of blobs
TURNS = 1.5  # of a spiral


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
        moons and circles are those of scikit-learn; blobs, spirals, quantiles (rings of a Gaussian
        with as many points each, without noise), xor.
    samples : int
    noise : float
        Standard deviation of the Gaussian that moves every point.
    classes : int
        Of blobs, spirals and quantiles; the others have two.
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
    """Points of the arms of a spiral, ``t`` from 0 (inside) to 1."""
    radius = 0.15 + 1.6 * t
    angle = 2 * np.pi * (TURNS * t + arm / arms)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


class Points:
    """The points of a request: what is trained with, what is held out, what is fresh.

    Attributes
    ----------
    X, y : ndarray
        All points, classes from 0.
    train, test : ndarray of int
        Which of them are trained with, and which are held out.
    classes : ndarray
        The classes that the training points have, in the order of the outputs.
    fresh : tuple of ndarray, or None
        Other points of the same distribution, of data that have one.
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
        """Points and classes that are trained with."""
        return self.X[self.train], self.y[self.train]

    @property
    def of_test(self) -> Pair | None:
        """Those that are held out; else fresh ones; None of points that somebody drew."""
        return (self.X[self.test], self.y[self.test]) if len(self.test) else self.fresh

    def limits(self, settings: PlaySettings) -> list[float]:
        """What the picture shows: left, right, bottom, top.

        Whole steps, so that the picture stands still while a slider moves; of the data that we
        make the same step in both directions, so that circles are round.
        """
        low, high = self.X.min(axis=0), self.X.max(axis=0)
        if settings.data == "points" and max(-low.min(), high.max()) <= 2:
            return [-2.0, 2.0, -2.0, 2.0]  # a sheet that does not move while one draws on it
        width = np.maximum(high - low, 1e-6 * np.maximum(np.abs(high), 1.0))
        if settings.data != "points":
            width[:] = width.max()
        step = 2.0 ** np.floor(np.log2(width / 6))
        steps = np.ceil(1.1 * width / step) + 1
        left = np.round(((low + high) / 2 - steps * step / 2) / step) * step
        right = left + steps * step
        return [float(left[0]), float(right[0]), float(left[1]), float(right[1])]


def _drawn(settings: PlaySettings, samples: int, seed: int) -> Pair:
    """Points of a request."""
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
    """Fresh points of a distribution; no training set has this seed."""
    X, y = make_data(name, N_FRESH, noise=noise, classes=classes, factor=factor, seed=FRESH_SEED)
    return X * scale, y


# --- the best possible ------------------------------------------------------------


@functools.lru_cache(256)
def best_accuracy(
    name: str, noise: float = 0.2, classes: int = 2, factor: float = 0.5
) -> float | None:
    """The accuracy on fresh points that no classifier can exceed.

    Parameters
    ----------
    name, noise, classes, factor
        As for :func:`make_data`.

    Returns
    -------
    float or None
        None of drawn points, whose distribution nobody knows.
    """
    if name == "points":
        return None
    if name not in NOISY or noise == 0:
        return 1.0
    if name == "xor":
        return _best_of_xor(noise)
    curves = _curves(name, classes, factor)
    noise = max(noise, 0.03)  # below nothing overlaps, and the grid would be large
    low = np.min([curve.min(axis=0) for curve in curves], axis=0) - 6 * noise
    high = np.max([curve.max(axis=0) for curve in curves], axis=0) + 6 * noise
    step = max(noise / 12, float((high - low).max()) / 400)
    across, up = (np.arange(low[i], high[i], step) for i in (0, 1))
    densities = []
    for curve in curves:
        # A Gaussian of two dimensions is a product: a matrix product sums over the curve.
        gx = _gauss((across[:, None] - curve[:, 0]) / noise)
        gy = _gauss((up[:, None] - curve[:, 1]) / noise)
        densities.append(gy @ gx.T / (len(curve) * 2 * np.pi * noise**2))
    return float(np.max(densities, axis=0).sum() * step**2 / len(curves))


def _gauss(z: np.ndarray) -> np.ndarray:
    """Far out a number so small that it does not count, and no subnormal one, which is slow."""
    return np.exp(-0.5 * np.minimum(z * z, 80.0))


def _curves(name: str, classes: int, factor: float) -> list[np.ndarray]:
    """Points along the curve of every class, as far apart as they are probable."""
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
    """The best guess is the quadrant a point lies in: right if none or both of the signs changed.

    A uniform coordinate changes its sign with probability ``noise`` times the integral of the
    normal distribution's tail from 0 to ``1 / noise``.
    """
    u = 1 / noise
    tail = 0.5 * math.erfc(u / math.sqrt(2))
    peak = 1 / math.sqrt(2 * math.pi)
    flip = tail + noise * peak * (1 - math.exp(-0.5 * u * u))
    return (1 - flip) ** 2 + flip**2
