# Conversion of data for the kernels.

cdef extern from "data.h" nogil:
    void compress_rows(const real *x, Size features, Size first, Size last, const int64_t *indptr,
                       int32_t *indices, real *values) noexcept


def compress(cnp.ndarray x not None, Size first, Size last, cnp.ndarray indptr not None,
             cnp.ndarray indices not None, cnp.ndarray values not None, /):
    """Convert the rows from ``first`` up to ``last`` (exclusive) to CSR."""
    cdef Matrix x_ = matrix(x, -1, -1, False, "x")
    if not 0 <= first <= last <= dim(x, 0):
        raise ValueError("rows %s to %s of %s" % (first, last, dim(x, 0)))
    check(indptr, cnp.NPY_INT64, last + 1, False, "indptr")
    cdef int64_t *ends = <int64_t *> data_of(indptr)
    check(indices, cnp.NPY_INT32, ends[last], True, "indices")
    cdef real *values_ = reals(values, ends[last], True, "values")
    cdef int32_t *indices_ = <int32_t *> data_of(indices)
    with nogil:
        compress_rows(x_.p, x_.ld, first, last, ends, indices_, values_)
