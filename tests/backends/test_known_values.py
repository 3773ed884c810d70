"""The reference by numbers of Python: random streams, losses where they have a kink, updates."""

import math

import numpy as np
import pytest

from fastnn import SGD, AdaGrad, Adam, Network, RMSprop
from fastnn.backends import codes
from fastnn.backends.numpy import losses, random, updates
from fastnn.backends.numpy.train import _flush_subnormals

M64, M32 = 2**64 - 1, 2**32 - 1
GOLDEN = 0x9E3779B97F4A7C15


def splitmix(state):
    """SplitMix64 as its authors wrote it in C; the next output."""
    z = (state + GOLDEN) & M64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    return z ^ (z >> 31)


def lowbias32(x):
    x ^= x >> 16
    x = (x * 0x7FEB352D) & M32
    x ^= x >> 15
    x = (x * 0x846CA68B) & M32
    return x ^ (x >> 16)


def key_of(seed, purpose, number):
    key = splitmix(seed)
    for part in (purpose, number):
        key = splitmix((key + part) & M64)
    return key


def test_splitmix64_matches_published_outputs():
    """From the seed 1234567, as in Rosetta Code and the test vectors of several libraries."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    states = [(1234567 + k * GOLDEN) & M64 for k in range(3)]
    assert [splitmix(state) for state in states] == expected
    assert random.mix(np.array(states, np.uint64)).tolist() == expected


@pytest.mark.parametrize(("seed", "purpose", "number"), [(0, 0, 0), (7, 1, 3), (2**31, 2, 2**40)])
def test_stream_keys_have_fixed_values(seed, purpose, number):
    assert int(random.stream(seed, purpose, number)) == key_of(seed, purpose, number)


@pytest.mark.parametrize(("seed", "epoch", "samples"), [(0, 0, 1), (5, 2, 2), (9, 11, 101)])
def test_epoch_order_has_fixed_values(seed, epoch, samples):
    """Fisher-Yates from the end, with the upper halves of the draws as fractions."""
    key = key_of(seed, codes.STREAM_SHUFFLE, epoch)
    expected = list(range(samples))
    for i in range(samples - 1, 0, -1):
        j = (splitmix((key + i) & M64) >> 32) * (i + 1) >> 32
        expected[i], expected[j] = expected[j], expected[i]
    order = np.full(samples, -1, np.int64)
    random.shuffle(seed, epoch, order)
    assert order.tolist() == expected


@pytest.mark.parametrize(("rate", "first"), [(0.5, 0), (0.1, 1000), (0.9, 2**31)])
def test_dropout_masks_have_fixed_values(rate, first):
    key, units, samples = key_of(3, codes.STREAM_DROPOUT, 4), 5, 7
    mask = random.dropout_mask(rate, np.uint64(key), first, units, samples)
    for i in range(units):
        row = splitmix((key + i) & M64) & M32
        for k in range(samples):
            draw = lowbias32((row + (first + k) * 0x9E3779B9) & M32)
            assert mask[i, k] == (draw >= math.floor(rate * 2**32))


def test_hashes_at_the_threshold():
    """Kept is what is at least the rate: of all rates that separate one draw from the next."""
    key = key_of(3, codes.STREAM_DROPOUT, 4)
    draw = lowbias32((splitmix(key) & M32) + 0)
    for rate, kept in ((draw / 2**32, True), ((draw + 1) / 2**32, False)):
        assert random.dropout_mask(rate, np.uint64(key), 0, 1, 1)[0, 0] == kept


def derivative(loss, constants, logits, targets):
    logits, targets = (np.array(each, float).reshape(-1, 1) for each in (logits, targets))
    out = np.empty_like(logits)
    value = losses.output_loss(
        logits, targets, np.empty(0), loss, np.array(constants, float), 1.0, out
    )
    return value, out[:, 0].tolist()


@pytest.mark.parametrize(
    ("loss", "constants"), [(codes.ABSOLUTE_ERROR, [0.0]), (codes.QUANTILE, [0.25])]
)
def test_zero_error_has_zero_derivative(loss, constants):
    up, down = (1.0, 1.0) if loss == codes.ABSOLUTE_ERROR else (0.75, 0.25)
    assert derivative(loss, constants, [2.0], [2.0]) == (0.0, [0.0])
    assert derivative(loss, constants, [3.0], [1.0]) == (2 * up, [up])
    assert derivative(loss, constants, [1.0], [3.0]) == (2 * down, [-down])


def test_quantile_losses_of_one_target():
    value, found = derivative(codes.QUANTILE, [0.1, 0.5, 0.9], [1.0, 2.0, 3.0], [2.0])
    assert found == pytest.approx([-0.1, 0.0, 0.1])
    assert value == pytest.approx(0.1 * 1 + 0.1 * 1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_smoothed_binary_targets(smoothing):
    """The target 1 becomes 1 - s/2 and 0 becomes s/2."""
    for target in (0.0, 1.0):
        smooth = (1 - smoothing) * target + smoothing / 2
        value, found = derivative(codes.BINARY_CROSS_ENTROPY, [smoothing], [0.7], [target])
        p = 1 / (1 + math.exp(-0.7))
        assert found == pytest.approx([p - smooth], rel=1e-14)
        expected = -smooth * math.log(p) - (1 - smooth) * math.log(1 - p)
        assert value == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("sign", [-1, 1])
def test_variance_at_its_limit_has_one_sided_derivative(sign):
    """Beyond the limit the loss is that of the limit; the derivative is 0 but for the way back."""
    limit = codes.LOG_VARIANCE_LIMIT
    # the error at which the variance is right at the limit, and ones of a smaller and larger one
    for error in (math.exp(sign * limit / 2) * factor for factor in (0.5, 2.0)):
        slope = (1 - error**2 * math.exp(-sign * limit)) / 2
        # a step goes against the slope: outwards is what the sign of it says
        outwards = slope * sign < 0
        value, (_, found) = derivative(codes.GAUSSIAN, [0.0], [error, sign * (limit + 1)], [0.0])
        assert found == (0.0 if outwards else pytest.approx(slope))
        expected = (sign * limit + error**2 * math.exp(-sign * limit)) / 2
        assert value == pytest.approx(expected)
    value, (mean, found) = derivative(codes.GAUSSIAN, [0.5], [1.5, 0.4], [1.0])
    assert mean == pytest.approx(0.5 * math.exp(-0.5 * 0.4))
    assert found == pytest.approx((1 - 0.25 * math.exp(-0.4)) / 2 * math.exp(0.5 * 0.4))


# --- update rules as their papers have them, in numbers of Python -----------------


@pytest.mark.parametrize("optimizer", [AdaGrad(0.3, epsilon=0.1), RMSprop(0.2, rho=0.75)])
def test_adaptive_rates(optimizer):
    rule, params, moments = optimizer.for_kernels(), np.array([1.0, -2.0]), np.zeros((1, 2))
    expected, sums = params.tolist(), [0.0, 0.0]
    for count, grads in enumerate(([0.5, -1.0], [0.25, 3.0], [-2.0, 0.0]), 1):
        updates.update(np.array(grads), 0.5, rule, optimizer.learning_rate, count, params, moments)
        for k, grad in enumerate(grads):
            g = grad + 0.5 * expected[k]
            rho = getattr(optimizer, "rho", None)
            sums[k] = sums[k] + g * g if rho is None else rho * sums[k] + (1 - rho) * g * g
            step = optimizer.learning_rate * g / (math.sqrt(sums[k]) + optimizer.epsilon)
            expected[k] -= step
    np.testing.assert_allclose(params, expected, rtol=1e-14)
    np.testing.assert_allclose(moments[0], sums, rtol=1e-14)


def test_adam_corrects_the_bias_of_its_moments():
    """Kingma and Ba (2015), with epsilon as at the end of their section 2."""
    rule = Adam(0.1, beta_1=0.75, beta_2=0.5, epsilon=0.01).for_kernels()
    params, moments = np.array([1.0, -2.0]), np.zeros((2, 2))
    expected, m, v = params.tolist(), [0.0, 0.0], [0.0, 0.0]
    for t, grads in enumerate(([0.5, -1.0], [0.25, 3.0], [-2.0, 0.0]), 1):
        updates.update(np.array(grads), 0.0, rule, 0.1, t, params, moments)
        for k, g in enumerate(grads):
            m[k] = 0.75 * m[k] + 0.25 * g
            v[k] = 0.5 * v[k] + 0.5 * g * g
            rate = 0.1 * math.sqrt(1 - 0.5**t) / (1 - 0.75**t)
            expected[k] -= rate * m[k] / (math.sqrt(v[k]) + 0.01)
    np.testing.assert_allclose(params, expected, rtol=1e-14)
    np.testing.assert_allclose(moments, [m, v], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_subnormal_numbers_are_flushed(dtype):
    """The smallest normal number is kept."""
    smallest = np.finfo(dtype).smallest_normal
    below = np.nextafter(smallest, dtype(0))
    params, moments = np.array([smallest, -smallest, below, -below]), np.array([[below, 1, 0, 2]])
    moments = moments.astype(dtype)
    _flush_subnormals(63, params, moments)
    assert params[2] == below
    _flush_subnormals(64, params, moments)
    assert params.tolist() == [smallest, -smallest, 0.0, 0.0]
    assert moments.tolist() == [[0.0, 1.0, 0.0, 2.0]]


def test_trainable_feature_factors_match_reference():
    """A step of gradient descent for W and s of the weights s W, by the product rule."""
    w, s = np.array([[1.0, 2.0], [-3.0, 0.5]]), np.array([2.0, 0.5])
    grads = np.array([1.0, -2.0, 4.0, 8.0])
    front = np.column_stack([w, s, np.zeros((2, 2))])
    rule = SGD(0.1).for_kernels()
    rule = rule._replace(front=front, constants=np.repeat(rule.constants, 2, axis=0))
    rule.constants[1, 6] = 6.0  # factor of the rate of s
    params = (s[:, None] * w).ravel()
    updates.update_front(grads, 0.0, rule, 0.1, 1, params, np.empty((0, 4)))
    new_w = w - 0.1 * s[:, None] * grads.reshape(2, 2)
    new_s = s - 0.6 * (w * grads.reshape(2, 2)).sum(axis=1)
    np.testing.assert_allclose(front[:, :2], new_w, rtol=1e-14)
    np.testing.assert_allclose(front[:, 2], new_s, rtol=1e-14)
    np.testing.assert_allclose(params, (new_s[:, None] * new_w).ravel(), rtol=1e-14)


def test_objective_includes_penalty():
    """Recorded is the loss before the step and half of l2 times the squared weights."""
    x, y = np.linspace(-1, 1, 12).reshape(6, 2), np.arange(6) % 2
    net = Network([2, 3, 2], l2=0.8, backend="numpy", dtype="float64", random_state=0)
    p = net.predict_proba(x)[np.arange(6), y]
    squares = sum((w**2).sum() for w in net.weights)
    history = net.fit(x, y, epochs=1, batch_size=None, optimizer=SGD(0.1))
    assert history.loss[0] == pytest.approx(-np.log(p).mean() + 0.4 * squares, rel=1e-13)
