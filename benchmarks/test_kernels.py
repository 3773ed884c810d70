"""Time of individual kernels by backend, in this process.

``pytest benchmarks/test_kernels.py -k dense_forward``
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from fastnn import Adam, backends
from fastnn.backends import codes
from fastnn.backends.plan import aligned_empty

SAMPLES = 256
SHAPES = [(2, 8), (8, 8), (32, 32), (128, 64), (784, 128), (1024, 1024)]


@pytest.fixture(params=backends.BACKENDS)
def kernels(request: pytest.FixtureRequest) -> ModuleType:
    reason = backends.why_missing(request.param)
    if reason:
        pytest.skip(reason)
    return backends.load(request.param)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    return np.dtype(request.param)


def random(dtype: np.dtype, *shape: int) -> np.ndarray:
    array = aligned_empty(shape, dtype)
    array[...] = np.random.RandomState(0).randn(*shape) * 0.5
    return array


@pytest.mark.parametrize(("fan_in", "fan_out"), SHAPES)
def test_dense_forward(benchmark, kernels, dtype, fan_in, fan_out):
    x, w = random(dtype, fan_in, SAMPLES), random(dtype, fan_in, fan_out)
    b, out = random(dtype, fan_out), aligned_empty((fan_out, SAMPLES), dtype)
    benchmark.group = f"dense_forward {fan_in}x{fan_out}, {SAMPLES} samples, {dtype}"
    benchmark(kernels.dense_forward, x, w, b, out)
    np.testing.assert_allclose(out, w.T @ x + b[:, None], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("fan_in", "fan_out"), SHAPES)
def test_dense_backward_params(benchmark, kernels, dtype, fan_in, fan_out):
    x, dz = random(dtype, fan_in, SAMPLES), random(dtype, fan_out, SAMPLES)
    dw, db = aligned_empty((fan_in, fan_out), dtype), aligned_empty((fan_out,), dtype)
    benchmark.group = f"dense_backward_params {fan_in}x{fan_out}, {SAMPLES} samples, {dtype}"
    benchmark(kernels.dense_backward_params, x, dz, False, dw, db)
    np.testing.assert_allclose(dw, x @ dz.T, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("fan_in", "fan_out"), SHAPES)
def test_dense_backward_inputs(benchmark, kernels, dtype, fan_in, fan_out):
    w, dz = random(dtype, fan_in, fan_out), random(dtype, fan_out, SAMPLES)
    dx = aligned_empty((fan_in, SAMPLES), dtype)
    benchmark.group = f"dense_backward_inputs {fan_in}x{fan_out}, {SAMPLES} samples, {dtype}"
    benchmark(kernels.dense_backward_inputs, w, dz, dx)
    np.testing.assert_allclose(dx, w @ dz, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", codes.ACTIVATIONS)
def test_activation_forward(benchmark, kernels, dtype, name):
    z = random(dtype, 64, SAMPLES)
    out = np.empty_like(z)
    benchmark.group = f"activation {name}, {z.size:,} numbers, {dtype}"
    benchmark(kernels.activation_forward, z, codes.ACTIVATIONS[name], 0.5, out)
    assert np.isfinite(out).all()


@pytest.mark.parametrize(("loss", "outputs"), [("cross_entropy", 2), ("cross_entropy", 10)])
def test_output_loss(benchmark, kernels, dtype, loss, outputs):
    logits = random(dtype, outputs, SAMPLES)
    targets = np.zeros((1, SAMPLES), dtype)
    derivative = np.empty_like(logits)
    benchmark.group = f"{loss}, {outputs} outputs, {SAMPLES} samples, {dtype}"
    weights = np.empty(0, dtype)
    value = benchmark(
        kernels.output_loss,
        logits,
        targets,
        weights,
        codes.LOSSES[loss],
        np.zeros(1),
        1 / SAMPLES,
        derivative,
    )
    assert value > 0


@pytest.mark.parametrize("n", [17, 109_386, 1_863_690])
def test_adam(benchmark, kernels, dtype, n):
    grads, params, state = random(dtype, n), random(dtype, n), random(dtype, 2, n) ** 2
    rule = Adam().for_kernels()
    benchmark.group = f"adam, {n:,} parameters, {dtype}"
    benchmark(kernels.update, grads, 0.0, rule, 1e-3, 10, params, state)
    assert np.isfinite(params).all()
