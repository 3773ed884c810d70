"""Forward, backward and update one by one, for a loss that is computed outside.

Together they do what a step of ``train`` does, in the same order.
"""

from __future__ import annotations

import numpy as np

from fastnn.backends.numpy.network import backward_layers, forward_layers
from fastnn.backends.numpy.products import quiet
from fastnn.backends.numpy.train import flush_subnormals, update_layers
from fastnn.backends.numpy.updates import clip


@quiet
def tape_forward(net, x, seed, step, params, work, out):
    """Net inputs of the last layer; what the backward pass reads stays in ``work``.

    Parameters
    ----------
    net : fastnn.backends.interface.Net
        With dropout where its layers have it.
    x : ndarray, shape (samples, features)
    seed, step : int
        The dropout masks' random streams.
    params : ndarray, shape (n_params,)
    work : ndarray, shape (blocks, size)
        Outputs of the layers, a row per block of samples. This backend does not use it.
    out : ndarray, shape (samples, outputs)

    Returns
    -------
    bool
        Whether ``x`` has neither NaN nor infinity.
    """
    _, _, outputs = forward_layers(net, np.ascontiguousarray(x.T), seed, step, params)
    out[...] = outputs[-1].T
    return bool(np.isfinite(x).all())


@quiet
def tape_backward(net, x, d_outputs, seed, step, params, work, grads, d_inputs):
    """Gradient by parameters and inputs, from that by the outputs of :func:`tape_forward`.

    Parameters
    ----------
    net, x, seed, step, params, work
        Those of the forward pass, unchanged; this backend does it once more.
    d_outputs : ndarray, shape (samples, outputs)
    grads : ndarray, shape (groups, n_params)
        The gradient is left in the first row; the others are scratch memory.
    d_inputs : ndarray, shape (samples, features) or (0, features)
        No rows: not wanted.
    """
    layers = forward_layers(net, np.ascontiguousarray(x.T), seed, step, params)
    delta, by_inputs = d_outputs.T.copy(), len(d_inputs) > 0
    dx = backward_layers(net, layers, delta, seed, step, params, grads[0], by_inputs)
    if by_inputs:
        d_inputs[...] = dx.T


@quiet
def apply_gradient(net, grads, rule, learning_rate, count, params, moments):
    """Update all parameters by the gradient of a loss, as a step of ``train`` does.

    Parameters
    ----------
    net : fastnn.backends.interface.Net
        Its L2 is added.
    grads : ndarray, shape (n_params,)
        Overwritten where the rule clips.
    rule : fastnn.backends.interface.Rule
    learning_rate : float
    count : int
        Number of this update, from 1.
    params : ndarray, shape (n_params,)
        Read and overwritten.
    moments : ndarray, shape (rows, n_params)
        Read and overwritten.

    Returns
    -------
    bool
        Whether the gradient is finite; else nothing changes.
    """
    if not np.isfinite(grads).all():
        return False
    clipped = rule.constants[0, 3:5].any()
    if clipped:
        clip(net, rule, params, grads)
    l2 = 0.0 if clipped else net.l2
    update_layers(net, l2, rule, learning_rate, count, params, moments, grads)
    flush_subnormals(count, params, moments)
    return True
