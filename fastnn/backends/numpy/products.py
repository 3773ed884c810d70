"""The three products of a dense layer."""

from __future__ import annotations

import numpy as np

# NaN and infinity propagate and lead to an error later; a warning from NumPy would only precede it.
# Some BLAS libraries also cause the warning by values in memory past the end of a matrix.
ignore_float_errors = np.errstate(over="ignore", invalid="ignore")


@ignore_float_errors
def dense_forward(x, w, b, out):
    """``out = w.T x + b``.

    Parameters
    ----------
    x : ndarray, shape (fan_in, samples)
    w : ndarray, shape (fan_in, fan_out)
    b : ndarray, shape (fan_out,)
    out : ndarray, shape (fan_out, samples)
    """
    np.matmul(w.T, x, out=out)
    out += b[:, None]


@ignore_float_errors
def dense_backward_params(x, dz, accumulate, dw, db):
    """``dw = x dz.T``, ``db = sum of dz over the samples``.

    Parameters
    ----------
    x : ndarray, shape (fan_in, samples)
    dz : ndarray, shape (fan_out, samples)
    accumulate : bool
        Whether to add to ``dw`` and ``db`` (for all blocks of a batch but the first) instead of
        overwriting them.
    dw : ndarray, shape (fan_in, fan_out)
    db : ndarray, shape (fan_out,)
    """
    if accumulate:
        dw += x @ dz.T
        db += dz.sum(axis=1)
    else:
        np.matmul(x, dz.T, out=dw)
        np.sum(dz, axis=1, out=db)


@ignore_float_errors
def dense_backward_inputs(w, dz, dx):
    """``dx = w dz``.

    Parameters
    ----------
    w : ndarray, shape (fan_in, fan_out)
    dz : ndarray, shape (fan_out, samples)
    dx : ndarray, shape (fan_in, samples)
    """
    np.matmul(w, dz, out=dx)
