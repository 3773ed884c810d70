"""Data on their way to the kernels."""

import numpy as np

PART = 256  # rows at a time, which stay in the cache


def compress(x, first, last, indptr, indices, values):
    """Rows from ``first`` up to ``last`` without their zeros, as CSR.

    Parameters
    ----------
    x : ndarray, shape (samples, features)
    first, last : int
    indptr : ndarray of int64, shape (samples + 1,)
        Where the nonzero numbers of each row begin and end: how many it has is known.
    indices : ndarray of int32, shape (stored,)
        Written: the columns.
    values : ndarray, shape (stored,)
        Written.
    """
    features = x.shape[1]
    columns = np.tile(np.arange(features, dtype=np.int32), min(last - first, PART))
    for start in range(first, last, PART):
        stop = min(start + PART, last)
        part = x[start:stop].reshape(-1)
        places = np.flatnonzero(part != 0)  # NumPy finds True several times as fast as a number
        stored = slice(indptr[start], indptr[stop])
        indices[stored] = columns[places]
        values[stored] = part[places]
