"""Which samples are trained with and which are held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.datasets import train_test_split

if TYPE_CHECKING:
    from fastnn.datasets import Dataset
    from fastnn.network import Network

HELD_OUT = 0.2  # share of the samples, of data without another held-out part
N_FRESH = 10_000  # held-out points of synthetic data
FRESH_SEED = 20_000  # far from the seeds that people train with


def input_dtype(net: Network) -> np.dtype:
    """What a network takes samples in; one that standardises does that before it rounds."""
    return np.dtype(np.float64) if net.standardize else net.dtype


def default_share(dataset: Dataset) -> float:
    """Share of the samples to hold out: none if there are fresh ones, or a test set."""
    return 0.0 if dataset.draw is not None or dataset.X_test is not None else HELD_OUT


def split(dataset: Dataset, fraction: float | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train with and rows held out, of this share or the default one."""
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
    """Some rows of the data, as the network takes them."""
    X = dataset.X if len(rows) == len(dataset.X) else dataset.X[rows]
    return dataset.inputs(X, dtype), dataset.y[rows]


def held_out(
    dataset: Dataset, test_rows: np.ndarray, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, str]:
    """Samples that training has not seen, and what they are."""
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
