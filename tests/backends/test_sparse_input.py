"""A first layer that reads sparse rows."""

import numpy as np
import pytest
from helpers import (
    assert_bits,
    assert_same,
    train,
)
from kernel_cases import OPTIMIZERS, check_run, sparse_problem

from fastnn.training import optimizers


# Units: fewer than a vector, odd numbers, whole tiles, more than one tile and a rest.
@pytest.mark.parametrize("units", [1, 3, 13, 32, 64, 77, 150])
@pytest.mark.parametrize("shuffled", [False, True])
def test_training_with_sparse_rows_matches_reference(compiled, dtype, units, shuffled):
    extra = {"l2": 0.01, "weighted": True, "dropout": 0.2}
    problem = sparse_problem([70, units, 3], 300, dtype, **extra)
    settings = {"shuffled": shuffled, "sparse": True}
    for batch_size in (None, 64, 37):
        settings["batch_size"] = batch_size
        check_run(compiled, dtype, problem, optimizers.SGD(0.05), steps=20, **settings)


@pytest.mark.parametrize("shuffled", [False, True])
def test_sparse_rows_equal_dense_rows(kernels, dtype, shuffled):
    # nothing stored and everything stored are the extremes
    for density in (0.0, 0.2, 1.0):
        problem = sparse_problem([70, 33, 3], 150, dtype, density)
        settings = {"batch_size": 40, "shuffled": shuffled, "steps": 3}
        dense = train(kernels, problem, **settings)
        sparse = train(kernels, problem, **settings, sparse=True, fill=np.nan)
        assert_same(sparse.params, dense.params, dtype)
        assert_same(sparse.losses, dense.losses, dtype)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.usefixtures("division")
def test_sparse_bits_independent_of_threads_and_workspace(compiled, dtype, shuffled):
    problem = sparse_problem([290, 150, 53, 3], 700, dtype, dropout=0.2)
    settings = {"steps": 4, "batch_size": 390, "shuffled": shuffled, "sparse": True}
    alone = train(compiled, problem, OPTIMIZERS["adam"], **settings)
    shared = train(compiled, problem, OPTIMIZERS["adam"], n_threads=3, fill=np.nan, **settings)
    assert_bits(shared.params, alone.params)
    assert_bits(shared.losses, alone.losses)
