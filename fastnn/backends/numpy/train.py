"""Training steps."""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes
from fastnn.backends.codes import AVERAGE_DECAY, BIASES, FAN_IN, FAN_OUT, KIND, WEIGHTS
from fastnn.backends.numpy.network import batch_gradient
from fastnn.backends.numpy.random import shuffle
from fastnn.backends.numpy.updates import clip_gradient, clips, penalty, update, update_front

_FLUSH_INTERVAL = 64  # updates


def train(net, data, rule, chunk, team, params, moments, memory, losses):
    """Do a chunk of training steps.

    Parameters
    ----------
    net, data, rule, chunk, team
        See :mod:`fastnn.backends.interface`. All threads of a team call with the same arguments
        except for ``team.thread``. This backend uses one thread.
    params : ndarray, shape (n_params,)
        Read and overwritten.
    moments : ndarray, shape (rows, n_params)
        Moments of the update rule; with a moving average of the parameters, the last row is this
        average. Read and overwritten.
    memory : fastnn.backends.interface.Memory
    losses : ndarray of float64, shape (steps,)
        Output: objective of each step's batch before the update.

    Returns
    -------
    int
        Number of steps done. It is smaller than requested if the objective of a step is not
        finite: the value is in ``losses``, and the step is not done.
    """
    samples = data.targets.shape[1] if data.sampling == codes.CONSECUTIVE else len(memory.order)
    batches = -(-samples // data.batch_size)
    grads = memory.grads[0]
    for i, rate in enumerate(chunk.learning_rates):
        if team.sync[codes.SYNC_ABORT]:
            return i
        step, count = chunk.first_step + i, chunk.first_count + i + 1
        epoch, batch = divmod(step, batches)
        if data.sampling == codes.SHUFFLED and (batch == 0 or i == 0):
            shuffle(chunk.seed, epoch, memory.order)
        start, stop = batch * data.batch_size, min((batch + 1) * data.batch_size, samples)
        x, targets, weights = gather_batch(
            data, memory.order, net.layers[0, FAN_IN], start, stop, params.dtype
        )

        loss = batch_gradient(net, x, targets, weights, chunk.seed, step, params, grads)
        losses[i] = loss + penalty(net.layers, net.l2, params)
        if not np.isfinite(losses[i]):
            return i
        update_params(net, rule, rate, count, params, moments, grads)
    return len(chunk.learning_rates)


def update_params(net, rule, learning_rate, count, params, moments, grads):
    """Clip the gradient and update all parameters, for update number ``count``, from 1."""
    l2 = net.l2
    if clips(rule):
        clip_gradient(net, rule, params, grads)
        l2 = 0.0  # the clipped gradient includes the derivative of the penalty
    _update_layers(net, l2, rule, learning_rate, count, params, moments, grads)
    _flush_subnormals(count, params, moments)


def _flush_subnormals(count, params, moments):
    """Set subnormal values to zero in place, because arithmetic with them is slow.

    The other backends set a mode of the processor that flushes subnormals. NumPy cannot set it, and
    a check after every update would take longer than the update, so it is done after every 64th.
    It is not done at the ends of chunks, because these depend on time and results must not.

    Parameters
    ----------
    count : int
        Number of the update, from 1.
    params, moments : ndarray
    """
    if count % _FLUSH_INTERVAL == 0:
        for x in (params, moments):
            x[np.abs(x) < np.finfo(x.dtype).tiny] = 0.0


def _update_layers(net, l2, rule, rate, count, params, moments, grads):
    """Update all parameters; no L2 penalty or weight decay for the biases."""
    for k, row in enumerate(net.layers):
        if row[KIND] == codes.DENSE:
            weights = slice(row[WEIGHTS], row[BIASES])
            biases = slice(row[BIASES], row[BIASES] + row[FAN_OUT])
            arguments = rate, count, params[weights], moments[:, weights]
            if k == 0 and len(rule.front):
                update_front(grads[weights], l2, rule, *arguments)
            else:
                update(grads[weights], l2, rule.part(2 * k), *arguments)
            bias_rule = rule.part(2 * k + 1)._replace(decay=0.0)
            arguments = rate, count, params[biases], moments[:, biases]
            update(grads[biases], 0.0, bias_rule, *arguments)
    decay = rule.constants[0, AVERAGE_DECAY]
    if decay != 0.0:
        keep = decay if count > 1 else 0.0
        moments[-1] *= params.dtype.type(keep)
        moments[-1] += params.dtype.type(1 - keep) * params


def gather_batch(data, order, features, start, stop, dtype):
    """Return inputs, targets and weights of a batch; the matrices have one column per sample."""
    gathered = data.sampling != codes.CONSECUTIVE
    chosen = order[start:stop] if gathered else np.arange(start, stop)
    weights = data.sample_weight[chosen] if data.sample_weight.shape[0] else data.sample_weight
    matrix = data.targets
    targets = matrix[chosen].T if gathered else _batch_matrix(matrix, start, stop)
    if data.indptr.shape[0]:
        x = np.zeros((features, stop - start), dtype)
        begin, end = data.indptr[chosen], data.indptr[chosen + 1]
        column = np.repeat(np.arange(len(chosen)), end - begin)
        # stored values of the samples before, i.e. position of each column's first value
        first = np.cumsum(end - begin) - (end - begin)
        stored = np.arange(len(column)) + (begin - first)[column]
        x[data.indices[stored], column] = data.x[0, stored]
    elif gathered:
        # asarray: images may be stored as bytes
        x = np.asarray(data.x[chosen], dtype).T
    else:
        x = _batch_matrix(data.x, start, stop)
    return x, targets, weights


def _batch_matrix(matrices, start, stop):
    """Return a batch, ``(rows, batch)``, of :func:`fastnn.backends.plan.batch_matrices`."""
    rows = len(matrices)
    return matrices.reshape(-1)[start * rows : stop * rows].reshape(rows, stop - start)
