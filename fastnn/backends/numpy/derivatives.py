"""Derivatives of a network's outputs with respect to its inputs.

In reverse mode, in forward mode, and of second order. The functions differentiate the net inputs
of the last layer with respect to the inputs of the first. The plan must not have dropout. Several
vectors share one forward pass; with the unit vectors, the results are the rows (reverse mode) or
columns (forward mode) of the Jacobian.
"""

from __future__ import annotations

import numpy as np

from fastnn.backends.codes import ACTIVATION, FAN_IN, FAN_OUT
from fastnn.backends.numpy.activations import activation_backward, activation_curvature
from fastnn.backends.numpy.network import forward_layers
from fastnn.backends.numpy.products import dense_backward_inputs, ignore_float_errors
from fastnn.backends.numpy.updates import weights_of


@ignore_float_errors
def input_gradients(net, x, vectors, params, work, out):
    """Compute vector-Jacobian products: ``out[s, r] = J(x[s]).T vectors[s, r]``.

    Parameters
    ----------
    net : fastnn.backends.interface.Net
        Without dropout.
    x : ndarray, shape (samples, features)
    vectors : ndarray, shape (samples or 1, n_vectors, outputs)
        If the first dimension is 1, all samples use the same vectors.
    params : ndarray, shape (n_params,)
    work : ndarray
        Scratch memory.
    out : ndarray, shape (samples, n_vectors, features)
    """
    layers = forward_layers(net, x.T, 0, 0, params)
    for r in range(vectors.shape[1]):
        out[:, r] = _backward_pass(net, layers, as_columns(vectors[:, r], x), params)[-1].T


@ignore_float_errors
def output_tangents(net, x, vectors, params, work, out):
    """Compute Jacobian-vector products: ``out[s, r] = J(x[s]) vectors[s, r]``.

    Parameters
    ----------
    net, x, params, work
        As for :func:`input_gradients`.
    vectors : ndarray, shape (samples or 1, n_vectors, features)
    out : ndarray, shape (samples, n_vectors, outputs)
    """
    layers = forward_layers(net, x.T, 0, 0, params)
    for r in range(vectors.shape[1]):
        out[:, r] = _tangent_pass(net, layers, as_columns(vectors[:, r], x), params)[-1].T


@ignore_float_errors
def input_curvature(net, x, direction, vector, tangent, params, work, out):
    """Differentiate ``J(x).T vector`` along a direction of x and a tangent of the vector.

    ``out = d/de J(x + e direction).T (vector + e tangent)`` at e = 0, computed by a forward-mode
    pass along the direction and a backward pass for the values and their derivatives.

    Parameters
    ----------
    net, x, params, work
        As for :func:`input_gradients`.
    direction : ndarray, shape (samples, features)
    vector, tangent : ndarray, shape (samples, outputs)
    out : ndarray, shape (samples, features)
    """
    layers = forward_layers(net, x.T, 0, 0, params)
    _, net_inputs, outputs = layers
    tangents = _tangent_pass(net, layers, as_columns(direction, x), params)
    deltas = _backward_pass(net, layers, as_columns(vector, x), params)
    delta_tangent = tangent.T.copy()
    for k in range(len(net.layers) - 1, -1, -1):
        row, constant = net.layers[k], net.constants[k]
        curvature_term = deltas[len(net.layers) - 1 - k] * tangents[k]
        activation_curvature(net_inputs[k], outputs[k], row[ACTIVATION], constant, curvature_term)
        activation_backward(net_inputs[k], outputs[k], row[ACTIVATION], constant, delta_tangent)
        delta_tangent += curvature_term
        dx = np.empty((row[FAN_IN], len(x)), delta_tangent.dtype)
        dense_backward_inputs(weights_of(row, params), delta_tangent, dx)
        delta_tangent = dx
    out[...] = delta_tangent.T


def as_columns(vectors, x):
    """Return a copy of the vectors with one column per sample."""
    return np.repeat(vectors.T, len(x), axis=1) if len(vectors) < len(x) else vectors.T.copy()


def _backward_pass(net, layers, delta, params):
    """Return the derivatives w.r.t. the outputs of the layers, last to first, and the inputs."""
    _, net_inputs, outputs = layers
    deltas = []
    for k in range(len(net.layers) - 1, -1, -1):
        row = net.layers[k]
        deltas.append(delta.copy())
        activation_backward(net_inputs[k], outputs[k], row[ACTIVATION], net.constants[k], delta)
        dx = np.empty((row[FAN_IN], delta.shape[1]), delta.dtype)
        dense_backward_inputs(weights_of(row, params), delta, dx)
        delta = dx
    return [*deltas, delta]


def _tangent_pass(net, layers, tangent, params):
    """Return the tangents of all layers' net inputs, first to last, from one of the inputs."""
    _, net_inputs, outputs = layers
    tangents = []
    for k, row in enumerate(net.layers):
        z = np.empty((row[FAN_OUT], tangent.shape[1]), tangent.dtype)
        np.matmul(weights_of(row, params).T, tangent, out=z)
        tangents.append(z)
        tangent = z.copy()
        activation_backward(net_inputs[k], outputs[k], row[ACTIVATION], net.constants[k], tangent)
    return tangents
