"""Helpers shared by test files: tolerances, comparisons, and kernel calls on random problems."""

import os
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse

from fastnn import backends
from fastnn.backends import codes
from fastnn.backends.codes import CONSECUTIVE, SHUFFLED, SYNC_SIZE
from fastnn.backends.interface import Chunk, Data, Memory, Team
from fastnn.backends.plan import Plan, aligned_empty, batch_matrices, make_plan
from fastnn.training.optimizers import SGD

DTYPES = ("float32", "float64")

# (rtol, atol) for values of order one; `assert_same` scales its arguments accordingly. float64: a
# dozen rounding errors of 1.1e-16 and sums of up to a thousand terms stay below 1e-12, the error of
# a wrong formula does not. float32: the default tolerance of torch.testing.assert_close.
TOLERANCE = {"float32": (1.3e-6, 1e-5), "float64": (0.0, 1e-12)}

# Values other than the defaults, so that a swapped or ignored alpha is detected.
ALPHAS = {"leaky_relu": 0.2, "elu": 0.7}

# Constants of the losses; label smoothing is tested separately.
LOSS_CONSTANTS = {"huber": 0.6, "quantile": 0.3}


def load_backend(name):
    """Module of a backend; if it is not available, a failure in CI, elsewhere a skip."""
    name, _, level = name.partition(":")
    try:
        kernels = backends.load(name)
    except ImportError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    return kernels.load_level(level) if level else kernels


def compiled_names():
    """Names of the compiled backends: Numba, and Cython at each vector level of this machine."""
    try:
        levels = backends.load("cython").levels()
    except ImportError:
        return ["numba", "cython"]
    return ["numba", *(f"cython:{level}" for level in levels)]


def fixed_rng(seed):
    """The generator ``default_rng(seed)``, also with FASTNN_SEED: for claims about one draw."""
    return np.random.Generator(np.random.PCG64(seed))


def assert_same(actual, expected, dtype, rtol=None, atol=None, least=0.0):
    """Assert equality within the tolerance of a dtype, relative to the largest expected value.

    Kernels sum terms of both signs, so that the rounding error of a small sum is determined by its
    large terms. An array is therefore compared relative to its largest entry, not entry by entry.
    For values that are small due to cancellation, ``least`` is a lower bound of the scale.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    scale = np.abs(expected).max(initial=least) or 1.0
    own_rtol, own_atol = TOLERANCE[np.dtype(dtype).name]
    np.testing.assert_allclose(
        actual / scale,
        expected / scale,
        rtol=own_rtol if rtol is None else rtol,
        atol=own_atol if atol is None else atol,
    )


def assert_bits(actual, expected):
    """Assert that arrays and their dtypes are equal; NaN equals NaN."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


def padded(array):
    """Copy an array with the package's allocator: kernels may read whole vectors past the end."""
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def readonly(array):
    """Read-only copy of an array."""
    copy = padded(array)
    copy.setflags(write=False)
    return copy


@dataclass
class Problem:
    """A network, its data, and further arguments of the kernels."""

    plan: Plan
    x: np.ndarray  # (samples, features)
    targets: np.ndarray  # (samples, 1 or outputs)
    weights: np.ndarray  # (samples,) or (0,)
    loss: int
    l2: float
    params: np.ndarray
    seed: int = 5
    forward_plan: Plan = field(default=None)

    @property
    def dtype(self):
        return self.params.dtype


def any_backend():
    """Stand-in for a backend, for plans that all backends can use.

    Layers count as wide as early as possible, and scratch memory suffices for every backend.
    """
    scratch = [load_backend(name).product_scratch for name in backends.available()]
    return SimpleNamespace(
        WIDE_LAYER_WEIGHTS=0, product_scratch=lambda *sizes: max(size(*sizes) for size in scratch)
    )


def make_problem(
    sizes,
    activations="tanh",
    loss="cross_entropy",
    samples=20,
    dtype="float64",
    l2=0.0,
    dropout=0.0,
    weighted=False,
    seed=0,
    constant=None,
    batch_size=0,
):
    """Random data and parameters of order one for a network with the given layer sizes.

    If the loss has several outputs per target, the last size is the number of targets. The plan is
    for batches of ``batch_size``, for which wide layers process more samples at a time.
    """
    rng = np.random.default_rng(seed)
    n_hidden = len(sizes) - 2
    if isinstance(activations, str):
        activations = [activations] * n_hidden
    if isinstance(dropout, float):
        dropout = [dropout] * n_hidden
    names = [*activations, "identity"]
    numbers = list(np.atleast_1d(LOSS_CONSTANTS.get(loss, 0.0) if constant is None else constant))
    n_targets = 1 if loss == "cross_entropy" else sizes[-1]
    sizes = [*sizes[:-1], sizes[-1] * codes.outputs_per_target(codes.LOSSES[loss], numbers)]
    arguments = (
        list(sizes),
        [codes.ACTIVATIONS[name] for name in names],
        [ALPHAS.get(name, 0.0) for name in names[:-1]] + numbers,
    )
    itemsize = np.dtype(dtype).itemsize
    last = (n_targets, itemsize, any_backend(), batch_size)
    plan = make_plan(*arguments, dropout if any(dropout) else [], *last)
    x = rng.standard_normal((samples, sizes[0]))
    if loss == "cross_entropy":
        targets = rng.integers(0, sizes[-1], (samples, 1))
    elif loss == "binary_cross_entropy":
        targets = rng.integers(0, 2, (samples, n_targets))
    elif loss == "poisson":
        targets = rng.poisson(2.0, (samples, n_targets))
    else:
        targets = rng.standard_normal((samples, n_targets))
    parts = []
    for fan_in, fan_out in pairwise(sizes):
        parts += [
            rng.standard_normal(fan_in * fan_out) / np.sqrt(fan_in),
            0.5 * rng.standard_normal(fan_out),
        ]
    return Problem(
        plan=plan,
        x=x.astype(dtype),
        targets=targets.astype(dtype),
        weights=rng.uniform(0.1, 2.0, samples if weighted else 0).astype(dtype),
        loss=codes.LOSSES[loss],
        l2=l2,
        params=padded(np.concatenate(parts).astype(dtype)),
        forward_plan=make_plan(*arguments, [], *last),
    )


@contextmanager
def scratch_memory(plan, dtype, fill, n_threads=1, sparse=False):
    """Context with a workspace filled with ``fill``; check that its end is not overrun."""
    size = plan.workspace(dtype, 1, sparse).shape[1]
    memory = aligned_empty((n_threads + 1, size), dtype)
    memory.fill(fill)
    memory[-1] = 0.125
    yield memory[:-1]
    assert (memory[-1] == 0.125).all()


def loss_and_grad(kernels, problem, params=None, fill=0.0, wrap=np.asarray, step=3):
    """Objective and gradient over all samples; scratch memory is initialized with ``fill``."""
    params = problem.params if params is None else padded(params)
    plan = problem.plan
    grads = plan.gradient_groups(params.dtype)
    grads.fill(fill)
    with scratch_memory(plan, problem.dtype, fill) as work:
        value = kernels.loss_and_grad(
            plan.net(problem.loss, problem.l2),
            wrap(np.ascontiguousarray(problem.x.T)),
            wrap(np.ascontiguousarray(problem.targets.T)),
            wrap(problem.weights),
            problem.seed,
            step,
            wrap(params),
            work,
            grads,
        )
    return value, grads[0].copy()


def forward(kernels, problem, transform, fill=0.0, wrap=np.asarray):
    """Predictions, shape (samples, outputs)."""
    plan = problem.forward_plan
    outputs = int(plan.layers[-1, codes.FAN_OUT])
    out = np.full((len(problem.x), outputs), np.nan, problem.dtype)
    with scratch_memory(plan, problem.dtype, fill) as work:
        kernels.forward(
            plan.net(problem.loss),
            wrap(problem.x),
            transform,
            wrap(problem.params),
            work,
            out,
        )
    return out


@dataclass
class Trained:
    done: int
    losses: np.ndarray
    params: np.ndarray
    state: np.ndarray


def training_data(problem, x, batch_size, shuffled, sparse, wrap):
    """The samples of a problem as the kernels take them for training."""
    targets = problem.targets
    indices, indptr = np.empty(0, np.int32), np.empty(0, np.int64)
    if sparse:
        rows = scipy.sparse.csr_array(x)
        x, indices, indptr = rows.data[None], rows.indices, rows.indptr.astype(np.int64)
    elif not shuffled:
        x = batch_matrices(x, batch_size)
    if not shuffled:
        targets = batch_matrices(targets, batch_size)
    return Data(
        wrap(x),
        wrap(indices),
        wrap(indptr),
        wrap(targets),
        wrap(problem.weights),
        batch_size,
        SHUFFLED if shuffled else CONSECUTIVE,
    )


def train(
    kernels,
    problem,
    optimizer=None,
    steps=1,
    *,
    batch_size=None,
    shuffled=False,
    n_threads=1,
    first_step=0,
    first_count=0,
    params=None,
    state=None,
    fill=0.0,
    wrap=np.asarray,
    x=None,
    sparse=False,
):
    """Run a chunk of training steps on copies of the parameters and moments."""
    optimizer = SGD(learning_rate=0.1) if optimizer is None else optimizer
    plan, samples = problem.plan, len(problem.x)
    params = padded(problem.params if params is None else params)
    if state is None:
        state = np.zeros((optimizer.n_moments, plan.n_params), problem.dtype)
    state = padded(state)
    grads = plan.gradient_groups(problem.dtype)
    grads.fill(fill)
    batch_size = samples if batch_size is None else batch_size
    order = np.full(samples if shuffled else 0, -1, np.int64)
    losses = np.full(steps, np.nan)
    read = [
        training_data(problem, problem.x if x is None else x, batch_size, shuffled, sparse, wrap),
        optimizer.for_kernels(),
        Chunk(wrap(np.full(steps, optimizer.learning_rate)), first_step, first_count, problem.seed),
    ]
    before = [[np.copy(value) for value in values] for values in read]
    done = [None] * n_threads
    sync = np.zeros(SYNC_SIZE, np.int64)
    with scratch_memory(plan, problem.dtype, fill, n_threads, sparse) as work:
        net, memory = plan.net(problem.loss, problem.l2), Memory(grads, order, work)

        def run(thread):
            team = Team(thread, n_threads, sync)
            done[thread] = kernels.train(net, *read, team, params, state, memory, losses)

        others = [threading.Thread(target=run, args=(thread,)) for thread in range(1, n_threads)]
        for other in others:
            other.start()
        run(0)
        for other in others:
            other.join()
    for values, copies in zip(read, before, strict=True):
        for name, value, copy in zip(values._fields, values, copies, strict=True):
            if name != "front":
                assert_bits(np.asarray(value), copy)  # inputs are not modified
    assert len(set(done)) == 1
    return Trained(done[0], losses, params, state)


def when_main_is_within(name, seconds=60):
    """Wait until the main thread is executing a function; for threads that then send SIGINT.

    Parameters
    ----------
    name : str
        Name of the function in which the main thread waits for other threads. An earlier signal
        would arrive before there is anything to interrupt.
    seconds : float
        Time limit.

    Raises
    ------
    AssertionError
        If the main thread does not reach the function within the time limit.
    """
    main = threading.main_thread().ident
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        frame, names = sys._current_frames()[main], set()
        while frame is not None:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
        if name in names:
            time.sleep(0.1)  # let the main thread start to wait in the function
            return
        time.sleep(0.01)
    raise AssertionError(f"the main thread is not within {name}")
