"""All layers of a network: predictions, the objective and its gradient."""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes
from fastnn.backends.codes import ACTIVATION, FAN_IN, FAN_OUT, KIND
from fastnn.backends.numpy.activations import (
    activation_backward,
    activation_forward,
    dropout_backward,
    dropout_forward,
)
from fastnn.backends.numpy.losses import output_loss, output_transform
from fastnn.backends.numpy.products import (
    dense_backward_inputs,
    dense_backward_params,
    dense_forward,
    ignore_float_errors,
)
from fastnn.backends.numpy.random import stream
from fastnn.backends.numpy.updates import add_penalty, biases_of, penalty, weights_of


@ignore_float_errors
def forward(net, x, transform, params, work, out):
    """Compute predictions of a network.

    Parameters
    ----------
    net : fastnn.backends.interface.Net
        Without dropout.
    x : ndarray, shape (samples, features)
    transform : bool
        Whether ``out`` gets predictions (softmax, sigmoid, exp) instead of net inputs.
    params : ndarray, shape (n_params,)
    work : ndarray
        Scratch memory.
    out : ndarray, shape (samples, outputs)

    Returns
    -------
    bool
        Whether ``x`` is finite. The compiled kernels check each block while it is in the cache.
    """
    a = x.T
    for row, alpha in zip(net.layers, net.constants, strict=False):
        z = np.empty((row[FAN_OUT], a.shape[1]), np.result_type(a, params))
        dense_forward(a, weights_of(row, params), biases_of(row, params), z)
        a = np.empty_like(z)
        activation_forward(z, row[ACTIVATION], alpha, a)
    if transform:
        output_transform(net.loss, a)
    out[...] = a.T
    return bool(np.isfinite(x).all())


def loss_and_grad(net, x, targets, sample_weight, seed, step, params, work, grads):
    """Compute the objective of one batch and its gradient.

    The objective is the (weighted) mean loss plus ``l2 / 2`` times the sum of the squared weights.
    For each layer, last to first: ``dz = da f'(z)``, ``dw = x dz.T``, ``db = sum dz``,
    ``dx = w dz``.

    Parameters
    ----------
    net : fastnn.backends.interface.Net
        May have dropout layers.
    x : ndarray, shape (features, samples)
    targets : ndarray, shape (targets, samples)
    sample_weight : ndarray, shape (samples,) or (0,)
        Empty if all weights are one.
    seed, step : int
        Select the random streams of the dropout masks.
    params : ndarray, shape (n_params,)
    work : ndarray
        Scratch memory.
    grads : ndarray, shape (groups, n_params)
        Output: the gradient in the first row; the others are scratch memory.

    Returns
    -------
    float
        The objective.
    """
    loss = batch_gradient(net, x, targets, sample_weight, seed, step, params, grads[0])
    add_penalty(net, params, grads[0])
    return loss + penalty(net.layers, net.l2, params)


def batch_gradient(net, x, targets, sample_weight, seed, step, params, grads):
    """Return the mean loss of a batch and write its gradient, without the penalty, to ``grads``."""
    samples = x.shape[1]
    total = float(sample_weight.sum(dtype=np.float64)) if sample_weight.shape[0] else samples
    # A batch may contain only samples of weight zero; its gradient is zero.
    scale = 1 / total if total > 0 else 0.0

    inputs, net_inputs, outputs = forward_layers(net, x, seed, step, params)
    delta = np.empty_like(outputs[-1])
    constants = net.constants[len(net.layers) - 1 :]
    loss = output_loss(outputs[-1], targets, sample_weight, net.loss, constants, scale, delta)
    backward_layers(net, (inputs, net_inputs, outputs), delta, seed, step, params, grads)
    return loss * scale


def forward_layers(net, x, seed, step, params):
    """Compute the inputs, net inputs and outputs of all layers for a batch.

    Parameters
    ----------
    net : fastnn.backends.interface.Net
    x : ndarray, shape (features, samples)
    seed, step : int
    params : ndarray, shape (n_params,)

    Returns
    -------
    inputs, net_inputs, outputs : list of ndarray, each (units, samples)
    """
    inputs, net_inputs, a = [], [], x
    for k, (row, constant) in enumerate(zip(net.layers, net.constants, strict=False)):
        inputs.append(a)
        z = np.empty((row[FAN_OUT], x.shape[1]), np.result_type(a, params))
        if row[KIND] == codes.DROPOUT:
            dropout_forward(a, constant, stream(seed, codes.STREAM_DROPOUT + k, step), 0, z)
            a = z
        else:
            dense_forward(a, weights_of(row, params), biases_of(row, params), z)
            a = np.empty_like(z)
            activation_forward(z, row[ACTIVATION], constant, a)
        net_inputs.append(z)
    return inputs, net_inputs, [*inputs[1:], a]


def backward_layers(net, layers, delta, seed, step, params, grads, by_inputs=False):
    """Compute the parameter gradient from the gradient w.r.t. the last layer's outputs.

    Parameters
    ----------
    net : fastnn.backends.interface.Net
    layers : tuple of list
        Result of :func:`forward_layers`.
    delta : ndarray, shape (outputs, samples)
        Derivative with respect to the outputs; overwritten.
    seed, step : int
    params : ndarray, shape (n_params,)
    grads : ndarray, shape (n_params,)
        Output: the gradient.
    by_inputs : bool
        Whether to compute the derivative with respect to the inputs too.

    Returns
    -------
    ndarray, shape (features, samples), or None
        Derivative with respect to the inputs, None unless ``by_inputs``.
    """
    inputs, net_inputs, outputs = layers
    for k in range(len(net.layers) - 1, -1, -1):
        row, constant = net.layers[k], net.constants[k]
        if row[KIND] == codes.DROPOUT:
            dropout_backward(constant, stream(seed, codes.STREAM_DROPOUT + k, step), 0, delta)
            continue
        activation_backward(net_inputs[k], outputs[k], row[ACTIVATION], constant, delta)
        dense_backward_params(
            inputs[k], delta, False, weights_of(row, grads), biases_of(row, grads)
        )
        if k > 0 or by_inputs:
            dx = np.empty((row[FAN_IN], delta.shape[1]), delta.dtype)
            dense_backward_inputs(weights_of(row, params), delta, dx)
            delta = dx
    return delta if by_inputs else None
