"""Products of a first layer whose inputs are sparse.

The stored numbers of sample s are ``indptr[s]`` to ``indptr[s + 1]``, each with its column. The
loops run along the units: every number meets a whole row of the weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.backends.numba.compiling import apart, inner
from fastnn.backends.numba.pointers import at, smaller, transpose
from fastnn.backends.numba.tiles import sparse_sum

COLUMNS = 64  # units at a time: their part of all weights should fit into the cache


class Rows(NamedTuple):
    """Some samples of sparse data: those of ``order`` if ``gathered``, from number ``start`` on."""

    values: Any
    indices: Any
    indptr: Any
    order: Any
    gathered: bool
    start: int


@inner
def _stored(x, s):
    """Where the stored numbers of a sample begin and end."""
    row = x.order[x.start + s] if x.gathered else x.start + s
    return x.indptr[row], x.indptr[row + 1]


@apart
def sparse_forward(x, samples, w, b, scratch, out):
    """``out = w.T x + b`` for some units of a layer; columns beyond the samples get the biases."""
    for start in range(0, out.rows, COLUMNS):
        columns = smaller(out.rows - start, COLUMNS)
        for s in range(samples):
            begin, end = _stored(x, s)
            sparse_sum(
                at(x.values, begin),
                at(x.indices, begin),
                end - begin,
                at(w.data, start),
                w.ld,
                False,
                columns,
                at(scratch, s * columns),
            )
        for j in range(columns):
            line, bias = at(out.data, (start + j) * out.ld), b[start + j]
            for s in range(samples):
                line[s] = bias + scratch[s * columns + j]
            for s in range(samples, out.columns):
                line[s] = bias


@inner
def _sort_by_column(x, samples, columns, ends, values, samples_of):
    """The stored numbers by column, with their samples: those of column c end at ``ends[c]``."""
    for c in range(columns):
        ends[c] = 0
    for s in range(samples):
        begin, end = _stored(x, s)
        for k in range(begin, end):
            ends[x.indices[k]] += 1
    total = 0
    for c in range(columns):
        count = np.int64(ends[c])
        ends[c] = total
        total += count
    for s in range(samples):
        begin, end = _stored(x, s)
        for k in range(begin, end):
            place = np.int64(ends[x.indices[k]])
            values[place] = x.values[k]
            samples_of[place] = s
            ends[x.indices[k]] = place + 1


@apart
def sparse_params(x, dz, accumulate, values, samples_of, rows, dw):
    """``dw = x dz.T`` for some units of a layer.

    ``values`` and ``samples_of`` take the stored numbers by column, ``rows`` a part of dz.
    """
    samples = dz.columns
    ends = at(samples_of, dw.rows * dz.ld)
    _sort_by_column(x, samples, dw.rows, ends, values, samples_of)
    for start in range(0, dz.rows, COLUMNS):
        columns = smaller(dz.rows - start, COLUMNS)
        transpose(at(dz.data, start * dz.ld), columns, samples, dz.ld, rows, columns)
        begin = 0
        for i in range(dw.rows):
            end = np.int64(ends[i])
            sparse_sum(
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
