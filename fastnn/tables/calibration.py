"""Calibration of a trained network's uncertainty on held-out samples."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from fastnn.backends.codes import LOG_VARIANCE_LIMIT
from fastnn.network import Network
from fastnn.tables.realmlp import Samples


def calibrate(net: Network, held_out: Samples) -> None:
    """Calibrate probabilities, standard deviations or quantiles on held-out samples.

    A network with another loss is not changed.

    Parameters
    ----------
    net : Network
        Its last layer is modified in place.
    held_out : Samples
    """
    if net.loss_name == "cross_entropy":
        scale_net_inputs(net, held_out)
    elif net.loss_name == "gaussian":
        scale_deviations(net, held_out)
    elif net.loss_name == "quantile":
        shift_quantiles(net, held_out)


def scale_net_inputs(net: Network, held_out: Samples) -> float:
    """Scale the logits by the factor with the smallest cross-entropy on held-out samples.

    Temperature scaling (Guo, Pleiss, Sun, Weinberger, 2017); the predicted classes do not change.
    One pseudo-sample with uniform class probabilities is added, so that a few samples that are all
    classified correctly do not make the network overconfident.

    Parameters
    ----------
    net : Network
        A classifier; its last layer is modified in place.
    held_out : Samples

    Returns
    -------
    float
        The factor.
    """
    z = net.predictor(held_out.x, False, net.n_threads).astype(np.float64)
    samples = len(z)
    smoothing = 1 / (samples + 1)
    weights = held_out.weights if len(held_out.weights) else None
    of_class = np.take_along_axis(z, held_out.targets.astype(np.intp), axis=1)[:, 0]
    linear = (1 - smoothing) * of_class + smoothing * z.mean(axis=1)

    def loss(log_factor: float) -> float:
        factor = math.exp(log_factor)
        return float(np.average(logsumexp(factor * z, axis=1) - factor * linear, weights=weights))

    factor = math.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x)
    net.weights[-1][...] *= factor
    net.biases[-1][...] *= factor
    return factor


def scale_deviations(net: Network, held_out: Samples) -> np.ndarray:
    """Multiply the standard deviations of each target by the maximum-likelihood factor.

    The square of the factor is the mean of squared error over variance. One pseudo-sample, whose
    error equals its standard deviation, is added.

    Parameters
    ----------
    net : Network
        With the loss "gaussian"; the biases of its last layer are modified in place.
    held_out : Samples

    Returns
    -------
    ndarray, shape (targets,)
        The factors.
    """
    z = net.predictor(held_out.x, False, net.n_threads).astype(np.float64)
    log_variance = np.clip(z[:, 1::2], -LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)
    ratios = np.square(held_out.targets - z[:, ::2]) * np.exp(-log_variance)
    weights = _weights_of(held_out)
    weights = weights * (len(z) / weights.sum())
    square = (weights @ ratios + 1) / (len(z) + 1)
    net.biases[-1][1::2] += np.log(square)
    return np.sqrt(square)


def shift_quantiles(net: Network, held_out: Samples) -> np.ndarray:
    """Shift each quantile so that the fraction of held-out samples below it is its level.

    Parameters
    ----------
    net : Network
        With the loss "quantile"; the biases of its last layer are modified in place.
    held_out : Samples

    Returns
    -------
    ndarray, shape (outputs,)
        The shifts, in units of the scaled targets.
    """
    z = net.predictor(held_out.x, False, net.n_threads).astype(np.float64)
    wanted = np.atleast_1d(net.quantile)
    errors = np.repeat(held_out.targets, len(wanted), axis=1) - z
    weights = _weights_of(held_out)
    shifts = np.array(
        [
            np.quantile(error, wanted[k % len(wanted)], weights=weights, method="inverted_cdf")
            for k, error in enumerate(errors.T)
        ]
    )
    net.biases[-1][...] += shifts
    return shifts


def _weights_of(held_out: Samples) -> np.ndarray:
    """Sample weights in float64; ones if there are none."""
    if not len(held_out.weights):
        return np.ones(len(held_out.x))
    return held_out.weights.astype(np.float64)
