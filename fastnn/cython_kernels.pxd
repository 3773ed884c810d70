# cython: language_level=3
"""Networks in Cython code: ``from fastnn.cython_kernels cimport Predict32, predict32``.

``predict32`` and ``predict64`` take what ``net.cfunc()`` gives, for networks of float32 and
float64, and give its C function: ``f(x, out)`` reads one number a feature and writes one an output,
without the GIL, from any number of threads. It was compiled for this processor when ``cfunc`` was
called. Keep the Python object as long as the function is used; the lengths are not checked.
"""

ctypedef void (*Predict32)(const float *x, float *out) noexcept nogil
ctypedef void (*Predict64)(const double *x, double *out) noexcept nogil


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
