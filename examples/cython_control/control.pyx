# cython: language_level=3, boundscheck=False, wraparound=False
"""A network in Cython: many rows at once, a thread takes what comes next, the GIL is released."""

from cython.parallel cimport prange

from fastnn.cython_kernels cimport Jacobian32, Predict32, jacobian32, predict32


def predict_rows(function, const float[:, ::1] X, float[:, ::1] out):
    """``out[i]`` is the network's output for ``X[i]``; ``function`` is ``net.cfunc()``."""
    cdef Predict32 f = predict32(function)  # a TypeError if the network is of float64
    cdef Py_ssize_t i
    if X.shape[0] != out.shape[0]:
        raise ValueError("X and out must have as many rows")
    for i in prange(X.shape[0], nogil=True):
        f(&X[i, 0], &out[i, 0])


def derive_rows(function, const float[:, ::1] X, float[:, ::1] out, float[:, :, ::1] jac):
    """The same with the derivatives by the inputs, (rows, outputs, features); ``function`` is
    ``net.cfunc("value_and_jacobian")``."""
    cdef Jacobian32 f = jacobian32(function)
    cdef Py_ssize_t i
    if not X.shape[0] == out.shape[0] == jac.shape[0]:
        raise ValueError("X, out and jac must have as many rows")
    for i in prange(X.shape[0], nogil=True):
        f(&X[i, 0], &out[i, 0], &jac[i, 0, 0])
