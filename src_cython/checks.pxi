# Checks of arrays, so that an invalid argument cannot corrupt memory.

cdef int REAL_TYPE = cnp.NPY_DOUBLE if REAL_IS_DOUBLE else cnp.NPY_FLOAT


cdef int check(cnp.ndarray array, int dtype, Size size, bint written, str name) except -1:
    """Check dtype, layout and smallest size."""
    if cnp.PyArray_TYPE(array) != dtype:
        raise TypeError("%s has the wrong dtype, %s" % (name, array.dtype))
    if not (cnp.PyArray_ISCARRAY(array) if written else cnp.PyArray_ISCARRAY_RO(array)):
        raise ValueError("%s must be C-contiguous%s" % (name, ", writeable" if written else ""))
    if cnp.PyArray_SIZE(array) < size:
        raise ValueError(
            "%s has %s elements; %s are needed" % (name, cnp.PyArray_SIZE(array), size))
    return 0


cdef real *reals(cnp.ndarray array, Size size, bint written, str name) except? NULL:
    """Check an array and return a pointer to its elements."""
    check(array, REAL_TYPE, size, written, name)
    return <real *> cnp.PyArray_DATA(array)


cdef int check_shape(cnp.ndarray array, Size rows, Size columns, str name) except -1:
    """Check for two dimensions of these sizes; -1 means any size."""
    if (
        cnp.PyArray_NDIM(array) != 2
        or rows >= 0 and cnp.PyArray_DIM(array, 0) != rows
        or columns >= 0 and cnp.PyArray_DIM(array, 1) != columns
    ):
        raise ValueError(
            "%s has shape %s; needed is (%s, %s)" % (name, (<object> array).shape, rows, columns))
    return 0


cdef Matrix matrix(cnp.ndarray array, Size rows, Size columns, bint written, str name) except *:
    """Check dtype and shape of an array and return it as a matrix; -1 means any size."""
    cdef Matrix m
    m.p = reals(array, 0, written, name)
    check_shape(array, rows, columns, name)
    m.ld = dim(array, 1)
    return m


cdef inline void *data_of(cnp.ndarray array) noexcept:
    return cnp.PyArray_DATA(array)


cdef inline Size dim(cnp.ndarray array, int axis) noexcept:
    return cnp.PyArray_DIM(array, axis)
