"""The kernels of :mod:`fastnn.backends.numpy` compiled by Cython.

Written in ``src_cython`` and compiled once for each vector level: plain x86-64 (or whatever else
the processor is), AVX2 and AVX-512. This module takes the highest level that was compiled and
that the processor has.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from fastnn.backends import _cython_baseline
from fastnn.backends.numpy import biases_of, weights_of


def levels() -> list[str]:
    """Vector levels that were compiled and that this processor has, lowest first."""
    return [
        name
        for name in _cython_baseline.vector_levels()
        if importlib.util.find_spec(f"fastnn.backends._cython_{name}")
    ]


def load_level(name: str) -> ModuleType:
    """Kernels of one vector level.

    Parameters
    ----------
    name : str
        One of :func:`levels`.

    Returns
    -------
    module
    """
    if name not in levels():
        raise ImportError(f"vector level {name!r} is not there; there are: {', '.join(levels())}")
    return importlib.import_module(f"fastnn.backends._cython_{name}")


# --- the highest level, as this module's functions

LEVEL = levels()[-1]
_kernels = load_level(LEVEL)
NAME = _kernels.NAME
few_samples = _kernels.few_samples
mix = _kernels.mix
stream = _kernels.stream
shuffle = _kernels.shuffle
dense_forward = _kernels.dense_forward
dense_backward_params = _kernels.dense_backward_params
dense_backward_inputs = _kernels.dense_backward_inputs
activation_forward = _kernels.activation_forward
activation_backward = _kernels.activation_backward
dropout_forward = _kernels.dropout_forward
dropout_backward = _kernels.dropout_backward
output_loss = _kernels.output_loss
output_transform = _kernels.output_transform
update = _kernels.update
penalty = _kernels.penalty
forward = _kernels.forward
loss_and_grad = _kernels.loss_and_grad
train = _kernels.train
vector_exp = _kernels.vector_exp
vector_expm1 = _kernels.vector_expm1
vector_tanh = _kernels.vector_tanh
vector_sigmoid = _kernels.vector_sigmoid
vector_log = _kernels.vector_log
vector_log1p = _kernels.vector_log1p
vector_softplus = _kernels.vector_softplus
product_scratch = _kernels.product_scratch

# Weights of a layer from which on packed products (or BLAS, where they are not compiled) are faster
# than the loops, measured with batches of 32 to 1,024: below, packing costs more than it saves.
BLAS_WEIGHTS = 64 * 1024

__all__ = [
    "LEVEL",
    "NAME",
    "activation_backward",
    "activation_forward",
    "biases_of",
    "dense_backward_inputs",
    "dense_backward_params",
    "dense_forward",
    "dropout_backward",
    "dropout_forward",
    "forward",
    "levels",
    "load_level",
    "loss_and_grad",
    "mix",
    "output_loss",
    "output_transform",
    "penalty",
    "product_scratch",
    "shuffle",
    "stream",
    "train",
    "update",
    "vector_exp",
    "vector_expm1",
    "vector_log",
    "vector_log1p",
    "vector_sigmoid",
    "vector_softplus",
    "vector_tanh",
    "weights_of",
]
