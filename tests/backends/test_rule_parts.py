"""Parts of the parameters with rates of their own, and factors of the features."""

import numpy as np
import pytest
from helpers import assert_bits, assert_same, make_problem, train

from fastnn.backends import numpy as reference
from fastnn.backends.interface import Rule
from fastnn.training.optimizers import Adam, AdamW


class Parts:
    """Stands for an optimizer whose rule has parts, and factors of the features if wanted."""

    def __init__(self, optimizer, problem, front):
        self.optimizer, self.problem, self.front = optimizer, problem, None
        self.n_moments, self.learning_rate = optimizer.n_moments, optimizer.learning_rate
        layers = problem.plan.layers
        rng = np.random.default_rng(0)
        self.constants = np.tile(optimizer.constants, (2 * len(layers) + 1, 1))
        self.constants[:, 2] *= rng.uniform(1, 10, len(self.constants))
        self.constants[:, 6] = rng.uniform(0.2, 3, len(self.constants))
        if front:
            features, units = problem.plan.first_layer
            self.front = np.zeros((features, units + 3), problem.dtype)
            s = rng.uniform(-2, 2, features).astype(problem.dtype)
            w = reference.weights_of(layers[0], problem.params)
            self.front[:, :-3], self.front[:, -3] = w, s
            w *= s[:, None]

    def for_kernels(self):
        self.used = np.empty((0, 0), np.float32) if self.front is None else self.front.copy()
        return Rule(self.optimizer.rule, self.constants, self.optimizer.decay, self.used)


SIZES = {"narrow": [5, 7, 4, 3], "wide": [70, 60, 50, 3]}
# epsilon: a rounding error of a gradient that cancels must not be a large part of a step
CASES = {
    "adam": (Adam(0.01, epsilon=1e-4), {}),
    "adamw, l2": (AdamW(0.01, epsilon=1e-4, weight_decay=0.1), {"l2": 0.02}),
}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("front", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("case", CASES)
def test_rule_parts_match_reference(compiled, dtype, division, case, sizes, front, sparse):
    optimizer, extra = CASES[case]
    problem = make_problem(SIZES[sizes], "selu", samples=300, dtype=dtype, batch_size=100, **extra)
    results = []
    for kernels in (reference, compiled):
        rule = Parts(optimizer, problem, front)
        settings = {"batch_size": 100, "shuffled": True, "sparse": sparse}
        run = train(kernels, problem, rule, 3, **settings)
        results.append((run.losses, run.params, run.state, rule.used))
        if front:
            w = reference.weights_of(problem.plan.layers[0], run.params)
            np.testing.assert_array_equal(rule.used[:, :-3] * rule.used[:, -3:-2], w)
            problem.params[: w.size] = rule.front[:, :-3].ravel()
    for actual, wanted in zip(results[1], results[0], strict=True):
        assert_same(actual, wanted, dtype, least=0.1)


@pytest.mark.parametrize("sizes", SIZES)
def test_rule_parts_bits_independent_of_threads(compiled, dtype, division, sizes):
    problem = make_problem(SIZES[sizes], "mish", samples=2000, dtype=dtype)
    rule = Parts(Adam(0.01), problem, True)
    one, three = (train(compiled, problem, rule, 4, batch_size=1000, n_threads=n) for n in (1, 3))
    for name in ("losses", "params", "state"):
        assert_bits(getattr(one, name), getattr(three, name))


@pytest.mark.parametrize("sizes", SIZES)
def test_equal_rule_parts_equal_one_rule(kernels, dtype, sizes):
    """Rows that are all alike change no bit."""
    problem = make_problem(SIZES[sizes], "tanh", samples=50, dtype=dtype)
    rule = Parts(Adam(0.01), problem, False)
    rule.constants[:] = rule.constants[0]
    rule.constants[:, [2, 6]] = rule.optimizer.epsilon, 1.0
    parts, plain = (train(kernels, problem, each, 3) for each in (rule, rule.optimizer))
    assert_bits(parts.params, plain.params)
