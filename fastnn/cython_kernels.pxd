# cython: language_level=3
"""Networks in Cython code: ``from fastnn.cython_kernels cimport Predict32, predict32``.

``predict32`` and ``predict64`` take what ``net.cfunc()`` gives, for networks of float32 and
float64, and give its C function: ``f(x, out)`` reads one number a feature and writes one an output,
without the GIL, from any number of threads. It was compiled for this processor when ``cfunc`` was
called. Keep the Python object as long as the function is used; the lengths are not checked.

``jacobian32`` and ``jacobian64`` take ``net.cfunc("value_and_jacobian")``: ``f(x, out, jac)`` writes
the derivatives by the inputs too, ``jac[k * features + i]`` that of output k by input i.
"""

ctypedef void (*Predict32)(const float *x, float *out) noexcept nogil
ctypedef void (*Predict64)(const double *x, double *out) noexcept nogil
ctypedef void (*Jacobian32)(const float *x, float *out, float *jac) noexcept nogil
ctypedef void (*Jacobian64)(const double *x, double *out, double *jac) noexcept nogil


cdef inline size_t _address(object function, str signature) except 0:
    found = getattr(function, "signature", None)
    if found != signature:
        raise TypeError(
            f"function must be net.cfunc() with the signature {signature!r}; "
            f"got {found or function!r}"
        )
    return function.address


cdef inline Predict32 predict32(object function) except NULL:
    return <Predict32> _address(function, "void (const float *, float *)")


cdef inline Predict64 predict64(object function) except NULL:
    return <Predict64> _address(function, "void (const double *, double *)")


cdef inline Jacobian32 jacobian32(object function) except NULL:
    return <Jacobian32> _address(function, "void (const float *, float *, float *)")


cdef inline Jacobian64 jacobian64(object function) except NULL:
    return <Jacobian64> _address(function, "void (const double *, double *, double *)")
