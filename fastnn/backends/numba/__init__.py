"""The kernels of :mod:`fastnn.backends.numpy` compiled by Numba.

Formulas, shapes and meanings of the arguments are documented there, file by file; here is why
something is done differently:

* Inside compiled code a matrix is a pointer with its size (:mod:`.pointers`), and what belongs
  together is one named tuple, which Numba takes apart into numbers and pointers.
* Loops run over whole vectors: rows of scratch memory are padded, and what is computed in the
  padding means nothing.
* A function marked ``distinct`` promises that no two of its pointers overlap; what works in place
  therefore has one pointer for it.
* The public functions take the named tuples of :mod:`fastnn.backends.interface` apart into plain
  tuples, whose types Numba finds out ten times as fast.

Arrays are C-contiguous and of one dtype, float32 or float64. ``work`` has a row a thread.
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
from fastnn.backends.numba.maths import (
    vector_exp,
    vector_expm1,
    vector_log,
    vector_log1p,
    vector_sigmoid,
    vector_softplus,
    vector_tanh,
)
from fastnn.backends.numba.network import few_samples, forward
from fastnn.backends.numba.products import (
    BLAS_WEIGHTS,
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
    """Scratch numbers that the products of wide layers need beside the plan's own: none."""
    return 0
