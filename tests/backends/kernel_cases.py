"""Networks, runs and comparisons shared by the tests of the backends."""

import numpy as np
from helpers import (
    assert_bits,
    assert_same,
    make_problem,
    readonly,
    train,
)

from fastnn.backends import codes
from fastnn.backends import numpy as reference
from fastnn.backends.tuning import Tuning
from fastnn.training import optimizers

WIDTH = Tuning().wide_layer_units


def compare(kernels, name, reads=(), numbers=(), writes=(), compiled_writes=None, least=0.0):
    """Call a kernel and its reference; compare the results and all arguments afterwards.

    The arrays in ``reads`` are passed as read-only. The arrays in ``writes`` have the same initial
    contents for both, unless ``compiled_writes`` gives the compiled kernel others (such as NaN), on
    which its result must not depend.
    """
    reads = [readonly(array) for array in reads]
    copies = [np.copy(array) for array in reads]
    expected = [array.copy() for array in writes]
    actual = [array.copy() for array in (compiled_writes or writes)]
    expected_result = getattr(reference, name)(*reads, *numbers, *expected)
    result = getattr(kernels, name)(*reads, *numbers, *actual)
    for array, copy in zip(reads, copies, strict=True):
        assert_bits(array, copy)
    for array, other in zip(actual, expected, strict=True):
        assert array.dtype == other.dtype
        assert_same(array, other, array.dtype, least=least)
    if expected_result is None:
        assert result is None
    else:
        # The loss of a confident prediction is a small difference of logits of order one.
        assert_same(result, expected_result, writes[0].dtype, least=1.0)


def nans(*arrays):
    return [np.full_like(array, np.nan) for array in arrays]


def normal(rng, shape, dtype, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(dtype)


OPTIMIZERS = {
    "sgd": optimizers.SGD(0.1),
    "momentum": optimizers.SGD(0.05, momentum=0.9),
    "nesterov": optimizers.SGD(0.05, momentum=0.8, nesterov=True),
    "adam": optimizers.Adam(0.01, beta_1=0.8, beta_2=0.99, epsilon=1e-6),
    "adamw": optimizers.AdamW(0.01, weight_decay=0.3),
    "adagrad": optimizers.AdaGrad(0.05, epsilon=1e-5),
    "rmsprop": optimizers.RMSprop(0.01, rho=0.8, epsilon=1e-5),
}


# Layer sizes, activations of the hidden layers, number of samples. Blocks have 128 to 512 samples:
# the last two cases have several blocks, and several groups of blocks, respectively.
NETWORKS = {
    "softmax regression": ([3, 4], [], 7),
    "one unit, one sample": ([1, 1, 2], ["tanh"], 1),
    "course": ([2, 3, 2], ["tanh"], 200),
    "primes": ([7, 13, 11, 5], ["relu", "sigmoid"], 31),
    "all activations": ([4, *[6] * len(codes.ACTIVATIONS), 3], list(codes.ACTIVATIONS), 37),
    "BLAS": ([WIDTH + 2, WIDTH + 5, WIDTH, 3], ["silu", "gelu"], 67),
    "many weights": ([80, 60, 9], ["elu"], 130),
    "BLAS throughout": ([53, 61, 59], ["elu"], 130),
    "narrow then wide": ([2, 1, 70, 2], ["leaky_relu", "softplus"], 129),
    "blocks": ([5, 8, 3], ["tanh"], 1291),
    "groups": ([3, 4, 2], ["gelu"], 20011),
}


RUNS = {
    "full batch": ({}, {"batch_size": None}),
    "mini-batches": ({}, {"batch_size": 16}),
    "last batch short": ({}, {"batch_size": 13}),
    "shuffled": ({}, {"batch_size": 13, "shuffled": True}),
    "one sample a step": ({}, {"batch_size": 1, "shuffled": True}),
    "everything": (
        {"l2": 0.01, "weighted": True, "dropout": 0.3},
        {"batch_size": 13, "shuffled": True},
    ),
    "everything in order": (
        {"l2": 0.01, "weighted": True, "dropout": 0.3},
        {"batch_size": 13},
    ),
}


def check_run(compiled, dtype, problem, optimizer, steps=100, n_threads=1, **settings):
    """Compare a training run with the reference.

    float64: tolerance 1e-12 after one step and 1e-8 after ``steps`` steps, since rounding errors
    grow during the run, with some draws 1e8-fold. float32, where they may grow without limit: in
    each of 20 steps, the reference starts from the state of the compiled run.
    """
    if dtype == "float64":
        for n, tolerance in ((1, 1e-12), (steps, 1e-8)):
            expected = train(reference, problem, optimizer, n, **settings)
            actual = train(
                compiled, problem, optimizer, n, fill=np.nan, n_threads=n_threads, **settings
            )
            assert actual.done == expected.done == n
            assert_same(actual.params, expected.params, dtype, atol=tolerance)
            assert_same(actual.losses, expected.losses, dtype, atol=tolerance)
            for moment, wanted in zip(actual.state, expected.state, strict=True):
                assert_same(moment, wanted, dtype, atol=tolerance)
    else:
        params, state = None, None
        for step in range(20):
            begin = {"params": params, "state": state, "first_step": step, "first_count": step}
            expected = train(reference, problem, optimizer, 1, **begin, **settings)
            settings_here = begin | settings | {"fill": np.nan, "n_threads": n_threads}
            actual = train(compiled, problem, optimizer, 1, **settings_here)
            # a loss may be a sum of terms of order one that cancel
            assert_same(actual.losses, expected.losses, dtype, least=1.0)
            assert_same(actual.params, expected.params, dtype)
            for moment, wanted in zip(actual.state, expected.state, strict=True):
                # probabilities minus targets, of order one, times a rate of 0.05 or 0.1
                assert_same(moment, wanted, dtype, least=0.01)
            params, state = actual.params, actual.state


def inactive_problem(widths, samples, dtype, shift=0.8, **extra):
    """Problem in which most ReLU units are inactive.

    Some units are inactive for all samples, some for none; the last third is seldom inactive. The
    Cython kernels use nonzero masks if few enough units are active, a decision made for groups of
    48 rows of a layer. With blocks of several hundred samples, a row has several masks.
    """
    extra["batch_size"] = samples
    problem = make_problem([9, *widths, 3], "relu", samples=samples, dtype=dtype, **extra)
    for row in problem.plan.dense_rows()[:-1]:
        biases = reference.biases_of(row, problem.params)
        biases -= shift
        biases[len(biases) * 2 // 3 :] += shift + 0.5
        biases[:3] = -100
        biases[3:5] = 2
    problem.x[samples // 2] = 0  # a sample whose first net inputs are the biases
    return problem


def share_active(problem):
    """Fraction of active units among the inputs of each wide layer, before dropout."""
    x, shares = problem.x.astype(np.float64), []
    for row in problem.plan.dense_rows()[:-1]:
        x = x @ reference.weights_of(row, problem.params) + reference.biases_of(row, problem.params)
        x = np.maximum(x, 0)
        shares.append(np.count_nonzero(x) / x.size)
    return shares[:-1]


# Widths: less than a tile; several tiles with a remainder that is not a whole vector; whole tiles.
WIDTHS = [(50, 61), (150, 210, 59), (128, 192)]


UNITS = ((1, 1), (1, 2), (2, 1), (3, 7), (5, 31), (2, 32), (4, 33), (7, 65), (3, 127), (10, 1031))


# Optimizers with clipping of the gradients, and with the moving average of the parameters.
CLIPPED = {
    "clip_norm": optimizers.SGD(0.5, clip_norm=0.1),
    "clip_value": optimizers.AdaGrad(0.05, epsilon=1e-5, clip_value=0.02),
    "average": optimizers.SGD(0.1, ema=0.8),
    "adamw, clip_norm, average": optimizers.AdamW(0.01, epsilon=1e-6, clip_norm=0.1, ema=0.9),
    "momentum, clip_value, average": optimizers.SGD(0.1, 0.9, clip_value=0.03, ema=0.7),
}


def sparse_problem(sizes, samples, dtype, density=0.2, **extra):
    """Problem with mostly zero features; a sample, a feature and a whole block are all zero."""
    problem = make_problem(sizes, "relu", samples=samples, dtype=dtype, **extra)
    problem.x[np.random.default_rng(1).random(problem.x.shape) > density] = 0
    problem.x[3] = 0
    problem.x[:, 5] = 0
    problem.x[problem.plan.block_size : 2 * problem.plan.block_size] = 0
    return problem
