"""Activations and dropout, forward and backward."""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba import maths
from fastnn.backends.numba.compiling import inner, noalias, public
from fastnn.backends.numba.pointers import Matrix, call_address, cast_like, copy, pointer
from fastnn.backends.numba.random import apply_dropout


@inner
def activate(activation, alpha, n, a):
    """``a = f(a)`` for ``n`` contiguous elements."""
    zero = cast_like(a, 0.0)
    if activation == codes.TANH:
        for s in range(n):
            a[s] = maths.tanh(a[s])
    elif activation == codes.SIGMOID:
        for s in range(n):
            a[s] = maths.sigmoid(a[s])
    elif activation == codes.RELU:
        for s in range(n):
            a[s] = zero if a[s] <= zero else a[s]
    elif activation == codes.LEAKY_RELU:
        slope = cast_like(a, alpha)
        for s in range(n):
            a[s] = slope * a[s] if a[s] <= zero else a[s]
    elif activation == codes.ELU:
        scale = cast_like(a, alpha)
        for s in range(n):
            e = scale * maths.expm1(a[s])
            a[s] = e if a[s] <= zero else a[s]
    elif activation == codes.SOFTPLUS:
        for s in range(n):
            a[s] = maths.softplus(a[s])
    elif activation == codes.SILU:
        for s in range(n):
            a[s] = a[s] * maths.sigmoid(a[s])
    elif activation == codes.GELU:
        for s in range(n):
            a[s] = a[s] * maths.normal_cdf(a[s])
    elif activation == codes.SELU:
        scale, scale_alpha = cast_like(a, codes.SELU_SCALE), cast_like(a, codes.SELU_SCALE_ALPHA)
        for s in range(n):
            e = scale_alpha * maths.expm1(a[s])
            a[s] = e if a[s] <= zero else scale * a[s]
    elif activation == codes.MISH:
        for s in range(n):
            a[s] = a[s] * maths.tanh_softplus(a[s])[0]
    elif activation == codes.CUSTOM_ACTIVATION:
        call_address(alpha, (np.int64(0), n, a, a))


@noalias
def activate_backward(z, a, activation, alpha, n, da):
    """Multiply ``da`` by ``f'(z)`` in place, for ``n`` contiguous elements."""
    zero = cast_like(a, 0.0)
    one = cast_like(a, 1.0)
    if activation == codes.TANH:
        for s in range(n):
            da[s] = da[s] * (one - a[s] * a[s])
    elif activation == codes.SIGMOID:
        for s in range(n):
            da[s] = da[s] * (a[s] * (one - a[s]))
    elif activation == codes.RELU:
        for s in range(n):
            da[s] = da[s] * (one if a[s] > zero else zero)
    elif activation == codes.LEAKY_RELU:
        slope = cast_like(a, alpha)
        for s in range(n):
            da[s] = da[s] * (one if a[s] > zero else slope)
    elif activation == codes.ELU:
        scale = cast_like(a, alpha)
        for s in range(n):
            da[s] = da[s] * (one if a[s] > zero else a[s] + scale)
    elif activation == codes.SOFTPLUS:
        for s in range(n):
            da[s] = da[s] * -maths.expm1(-a[s])
    elif activation == codes.SILU:
        for s in range(n):
            sigmoid = maths.sigmoid(z[s])
            da[s] = da[s] * (sigmoid + a[s] * (one - sigmoid))
    elif activation == codes.GELU:
        for s in range(n):
            cdf, density = maths.normal_pair(z[s])
            da[s] = da[s] * (cdf + z[s] * density)
    elif activation == codes.SELU:
        scale, scale_alpha = cast_like(a, codes.SELU_SCALE), cast_like(a, codes.SELU_SCALE_ALPHA)
        for s in range(n):
            da[s] = da[s] * (scale if a[s] > zero else a[s] + scale_alpha)
    elif activation == codes.MISH:
        for s in range(n):
            t, derivative = maths.tanh_softplus(z[s])
            da[s] = da[s] * (t + z[s] * derivative)
    elif activation == codes.CUSTOM_ACTIVATION:
        call_address(alpha, (np.int64(1), n, z, da))


@public
def activation_forward(z, activation, alpha, out):
    """``out = f(z)``; ``out`` may be ``z``."""
    copy(pointer(z), z.size, pointer(out))
    activate(activation, alpha, z.size, pointer(out))


@public
def activation_backward(z, a, activation, alpha, da):
    """Multiply ``da`` by ``f'(z)`` in place, which gives ``dz``."""
    activate_backward(pointer(z), pointer(a), activation, alpha, a.size, pointer(da))


@public
def dropout_forward(x, rate, key, first, out):
    """``out = x / (1 - rate)`` where the unit is kept, else 0."""
    units, samples = x.shape
    copy(pointer(x), x.size, pointer(out))
    apply_dropout(rate, np.uint64(key), first, Matrix(pointer(out), units, samples, samples))


@public
def dropout_backward(rate, key, first, da):
    """Apply the mask and factor of :func:`dropout_forward` to ``da``, in place."""
    units, samples = da.shape
    apply_dropout(rate, np.uint64(key), first, Matrix(pointer(da), units, samples, samples))
