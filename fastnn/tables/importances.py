"""Permutation importance of columns, and calibration of predicted probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

ROWS = 2000  # maximum number of rows; enough to rank columns
REPEATS = 5


def importances(
    score: Callable[[np.ndarray, np.ndarray], float],
    X: np.ndarray,
    y: np.ndarray,
    groups: Sequence[Sequence[int]],
    seed: int = 0,
) -> np.ndarray:
    """Decrease of the score when the values of a column are permuted.

    Parameters
    ----------
    score : callable
        ``score(X, y)`` returns the score; larger is better.
    X : ndarray, shape (rows, encoded columns)
        Rows that the model was not trained on; of more than ``ROWS``, evenly spaced ones are used.
    y : ndarray, shape (rows,) or (rows, targets)
    groups : sequence of sequence of int
        For each column of the table, the indices of its encoded columns, which are permuted
        together.
    seed : int
        Seed of the permutations.

    Returns
    -------
    ndarray, shape (len(groups), REPEATS)
        Decrease of the score in each repetition.
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
    """Calibration curve: observed frequency against predicted probability.

    Parameters
    ----------
    y : ndarray, shape (rows,)
        Class labels.
    proba : ndarray, shape (rows, classes)
        Predicted probabilities.
    classes : ndarray, shape (classes,)
        Labels in the order of the columns of ``proba``.
    bins : int
        Number of bins of equal width for the probability of the second class, or, if there are
        more than two classes, of the predicted class.

    Returns
    -------
    predicted, observed : ndarray, shape (non-empty bins,)
        Mean predicted probability, and fraction of rows of that class.
    counts : ndarray of int, shape (non-empty bins,)
        Number of rows per bin.
    error : float
        Mean absolute difference of both over the rows (expected calibration error).
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
