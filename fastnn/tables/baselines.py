"""What a model must beat: a constant and a linear model; and columns that give the target away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.network import Network
from fastnn.tables.columns import Column
from fastnn.tables.kinds import read_numbers
from fastnn.training.optimizers import Adam

FEWEST = 20  # different numbers that do not rise together by chance

ROWS = 50_000  # of training that a baseline learns from
MOST_COLUMNS = 2000  # encoded, with which a linear model is quick
UPDATES = 1500  # steps of logistic regression
PENALTY = 1e-3  # of the linear models, of standardised columns


def baselines(
    X: np.ndarray, y: np.ndarray, unseen_X: np.ndarray, unseen_y: np.ndarray, task: str
) -> dict[str, float | None]:
    """Scores of two simple models for rows that they have not seen.

    Parameters
    ----------
    X, y : ndarray
        Encoded rows of training; at most ``ROWS`` of them are taken, spread over all.
    unseen_X, unseen_y : ndarray
    task : {"classification", "regression"}

    Returns
    -------
    dict
        ``constant``: the most frequent class, or the mean. ``linear``: logistic regression, or
        least squares with a small penalty; None of more than ``MOST_COLUMNS``. Accuracy, or R^2.
    """
    if len(X) > ROWS:
        rows = np.linspace(0, len(X) - 1, ROWS).astype(np.int64)
        X, y = X[rows], y[rows]
    if task == "regression":
        mean = np.full(len(unseen_y), y.mean())
        scores: dict[str, float | None] = {"constant": _r2(unseen_y, mean), "linear": None}
        if X.shape[1] <= MOST_COLUMNS:
            scores["linear"] = _r2(unseen_y, _ridge(X, y, unseen_X))
        return scores
    labels, counts = np.unique(y, return_counts=True)
    constant = float((unseen_y == labels[counts.argmax()]).mean())
    if X.shape[1] > MOST_COLUMNS:
        return {"constant": constant, "linear": None}
    net = Network([X.shape[1], len(labels)], l2=PENALTY, standardize=True, random_state=0)
    epochs = max(5, -(-UPDATES * 64 // len(X)))
    net.fit(X, y, optimizer=Adam(0.01, ema=0.99), epochs=epochs, batch_size=64)
    return {"constant": constant, "linear": net.score(unseen_X, unseen_y)}


def _ridge(X: np.ndarray, y: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Predictions of least squares with a penalty."""
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
    """Names of the columns that say what the target is.

    Parameters
    ----------
    columns : sequence of Column
    y : ndarray, shape (rows,)
        Without gaps.
    task : {"classification", "regression"}

    Returns
    -------
    list of str
        Of a regression: numbers that are the target in other units, or rise or fall with it in
        all rows. Of classes: columns whose values and the classes belong to each other one to one,
        in all rows that have a value.
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
    # Classes of a row each, which count or name the rows, belong to any column without repetitions.
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
    with np.errstate(over="ignore", invalid="ignore"):  # means of huge numbers
        a, b = (v / max(np.abs(v).max(), np.finfo(float).tiny) for v in (a, b))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    if scale > 0 and abs(a @ b) / scale > 1 - 1e-9:
        return True
    steps, rises = np.diff(np.sort(a)), np.diff(b[np.argsort(a)])
    one_way = (rises >= 0).all() or (rises <= 0).all()
    together = np.array_equal(steps > 0, rises != 0)
    return bool(one_way and together and (steps > 0).sum() >= FEWEST)
