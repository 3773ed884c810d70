"""Losses with their derivatives, and what net inputs become for a prediction."""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numpy.activations import elementwise, sigmoid, softplus


def output_loss(logits, targets, sample_weight, loss, constants, scale, dlogits):
    """Weighted sum of the samples' losses, and its derivative times ``scale``.

    | loss | of one sample | derivative |
    |---|---|---|
    | cross_entropy | log(sum_k exp z_k) - z_target | softmax(z) - onehot(target) |
    | binary_cross_entropy | sum_k softplus(z_k) - t_k z_k | sigmoid(z) - t |
    | squared_error | 1/2 sum_k (z_k - t_k)^2 | z - t |
    | absolute_error | sum_k abs(z_k - t_k) | sign(z - t) |
    | huber | sum_k c_k (d_k - c_k / 2), d = z - t, c = d clipped to +-constant | c |
    | quantile | sum_k max((1 - c_k) d_k, -c_k d_k), d = z - t, c the constants | 1 - c or -c |
    | poisson | sum_k exp z_k - t_k z_k + t_k log t_k - t_k | exp(z) - t |
    | gaussian | sum_k 1/2 (s_k + (m_k - t_k)^2 exp -s_k), (m, s) the pairs of outputs | see below |
    | the user's | sum_k constant.f(z_k, t_k) | constant.df(z, t) |

    For the first two the constant is label smoothing: 1 for the target becomes
    1 - constant, and all classes (for binary_cross_entropy both) get their share of it.

    Several outputs may belong to one target, one after the other: a Gaussian's mean and logarithm
    of the variance, or as many quantiles as there are constants.

    The derivative of gaussian is that of the loss times the variance to the power of the constant,
    beta-NLL: the loss alone (0) learns the mean slowly where the variance is large. Source:
    Seitzer, Tavakoli, Antic, Martius, On the pitfalls of heteroscedastic uncertainty estimation
    with probabilistic neural networks (2022).

    Parameters
    ----------
    logits : ndarray, shape (outputs, samples)
        Net inputs of the output layer.
    targets : ndarray, shape (targets, samples)
        Class indices for cross_entropy (1 row), else a row for each output or, of gaussian and
        several quantiles, for each group of them; of the logits' dtype.
    sample_weight : ndarray, shape (samples,) or (0,)
        Empty for all ones.
    loss : int
        A code of :mod:`fastnn.backends.codes`.
    constants : ndarray of float64, shape (1,) or (quantiles,)
        Number of the loss: label smoothing, Huber's threshold, the quantile or a Gaussian's beta; a
        :class:`fastnn.CustomLoss` for the user's own (for the Numba kernels an address).
    scale : float
        Factor of the derivative: 1 / sum of the weights for a mean.
    dlogits : ndarray, shape (outputs, samples)
        May be ``logits``.

    Returns
    -------
    float
        Not scaled.
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
    """Loss of each sample and its derivative, for pairs of mean and logarithm of the variance."""
    limit = logits.real.dtype.type(codes.LOG_VARIANCE_LIMIT)
    given, d = logits[1::2], logits[::2] - targets
    low, high = given.real < -limit, given.real > limit
    s = np.where(low, -limit, np.where(high, limit, given))
    q = d * d * np.exp(-s)
    # A variance beyond a limit may come back, but not go on.
    slope = (1 - q) / 2
    slope = np.where((low & (slope.real > 0)) | (high & (slope.real < 0)), 0, slope)
    derivative = np.empty(logits.shape, np.result_type(logits, targets))
    derivative[::2] = d * np.exp((beta - 1) * s)
    derivative[1::2] = slope * np.exp(beta * s)
    return ((s + q) / 2).sum(axis=0), derivative


def output_transform(loss, out):
    """Net inputs become predictions, in place: softmax, sigmoid, exp or themselves.

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
