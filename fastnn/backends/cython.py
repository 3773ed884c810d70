"""The kernels of :mod:`fastnn.backends.numpy` compiled by Cython.

Written in ``src_cython`` and compiled once for each dtype and vector level: baseline, AVX2 and
AVX-512. This module takes the highest level that was compiled and that the processor has; the
extension module of a dtype is loaded when it is first needed.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from fastnn.backends._cython_processor import vector_levels
from fastnn.backends.numpy import biases_of, weights_of

NAME = "cython"

# Weights of a layer from which on packed products (or BLAS, where they are not compiled) are faster
# than the loops, measured with batches of 32 to 1,024: below, packing costs more than it saves.
WIDE_LAYER_WEIGHTS = 64 * 1024


def levels() -> list[str]:
    """Return the vector levels that were compiled and that the processor has, lowest first."""
    return [
        name
        for name in vector_levels()
        if importlib.util.find_spec(f"fastnn.backends._cython_{name}_float32")
    ]


class _DtypeDispatch(dict):
    """One kernel for each dtype, by its size: 4 or 8 bytes; loaded on first use."""

    def __init__(self, level: str, name: str) -> None:
        super().__init__()
        self.level, self.name = level, name

    def __missing__(self, itemsize: int) -> Callable[..., Any]:
        if itemsize not in (4, 8):
            raise TypeError(f"arrays must be float32 or float64, not of {itemsize} bytes a number")
        self[itemsize] = getattr(_load_module(self.level, itemsize), self.name)
        return self[itemsize]


def _load_module(level: str, itemsize: int) -> ModuleType:
    """Import the extension module of a vector level and a dtype."""
    return importlib.import_module(f"fastnn.backends._cython_{level}_float{8 * itemsize}")


class Level:
    """The kernels of one vector level.

    Each method calls the function of its name in the module of the dtype of one array; that
    function checks all arrays.
    """

    NAME = NAME
    WIDE_LAYER_WEIGHTS = WIDE_LAYER_WEIGHTS
    weights_of, biases_of = staticmethod(weights_of), staticmethod(biases_of)

    def __init__(self, level: str) -> None:
        self.level = level
        for name in _KERNELS:
            setattr(self, f"_{name}", _DtypeDispatch(level, name))

    def for_dtype(self, dtype: np.dtype) -> Level:
        """Return these kernels without the lookup of the dtype in each call."""
        return _kernels_of_dtype(self.level, dtype.itemsize)

    # --- independent of the dtype: the module of either dtype will do

    def mix(self, z):
        return self._mix[4](z)

    def stream(self, seed, purpose, number):
        return self._stream[4](seed, purpose, number)

    def shuffle(self, seed, epoch, order):
        self._shuffle[4](seed, epoch, order)

    def few_samples_limit(self, n_params, wide_layers):
        return self._few_samples_limit[4](n_params, wide_layers)

    def product_scratch(self, block, widest, itemsize):
        return self._product_scratch[itemsize](block, widest, itemsize)

    # --- data

    def compress(self, x, first, last, indptr, indices, values):
        self._compress[x.itemsize](x, first, last, indptr, indices, values)

    # --- a single layer

    def dense_forward(self, x, w, b, out):
        self._dense_forward[w.itemsize](x, w, b, out)

    def dense_backward_params(self, x, dz, accumulate, dw, db):
        self._dense_backward_params[x.itemsize](x, dz, accumulate, dw, db)

    def dense_backward_inputs(self, w, dz, dx):
        self._dense_backward_inputs[w.itemsize](w, dz, dx)

    def activation_forward(self, z, activation, alpha, out):
        self._activation_forward[z.itemsize](z, activation, alpha, out)

    def activation_backward(self, z, a, activation, alpha, da):
        self._activation_backward[a.itemsize](z, a, activation, alpha, da)

    def dropout_forward(self, x, rate, key, first, out):
        self._dropout_forward[x.itemsize](x, rate, key, first, out)

    def dropout_backward(self, rate, key, first, da):
        self._dropout_backward[da.itemsize](rate, key, first, da)

    def output_loss(self, logits, targets, sample_weight, loss, constants, scale, dlogits):
        return self._output_loss[logits.itemsize](
            logits, targets, sample_weight, loss, constants, scale, dlogits
        )

    def output_transform(self, loss, out):
        self._output_transform[out.itemsize](loss, out)

    def update(self, grads, l2, rule, learning_rate, count, params, moments):
        self._update[params.itemsize](grads, l2, rule, learning_rate, count, params, moments)

    def penalty(self, layers, l2, params):
        return self._penalty[params.itemsize](layers, l2, params)

    # --- a network

    def forward(self, net, x, transform, params, work, out):
        return self._forward[params.itemsize](net, x, transform, params, work, out)

    def loss_and_grad(self, net, x, targets, sample_weight, seed, step, params, work, grads):
        return self._loss_and_grad[params.itemsize](
            net, x, targets, sample_weight, seed, step, params, work, grads
        )

    def train(self, net, data, rule, chunk, team, params, moments, memory, losses):
        return self._train[params.itemsize](
            net, data, rule, chunk, team, params, moments, memory, losses
        )

    # --- derivatives of the outputs; forward pass, backward pass and update as separate calls

    def input_gradients(self, net, x, vectors, params, work, out):
        self._input_gradients[params.itemsize](net, x, vectors, params, work, out)

    def output_tangents(self, net, x, vectors, params, work, out):
        self._output_tangents[params.itemsize](net, x, vectors, params, work, out)

    def sample_gradients(self, net, x, vectors, params, work, out):
        self._sample_gradients[params.itemsize](net, x, vectors, params, work, out)

    def tape_forward(self, net, x, seed, step, params, work, out):
        return self._tape_forward[params.itemsize](net, x, seed, step, params, work, out)

    def tape_backward(self, net, x, d_outputs, seed, step, params, work, grads, d_inputs):
        self._tape_backward[params.itemsize](
            net, x, d_outputs, seed, step, params, work, grads, d_inputs
        )

    def apply_gradient(self, net, grads, rule, learning_rate, count, params, moments):
        return self._apply_gradient[params.itemsize](
            net, grads, rule, learning_rate, count, params, moments
        )

    # --- elementary functions, for tests

    def apply_elementary(self, name, x, out):
        self._apply_elementary[x.itemsize](name, x, out)


_KERNELS = [name for name in vars(Level) if not name.startswith("_") and name not in globals()]
_KERNELS.remove("for_dtype")


@functools.cache
def _kernels_of_dtype(name: str, itemsize: int) -> Level:
    """The kernels of a vector level for numbers of this size."""
    level, module = Level(name), _load_module(name, itemsize)
    for kernel in _KERNELS:
        if hasattr(module, kernel):
            setattr(level, kernel, getattr(module, kernel))
    return level


def load_level(name: str) -> Level:
    """Load the kernels of one vector level.

    Parameters
    ----------
    name : str
        One of :func:`levels`.

    Returns
    -------
    Level
    """
    if name not in levels():
        raise ImportError(f"vector level {name!r} is not available; {', '.join(levels())} are")
    return Level(name)


# --- the functions of this module are those of the highest level

LEVEL = levels()[-1]
_best = load_level(LEVEL)
globals().update({name: getattr(_best, name) for name in (*_KERNELS, "for_dtype")})

__all__ = ["LEVEL", "NAME", "WIDE_LAYER_WEIGHTS", "biases_of", "levels", "load_level", "weights_of"]
__all__ += _KERNELS
