"""Per-sample parameter gradients, block by block."""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba.compiling import distinct, inner, public
from fastnn.backends.numba.derivatives import (
    Vectors,
    forward_rows,
    layer_inputs_back,
    read_columns,
    slopes,
)
from fastnn.backends.numba.network import layer_of, net_of, units_of
from fastnn.backends.numba.pointers import at, copy, pointer
from fastnn.backends.numba.subnormals import flush_subnormals, restore_subnormals


@distinct
def _product(a, d, n, out):
    for s in range(n):
        out[s] = a[s] * d[s]


@inner
def _layer_rows(x, dz, samples, out, ldo):
    """Write a row of out for each weight and then each bias of a layer; rows are ``ldo`` apart."""
    for i in range(x.rows):
        for j in range(dz.rows):
            row = at(out, (i * dz.rows + j) * ldo)
            _product(at(x.data, i * x.ld), at(dz.data, j * dz.ld), samples, row)
    for j in range(dz.rows):
        copy(at(dz.data, j * dz.ld), samples, at(out, (x.rows * dz.rows + j) * ldo))


@inner
def _rows_of_block(net, block, vectors, samples, params, work, out):
    """Compute the gradients of a block's samples; ``out`` points to the first sample's column."""
    zero, header, row = np.int64(0), net.header, vectors.n * samples
    for r in range(vectors.n):
        delta, other = header[codes.WORK_DELTA], header[codes.WORK_DELTA_OTHER]
        dz = units_of(block, work, delta, zero, vectors.columns)
        read_columns(at(vectors.data, r * vectors.columns), vectors.step, block.samples, dz)
        for k in range(net.n_layers - 1, -1, -1):
            layer, x = layer_of(net, k), block.x
            if k > 0:
                x = units_of(block, work, layer_of(net, k - 1).output, zero, layer.fan_in)
            here = at(out, layer.weights * row + r * samples)
            _layer_rows(x, dz, block.samples, here, row)
            if k > 0:
                dx = units_of(block, work, other, zero, layer.fan_in)
                layer_inputs_back(net, k, dz, params, dx)
                slopes(net, block, k - 1, work, dx)
                dz, delta, other = dx, other, delta


@public
def _sample_gradients(net, x, vectors, params, work, out):
    """See :func:`sample_gradients`; the network is a plain tuple."""
    mode = flush_subnormals()
    net = net_of(net)
    samples, features = x.shape
    given, n, columns = vectors.shape
    step = n * columns if given > 1 else 0
    x_, params_, work_ = pointer(x), pointer(params), pointer(work)
    for first in range(0, samples, net.header[codes.BLOCK]):
        rows = at(x_, first * features)
        block = forward_rows(net, rows, samples - first, features, params_, work_)
        here = Vectors(at(pointer(vectors), first * step), n, columns, step)
        _rows_of_block(net, block, here, samples, params_, work_, at(pointer(out), first))
    restore_subnormals(mode)


def sample_gradients(net, x, vectors, params, work, out):
    """Compute vector-Jacobian products with respect to the parameters."""
    _sample_gradients(tuple(net), x, vectors, params, work, out)
