"""Predictions of a network, and loss and gradient of one block of samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba.activations import activate, activate_back
from fastnn.backends.numba.compiling import apart, distinct, inner, public
from fastnn.backends.numba.losses import loss_of_block, transform_block
from fastnn.backends.numba.pointers import (
    Matrix,
    at,
    copy,
    like,
    padded,
    pointer,
    reinterpret,
    rows_of,
    smaller,
    transpose,
)
from fastnn.backends.numba.products import (
    forward_product,
    inputs_product,
    params_product,
    product_of_few,
    row_sums,
)
from fastnn.backends.numba.random import dropout, stream_key
from fastnn.backends.numba.sparse import Rows, sparse_forward, sparse_params
from fastnn.backends.numba.subnormals import flush_subnormals, restore_subnormals
from fastnn.backends.numba.threads import Team, barrier, share_of_units

FEW_SAMPLES = 12  # fewer are predicted with loops along the units, which are not padded
FEW_SAMPLES_WIDE = 30  # ... by a network with many weights
WIDE = 4096  # parameters of one


class Net(NamedTuple):
    """A network without its parameters, see :class:`fastnn.backends.interface.Net`."""

    header: Any
    layers: Any
    n_layers: int
    constants: Any
    loss: int
    l2: float


class Layer(NamedTuple):
    """A row of the plan, the layer's constant, and whether it is the first."""

    first: bool
    kind: int
    fan_in: int
    fan_out: int
    weights: int
    biases: int
    activation: int
    blas: int
    net_input: int
    output: int
    constant: float


class Block(NamedTuple):
    """Samples worked through at a time.

    ``x`` is the first layer's input, or ``stored`` if ``sparse``. ``first`` is the position of the
    first sample in the batch of ``step``, ``scale`` the inverse of the batch's total weight. Rows
    of scratch memory have ``ld`` numbers.
    """

    samples: int
    x: Matrix
    sparse: bool
    stored: Rows
    targets: Matrix
    weights: Any
    weighted: bool
    first: int
    scale: float
    seed: int
    step: int
    ld: int


class Memory(NamedTuple):
    """Scratch memory that the threads of a block share, and a thread's own."""

    work: Any
    own: Any


@inner
def layer_of(net, k):
    """Row k of the plan."""
    row = at(net.layers, k * codes.LAYER_COLUMNS)
    return Layer(
        k == 0,
        row[codes.KIND],
        row[codes.FAN_IN],
        row[codes.FAN_OUT],
        row[codes.WEIGHTS],
        row[codes.BIASES],
        row[codes.ACTIVATION],
        row[codes.BLAS],
        row[codes.NET_INPUT],
        row[codes.OUTPUT],
        net.constants[k],
    )


@inner
def net_of(net):
    """From arrays to pointers."""
    header, layers, constants, loss, l2 = net
    return Net(pointer(header), pointer(layers), layers.shape[0], pointer(constants), loss, l2)


@inner
def units_of(block, work, offset, begin, end):
    """Some units of a layer for a block, in scratch memory."""
    start = at(work, offset + begin * block.ld)
    return Matrix(start, end - begin, padded(block.samples), block.ld)


@inner
def _without_padding(matrix, samples):
    return Matrix(matrix.data, matrix.rows, samples, matrix.ld)


# --- a layer --------------------------------------------------------------------
#
# Each thread of a team computes its share of the units forward, of the inputs backward; where the
# input is sparse, of the units always. Often there is just one thread.


@inner
def _dense_forward(net, layer, block, x, team, params, memory, z):
    """Net inputs."""
    begin, end = share_of_units(layer.fan_out, team)
    w = Matrix(at(params, layer.weights + begin), layer.fan_in, end - begin, layer.fan_out)
    b = at(params, layer.biases + begin)
    if layer.first and block.sparse:
        scratch = at(memory.own, net.header[codes.WORK_DELTA])
        sparse_forward(block.stored, block.samples, w, b, scratch, z)
    else:
        forward_product(x, w, b, layer.blas, z)


@inner
def _dense_backward_params(net, layer, block, x, dz, accumulate, team, memory, other, grads):
    """Gradient of the weights; ``other`` is where scratch memory for errors is free."""
    if layer.first and block.sparse:
        begin, end = share_of_units(layer.fan_out, team)
        mine = rows_of(dz, begin, end)
        dw = Matrix(at(grads, layer.weights + begin), layer.fan_in, end - begin, layer.fan_out)
        values = at(memory.own, net.header[codes.WORK_INPUT])
        samples_of = reinterpret(at(memory.own, net.header[codes.WORK_SIZE]), np.int32)
        rows = at(memory.own, other)
        sparse_params(block.stored, mine, accumulate, values, samples_of, rows, dw)
    else:
        begin, end = share_of_units(layer.fan_in, team)
        start = at(grads, layer.weights + begin * layer.fan_out)
        dw = Matrix(start, end - begin, layer.fan_out, layer.fan_out)
        mine = rows_of(_without_padding(x, block.samples), begin, end)
        params_product(mine, dz, layer.blas, accumulate, dw)


@inner
def _dense_backward_inputs(layer, block, dz, team, params, memory, other):
    """Gradient of the inputs, which goes to ``other`` in scratch memory."""
    begin, end = share_of_units(layer.fan_in, team)
    start = at(params, layer.weights + begin * layer.fan_out)
    w = Matrix(start, end - begin, layer.fan_out, layer.fan_out)
    inputs_product(w, dz, layer.blas, units_of(block, memory.work, other, begin, end))


@inner
def _activation_forward(layer, z, a):
    """``a = f(z)``."""
    if layer.activation != codes.IDENTITY:
        for j in range(z.rows):
            row = at(a.data, j * a.ld)
            copy(at(z.data, j * z.ld), z.columns, row)
            activate(layer.activation, layer.constant, z.columns, row)


@inner
def layer_activation_back(layer, z, a, da):
    """``da`` becomes ``dz = da f'(z)``."""
    if layer.activation != codes.IDENTITY:
        for j in range(da.rows):
            row = at(da.data, j * da.ld)
            z_row, a_row = at(z.data, j * z.ld), at(a.data, j * a.ld)
            activate_back(z_row, a_row, layer.activation, layer.constant, da.columns, row)


@apart
def _dropout_of_block(block, layer, k, begin, a):
    """Drop units, from number ``begin`` of a layer on."""
    key = stream_key(block.seed, codes.STREAM_DROPOUT + k, block.step) + np.uint64(begin)
    dropout(layer.constant, key, block.first, a)


# --- a block --------------------------------------------------------------------


@inner
def forward_block(net, block, team, params, memory):
    """Outputs of all layers for one block, in scratch memory; the last one's."""
    x, zero = block.x, np.int64(0)
    for k in range(net.n_layers):
        layer = layer_of(net, k)
        begin, end = share_of_units(layer.fan_out, team)
        z = units_of(block, memory.work, layer.net_input, begin, end)
        a = units_of(block, memory.work, layer.output, begin, end)
        if layer.kind == codes.DROPOUT:
            # of the thread's own units of the layer before, so there is nobody to wait for
            for j in range(a.rows):
                copy(at(x.data, (begin + j) * x.ld), a.columns, at(a.data, j * a.ld))
            _dropout_of_block(block, layer, k, begin, a)
        else:
            if k > 0:
                barrier(team)
            _dense_forward(net, layer, block, x, team, params, memory, z)
            _activation_forward(layer, z, a)
        x = units_of(block, memory.work, layer.output, zero, layer.fan_out)
    return x


@inner
def backward_block(net, block, accumulate, team, params, memory, grads):
    """Gradient of one block, from that of the net inputs of the last layer."""
    delta, other = net.header[codes.WORK_DELTA], net.header[codes.WORK_DELTA_OTHER]
    zero = np.int64(0)
    for k in range(net.n_layers - 1, -1, -1):
        layer = layer_of(net, k)
        begin, end = share_of_units(layer.fan_out, team)
        mine = units_of(block, memory.work, delta, begin, end)
        if layer.kind == codes.DROPOUT:
            _dropout_of_block(block, layer, k, begin, mine)
            continue
        z = units_of(block, memory.work, layer.net_input, begin, end)
        a = units_of(block, memory.work, layer.output, begin, end)
        layer_activation_back(layer, z, a, mine)
        barrier(team)
        mine = _without_padding(mine, block.samples)
        row_sums(mine, accumulate, at(grads, layer.biases + begin))
        x = block.x
        if k > 0:
            before = net.layers[(k - 1) * codes.LAYER_COLUMNS + codes.OUTPUT]
            x = units_of(block, memory.work, before, zero, layer.fan_in)
        dz = units_of(block, memory.work, delta, zero, layer.fan_out)
        errors = _without_padding(dz, block.samples)
        _dense_backward_params(net, layer, block, x, errors, accumulate, team, memory, other, grads)
        if k > 0:
            _dense_backward_inputs(layer, block, dz, team, params, memory, other)
        delta, other = other, delta


@inner
def gradient_of_block(net, block, accumulate, team, params, memory, grads):
    """Loss of one block; its gradient is written or added to ``grads``."""
    logits = forward_block(net, block, team, params, memory)
    barrier(team)
    total = 0.0
    if team.thread == 0:
        dlogits = units_of(
            block, memory.work, net.header[codes.WORK_DELTA], np.int64(0), logits.rows
        )
        for k in range(logits.rows):
            row = at(dlogits.data, k * dlogits.ld)
            copy(at(logits.data, k * logits.ld), logits.columns, row)
        total = loss_of_block(
            block.targets,
            block.weights,
            block.weighted,
            block.samples,
            net.loss,
            at(net.constants, net.n_layers - 1),
            block.scale,
            dlogits,
        )
    backward_block(net, block, accumulate, team, params, memory, grads)
    return total


# --- predictions ----------------------------------------------------------------


def few_samples(n_params, wide_layers):
    """Fewer rows are predicted with loops along the units, not padded to whole vectors."""
    return FEW_SAMPLES if n_params < WIDE else FEW_SAMPLES_WIDE


_few_samples = inner(few_samples)


@inner
def _forward_few(net, x, params, work):
    """As :func:`forward_block` for a handful of samples, ``(samples, units)`` throughout."""
    for k in range(net.n_layers):
        layer = layer_of(net, k)
        if layer.kind != codes.DROPOUT:
            units = layer.fan_out
            z = Matrix(at(work, layer.net_input), x.rows, units, units)
            for s in range(x.rows):
                copy(at(params, layer.biases), units, at(z.data, s * units))
            w = Matrix(at(params, layer.weights), layer.fan_in, units, units)
            product_of_few(x, w, z)
            n = x.rows * units
            a = at(work, layer.output)
            if layer.activation != codes.IDENTITY:
                copy(z.data, n, a)
                activate(layer.activation, layer.constant, padded(n), a)
            x = Matrix(a, x.rows, units, units)
    return x


@distinct
def all_finite(x, n):
    """Whether there is neither NaN nor infinity."""
    infinity = like(x, np.inf)
    bad = np.int64(0)
    for i in range(n):
        bad |= np.int64(not abs(x[i]) < infinity)
    return bad == 0


@inner
def prediction_block(samples, x, header, params):
    """A block that is only for predictions: nothing of it is read but the samples."""
    nothing = reinterpret(header, np.int32)
    stored = Rows(params, nothing, header, header, False, 0)
    zero = np.uint64(0)
    return Block(samples, x, False, stored, x, params, False, 0, 0.0, zero, 0, padded(samples))


@inner
def _predict(net, x, transform, params, work, out):
    """Predictions of x, and whether it is finite."""
    net = net_of(net)
    samples, features = x.shape
    n_outputs, size = out.shape[1], net.header[codes.BLOCK]
    x_, params_, work_, out_ = pointer(x), pointer(params), pointer(work), pointer(out)
    rows = at(work_, net.header[codes.WORK_INPUT])
    team, memory = Team(0, 1, net.header), Memory(work_, work_)
    few = samples < _few_samples(params.shape[0], False)
    finite = True
    for first in range(0, samples, size):
        n = smaller(size, samples - first)
        x_here, out_here = at(x_, first * features), at(out_, first * n_outputs)
        # a block at a time, since it is read anyway
        finite &= all_finite(x_here, n * features)
        if few:
            copy(x_here, n * features, rows)
            logits = _forward_few(net, Matrix(rows, n, features, features), params_, work_)
            if transform:
                for s in range(n):
                    sample = at(logits.data, s * n_outputs)
                    transform_block(net.loss, Matrix(sample, n_outputs, 1, 1))
            copy(logits.data, n * n_outputs, out_here)
        else:
            # rows no longer than they need to be: they meet in fewer places of the cache
            lanes = padded(n)
            transpose(x_here, n, features, features, rows, lanes)
            block = prediction_block(n, Matrix(rows, features, lanes, lanes), net.header, params_)
            logits = forward_block(net, block, team, params_, memory)
            if transform:
                transform_block(net.loss, logits)
            transpose(logits.data, n_outputs, n, lanes, out_here, n_outputs)
    return finite


@public
def _forward(net, x, transform, params, work, out):
    """See :func:`forward`; the network as a plain tuple."""
    mode = flush_subnormals()
    finite = _predict(net, x, transform, params, work, out)
    restore_subnormals(mode)
    return finite


def forward(net, x, transform, params, work, out):
    """Predictions of a network; whether x is finite."""
    return _forward(tuple(net), x, transform, params, work, out)
