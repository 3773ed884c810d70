"""Update rules and clipping against the reference, kernel by kernel and in runs."""

from itertools import product

import numpy as np
import pytest
from helpers import (
    assert_bits,
    make_problem,
    readonly,
    train,
)
from kernel_cases import CLIPPED, OPTIMIZERS, RUNS, check_run, compare, normal

from fastnn.backends.interface import Rule


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update_matches_reference(compiled, dtype, name, rng):
    optimizer = OPTIMIZERS[name]
    cases = (0.0, optimizer.decay, 1), (0.01, 0.0, 2), (0.01, 0.2, 1000)
    for n, (l2, decay, count) in product((1, 2, 7, 31, 64, 1009), cases):
        grads, params = normal(rng, n, dtype), normal(rng, n, dtype)
        state = np.abs(normal(rng, (optimizer.n_moments, n), dtype))
        compare(
            compiled,
            "update",
            [grads],
            [
                l2,
                Rule(optimizer.rule, readonly(np.array([optimizer.constants])), decay),
                optimizer.learning_rate,
                count,
            ],
            [params, state],
        )


@pytest.mark.parametrize("run", ["full batch", "everything", "everything in order"])
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *CLIPPED])
def test_training_with_each_rule_matches_reference(compiled, dtype, optimizer, run):
    network, settings = RUNS[run]
    problem = make_problem([3, 5, 3], "tanh", samples=50, dtype=dtype, **network)
    check_run(compiled, dtype, problem, (OPTIMIZERS | CLIPPED)[optimizer], **settings)


@pytest.mark.parametrize("optimizer", CLIPPED)
def test_clipping_and_average_bits_independent_of_threads(compiled, dtype, optimizer):
    problem = make_problem([3, 40, 4], "tanh", samples=9000, dtype=dtype, l2=0.01)
    one, three = (
        train(compiled, problem, CLIPPED[optimizer], 4, batch_size=4000, n_threads=n)
        for n in (1, 3)
    )
    for name in ("losses", "params", "state"):
        assert_bits(getattr(one, name), getattr(three, name))
