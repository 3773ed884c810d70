"""Targets: what they are made of, and what kind of task they are for."""

from __future__ import annotations

import numpy as np

TASKS = ("classification", "regression")

# A target of whole numbers with at most this many different values is a class label.
MAX_INTEGER_CLASSES = 30


def check_target(y: np.ndarray, task: str | None, name: str, where: str) -> tuple[np.ndarray, str]:
    """Targets without gaps, and what kind of task they make."""
    if y.ndim != 1:
        raise ValueError(f"{where}: target {name!r} must be 1-D; got shape {y.shape}")
    missing = np.isnan(y) if y.dtype.kind == "f" else np.array([value is None for value in y])
    if missing.any():
        raise ValueError(
            f"{where}: target {name!r} has a missing value in row {missing.argmax() + 1}"
        )
    if y.dtype.kind == "f" and np.isinf(y).any():
        raise ValueError(
            f"{where}: target {name!r} has an infinite value in row {np.isinf(y).argmax() + 1}"
        )
    if y.dtype.kind not in "fiub":
        y = np.array([str(value) for value in y])
    if task is None:
        few = max(2, min(MAX_INTEGER_CLASSES, len(y) // 5))
        whole = y.dtype.kind in "iu" and len(np.unique(y)) <= few
        task = "classification" if whole or y.dtype.kind in "Ub" else "regression"
    if task == "classification" and y.dtype.kind == "f":
        if not np.array_equal(y, np.floor(y)):
            raise ValueError(f"{where}: target {name!r} has fractions, which are no class labels")
        y = whole(y)
    if task == "regression":
        if y.dtype.kind == "U":
            raise ValueError(f"{where}: target {name!r} is not numeric ({str(y[0])!r} in row 1)")
        y = y.astype(np.float64)
    return y, task


def whole(y: np.ndarray) -> np.ndarray:
    """Whole floats as int64 where they fit."""
    return y.astype(np.int64) if (np.abs(y) < 2.0**53).all() else y
