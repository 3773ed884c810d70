"""Which columns of a table a model needs: permutation importance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

ROWS = 2000  # that are enough to rank columns
REPEATS = 5


def importances(
    score: Callable[[np.ndarray, np.ndarray], float],
    X: np.ndarray,
    y: np.ndarray,
    groups: Sequence[Sequence[int]],
    seed: int = 0,
) -> np.ndarray:
    """By how much the score falls when the values of a column change places.

    Parameters
    ----------
    score : callable
        ``score(X, y)``.
    X : ndarray, shape (rows, encoded columns)
        Rows that the model has not seen; of many, some spread over all are taken.
    y : ndarray, shape (rows,)
    groups : sequence of sequence of int
        The encoded columns of each column of the table, which are permuted together.
    seed : int

    Returns
    -------
    ndarray, shape (len(groups), REPEATS)
        The fall in each repetition.
    """
    if len(X) > ROWS:
        rows = np.linspace(0, len(X) - 1, ROWS).astype(np.int64)
        X, y = X[rows], y[rows]
    rng = np.random.default_rng(seed)
    whole = score(X, y)
    falls = np.zeros((len(groups), REPEATS))
    changed = X.copy()
    for k, group in enumerate(groups):
        columns = list(group)
        for repeat in range(REPEATS):
            changed[:, columns] = X[rng.permutation(len(X))][:, columns]
            falls[k, repeat] = whole - score(changed, y)
        changed[:, columns] = X[:, columns]
    return falls


def calibration(
    y: np.ndarray, proba: np.ndarray, classes: np.ndarray, bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """How often predictions of some probability come true.

    Parameters
    ----------
    y : ndarray, shape (rows,)
    proba : ndarray, shape (rows, classes)
    classes : ndarray, shape (classes,)
    bins : int
        Equally wide ones, over the probability of the second of two classes, else of the most
        probable one.

    Returns
    -------
    predicted, observed : ndarray, shape (bins that have rows,)
        Mean probability, and share of the rows where it came true.
    counts : ndarray of int
    error : float
        Mean difference of both over the rows (expected calibration error).
    """
    if len(classes) == 2:
        p, true = proba[:, 1], y == classes[1]
    else:
        p, true = proba.max(axis=1), y == classes[proba.argmax(axis=1)]
    which = np.minimum((p * bins).astype(np.int64), bins - 1)
    counts = np.bincount(which, minlength=bins)
    there = counts > 0
    predicted = np.bincount(which, p, bins)[there] / counts[there]
    observed = np.bincount(which, true, bins)[there] / counts[there]
    error = float((np.abs(predicted - observed) * counts[there]).sum() / len(y))
    return predicted, observed, counts[there], error
