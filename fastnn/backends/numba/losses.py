"""Losses with their derivatives, and the transformation of net inputs to predictions."""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba import maths
from fastnn.backends.numba.activations import activate
from fastnn.backends.numba.compiling import distinct, inner, public
from fastnn.backends.numba.pointers import (
    SCRATCH,
    Matrix,
    at,
    call,
    copy,
    fill,
    like,
    pointer,
    scratch,
    smaller,
)

# --- cross-entropy --------------------------------------------------------------


@distinct
def _maximum(z, top):
    """Compute the maximum of each sample's net inputs."""
    for s in range(z.columns):
        top[s] = z.data[s]
    for k in range(1, z.rows):
        row = at(z.data, k * z.ld)
        for s in range(z.columns):
            top[s] = row[s] if row[s] > top[s] else top[s]


@distinct
def _exp_row(top, lanes, total, out):
    """``out = exp(out - top)``, and add it to ``total``."""
    for s in range(lanes):
        e = maths.exp_negative(out[s] - top[s])
        out[s] = e
        total[s] += e


@distinct
def _target_row(unit, targets, on, off, z, samples, sums):
    """Add a unit's net input times its target probability: ``on`` for the target, else ``off``."""
    for s in range(samples):
        sums[s] += z[s] * (on if targets[s] == unit else off)


@distinct
def _losses_row(total, scale, lanes, top, each, weight):
    """Compute the losses (``each``), and the factors of the derivative's two terms.

    These are ``top`` for the exponentials and ``weight`` for the target probabilities.
    """
    for s in range(lanes):
        each[s] = (maths.log(total[s]) + (top[s] - each[s])) * weight[s]
        scaled = weight[s] * scale
        weight[s] = scaled
        top[s] = scaled / total[s]


@distinct
def _derivative_row(unit, targets, on, off, factor, weight, samples, out):
    """Replace the exponentials by the derivative."""
    for s in range(samples):
        out[s] = out[s] * factor[s] - weight[s] * (on if targets[s] == unit else off)


@inner
def _cross_entropy(targets, smoothing, scale, samples, buffers, out):
    """Compute the cross-entropy row by row; row 1 of ``buffers``, zero before, gets the losses."""
    weight, each = buffers, at(buffers, SCRATCH)
    total, top = at(buffers, 2 * SCRATCH), at(buffers, 3 * SCRATCH)
    off = like(buffers, smoothing / out.rows)
    on = like(buffers, 1.0 - smoothing + smoothing / out.rows)
    _maximum(out, top)
    fill(like(buffers, 0.0), out.columns, total)
    for k in range(out.rows):
        row = at(out.data, k * out.ld)
        _target_row(like(buffers, k), targets, on, off, row, samples, each)
        _exp_row(top, out.columns, total, row)
    _losses_row(total, scale, out.columns, top, each, weight)
    for k in range(out.rows):
        row = at(out.data, k * out.ld)
        _derivative_row(like(buffers, k), targets, on, off, top, weight, samples, row)


@distinct
def _two_classes(targets, smoothing, scale, lanes, weight, each, out0, out1):
    """Compute the cross-entropy of two units in one pass, which takes a third of the time.

    With v the net input of the wrong class minus that of the target, the loss is log(1 + exp(v)).
    Its derivative with respect to v is the probability of the wrong class, 1 / (1 + exp(-v)).
    """
    zero = like(out0, 0.0)
    one = like(out0, 1.0)
    half = like(out0, 0.5 * smoothing)
    for s in range(lanes):
        sign = one if targets[s] == zero else -one
        v = sign * (out1[s] - out0[s])
        e = maths.exp_negative(-abs(v))
        each[s] = ((zero if v < zero else v) + maths.log1p(e) - half * v) * weight[s]
        probability = (one if v >= zero else e) / (one + e)
        d = (probability - half) * (sign * (weight[s] * scale))
        out0[s] = -d
        out1[s] = d


# --- losses that are sums over the units ----------------------------------------


@distinct
def _binary_row(targets, weight, smoothing, scale, lanes, each, out):
    """Compute the binary cross-entropy of one unit; loss and derivative share an exponential."""
    zero = like(out, 0.0)
    one = like(out, 1.0)
    keep, half = like(out, 1.0 - smoothing), like(out, 0.5 * smoothing)
    for s in range(lanes):
        z, target = out[s], targets[s] * keep + half
        e = maths.exp(-abs(z))
        positive = zero if z < zero else z
        each[s] += (positive + maths.log1p(e) - target * z) * weight[s]
        probability = (one if z >= zero else e) / (one + e)
        out[s] = (probability - target) * (weight[s] * scale)


@distinct
def _squared_row(targets, weight, scale, lanes, each, out):
    """Compute the squared error of one unit."""
    half = like(out, 0.5)
    for s in range(lanes):
        d = out[s] - targets[s]
        each[s] += half * d * d * weight[s]
        out[s] = d * (weight[s] * scale)


@distinct
def _other_row(targets, weight, loss, constant, scale, lanes, each, out):
    """Compute any other regression loss for one unit."""
    zero = like(out, 0.0)
    one = like(out, 1.0)
    number = like(out, constant)
    if loss == codes.HUBER:
        half = like(out, 0.5)
        for s in range(lanes):
            d = out[s] - targets[s]
            c = number if d > number else d
            c = -number if d < -number else c
            each[s] += c * (d - half * c) * weight[s]
            out[s] = c * (weight[s] * scale)
    elif loss == codes.POISSON:
        for s in range(lanes):
            z, t = out[s], targets[s]
            mean = maths.exp(z)
            positive = t if t > like(out, 1e-30) else one
            each[s] += (mean - t * z + (t * maths.log(positive) - t)) * weight[s]
            out[s] = (mean - t) * (weight[s] * scale)
    else:
        up = one - number if loss == codes.QUANTILE else one
        down = -number if loss == codes.QUANTILE else -one
        for s in range(lanes):
            d = out[s] - targets[s]
            slope = up if d > zero else zero
            slope = down if d < zero else slope
            each[s] += slope * d * weight[s]
            out[s] = slope * (weight[s] * scale)


@distinct
def _gaussian_rows(targets, weight, beta, scale, lanes, each, mean, log_variance):
    """Compute the Gaussian loss for the two units of one target, mean and log-variance."""
    zero = like(mean, 0.0)
    one = like(mean, 1.0)
    half, high = like(mean, 0.5), like(mean, codes.LOG_VARIANCE_LIMIT)
    power = like(mean, beta)
    for i in range(lanes):
        given, d = log_variance[i], mean[i] - targets[i]
        s = high if given > high else given
        s = -high if given < -high else s
        q = d * d * maths.exp(-s)
        each[i] += half * (s + q) * weight[i]
        slope = half * (one - q)
        slope = zero if given < -high and slope > zero else slope
        slope = zero if given > high and slope < zero else slope
        scaled = weight[i] * scale
        mean[i] = d * maths.exp((power - one) * s) * scaled
        log_variance[i] = slope * maths.exp(power * s) * scaled


# --- all units ------------------------------------------------------------------


@distinct
def total_of(x, samples):
    """Return the sum in float64."""
    total = 0.0
    for s in range(samples):
        total += float(x[s])
    return total


@inner
def loss_of_block(targets, weights, weighted, samples, loss, constants, scale, out):
    """Return the summed loss of at most ``SCRATCH`` samples.

    The derivative replaces the net inputs in ``out``, which may have more columns than samples;
    the values in the additional columns are undefined. ``constants`` points to one number, or for
    several quantiles to one per output of a target.
    """
    lanes, constant = out.columns, constants[0]
    weight = scratch(out.data)
    each, target = at(weight, SCRATCH), at(weight, 2 * SCRATCH)
    fill(like(weight, 0.0), lanes, each)
    if weighted:
        copy(weights, samples, weight)
    else:
        fill(like(weight, 1.0), lanes, weight)
    factor = like(weight, scale)
    if loss == codes.CROSS_ENTROPY and out.rows == 2:
        # a copy, because the loop reads whole vectors and the targets may not be padded
        copy(targets.data, samples, target)
        _two_classes(target, constant, factor, lanes, weight, each, out.data, at(out.data, out.ld))
    elif loss == codes.CROSS_ENTROPY:
        _cross_entropy(targets.data, constant, factor, samples, weight, out)
    elif loss == codes.GAUSSIAN:
        for k in range(targets.rows):
            copy(at(targets.data, k * targets.ld), samples, target)
            mean = at(out.data, 2 * k * out.ld)
            _gaussian_rows(target, weight, constant, factor, lanes, each, mean, at(mean, out.ld))
    else:
        per_target = out.rows // targets.rows
        for k in range(out.rows):
            copy(at(targets.data, k // per_target * targets.ld), samples, target)
            row = at(out.data, k * out.ld)
            if loss == codes.BINARY_CROSS_ENTROPY:
                _binary_row(target, weight, constant, factor, lanes, each, row)
            elif loss == codes.SQUARED_ERROR:
                _squared_row(target, weight, factor, lanes, each, row)
            elif loss == codes.CUSTOM_LOSS:
                call(constant, (lanes, target, weight, factor, each, row))
            else:
                if per_target > 1:
                    constant = constants[k % per_target]
                _other_row(target, weight, loss, constant, factor, lanes, each, row)
    return total_of(each, samples)


@public
def output_loss(logits, targets, sample_weight, loss, constants, scale, dlogits):
    """Compute the weighted sum of the samples' losses, and its derivative times ``scale``."""
    units, samples = logits.shape
    copy(pointer(logits), logits.size, pointer(dlogits))
    total = 0.0
    for first in range(0, samples, SCRATCH):
        n = smaller(SCRATCH, samples - first)
        total += loss_of_block(
            Matrix(at(pointer(targets), first), targets.shape[0], n, samples),
            at(pointer(sample_weight), first),
            sample_weight.shape[0] > 0,
            n,
            loss,
            pointer(constants),
            scale,
            Matrix(at(pointer(dlogits), first), units, n, samples),
        )
    return total


@distinct
def _divide_row(total, lanes, out):
    """``out / total``."""
    for s in range(lanes):
        out[s] = out[s] / total[s]


@inner
def _exponential(lanes, out):
    """``exp(out)``."""
    for s in range(lanes):
        out[s] = maths.exp(out[s])


@inner
def transform_block(loss, out):
    """Transform net inputs of at most ``SCRATCH`` samples to predictions in place."""
    if loss == codes.CROSS_ENTROPY:
        top = scratch(out.data)
        total = at(top, SCRATCH)
        _maximum(out, top)
        fill(like(top, 0.0), out.columns, total)
        for k in range(out.rows):
            _exp_row(top, out.columns, total, at(out.data, k * out.ld))
        for k in range(out.rows):
            _divide_row(total, out.columns, at(out.data, k * out.ld))
    elif loss == codes.BINARY_CROSS_ENTROPY:
        for k in range(out.rows):
            activate(np.int64(codes.SIGMOID), 0.0, out.columns, at(out.data, k * out.ld))
    elif loss == codes.POISSON:
        for k in range(out.rows):
            _exponential(out.columns, at(out.data, k * out.ld))


@public
def output_transform(loss, out):
    """Transform net inputs to predictions in place: softmax, sigmoid, exp or identity."""
    units, samples = out.shape
    for first in range(0, samples, SCRATCH):
        n = smaller(SCRATCH, samples - first)
        transform_block(loss, Matrix(at(pointer(out), first), units, n, samples))
