"""Products of a first layer with sparse inputs (CSR).

The stored values of sample s are ``values[indptr[s]:indptr[s + 1]]``, each with its column. The
loops run along the units: each value is multiplied by a row of the weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.backends.numba.compiling import inner, noinline
from fastnn.backends.numba.pointers import at, minimum, transpose
from fastnn.backends.numba.tiles import sparse_sum

SPARSE_UNITS = 64  # units processed at a time, so that their weights fit into the cache


class CsrBlock(NamedTuple):
    """Samples of sparse data from position ``start`` of ``order`` (if ``gathered``) or of the data.

    ``indptr``, ``indices`` and ``values`` are those of all data.
    """

    values: Any
    indices: Any
    indptr: Any
    order: Any
    gathered: bool
    start: int


@inner
def _csr_range(x, s):
    """Return the range of a sample's stored values."""
    row = x.order[x.start + s] if x.gathered else x.start + s
    return x.indptr[row], x.indptr[row + 1]


@noinline
def _sparse_sum(values, rows, n, matrix, ld, accumulate, columns, out):
    """See :func:`fastnn.backends.numba.tiles.sparse_sum`; compiled once for both products."""
    sparse_sum(values, rows, n, matrix, ld, accumulate, columns, out)


@noinline
def sparse_product(x, samples, w, b, scratch, out):
    """``out = w.T x + b`` for a range of units; columns of padding are set to the biases."""
    for start in range(0, out.rows, SPARSE_UNITS):
        columns = minimum(out.rows - start, SPARSE_UNITS)
        for s in range(samples):
            begin, end = _csr_range(x, s)
            _sparse_sum(
                at(x.values, begin),
                at(x.indices, begin),
                end - begin,
                at(w.data, start),
                w.ld,
                np.bool_(False),
                columns,
                at(scratch, s * columns),
            )
        for j in range(columns):
            row, bias = at(out.data, (start + j) * out.ld), b[start + j]
            for s in range(samples):
                row[s] = bias + scratch[s * columns + j]
            for s in range(samples, out.columns):
                row[s] = bias


@inner
def _sort_by_column(x, samples, columns, ends, values, samples_of):
    """Sort the stored values by column, with their samples; column c ends at ``ends[c]``."""
    for c in range(columns):
        ends[c] = 0
    for s in range(samples):
        begin, end = _csr_range(x, s)
        for k in range(begin, end):
            ends[x.indices[k]] += 1
    total = 0
    for c in range(columns):
        count = np.int64(ends[c])
        ends[c] = total
        total += count
    for s in range(samples):
        begin, end = _csr_range(x, s)
        for k in range(begin, end):
            place = np.int64(ends[x.indices[k]])
            values[place] = x.values[k]
            samples_of[place] = s
            ends[x.indices[k]] = place + 1


@noinline
def csc_outer_product(x, dz, accumulate, values, samples_of, rows, dw):
    """``dw = x dz.T`` for a range of units of a layer.

    Scratch memory: ``values`` and ``samples_of`` for the stored values sorted by column, ``rows``
    for the transposed part of dz.
    """
    samples = dz.columns
    ends = at(samples_of, dw.rows * dz.ld)
    _sort_by_column(x, samples, dw.rows, ends, values, samples_of)
    for start in range(0, dz.rows, SPARSE_UNITS):
        columns = minimum(dz.rows - start, SPARSE_UNITS)
        transpose(at(dz.data, start * dz.ld), columns, samples, dz.ld, rows, columns)
        begin = 0
        for i in range(dw.rows):
            end = np.int64(ends[i])
            _sparse_sum(
                at(values, begin),
                at(samples_of, begin),
                end - begin,
                rows,
                columns,
                accumulate,
                columns,
                at(dw.data, i * dw.ld + start),
            )
            begin = end
