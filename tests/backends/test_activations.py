"""Activations and dropout against the reference, kernel by kernel and in runs."""

from itertools import product

import numpy as np
import pytest
from helpers import (
    ALPHAS,
    assert_bits,
    make_problem,
)
from kernel_cases import OPTIMIZERS, UNITS, check_run, compare, nans, normal

from fastnn.backends import codes
from fastnn.backends import numpy as reference


@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
def test_activation_kernels_match_reference(compiled, dtype, activation, rng):
    code, alpha = codes.ACTIVATIONS[activation], ALPHAS.get(activation, 0.0)
    for shape in UNITS:
        z = normal(rng, shape, dtype, 3.0)
        z.flat[0] = 0.0
        a = np.empty_like(z)
        compare(compiled, "activation_forward", [z], [code, alpha], [a], compiled_writes=nans(a))
        reference.activation_forward(z, code, alpha, a)
        compare(compiled, "activation_backward", [z, a], [code, alpha], [normal(rng, shape, dtype)])
        if code not in codes.NEEDS_NET_INPUT:
            apart, in_place = np.empty_like(z), z.copy()
            compiled.activation_forward(z, code, alpha, apart)
            compiled.activation_forward(in_place, code, alpha, in_place)
            assert_bits(in_place, apart)


@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
def test_activation_kernels_at_extremes_match_reference(compiled, dtype, activation):
    code, alpha = codes.ACTIVATIONS[activation], ALPHAS.get(activation, 0.0)
    ends = np.array([1e-30, 1e-4, 1.0, 20.0, 90.0, 104.0, 710.0, 745.0, 1e4, 1e30])
    z = np.concatenate([-ends, ends, [0.0]]).astype(dtype)[None]
    a = np.empty_like(z)
    expected = np.empty_like(z)
    with np.errstate(over="ignore", under="ignore"):
        # gelu'(z) squares z
        reference.activation_forward(z, code, alpha, expected)
        compiled.activation_forward(z, code, alpha, a)
        rtol = {"float32": 1.3e-6, "float64": 1e-12}[dtype]
        tiny = np.finfo(dtype).tiny  # denormal numbers have few digits
        # mish multiplies z by an exponential, which is 0 where it would be denormal
        tiny *= 750 if activation == "mish" else 1
        # float32's gelu falls off within ULPs of z: compared where it is not denormal
        np.testing.assert_allclose(a, expected, rtol=200 * rtol, atol=tiny)
        if activation != "gelu" or dtype == "float64":
            np.testing.assert_allclose(a, expected, rtol=rtol, atol=tiny)
        da, expected_da = np.ones_like(z), np.ones_like(z)
        reference.activation_backward(z, expected, code, alpha, expected_da)
        compiled.activation_backward(z, expected, code, alpha, da)
    assert np.isfinite(da).all()
    np.testing.assert_allclose(
        da, expected_da, rtol=rtol, atol={"float32": 1e-7, "float64": 1e-15}[dtype]
    )


def test_dropout_kernels_match_reference(compiled, dtype, rng):
    for shape, rate, first in product(UNITS, (0.0, 0.1, 0.5, 0.9), (0, 3, 512)):
        x = normal(rng, shape, dtype)
        key = reference.stream(7, codes.STREAM_DROPOUT + 1, first)
        numbers = [rate, key, first]
        out = np.empty_like(x)
        compare(compiled, "dropout_forward", [x], numbers, [out], compiled_writes=nans(out))
        compare(compiled, "dropout_backward", [], numbers, [x])
        expected = np.empty_like(x)
        reference.dropout_forward(x, rate, key, first, expected)
        compiled.dropout_forward(x, rate, key, first, out)
        assert_bits(out == 0, expected == 0)  # the same units, whatever the rounding


@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
def test_training_with_each_activation_matches_reference(compiled, dtype, activation):
    problem = make_problem([3, 5, 4, 3], activation, samples=50, dtype=dtype)
    check_run(compiled, dtype, problem, OPTIMIZERS["sgd"], batch_size=16, shuffled=True)
