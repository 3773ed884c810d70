"""Whether a target is a class or a number, by its values.

What others do: ``type_of_target`` of scikit-learn takes all whole numbers for classes; AutoGluon's
``infer_problem_type`` takes numbers for classes if at most 5% of them differ (10% of fewer than
1,000), so that 0, 1, 2 in 12 rows are a regression and a rounded measurement is 22 classes. Here
what counts is whether whole numbers look like codes: two of them, few, or numbered from 0 or 1 and
about equally frequent, where rounded measurements and counts have rare values at the ends.
"""

from __future__ import annotations

import numpy as np

FEW = 10  # different whole numbers that are classes if each is there a few times
MOST = 1000  # classes that are guessed at all
ROWS_OF_CODES, ROWS_OF_OTHERS = 2, 5  # rows a class, at least, numbered from 0 or 1 or not
EVEN = 0.25  # squared coefficient of variation of the frequencies; 0.4 and more of a normal's


def guess_task(y: np.ndarray) -> str:
    """What a target is: the class or the value of something.

    Parameters
    ----------
    y : ndarray, shape (samples,)
        Numbers, booleans or strings, without gaps.

    Returns
    -------
    {"classification", "regression"}
        Strings and booleans are classes, numbers with fractions are values. Whole numbers are
        classes if there are two different ones; if there are up to ten, with five rows each, or
        two each if they are numbered from 0 or 1; if there are more, if they are numbered from 0
        or 1 and about equally frequent.

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
    """Whether whole numbers, each so often, are classes."""
    n_values, n_rows = len(values), int(counts.sum())
    if n_values <= 2:
        return True
    first, span = float(values[0]), float(values[-1]) - float(values[0]) + 1
    from_the_start = first in (0.0, 1.0)
    if n_values <= FEW:
        codes = from_the_start and span == n_values
        return n_rows >= n_values * (ROWS_OF_CODES if codes else ROWS_OF_OTHERS)
    if n_values > MOST or not from_the_start or n_values < 0.9 * span:
        return False
    # The variation that equal frequencies have by chance alone is taken off.
    mean = n_rows / n_values
    return mean >= ROWS_OF_CODES and counts.var() / mean**2 - 1 / mean <= EVEN
