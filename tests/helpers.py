"""What several test files share: tolerances, and the kernels called on made-up problems."""

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

# (rtol, atol) for numbers of order one, which `assert_same` sees to. float64: a dozen roundings
# of 1.1e-16 and sums of up to a thousand terms stay below 1e-12, a wrong formula does not.
# float32: the tolerance PyTorch publishes for torch.testing.assert_close.
TOLERANCE = {"float32": (1.3e-6, 1e-5), "float64": (0.0, 1e-12)}

# Constants that are not the defaults, so that a swapped or ignored alpha shows.
ALPHAS = {"leaky_relu": 0.2, "elu": 0.7}

# Numbers of the losses: label smoothing is a variant of its own.
LOSS_CONSTANTS = {"huber": 0.6, "quantile": 0.3}


def load_backend(name):
    """A backend; without it a failure in CI, elsewhere a skip."""
    name, _, level = name.partition(":")
    try:
        kernels = backends.load(name)
    except ImportError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    return kernels.load_level(level) if level else kernels


def compiled_names():
    """Numba, and the Cython backend at every vector level this machine has."""
    try:
        levels = backends.load("cython").levels()
    except ImportError:
        return ["numba", "cython"]
    return ["numba", *(f"cython:{level}" for level in levels)]


def assert_same(actual, expected, dtype, rtol=None, atol=None, least=0.0):
    """Equal within the dtype's tolerance, relative to the largest number expected.

    Kernels sum terms of both signs, so that the rounding of a small sum is that of its large
    terms: an array is judged against its own largest entry, not entry by entry. A number that
    is small only by cancellation is judged against ``least``.
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
    """Equal to the last bit, NaN included."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


def padded(array):
    """A copy as the package allocates arrays: kernels may read whole vectors beyond the end."""
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def readonly(array):
    """A copy that cannot be written."""
    copy = padded(array)
    copy.setflags(write=False)
    return copy


@dataclass
class Problem:
    """A network, its data, and what the kernels need to be called."""

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
    """Stands for a backend in plans that all of them read: wide layers as early as possible."""
    scratch = [load_backend(name).product_scratch for name in backends.available()]
    return SimpleNamespace(
        BLAS_WEIGHTS=0, product_scratch=lambda *sizes: max(size(*sizes) for size in scratch)
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
    """Random data and parameters of order one for a network of these sizes.

    The last size is the number of targets where a loss has several outputs for each.
    The plan is for batches of ``batch_size``: wide layers then work on more samples at a time.
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
    """Workspace full of ``fill`` that must not be written beyond its end."""
    size = plan.workspace(dtype, 1, sparse).shape[1]
    memory = aligned_empty((n_threads + 1, size), dtype)
    memory.fill(fill)
    memory[-1] = 0.125
    yield memory[:-1]
    assert (memory[-1] == 0.125).all()


def loss_and_grad(kernels, problem, params=None, fill=0.0, wrap=np.asarray, step=3):
    """Objective and gradient of all samples; scratch memory starts with ``fill``."""
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
    """Predictions, (samples, outputs)."""
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
    """A chunk of training steps from copies of the parameters and moments."""
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
    x = problem.x if x is None else x
    targets = problem.targets
    indices, indptr = np.empty(0, np.int32), np.empty(0, np.int64)
    if sparse:
        rows = scipy.sparse.csr_array(x)
        x, indices, indptr = rows.data[None], rows.indices, rows.indptr.astype(np.int64)
    elif not shuffled:
        x = batch_matrices(x, batch_size)
    if not shuffled:
        targets = batch_matrices(targets, batch_size)
    read = [
        Data(
            wrap(x),
            wrap(indices),
            wrap(indptr),
            wrap(targets),
            wrap(problem.weights),
            batch_size,
            SHUFFLED if shuffled else CONSECUTIVE,
        ),
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
                assert_bits(np.asarray(value), copy)  # what is read stays as it was
    assert len(set(done)) == 1
    return Trained(done[0], losses, params, state)


def when_main_is_within(name, seconds=60):
    """Return once the main thread is within a function; for other threads that press Ctrl-C then.

    Parameters
    ----------
    name : str
        Of the function that waits for the others: a signal before would meet the main thread where
        nothing is to be interrupted yet.
    seconds : float
        Then it is an error.
    """
    main = threading.main_thread().ident
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        frame, names = sys._current_frames()[main], set()
        while frame is not None:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
        if name in names:
            time.sleep(0.1)  # and until it waits there
            return
        time.sleep(0.01)
    raise AssertionError(f"the main thread is not within {name}")
