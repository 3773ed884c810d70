"""Value, first and second derivative along a curve, and the gradients of these three.

Taylor-mode differentiation, for residuals of differential equations: the inputs move by
``e first + e^2 / 2 second``, and each unit has a value and its first two derivatives in e.
With the net inputs ``z, z', z''`` the outputs are ``a = f(z)``, ``a' = f'(z) z'`` and
``a'' = f''(z) z'^2 + f'(z) z''``. The backward pass starts from the derivatives with
respect to all three at the last layer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.backends.codes import ACTIVATION, BIASES, FAN_OUT, WEIGHTS
from fastnn.backends.numpy.activations import (
    activation_backward,
    activation_curvature,
    activation_forward,
)
from fastnn.backends.numpy.products import ignore_float_errors
from fastnn.backends.numpy.updates import biases_of, weights_of

_STEP = 1e-30  # of the complex-step derivative; its square is negligible


class LayerCache(NamedTuple):
    """Intermediate results of a layer, for the backward pass.

    Attributes
    ----------
    inputs, net_inputs : ndarray, shape (3, units, samples)
        Value, first and second derivative.
    slopes : ndarray, shape (3, units, samples)
        First to third derivative of the activation function.
    """

    inputs: np.ndarray
    net_inputs: np.ndarray
    slopes: np.ndarray


@ignore_float_errors
def taylor(net: Any, x: Any, params: Any) -> tuple[np.ndarray, list[LayerCache]]:
    """Do the forward pass.

    Parameters
    ----------
    net : fastnn.backends.interface.Net
        Without dropout.
    x : ndarray, shape (3, features, samples)
        The samples, and their first and second derivative along the curve.
    params : ndarray, shape (n_params,)

    Returns
    -------
    out : ndarray, shape (3, outputs, samples)
        The last layer's outputs, which are its net inputs: value, first and second derivative.
    caches : list of Passed
        Argument of :func:`taylor_gradient`.
    """
    caches = []
    for row, constant in zip(net.layers, net.constants, strict=False):
        z = np.matmul(weights_of(row, params).T, x)
        z[0] += biases_of(row, params)[:, None]
        a, slopes = _activation(z[0], row[ACTIVATION], constant)
        caches.append(LayerCache(x, z, slopes))
        x = np.stack([a, slopes[0] * z[1], slopes[1] * z[1] ** 2 + slopes[0] * z[2]])
    return x, caches


@ignore_float_errors
def taylor_gradient(net: Any, caches: list[LayerCache], vector: Any, params: Any, out: Any) -> None:
    """Do the backward pass: compute the parameter gradient of each sample.

    Parameters
    ----------
    net, caches, params
        Arguments and result of :func:`taylor`.
    vector : ndarray, shape (3, outputs, samples)
        Derivatives of a function with respect to the three parts of :func:`taylor`'s ``out``.
    out : ndarray, shape (n_params, samples)
    """
    for row, (inputs, z, slopes) in zip(net.layers[::-1], caches[::-1], strict=True):
        v, v1, v2 = vector
        f1, f2, f3 = slopes
        bend = v1 * z[1] + v2 * z[2]
        d = np.stack(
            [
                v * f1 + bend * f2 + v2 * f3 * z[1] ** 2,
                v1 * f1 + 2 * v2 * f2 * z[1],
                v2 * f1,
            ]
        )
        products = np.einsum("tis,tjs->ijs", inputs, d)
        out[row[WEIGHTS] : row[BIASES]] = products.reshape(-1, products.shape[2])
        out[row[BIASES] : row[BIASES] + row[FAN_OUT]] = d[0]
        vector = np.matmul(weights_of(row, params), d)


def _activation(z: Any, activation: int, constant: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return an activation's output and its first three derivatives, the third by complex step."""
    a, perturbed = np.empty_like(z), z + np.asarray(_STEP * 1j, np.result_type(z, np.complex64))
    activation_forward(z, activation, constant, a)
    slopes = np.ones((2, *z.shape), z.dtype)
    activation_backward(z, a, activation, constant, slopes[0])
    activation_curvature(z, a, activation, constant, slopes[1])
    perturbed_a, third = np.empty_like(perturbed), np.ones_like(perturbed)
    activation_forward(perturbed, activation, constant, perturbed_a)
    activation_curvature(perturbed, perturbed_a, activation, constant, third)
    return a, np.concatenate([slopes, third.imag[None] / z.dtype.type(_STEP)])
