"""Conversion of data for the kernels."""

import numpy as np

PART = 256  # rows processed at a time, so that they stay in the cache


def compress(x, first, last, indptr, indices, values):
    """Convert the rows from ``first`` up to ``last`` (exclusive) to CSR.

    Parameters
    ----------
    x : ndarray, shape (samples, features)
    first, last : int
    indptr : ndarray of int64, shape (samples + 1,)
        Row pointers, which the caller has computed.
    indices : ndarray of int32, shape (stored,)
        Output: columns of the nonzero values.
    values : ndarray, shape (stored,)
        Output: the nonzero values.
    """
    features = x.shape[1]
    columns = np.tile(np.arange(features, dtype=np.int32), min(last - first, PART))
    for start in range(first, last, PART):
        stop = min(start + PART, last)
        part = x[start:stop].reshape(-1)
        places = np.flatnonzero(part != 0)  # several times faster for booleans than for floats
        stored = slice(indptr[start], indptr[stop])
        indices[stored] = columns[places]
        values[stored] = part[places]
