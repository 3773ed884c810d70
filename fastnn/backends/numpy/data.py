"""Conversion of data for the kernels."""

import numpy as np

ROWS_AT_A_TIME = 256  # rows processed at a time, so that they stay in the cache


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
    columns = np.tile(np.arange(features, dtype=np.int32), min(last - first, ROWS_AT_A_TIME))
    for start in range(first, last, ROWS_AT_A_TIME):
        stop = min(start + ROWS_AT_A_TIME, last)
        part = x[start:stop].reshape(-1)
        positions = np.flatnonzero(part != 0)  # several times faster for booleans than for floats
        stored = slice(indptr[start], indptr[stop])
        indices[stored] = columns[positions]
        values[stored] = part[positions]
