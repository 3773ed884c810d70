"""Per-sample parameter gradients, block by block."""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba.compiling import inner, noalias, public
from fastnn.backends.numba.derivatives import (
    Vectors,
    activate_units_backward,
    forward_rows,
    layer_input_gradient,
    read_columns,
)
from fastnn.backends.numba.network import read_layer, read_net, unit_rows
from fastnn.backends.numba.pointers import at, copy, pointer
from fastnn.backends.numba.subnormals import flush_subnormals, restore_subnormals


@noalias
def _multiply(a, d, n, out):
    for s in range(n):
        out[s] = a[s] * d[s]


@inner
def _layer_sample_gradients(x, dz, samples, out, ldo):
    """Write a row of out for each weight and then each bias of a layer; rows are ``ldo`` apart."""
    for i in range(x.rows):
        for j in range(dz.rows):
            row = at(out, (i * dz.rows + j) * ldo)
            _multiply(at(x.data, i * x.ld), at(dz.data, j * dz.ld), samples, row)
    for j in range(dz.rows):
        copy(at(dz.data, j * dz.ld), samples, at(out, (x.rows * dz.rows + j) * ldo))


@inner
def _sample_gradients_block(net, block, vectors, samples, params, work, out):
    """Compute the gradients of a block's samples; ``out`` points to the first sample's column."""
    zero, header, row = np.int64(0), net.header, vectors.n * samples
    for r in range(vectors.n):
        delta, other = header[codes.WORK_DELTA], header[codes.WORK_DELTA_OTHER]
        dz = unit_rows(block, work, delta, zero, vectors.columns)
        read_columns(at(vectors.data, r * vectors.columns), vectors.stride, block.samples, dz)
        for k in range(net.n_layers - 1, -1, -1):
            layer, x = read_layer(net, k), block.x
            if k > 0:
                x = unit_rows(block, work, read_layer(net, k - 1).output, zero, layer.fan_in)
            here = at(out, layer.weights * row + r * samples)
            _layer_sample_gradients(x, dz, block.samples, here, row)
            if k > 0:
                dx = unit_rows(block, work, other, zero, layer.fan_in)
                layer_input_gradient(net, k, dz, params, dx)
                activate_units_backward(net, block, k - 1, work, dx)
                dz, delta, other = dx, other, delta


@public
def _sample_gradients(net, x, vectors, params, work, out):
    """See :func:`sample_gradients`; the network is a plain tuple."""
    mode = flush_subnormals()
    net = read_net(net)
    samples, features = x.shape
    vector_sets, n, columns = vectors.shape
    stride = n * columns if vector_sets > 1 else 0
    x_, params_, work_ = pointer(x), pointer(params), pointer(work)
    for first in range(0, samples, net.header[codes.BLOCK_SIZE]):
        rows = at(x_, first * features)
        block = forward_rows(net, rows, samples - first, features, params_, work_)
        here = Vectors(at(pointer(vectors), first * stride), n, columns, stride)
        _sample_gradients_block(net, block, here, samples, params_, work_, at(pointer(out), first))
    restore_subnormals(mode)


def sample_gradients(net, x, vectors, params, work, out):
    """Compute vector-Jacobian products with respect to the parameters."""
    _sample_gradients(tuple(net), x, vectors, params, work, out)
