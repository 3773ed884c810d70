"""Wide layers that skip inactive ReLU units."""

import numpy as np
import pytest
from helpers import (
    assert_bits,
    assert_same,
    forward,
    loss_and_grad,
    train,
)
from kernel_cases import OPTIMIZERS, WIDTHS, check_run, inactive_problem, share_active

from fastnn.backends import codes
from fastnn.backends import numpy as reference
from fastnn.training import optimizers


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.usefixtures("division")
def test_training_with_inactive_units_matches_reference(compiled, dtype, widths, shuffled):
    for samples, batch_size, extra in (
        (300, 137, {"dropout": 0.2, "weighted": True, "l2": 0.01}),
        (530, None, {}),
        (5, None, {}),
    ):
        problem = inactive_problem(widths, samples, dtype, **extra)
        assert max(share_active(problem)) < 0.5
        if problem.plan.header[codes.SPLIT_UNITS] and samples > 5:
            assert problem.plan.block_size > 4 * 64
        settings = {"batch_size": batch_size, "shuffled": shuffled, "n_threads": 2}
        check_run(compiled, dtype, problem, optimizers.SGD(0.02), steps=20, **settings)


# both ways in one layer (36 to 85% of each 48 rows are on, and zeros are skipped below 75%), all
# skipped, a layer of which hardly anything is on, and as many inputs as there is room for
@pytest.mark.parametrize(
    ("widths", "shift"),
    [((200, 150, 70), -1.0), ((200, 150, 70), 0.2), ((200, 150, 70), 100.0), ((1024, 50), 1.5)],
    ids=str,
)
@pytest.mark.usefixtures("division")
def test_gradient_and_predictions_with_inactive_units(compiled, dtype, widths, shift):
    problem = inactive_problem(widths, 200, dtype, shift)
    expected_value, expected = loss_and_grad(reference, problem)
    value, gradient = loss_and_grad(compiled, problem, fill=np.nan)
    assert_same(value, expected_value, dtype, least=1.0)
    assert_same(gradient, expected, dtype, least=1e-3 * np.abs(expected).max())
    expected = forward(reference, problem, True)
    assert_same(forward(compiled, problem, True, fill=np.nan), expected, dtype)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.usefixtures("division")
def test_inactive_units_bits_independent_of_threads_and_workspace(compiled, dtype, shuffled):
    problem = inactive_problem((290, 150, 53), 700, dtype, dropout=0.2)
    settings = {"steps": 4, "batch_size": 390, "shuffled": shuffled}
    alone = train(compiled, problem, OPTIMIZERS["adam"], **settings)
    for n_threads, fill in ((1, np.inf), (2, np.nan), (3, 1e30)):
        other = train(
            compiled, problem, OPTIMIZERS["adam"], n_threads=n_threads, fill=fill, **settings
        )
        assert_bits(other.params, alone.params)
        assert_bits(other.losses, alone.losses)


@pytest.mark.parametrize("period", [2, 4, 5, 7])
@pytest.mark.usefixtures("split_units")
def test_zeros_are_skipped_in_the_same_groups_of_rows_by_any_number_of_threads(
    compiled, dtype, period
):
    """Pieces that threads take may begin within a group; whether it has enough zeros must not.

    In each ``period``-th run of 16 units none is active, in the others nearly all are.
    """
    if compiled.NAME == "numba" or compiled.level == "baseline":
        pytest.skip("BLAS multiplies: not promised")
    problem = inactive_problem((290, 150), 700, dtype)
    biases = reference.biases_of(problem.plan.dense_rows()[0], problem.params)
    biases[:] = np.where(np.arange(290) // 16 % period, 2, -100)
    alone = train(compiled, problem, OPTIMIZERS["adam"], steps=2, batch_size=390)
    for n_threads in (2, 3, 4):
        other = train(
            compiled, problem, OPTIMIZERS["adam"], steps=2, batch_size=390, n_threads=n_threads
        )
        assert_bits(other.params, alone.params)
