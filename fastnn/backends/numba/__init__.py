"""The kernels of :mod:`fastnn.backends.numpy` compiled by Numba."""

from fastnn.backends.numba.kernels import *  # noqa: F403
from fastnn.backends.numba.kernels import BLAS_WEIGHTS, NAME  # noqa: F401


def product_scratch(block, widest, itemsize):
    """Scratch numbers that the products of wide layers need beside the plan's own: none."""
    return 0
