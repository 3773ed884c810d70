"""Update rules, the L2 penalty and gradient clipping."""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes
from fastnn.backends.codes import (
    BIASES,
    CLIP_NORM,
    CLIP_VALUE,
    FAN_IN,
    FAN_OUT,
    KIND,
    RATE_FACTOR,
    WEIGHTS,
)


def weights_of(row, flat):
    """Return a view of a dense layer's weights in a flat vector."""
    fan_in, fan_out, start = row[FAN_IN], row[FAN_OUT], row[WEIGHTS]
    return flat[start : start + fan_in * fan_out].reshape(fan_in, fan_out)


def biases_of(row, flat):
    """Return a view of a dense layer's biases in a flat vector."""
    return flat[row[BIASES] : row[BIASES] + row[FAN_OUT]]


def penalty(layers, l2, params):
    """Return ``l2 / 2`` times the sum of the squared weights, without the biases."""
    if l2 == 0.0:
        return 0.0
    total = 0.0
    for row in layers:
        if row[KIND] == codes.DENSE:
            w = weights_of(row, params)
            total += np.einsum("ij,ij->", w, w, dtype=np.result_type(w, np.float64))
    return 0.5 * l2 * total


def add_penalty(net, params, grads):
    """Add the derivative of the penalty to the gradient of the loss."""
    if net.l2 != 0.0:
        for row in net.layers:
            if row[KIND] == codes.DENSE:
                dw = weights_of(row, grads)
                dw += dw.dtype.type(net.l2) * weights_of(row, params)


def update(grads, l2, rule, learning_rate, count, params, moments):
    """Do one step of an update rule, with ``g = grads + l2 params``.

    | rule | constants | step |
    |---|---|---|
    | sgd | momentum, nesterov | v = momentum v - rate g; params += v, or momentum v - rate g |
    | adam | beta_1, beta_2, epsilon | m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; |
    | | | params -= rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt v + epsilon) |
    | adagrad | epsilon | s += g^2; params -= rate g / (sqrt s + epsilon) |
    | rmsprop | rho, epsilon | s = rho s + (1 - rho) g^2; params -= rate g / (sqrt s + epsilon) |

    Before the step, the parameters are multiplied by ``1 - learning_rate * rule.decay`` (AdamW).
    The rate of the step is ``learning_rate`` times ``rule.constants[0, RATE_FACTOR]``.

    Parameters
    ----------
    grads : ndarray, shape (n,)
    l2 : float
    rule : fastnn.backends.interface.Rule
    learning_rate : float
    count : int
        Number of this update, from 1 (``t``).
    params : ndarray, shape (n,)
        Read and overwritten.
    moments : ndarray, shape (rows, n)
        Moments, zero before the first update; read and overwritten. No rows if the rule has no
        moments.
    """
    dtype, code, constants = params.dtype.type, rule.code, rule.constants[0]
    g = grads + dtype(l2) * params
    if rule.decay != 0.0:
        params *= dtype(1 - learning_rate * rule.decay)
    learning_rate = learning_rate * constants[RATE_FACTOR]
    rate = dtype(learning_rate)
    if code == codes.SGD:
        momentum, nesterov = constants[0], constants[1]
        if momentum == 0.0:
            params -= rate * g
            return
        v = moments[0]
        v *= dtype(momentum)
        v -= rate * g
        params += dtype(momentum) * v - rate * g if nesterov else v
    elif code == codes.ADAM:
        beta_1, beta_2, epsilon = constants[:3]
        m, v = moments[0], moments[1]
        m *= dtype(beta_1)
        m += dtype(1 - beta_1) * g
        v *= dtype(beta_2)
        v += dtype(1 - beta_2) * g * g
        corrected = dtype(learning_rate * np.sqrt(1 - beta_2**count) / (1 - beta_1**count))
        params -= corrected * m / (np.sqrt(v) + dtype(epsilon))
    elif code == codes.ADAGRAD:
        s = moments[0]
        s += g * g
        params -= rate * g / (np.sqrt(s) + dtype(constants[0]))
    else:
        rho, epsilon = constants[0], constants[1]
        s = moments[0]
        s *= dtype(rho)
        s += dtype(1 - rho) * g * g
        params -= rate * g / (np.sqrt(s) + dtype(epsilon))


def update_front(grads, l2, rule, learning_rate, count, params, moments):
    """Update the first layer's weights and the trainable factors of the features.

    The weights in ``params`` are the products ``s_i W_ij`` of ``rule.front``. From their gradient G
    follow the gradients ``s_i G_ij`` of W and ``sum_j W_ij G_ij`` of s.

    Parameters
    ----------
    grads, l2, rule, learning_rate, count, params, moments
        As for :func:`update`, for the first layer's weights.
    """
    w, s, moments_s = rule.front[:, :-3], rule.front[:, -3], rule.front[:, -2:].T
    grads, moments = grads.reshape(w.shape), moments.reshape(-1, *w.shape)
    dw, ds = s[:, None] * grads, np.einsum("ij,ij->i", w, grads, dtype=np.float64)
    update(dw, l2, rule.part(0), learning_rate, count, w, moments)
    rule = rule.part(-1)._replace(decay=0.0)
    update(ds.astype(s.dtype), 0.0, rule, learning_rate, count, s, moments_s)
    np.multiply(s[:, None], w, out=params.reshape(w.shape))


def clips(rule):
    """Return whether gradients are clipped."""
    return rule.constants[0, [CLIP_NORM, CLIP_VALUE]].any()


def clip_gradient(net, rule, params, grads):
    """Add the penalty's derivative to the gradient, then clip its entries and its norm."""
    clip_norm, clip_value = rule.constants[0, [CLIP_NORM, CLIP_VALUE]]
    add_penalty(net, params, grads)
    if clip_value != 0.0:
        np.clip(grads, -clip_value, clip_value, out=grads)
    if clip_norm != 0.0:
        norm = np.sqrt(np.einsum("i,i->", grads, grads, dtype=np.float64))
        if norm > clip_norm:
            grads *= grads.dtype.type(clip_norm / norm)
