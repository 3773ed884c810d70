"""Baseline models (constant, linear), and detection of columns that are copies of the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.network import Network
from fastnn.tables.columns import Column
from fastnn.tables.kinds import read_numbers
from fastnn.training.optimizers import Adam

MIN_STEPS = 20  # fewest increments for which a monotonic relation is hardly a coincidence

ROWS = 50_000  # maximum number of training rows for a baseline
MAX_COLUMNS = 2000  # maximum number of encoded columns for a linear model, to keep it fast
UPDATES = 1500  # steps of logistic regression
PENALTY = 1e-3  # L2 penalty of the linear models, for standardised columns


def baselines(
    X: np.ndarray, y: np.ndarray, unseen_X: np.ndarray, unseen_y: np.ndarray, task: str
) -> dict[str, float | None]:
    """Scores of two simple models on unseen rows.

    Parameters
    ----------
    X, y : ndarray
        Encoded training rows; of more than ``ROWS``, evenly spaced ones are used.
    unseen_X, unseen_y : ndarray
        Encoded rows to score.
    task : {"classification", "regression"}

    Returns
    -------
    dict
        Accuracy or R^2 of two models. ``constant``: the most frequent class, or the mean.
        ``linear``: logistic regression, or least squares with a small L2 penalty; None if there
        are more than ``MAX_COLUMNS`` columns.
    """
    if len(X) > ROWS:
        rows = np.linspace(0, len(X) - 1, ROWS).astype(np.int64)
        X, y = X[rows], y[rows]
    if task == "regression":
        mean = np.full(len(unseen_y), y.mean())
        scores: dict[str, float | None] = {"constant": _r2(unseen_y, mean), "linear": None}
        if X.shape[1] <= MAX_COLUMNS:
            scores["linear"] = _r2(unseen_y, _ridge(X, y, unseen_X))
        return scores
    labels, counts = np.unique(y, return_counts=True)
    constant = float((unseen_y == labels[counts.argmax()]).mean())
    if X.shape[1] > MAX_COLUMNS:
        return {"constant": constant, "linear": None}
    net = Network([X.shape[1], len(labels)], l2=PENALTY, standardize=True, random_state=0)
    epochs = max(5, -(-UPDATES * 64 // len(X)))
    net.fit(X, y, optimizer=Adam(0.01, ema=0.99), epochs=epochs, batch_size=64)
    return {"constant": constant, "linear": net.score(unseen_X, unseen_y)}


def _ridge(X: np.ndarray, y: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Predictions of ridge regression."""
    shift, spread = X.mean(axis=0), X.std(axis=0)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
    Z = (X - shift) * scale
    gram = Z.T @ Z + PENALTY * len(Z) * np.eye(Z.shape[1])
    weights = np.linalg.solve(gram, Z.T @ (y - y.mean()))
    return (unseen - shift) * scale @ weights + y.mean()


def _r2(y: np.ndarray, predicted: np.ndarray) -> float:
    residual, total = ((y - predicted) ** 2).sum(), ((y - y.mean()) ** 2).sum()
    return float(1 - residual / total) if total > 0 else float(residual == 0)


def copies_of_target(columns: Sequence[Column], y: np.ndarray, task: str) -> list[str]:
    """Names of the columns from which the target can be read off.

    Parameters
    ----------
    columns : sequence of Column
    y : ndarray, shape (rows,)
        Target, without missing values.
    task : {"classification", "regression"}

    Returns
    -------
    list of str
        For a regression: numbers that are a linear or a strictly monotonic function of the target.
        For a classification: columns whose values correspond one to one to the classes. Only rows
        with a value count; columns with fewer than ten rows, or with values in less than half of
        the rows, are not tested.
    """
    of_class = np.unique(y, return_inverse=True)[1] if task == "classification" else y
    test: Any = _is_renamed if task == "classification" else _is_rescaled
    return [column.name for column in columns if len(column) > 9 and test(column, of_class)]


def _is_renamed(column: Column, which: np.ndarray) -> bool:
    there = ~column.gaps
    if there.sum() < 0.5 * len(there):
        return False
    n = len(np.unique(which[there]))
    values = column.values[there]
    # If most classes have a single row, any column without repeated values would match them.
    if n < 2 or 2 * n > there.sum() or len(set(values[:1000].tolist())) > n:
        return False
    names, code = np.unique(
        values.astype(str) if values.dtype.kind == "O" else values, return_inverse=True
    )
    return len(names) == n == len(np.unique(code * n + which[there]))


def _is_rescaled(column: Column, y: np.ndarray) -> bool:
    try:
        values, odd = read_numbers(column)
    except ValueError:  # dates
        return False
    there = np.isfinite(values)
    if odd or there.sum() < max(10, 0.5 * len(there)):
        return False
    a, b = values[there], y[there]
    with np.errstate(over="ignore", invalid="ignore"):  # huge values
        a, b = (v / max(np.abs(v).max(), np.finfo(float).tiny) for v in (a, b))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    if scale > 0 and abs(a @ b) / scale > 1 - 1e-9:
        return True
    steps, rises = np.diff(np.sort(a)), np.diff(b[np.argsort(a)])
    one_way = (rises >= 0).all() or (rises <= 0).all()
    together = np.array_equal(steps > 0, rises != 0)
    return bool(one_way and together and (steps > 0).sum() >= MIN_STEPS)
