"""Predictions and gradients of whole networks against the reference."""

from itertools import product

import numpy as np
import pytest
from helpers import (
    assert_bits,
    assert_same,
    forward,
    loss_and_grad,
    make_problem,
    readonly,
    train,
)
from kernel_cases import NETWORKS

from fastnn.backends import codes
from fastnn.backends import numpy as reference

VARIANTS = {
    "plain": {},
    "l2": {"l2": 0.01},
    "weights": {"weighted": True},
    "dropout": {"dropout": 0.3},
    "everything": {"l2": 0.01, "weighted": True, "dropout": 0.5},
}


# Behind the output kernel all losses are alike: the later ones need not go through every network.
CASES = [
    (network, loss)
    for network, loss in product(NETWORKS, codes.LOSSES)
    if codes.LOSSES[loss] <= codes.SQUARED_ERROR or network in ("primes", "blocks")
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("network", "loss"), CASES)
def test_loss_and_grad(compiled, dtype, network, loss, variant):
    sizes, activations, samples = NETWORKS[network]
    problem = make_problem(sizes, activations, loss, samples, dtype, **VARIANTS[variant])
    expected_value, expected = loss_and_grad(reference, problem)
    value, gradient = loss_and_grad(compiled, problem, fill=np.nan)
    assert_same(value, expected_value, dtype, least=1.0)
    for row in problem.plan.dense_rows():
        for view in (reference.weights_of, reference.biases_of):
            actual, wanted = view(row, gradient), view(row, expected)
            # A layer at a time; what vanishes beside the whole gradient is cancellation. With the
            # tolerance of float32 these are some roundings of the largest entry, times a weight
            # of 3: the derivative of a saturated tanh has the rounding error of 1.
            assert_same(actual, wanted, dtype, least=0.1 * np.abs(expected).max())


# on both sides of where each backend turns from few samples to blocks, and of its vectors' ends
@pytest.mark.parametrize(
    "samples", [1, 2, 3, 4, 5, 9, 10, 11, 12, 15, 16, 29, 30, 31, 32, 33, 130, 1031]
)
@pytest.mark.parametrize("network", NETWORKS)
def test_forward(compiled, dtype, network, samples):
    sizes, activations, _ = NETWORKS[network]
    for loss, transform in product(codes.LOSSES, (False, True)):
        problem = make_problem(sizes, activations, loss, samples, dtype)
        expected = forward(reference, problem, transform)
        assert_same(forward(compiled, problem, transform, fill=np.nan), expected, dtype)


def test_inputs_may_be_read_only(compiled):
    problem = make_problem([3, 5, 4, 2], "tanh", samples=30, l2=0.1, weighted=True, dropout=0.2)
    value, gradient = loss_and_grad(compiled, problem)
    again, same_gradient = loss_and_grad(compiled, problem, wrap=readonly)
    assert again == value
    assert_bits(same_gradient, gradient)
    assert_bits(forward(compiled, problem, True, wrap=readonly), forward(compiled, problem, True))
    for shuffled in (False, True):
        settings = {"batch_size": 7, "shuffled": shuffled}
        trained = train(compiled, problem, steps=4, **settings)
        assert_bits(
            train(compiled, problem, steps=4, wrap=readonly, **settings).params, trained.params
        )
