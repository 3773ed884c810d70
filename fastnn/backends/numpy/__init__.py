"""The kernels in plain NumPy: the reference, to be read first.

Inside the kernels every matrix is ``(units, samples)``. The order of the arguments is: input
arrays, scalars, output arrays. A kernel overwrites its output arrays and keeps no state between
calls. It does not check its arguments; :class:`fastnn.Network` does.

Notation: ``x`` is the input of a layer, ``w`` its weights ``(fan_in, fan_out)``, ``b`` its biases,
``z = w.T x + b`` the net input and ``a = f(z)`` the output. The prefix ``d`` denotes the derivative
of the mean loss with respect to a variable: ``dz``, ``dw``.

All kernels except the random streams also accept complex arrays, so that the tests can
differentiate them by the complex-step method.
"""

from fastnn.backends.numpy.activations import (
    activation_backward,
    activation_curvature,
    activation_forward,
    dropout_backward,
    dropout_forward,
)
from fastnn.backends.numpy.data import compress
from fastnn.backends.numpy.derivatives import input_curvature, input_gradients, output_tangents
from fastnn.backends.numpy.losses import output_loss, output_transform
from fastnn.backends.numpy.network import forward, loss_and_grad
from fastnn.backends.numpy.products import (
    dense_backward_inputs,
    dense_backward_params,
    dense_forward,
)
from fastnn.backends.numpy.random import dropout_mask, mix, shuffle, stream
from fastnn.backends.numpy.sample_gradients import sample_gradients
from fastnn.backends.numpy.tape import apply_gradient, tape_backward, tape_forward
from fastnn.backends.numpy.taylor import taylor, taylor_gradient
from fastnn.backends.numpy.train import train
from fastnn.backends.numpy.updates import biases_of, penalty, update, weights_of

NAME = "numpy"
WIDE_LAYER_WEIGHTS = 0  # number of weights from which a layer uses BLAS: all layers do


def product_scratch(block, widest, itemsize):
    """Return how many additional scratch elements the products of wide layers need: none."""
    return 0


__all__ = [
    "NAME",
    "WIDE_LAYER_WEIGHTS",
    "activation_backward",
    "activation_curvature",
    "activation_forward",
    "apply_gradient",
    "biases_of",
    "compress",
    "dense_backward_inputs",
    "dense_backward_params",
    "dense_forward",
    "dropout_backward",
    "dropout_forward",
    "dropout_mask",
    "forward",
    "input_curvature",
    "input_gradients",
    "loss_and_grad",
    "mix",
    "output_loss",
    "output_tangents",
    "output_transform",
    "penalty",
    "product_scratch",
    "sample_gradients",
    "shuffle",
    "stream",
    "tape_backward",
    "tape_forward",
    "taylor",
    "taylor_gradient",
    "train",
    "update",
    "weights_of",
]
