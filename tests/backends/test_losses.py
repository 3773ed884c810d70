"""Losses against the reference, kernel by kernel and in runs."""

from itertools import product

import numpy as np
import pytest
from helpers import (
    LOSS_CONSTANTS,
    assert_bits,
    assert_same,
    make_problem,
)
from kernel_cases import RUNS, UNITS, check_run, compare, nans, normal

from fastnn.backends import codes
from fastnn.training import optimizers

LOSS_CASES = [(loss, LOSS_CONSTANTS.get(loss, 0.0)) for loss in codes.LOSSES]
LOSS_CASES += [("cross_entropy", 0.2), ("binary_cross_entropy", 0.2)]
LOSS_CASES += [("quantile", (0.1, 0.5, 0.8)), ("gaussian", 0.5), ("gaussian", 1.0)]


@pytest.mark.parametrize(("loss", "constant"), LOSS_CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_output_kernels(compiled, dtype, loss, constant, weighted, rng):
    code, constants = codes.LOSSES[loss], np.atleast_1d(constant)
    per_target = codes.outputs_per_target(code, constants)
    for shape in UNITS:
        units, samples = shape
        logits = normal(rng, (units * per_target, samples), dtype, 3.0)
        if loss == "cross_entropy":
            targets = rng.integers(0, units, (1, samples)).astype(dtype)
        elif loss == "binary_cross_entropy":
            targets = rng.integers(0, 2, shape).astype(dtype)
        elif loss == "poisson":
            logits, targets = logits / 3, rng.poisson(2.0, shape).astype(dtype)
        else:
            targets = normal(rng, shape, dtype)
        weights = rng.uniform(0, 2, samples if weighted else 0).astype(dtype)
        out = np.empty_like(logits)
        compare(
            compiled,
            "output_loss",
            [logits, targets, weights],
            [code, constants, 1.0 / samples],
            [out],
            compiled_writes=nans(out),
            # a derivative is (p - y) times weight / samples: small where p is near y
            least=weights.max(initial=0.0 if weighted else 1.0) / samples,
        )
        compare(compiled, "output_transform", [], [code], [logits])
        in_place = logits.copy()
        apart_value = compiled.output_loss(logits, targets, weights, code, constants, 0.5, out)
        assert apart_value == compiled.output_loss(
            in_place, targets, weights, code, constants, 0.5, in_place
        )
        assert_bits(in_place, out)


# exp(1e4) is infinity, as the next test has it
EXTREME = [name for name in codes.LOSSES if name not in ("poisson", "gaussian")]


@pytest.mark.parametrize("loss", EXTREME)
def test_output_kernels_at_extremes(kernels, dtype, loss):
    # logits +-1e4 in every combination of three outputs
    logits = np.array(list(product((-1e4, 0.0, 1e4), repeat=3)), dtype).T.copy()
    samples, code = logits.shape[1], codes.LOSSES[loss]
    if loss == "cross_entropy":
        targets = (np.arange(samples, dtype=dtype) % 3)[None]
    else:
        targets = np.zeros_like(logits)
        targets[1] = 1
    derivative = np.full_like(logits, np.nan)
    constants = np.array([LOSS_CONSTANTS.get(loss, 0.0)])
    value = kernels.output_loss(
        logits, targets, np.empty(0, dtype), code, constants, 1.0, derivative
    )
    # by hand, in float64
    z, t = logits.astype(np.float64), targets.astype(np.float64)
    if loss == "cross_entropy":
        top = z.max(axis=0)
        ties = (z == top).sum(axis=0)  # others are exp(-1e4) = 0 beside the largest
        each = np.log(ties) + top - z[t[0].astype(int), np.arange(samples)]
        p = (z == top) / ties
        slope = p - (np.arange(3)[:, None] == t)
    elif loss == "binary_cross_entropy":
        p = np.where(z > 0, 1.0, np.where(z < 0, 0.0, 0.5))
        each = np.maximum(z, 0) + np.where(z == 0, np.log(2), 0) - t * z
        slope = p - t
    elif loss == "squared_error":
        p, each, slope = z, 0.5 * (z - t) ** 2, z - t
    elif loss == "huber":  # all far from the target or, with z = t = 0 and |z - t| = 1, beyond 0.6
        p, each = z, np.where(z == t, 0, 0.6 * (abs(z - t) - 0.3))
        slope = 0.6 * np.sign(z - t)
    else:
        up, down = (0.7, 0.3) if loss == "quantile" else (1.0, 1.0)
        p, slope = z, np.where(z > t, up, np.where(z < t, -down, 0))
        each = slope * (z - t)
    assert_same(value, each.sum(), dtype)
    assert_same(derivative, slope, dtype)
    out = logits.copy()
    kernels.output_transform(code, out)
    assert_same(out, p, dtype)


def test_poisson_overflows_to_infinity(kernels, dtype):
    logits = np.array([[-1e4, 0.0, 1e4]], dtype)
    derivative = np.empty_like(logits)
    zero = np.zeros(1)
    arguments = np.zeros_like(logits), np.empty(0, dtype), codes.POISSON, zero, 1.0, derivative
    with np.errstate(over="ignore"):
        assert kernels.output_loss(logits, *arguments) == np.inf
        kernels.output_transform(codes.POISSON, logits)
    np.testing.assert_array_equal(derivative, [[0, 1, np.inf]])
    np.testing.assert_array_equal(logits, [[0, 1, np.inf]])


def test_gaussian_variances_are_clipped(kernels, dtype):
    # a log variance beyond +-40 counts as that; it may come back, but not go on
    logits = np.array([[1, 0, 1e10, 1], [-1e4, -1e4, 1e4, 1e4]], dtype)
    derivative, one = np.full_like(logits, np.nan), np.ones(1)
    arguments = np.zeros((1, 4), dtype), np.empty(0, dtype), codes.GAUSSIAN, one, 1.0, derivative
    value = kernels.output_loss(logits, *arguments)
    # with beta = 1: the mean's derivative is d, the other (variance - d^2) / 2 where it is allowed
    slopes = [(np.exp(-40.0) - 1) / 2, 0, 0, (np.exp(40.0) - 1) / 2]
    np.testing.assert_allclose(derivative, [[1, 0, 1e10, 1], slopes], rtol=1e-5)
    expected = (np.exp(40) - 40 - 40 + (40 + 1e20 * np.exp(-40)) + 40) / 2
    np.testing.assert_allclose(value, expected, rtol=1e-5)


RUN_CONSTANTS = {"gaussian": 0.5, "quantile": (0.2, 0.7)}


@pytest.mark.parametrize("loss", RUN_CONSTANTS)
def test_training_with_several_outputs_per_target_matches_reference(compiled, dtype, loss):
    network, settings = RUNS["everything"]
    network = network | {"constant": RUN_CONSTANTS[loss]}
    problem = make_problem([3, 5, 3], "tanh", loss, samples=50, dtype=dtype, **network)
    check_run(compiled, dtype, problem, optimizers.SGD(0.05), **settings)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("loss", codes.LOSSES)
def test_training_with_each_loss_matches_reference(compiled, dtype, loss, run):
    network, settings = RUNS[run]
    problem = make_problem([3, 5, 3], "tanh", loss, samples=50, dtype=dtype, **network)
    check_run(compiled, dtype, problem, optimizers.SGD(0.05), **settings)
