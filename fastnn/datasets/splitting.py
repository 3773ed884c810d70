"""Random split into training and held-out samples."""

from __future__ import annotations

import numpy as np


def train_test_split(
    y: np.ndarray, fraction: float, seed: int, *, stratify: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Split samples at random into two parts.

    Parameters
    ----------
    y : ndarray, shape (samples,)
        Targets, one per sample.
    fraction : float
        Share of the second part.
    seed : int
        Seed of the random number generator.
    stratify : bool
        Whether to take this share of every class. At least one sample of each class stays in the
        first part.

    Returns
    -------
    train, test : ndarray of int, sorted

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.datasets import train_test_split
    >>> train, test = train_test_split(np.array([0, 1] * 10), 0.2, 0, stratify=True)
    >>> len(train), len(test)
    (16, 4)
    """
    rng = np.random.default_rng(seed)
    groups = np.unique(y, return_inverse=True)[1] if stratify else np.zeros(len(y), np.int64)
    parts = []
    for group in range(groups.max(initial=0) + 1):
        members = rng.permutation(np.flatnonzero(groups == group))
        parts.append(members[: min(round(fraction * len(members)), len(members) - 1)])
    test = np.sort(np.concatenate(parts))
    return np.setdiff1d(np.arange(len(y)), test), test
