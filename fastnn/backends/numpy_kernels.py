"""The kernels in plain NumPy: the reference, to be read first.

Inside the kernels every matrix is ``(units, samples)``. Arguments come in the
order: arrays that are read, numbers, arrays that are written. A kernel
overwrites what it writes and keeps nothing between calls; it trusts its
arguments, which :class:`fastnn.Network` has checked.

Symbols: ``x`` a layer's input, ``w`` its weights ``(fan_in, fan_out)``, ``b``
its biases, ``z = w.T x + b`` the net input, ``a = f(z)`` the output; ``d`` before
a name is the derivative of the mean loss by it.

Everything except the random streams also works on complex arrays, so that the
tests can differentiate it by the complex step.
"""

from __future__ import annotations

import numpy as np

from fastnn import codes
from fastnn.codes import (
    ACTIVATION,
    BIASES,
    FAN_IN,
    FAN_OUT,
    KIND,
    WEIGHTS,
)

NAME = "numpy"
BLAS_WEIGHTS = 0  # of a layer that goes through BLAS; here all do
N_STATE = {codes.SGD: 1, codes.ADAM: 2, codes.ADAGRAD: 1, codes.RMSPROP: 1}


# --- random numbers -----------------------------------------------------------

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd


def mix(z):
    """Next output of SplitMix64 from the state ``z``; uint64 in, uint64 out.

    Source: Steele, Lea, Flood, Fast splittable pseudorandom number generators
    (OOPSLA 2014), with the finaliser constants of Stafford's variant 13.
    """
    with np.errstate(over="ignore"):
        z = np.uint64(z) + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def stream(seed, purpose, number):
    """Key of one random stream; the draw at position i is ``mix(key + i)``."""
    with np.errstate(over="ignore"):
        return mix(mix(mix(np.uint64(seed)) + np.uint64(purpose)) + np.uint64(number))


def shuffle(seed, epoch, order):
    """Random order of the samples in one epoch (Fisher-Yates).

    Parameters
    ----------
    seed, epoch : int
        What the order depends on.
    order : ndarray of int64, shape (samples,)
        Overwritten with a permutation of 0 .. samples - 1.
    """
    samples = order.shape[0]
    key = stream(seed, codes.STREAM_SHUFFLE, epoch)
    with np.errstate(over="ignore"):
        draws = mix(key + np.arange(samples, dtype=np.uint64)) >> np.uint64(32)
    # floor(draw / 2**32 * (i + 1)); off from uniform by at most samples / 2**32
    partners = (draws * np.arange(1, samples + 1, dtype=np.uint64)) >> np.uint64(32)
    items = list(range(samples))
    for i in range(samples - 1, 0, -1):
        j = int(partners[i])
        items[i], items[j] = items[j], items[i]
    order[:] = items


def dropout_mask(rate, key, first, units, samples):
    """True where a unit is kept, shape (units, samples).

    ``first`` is the position in the batch of the first sample. The 32-bit
    finaliser is Wellons' "lowbias32" (Hash function prospector, 2018): 32-bit
    multiplications exist as vector instructions, 64-bit ones mostly do not.
    """
    with np.errstate(over="ignore"):
        rows = mix(key + np.arange(units, dtype=np.uint64)).astype(np.uint32)
        h = rows[:, None] + np.arange(first, first + samples, dtype=np.uint32) * np.uint32(
            0x9E3779B9
        )
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
        h = h ^ (h >> np.uint32(16))
    return h >= np.uint32(rate * 2.0**32)


# --- layers -------------------------------------------------------------------

# What is not a number comes out as such. NumPy's warning would only say it earlier than the error
# that follows; and from some BLAS libraries it comes without one, from numbers beyond a matrix.
_quiet = np.errstate(over="ignore", invalid="ignore")


@_quiet
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


@_quiet
def dense_backward_params(x, dz, accumulate, dw, db):
    """``dw = x dz.T``, ``db = sum of dz over the samples``.

    Parameters
    ----------
    x : ndarray, shape (fan_in, samples)
    dz : ndarray, shape (fan_out, samples)
    accumulate : bool
        Add to ``dw`` and ``db``, as the second and later blocks of a batch do.
    dw : ndarray, shape (fan_in, fan_out)
    db : ndarray, shape (fan_out,)
    """
    if accumulate:
        dw += x @ dz.T
        db += dz.sum(axis=1)
    else:
        np.matmul(x, dz.T, out=dw)
        np.sum(dz, axis=1, out=db)


@_quiet
def dense_backward_inputs(w, dz, dx):
    """``dx = w dz``.

    Parameters
    ----------
    w : ndarray, shape (fan_in, fan_out)
    dz : ndarray, shape (fan_out, samples)
    dx : ndarray, shape (fan_in, samples)
    """
    np.matmul(w, dz, out=dx)


def activation_forward(z, activation, alpha, out):
    """``out = f(z)``; ``out`` may be ``z`` where the derivative follows from it.

    | activation | f(z) |
    |---|---|
    | identity | z |
    | tanh | tanh z |
    | sigmoid | 1 / (1 + exp(-z)) |
    | relu | max(z, 0) |
    | leaky_relu | z for z > 0, else alpha z |
    | elu | z for z > 0, else alpha (exp(z) - 1) |
    | softplus | log(1 + exp(z)) |
    | silu | z sigmoid(z) |
    | gelu | z Phi(z) = z erfc(-z / sqrt 2) / 2 |
    | the user's | alpha.f(z) |

    Parameters
    ----------
    z : ndarray, shape (units, samples)
    activation : int
        A code of :mod:`fastnn.codes`.
    alpha : float
        Constant of leaky_relu and elu; a :class:`fastnn.CustomActivation` for the
        user's own (for the Numba kernels the address of what was compiled of it).
    out : ndarray, shape (units, samples)
    """
    if activation == codes.TANH:
        np.tanh(z, out=out)
    elif activation == codes.SIGMOID:
        out[...] = sigmoid(z)
    elif activation == codes.RELU:
        # not max: NaN must come through
        out[...] = np.where(z.real <= 0, 0, z)
    elif activation == codes.LEAKY_RELU:
        out[...] = np.where(z.real <= 0, alpha * z, z)
    elif activation == codes.ELU:
        out[...] = np.where(z.real <= 0, alpha * np.expm1(np.where(z.real <= 0, z, 0)), z)
    elif activation == codes.SOFTPLUS:
        out[...] = softplus(z)
    elif activation == codes.SILU:
        out[...] = z * sigmoid(z)
    elif activation == codes.GELU:
        out[...] = z * normal_cdf(z)
    elif activation == codes.CUSTOM_ACTIVATION:
        out[...] = elementwise(alpha.f, z)
    elif out is not z:
        out[...] = z


def activation_backward(z, a, activation, alpha, da):
    """``da`` becomes ``dz = da f'(z)``, written with the output where that is enough.

    | activation | f'(z) |
    |---|---|
    | identity | 1 |
    | tanh | 1 - a^2 |
    | sigmoid | a (1 - a) |
    | relu | 1 for a > 0, else 0 (so 0 at z = 0) |
    | leaky_relu | 1 for a > 0, else alpha |
    | elu | 1 for a > 0, else a + alpha |
    | softplus | sigmoid(z) = 1 - exp(-a) |
    | silu | s + a (1 - s), s = sigmoid(z) |
    | gelu | Phi(z) + z phi(z) |
    | the user's | alpha.df(z) |

    Parameters
    ----------
    z, a : ndarray, shape (units, samples)
        Net input and output; ``z`` is read for silu, gelu and the user's own only.
    activation : int
    alpha : float
        Positive; or as for :func:`activation_forward`.
    da : ndarray, shape (units, samples)
        Read and overwritten.
    """
    if activation == codes.TANH:
        da *= 1 - a * a
    elif activation == codes.SIGMOID:
        da *= a * (1 - a)
    elif activation == codes.RELU:
        da *= a.real > 0
    elif activation == codes.LEAKY_RELU:
        da *= np.where(a.real > 0, 1, np.asarray(alpha, a.real.dtype))
    elif activation == codes.ELU:
        da *= np.where(a.real > 0, 1, a + np.asarray(alpha, a.real.dtype))
    elif activation == codes.SOFTPLUS:
        da *= -np.expm1(-a)
    elif activation == codes.SILU:
        s = sigmoid(z)
        da *= s + a * (1 - s)
    elif activation == codes.GELU:
        da *= normal_cdf(z) + z * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi).astype(z.real.dtype)
    elif activation == codes.CUSTOM_ACTIVATION:
        da *= elementwise(alpha.df, z)


def dropout_forward(x, rate, key, first, out):
    """``out = x / (1 - rate)`` where the unit is kept, else 0.

    Parameters
    ----------
    x : ndarray, shape (units, samples)
    rate : float
        Probability of dropping, in [0, 1).
    key : uint64
        The mask's random stream.
    first : int
        Position in the batch of the first sample.
    out : ndarray, shape (units, samples)
    """
    mask = dropout_mask(rate, key, first, *x.shape)
    out[...] = np.where(mask, x * np.asarray(1 / (1 - rate), x.real.dtype), 0)


def dropout_backward(rate, key, first, da):
    """Apply the mask and factor of :func:`dropout_forward` to ``da``, in place."""
    mask = dropout_mask(rate, key, first, *da.shape)
    da[...] = np.where(mask, da * np.asarray(1 / (1 - rate), da.real.dtype), 0)


# --- losses -------------------------------------------------------------------


def output_loss(logits, targets, sample_weight, loss, constant, scale, dlogits):
    """Weighted sum of the samples' losses, and its derivative times ``scale``.

    | loss | of one sample | derivative |
    |---|---|---|
    | cross_entropy | log(sum_k exp z_k) - z_target | softmax(z) - onehot(target) |
    | binary_cross_entropy | sum_k softplus(z_k) - t_k z_k | sigmoid(z) - t |
    | squared_error | 1/2 sum_k (z_k - t_k)^2 | z - t |
    | absolute_error | sum_k abs(z_k - t_k) | sign(z - t) |
    | huber | sum_k c_k (d_k - c_k / 2), d = z - t, c = d clipped to +-constant | c |
    | quantile | sum_k max((1 - c) d_k, -c d_k), d = z - t, c the constant | 1 - c or -c |
    | poisson | sum_k exp z_k - t_k z_k + t_k log t_k - t_k | exp(z) - t |
    | the user's | sum_k constant.f(z_k, t_k) | constant.df(z, t) |

    For the first two ``constant`` is label smoothing: 1 for the target becomes
    1 - constant, and all classes (for binary_cross_entropy both) get their share of it.

    Parameters
    ----------
    logits : ndarray, shape (outputs, samples)
        Net inputs of the output layer.
    targets : ndarray, shape (1, samples) or (outputs, samples)
        Class indices for cross_entropy, else one row an output; of the
        logits' dtype.
    sample_weight : ndarray, shape (samples,) or (0,)
        Empty for all ones.
    loss : int
        A code of :mod:`fastnn.codes`.
    constant : float
        Number of the loss: label smoothing, Huber's threshold or the quantile; a
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
    dtype = logits.real.dtype.type
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
    else:
        d = logits - targets
        if loss == codes.SQUARED_ERROR:
            derivative = d
            each = 0.5 * (d * d).sum(axis=0)
        elif loss == codes.HUBER:
            high = dtype(constant)
            derivative = np.where(d.real < -high, -high, np.where(d.real > high, high, d))
            each = (derivative * (d - dtype(0.5) * derivative)).sum(axis=0)
        else:
            up, down = (1 - constant, constant) if loss == codes.QUANTILE else (1, 1)
            derivative = np.where(
                d.real > 0, dtype(up), np.where(d.real < 0, -dtype(down), dtype(0))
            )
            each = (derivative * d).sum(axis=0)
    if sample_weight.shape[0]:
        each = each * sample_weight
        derivative = derivative * sample_weight
    dlogits[...] = derivative * np.asarray(scale, derivative.real.dtype)
    return each.astype(np.result_type(each, np.float64)).sum()


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


# --- update rules ---------------------------------------------------------------


def update(grads, l2, decay, rule, constants, learning_rate, count, params, state):
    """One step of an update rule, ``g = grads + l2 params``.

    | rule | constants | step |
    |---|---|---|
    | sgd | momentum, nesterov | v = momentum v - rate g; params += v, or momentum v - rate g |
    | adam | beta_1, beta_2, epsilon | m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; |
    | | | params -= rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt v + epsilon) |
    | adagrad | epsilon | s += g^2; params -= rate g / (sqrt s + epsilon) |
    | rmsprop | rho, epsilon | s = rho s + (1 - rho) g^2; params -= rate g / (sqrt s + epsilon) |

    ``decay`` first shrinks the parameters by the factor 1 - rate decay (AdamW).

    Parameters
    ----------
    grads : ndarray, shape (n,)
    l2, decay : float
    rule : int
        A code of :mod:`fastnn.codes`.
    constants : ndarray of float64, shape (3,) or more
    learning_rate : float
    count : int
        Number of this update, from 1 (``t``).
    params : ndarray, shape (n,)
        Read and overwritten.
    state : ndarray, shape (rows, n)
        Moments, zero before the first update; read and overwritten. No rows
        where the rule needs none.
    """
    dtype = params.dtype.type
    g = grads + dtype(l2) * params
    rate = dtype(learning_rate)
    if decay != 0.0:
        params *= dtype(1 - learning_rate * decay)
    if rule == codes.SGD:
        momentum, nesterov = constants[0], constants[1]
        if momentum == 0.0:
            params -= rate * g
            return
        v = state[0]
        v *= dtype(momentum)
        v -= rate * g
        params += dtype(momentum) * v - rate * g if nesterov else v
    elif rule == codes.ADAM:
        beta_1, beta_2, epsilon = constants[:3]
        m, v = state[0], state[1]
        m *= dtype(beta_1)
        m += dtype(1 - beta_1) * g
        v *= dtype(beta_2)
        v += dtype(1 - beta_2) * g * g
        corrected = dtype(learning_rate * np.sqrt(1 - beta_2**count) / (1 - beta_1**count))
        params -= corrected * m / (np.sqrt(v) + dtype(epsilon))
    elif rule == codes.ADAGRAD:
        s = state[0]
        s += g * g
        params -= rate * g / (np.sqrt(s) + dtype(constants[0]))
    else:
        rho, epsilon = constants[0], constants[1]
        s = state[0]
        s *= dtype(rho)
        s += dtype(1 - rho) * g * g
        params -= rate * g / (np.sqrt(s) + dtype(epsilon))


# --- networks ---------------------------------------------------------------------


def weights_of(row, flat):
    """A dense layer's weights as a view of a flat vector."""
    fan_in, fan_out, start = row[FAN_IN], row[FAN_OUT], row[WEIGHTS]
    return flat[start : start + fan_in * fan_out].reshape(fan_in, fan_out)


def biases_of(row, flat):
    """A dense layer's biases as a view of a flat vector."""
    return flat[row[BIASES] : row[BIASES] + row[FAN_OUT]]


def penalty(layers, l2, params):
    """``l2 / 2`` times the sum of the squared weights, biases left out."""
    if l2 == 0.0:
        return 0.0
    total = 0.0
    for row in layers:
        if row[KIND] == codes.DENSE:
            w = weights_of(row, params)
            total += np.einsum("ij,ij->", w, w, dtype=np.result_type(w, np.float64))
    return 0.5 * l2 * total


@_quiet
def forward(header, layers, constants, x, loss, transform, params, work, out):
    """Predictions of a network.

    Parameters
    ----------
    header, layers, constants : ndarray
        The plan; rows of dropout are not for prediction.
    x : ndarray, shape (samples, features)
    loss : int
    transform : bool
        Predictions (softmax, sigmoid) rather than net inputs.
    params : ndarray, shape (n_params,)
    work : ndarray
        Scratch memory.
    out : ndarray, shape (samples, outputs)

    Returns
    -------
    bool
        Whether ``x`` has neither NaN nor infinity, which the compiled kernels see
        while they have it in the cache.
    """
    a = x.T
    for row, alpha in zip(layers, constants, strict=True):
        z = np.empty((row[FAN_OUT], a.shape[1]), np.result_type(a, params))
        dense_forward(a, weights_of(row, params), biases_of(row, params), z)
        a = np.empty_like(z)
        activation_forward(z, row[ACTIVATION], alpha, a)
    if transform:
        output_transform(loss, a)
    out[...] = a.T
    return bool(np.isfinite(x).all())


def loss_and_grad(
    header,
    layers,
    constants,
    x,
    targets,
    sample_weight,
    loss,
    l2,
    seed,
    step,
    params,
    work,
    grads,
):
    """Objective of one batch and its gradient.

    The objective is the (weighted) mean loss plus ``l2 / 2`` times the sum of the
    squared weights. Backwards through the layers, with
    ``dz = da f'(z)``: ``dw = x dz.T``, ``db = sum dz``, ``dx = w dz``.

    Parameters
    ----------
    header, layers, constants : ndarray
        The plan; its rows of dropout are applied.
    x : ndarray, shape (features, samples)
    targets : ndarray, shape (1 or outputs, samples)
    sample_weight : ndarray, shape (samples,) or (0,)
    loss : int
    l2 : float
    seed, step : int
        The dropout masks' random streams.
    params : ndarray, shape (n_params,)
    work : ndarray
        Scratch memory.
    grads : ndarray, shape (groups, n_params)
        The gradient is left in the first row; the others are scratch memory.

    Returns
    -------
    float
    """
    data_loss = _batch(
        layers, constants, x, targets, sample_weight, loss, seed, step, params, grads[0]
    )
    if l2 != 0.0:
        for row in layers:
            if row[KIND] == codes.DENSE:
                dw = weights_of(row, grads[0])
                dw += dw.dtype.type(l2) * weights_of(row, params)
    return data_loss + penalty(layers, l2, params)


def _batch(layers, constants, x, targets, sample_weight, loss, seed, step, params, grads):
    """Mean loss of a batch; its gradient without L2 goes to ``grads``."""
    samples = x.shape[1]
    total = float(sample_weight.sum(dtype=np.float64)) if sample_weight.shape[0] else samples
    inputs, net_inputs, a = [], [], x
    for k, (row, constant) in enumerate(zip(layers, constants, strict=True)):
        inputs.append(a)
        out = np.empty((row[FAN_OUT], samples), np.result_type(a, params))
        if row[KIND] == codes.DROPOUT:
            key = stream(seed, codes.STREAM_DROPOUT + k, step)
            dropout_forward(a, constant, key, 0, out)
            net_inputs.append(None)
            a = out
        else:
            dense_forward(a, weights_of(row, params), biases_of(row, params), out)
            net_inputs.append(out)
            a = np.empty_like(out)
            activation_forward(out, row[ACTIVATION], constant, a)
    outputs = [*inputs[1:], a]

    delta = np.empty_like(a)
    # A batch may hold only samples of weight zero: then nothing is learned from it.
    scale = 1 / total if total > 0 else 0.0
    data_loss = output_loss(a, targets, sample_weight, loss, constants[-1], scale, delta)
    for k in range(len(layers) - 1, -1, -1):
        row = layers[k]
        if row[KIND] == codes.DROPOUT:
            key = stream(seed, codes.STREAM_DROPOUT + k, step)
            dropout_backward(constants[k], key, 0, delta)
            continue
        activation_backward(net_inputs[k], outputs[k], row[ACTIVATION], constants[k], delta)
        dense_backward_params(
            inputs[k], delta, False, weights_of(row, grads), biases_of(row, grads)
        )
        if k > 0:
            dx = np.empty((row[FAN_IN], samples), delta.dtype)
            dense_backward_inputs(weights_of(row, params), delta, dx)
            delta = dx
    return data_loss * scale


def train(
    header,
    layers,
    constants,
    x,
    indices,
    indptr,
    targets,
    sample_weight,
    loss,
    l2,
    rule,
    rule_constants,
    decay,
    learning_rates,
    seed,
    first_step,
    first_count,
    batch_size,
    shuffled,
    thread,
    n_threads,
    params,
    state,
    grads,
    order,
    work,
    sync,
    losses,
):
    """A slice of training steps.

    Parameters
    ----------
    header, layers, constants : ndarray
        The plan.
    x, targets : ndarray
        If ``shuffled``, ``(samples, features)`` and ``(samples, 1 or outputs)``:
        the rows of a batch are gathered. Else ``(features, samples)`` and
        ``(1 or outputs, samples)``, made by :func:`fastnn.plan.batch_matrices`: the
        batches one after the other, each ``(features, batch)``.
    indices : ndarray of int32, shape (stored,) or (0,)
    indptr : ndarray of int64, shape (samples + 1,) or (0,)
        With them ``x`` is sparse, of shape (1, stored): sample s has the numbers
        ``indptr[s]`` to ``indptr[s + 1]``, each in the column of ``indices``.
    sample_weight : ndarray, shape (samples,) or (0,)
    loss, l2 : int, float
    rule, decay
        As in :func:`update`.
    rule_constants : ndarray of float64, shape (6,)
        Behind the rule's three: the longest gradient, the largest entry of a gradient, and
        the decay of the parameters' average; each 0 for none.
    learning_rates : ndarray of float64, shape (steps,)
        One for each step of the slice.
    seed : int
        Of shuffling and dropout.
    first_step : int
        Steps since the network was made, which gives epoch and batch.
    first_count : int
        Updates since the optimiser was made.
    batch_size : int
        The last batch of an epoch takes what is left.
    shuffled : bool
        New order every epoch.
    thread, n_threads : int
        Who calls: every thread calls with the same arguments but for this
        number. This backend knows one thread.
    params, state : ndarray
        Read and overwritten; with an average, it is the last row of ``state``.
    grads, order, work, sync : ndarray
        Scratch memory; ``sync``, shape (SYNC_SIZE,) of int64, starts at zero.
    losses : ndarray of float64, shape (steps,)
        Objective of each step's batch before the step.

    Returns
    -------
    int
        Steps done. Fewer than asked for when a loss was not finite: that loss
        is in ``losses``, its step was not done.
    """
    samples = targets.shape[0] if shuffled else targets.shape[1]
    features, n_targets = layers[0, FAN_IN], targets.size // samples
    batches = -(-samples // batch_size)
    clip_norm, clip_value, average = rule_constants[3:]
    for i in range(learning_rates.shape[0]):
        step = first_step + i
        epoch, batch = divmod(step, batches)
        start, stop = batch * batch_size, min((batch + 1) * batch_size, samples)
        if shuffled:
            if batch == 0 or i == 0:
                shuffle(seed, epoch, order)
            chosen = order[start:stop]
            bt = targets[chosen].T
        else:
            chosen = np.arange(start, stop)
            bt = _batch_matrix(targets, n_targets, start, stop)
        if indptr.shape[0]:
            bx = np.zeros((features, stop - start), params.dtype)
            for column, s in zip(bx.T, chosen, strict=True):
                stored = slice(indptr[s], indptr[s + 1])
                column[indices[stored]] = x[0, stored]
        elif shuffled:
            # asarray: images may be bytes until here
            bx = np.asarray(x[chosen], params.dtype).T
        else:
            bx = _batch_matrix(x, features, start, stop)
        bw = sample_weight[chosen] if sample_weight.shape[0] else sample_weight
        losses[i] = penalty(layers, l2, params) + _batch(
            layers, constants, bx, bt, bw, loss, seed, step, params, grads[0]
        )
        if not np.isfinite(losses[i]):
            return i
        rate, count = learning_rates[i], first_count + i + 1
        step_l2 = l2
        if clip_norm != 0.0 or clip_value != 0.0:
            _clip(layers, l2, clip_norm, clip_value, params, grads[0])
            step_l2 = 0.0
        for row in layers:
            if row[KIND] == codes.DENSE:
                for part, part_l2, part_decay in (
                    (slice(row[WEIGHTS], row[BIASES]), step_l2, decay),
                    (slice(row[BIASES], row[BIASES] + row[FAN_OUT]), 0.0, 0.0),
                ):
                    update(
                        grads[0, part],
                        part_l2,
                        part_decay,
                        rule,
                        rule_constants,
                        rate,
                        count,
                        params[part],
                        state[:, part],
                    )
        if average != 0.0:
            keep = average if count > 1 else 0.0
            state[-1] *= params.dtype.type(keep)
            state[-1] += params.dtype.type(1 - keep) * params
    return learning_rates.shape[0]


def _clip(layers, l2, clip_norm, clip_value, params, grads):
    """Add L2's part to the gradient, then clip its entries or its length."""
    for row in layers:
        if row[KIND] == codes.DENSE:
            dw = weights_of(row, grads)
            dw += dw.dtype.type(l2) * weights_of(row, params)
    if clip_value != 0.0:
        np.clip(grads, -clip_value, clip_value, out=grads)
    if clip_norm != 0.0:
        norm = np.sqrt(np.einsum("i,i->", grads, grads, dtype=np.float64))
        if norm > clip_norm:
            grads *= grads.dtype.type(clip_norm / norm)


def _batch_matrix(matrices, rows, start, stop):
    """One batch of what :func:`fastnn.plan.batch_matrices` made, ``(rows, batch)``."""
    return matrices.reshape(-1)[start * rows : stop * rows].reshape(rows, stop - start)


def elementwise(function, *arrays):
    """A user's function of numbers, for one after the other; NaN where it raises a numeric error.

    Not called with whole arrays: what branches or calls ``math`` takes numbers only.
    """
    function = getattr(function, "py_func", function)  # compiled by Numba
    out = np.empty_like(arrays[0])
    values = out.reshape(-1)
    with np.errstate(all="ignore"):
        for i, numbers in enumerate(zip(*(array.flat for array in arrays), strict=True)):
            try:
                values[i] = function(*numbers)
            except (ArithmeticError, ValueError):  # of math, where compiled code goes on
                values[i] = np.nan
    return out


def sigmoid(z):
    """``1 / (1 + exp(-z))`` without overflow: both branches use ``exp(-|z|)``."""
    positive = z.real >= 0
    e = np.exp(np.where(positive, -z, z))
    return np.where(positive, 1, e) / (1 + e)


def softplus(z):
    """``log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|))``."""
    positive = z.real >= 0
    return np.where(positive, z, 0) + np.log1p(np.exp(np.where(positive, -z, z)))


def normal_cdf(z):
    """Distribution function of the standard normal, ``erfc(-z / sqrt 2) / 2``."""
    from scipy.special import erfc

    return 0.5 * erfc(-z / np.sqrt(2).astype(z.real.dtype))
