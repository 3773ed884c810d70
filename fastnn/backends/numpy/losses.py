"""Losses with their derivatives, and the transformation of net inputs to predictions."""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numpy.activations import elementwise, sigmoid, softplus


def output_loss(logits, targets, sample_weight, loss, constants, scale, dlogits):
    """Compute the weighted sum of the samples' losses, and its derivative times ``scale``.

    | loss | loss of one sample | derivative |
    |---|---|---|
    | cross_entropy | log(sum_k exp z_k) - z_target | softmax(z) - onehot(target) |
    | binary_cross_entropy | sum_k softplus(z_k) - t_k z_k | sigmoid(z) - t |
    | squared_error | 1/2 sum_k (z_k - t_k)^2 | z - t |
    | absolute_error | sum_k abs(z_k - t_k) | sign(z - t) |
    | huber | sum_k c_k (d_k - c_k / 2), d = z - t, c = d clipped to +-constant | c |
    | quantile | sum_k max((1 - c_k) d_k, -c_k d_k), d = z - t, c the constants | 1 - c or -c |
    | poisson | sum_k exp z_k - t_k z_k + t_k log t_k - t_k | exp(z) - t |
    | gaussian | sum_k 1/2 (s_k + (m_k - t_k)^2 exp -s_k), (m, s) the pairs of outputs | see below |
    | custom | sum_k constant.f(z_k, t_k) | constant.df(z, t) |

    For the first two losses the constant is the amount of label smoothing: it is subtracted from
    the target's probability of 1 and distributed evenly over all classes (two for
    binary_cross_entropy).

    One target may have several consecutive outputs: mean and log-variance of a Gaussian, or one
    per quantile.

    The derivative of gaussian is that of the loss multiplied by the variance to the power of the
    constant, beta (beta-NLL): with beta = 0, the mean is learned slowly where the variance is
    large. Source: Seitzer, Tavakoli, Antic, Martius, On the pitfalls of heteroscedastic uncertainty
    estimation with probabilistic neural networks (2022).

    Parameters
    ----------
    logits : ndarray, shape (outputs, samples)
        Net inputs of the output layer.
    targets : ndarray, shape (targets, samples)
        Class indices for cross_entropy (1 row), otherwise one row per target; same dtype as
        ``logits``.
    sample_weight : ndarray, shape (samples,) or (0,)
        Empty if all weights are one.
    loss : int
        A code of :mod:`fastnn.backends.codes`.
    constants : ndarray of float64, shape (1,) or (quantiles,)
        Label smoothing, threshold of huber, the quantiles, or beta of gaussian; for a custom loss
        the :class:`fastnn.CustomLoss` (for the Numba kernels the address of the compiled code).
    scale : float
        Factor of the derivative: 1 / sum of the weights for a mean.
    dlogits : ndarray, shape (outputs, samples)
        Output: the derivative; may be ``logits``.

    Returns
    -------
    float
        The weighted sum, without the factor ``scale``.
    """
    dtype, constant = logits.real.dtype.type, constants[0]
    if loss == codes.CROSS_ENTROPY:
        onehot = targets.real == np.arange(logits.shape[0])[:, None]
        shift = logits.real.max(axis=0)
        e = np.exp(logits - shift)
        total = e.sum(axis=0)
        each = np.log(total) + shift - np.where(onehot, logits, 0).sum(axis=0)
        derivative = e / total - onehot
        if constant != 0.0:
            extra = dtype(constant) * (onehot - dtype(1 / logits.shape[0]))
            each, derivative = each + (extra * logits).sum(axis=0), derivative + extra
    elif loss == codes.BINARY_CROSS_ENTROPY:
        targets = dtype(1 - constant) * targets + dtype(constant / 2)
        each = (softplus(logits) - targets * logits).sum(axis=0)
        derivative = sigmoid(logits) - targets
    elif loss == codes.POISSON:
        mean = np.exp(logits)
        of_target = targets * np.log(np.where(targets.real > 0, targets, 1)) - targets
        each = (mean - targets * logits + of_target).sum(axis=0)
        derivative = mean - targets
    elif loss == codes.CUSTOM_LOSS:
        each = elementwise(constant.f, logits, targets).sum(axis=0)
        derivative = elementwise(constant.df, logits, targets)
    elif loss == codes.GAUSSIAN:
        each, derivative = _gaussian(logits, targets, dtype(constant))
    else:
        if len(logits) > len(targets):
            targets = np.repeat(targets, len(constants), axis=0)
        d = logits - targets
        if loss == codes.SQUARED_ERROR:
            derivative = d
            each = 0.5 * (d * d).sum(axis=0)
        elif loss == codes.HUBER:
            high = dtype(constant)
            derivative = np.where(d.real < -high, -high, np.where(d.real > high, high, d))
            each = (derivative * (d - dtype(0.5) * derivative)).sum(axis=0)
        else:
            up = down = np.ones((1, 1), dtype)
            if loss == codes.QUANTILE:
                quantiles = np.resize(constants, (len(d), 1))
                up, down = (1 - quantiles).astype(dtype), quantiles.astype(dtype)
            derivative = np.where(d.real > 0, up, np.where(d.real < 0, -down, dtype(0)))
            each = (derivative * d).sum(axis=0)
    if sample_weight.shape[0]:
        each = each * sample_weight
        derivative = derivative * sample_weight
    dlogits[...] = derivative * np.asarray(scale, derivative.real.dtype)
    return each.astype(np.result_type(each, np.float64)).sum()


def _gaussian(logits, targets, beta):
    """Return each sample's loss and its derivative, for pairs of mean and log-variance."""
    limit = logits.real.dtype.type(codes.LOG_VARIANCE_LIMIT)
    given, d = logits[1::2], logits[::2] - targets
    low, high = given.real < -limit, given.real > limit
    s = np.where(low, -limit, np.where(high, limit, given))
    q = d * d * np.exp(-s)
    # A clipped log-variance may move back into its range, but not farther out of it.
    slope = (1 - q) / 2
    slope = np.where((low & (slope.real > 0)) | (high & (slope.real < 0)), 0, slope)
    derivative = np.empty(logits.shape, np.result_type(logits, targets))
    derivative[::2] = d * np.exp((beta - 1) * s)
    derivative[1::2] = slope * np.exp(beta * s)
    return ((s + q) / 2).sum(axis=0), derivative


def output_transform(loss, out):
    """Transform net inputs to predictions in place: softmax, sigmoid, exp or identity.

    Parameters
    ----------
    loss : int
    out : ndarray, shape (outputs, samples)
    """
    if loss == codes.CROSS_ENTROPY:
        e = np.exp(out - out.real.max(axis=0))
        out[...] = e / e.sum(axis=0)
    elif loss == codes.BINARY_CROSS_ENTROPY:
        out[...] = sigmoid(out)
    elif loss == codes.POISSON:
        np.exp(out, out=out)
