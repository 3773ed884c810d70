# Losses with their derivatives, and the transformation of net inputs to predictions.

cdef extern from "losses.h" nogil:
    double loss_rows(Matrix z, Matrix targets, const real *weights, int loss,
                     const double *constants, Size per_target, double scale, Size units,
                     Size samples, Size padded, Matrix dz) noexcept
    void transform_rows(Matrix z, int loss, Size units, Size padded) noexcept


def output_loss(cnp.ndarray logits not None, cnp.ndarray targets not None,
                cnp.ndarray sample_weight not None, int loss, cnp.ndarray constants not None,
                double scale, cnp.ndarray dlogits not None, /):
    """Compute the weighted sum of the samples' losses, and its derivative times ``scale``."""
    cdef Matrix z = matrix(logits, -1, -1, False, "logits")
    cdef Size units = dim(logits, 0), n = dim(logits, 1)
    cdef Matrix t = matrix(targets, -1, n, False, "targets")
    cdef Size n_targets = dim(targets, 0), per_target = units // n_targets
    if loss != CROSS_ENTROPY and per_target * n_targets != units:
        raise ValueError("targets has rows that do not fit those of logits")
    cdef double *numbers
    check(constants, cnp.NPY_DOUBLE, per_target if loss == QUANTILE else 1, False, "constants")
    cdef Matrix dz = matrix(dlogits, units, n, True, "dlogits")
    cdef real *weights = NULL
    if cnp.PyArray_SIZE(sample_weight):
        weights = reals(sample_weight, n, False, "sample_weight")
    cdef double total
    numbers = <double *> data_of(constants)
    with nogil:
        total = loss_rows(z, t, weights, loss, numbers, per_target, scale, units, n, n, dz)
    return total


def output_transform(int loss, cnp.ndarray out not None, /):
    """Transform net inputs to predictions in place: softmax, sigmoid, exp or identity."""
    cdef Matrix z = matrix(out, -1, -1, True, "out")
    cdef Size units = dim(out, 0), n = dim(out, 1)
    with nogil:
        transform_rows(z, loss, units, n)
