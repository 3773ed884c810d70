"""Forward pass, backward pass and update as separate functions, for a loss computed elsewhere.

Together they do the same as a step of ``train``, in the same order.
"""

from __future__ import annotations

import numpy as np

from fastnn.backends.numpy.network import backward_layers, forward_layers
from fastnn.backends.numpy.products import ignore_float_errors
from fastnn.backends.numpy.train import update_params


@ignore_float_errors
def tape_forward(net, x, seed, step, params, work, out):
    """Compute the net inputs of the last layer; leave what the backward pass needs in ``work``.

    Parameters
    ----------
    net : fastnn.backends.interface.Net
        May have dropout layers.
    x : ndarray, shape (samples, features)
    seed, step : int
        Select the random streams of the dropout masks.
    params : ndarray, shape (n_params,)
    work : ndarray, shape (blocks, size)
        Outputs of the layers, one row per block of samples. Not used by this backend.
    out : ndarray, shape (samples, outputs)

    Returns
    -------
    bool
        Whether ``x`` is finite.
    """
    _, _, outputs = forward_layers(net, np.ascontiguousarray(x.T), seed, step, params)
    out[...] = outputs[-1].T
    return bool(np.isfinite(x).all())


@ignore_float_errors
def tape_backward(net, x, d_outputs, seed, step, params, work, grads, d_inputs):
    """Compute the gradients with respect to parameters and inputs from the output gradient.

    Parameters
    ----------
    net, x, seed, step, params, work
        The arguments of :func:`tape_forward`, unchanged. This backend repeats the forward pass.
    d_outputs : ndarray, shape (samples, outputs)
        Derivative of the loss with respect to the outputs of :func:`tape_forward`.
    grads : ndarray, shape (groups, n_params)
        Output: the parameter gradient in the first row; the others are scratch memory.
    d_inputs : ndarray, shape (samples, features) or (0, features)
        Output: the derivative with respect to ``x``; not computed if the array has no rows.
    """
    layers = forward_layers(net, np.ascontiguousarray(x.T), seed, step, params)
    delta, by_inputs = d_outputs.T.copy(), len(d_inputs) > 0
    dx = backward_layers(net, layers, delta, seed, step, params, grads[0], by_inputs)
    if by_inputs:
        d_inputs[...] = dx.T


@ignore_float_errors
def apply_gradient(net, grads, rule, learning_rate, count, params, moments):
    """Update all parameters with the gradient of a loss, as a step of ``train`` does.

    Parameters
    ----------
    net : fastnn.backends.interface.Net
        The derivative of its L2 penalty is added to the gradient.
    grads : ndarray, shape (n_params,)
        Overwritten if the rule clips.
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
        Whether the gradient is finite; if not, nothing is updated.
    """
    if not np.isfinite(grads).all():
        return False
    update_params(net, rule, learning_rate, count, params, moments, grads)
    return True
