"""Training steps, and loss and gradient of one batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.backends import codes
from fastnn.backends.codes import MAX_GROUPS
from fastnn.backends.numba.compiling import inner, public
from fastnn.backends.numba.losses import total_of
from fastnn.backends.numba.network import Block, Memory, gradient_of_block, net_of
from fastnn.backends.numba.pointers import (
    Matrix,
    at,
    gather,
    padded,
    pointer,
    reinterpret,
    scratch,
    smaller,
)
from fastnn.backends.numba.random import shuffle_order
from fastnn.backends.numba.sparse import Rows
from fastnn.backends.numba.subnormals import flush_subnormals, restore_subnormals
from fastnn.backends.numba.threads import Team, assemble, barrier, claim
from fastnn.backends.numba.updates import (
    Step,
    Vectors,
    add_groups,
    clip,
    combine,
    part_of_params,
    penalty_of,
    rule_of,
    step_size,
    update_layers,
)

# The integers that the threads share: 8 for the barrier, the loss of each group (a float64), and
# for each group the last step in which a thread claimed it (see ``claim``).
_LOSSES, _CLAIMS = 8, 8 + MAX_GROUPS


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


@inner
def _block_of(net, data, batch, first, team, work):
    """Return the block of a batch that starts with its sample ``first``; gather it if needed."""
    ld = net.header[codes.BLOCK]
    samples, start = smaller(ld, batch.samples - first), batch.start + first
    x = Matrix(at(work, net.header[codes.WORK_INPUT]), data.features, padded(samples), ld)
    targets = Matrix(at(work, net.header[codes.WORK_TARGETS]), data.n_targets, samples, ld)
    weights = at(work, net.header[codes.WORK_SAMPLE_WEIGHT])
    if data.gathered:
        if not data.sparse:  # each thread gathers some samples
            begin = team.thread * samples // team.n_threads
            end = (team.thread + 1) * samples // team.n_threads
            out = at(x.data, begin)
            gather(data.x, data.features, data.order, start + begin, end - begin, out, ld)
        if team.thread == 0:
            gather(data.targets, data.n_targets, data.order, start, samples, targets.data, ld)
            if data.weighted:
                gather(data.weights, np.int64(1), data.order, start, samples, weights, ld)
    else:  # the batches follow one another in memory, each (features, batch)
        if not data.sparse:
            # not padded: there may be no memory behind the last column
            place = at(reinterpret(data.x, work), batch.start * data.features + first)
            x = Matrix(place, data.features, samples, batch.samples)
        place = at(data.targets, batch.start * data.n_targets + first)
        targets = Matrix(place, data.n_targets, samples, batch.samples)
        weights = at(data.weights, start)
    stored = Rows(
        reinterpret(data.x, work), data.indices, data.indptr, data.order, data.gathered, start
    )
    return Block(
        samples,
        x,
        data.sparse,
        stored,
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
def _gradient_of_group(net, data, batch, first, last, team, params, memory, grads):
    """Return the loss of blocks ``first`` to ``last - 1``; write their gradient to ``grads``."""
    total = 0.0
    for b in range(first, last):
        if b > first:
            barrier(team)
        block = _block_of(net, data, batch, b * net.header[codes.BLOCK], team, memory.work)
        barrier(team)
        total += gradient_of_block(net, block, b > first, team, params, memory, grads)
    return total


@inner
def _gradient_of_batch(net, data, batch, turn, team, params, work, own, vectors):
    """Compute a thread's part of a batch: gradients and losses of groups of blocks.

    Each thread owns some groups, and steals groups of other threads when it has finished its own.
    If the plan splits the units (SHARED), all threads process one block after another together, in
    the scratch memory of the first thread.
    """
    block = net.header[codes.BLOCK]
    blocks = (batch.samples + block - 1) // block
    losses = reinterpret(at(team.sync, _LOSSES), np.float64)
    shared = net.header[codes.SHARED] != 0
    members = Team(0, 1, team.sync)
    memory = Memory(own, own)
    if shared:
        members, memory = team, Memory(work, own)
    thread, n_threads = (0, 1) if shared else (team.thread, team.n_threads)
    for distance in range(n_threads):
        owner = (thread + distance) % n_threads
        count = (vectors.groups - owner + n_threads - 1) // n_threads
        for i in range(count):
            # steal the groups of other threads from the last to the first
            group = owner + n_threads * (i if distance == 0 else count - 1 - i)
            if n_threads > 1 and not claim(at(team.sync, _CLAIMS + group), turn):
                continue
            first, last = group * blocks // vectors.groups, (group + 1) * blocks // vectors.groups
            grads = at(vectors.grads, group * vectors.n)
            total = _gradient_of_group(
                net, data, batch, first, last, members, params, memory, grads
            )
            if members.thread == 0:
                losses[group] = total


@inner
def _inverse(total):
    """Return 1 / total weight of a batch; 0 if the weight is 0, so that the gradient is 0 too."""
    return 1.0 / total if total != 0.0 else 0.0


@inner
def _loss_of_groups(sync, n):
    """Return the sum of the groups' losses, added from the first to the last."""
    losses = reinterpret(at(sync, _LOSSES), np.float64)
    total = 0.0
    for i in range(n):
        total += losses[i]
    return total


@inner
def group_count(header, samples):
    """Return the number of groups (partial gradient sums) of a batch of this size."""
    return smaller(header[codes.GROUPS], (samples + header[codes.BLOCK] - 1) // header[codes.BLOCK])


@inner
def _objective_gradient(net, x, targets, sample_weight, seed, step, params, work, grads):
    """Compute the objective of all samples as one batch, and its gradient."""
    net = net_of(net)
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
    scale = _inverse(total_of(weights, samples) if weighted else np.float64(samples))
    batch = Batch(0, samples, scale, np.uint64(seed), step)
    vectors = Vectors(
        params.shape[0], params_, pointer(grads), group_count(header, samples), params_, 0, False
    )
    team = Team(0, 1, scratch(header))
    _gradient_of_batch(net, data, batch, 0, team, params_, work_, work_, vectors)
    add_groups(vectors.groups, vectors.n, 0, vectors.n, vectors.grads)
    if net.l2 != 0.0:
        for k in range(0, 2 * net.n_layers, 2):
            first, n, _ = part_of_params(net.layers, k)
            combine(1.0, net.l2, at(params_, first), n, at(vectors.grads, first))
    loss = _loss_of_groups(team.sync, vectors.groups) * scale
    return loss + penalty_of(net.layers, net.n_layers, net.l2, params_)


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
def _data_of(data, features, order):
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
    net = net_of(net)
    learning_rates, first_step, first_count, seed = chunk
    thread, n_threads, sync = team
    grads, order, work = memory
    team = Team(thread, n_threads, pointer(sync))
    seed = np.uint64(seed)
    data, samples, batch_size, shuffled = _data_of(data, net.layers[codes.FAN_IN], order)
    params_, grads_, moments_ = pointer(params), pointer(grads), pointer(moments)
    rule = rule_of(rule, params_)
    averaged = rule.constants[5] != 0.0
    n_params, n_moments = params.shape[0], moments.shape[0] - np.int64(averaged)
    own = at(pointer(work), thread * work.shape[1])
    batches = (samples + batch_size - 1) // batch_size
    if not assemble(team):
        return 0
    for i in range(learning_rates.shape[0]):
        epoch, number = divmod(first_step + i, batches)
        start = number * batch_size
        n = smaller(batch_size, samples - start)
        if shuffled and (number == 0 or i == 0):
            if thread == 0:
                shuffle_order(seed, epoch, samples, data.order)
            barrier(team)
        scale = _inverse(_total_weight(data, start, n))
        batch = Batch(start, n, scale, seed, first_step + i)
        groups = group_count(net.header, n)
        vectors = Vectors(n_params, params_, grads_, groups, moments_, n_moments, averaged)
        _gradient_of_batch(net, data, batch, i, team, params_, pointer(work), own, vectors)
        barrier(team)
        objective = penalty_of(net.layers, net.n_layers, net.l2, params_)
        objective += _loss_of_groups(team.sync, groups) * scale
        if thread == 0:
            losses[i] = objective
        # All threads compute the same objective; none may update the parameters while another
        # still sums their squares.
        if net.l2 != 0.0:
            barrier(team)
        # not isfinite, which computes x - x: with reassociation this is 0 for all x
        if not abs(objective) < np.inf:
            return i
        factor, l2 = 1.0, net.l2
        if rule.constants[3] != 0.0 or rule.constants[4] != 0.0:
            factor, l2 = clip(net, rule, team, vectors), 0.0
            vectors = Vectors(n_params, params_, grads_, 1, moments_, n_moments, averaged)
        step = Step(
            step_size(rule, learning_rates[i], first_count + i + 1),
            factor,
            1.0 - learning_rates[i] * rule.decay,
            rule.constants[5] if first_count + i > 0 else 0.0,
            2 * net.n_layers,
        )
        update_layers(net, l2, rule, step, team, vectors)
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
