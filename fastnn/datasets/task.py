"""Decide between classification and regression from the values of a target.

Other libraries: ``type_of_target`` of scikit-learn takes all whole numbers as classes. AutoGluon's
``infer_problem_type`` takes numbers as classes if the different values are at most 5% of the rows
(10% with fewer than 1,000 rows), so that 0, 1, 2 in 12 rows are a regression and a rounded
measurement becomes 22 classes. Here whole numbers are classes if they look like codes: two values,
few values, or values numbered from 0 or 1 that are about equally frequent. Rounded measurements
and counts differ from codes in that their extreme values are rare.
"""

from __future__ import annotations

import numpy as np

FEW = 10  # maximum number of different whole numbers that are classes if each is frequent enough
MAX_CLASSES = 1000  # more different values are never taken as classes
ROWS_OF_CODES, ROWS_OF_OTHERS = 2, 5  # minimum mean rows per class: numbered from 0 or 1, or not
EVEN = 0.25  # maximum squared coefficient of variation of the frequencies; >= 0.4 for a normal


def guess_task(y: np.ndarray) -> str:
    """Guess the task from the targets.

    Parameters
    ----------
    y : ndarray, shape (samples,)
        Numbers, booleans or strings, without missing values.

    Returns
    -------
    {"classification", "regression"}
        Strings and booleans are classes; numbers with fractions are values. Whole numbers are
        classes in three cases: at most two different values; up to ten different values with on
        average five rows each (two if they are numbered consecutively from 0 or 1); up to 1000
        values that are numbered from 0 or 1, have on average two rows each and are about equally
        frequent.

    Examples
    --------
    >>> guess_task(np.array([0, 1, 2] * 4)), guess_task(np.array([3, 18, 7, 12]))
    ('classification', 'regression')
    """
    if y.dtype.kind not in "fiu":
        return "classification"
    if y.dtype.kind == "f" and not np.array_equal(y, np.floor(y)):
        return "regression"
    values, counts = np.unique(y, return_counts=True)
    return "classification" if _are_codes(values, counts) else "regression"


def _are_codes(values: np.ndarray, counts: np.ndarray) -> bool:
    """Whether whole numbers with these frequencies are classes."""
    n_values, n_rows = len(values), int(counts.sum())
    if n_values <= 2:
        return True
    first, span = float(values[0]), float(values[-1]) - float(values[0]) + 1
    from_the_start = first in (0.0, 1.0)
    if n_values <= FEW:
        codes = from_the_start and span == n_values
        return n_rows >= n_values * (ROWS_OF_CODES if codes else ROWS_OF_OTHERS)
    if n_values > MAX_CLASSES or not from_the_start or n_values < 0.9 * span:
        return False
    # Subtract the variation that equally frequent classes have by chance.
    mean = n_rows / n_values
    return mean >= ROWS_OF_CODES and counts.var() / mean**2 - 1 / mean <= EVEN
