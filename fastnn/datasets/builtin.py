"""Built-in data: four synthetic data sets and small tables of scikit-learn."""

from __future__ import annotations

import numpy as np

from fastnn.datasets.dataset import Dataset
from fastnn.datasets.targets import check_target

BUILT_IN = (
    "moons",
    "circles",
    "blobs",
    "quantiles",
    "iris",
    "wine",
    "digits",
    "breast_cancer",
    "diabetes",
    "mnist",
)

N_SYNTHETIC = 200  # samples of a synthetic data set


def moons(n: int, seed: int, noise: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Two moons, equal to ``sklearn.datasets.make_moons(n, noise=noise, random_state=seed)``.

    Reimplemented because importing scikit-learn takes longer than training on these data.
    """
    rng = np.random.RandomState(seed)
    outer, inner = np.linspace(0, np.pi, n // 2), np.linspace(0, np.pi, n - n // 2)
    X = np.vstack(
        [
            np.append(np.cos(outer), 1 - np.cos(inner)),
            np.append(np.sin(outer), 1 - np.sin(inner) - 0.5),
        ]
    ).T
    y = np.repeat([0, 1], [len(outer), len(inner)])
    order = np.arange(n)
    rng.shuffle(order)
    return X[order] + rng.normal(scale=noise, size=X.shape), y[order]


def circles(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two concentric circles."""
    from sklearn.datasets import make_circles

    return make_circles(n, noise=0.1, factor=0.5, random_state=seed)


def blobs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four Gaussian blobs."""
    from sklearn.datasets import make_blobs

    # Fixed centres, so that another seed draws from the same distribution.
    centers = [(-2.5, -1.0), (0.0, 2.5), (2.5, -1.0), (0.0, -4.0)]
    return make_blobs(n, centers=centers, cluster_std=1.0, random_state=seed)


def quantiles(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes in concentric rings, separated by quantiles of a Gaussian."""
    from sklearn.datasets import make_gaussian_quantiles

    return make_gaussian_quantiles(n_samples=n, n_features=2, n_classes=3, random_state=seed)


SYNTHETIC = {"moons": moons, "circles": circles, "blobs": blobs, "quantiles": quantiles}


def synthetic(name: str, seed: int, task: str | None) -> Dataset:
    """Create a synthetic data set: two features, integer classes, and ``draw`` for new samples."""
    draw = SYNTHETIC[name]
    X, y = draw(N_SYNTHETIC, seed)
    y = y.astype(np.int64)
    return Dataset(name, X, y, task or "classification", ("x0", "x1"), "class", draw=draw)


def from_sklearn(name: str, task: str | None) -> Dataset:
    """Load a small table of scikit-learn; classes are their names, digits are integers."""
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    y = data.target
    if name in ("iris", "wine", "breast_cancer") and task != "regression":
        y = data.target_names[y]
    elif name == "digits":
        y = y.astype(np.int64)
    features = tuple(str(feature) for feature in data.feature_names)
    y, task = check_target(y, task, "target", name)
    scale = 16.0 if name == "digits" else 1.0
    return Dataset(name, data.data, y, task, features, "target", scale=scale)
