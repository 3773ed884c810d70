"""Each compiled backend against the reference: kernel by kernel, then whole runs."""

import inspect
import re
import zlib
from functools import partial
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import (
    ALPHAS,
    DTYPES,
    LOSS_CONSTANTS,
    assert_bits,
    assert_same,
    forward,
    load_backend,
    loss_and_grad,
    make_problem,
    readonly,
    train,
)
from threadpoolctl import threadpool_limits

import fastnn.backends.plan
from fastnn.backends import codes
from fastnn.backends import numpy as reference
from fastnn.backends.interface import Rule
from fastnn.backends.plan import (
    ALIGNMENT,
    BLAS_WIDTH,
    MAX_GROUPS,
    aligned_empty,
    aligned_zeros,
    make_plan,
)
from fastnn.training import optimizers

# fan_in, fan_out, samples: one of each, primes, more than a vector or a tile and not a multiple
# of it, both sides of the width from which BLAS is called.
SHAPES = (
    (1, 1, 1),
    (2, 3, 1),
    (1, 7, 5),
    (3, 2, 31),
    (5, 4, 33),
    (13, 17, 129),
    (64, 1, 3),
    (BLAS_WIDTH, BLAS_WIDTH - 1, 65),
    (BLAS_WIDTH + 1, BLAS_WIDTH, 64),
    (101, 97, 37),
    (300, 11, 600),
    (261, 109, 530),  # beyond what is done at a time, in each direction
    (64, 521, 290),
    (150, 1024, 35),  # rows a page apart
)
UNITS = ((1, 1), (1, 2), (2, 1), (3, 7), (5, 31), (2, 32), (4, 33), (7, 65), (3, 127), (10, 1031))


def compare(kernels, name, reads=(), numbers=(), writes=(), compiled_writes=None, least=0.0):
    """Call a kernel as the reference does; compare what it returns and all its arguments.

    The arrays that are read are read-only; those written hold the same at the start, or NaN for
    the compiled kernel (``compiled_writes``) where the old contents must not matter.
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
        # the loss of a sure prediction is the difference of logits of order one
        assert_same(result, expected_result, writes[0].dtype, least=1.0)


def nans(*arrays):
    return [np.full_like(array, np.nan) for array in arrays]


def normal(rng, shape, dtype, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(dtype)


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


@pytest.fixture
def rng(request):
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


# --- layer kernels ----------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dense_kernels(compiled, dtype, shape, rng):
    fan_in, fan_out, samples = shape
    x = normal(rng, (fan_in, samples), dtype)
    w = normal(rng, (fan_in, fan_out), dtype, fan_in**-0.5)
    b = normal(rng, fan_out, dtype)
    dz = normal(rng, (fan_out, samples), dtype, 1 / samples)
    out, dx = np.empty_like(dz), np.empty_like(x)
    compare(compiled, "dense_forward", [x, w, b], writes=[out], compiled_writes=nans(out))
    compare(compiled, "dense_backward_inputs", [w, dz], writes=[dx], compiled_writes=nans(dx))
    compare(
        compiled,
        "dense_backward_params",
        [x, dz],
        [False],
        writes=[w, b],
        compiled_writes=nans(w, b),
    )
    compare(compiled, "dense_backward_params", [x, dz], [True], writes=[w, b])


@pytest.mark.parametrize("shape", UNITS, ids=str)
@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
def test_activation_kernels(compiled, dtype, activation, shape, rng):
    code, alpha = codes.ACTIVATIONS[activation], ALPHAS.get(activation, 0.0)
    z = normal(rng, shape, dtype, 3.0)
    z.flat[0] = 0.0
    a = np.empty_like(z)
    compare(compiled, "activation_forward", [z], [code, alpha], writes=[a], compiled_writes=nans(a))
    reference.activation_forward(z, code, alpha, a)
    compare(compiled, "activation_backward", [z, a], [code, alpha], [normal(rng, shape, dtype)])
    if code not in codes.NEEDS_NET_INPUT:
        apart, in_place = np.empty_like(z), z.copy()
        compiled.activation_forward(z, code, alpha, apart)
        compiled.activation_forward(in_place, code, alpha, in_place)
        assert_bits(in_place, apart)


@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
def test_activation_kernels_at_extremes(compiled, dtype, activation):
    code, alpha = codes.ACTIVATIONS[activation], ALPHAS.get(activation, 0.0)
    ends = np.array([1e-30, 1e-4, 1.0, 20.0, 90.0, 104.0, 710.0, 745.0, 1e4, 1e30])
    z = np.concatenate([-ends, ends, [0.0]]).astype(dtype)[None]
    a = np.empty_like(z)
    expected = np.empty_like(z)
    with np.errstate(over="ignore", under="ignore"):
        # gelu'(z) squares z
        reference.activation_forward(z, code, alpha, expected)
        compiled.activation_forward(z, code, alpha, a)
        rtol = {"float32": 1.3e-6, "float64": 1e-12}[dtype]
        tiny = np.finfo(dtype).tiny  # denormal numbers have few digits
        # float32's gelu falls off within ULPs of z: compared where it is not denormal
        np.testing.assert_allclose(a, expected, rtol=200 * rtol, atol=tiny)
        if activation != "gelu" or dtype == "float64":
            np.testing.assert_allclose(a, expected, rtol=rtol, atol=tiny)
        da, expected_da = np.ones_like(z), np.ones_like(z)
        reference.activation_backward(z, expected, code, alpha, expected_da)
        compiled.activation_backward(z, expected, code, alpha, da)
    assert np.isfinite(da).all()
    np.testing.assert_allclose(
        da, expected_da, rtol=rtol, atol={"float32": 1e-7, "float64": 1e-15}[dtype]
    )


@pytest.mark.parametrize("shape", UNITS, ids=str)
def test_dropout_kernels(compiled, dtype, shape, rng):
    for rate, first in product((0.0, 0.1, 0.5, 0.9), (0, 3, 512)):
        x = normal(rng, shape, dtype)
        key = reference.stream(7, codes.STREAM_DROPOUT + 1, first)
        numbers = [rate, key, first]
        out = np.empty_like(x)
        compare(compiled, "dropout_forward", [x], numbers, [out], compiled_writes=nans(out))
        compare(compiled, "dropout_backward", [], numbers, [x])
        expected = np.empty_like(x)
        reference.dropout_forward(x, rate, key, first, expected)
        compiled.dropout_forward(x, rate, key, first, out)
        assert_bits(out == 0, expected == 0)  # the same units, whatever the rounding


LOSS_CASES = [(loss, False) for loss in codes.LOSSES]
LOSS_CASES += [("cross_entropy", True), ("binary_cross_entropy", True)]


@pytest.mark.parametrize("shape", UNITS, ids=str)
@pytest.mark.parametrize(("loss", "smoothed"), LOSS_CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_output_kernels(compiled, dtype, loss, smoothed, weighted, shape, rng):
    code, (units, samples) = codes.LOSSES[loss], shape
    smoothing = 0.2 if smoothed else 0.0
    constant = LOSS_CONSTANTS.get(loss, smoothing)
    logits = normal(rng, shape, dtype, 3.0)
    if loss == "cross_entropy":
        targets = rng.integers(0, units, (1, samples)).astype(dtype)
    elif loss == "binary_cross_entropy":
        targets = rng.integers(0, 2, shape).astype(dtype)
    elif loss == "poisson":
        logits, targets = logits / 3, rng.poisson(2.0, shape).astype(dtype)
    else:
        targets = normal(rng, shape, dtype)
    weights = rng.uniform(0, 2, samples if weighted else 0).astype(dtype)
    out = np.empty_like(logits)
    compare(
        compiled,
        "output_loss",
        [logits, targets, weights],
        [code, constant, 1.0 / samples],
        [out],
        compiled_writes=nans(out),
        # a derivative is (p - y) times weight / samples: small where p is near y
        least=weights.max(initial=0.0 if weighted else 1.0) / samples,
    )
    compare(compiled, "output_transform", [], [code], [logits])
    in_place = logits.copy()
    apart_value = compiled.output_loss(logits, targets, weights, code, constant, 0.5, out)
    assert apart_value == compiled.output_loss(
        in_place, targets, weights, code, constant, 0.5, in_place
    )
    assert_bits(in_place, out)


# exp(1e4) is infinity, as the next test has it
@pytest.mark.parametrize("loss", [name for name in codes.LOSSES if name != "poisson"])
def test_output_kernels_at_extremes(kernels, dtype, loss):
    # logits +-1e4 in every combination of three outputs
    logits = np.array(list(product((-1e4, 0.0, 1e4), repeat=3)), dtype).T.copy()
    samples, code = logits.shape[1], codes.LOSSES[loss]
    if loss == "cross_entropy":
        targets = (np.arange(samples, dtype=dtype) % 3)[None]
    else:
        targets = np.zeros_like(logits)
        targets[1] = 1
    derivative = np.full_like(logits, np.nan)
    constant = LOSS_CONSTANTS.get(loss, 0.0)
    value = kernels.output_loss(
        logits, targets, np.empty(0, dtype), code, constant, 1.0, derivative
    )
    # by hand, in float64
    z, t = logits.astype(np.float64), targets.astype(np.float64)
    if loss == "cross_entropy":
        top = z.max(axis=0)
        ties = (z == top).sum(axis=0)  # others are exp(-1e4) = 0 beside the largest
        each = np.log(ties) + top - z[t[0].astype(int), np.arange(samples)]
        p = (z == top) / ties
        slope = p - (np.arange(3)[:, None] == t)
    elif loss == "binary_cross_entropy":
        p = np.where(z > 0, 1.0, np.where(z < 0, 0.0, 0.5))
        each = np.maximum(z, 0) + np.where(z == 0, np.log(2), 0) - t * z
        slope = p - t
    elif loss == "squared_error":
        p, each, slope = z, 0.5 * (z - t) ** 2, z - t
    elif loss == "huber":  # all far from the target or, with z = t = 0 and |z - t| = 1, beyond 0.6
        p, each = z, np.where(z == t, 0, 0.6 * (abs(z - t) - 0.3))
        slope = 0.6 * np.sign(z - t)
    else:
        up, down = (0.7, 0.3) if loss == "quantile" else (1.0, 1.0)
        p, slope = z, np.where(z > t, up, np.where(z < t, -down, 0))
        each = slope * (z - t)
    assert_same(value, each.sum(), dtype)
    assert_same(derivative, slope, dtype)
    out = logits.copy()
    kernels.output_transform(code, out)
    assert_same(out, p, dtype)


def test_poisson_overflows_to_infinity(kernels, dtype):
    logits = np.array([[-1e4, 0.0, 1e4]], dtype)
    derivative = np.empty_like(logits)
    arguments = np.zeros_like(logits), np.empty(0, dtype), codes.POISSON, 0.0, 1.0, derivative
    with np.errstate(over="ignore"):
        assert kernels.output_loss(logits, *arguments) == np.inf
        kernels.output_transform(codes.POISSON, logits)
    np.testing.assert_array_equal(derivative, [[0, 1, np.inf]])
    np.testing.assert_array_equal(logits, [[0, 1, np.inf]])


OPTIMIZERS = {
    "sgd": optimizers.SGD(0.1),
    "momentum": optimizers.SGD(0.05, momentum=0.9),
    "nesterov": optimizers.SGD(0.05, momentum=0.8, nesterov=True),
    "adam": optimizers.Adam(0.01, beta_1=0.8, beta_2=0.99, epsilon=1e-6),
    "adamw": optimizers.AdamW(0.01, weight_decay=0.3),
    "adagrad": optimizers.AdaGrad(0.05, epsilon=1e-5),
    "rmsprop": optimizers.RMSprop(0.01, rho=0.8, epsilon=1e-5),
}


@pytest.mark.parametrize("n", [1, 2, 7, 31, 64, 1009])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update_kernel(compiled, dtype, name, n, rng):
    optimizer = OPTIMIZERS[name]
    for l2, decay, count in ((0.0, optimizer.decay, 1), (0.01, 0.0, 2), (0.01, 0.2, 1000)):
        grads, params = normal(rng, n, dtype), normal(rng, n, dtype)
        state = np.abs(normal(rng, (optimizer.n_moments, n), dtype))
        compare(
            compiled,
            "update",
            [grads],
            [
                l2,
                Rule(optimizer.rule, readonly(np.array(optimizer.constants)), decay),
                optimizer.learning_rate,
                count,
            ],
            [params, state],
        )


@pytest.mark.parametrize("samples", [1, 2, 3, 17, 1000])
def test_shuffle_kernel(compiled, samples):
    for seed, epoch in product((0, 1, 2**31 - 2), (0, 1, 12345)):
        expected, order = np.empty(samples, np.int64), np.full(samples, -1)
        reference.shuffle(seed, epoch, expected)
        compiled.shuffle(seed, epoch, order)
        assert_bits(order, expected)


# --- networks: one step ---------------------------------------------------------------

# Sizes, hidden activations (mixed where there are several), samples. Blocks have 128 to 512
# samples: the last ones have several blocks, and several groups of blocks.
NETWORKS = {
    "softmax regression": ([3, 4], [], 7),
    "one unit, one sample": ([1, 1, 2], ["tanh"], 1),
    "course": ([2, 3, 2], ["tanh"], 200),
    "primes": ([7, 13, 11, 5], ["relu", "sigmoid"], 31),
    "all activations": ([4, *[6] * 9, 3], list(codes.ACTIVATIONS), 37),
    "BLAS": ([BLAS_WIDTH + 2, BLAS_WIDTH + 5, BLAS_WIDTH, 3], ["silu", "gelu"], 67),
    "many weights": ([80, 60, 9], ["elu"], 130),
    "BLAS throughout": ([53, 61, 59], ["elu"], 130),
    "narrow then wide": ([2, 1, 70, 2], ["leaky_relu", "softplus"], 129),
    "blocks": ([5, 8, 3], ["tanh"], 1291),
    "groups": ([3, 4, 2], ["gelu"], 20011),
}
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
            # a layer at a time; what vanishes beside the whole gradient is cancellation
            assert_same(actual, wanted, dtype, least=1e-3 * np.abs(expected).max())


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


# --- networks: whole runs -------------------------------------------------------------

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
    """A run against the reference.

    float64: 1e-12 after one step, 1e-9 after 100 (a step's rounding errors grow along the run).
    float32, where they may grow to anything: the tolerance holds for each of 20 steps that the
    reference does from where the compiled run stands.
    """
    if dtype == "float64":
        for n, tolerance in ((1, 1e-12), (steps, 1e-9)):
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
            assert_same(actual.losses, expected.losses, dtype)
            assert_same(actual.params, expected.params, dtype)
            for moment, wanted in zip(actual.state, expected.state, strict=True):
                assert_same(moment, wanted, dtype)
            params, state = actual.params, actual.state


@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
def test_run_with_each_activation(compiled, dtype, activation):
    problem = make_problem([3, 5, 4, 3], activation, samples=50, dtype=dtype)
    check_run(compiled, dtype, problem, OPTIMIZERS["sgd"], batch_size=16, shuffled=True)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("loss", codes.LOSSES)
def test_run_with_each_loss(compiled, dtype, loss, run):
    network, settings = RUNS[run]
    problem = make_problem([3, 5, 3], "tanh", loss, samples=50, dtype=dtype, **network)
    check_run(compiled, dtype, problem, optimizers.SGD(0.05), **settings)


# With gradients clipped, and an average of the parameters.
CLIPPED = {
    "clip_norm": optimizers.SGD(0.5, clip_norm=0.1),
    "clip_value": optimizers.AdaGrad(0.05, epsilon=1e-5, clip_value=0.02),
    "average": optimizers.SGD(0.1, ema=0.8),
    "adamw, clip_norm, average": optimizers.AdamW(0.01, epsilon=1e-6, clip_norm=0.1, ema=0.9),
    "momentum, clip_value, average": optimizers.SGD(0.1, 0.9, clip_value=0.03, ema=0.7),
}


@pytest.mark.parametrize("run", ["full batch", "everything", "everything in order"])
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *CLIPPED])
def test_run_with_each_rule(compiled, dtype, optimizer, run):
    network, settings = RUNS[run]
    problem = make_problem([3, 5, 3], "tanh", samples=50, dtype=dtype, **network)
    check_run(compiled, dtype, problem, (OPTIMIZERS | CLIPPED)[optimizer], **settings)


@pytest.mark.parametrize("optimizer", CLIPPED)
def test_clipping_and_average_do_not_depend_on_threads(compiled, dtype, optimizer):
    problem = make_problem([3, 40, 4], "tanh", samples=9000, dtype=dtype, l2=0.01)
    one, three = (
        train(compiled, problem, CLIPPED[optimizer], 4, batch_size=4000, n_threads=n)
        for n in (1, 3)
    )
    for name in ("losses", "params", "state"):
        assert_bits(getattr(one, name), getattr(three, name))


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("network", ["softmax regression", "BLAS", "blocks", "groups"])
def test_run_with_blocks_and_blas(compiled, dtype, network, shuffled):
    sizes, activations, samples = NETWORKS[network]
    problem = make_problem(sizes, activations, samples=samples, dtype=dtype, dropout=0.2)
    # the last batch has fewer blocks and groups than the others
    batch_size = samples * 2 // 3
    settings = {"batch_size": batch_size, "shuffled": shuffled}
    check_run(compiled, dtype, problem, OPTIMIZERS["momentum"], steps=20, **settings)


def test_blocks_and_groups_are_reached():
    # what the names in NETWORKS promise
    blocks = make_problem(*NETWORKS["blocks"][:2], samples=1)
    assert NETWORKS["blocks"][2] > 2 * blocks.plan.block
    groups = make_problem(*NETWORKS["groups"][:2], samples=1)
    assert groups.plan.groups == MAX_GROUPS
    assert NETWORKS["groups"][2] * 2 // 3 > (MAX_GROUPS + 1) * groups.plan.block
    wide = make_problem(*NETWORKS["BLAS"][:2], samples=1)
    assert wide.plan.layers[:, codes.BLAS].tolist() == [1, 1, 0]


def sparse_problem(sizes, samples, dtype, density=0.2, **extra):
    """Mostly zeros, with a sample, a feature and a whole block of nothing else."""
    problem = make_problem(sizes, "relu", samples=samples, dtype=dtype, **extra)
    problem.x[np.random.default_rng(1).random(problem.x.shape) > density] = 0
    problem.x[3] = 0
    problem.x[:, 5] = 0
    problem.x[problem.plan.block : 2 * problem.plan.block] = 0
    return problem


# Units: fewer than a vector, odd numbers, whole tiles, more than one tile and a rest.
@pytest.mark.parametrize("units", [1, 3, 13, 32, 64, 77, 150])
@pytest.mark.parametrize("shuffled", [False, True])
def test_run_with_sparse_rows(compiled, dtype, units, shuffled):
    extra = {"l2": 0.01, "weighted": True, "dropout": 0.2}
    problem = sparse_problem([70, units, 3], 300, dtype, **extra)
    settings = {"shuffled": shuffled, "sparse": True}
    for batch_size in (None, 64, 37):
        settings["batch_size"] = batch_size
        check_run(compiled, dtype, problem, optimizers.SGD(0.05), steps=20, **settings)


@pytest.mark.parametrize("shuffled", [False, True])
def test_sparse_rows_are_the_same_numbers(kernels, dtype, shuffled):
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
def test_threads_and_rubbish_change_no_bit_of_sparse_runs(compiled, dtype, shuffled):
    problem = sparse_problem([290, 150, 53, 3], 700, dtype, dropout=0.2)
    settings = {"steps": 4, "batch_size": 390, "shuffled": shuffled, "sparse": True}
    alone = train(compiled, problem, OPTIMIZERS["adam"], **settings)
    shared = train(compiled, problem, OPTIMIZERS["adam"], n_threads=3, fill=np.nan, **settings)
    assert_bits(shared.params, alone.params)
    assert_bits(shared.losses, alone.losses)


# --- wide layers whose inputs are often zero ------------------------------------------


def off_problem(widths, samples, dtype, shift=0.8, **extra):
    """Of the relu units most are off, some always, some never; the last third seldom.

    The Cython kernels mark what is on where it is little enough, and by 48 rows of a layer. With
    blocks of several hundred samples a row has several marks.
    """
    extra["batch_size"] = samples
    problem = make_problem([9, *widths, 3], "relu", samples=samples, dtype=dtype, **extra)
    for row in problem.plan.dense_rows()[:-1]:
        biases = reference.biases_of(row, problem.params)
        biases -= shift
        biases[len(biases) * 2 // 3 :] += shift + 0.5
        biases[:3] = -100
        biases[3:5] = 2
    problem.x[samples // 2] = 0  # there only the biases count
    return problem


def share_on(problem):
    """Of each wide layer's inputs, before dropout."""
    x, shares = problem.x.astype(np.float64), []
    for row in problem.plan.dense_rows()[:-1]:
        x = x @ reference.weights_of(row, problem.params) + reference.biases_of(row, problem.params)
        x = np.maximum(x, 0)
        shares.append(np.count_nonzero(x) / x.size)
    return shares[:-1]


# Widths: less than a tile, no whole vectors, several tiles and parts and a rest, whole tiles.
WIDTHS = [(50, 61), (150, 210, 59), (128, 192)]


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.usefixtures("division")
def test_run_with_units_that_are_off(compiled, dtype, widths, shuffled):
    for samples, batch_size, extra in (
        (300, 137, {"dropout": 0.2, "weighted": True, "l2": 0.01}),
        (530, None, {}),
        (5, None, {}),
    ):
        problem = off_problem(widths, samples, dtype, **extra)
        assert max(share_on(problem)) < 0.5
        if problem.plan.header[codes.SHARED] and samples > 5:
            assert problem.plan.block > 4 * 64
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
def test_gradient_and_predictions_with_units_that_are_off(compiled, dtype, widths, shift):
    problem = off_problem(widths, 200, dtype, shift)
    expected_value, expected = loss_and_grad(reference, problem)
    value, gradient = loss_and_grad(compiled, problem, fill=np.nan)
    assert_same(value, expected_value, dtype, least=1.0)
    assert_same(gradient, expected, dtype, least=1e-3 * np.abs(expected).max())
    expected = forward(reference, problem, True)
    assert_same(forward(compiled, problem, True, fill=np.nan), expected, dtype)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.usefixtures("division")
def test_threads_and_rubbish_change_no_bit_with_units_off(compiled, dtype, shuffled):
    problem = off_problem((290, 150, 53), 700, dtype, dropout=0.2)
    settings = {"steps": 4, "batch_size": 390, "shuffled": shuffled}
    alone = train(compiled, problem, OPTIMIZERS["adam"], **settings)
    for n_threads, rubbish in ((1, np.inf), (2, np.nan), (3, 1e30)):
        other = train(
            compiled, problem, OPTIMIZERS["adam"], n_threads=n_threads, fill=rubbish, **settings
        )
        assert_bits(other.params, alone.params)
        assert_bits(other.losses, alone.losses)


# --- networks whose units the threads share out ---------------------------------------


@pytest.fixture(params=["blocks", "units"])
def division(request, monkeypatch):
    """What the threads share out: small networks their samples, large ones their units.

    With units, the threads of BLAS would cut the products once more, and elsewhere.
    """
    if request.param == "units":
        monkeypatch.setattr(fastnn.backends.plan, "SHARED_BYTES", 0)
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
def test_run_with_shared_units(compiled, dtype, shuffled, sparse, n_threads, monkeypatch):
    monkeypatch.setattr(fastnn.backends.plan, "SHARED_BYTES", 0)
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
def test_updates_of_wide_layers(compiled, optimizer, sparse, monkeypatch):
    """Some are made while the gradient's rows are in the cache, from the last block of a batch."""
    monkeypatch.setattr(fastnn.backends.plan, "SHARED_BYTES", 0)
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


def test_gradient_with_shared_units(kernels, dtype, monkeypatch):
    problems = []
    for limit in (0, 2**40):
        monkeypatch.setattr(fastnn.backends.plan, "SHARED_BYTES", limit)
        problems.append(make_problem([20, 60, 70, 3], samples=300, dtype=dtype, l2=0.01))
    (loss, grads), (other_loss, other_grads) = (loss_and_grad(kernels, p) for p in problems)
    assert problems[0].plan.header[codes.SHARED] != problems[1].plan.header[codes.SHARED]
    assert_same(grads, other_grads, dtype)
    assert_same(loss, other_loss, dtype)


# --- bits ---------------------------------------------------------------------------


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("network", ["course", "BLAS", "blocks", "all activations"])
@pytest.mark.usefixtures("division")
def test_scratch_memory_means_nothing(kernels, dtype, network, shuffled):
    sizes, activations, samples = NETWORKS[network]
    problem = make_problem(
        sizes, activations, samples=samples, dtype=dtype, l2=0.01, dropout=0.2, weighted=True
    )
    settings = {"steps": 5, "batch_size": samples * 2 // 3, "shuffled": shuffled}
    clean = train(kernels, problem, **settings)
    for rubbish in (np.nan, np.inf, 1e30):
        dirty = train(kernels, problem, **settings, fill=rubbish)
        assert_bits(dirty.params, clean.params)
        assert_bits(dirty.losses, clean.losses)
        assert_bits(
            loss_and_grad(kernels, problem, fill=rubbish)[1], loss_and_grad(kernels, problem)[1]
        )
        assert_bits(forward(kernels, problem, True, fill=rubbish), forward(kernels, problem, True))


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.usefixtures("division")
def test_threads_change_no_bit(compiled, dtype, shuffled, optimizer, n_threads):
    # odd numbers of parameters: their shares end in the middle of a vector
    sizes, activations, samples = [5, 29, 53, 50, 3], "tanh", 3001
    for extra in ({}, {"l2": 0.01, "weighted": True, "dropout": 0.3}):
        problem = make_problem(sizes, activations, samples=samples, dtype=dtype, **extra)
        settings = {"steps": 4, "batch_size": 1700, "shuffled": shuffled, "fill": np.nan}
        alone = train(compiled, problem, OPTIMIZERS[optimizer], **settings)
        shared = train(compiled, problem, OPTIMIZERS[optimizer], n_threads=n_threads, **settings)
        assert shared.done == alone.done == 4
        assert_bits(shared.params, alone.params)
        assert_bits(shared.state, alone.state)
        assert_bits(shared.losses, alone.losses)


def test_slices_change_no_bit(kernels, dtype):
    problem = make_problem([3, 5, 2], samples=50, dtype=dtype, dropout=0.2)
    optimizer, settings = OPTIMIZERS["adam"], {"batch_size": 16, "shuffled": True}
    whole = train(kernels, problem, optimizer, 10, **settings)
    parts = {"params": None, "state": None}
    losses = []
    for first, steps in ((0, 3), (3, 1), (4, 6)):  # an epoch has four steps
        part = train(
            kernels,
            problem,
            optimizer,
            steps,
            first_step=first,
            first_count=first,
            **parts,
            **settings,
        )
        parts = {"params": part.params, "state": part.state}
        losses.append(part.losses)
    assert_bits(part.params, whole.params)
    assert_bits(np.concatenate(losses), whole.losses)


def test_images_may_be_bytes(kernels, dtype):
    problem = make_problem([9, 5, 3], samples=40, dtype=dtype)
    images = np.random.default_rng(0).integers(0, 256, (40, 9), dtype=np.uint8)
    settings = {"steps": 5, "batch_size": 7, "shuffled": True, "optimizer": optimizers.SGD(1e-4)}
    assert_bits(
        train(kernels, problem, x=images, **settings).params,
        train(kernels, problem, x=images.astype(dtype), **settings).params,
    )


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("sizes", [[3, 5, 2], [50, 60, 70, 2]], ids=str)
@pytest.mark.usefixtures("division")
def test_training_stops_at_a_loss_that_is_not_finite(kernels, dtype, sizes, n_threads):
    if kernels.NAME == "numpy" and n_threads > 1:
        pytest.skip("the reference knows one thread")
    problem = make_problem(sizes, "relu", "squared_error", samples=1000, dtype=dtype)
    optimizer = optimizers.SGD(1e12)
    with np.errstate(all="ignore"):
        trained = train(kernels, problem, optimizer, 50, n_threads=n_threads)
        before = train(kernels, problem, optimizer, trained.done, n_threads=n_threads)
    assert 0 < trained.done < 50
    assert np.isfinite(trained.losses[: trained.done]).all()
    assert not np.isfinite(trained.losses[trained.done])
    assert np.isnan(trained.losses[trained.done + 1 :]).all()  # untouched
    assert_bits(trained.params, before.params)  # the step of that loss was not done


def test_nan_is_not_optimised_away(kernels, dtype):
    problem = make_problem([3, 5, 2], samples=20, dtype=dtype)
    problem.params[0] = np.nan
    assert np.isnan(loss_and_grad(kernels, problem)[0])
    assert np.isnan(forward(kernels, problem, True)).all()
    assert train(kernels, problem, steps=3).done == 0


# --- one interface -----------------------------------------------------------------

KERNELS = [
    "mix",
    "stream",
    "shuffle",
    "dense_forward",
    "dense_backward_params",
    "dense_backward_inputs",
    "activation_forward",
    "activation_backward",
    "dropout_forward",
    "dropout_backward",
    "output_loss",
    "output_transform",
    "update",
    "penalty",
    "forward",
    "loss_and_grad",
    "train",
]


@pytest.mark.parametrize("name", KERNELS)
def test_same_arguments(compiled, name):
    function = getattr(compiled, name)
    try:
        arguments = list(inspect.signature(getattr(function, "py_func", function)).parameters)
    except ValueError:  # compiled without binding: its first line of documentation
        arguments = re.findall(r"(\w+)(?:=[^,)]*)?[,)]", function.__doc__.split("\n")[0])
    assert arguments == list(inspect.signature(getattr(reference, name)).parameters)


def test_same_public_names(kernels):
    kernels = load_backend(kernels.NAME)
    for name in [*KERNELS, "weights_of", "biases_of"]:
        assert callable(getattr(kernels, name))
    assert kernels.__name__ == f"fastnn.backends.{kernels.NAME}"


def test_numbers_of_codes_in_numba():
    module = load_backend("numba")
    shared = [name for name in dir(codes) if name.isupper() and hasattr(module, name)]
    assert len(shared) > 30
    assert {n: getattr(module, n) for n in shared} == {n: getattr(codes, n) for n in shared}


def test_plan_leaves_room():
    # no matrix of the workspace overlaps another or reaches beyond the end
    for dropout, itemsize in product(([], [0.0, 0.5]), (4, 8)):
        activations = [codes.SILU, codes.TANH, codes.IDENTITY]
        plan = make_plan([3, 7, 5, 2], activations, [0.0] * 3, dropout, 1, itemsize, reference)
        header, block = plan.header, plan.block
        used = [
            (header[codes.WORK_INPUT], 3),
            (header[codes.WORK_TARGETS], 1),
            (header[codes.WORK_SAMPLE_WEIGHT], 1),
            (header[codes.WORK_DELTA], 7),
            (header[codes.WORK_DELTA_OTHER], 7),
        ]
        for row in plan.layers:
            used += [
                (start, row[codes.FAN_OUT]) for start in {row[codes.NET_INPUT], row[codes.OUTPUT]}
            ]
        used.sort()
        ends = [start + units * block for start, units in used]
        starts = [start for start, _ in used[1:]]
        assert all(end <= start for end, start in zip(ends[:-1], starts, strict=True))
        assert ends[-1] <= header[codes.WORK_SIZE]


def test_memory_starts_on_a_cache_line():
    for make, dtype in product((aligned_empty, aligned_zeros), (np.float32, np.float64)):
        arrays = [make((3, k), dtype) for k in range(1, 20)]
        assert all(array.ctypes.data % ALIGNMENT == 0 for array in arrays)
        assert all(array.shape == (3, k) for k, array in enumerate(arrays, 1))
        if make is aligned_zeros:
            assert not any(array.any() for array in arrays)


def test_a_plan_without_room_for_packed_products_is_refused():
    cython = load_backend("cython")
    sizes, activations = [300, 300, 2], [codes.RELU, codes.IDENTITY]
    X, out = np.zeros((40, 300), np.float32), np.empty((40, 2), np.float32)
    for packed in (True, False):
        scratch = cython.product_scratch if packed else reference.product_scratch
        planner = SimpleNamespace(BLAS_WEIGHTS=cython.BLAS_WEIGHTS, product_scratch=scratch)
        plan = make_plan(sizes, activations, [0.0] * 2, [], 1, 4, planner)
        params = np.zeros(plan.n_params, np.float32)
        call = partial(
            cython.forward, plan.net(codes.CROSS_ENTROPY), X, True, params,
            plan.workspace(np.float32), out,
        )  # fmt: skip
        if packed or cython.LEVEL == "baseline":  # which leaves wide layers to BLAS
            assert call()
        else:
            with pytest.raises(ValueError, match="no room for packed products"):
                call()
