"""Losses with their derivatives, and the transformation of net inputs to predictions."""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba import maths
from fastnn.backends.numba.activations import activate
from fastnn.backends.numba.compiling import inner, noalias, noalias_noinline, noinline, public
from fastnn.backends.numba.pointers import (
    STACK_ROW,
    Matrix,
    at,
    call_address,
    cast_like,
    copy,
    fill,
    minimum,
    pointer,
    stack_scratch,
)

# --- cross-entropy --------------------------------------------------------------


@noalias
def _max_over_units(z, top):
    """Compute the maximum of each sample's net inputs."""
    for s in range(z.columns):
        top[s] = z.data[s]
    for k in range(1, z.rows):
        row = at(z.data, k * z.ld)
        for s in range(z.columns):
            top[s] = row[s] if row[s] > top[s] else top[s]


@noalias
def _exp_row(top, padded, total, out):
    """``out = exp(out - top)``, and add it to ``total``."""
    for s in range(padded):
        e = maths.exp_negative(out[s] - top[s])
        out[s] = e
        total[s] += e


@noalias
def _target_row(unit, targets, on, off, z, samples, sums):
    """Add a unit's net input times its target probability: ``on`` for the target, else ``off``."""
    for s in range(samples):
        sums[s] += z[s] * (on if targets[s] == unit else off)


@noalias
def _losses_row(total, scale, padded, top, losses, weight):
    """Compute the losses (``losses``), and the factors of the derivative's two terms.

    These are ``top`` for the exponentials and ``weight`` for the target probabilities.
    """
    for s in range(padded):
        losses[s] = (maths.log(total[s]) + (top[s] - losses[s])) * weight[s]
        scaled = weight[s] * scale
        weight[s] = scaled
        top[s] = scaled / total[s]


@noalias
def _derivative_row(unit, targets, on, off, factor, weight, samples, out):
    """Replace the exponentials by the derivative."""
    for s in range(samples):
        out[s] = out[s] * factor[s] - weight[s] * (on if targets[s] == unit else off)


@noinline
def _cross_entropy(targets, smoothing, scale, samples, buffers, out):
    """Compute the cross-entropy row by row; row 1 of ``buffers``, zero before, gets the losses."""
    weight, losses = buffers, at(buffers, STACK_ROW)
    total, top = at(buffers, 2 * STACK_ROW), at(buffers, 3 * STACK_ROW)
    off = cast_like(buffers, smoothing / out.rows)
    on = cast_like(buffers, 1.0 - smoothing + smoothing / out.rows)
    _max_over_units(out, top)
    fill(cast_like(buffers, 0.0), out.columns, total)
    for k in range(out.rows):
        row = at(out.data, k * out.ld)
        _target_row(cast_like(buffers, k), targets, on, off, row, samples, losses)
        _exp_row(top, out.columns, total, row)
    _losses_row(total, scale, out.columns, top, losses, weight)
    for k in range(out.rows):
        row = at(out.data, k * out.ld)
        _derivative_row(cast_like(buffers, k), targets, on, off, top, weight, samples, row)


@noalias
def _two_classes(targets, smoothing, scale, padded, weight, losses, out0, out1):
    """Compute the cross-entropy of two units in one pass, which takes a third of the time.

    With v the net input of the wrong class minus that of the target, the loss is log(1 + exp(v)).
    Its derivative with respect to v is the probability of the wrong class, 1 / (1 + exp(-v)).
    """
    zero = cast_like(out0, 0.0)
    one = cast_like(out0, 1.0)
    half = cast_like(out0, 0.5 * smoothing)
    for s in range(padded):
        sign = one if targets[s] == zero else -one
        v = sign * (out1[s] - out0[s])
        e = maths.exp_negative(-abs(v))
        losses[s] = ((zero if v < zero else v) + maths.log1p(e) - half * v) * weight[s]
        probability = (one if v >= zero else e) / (one + e)
        d = (probability - half) * (sign * (weight[s] * scale))
        out0[s] = -d
        out1[s] = d


# --- losses that are sums over the units ----------------------------------------


@noalias_noinline
def _binary_row(targets, weight, smoothing, scale, padded, losses, out):
    """Compute the binary cross-entropy of one unit; loss and derivative share an exponential."""
    zero = cast_like(out, 0.0)
    one = cast_like(out, 1.0)
    keep, half = cast_like(out, 1.0 - smoothing), cast_like(out, 0.5 * smoothing)
    for s in range(padded):
        z, target = out[s], targets[s] * keep + half
        e = maths.exp(-abs(z))
        positive = zero if z < zero else z
        losses[s] += (positive + maths.log1p(e) - target * z) * weight[s]
        probability = (one if z >= zero else e) / (one + e)
        out[s] = (probability - target) * (weight[s] * scale)


@noalias
def _squared_row(targets, weight, scale, padded, losses, out):
    """Compute the squared error of one unit."""
    half = cast_like(out, 0.5)
    for s in range(padded):
        d = out[s] - targets[s]
        losses[s] += half * d * d * weight[s]
        out[s] = d * (weight[s] * scale)


@noalias_noinline
def _other_row(targets, weight, loss, constant, scale, padded, losses, out):
    """Compute any other regression loss for one unit."""
    zero = cast_like(out, 0.0)
    one = cast_like(out, 1.0)
    number = cast_like(out, constant)
    if loss == codes.HUBER:
        half = cast_like(out, 0.5)
        for s in range(padded):
            d = out[s] - targets[s]
            c = number if d > number else d
            c = -number if d < -number else c
            losses[s] += c * (d - half * c) * weight[s]
            out[s] = c * (weight[s] * scale)
    elif loss == codes.POISSON:
        for s in range(padded):
            z, t = out[s], targets[s]
            mean = maths.exp(z)
            positive = t if t > cast_like(out, 1e-30) else one
            losses[s] += (mean - t * z + (t * maths.log(positive) - t)) * weight[s]
            out[s] = (mean - t) * (weight[s] * scale)
    else:
        up = one - number if loss == codes.QUANTILE else one
        down = -number if loss == codes.QUANTILE else -one
        for s in range(padded):
            d = out[s] - targets[s]
            slope = up if d > zero else zero
            slope = down if d < zero else slope
            losses[s] += slope * d * weight[s]
            out[s] = slope * (weight[s] * scale)


@noalias_noinline
def _gaussian_rows(targets, weight, beta, scale, padded, losses, mean, log_variance):
    """Compute the Gaussian loss for the two units of one target, mean and log-variance."""
    zero = cast_like(mean, 0.0)
    one = cast_like(mean, 1.0)
    half, high = cast_like(mean, 0.5), cast_like(mean, codes.LOG_VARIANCE_LIMIT)
    power = cast_like(mean, beta)
    for i in range(padded):
        given, d = log_variance[i], mean[i] - targets[i]
        s = high if given > high else given
        s = -high if given < -high else s
        q = d * d * maths.exp(-s)
        losses[i] += half * (s + q) * weight[i]
        slope = half * (one - q)
        slope = zero if given < -high and slope > zero else slope
        slope = zero if given > high and slope < zero else slope
        scaled = weight[i] * scale
        mean[i] = d * maths.exp((power - one) * s) * scaled
        log_variance[i] = slope * maths.exp(power * s) * scaled


# --- all units ------------------------------------------------------------------


@noalias
def sum_float64(x, samples):
    """Return the sum in float64."""
    total = 0.0
    for s in range(samples):
        total += float(x[s])
    return total


@noinline
def loss_rows(targets, weights, weighted, samples, loss, constants, scale, out):
    """Return the summed loss of at most ``STACK_ROW`` samples.

    The derivative replaces the net inputs in ``out``, which may have more columns than samples;
    the values in the additional columns are undefined. ``constants`` points to one number, or for
    several quantiles to one per output of a target.
    """
    padded, constant = out.columns, constants[0]
    weight = stack_scratch(out.data)
    losses, target = at(weight, STACK_ROW), at(weight, 2 * STACK_ROW)
    zero, factor = cast_like(weight, 0.0), cast_like(weight, scale)
    fill(zero, padded, losses)
    fill(zero, padded - samples, at(target, samples))
    if weighted:
        copy(weights, samples, weight)
        fill(zero, padded - samples, at(weight, samples))
    else:
        fill(cast_like(weight, 1.0), padded, weight)
    if loss == codes.CROSS_ENTROPY and out.rows == 2:
        # a copy, because the loop reads whole vectors and the targets may not be padded
        copy(targets.data, samples, target)
        _two_classes(
            target, constant, factor, padded, weight, losses, out.data, at(out.data, out.ld)
        )
    elif loss == codes.CROSS_ENTROPY:
        _cross_entropy(targets.data, constant, factor, samples, weight, out)
    elif loss == codes.GAUSSIAN:
        for k in range(targets.rows):
            copy(at(targets.data, k * targets.ld), samples, target)
            mean = at(out.data, 2 * k * out.ld)
            _gaussian_rows(target, weight, constant, factor, padded, losses, mean, at(mean, out.ld))
    else:
        per_target = out.rows // targets.rows
        for k in range(out.rows):
            copy(at(targets.data, k // per_target * targets.ld), samples, target)
            row = at(out.data, k * out.ld)
            if loss == codes.BINARY_CROSS_ENTROPY:
                _binary_row(target, weight, constant, factor, padded, losses, row)
            elif loss == codes.SQUARED_ERROR:
                _squared_row(target, weight, factor, padded, losses, row)
            elif loss == codes.CUSTOM_LOSS:
                call_address(constant, (padded, target, weight, factor, losses, row))
            else:
                if per_target > 1:
                    constant = constants[k % per_target]
                _other_row(target, weight, loss, constant, factor, padded, losses, row)
    return sum_float64(losses, samples)


@public
def output_loss(logits, targets, sample_weight, loss, constants, scale, dlogits):
    """Compute the weighted sum of the samples' losses, and its derivative times ``scale``."""
    units, samples = logits.shape
    copy(pointer(logits), logits.size, pointer(dlogits))
    total = 0.0
    for first in range(0, samples, STACK_ROW):
        n = minimum(STACK_ROW, samples - first)
        total += loss_rows(
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


@noalias
def _divide_row(total, padded, out):
    """``out / total``."""
    for s in range(padded):
        out[s] = out[s] / total[s]


@inner
def _exponential(padded, out):
    """``exp(out)``."""
    for s in range(padded):
        out[s] = maths.exp(out[s])


@inner
def transform_rows(loss, out):
    """Transform net inputs of at most ``STACK_ROW`` samples to predictions in place."""
    if loss == codes.CROSS_ENTROPY:
        top = stack_scratch(out.data)
        total = at(top, STACK_ROW)
        _max_over_units(out, top)
        fill(cast_like(top, 0.0), out.columns, total)
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
    for first in range(0, samples, STACK_ROW):
        n = minimum(STACK_ROW, samples - first)
        transform_rows(loss, Matrix(at(pointer(out), first), units, n, samples))
