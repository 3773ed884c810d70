"""Derivatives of a network's outputs with respect to its inputs, block by block."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba.compiling import inner, public
from fastnn.backends.numba.network import (
    Memory,
    forward_layers,
    layer_activation_backward,
    prediction_block,
    read_layer,
    read_net,
    unit_rows,
)
from fastnn.backends.numba.pointers import Matrix, at, minimum, padded_size, pointer, transpose
from fastnn.backends.numba.products import inputs_product, tangent_product
from fastnn.backends.numba.subnormals import flush_subnormals, restore_subnormals
from fastnn.backends.numba.threads import Team


class Vectors(NamedTuple):
    """Vectors for the samples, ``stride`` elements apart; 0: the same vectors for all samples."""

    data: Any
    n: int
    columns: int
    stride: int


@inner
def read_columns(x, ldx, samples, out):
    """Transpose rows of x, one per sample, to columns."""
    for c in range(out.rows):
        row = at(out.data, c * out.ld)
        for s in range(samples):
            row[s] = x[s * ldx + c]


@inner
def layer_input_gradient(net, k, dz, params, dx):
    """Compute the gradient w.r.t. the input of layer k from the one w.r.t. its net input."""
    layer = read_layer(net, k)
    w = Matrix(at(params, layer.weights), layer.fan_in, layer.fan_out, layer.fan_out)
    inputs_product(w, dz, layer.wide, dx)


@inner
def activate_units_backward(net, block, k, work, da):
    """Multiply ``da`` by the derivative of layer k's activation, in place."""
    layer, zero = read_layer(net, k), np.int64(0)
    z = unit_rows(block, work, layer.net_input, zero, layer.fan_out)
    a = unit_rows(block, work, layer.output, zero, layer.fan_out)
    layer_activation_backward(layer, z, a, da)


@inner
def _vjp_block(net, block, vectors, params, work, out):
    """Compute vector-Jacobian products for the samples of a block."""
    zero, features, header = np.int64(0), net.layers[codes.FAN_IN], net.header
    n_out = net.layers[(net.n_layers - 1) * codes.LAYER_COLUMNS + codes.FAN_OUT]
    # the memory of the inputs can be reused: the samples are not read again
    x = unit_rows(block, work, header[codes.WORK_INPUT], zero, features)
    for r in range(vectors.n):
        delta, other = header[codes.WORK_DELTA], header[codes.WORK_DELTA_OTHER]
        dz = unit_rows(block, work, delta, zero, n_out)
        read_columns(at(vectors.data, r * vectors.columns), vectors.stride, block.samples, dz)
        for k in range(net.n_layers - 1, 0, -1):
            dx = unit_rows(block, work, other, zero, read_layer(net, k).fan_in)
            layer_input_gradient(net, k, dz, params, dx)
            activate_units_backward(net, block, k - 1, work, dx)
            dz, delta, other = dx, other, delta
        layer_input_gradient(net, np.int64(0), dz, params, x)
        place = at(out, r * features)
        transpose(x.data, features, block.samples, x.ld, place, vectors.n * features)


@inner
def _jvp_block(net, block, vectors, params, work, out):
    """Compute Jacobian-vector products for the samples of a block."""
    zero, header = np.int64(0), net.header
    for r in range(vectors.n):
        delta, other = header[codes.WORK_DELTA], header[codes.WORK_DELTA_OTHER]
        x = unit_rows(block, work, header[codes.WORK_INPUT], zero, vectors.columns)
        read_columns(at(vectors.data, r * vectors.columns), vectors.stride, block.samples, x)
        for k in range(net.n_layers):
            layer = read_layer(net, k)
            w = Matrix(at(params, layer.weights), layer.fan_in, layer.fan_out, layer.fan_out)
            dz = unit_rows(block, work, delta, zero, layer.fan_out)
            tangent_product(x, w, layer.wide, dz)
            activate_units_backward(net, block, k, work, dz)
            x, delta, other = dz, other, delta
        place = at(out, r * x.rows)
        transpose(x.data, x.rows, block.samples, x.ld, place, vectors.n * x.rows)


@inner
def forward_rows(net, x, samples, features, params, work):
    """Do the forward pass for one block: the first of the ``samples`` rows of ``x``."""
    count = minimum(net.header[codes.BLOCK_SIZE], samples)
    padded = padded_size(count)
    columns = Matrix(at(work, net.header[codes.WORK_INPUT]), features, padded, padded)
    transpose(x, count, features, features, columns.data, padded)
    block = prediction_block(count, columns, net.header, params)
    forward_layers(net, block, Team(0, 1, net.header), params, Memory(work, work))
    return block


@inner
def _jacobian_products(net, x, vectors, backward, params, work, out):
    """Compute vector-Jacobian or Jacobian-vector products for all samples."""
    net = read_net(net)
    samples, features = x.shape
    vector_sets, n, columns = vectors.shape
    stride = n * columns if vector_sets > 1 else 0
    x_, vectors_, out_ = pointer(x), pointer(vectors), pointer(out)
    params_, work_ = pointer(params), pointer(work)
    for first in range(0, samples, net.header[codes.BLOCK_SIZE]):
        rows = at(x_, first * features)
        block = forward_rows(net, rows, samples - first, features, params_, work_)
        here = Vectors(at(vectors_, first * stride), n, columns, stride)
        out_here = at(out_, first * n * out.shape[2])
        if backward:
            _vjp_block(net, block, here, params_, work_, out_here)
        else:
            _jvp_block(net, block, here, params_, work_, out_here)


@public
def _input_gradients(net, x, vectors, params, work, out):
    """See :func:`input_gradients`; the network is a plain tuple."""
    mode = flush_subnormals()
    _jacobian_products(net, x, vectors, True, params, work, out)
    restore_subnormals(mode)


@public
def _output_tangents(net, x, vectors, params, work, out):
    """See :func:`output_tangents`; the network is a plain tuple."""
    mode = flush_subnormals()
    _jacobian_products(net, x, vectors, False, params, work, out)
    restore_subnormals(mode)


def input_gradients(net, x, vectors, params, work, out):
    """Compute vector-Jacobian products with respect to the inputs."""
    _input_gradients(tuple(net), x, vectors, params, work, out)


def output_tangents(net, x, vectors, params, work, out):
    """Compute Jacobian-vector products with respect to the inputs."""
    _output_tangents(tuple(net), x, vectors, params, work, out)
