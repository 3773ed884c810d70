"""Derivatives of a network's outputs with respect to its inputs, block by block."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba.compiling import inner, public
from fastnn.backends.numba.network import (
    Memory,
    forward_block,
    layer_activation_back,
    layer_of,
    net_of,
    prediction_block,
    units_of,
)
from fastnn.backends.numba.pointers import Matrix, at, padded, pointer, smaller, transpose
from fastnn.backends.numba.products import inputs_product, tangent_product
from fastnn.backends.numba.subnormals import flush_subnormals, restore_subnormals
from fastnn.backends.numba.threads import Team


class Vectors(NamedTuple):
    """Vectors for the samples, ``step`` elements apart; 0: the same vectors for all samples."""

    data: Any
    n: int
    columns: int
    step: int


@inner
def read_columns(x, ldx, samples, out):
    """Transpose rows of x, one per sample, to columns."""
    for c in range(out.rows):
        row = at(out.data, c * out.ld)
        for s in range(samples):
            row[s] = x[s * ldx + c]


@inner
def layer_inputs_back(net, k, dz, params, dx):
    """Compute the gradient w.r.t. the input of layer k from the one w.r.t. its net input."""
    layer = layer_of(net, k)
    w = Matrix(at(params, layer.weights), layer.fan_in, layer.fan_out, layer.fan_out)
    inputs_product(w, dz, layer.blas, dx)


@inner
def slopes(net, block, k, work, da):
    """Multiply ``da`` by the derivative of layer k's activation, in place."""
    layer, zero = layer_of(net, k), np.int64(0)
    z = units_of(block, work, layer.net_input, zero, layer.fan_out)
    a = units_of(block, work, layer.output, zero, layer.fan_out)
    layer_activation_back(layer, z, a, da)


@inner
def _backward_vectors(net, block, vectors, params, work, out):
    """Compute vector-Jacobian products for the samples of a block."""
    zero, features, header = np.int64(0), net.layers[codes.FAN_IN], net.header
    n_out = net.layers[(net.n_layers - 1) * codes.LAYER_COLUMNS + codes.FAN_OUT]
    # the memory of the inputs can be reused: the samples are not read again
    x = units_of(block, work, header[codes.WORK_INPUT], zero, features)
    for r in range(vectors.n):
        delta, other = header[codes.WORK_DELTA], header[codes.WORK_DELTA_OTHER]
        dz = units_of(block, work, delta, zero, n_out)
        read_columns(at(vectors.data, r * vectors.columns), vectors.step, block.samples, dz)
        for k in range(net.n_layers - 1, 0, -1):
            dx = units_of(block, work, other, zero, layer_of(net, k).fan_in)
            layer_inputs_back(net, k, dz, params, dx)
            slopes(net, block, k - 1, work, dx)
            dz, delta, other = dx, other, delta
        layer_inputs_back(net, np.int64(0), dz, params, x)
        place = at(out, r * features)
        transpose(x.data, features, block.samples, x.ld, place, vectors.n * features)


@inner
def _forward_vectors(net, block, vectors, params, work, out):
    """Compute Jacobian-vector products for the samples of a block."""
    zero, header = np.int64(0), net.header
    for r in range(vectors.n):
        delta, other = header[codes.WORK_DELTA], header[codes.WORK_DELTA_OTHER]
        x = units_of(block, work, header[codes.WORK_INPUT], zero, vectors.columns)
        read_columns(at(vectors.data, r * vectors.columns), vectors.step, block.samples, x)
        for k in range(net.n_layers):
            layer = layer_of(net, k)
            w = Matrix(at(params, layer.weights), layer.fan_in, layer.fan_out, layer.fan_out)
            dz = units_of(block, work, delta, zero, layer.fan_out)
            tangent_product(x, w, layer.blas, dz)
            slopes(net, block, k, work, dz)
            x, delta, other = dz, other, delta
        place = at(out, r * x.rows)
        transpose(x.data, x.rows, block.samples, x.ld, place, vectors.n * x.rows)


@inner
def forward_rows(net, x, samples, features, params, work):
    """Do the forward pass for one block: the first of the ``samples`` rows of ``x``."""
    count = smaller(net.header[codes.BLOCK], samples)
    lanes = padded(count)
    columns = Matrix(at(work, net.header[codes.WORK_INPUT]), features, lanes, lanes)
    transpose(x, count, features, features, columns.data, lanes)
    block = prediction_block(count, columns, net.header, params)
    forward_block(net, block, Team(0, 1, net.header), params, Memory(work, work))
    return block


@inner
def _derive(net, x, vectors, backward, params, work, out):
    """Compute vector-Jacobian or Jacobian-vector products for all samples."""
    net = net_of(net)
    samples, features = x.shape
    given, n, columns = vectors.shape
    step = n * columns if given > 1 else 0
    x_, vectors_, out_ = pointer(x), pointer(vectors), pointer(out)
    params_, work_ = pointer(params), pointer(work)
    for first in range(0, samples, net.header[codes.BLOCK]):
        rows = at(x_, first * features)
        block = forward_rows(net, rows, samples - first, features, params_, work_)
        here = Vectors(at(vectors_, first * step), n, columns, step)
        out_here = at(out_, first * n * out.shape[2])
        if backward:
            _backward_vectors(net, block, here, params_, work_, out_here)
        else:
            _forward_vectors(net, block, here, params_, work_, out_here)


@public
def _input_gradients(net, x, vectors, params, work, out):
    """See :func:`input_gradients`; the network is a plain tuple."""
    mode = flush_subnormals()
    _derive(net, x, vectors, True, params, work, out)
    restore_subnormals(mode)


@public
def _output_tangents(net, x, vectors, params, work, out):
    """See :func:`output_tangents`; the network is a plain tuple."""
    mode = flush_subnormals()
    _derive(net, x, vectors, False, params, work, out)
    restore_subnormals(mode)


def input_gradients(net, x, vectors, params, work, out):
    """Compute vector-Jacobian products with respect to the inputs."""
    _input_gradients(tuple(net), x, vectors, params, work, out)


def output_tangents(net, x, vectors, params, work, out):
    """Compute Jacobian-vector products with respect to the inputs."""
    _output_tangents(tuple(net), x, vectors, params, work, out)
