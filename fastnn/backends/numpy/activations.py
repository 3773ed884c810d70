"""Activations and dropout, forward and backward."""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numpy.random import dropout_mask


def activation_forward(z, activation, alpha, out):
    """``out = f(z)``; ``out`` may be ``z`` if the derivative follows from the output alone.

    | activation | f(z) |
    |---|---|
    | identity | z |
    | tanh | tanh z |
    | sigmoid | 1 / (1 + exp(-z)) |
    | relu | max(z, 0) |
    | leaky_relu | z for z > 0, else alpha z |
    | elu | z for z > 0, else alpha (exp(z) - 1) |
    | softplus | log(1 + exp(z)) |
    | silu | z sigmoid(z) |
    | gelu | z Phi(z) = z erfc(-z / sqrt 2) / 2 |
    | selu | lambda z for z > 0, else lambda alpha (exp(z) - 1) |
    | mish | z tanh(softplus(z)) |
    | custom | alpha.f(z) |

    Parameters
    ----------
    z : ndarray, shape (units, samples)
    activation : int
        A code of :mod:`fastnn.backends.codes`.
    alpha : float
        Constant of leaky_relu and elu; for a custom activation the
        :class:`fastnn.CustomActivation` (for the Numba kernels the address of the compiled code).
    out : ndarray, shape (units, samples)
    """
    if activation == codes.TANH:
        np.tanh(z, out=out)
    elif activation == codes.SIGMOID:
        out[...] = sigmoid(z)
    elif activation == codes.RELU:
        # not np.maximum: where the real parts are equal it would compare imaginary parts
        out[...] = np.where(z.real <= 0, 0, z)
    elif activation == codes.LEAKY_RELU:
        out[...] = np.where(z.real <= 0, alpha * z, z)
    elif activation == codes.ELU:
        out[...] = np.where(z.real <= 0, alpha * np.expm1(np.where(z.real <= 0, z, 0)), z)
    elif activation == codes.SOFTPLUS:
        out[...] = softplus(z)
    elif activation == codes.SILU:
        out[...] = z * sigmoid(z)
    elif activation == codes.GELU:
        out[...] = z * normal_cdf(z)
    elif activation == codes.SELU:
        below = codes.SELU_SCALE_ALPHA * np.expm1(np.where(z.real <= 0, z, 0))
        out[...] = np.where(z.real <= 0, below, codes.SELU_SCALE * z)
    elif activation == codes.MISH:
        out[...] = z * tanh_softplus(z)[0]
    elif activation == codes.CUSTOM_ACTIVATION:
        out[...] = elementwise(alpha.f, z)
    elif out is not z:
        out[...] = z


def activation_backward(z, a, activation, alpha, da):
    """Multiply ``da`` by ``f'(z)`` in place, which gives ``dz``.

    The derivative is computed from the output a alone if possible.

    | activation | f'(z) |
    |---|---|
    | identity | 1 |
    | tanh | 1 - a^2 |
    | sigmoid | a (1 - a) |
    | relu | 1 for a > 0, else 0 (so 0 at z = 0) |
    | leaky_relu | 1 for a > 0, else alpha |
    | elu | 1 for a > 0, else a + alpha |
    | softplus | sigmoid(z) = 1 - exp(-a) |
    | silu | s + a (1 - s), s = sigmoid(z) |
    | gelu | Phi(z) + z phi(z) |
    | selu | lambda for a > 0, else a + lambda alpha |
    | mish | t + z (1 - t^2) sigmoid(z), t = tanh(softplus(z)) |
    | custom | alpha.df(z) |

    Parameters
    ----------
    z, a : ndarray, shape (units, samples)
        Net input and output; ``z`` is read only for silu, gelu, mish and custom activations.
    activation : int
    alpha : float
        As for :func:`activation_forward`; the constant of leaky_relu and elu must be positive.
    da : ndarray, shape (units, samples)
        Read and overwritten.
    """
    if activation == codes.TANH:
        da *= 1 - a * a
    elif activation == codes.SIGMOID:
        da *= a * (1 - a)
    elif activation == codes.RELU:
        da *= a.real > 0
    elif activation == codes.LEAKY_RELU:
        da *= np.where(a.real > 0, 1, np.asarray(alpha, a.real.dtype))
    elif activation == codes.ELU:
        da *= np.where(a.real > 0, 1, a + np.asarray(alpha, a.real.dtype))
    elif activation == codes.SOFTPLUS:
        da *= -np.expm1(-a)
    elif activation == codes.SILU:
        s = sigmoid(z)
        da *= s + a * (1 - s)
    elif activation == codes.GELU:
        da *= normal_cdf(z) + z * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi).astype(z.real.dtype)
    elif activation == codes.SELU:
        scale, scale_alpha = np.asarray([codes.SELU_SCALE, codes.SELU_SCALE_ALPHA], a.real.dtype)
        da *= np.where(a.real > 0, scale, a + scale_alpha)
    elif activation == codes.MISH:
        t, derivative = tanh_softplus(z)
        da *= t + z * derivative
    elif activation == codes.CUSTOM_ACTIVATION:
        da *= elementwise(alpha.df, z)


def activation_curvature(z, a, activation, alpha, da):
    """Multiply ``da`` by ``f''(z)`` in place; zero for piecewise linear f, also at the kink.

    | activation | f''(z) |
    |---|---|
    | identity, relu, leaky_relu | 0 |
    | tanh | -2 a (1 - a^2) |
    | sigmoid | a (1 - a) (1 - 2 a) |
    | elu | 0 for a > 0, else a + alpha |
    | softplus | s (1 - s), 1 - s = exp(-a) |
    | silu | s (1 - s) (2 + z (1 - 2 s)), s = sigmoid(z) |
    | gelu | phi(z) (2 - z^2) |
    | selu | 0 for a > 0, else a + lambda alpha |
    | mish | (1 - t^2) s (2 + z (1 - s - 2 t s)), t = tanh(softplus(z)), s = sigmoid(z) |

    Parameters
    ----------
    z, a, activation, alpha, da
        As for :func:`activation_backward`. Custom activations are not supported: they have no
        second derivative.
    """
    if activation == codes.TANH:
        da *= -2 * a * (1 - a * a)
    elif activation == codes.SIGMOID:
        da *= a * (1 - a) * (1 - 2 * a)
    elif activation == codes.ELU:
        da *= np.where(a.real > 0, 0, a + np.asarray(alpha, a.real.dtype))
    elif activation == codes.SOFTPLUS:
        da *= -np.expm1(-a) * np.exp(-a)
    elif activation == codes.SILU:
        s = sigmoid(z)
        da *= s * (1 - s) * (2 + z * (1 - 2 * s))
    elif activation == codes.GELU:
        da *= np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi).astype(z.real.dtype) * (2 - z * z)
    elif activation == codes.SELU:
        below = np.asarray(codes.SELU_SCALE_ALPHA, a.real.dtype)
        da *= np.where(a.real > 0, 0, a + below)
    elif activation == codes.MISH:
        t, derivative = tanh_softplus(z)
        s = sigmoid(z)
        da *= derivative * (2 + z * (1 - s - 2 * t * s))
    else:
        da *= 0


def dropout_forward(x, rate, key, first, out):
    """``out = x / (1 - rate)`` where the unit is kept, else 0.

    Parameters
    ----------
    x : ndarray, shape (units, samples)
    rate : float
        Probability that a unit is dropped, in [0, 1).
    key : uint64
        Key of the mask's random stream.
    first : int
        Position of the first sample in the batch.
    out : ndarray, shape (units, samples)
    """
    mask = dropout_mask(rate, key, first, *x.shape)
    out[...] = np.where(mask, x * np.asarray(1 / (1 - rate), x.real.dtype), 0)


def dropout_backward(rate, key, first, da):
    """Apply the mask and factor of :func:`dropout_forward` to ``da``, in place."""
    mask = dropout_mask(rate, key, first, *da.shape)
    da[...] = np.where(mask, da * np.asarray(1 / (1 - rate), da.real.dtype), 0)


def elementwise(function, *arrays):
    """Apply a custom scalar function elementwise; NaN if it raises a numeric error.

    It is not called with arrays, since functions with branches or calls of ``math`` need scalars.
    """
    function = getattr(function, "py_func", function)  # the Python function if Numba compiled it
    out = np.empty_like(arrays[0])
    values = out.reshape(-1)
    with np.errstate(all="ignore"):
        for i, numbers in enumerate(zip(*(array.flat for array in arrays), strict=True)):
            try:
                values[i] = function(*numbers)
            except (ArithmeticError, ValueError):  # raised by math, but not in compiled code
                values[i] = np.nan
    return out


def sigmoid(z):
    """Return ``1 / (1 + exp(-z))`` without overflow: both branches use ``exp(-|z|)``."""
    positive = z.real >= 0
    e = np.exp(np.where(positive, -z, z))
    return np.where(positive, 1, e) / (1 + e)


def softplus(z):
    """Return ``log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|))``."""
    positive = z.real >= 0
    return np.where(positive, z, 0) + np.log1p(np.exp(np.where(positive, -z, z)))


def normal_cdf(z):
    """Return the standard normal distribution function, ``erfc(-z / sqrt 2) / 2``."""
    from scipy.special import erfc

    return 0.5 * erfc(-z / np.sqrt(2).astype(z.real.dtype))


def tanh_softplus(z):
    """Return ``t = tanh(softplus(z))`` and its derivative without overflow or cancellation.

    With ``q = exp(-|z|)`` and ``t = n / d``: for z >= 0, n = 1 + 2 q and d = n + 2 q^2; else
    n = q^2 + 2 q and d = n + 2. The derivative is ``(1 - t^2) sigmoid(z)``, where ``1 - t^2 =
    (d - n) (d + n) / d^2`` and the sigmoid is ``1 / (1 + q)`` for z >= 0, else ``q / (1 + q)``.
    """
    positive = z.real >= 0
    q = np.exp(np.where(positive, -z, z))
    n = np.where(positive, 1 + 2 * q, q * (q + 2))
    difference = np.where(positive, 2 * q * q, np.asarray(2, z.real.dtype))
    d = n + difference
    numerator = difference * (d + n) * np.where(positive, np.asarray(1, z.real.dtype), q)
    return n / d, numerator / (d * d * (1 + q))
