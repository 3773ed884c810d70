"""Gradients by the parameters of each sample by itself: rows of the Jacobian, for Gauss-Newton."""

from __future__ import annotations

import numpy as np

from fastnn.backends.codes import ACTIVATION, BIASES, FAN_OUT, WEIGHTS
from fastnn.backends.numpy.activations import activation_backward
from fastnn.backends.numpy.derivatives import columns
from fastnn.backends.numpy.network import forward_layers
from fastnn.backends.numpy.products import quiet
from fastnn.backends.numpy.updates import weights_of


@quiet
def sample_gradients(net, x, vectors, params, work, out):
    """Vectors times the Jacobian by the parameters: ``out[:, r, s] = J(x[s]).T vectors[s, r]``.

    Of the last layer's net inputs. With the unit vectors, ``out`` is the transposed Jacobian of
    all outputs of all samples, whose product with itself is ``out @ out.T``.

    Parameters
    ----------
    net : fastnn.backends.interface.Net
        Without dropout.
    x : ndarray, shape (samples, features)
    vectors : ndarray, shape (samples or 1, n_vectors, outputs)
        1: the same for all samples.
    params : ndarray, shape (n_params,)
    work : ndarray
        Scratch memory.
    out : ndarray, shape (n_params, n_vectors, samples)
    """
    inputs, net_inputs, outputs = forward_layers(net, x.T, 0, 0, params)
    for r in range(vectors.shape[1]):
        delta = columns(vectors[:, r], x)
        for k in range(len(net.layers) - 1, -1, -1):
            row = net.layers[k]
            activation_backward(net_inputs[k], outputs[k], row[ACTIVATION], net.constants[k], delta)
            products = inputs[k][:, None] * delta[None]
            out[row[WEIGHTS] : row[BIASES], r] = products.reshape(-1, len(x))
            out[row[BIASES] : row[BIASES] + row[FAN_OUT], r] = delta
            delta = np.matmul(weights_of(row, params), delta)
