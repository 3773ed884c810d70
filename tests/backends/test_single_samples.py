"""Batches of one sample, for which the compiled kernels use matrix-vector products."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import (
    assert_bits,
    assert_same,
    compiled_names,
    forward,
    load_backend,
    loss_and_grad,
    make_problem,
    train,
)
from kernel_cases import NETWORKS, OPTIMIZERS, check_run

from fastnn.backends import codes
from fastnn.training.optimizers import SGD

EXTRA = {"l2": 0.01, "weighted": True, "dropout": 0.3}


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("network", ["BLAS", "all activations", "narrow then wide"])
def test_batches_of_one_sample(compiled, dtype, network, shuffled):
    sizes, activations, _ = NETWORKS[network]
    settings = {"steps": 12, "shuffled": shuffled}
    problem = make_problem(sizes, activations, samples=9, dtype=dtype, batch_size=1, **EXTRA)
    check_run(compiled, dtype, problem, OPTIMIZERS["momentum"], batch_size=1, **settings)
    # the last batch has one sample, the others have four
    check_run(compiled, dtype, problem, OPTIMIZERS["adam"], batch_size=4, **settings)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "gaussian", "quantile"])
def test_losses_of_one_sample(compiled, dtype, loss):
    problem = make_problem([3, 20, 5], loss=loss, samples=6, dtype=dtype, weighted=True)
    # slowly, since a variance of one sample may tend to zero, and its loss to infinity
    check_run(compiled, dtype, problem, SGD(0.01), steps=6, batch_size=1, shuffled=True)


def test_block_of_one_sample(compiled, dtype):
    sizes = [6, 9, 3]
    samples = make_problem(sizes, samples=1, dtype=dtype).plan.block_size + 1
    problem = make_problem(sizes, samples=samples, dtype=dtype, **EXTRA)
    check_run(compiled, dtype, problem, OPTIMIZERS["momentum"], steps=5)


def test_bytes_as_input_of_one_sample(compiled, dtype):
    problem = make_problem([37, 20, 3], samples=7, dtype=dtype)
    pixels = np.random.default_rng(0).integers(0, 256, problem.x.shape).astype(np.uint8)
    settings = {"steps": 7, "batch_size": 1, "shuffled": True, "fill": np.nan}
    runs = [train(compiled, problem, x=x, **settings) for x in (pixels, pixels.astype(dtype))]
    assert_bits(runs[0].params, runs[1].params)
    assert_bits(runs[0].losses, runs[1].losses)


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.usefixtures("split_units")
def test_threads_change_no_bit_of_one_sample(compiled, dtype, n_threads):
    problem = make_problem([70, 101, 130, 55, 3], "relu", samples=5, dtype=dtype, **EXTRA)
    settings = {"steps": 7, "batch_size": 1, "shuffled": True, "fill": np.nan}
    alone, shared = (
        train(compiled, problem, OPTIMIZERS["adam"], n_threads=n, **settings)
        for n in (1, n_threads)
    )
    assert shared.done == alone.done == 7
    for name in ("params", "state", "losses"):
        assert_bits(getattr(shared, name), getattr(alone, name))


@pytest.mark.parametrize("level", [name for name in compiled_names() if "cython" in name])
@pytest.mark.parametrize("network", ["primes", "all activations", "narrow then wide"])
def test_prediction_does_not_depend_on_the_other_samples(level, dtype, network):
    sizes, activations, _ = NETWORKS[network]
    kernels = load_backend(level)
    problem = make_problem(sizes, activations, "squared_error", 600, dtype)
    assert not problem.plan.layers[:, codes.WIDE].any()
    everything = forward(kernels, problem, False)
    for n in (1, 2, 3, 4, 5, 7, 9, 10, 16, 31, 32, 33, 130, 513):
        some = replace(problem, x=problem.x[:n])
        assert_bits(forward(kernels, some, False), everything[:n])


def test_gradient_of_one_sample_is_that_of_two_equal_ones(compiled, dtype):
    """Mean over the batch: a repeated sample changes nothing but the order of sums."""
    problem = make_problem([9, 60, 70, 3], "tanh", samples=1, dtype=dtype)
    loss, gradient = loss_and_grad(compiled, problem)
    problem.x, problem.targets = (np.repeat(a, 2, axis=0) for a in (problem.x, problem.targets))
    twice, other = loss_and_grad(compiled, problem)
    assert_same(loss, twice, dtype)
    assert_same(gradient, other, dtype)
