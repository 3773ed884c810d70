"""Subnormal numbers: the kernels compute with zeros instead, the caller's arithmetic stays."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from helpers import forward, make_problem, readonly, train

from fastnn.training.optimizers import SGD, Adam


def subnormal(x):
    return (x != 0) & (np.abs(x) < np.finfo(x.dtype).tiny)


def keeps_subnormals(dtype):
    """Whether arithmetic of this thread knows subnormal numbers."""
    tiny, four = np.array([np.finfo(dtype).tiny]), np.array([4], dtype)
    quarter = tiny / four
    return quarter.dtype == dtype and bool(quarter > 0) and bool(quarter * four == tiny)


@pytest.fixture
def problem(dtype, rng):
    """A network whose first two inputs are constant zeros: their weights change by L2 alone."""
    problem = make_problem([4, 5, 3], "relu", samples=70, dtype=dtype, l2=0.5)
    x = problem.x.copy()
    x[:, :2] = 0
    return replace(problem, x=readonly(x))


@pytest.mark.parametrize(
    "optimizer", [SGD(learning_rate=1.0), Adam(learning_rate=0.5)], ids=["sgd", "adam"]
)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_decayed_weights_and_moments_become_zero(kernels, problem, dtype, optimizer, n_threads):
    if kernels.NAME == "numpy" and n_threads > 1:
        pytest.skip("one thread")
    first_inputs = slice(0, 10)
    params = problem.params.copy()
    params[first_inputs] *= np.finfo(dtype).tiny * 8  # subnormal after some steps
    state = np.zeros((optimizer.n_moments, len(params)), dtype)
    state[:, :10] = np.finfo(dtype).tiny * 8
    # NumPy's backend clears them after the 64th update
    result = train(
        kernels, problem, optimizer, 12, params=params, state=state, n_threads=n_threads,
        first_count=52,
    )  # fmt: skip
    assert result.done == 12
    assert not subnormal(result.params).any()
    assert not subnormal(result.state).any()
    if optimizer.n_moments == 0:
        assert (np.abs(result.params[first_inputs]) < np.finfo(dtype).tiny * 8).all()
    assert keeps_subnormals(dtype)


def test_predictions_treat_subnormals_as_zero(kernels, problem, dtype):
    """Weights that are subnormal, times an input that would bring them back."""
    x = np.full_like(problem.x, np.finfo(dtype).max ** 0.5)
    params = np.full_like(problem.params, np.finfo(dtype).tiny / 16)
    problem = replace(problem, x=readonly(x), params=readonly(params))
    out = forward(kernels, problem, transform=False)
    if kernels.NAME == "numpy":  # NumPy has no way to set the processor's mode
        assert (out >= 0).all()
    else:
        assert (out == 0).all()
    assert keeps_subnormals(dtype)


def test_mode_of_other_threads_is_restored(compiled, problem, dtype):
    """A thread of the caller's own, which has computed with subnormal numbers before."""
    seen = []

    def work():
        seen.append(keeps_subnormals(dtype))
        train(compiled, problem, SGD(learning_rate=0.1), 3)
        forward(compiled, problem, transform=True)
        seen.append(keeps_subnormals(dtype))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True, True]
