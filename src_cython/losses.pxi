# Losses with their derivatives, and what net inputs become for a prediction.

cdef extern from "losses.h" nogil:
    double loss_rows(Matrix z, Matrix targets, const real *weights, int loss, double constant,
                     double scale, Size units, Size samples, Size lanes, Matrix dz) noexcept
    void transform_rows(Matrix z, int loss, Size units, Size lanes) noexcept


def output_loss(cnp.ndarray logits not None, cnp.ndarray targets not None,
                cnp.ndarray sample_weight not None, int loss, double constant, double scale,
                cnp.ndarray dlogits not None, /):
    """Weighted sum of the samples' losses, and its derivative times ``scale``."""
    cdef Matrix z = matrix(logits, -1, -1, False, "logits")
    cdef Size units = dim(logits, 0), n = dim(logits, 1)
    cdef Matrix t = matrix(targets, 1 if loss == CROSS_ENTROPY else units, n, False, "targets")
    cdef Matrix dz = matrix(dlogits, units, n, True, "dlogits")
    cdef real *weights = NULL
    if cnp.PyArray_SIZE(sample_weight):
        weights = reals(sample_weight, n, False, "sample_weight")
    cdef double total
    with nogil:
        total = loss_rows(z, t, weights, loss, constant, scale, units, n, n, dz)
    return total


def output_transform(int loss, cnp.ndarray out not None, /):
    """Net inputs become predictions, in place: softmax, sigmoid, exp or themselves."""
    cdef Matrix z = matrix(out, -1, -1, True, "out")
    cdef Size units = dim(out, 0), n = dim(out, 1)
    with nogil:
        transform_rows(z, loss, units, n)
