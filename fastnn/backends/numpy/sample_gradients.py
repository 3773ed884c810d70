"""Per-sample parameter gradients: rows of the Jacobian, for Gauss-Newton methods."""

from __future__ import annotations

import numpy as np

from fastnn.backends.codes import ACTIVATION, BIASES, FAN_OUT, WEIGHTS
from fastnn.backends.numpy.activations import activation_backward
from fastnn.backends.numpy.derivatives import as_columns
from fastnn.backends.numpy.network import forward_layers
from fastnn.backends.numpy.products import ignore_float_errors
from fastnn.backends.numpy.updates import weights_of


@ignore_float_errors
def sample_gradients(net, x, vectors, params, work, out):
    """Compute vector-Jacobian products: ``out[:, r, s] = J(x[s]).T vectors[s, r]``.

    J is the Jacobian of the last layer's net inputs with respect to the parameters. With the unit
    vectors, ``out`` as a matrix with a row per parameter is the transposed Jacobian of all outputs
    of all samples.

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
    out : ndarray, shape (n_params, n_vectors, samples)
    """
    inputs, net_inputs, outputs = forward_layers(net, x.T, 0, 0, params)
    for r in range(vectors.shape[1]):
        delta = as_columns(vectors[:, r], x)
        for k in range(len(net.layers) - 1, -1, -1):
            row = net.layers[k]
            activation_backward(net_inputs[k], outputs[k], row[ACTIVATION], net.constants[k], delta)
            products = inputs[k][:, None] * delta[None]
            out[row[WEIGHTS] : row[BIASES], r] = products.reshape(-1, len(x))
            out[row[BIASES] : row[BIASES] + row[FAN_OUT], r] = delta
            delta = np.matmul(weights_of(row, params), delta)
