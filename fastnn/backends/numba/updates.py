"""Update rules, the L2 penalty and gradient clipping."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba.compiling import inner, noalias, noinline, public
from fastnn.backends.numba.pointers import at, cast_like, minimum, pointer, reinterpret
from fastnn.backends.numba.subnormals import flush_subnormals, restore_subnormals
from fastnn.backends.numba.threads import barrier

# Parameters updated at a time, so that the summed gradient is still in the cache.
UPDATE_BLOCK = 2048


class Rule(NamedTuple):
    """An update rule, see :class:`fastnn.backends.interface.Rule`."""

    code: int
    constants: Any
    decay: float
    stride: int  # elements between the constants of successive parts; 0: one row for all parts
    front: Any
    features: int  # rows of ``front``


@inner
def read_rule(rule, params):
    """Convert a rule with arrays to one with pointers."""
    code, constants, decay, front = rule
    stride = constants.shape[1] if constants.shape[0] > 1 else 0
    front_ = reinterpret(pointer(front), params)
    return Rule(code, pointer(constants), decay, np.int64(stride), front_, front.shape[0])


@inner
def _rule_part(rule, part):
    """Return the rule for one part of the parameters, a row of ``constants``."""
    constants = at(rule.constants, part * rule.stride)
    return Rule(rule.code, constants, rule.decay, rule.stride, rule.front, rule.features)


class ParamVectors(NamedTuple):
    """Parameters, partial gradients and moments, rows of ``n`` elements.

    If ``averaged``, the row after the moments is the moving average of the parameters.
    """

    n: int
    params: Any
    grads: Any
    groups: int
    moments: Any
    n_moments: int
    averaged: bool


class Step(NamedTuple):
    """Factors of an update.

    ``rate`` is the step size, ``factor`` scales the gradient (clipping), ``shrink`` the weights
    (weight decay) and ``keep`` the moving average. ``parts`` is the number of parts of the
    parameters: the weights and biases of each row of the plan.
    """

    rate: float
    factor: float
    shrink: float
    keep: float
    parts: int


# --- penalty and clipping -------------------------------------------------------


@noalias
def _sum_of_squares(x, n):
    """Return the sum of squares in float64."""
    total = 0.0
    for i in range(n):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


@inner
def net_penalty(layers, n_layers, l2, params):
    """See :func:`penalty`."""
    if l2 == 0.0:
        return 0.0
    total = 0.0
    for k in range(n_layers):
        row = at(layers, k * codes.LAYER_COLUMNS)
        if row[codes.KIND] == codes.DENSE:
            total += _sum_of_squares(
                at(params, row[codes.WEIGHTS]), row[codes.FAN_IN] * row[codes.FAN_OUT]
            )
    return 0.5 * l2 * total


@public
def penalty(layers, l2, params):
    """Return ``l2 / 2`` times the sum of the squared weights, without the biases."""
    return net_penalty(pointer(layers), layers.shape[0], l2, pointer(params))


@noalias
def combine(keep, factor, x, n, out):
    """``out = keep out + factor x``."""
    keep, factor = cast_like(out, keep), cast_like(out, factor)
    for i in range(n):
        out[i] = keep * out[i] + factor * x[i]


@inner
def sum_groups(groups, n_params, start, stop, grads):
    """Add the groups' gradients to the first row, in order."""
    for group in range(1, groups):
        row = at(grads, group * n_params + start)
        combine(1.0, 1.0, row, stop - start, at(grads, start))


@noalias
def _clip_entries(limit, n, grads):
    """Clip to the interval from ``-limit`` to ``limit``."""
    high = cast_like(grads, limit)
    for i in range(n):
        g = grads[i]
        g = high if g > high else g
        grads[i] = -high if g < -high else g


@inner
def _param_share(team, n):
    """Return a thread's range of ``n`` elements.

    The limits are multiples of 64, so that the bits do not depend on the number of threads.
    """
    if team.n_threads == 1:
        return 0, n
    lines = (n + 63) // 64
    begin = team.thread * lines // team.n_threads * 64
    return begin, minimum((team.thread + 1) * lines // team.n_threads * 64, n)


@inner
def param_part(layers, k):
    """Return offset and size of part k of the parameters, and whether it has weights.

    Part k belongs to row ``k // 2`` of the plan: its weights if k is even, else its biases.
    """
    row = at(layers, k // 2 * codes.LAYER_COLUMNS)
    if row[codes.KIND] != codes.DENSE:
        return 0, 0, False
    if k % 2:
        return row[codes.BIASES], row[codes.FAN_OUT], False
    return row[codes.WEIGHTS], row[codes.FAN_IN] * row[codes.FAN_OUT], True


@inner
def clips(rule):
    """Return whether gradients are clipped."""
    return rule.constants[codes.CLIP_NORM] != 0.0 or rule.constants[codes.CLIP_VALUE] != 0.0


@noinline
def clip_gradient(net, rule, team, vectors):
    """Write the gradient of the objective to the first row and clip its entries.

    Returns the factor that clips its norm. Every thread computes its share of the gradient, but
    sums the squares of all elements, so that the bits do not depend on the number of threads.
    """
    clip_norm, clip_value = rule.constants[codes.CLIP_NORM], rule.constants[codes.CLIP_VALUE]
    for k in range(2 * net.n_layers):
        first, n, weights = param_part(net.layers, k)
        begin, end = _param_share(team, n)
        sum_groups(vectors.groups, vectors.n, first + begin, first + end, vectors.grads)
        share = at(vectors.grads, first + begin)
        if net.l2 != 0.0 and weights:
            combine(1.0, net.l2, at(vectors.params, first + begin), end - begin, share)
        if clip_value != 0.0:
            _clip_entries(clip_value, end - begin, share)
    barrier(team)
    norm = 0.0
    if clip_norm != 0.0:
        norm = math.sqrt(_sum_of_squares(vectors.grads, vectors.n))
    # no thread may scale its share while others compute the norm
    barrier(team)
    return clip_norm / norm if norm > clip_norm else 1.0


# --- update rules ---------------------------------------------------------------


@inner
def step_size(rule, learning_rate, count):
    """Return the learning rate, for Adam with the bias correction of the moments."""
    if rule.code == codes.ADAM:
        unbiased = math.sqrt(1.0 - math.pow(rule.constants[1], np.float64(count)))
        biased = 1.0 - math.pow(rule.constants[0], np.float64(count))
        return learning_rate * unbiased / biased
    return learning_rate


@noalias
def _update_range(grads, l2, shrink, rule, rate, n, params, moment, second):
    """Do one step for ``n`` parameters, with step size ``rate`` and decay factor ``shrink``."""
    constants = rule.constants
    l2, shrink = cast_like(params, l2), cast_like(params, shrink)
    rate = cast_like(params, rate * constants[codes.RATE_FACTOR])
    c0, c1 = cast_like(params, constants[0]), cast_like(params, constants[1])
    epsilon = cast_like(params, constants[2])
    # 1 - constant in float64, since float32 would lose too many digits
    d0, d1 = cast_like(params, 1.0 - constants[0]), cast_like(params, 1.0 - constants[1])
    if rule.code == codes.SGD:
        if constants[0] == 0.0:
            for i in range(n):
                params[i] = params[i] * shrink - rate * (grads[i] + l2 * params[i])
        elif constants[1] != 0.0:
            for i in range(n):
                step = rate * (grads[i] + l2 * params[i])
                v = c0 * moment[i] - step
                moment[i] = v
                params[i] = params[i] * shrink + (c0 * v - step)
        else:
            for i in range(n):
                v = c0 * moment[i] - rate * (grads[i] + l2 * params[i])
                moment[i] = v
                params[i] = params[i] * shrink + v
    elif rule.code == codes.ADAM:
        for i in range(n):
            g = grads[i] + l2 * params[i]
            m = c0 * moment[i] + d0 * g
            v = c1 * second[i] + d1 * g * g
            moment[i] = m
            second[i] = v
            params[i] = params[i] * shrink - rate * m / (math.sqrt(v) + epsilon)
    elif rule.code == codes.ADAGRAD:
        for i in range(n):
            g = grads[i] + l2 * params[i]
            v = moment[i] + g * g
            moment[i] = v
            params[i] = params[i] * shrink - rate * g / (math.sqrt(v) + c0)
    else:
        for i in range(n):
            g = grads[i] + l2 * params[i]
            v = c0 * moment[i] + d0 * g * g
            moment[i] = v
            params[i] = params[i] * shrink - rate * g / (math.sqrt(v) + c1)


@public
def _update(grads, l2, rule, learning_rate, count, params, moments):
    """See :func:`update`; the rule is a plain tuple."""
    rule_ = read_rule(rule, pointer(params))
    mode = flush_subnormals()
    _update_range(
        pointer(grads),
        l2,
        1.0 - learning_rate * rule_.decay,
        rule_,
        step_size(rule_, learning_rate, count),
        params.shape[0],
        pointer(params),
        pointer(moments),
        at(pointer(moments), moments.shape[1] * (moments.shape[0] - 1)),
    )
    restore_subnormals(mode)


def update(grads, l2, rule, learning_rate, count, params, moments):
    """Do one step of an update rule, with ``g = grads + l2 params``."""
    _update(grads, l2, tuple(rule), learning_rate, count, params, moments)


@noalias
def _scale_range(factor, n, grads):
    """``grads * factor``."""
    factor = cast_like(grads, factor)
    for i in range(n):
        grads[i] = grads[i] * factor


@noalias
def _dot(x, y, n):
    """Return the inner product in float64."""
    total = 0.0
    for i in range(n):
        total += np.float64(x[i]) * np.float64(y[i])
    return total


@noalias
def _scale_to(factor, x, n, out):
    """``out = factor * x``."""
    for i in range(n):
        out[i] = factor * x[i]


@noinline
def _update_front(n, l2, shrink, rule, step, team, vectors):
    """Update a thread's rows of the first layer and the trainable factors of their features."""
    units, features = n // rule.features, rule.features
    begin, end = team.thread * features // team.n_threads, (team.thread + 1) * features
    for i in range(begin, end // team.n_threads):
        start = i * units
        sum_groups(vectors.groups, vectors.n, start, start + units, vectors.grads)
        grads, state = at(vectors.grads, start), at(vectors.moments, start)
        w = at(rule.front, i * (units + 3))
        s = at(w, units)
        ds = _dot(w, grads, units)
        _scale_range(np.float64(s[0]), units, grads)
        w_rule, s_rule = _rule_part(rule, np.int64(0)), _rule_part(rule, step.parts)
        second = at(state, vectors.n)
        _update_range(grads, l2, shrink, w_rule, step.rate, units, w, state, second)
        grads[0] = cast_like(grads, ds)
        _update_range(grads, 0.0, 1.0, s_rule, step.rate, np.int64(1), s, at(s, 1), at(s, 2))
        _scale_to(s[0], w, units, at(vectors.params, start))


@noinline
def _update_share(first, n, l2, shrink, rule, step, team, vectors):
    """Sum the groups' gradients and update, for a thread's share of a range of parameters."""
    begin, end = _param_share(team, n)
    for start in range(first + begin, first + end, UPDATE_BLOCK):
        stop = minimum(start + UPDATE_BLOCK, first + end)
        sum_groups(vectors.groups, vectors.n, start, stop, vectors.grads)
        grads, params = at(vectors.grads, start), at(vectors.params, start)
        if step.factor != 1.0:
            _scale_range(step.factor, stop - start, grads)
        moment = at(vectors.moments, start)
        second = at(moment, (vectors.n_moments - 1) * vectors.n)
        _update_range(grads, l2, shrink, rule, step.rate, stop - start, params, moment, second)
        if vectors.averaged:
            average = at(moment, vectors.n_moments * vectors.n)
            combine(step.keep, 1.0 - step.keep, params, stop - start, average)


@inner
def _update_layers(net, l2, rule, step, team, vectors):
    """Update all parameters; no L2 penalty or weight decay for the biases."""
    if net.l2 == 0.0 and rule.decay == 0.0 and rule.stride == 0:
        _update_share(np.int64(0), vectors.n, 0.0, 1.0, rule, step, team, vectors)
    else:
        for k in range(2 * net.n_layers):
            first, n, weights = param_part(net.layers, k)
            l2_here, shrink = (l2, step.shrink) if weights else (0.0, 1.0)
            if k == 0 and rule.features > 0:
                _update_front(n, l2_here, shrink, rule, step, team, vectors)
            else:
                rule_part = _rule_part(rule, k)
                _update_share(first, n, l2_here, shrink, rule_part, step, team, vectors)


@inner
def update_params(net, rule, learning_rate, count, team, vectors):
    """Clip the gradient and update all parameters, for update number ``count``, from 1."""
    factor, l2 = 1.0, net.l2
    if clips(rule):
        factor, l2 = clip_gradient(net, rule, team, vectors), 0.0
        vectors = ParamVectors(
            vectors.n,
            vectors.params,
            vectors.grads,
            1,
            vectors.moments,
            vectors.n_moments,
            vectors.averaged,
        )
    step = Step(
        step_size(rule, learning_rate, count),
        factor,
        1.0 - learning_rate * rule.decay,
        rule.constants[codes.AVERAGE_DECAY] if count > 1 else 0.0,
        2 * net.n_layers,
    )
    _update_layers(net, l2, rule, step, team, vectors)
