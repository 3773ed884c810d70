"""Threads that split the units of a layer."""

import numpy as np
import pytest
from helpers import (
    assert_same,
    loss_and_grad,
    make_problem,
)
from kernel_cases import CLIPPED, OPTIMIZERS, check_run

from fastnn.backends import codes
from fastnn.backends.tuning import tuned
from fastnn.training import optimizers


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.usefixtures("split_units")
def test_training_with_split_units_matches_reference(compiled, dtype, shuffled, sparse, n_threads):
    # threads without a unit, layers with BLAS and without; blocks that are not whole
    # and more than one part of sparse rows
    sizes, activations = [170, 100, 150, 20, 3], ["tanh", "silu", "relu"]
    for samples, batch_size in ((130, None), (300, 137), (5, None)):
        problem = make_problem(
            sizes, activations, samples=samples, dtype=dtype, l2=0.01, weighted=True, dropout=0.2
        )
        if sparse:
            problem.x[np.random.default_rng(0).random(problem.x.shape) > 0.2] = 0
        check_run(
            compiled,
            dtype,
            problem,
            optimizers.SGD(0.05),
            steps=20,
            batch_size=batch_size,
            shuffled=shuffled,
            sparse=sparse,
            n_threads=n_threads,
        )


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *CLIPPED])
@pytest.mark.usefixtures("split_units")
def test_wide_layer_updates_match_reference(compiled, optimizer, sparse):
    """Some are made while the gradient's rows are in the cache, from the last block of a batch."""
    for samples, n_threads, extra in ((90, 2, {"l2": 0.01}), (600, 1, {"dropout": 0.3})):
        sizes = [170 if sparse else 60, 110, 530, 3]
        problem = make_problem(sizes, "tanh", samples=samples, **extra)
        if sparse:
            problem.x[np.random.default_rng(0).random(problem.x.shape) > 0.2] = 0
        check_run(
            compiled,
            "float64",
            problem,
            (OPTIMIZERS | CLIPPED)[optimizer],
            steps=4,
            batch_size=50 if n_threads > 1 else None,
            sparse=sparse,
            n_threads=n_threads,
        )


def test_gradient_with_split_units_matches_reference(kernels, dtype):
    problems = []
    for limit in (0, 2**40):
        with tuned(split_units_bytes=limit):
            problems.append(make_problem([20, 60, 70, 3], samples=300, dtype=dtype, l2=0.01))
    (loss, grads), (other_loss, other_grads) = (loss_and_grad(kernels, p) for p in problems)
    assert problems[0].plan.header[codes.SPLIT_UNITS] != problems[1].plan.header[codes.SPLIT_UNITS]
    assert_same(grads, other_grads, dtype)
    assert_same(loss, other_loss, dtype)
