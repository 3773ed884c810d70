"""Forward pass, backward pass and update as separate functions, for a loss computed elsewhere.

Each block of samples has its own scratch memory, which keeps the layers' outputs from the forward
to the backward pass, followed by memory for the input gradient.
"""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba.compiling import inner, public
from fastnn.backends.numba.derivatives import layer_input_gradient, read_columns
from fastnn.backends.numba.network import (
    Block,
    Memory,
    all_finite,
    backward_layers,
    forward_layers,
    read_net,
    unit_rows,
)
from fastnn.backends.numba.pointers import (
    Matrix,
    at,
    minimum,
    padded_size,
    pointer,
    reinterpret,
    transpose,
)
from fastnn.backends.numba.sparse import CsrBlock
from fastnn.backends.numba.subnormals import flush_subnormals, restore_subnormals
from fastnn.backends.numba.threads import Team
from fastnn.backends.numba.train import first_block, group_count
from fastnn.backends.numba.updates import (
    ParamVectors,
    read_rule,
    sum_groups,
    update_params,
)


@inner
def _tape_block(net, first, samples, seed, step, params, work):
    """Return the block of samples that starts with sample ``first``."""
    n = minimum(net.header[codes.BLOCK_SIZE], samples - first)
    ld = padded_size(n) if samples > 1 else 1
    x = Matrix(at(work, net.header[codes.WORK_INPUT]), net.layers[codes.FAN_IN], n, ld)
    no_indices = reinterpret(net.header, np.int32)
    csr = CsrBlock(params, no_indices, net.header, net.header, False, 0)
    return Block(n, x, False, csr, x, params, False, first, 0.0, seed, step, x.ld)


@inner
def _tape_forward_blocks(net, x, seed, step, params, work, out):
    """Compute the last layer's net inputs; leave all layers' outputs in scratch memory."""
    net, samples, n_out = read_net(net), x.shape[0], out.shape[1]
    x_, params_, out_ = pointer(x), pointer(params), pointer(out)
    team = Team(0, 1, net.header)
    for first in range(0, samples, net.header[codes.BLOCK_SIZE]):
        block_work = at(pointer(work), first // net.header[codes.BLOCK_SIZE] * work.shape[1])
        block = _tape_block(net, first, samples, np.uint64(seed), step, params_, block_work)
        features = block.x.rows
        here = at(x_, first * features)
        transpose(here, block.samples, features, features, block.x.data, block.ld)
        z = forward_layers(net, block, team, params_, Memory(block_work, block_work))
        transpose(z.data, n_out, block.samples, z.ld, at(out_, first * n_out), n_out)


@inner
def _block_input_gradient(net, block, params, work, out):
    """Compute the input gradient, after the parameter gradient."""
    zero = np.int64(0)
    delta, other = net.header[codes.WORK_DELTA], net.header[codes.WORK_DELTA_OTHER]
    for k in range(1, net.n_layers):
        if net.layers[k * codes.LAYER_COLUMNS + codes.KIND] == codes.DENSE:
            delta, other = other, delta  # as backward_layers swaps them for each layer
    dz = unit_rows(block, work, delta, zero, net.layers[codes.FAN_OUT])
    dx = unit_rows(block, work, net.header[codes.WORK_SIZE], zero, block.x.rows)
    layer_input_gradient(net, zero, dz, params, dx)
    transpose(dx.data, dx.rows, block.samples, dx.ld, out, dx.rows)


@inner
def _tape_backward_blocks(net, x, d_outputs, seed, step, params, work, grads, d_inputs):
    """Compute the gradients, summed over the blocks in the order of a training step."""
    net = read_net(net)
    (samples, features), n_out, n_params = x.shape, d_outputs.shape[1], params.shape[0]
    params_, grads_, size = pointer(params), pointer(grads), net.header[codes.BLOCK_SIZE]
    blocks, groups = (samples + size - 1) // size, group_count(net.header, samples)
    team, zero = Team(0, 1, net.header), np.int64(0)
    for group in range(groups):
        first = first_block(group, groups, blocks)
        for b in range(first, first_block(group + 1, groups, blocks)):
            block_work = at(pointer(work), b * work.shape[1])
            block = _tape_block(net, b * size, samples, np.uint64(seed), step, params_, block_work)
            dz = unit_rows(block, block_work, net.header[codes.WORK_DELTA], zero, n_out)
            read_columns(at(pointer(d_outputs), b * size * n_out), n_out, block.samples, dz)
            memory, group_sum = Memory(block_work, block_work), at(grads_, group * n_params)
            backward_layers(net, block, b > first, team, params_, memory, group_sum)
            if d_inputs.shape[0] > 0:
                out = at(pointer(d_inputs), b * size * features)
                _block_input_gradient(net, block, params_, block_work, out)
    sum_groups(groups, n_params, 0, n_params, grads_)


@public
def _tape_forward(net, x, seed, step, params, work, out):
    """See :func:`tape_forward`; the network is a plain tuple."""
    mode = flush_subnormals()
    finite = all_finite(pointer(x), x.size)
    _tape_forward_blocks(net, x, seed, step, params, work, out)
    restore_subnormals(mode)
    return finite


@public
def _tape_backward(net, x, d_outputs, seed, step, params, work, grads, d_inputs):
    """See :func:`tape_backward`; the network is a plain tuple."""
    mode = flush_subnormals()
    _tape_backward_blocks(net, x, d_outputs, seed, step, params, work, grads, d_inputs)
    restore_subnormals(mode)


@public
def _apply_gradient(net, grads, rule, learning_rate, count, params, moments):
    """See :func:`apply_gradient`; network and rule are plain tuples."""
    net = read_net(net)
    rule, n = read_rule(rule, pointer(params)), params.shape[0]
    mode = flush_subnormals()
    finite = all_finite(pointer(grads), n)
    if finite:
        averaged = rule.constants[codes.AVERAGE_DECAY] != 0.0
        n_moments = moments.shape[0] - np.int64(averaged)
        team = Team(0, 1, net.header)
        vectors = ParamVectors(
            n, pointer(params), pointer(grads), 1, pointer(moments), n_moments, averaged
        )
        update_params(net, rule, learning_rate, count, team, vectors)
    restore_subnormals(mode)
    return finite


def tape_forward(net, x, seed, step, params, work, out):
    """Compute the net inputs of the last layer; return whether x is finite."""
    return _tape_forward(tuple(net), x, seed, step, params, work, out)


def tape_backward(net, x, d_outputs, seed, step, params, work, grads, d_inputs):
    """Compute the gradients with respect to parameters and inputs from the output gradient."""
    _tape_backward(tuple(net), x, d_outputs, seed, step, params, work, grads, d_inputs)


def apply_gradient(net, grads, rule, learning_rate, count, params, moments):
    """Update all parameters with the gradient of a loss; return whether it is finite."""
    return _apply_gradient(tuple(net), grads, tuple(rule), learning_rate, count, params, moments)
