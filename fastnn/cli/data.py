"""Split into training and held-out samples; description of the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.cli.defaults import default_share
from fastnn.datasets import BUILT_IN, train_test_split

if TYPE_CHECKING:
    from fastnn.datasets import Dataset
    from fastnn.network import Network

N_FRESH = 10_000  # held-out points drawn for synthetic data
FRESH_SEED = 20_000  # unlikely to coincide with the seed of a training


def input_dtype(net: Network) -> np.dtype:
    """Dtype of the samples to pass to a network.

    float64 for a network that standardises, which must do so before it rounds to its own dtype.
    """
    return np.dtype(np.float64) if net.standardize else net.dtype


def split(dataset: Dataset, fraction: float | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return training rows and held-out rows; ``fraction`` None is the default for the data."""
    if fraction is None:
        fraction = default_share(dataset)
    if not 0 <= fraction < 1:
        raise ValueError(f"test must be a share in [0, 1); got {fraction!r}")
    rows = np.arange(len(dataset.X))
    if not fraction:
        return rows, rows[:0]
    stratify = dataset.task == "classification"
    return train_test_split(dataset.y, fraction, seed, stratify=stratify)


def part(dataset: Dataset, rows: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs in ``dtype`` and targets of some rows."""
    X = dataset.X if len(rows) == len(dataset.X) else dataset.X[rows]
    return dataset.inputs(X, dtype), dataset.y[rows]


def held_out(
    dataset: Dataset, test_rows: np.ndarray, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return ``X``, ``y`` of samples not used for training, and a description of them.

    These are ``test_rows`` if any, else the data's own test set, else new synthetic points, else
    no samples.
    """
    if len(test_rows):
        X, y = part(dataset, test_rows, dtype)
        return X, y, f"{len(y):,} samples set aside"
    if dataset.X_test is not None and dataset.y_test is not None:
        X, y = dataset.inputs(dataset.X_test, dtype), dataset.y_test
        return X, y, f"test set of {len(y):,}"
    if dataset.draw is not None:
        X, y = dataset.draw(N_FRESH, FRESH_SEED)
        y = y.astype(dataset.y.dtype)
        return dataset.inputs(X, dtype), y, f"{len(y):,} fresh points"
    return dataset.inputs(dataset.X[:0], dtype), dataset.y[:0], "none"


def task_text(dataset: Dataset, given: str | None) -> str:
    """Describe the task, and name the option that changes it if it was inferred.

    Parameters
    ----------
    dataset : Dataset
    given : str or None
        The task that the user chose; None if it was inferred.
    """
    y, known = dataset.y, given is not None or dataset.name in BUILT_IN
    if dataset.task == "regression":
        text = f"regression, {np.min(y):g} to {np.max(y):g}"
        other = "" if known or not np.array_equal(y, np.floor(y)) else "classification"
    else:
        labels = [str(label) for label in np.unique(y)]
        shown = ", ".join(labels)
        text = f"classification, {len(labels)} classes"
        other = "" if known or y.dtype.kind not in "iuf" else "regression"
        text += f": {shown}" if len(shown) <= (12 if other else 36) else ""
    return f"{text}; else --task {other}" if other else text
