"""Training steps, and loss and gradient of one batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba.compiling import inner, noinline, public
from fastnn.backends.numba.losses import sum_float64
from fastnn.backends.numba.network import Block, Memory, block_gradient, read_net
from fastnn.backends.numba.pointers import (
    Matrix,
    at,
    gather,
    minimum,
    padded_size,
    pointer,
    reinterpret,
    stack_scratch,
)
from fastnn.backends.numba.random import shuffle_order
from fastnn.backends.numba.sparse import CsrBlock
from fastnn.backends.numba.subnormals import flush_subnormals, restore_subnormals
from fastnn.backends.numba.threads import Team, barrier, claim, start_barrier
from fastnn.backends.numba.updates import (
    ParamVectors,
    combine,
    net_penalty,
    param_part,
    read_rule,
    sum_groups,
    update_params,
)


class Data(NamedTuple):
    """Training data, see :class:`fastnn.backends.interface.Data`."""

    x: Any
    features: int
    sparse: bool
    indices: Any
    indptr: Any
    targets: Any
    n_targets: int
    weights: Any
    weighted: bool
    order: Any
    gathered: bool


class Batch(NamedTuple):
    """A batch: ``samples`` samples from ``start`` on; ``scale`` is 1 / their total weight."""

    start: int
    samples: int
    scale: float
    seed: int
    step: int


@noinline
def _gather_block(net, data, batch, first, team, work):
    """Return the block of a batch that starts with its sample ``first``; gather it if needed."""
    size = net.header[codes.BLOCK_SIZE]
    samples, start = minimum(size, batch.samples - first), batch.start + first
    ld, columns = size, padded_size(samples)
    if batch.samples == 1 and not data.sparse:
        ld = columns = np.int64(1)
    x = Matrix(at(work, net.header[codes.WORK_INPUT]), data.features, columns, ld)
    targets = Matrix(at(work, net.header[codes.WORK_TARGETS]), data.n_targets, samples, size)
    weights = at(work, net.header[codes.WORK_SAMPLE_WEIGHT])
    if data.gathered:
        if not data.sparse:  # each thread gathers some samples
            begin = team.thread * samples // team.n_threads
            end = (team.thread + 1) * samples // team.n_threads
            out = at(x.data, begin)
            gather(data.x, data.features, data.order, start + begin, end - begin, out, ld)
        if team.thread == 0:
            gather(data.targets, data.n_targets, data.order, start, samples, targets.data, size)
            if data.weighted:
                gather(data.weights, np.int64(1), data.order, start, samples, weights, size)
    else:  # the batches follow one another in memory, each (features, batch)
        if not data.sparse:
            # not padded: there may be no memory behind the last column
            first_element = at(reinterpret(data.x, work), batch.start * data.features + first)
            x = Matrix(first_element, data.features, samples, batch.samples)
        first_element = at(data.targets, batch.start * data.n_targets + first)
        targets = Matrix(first_element, data.n_targets, samples, batch.samples)
        weights = at(data.weights, start)
    csr = CsrBlock(
        reinterpret(data.x, work), data.indices, data.indptr, data.order, data.gathered, start
    )
    return Block(
        samples,
        x,
        data.sparse,
        csr,
        targets,
        weights,
        data.weighted,
        first,
        batch.scale,
        batch.seed,
        batch.step,
        ld,
    )


@inner
def _group_gradient(net, data, batch, first, last, team, params, memory, grads):
    """Return the loss of blocks ``first`` to ``last - 1``; write their gradient to ``grads``."""
    total = 0.0
    for b in range(first, last):
        if b > first:
            barrier(team)
        block = _gather_block(net, data, batch, b * net.header[codes.BLOCK_SIZE], team, memory.work)
        barrier(team)
        total += block_gradient(net, block, b > first, team, params, memory, grads)
    return total


@inner
def _batch_gradient(net, data, batch, iteration, team, params, work, thread_work, vectors):
    """Compute a thread's part of a batch: gradients and losses of groups of blocks.

    Each thread owns some groups, and steals groups of other threads when it has finished its own.
    If the plan splits the units (SPLIT_UNITS), all threads process one block after another
    together, in the scratch memory of the first thread.
    """
    block = net.header[codes.BLOCK_SIZE]
    blocks = (batch.samples + block - 1) // block
    losses = reinterpret(at(team.sync, codes.SYNC_LOSSES), np.float64)
    shared = net.header[codes.SPLIT_UNITS] != 0
    block_team = Team(0, 1, team.sync)
    memory = Memory(thread_work, thread_work)
    if shared:
        block_team, memory = team, Memory(work, thread_work)
    thread, n_threads = (0, 1) if shared else (team.thread, team.n_threads)
    for distance in range(n_threads):
        owner, count = thread, vectors.groups
        if n_threads > 1:  # divisions are a part of the smallest steps
            owner = (thread + distance) % n_threads
            count = (vectors.groups - owner + n_threads - 1) // n_threads
        for i in range(count):
            # steal the groups of other threads from the last to the first
            group = owner + n_threads * (i if distance == 0 else count - 1 - i)
            if n_threads > 1 and not claim(at(team.sync, codes.SYNC_CLAIMS + group), iteration):
                continue
            first = first_block(group, vectors.groups, blocks)
            last = first_block(group + 1, vectors.groups, blocks)
            grads = at(vectors.grads, group * vectors.n)
            total = _group_gradient(
                net, data, batch, first, last, block_team, params, memory, grads
            )
            if block_team.thread == 0:
                losses[group] = total


@inner
def _inverse_weight(total):
    """Return 1 / total weight of a batch; 0 if the weight is 0, so that the gradient is 0 too."""
    return 1.0 / total if total != 0.0 else 0.0


@inner
def _sum_group_losses(sync, n):
    """Return the sum of the groups' losses, added from the first to the last."""
    losses = reinterpret(at(sync, codes.SYNC_LOSSES), np.float64)
    total = 0.0
    for i in range(n):
        total += losses[i]
    return total


@inner
def group_count(header, samples):
    """Return the number of groups (partial gradient sums) of a batch of this size."""
    size = header[codes.BLOCK_SIZE]
    return minimum(header[codes.GROUPS], (samples + size - 1) // size)


@inner
def first_block(group, groups, blocks):
    """Return the first block of a group."""
    if groups == 1:
        return group * blocks
    return group * blocks // groups


@inner
def _objective_gradient(net, x, targets, sample_weight, seed, step, params, work, grads):
    """Compute the objective of all samples as one batch, and its gradient."""
    net = read_net(net)
    header, samples = net.header, x.shape[1]
    params_, work_, weights = pointer(params), pointer(work), pointer(sample_weight)
    weighted = sample_weight.shape[0] > 0
    data = Data(
        pointer(x),
        x.shape[0],
        False,
        reinterpret(header, np.int32),
        header,
        pointer(targets),
        targets.shape[0],
        weights,
        weighted,
        header,
        False,
    )
    scale = _inverse_weight(sum_float64(weights, samples) if weighted else np.float64(samples))
    batch = Batch(0, samples, scale, np.uint64(seed), step)
    vectors = ParamVectors(
        params.shape[0], params_, pointer(grads), group_count(header, samples), params_, 0, False
    )
    team = Team(0, 1, stack_scratch(header))
    _batch_gradient(net, data, batch, 0, team, params_, work_, work_, vectors)
    sum_groups(vectors.groups, vectors.n, 0, vectors.n, vectors.grads)
    if net.l2 != 0.0:
        for k in range(0, 2 * net.n_layers, 2):
            first, n, _ = param_part(net.layers, k)
            combine(1.0, net.l2, at(params_, first), n, at(vectors.grads, first))
    loss = _sum_group_losses(team.sync, vectors.groups) * scale
    return loss + net_penalty(net.layers, net.n_layers, net.l2, params_)


@public
def _loss_and_grad(net, x, targets, sample_weight, seed, step, params, work, grads):
    """See :func:`loss_and_grad`; the network is a plain tuple."""
    mode = flush_subnormals()
    loss = _objective_gradient(net, x, targets, sample_weight, seed, step, params, work, grads)
    restore_subnormals(mode)
    return loss


@inner
def _total_weight(data, start, samples):
    """Return the total weight of a batch, added in the order of its samples."""
    if not data.weighted:
        return np.float64(samples)
    total = 0.0
    for s in range(start, start + samples):
        total += np.float64(data.weights[data.order[s] if data.gathered else s])
    return total


@inner
def _read_data(data, features, order):
    """Return data with pointers, samples per epoch, samples per batch, and whether to shuffle."""
    x, indices, indptr, targets, sample_weight, batch_size, sampling = data
    gathered = sampling != codes.CONSECUTIVE
    samples, n_targets = order.shape[0], targets.shape[1]
    if not gathered:
        n_targets, samples = targets.shape
    pointers = Data(
        pointer(x),
        features,
        indptr.shape[0] > 0,
        pointer(indices),
        pointer(indptr),
        pointer(targets),
        n_targets,
        pointer(sample_weight),
        sample_weight.shape[0] > 0,
        pointer(order),
        gathered,
    )
    return pointers, samples, batch_size, sampling == codes.SHUFFLED


@inner
def _train_steps(net, data, rule, chunk, team, params, moments, memory, losses):
    """Do a thread's part of a chunk of steps; return how many were done."""
    net = read_net(net)
    learning_rates, first_step, first_count, seed = chunk
    thread, n_threads, sync = team
    grads, order, work = memory
    team = Team(thread, n_threads, pointer(sync))
    seed = np.uint64(seed)
    data, samples, batch_size, shuffled = _read_data(data, net.layers[codes.FAN_IN], order)
    params_, grads_, moments_ = pointer(params), pointer(grads), pointer(moments)
    rule = read_rule(rule, params_)
    averaged = rule.constants[codes.AVERAGE_DECAY] != 0.0
    n_params, n_moments = params.shape[0], moments.shape[0] - np.int64(averaged)
    thread_work = at(pointer(work), thread * work.shape[1])
    batches = (samples + batch_size - 1) // batch_size
    if not start_barrier(team):
        return 0
    for i in range(learning_rates.shape[0]):
        epoch, batch_index = divmod(first_step + i, batches)
        start = batch_index * batch_size
        n = minimum(batch_size, samples - start)
        if shuffled and (batch_index == 0 or i == 0):
            if thread == 0:
                shuffle_order(seed, epoch, samples, data.order)
            barrier(team)
        scale = _inverse_weight(_total_weight(data, start, n))
        batch = Batch(start, n, scale, seed, first_step + i)
        groups = group_count(net.header, n)
        vectors = ParamVectors(n_params, params_, grads_, groups, moments_, n_moments, averaged)
        _batch_gradient(net, data, batch, i, team, params_, pointer(work), thread_work, vectors)
        barrier(team)
        objective = net_penalty(net.layers, net.n_layers, net.l2, params_)
        objective += _sum_group_losses(team.sync, groups) * scale
        if thread == 0:
            losses[i] = objective
        # All threads compute the same objective; none may update the parameters while another
        # still sums their squares.
        if net.l2 != 0.0:
            barrier(team)
        # not isfinite, which computes x - x: with reassociation this is 0 for all x
        if not abs(objective) < np.inf:
            return i
        update_params(net, rule, learning_rates[i], first_count + i + 1, team, vectors)
        barrier(team)
    return learning_rates.shape[0]


@public
def _train(net, data, rule, chunk, team, params, moments, memory, losses):
    """See :func:`train`; the named tuples are plain tuples."""
    mode = flush_subnormals()
    done = _train_steps(net, data, rule, chunk, team, params, moments, memory, losses)
    restore_subnormals(mode)
    return done


def loss_and_grad(net, x, targets, sample_weight, seed, step, params, work, grads):
    """Compute the objective of one batch and its gradient."""
    return _loss_and_grad(tuple(net), x, targets, sample_weight, seed, step, params, work, grads)


def train(net, data, rule, chunk, team, params, moments, memory, losses):
    """Do a chunk of training steps."""
    return _train(
        tuple(net),
        tuple(data),
        tuple(rule),
        tuple(chunk),
        tuple(team),
        params,
        moments,
        tuple(memory),
        losses,
    )
