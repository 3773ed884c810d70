"""The kernels of :mod:`fastnn.backends.numpy` compiled by Numba.

Formulas, shapes and meanings of the arguments are documented in the NumPy module of the same name.
This package differs from it as follows:

* Inside compiled code a matrix is a pointer with its size (:mod:`.pointers`), and related values
  are one named tuple, which Numba decomposes into scalars and pointers.
* Loops run over whole vectors: rows of scratch memory are padded, and values computed in the
  padding are not used.
* A function decorated with ``noalias`` requires that no two of its pointers overlap; a function
  that works in place therefore takes one pointer for input and output.
* The public functions convert the named tuples of :mod:`fastnn.backends.interface` to plain
  tuples, whose types Numba's dispatcher determines ten times as fast.

Arrays are C-contiguous and of one dtype, float32 or float64. ``work`` has one row per thread.
"""

# ruff: noqa: F401

from fastnn.backends.numba.activations import (
    activation_backward,
    activation_forward,
    dropout_backward,
    dropout_forward,
)
from fastnn.backends.numba.data import compress
from fastnn.backends.numba.derivatives import input_gradients, output_tangents
from fastnn.backends.numba.losses import output_loss, output_transform
from fastnn.backends.numba.maths import apply_elementary
from fastnn.backends.numba.network import few_samples_limit, forward
from fastnn.backends.numba.products import (
    WIDE_LAYER_WEIGHTS,
    dense_backward_inputs,
    dense_backward_params,
    dense_forward,
)
from fastnn.backends.numba.random import mix, shuffle, stream
from fastnn.backends.numba.sample_gradients import sample_gradients
from fastnn.backends.numba.tape import apply_gradient, tape_backward, tape_forward
from fastnn.backends.numba.train import loss_and_grad, train
from fastnn.backends.numba.updates import penalty, update
from fastnn.backends.numpy import biases_of, weights_of

NAME = "numba"


def product_scratch(block, widest, itemsize):
    """Return how many additional scratch elements the products of wide layers need: none."""
    return 0
