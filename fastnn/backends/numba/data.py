"""Conversion of data for the kernels."""

from __future__ import annotations

import numpy as np

from fastnn.backends.numba.compiling import noalias, public
from fastnn.backends.numba.pointers import at, pointer


@noalias
def _compress_row(row, features, indices, values):
    """Write all values without a branch; a zero is overwritten by the value after it."""
    k = 0
    for f in range(features):
        indices[k] = np.int32(f)
        values[k] = row[f]
        k += row[f] != 0


@noalias
def _compress_exactly(row, features, indices, values):
    """Write only nonzero values: beyond the last one, another thread writes."""
    k = 0
    for f in range(features):
        if row[f] != 0:
            indices[k] = np.int32(f)
            values[k] = row[f]
            k += 1


@public
def compress(x, first, last, indptr, indices, values):
    """Convert the rows from ``first`` up to ``last`` (exclusive) to CSR."""
    features = x.shape[1]
    data, columns, numbers, ends = pointer(x), pointer(indices), pointer(values), pointer(indptr)
    for s in range(first, last):
        row, begin = at(data, s * features), ends[s]
        if ends[s + 1] < ends[last]:
            _compress_row(row, features, at(columns, begin), at(numbers, begin))
        else:
            _compress_exactly(row, features, at(columns, begin), at(numbers, begin))
