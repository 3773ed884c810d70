"""Predictions of a network, and loss and gradient of one block of samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba.activations import activate, activate_backward
from fastnn.backends.numba.compiling import inner, noalias, noinline, public
from fastnn.backends.numba.losses import loss_rows, transform_rows
from fastnn.backends.numba.pointers import (
    Matrix,
    at,
    cast_like,
    copy,
    minimum,
    padded_size,
    pointer,
    reinterpret,
    slice_rows,
    transpose,
)
from fastnn.backends.numba.products import (
    as_row,
    few_samples_product,
    forward_product,
    inputs_product,
    params_product,
    row_sums,
)
from fastnn.backends.numba.random import apply_dropout, stream_key
from fastnn.backends.numba.sparse import CsrBlock, csc_outer_product, sparse_product
from fastnn.backends.numba.subnormals import flush_subnormals, restore_subnormals
from fastnn.backends.numba.threads import Team, barrier, unit_share

FEW_SAMPLES = 12  # fewer samples are predicted with loops along the units, without padding
FEW_SAMPLES_LARGE = 30  # the same for networks with at least LARGE parameters
LARGE = 4096


class Net(NamedTuple):
    """A network without its parameters, see :class:`fastnn.backends.interface.Net`."""

    header: Any
    layers: Any
    n_layers: int
    constants: Any
    loss: int
    l2: float


class Layer(NamedTuple):
    """A row of the plan, the layer's constant, and whether it is the first layer."""

    first: bool
    kind: int
    fan_in: int
    fan_out: int
    weights: int
    biases: int
    activation: int
    wide: int
    net_input: int
    output: int
    constant: float


class Block(NamedTuple):
    """Samples that are processed together.

    ``x`` is the first layer's input, or ``csr`` if ``sparse``. ``first`` is the position of the
    first sample in the batch of ``step``, ``scale`` the inverse of the batch's total weight, ``ld``
    the leading dimension of scratch memory: 1 for a batch of one dense sample, without padding.
    """

    samples: int
    x: Matrix
    sparse: bool
    csr: CsrBlock
    targets: Matrix
    weights: Any
    weighted: bool
    first: int
    scale: float
    seed: int
    step: int
    ld: int


class Memory(NamedTuple):
    """Scratch memory shared by the threads of a block, and private to this thread."""

    work: Any
    thread_work: Any


@inner
def read_layer(net, k):
    """Return row k of the plan."""
    row = at(net.layers, k * codes.LAYER_COLUMNS)
    return Layer(
        k == 0,
        row[codes.KIND],
        row[codes.FAN_IN],
        row[codes.FAN_OUT],
        row[codes.WEIGHTS],
        row[codes.BIASES],
        row[codes.ACTIVATION],
        row[codes.WIDE],
        row[codes.NET_INPUT],
        row[codes.OUTPUT],
        net.constants[k],
    )


@inner
def read_net(net):
    """Convert a network with arrays to one with pointers."""
    header, layers, constants, loss, l2 = net
    return Net(pointer(header), pointer(layers), layers.shape[0], pointer(constants), loss, l2)


@inner
def unit_rows(block, work, offset, begin, end):
    """Return the matrix of a range of units for a block, in scratch memory."""
    start = at(work, offset + begin * block.ld)
    columns = padded_size(block.samples) if block.ld > 1 else 1
    return Matrix(start, end - begin, columns, block.ld)


@inner
def _without_padding(matrix, samples):
    return Matrix(matrix.data, matrix.rows, samples, matrix.ld)


# --- a layer --------------------------------------------------------------------
#
# Each thread of a team computes its share of the units in the forward pass, and of the inputs in
# the backward pass (of the units if the input is sparse). A team often has a single thread.


@inner
def _dense_forward(net, layer, block, x, team, params, memory, z):
    """Compute the net inputs."""
    begin, end = unit_share(layer.fan_out, team)
    w = Matrix(at(params, layer.weights + begin), layer.fan_in, end - begin, layer.fan_out)
    b = at(params, layer.biases + begin)
    if layer.first and block.sparse:
        scratch = at(memory.thread_work, net.header[codes.WORK_DELTA])
        sparse_product(block.csr, block.samples, w, b, scratch, z)
    else:
        forward_product(x, w, b, layer.wide, z)


@inner
def _dense_backward_params(net, layer, block, x, dz, accumulate, team, memory, other, grads):
    """Compute the gradient of the weights; ``other`` is the offset of unused scratch memory."""
    if layer.first and block.sparse:
        begin, end = unit_share(layer.fan_out, team)
        own_rows = slice_rows(dz, begin, end)
        dw = Matrix(at(grads, layer.weights + begin), layer.fan_in, end - begin, layer.fan_out)
        values = at(memory.thread_work, net.header[codes.WORK_INPUT])
        samples_of = reinterpret(at(memory.thread_work, net.header[codes.WORK_SIZE]), np.int32)
        rows = at(memory.thread_work, other)
        csc_outer_product(block.csr, own_rows, accumulate, values, samples_of, rows, dw)
    else:
        begin, end = unit_share(layer.fan_in, team)
        start = at(grads, layer.weights + begin * layer.fan_out)
        dw = Matrix(start, end - begin, layer.fan_out, layer.fan_out)
        own_rows = slice_rows(_without_padding(x, block.samples), begin, end)
        params_product(own_rows, dz, layer.wide, accumulate, dw)


@inner
def _dense_backward_inputs(layer, block, dz, team, params, memory, other):
    """Compute the input gradient, at offset ``other`` of scratch memory."""
    begin, end = unit_share(layer.fan_in, team)
    start = at(params, layer.weights + begin * layer.fan_out)
    w = Matrix(start, end - begin, layer.fan_out, layer.fan_out)
    inputs_product(w, dz, layer.wide, unit_rows(block, memory.work, other, begin, end))


@noinline
def _activation_forward(layer, z, a):
    """``a = f(z)``."""
    if layer.activation != codes.IDENTITY:
        z, a = as_row(z), as_row(a)
        for j in range(z.rows):
            row = at(a.data, j * a.ld)
            copy(at(z.data, j * z.ld), z.columns, row)
            activate(layer.activation, layer.constant, z.columns, row)


@noinline
def layer_activation_backward(layer, z, a, da):
    """Multiply ``da`` by ``f'(z)`` in place, which gives ``dz``."""
    if layer.activation != codes.IDENTITY:
        z, a, da = as_row(z), as_row(a), as_row(da)
        for j in range(da.rows):
            row = at(da.data, j * da.ld)
            z_row, a_row = at(z.data, j * z.ld), at(a.data, j * a.ld)
            activate_backward(z_row, a_row, layer.activation, layer.constant, da.columns, row)


@noinline
def _drop_units(block, layer, k, begin, a):
    """Apply dropout to the units of a layer from ``begin`` on."""
    key = stream_key(block.seed, codes.STREAM_DROPOUT + k, block.step) + np.uint64(begin)
    apply_dropout(layer.constant, key, block.first, a)


# --- a block --------------------------------------------------------------------


@noinline
def forward_layers(net, block, team, params, memory):
    """Compute the outputs of all layers for one block, in scratch memory; return the last."""
    x, zero = block.x, np.int64(0)
    for k in range(net.n_layers):
        layer = read_layer(net, k)
        begin, end = unit_share(layer.fan_out, team)
        z = unit_rows(block, memory.work, layer.net_input, begin, end)
        a = unit_rows(block, memory.work, layer.output, begin, end)
        if layer.kind == codes.DROPOUT:
            # no barrier: a thread reads only units that it has computed in the layer before
            for j in range(a.rows):
                copy(at(x.data, (begin + j) * x.ld), a.columns, at(a.data, j * a.ld))
            _drop_units(block, layer, k, begin, a)
        else:
            if k > 0:
                barrier(team)
            _dense_forward(net, layer, block, x, team, params, memory, z)
            _activation_forward(layer, z, a)
        x = unit_rows(block, memory.work, layer.output, zero, layer.fan_out)
    return x


@noinline
def backward_layers(net, block, accumulate, team, params, memory, grads):
    """Compute the gradient of one block from that w.r.t. the last layer's net inputs."""
    delta, other = net.header[codes.WORK_DELTA], net.header[codes.WORK_DELTA_OTHER]
    zero = np.int64(0)
    for k in range(net.n_layers - 1, -1, -1):
        layer = read_layer(net, k)
        begin, end = unit_share(layer.fan_out, team)
        own_rows = unit_rows(block, memory.work, delta, begin, end)
        if layer.kind == codes.DROPOUT:
            _drop_units(block, layer, k, begin, own_rows)
            continue
        z = unit_rows(block, memory.work, layer.net_input, begin, end)
        a = unit_rows(block, memory.work, layer.output, begin, end)
        layer_activation_backward(layer, z, a, own_rows)
        barrier(team)
        own_rows = _without_padding(own_rows, block.samples)
        row_sums(own_rows, accumulate, at(grads, layer.biases + begin))
        x = block.x
        if k > 0:
            x_offset = net.layers[(k - 1) * codes.LAYER_COLUMNS + codes.OUTPUT]
            x = unit_rows(block, memory.work, x_offset, zero, layer.fan_in)
        dz = unit_rows(block, memory.work, delta, zero, layer.fan_out)
        dz_unpadded = _without_padding(dz, block.samples)
        _dense_backward_params(
            net, layer, block, x, dz_unpadded, accumulate, team, memory, other, grads
        )
        if k > 0:
            _dense_backward_inputs(layer, block, dz, team, params, memory, other)
        delta, other = other, delta


@inner
def block_gradient(net, block, accumulate, team, params, memory, grads):
    """Return the loss of one block; write its gradient to ``grads``, or add it."""
    logits = forward_layers(net, block, team, params, memory)
    barrier(team)
    total = 0.0
    if team.thread == 0:
        dlogits = unit_rows(
            block, memory.work, net.header[codes.WORK_DELTA], np.int64(0), logits.rows
        )
        for k in range(logits.rows):
            row = at(dlogits.data, k * dlogits.ld)
            copy(at(logits.data, k * logits.ld), logits.columns, row)
        total = loss_rows(
            block.targets,
            block.weights,
            block.weighted,
            block.samples,
            net.loss,
            at(net.constants, net.n_layers - 1),
            block.scale,
            dlogits,
        )
    backward_layers(net, block, accumulate, team, params, memory, grads)
    return total


# --- predictions ----------------------------------------------------------------


def few_samples_limit(n_params, wide_layers):
    """Return the number of rows below which the loops run along the units, without padding."""
    return FEW_SAMPLES if n_params < LARGE else FEW_SAMPLES_LARGE


_few_samples_limit = inner(few_samples_limit)


@inner
def _forward_few_samples(net, x, params, work):
    """As :func:`forward_layers` for a few samples; all matrices are ``(samples, units)``."""
    for k in range(net.n_layers):
        layer = read_layer(net, k)
        if layer.kind != codes.DROPOUT:
            units = layer.fan_out
            z = Matrix(at(work, layer.net_input), x.rows, units, units)
            w = Matrix(at(params, layer.weights), layer.fan_in, units, units)
            few_samples_product(x, w, at(params, layer.biases), z)
            a = at(work, layer.output)
            padded = padded_size(x.rows * units)
            row = Matrix(z.data, 1, padded, padded)
            _activation_forward(layer, row, Matrix(a, 1, padded, padded))
            x = Matrix(a, x.rows, units, units)
    return x


@noalias
def all_finite(x, n):
    """Return whether all elements are finite."""
    infinity = cast_like(x, np.inf)
    bad = np.int64(0)
    for i in range(n):
        bad |= np.int64(not abs(x[i]) < infinity)
    return bad == 0


@inner
def prediction_block(samples, x, header, params):
    """Return a block for predictions, of which only the samples are read."""
    no_indices = reinterpret(header, np.int32)
    csr = CsrBlock(params, no_indices, header, header, False, 0)
    zero = np.uint64(0)
    return Block(samples, x, False, csr, x, params, False, 0, 0.0, zero, 0, padded_size(samples))


@inner
def _predict(net, x, transform, params, work, out):
    """Compute the predictions for x; return whether x is finite."""
    net = read_net(net)
    samples, features = x.shape
    n_outputs, size = out.shape[1], net.header[codes.BLOCK_SIZE]
    x_, params_, work_, out_ = pointer(x), pointer(params), pointer(work), pointer(out)
    rows = at(work_, net.header[codes.WORK_INPUT])
    team, memory = Team(0, 1, net.header), Memory(work_, work_)
    few = samples < _few_samples_limit(params.shape[0], False)
    finite = True
    for first in range(0, samples, size):
        n = minimum(size, samples - first)
        x_here, out_here = at(x_, first * features), at(out_, first * n_outputs)
        # block by block, since the block is read next and then is in the cache
        finite &= all_finite(x_here, n * features)
        if few:
            copy(x_here, n * features, rows)
            logits = _forward_few_samples(net, Matrix(rows, n, features, features), params_, work_)
            if transform:
                for s in range(n):
                    sample = at(logits.data, s * n_outputs)
                    transform_rows(net.loss, Matrix(sample, n_outputs, 1, 1))
            copy(logits.data, n * n_outputs, out_here)
        else:
            # the smallest leading dimension: fewer conflicts in the cache
            padded = padded_size(n)
            transpose(x_here, n, features, features, rows, padded)
            block = prediction_block(n, Matrix(rows, features, padded, padded), net.header, params_)
            logits = forward_layers(net, block, team, params_, memory)
            if transform:
                transform_rows(net.loss, logits)
            transpose(logits.data, n_outputs, n, padded, out_here, n_outputs)
    return finite


@public
def _forward(net, x, transform, params, work, out):
    """See :func:`forward`; the network is a plain tuple."""
    mode = flush_subnormals()
    finite = _predict(net, x, transform, params, work, out)
    restore_subnormals(mode)
    return finite


def forward(net, x, transform, params, work, out):
    """Compute predictions of a network; return whether x is finite."""
    return _forward(tuple(net), x, transform, params, work, out)
