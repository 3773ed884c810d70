"""Jobs of ``benchmarks/``, and contenders, which compute the same."""

import dataclasses
import os

import numpy as np
import pytest

from benchmarks import (
    jobs,
)
from benchmarks.contenders import CONTENDERS
from benchmarks.contenders.numpy_hand import NumpyByHand
from benchmarks.jobs import JOBS
from benchmarks.measuring import ContenderProcess, check, seconds_per_step
from benchmarks.tasks import Task, expm_2x2, make_data

TINY = dataclasses.replace(JOBS["moons"], name="tiny", samples=20, check_steps=5)
ADAM = dataclasses.replace(jobs.map_job(6, 32, 2), name="adam", check_steps=70)
EXPM = dataclasses.replace(JOBS["expm"], samples=50, check_steps=5)
PREDICT = dataclasses.replace(JOBS["predict-1k"], samples=7)


# --- jobs and tasks -----------------------------------------------------------------


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_jobs_are_well_formed(job):
    assert job.name in JOBS
    assert job.samples % job.samples_per_step == 0
    assert len(job.n_weights) == len(job.layer_sizes) - 1
    assert job.flops > 0 < job.moved_bytes
    small = dataclasses.replace(job, samples=min(job.samples, 256))
    x, y, source = make_data(small, data_dir="/nonexistent")
    assert x.shape == (small.samples, job.layer_sizes[0])
    assert x.dtype == job.dtype
    assert len(y) == small.samples
    assert np.isfinite(x).all()
    if job.loss == "cross_entropy":
        assert 0 <= y.min() <= y.max() < job.layer_sizes[-1]
    else:
        assert y.shape == (small.samples, job.layer_sizes[-1])
    assert ("random" in source) == (job.data == "mnist")
    assert Task(job, x, y, source).new_network("numpy").n_params == job.n_params


def test_weights_may_have_been_trained_before():
    later = dataclasses.replace(ADAM, epochs_before=2)
    assert later.describe() == ADAM.describe() + ", from epoch 3 on"
    first, trained = (Task.make(job).network("numpy") for job in (ADAM, later))
    task = Task.make(ADAM)
    first.fit(
        task.x, task.y, optimizer=task.optimizer, epochs=2, batch_size=ADAM.batch_size,
        shuffle=False,
    )  # fmt: skip
    # float32, by another backend, after some steps
    np.testing.assert_allclose(trained.params, first.params, rtol=1e-3, atol=1e-5)
    task, contender = Task.make(later), CONTENDERS["numba"]
    assert check(task, contender, contender.make(task))["equal"]


def test_operations_of_a_step():
    job = dataclasses.replace(JOBS["moons"], samples=10)
    # forward and weights: 2-3 and 3-2; inputs: 3-2 only
    assert job.flops == 2 * 10 * ((6 + 6) * 2 + 6)
    assert dataclasses.replace(job, predict=True).flops == 2 * 10 * 12


def test_exponential_of_2x2_matrices():
    from scipy.linalg import expm

    rows = np.random.default_rng(0).uniform(-1, 1, (50, 4))
    expected = np.array([expm(row.reshape(2, 2)).ravel() for row in rows])
    # float64: some tens of roundings of numbers up to 3
    np.testing.assert_allclose(expm_2x2(rows), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("steps", "whole", "rows_and_epochs"),
    [(1, 1, (32, 1)), (32, 32, (1024, 1)), (70, 64, (1024, 2)), (0, 1, (32, 1))],
)
def test_steps_are_whole_epochs(steps, whole, rows_and_epochs):
    task = Task.make(ADAM)
    assert task.whole_epochs(steps) == whole
    assert task.rows_and_epochs(whole) == rows_and_epochs


def test_stacked_batches_are_the_batches():
    task = Task.make(ADAM)
    x, y = task.stacked_batches()
    assert len(x) == len(task.batches()) == ADAM.steps_per_epoch
    for k, (inputs, targets) in enumerate(task.batches()):
        np.testing.assert_array_equal(x[k], inputs)
        np.testing.assert_array_equal(y[k], targets)


# --- contenders ---------------------------------------------------------------------


@pytest.mark.parametrize("job", [TINY, ADAM, EXPM, PREDICT], ids=lambda job: job.name)
@pytest.mark.parametrize("name", ["numpy", "numpy-shuffled", "numpy-hand", "sklearn"])
def test_contender_computes_the_same(job, name):
    contender = CONTENDERS[name]
    if not contender.takes(job):
        pytest.skip("shuffling needs batches")
    job = dataclasses.replace(job, check_steps=min(job.check_steps, 64), dtype="float64")
    task = Task.make(job)
    runner = contender.make(task)
    answer = check(task, contender, runner)
    assert answer["equal"], answer
    # float64, at most 64 steps
    assert answer["difference"] < 1e-9
    # the initial weights come back
    runner.reset()
    assert check(task, contender, runner) == answer
    assert seconds_per_step(task, runner, 1e-4, 1e-4) > 0


def need(contender):
    """A peer of the extra "test" must be there in CI; others are optional."""
    reason = contender.why_missing()
    if reason and os.environ.get("CI") and contender.needs != "jax":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize(
    "name",
    [
        "torch",
        "jax-loop",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                *("keras", "torch-1", "torch-compiled"),
                *("tf-function", "tf-xla-step", "tf-xla-loop", "jax-step"),
            )
        ),
    ],
)
def test_peer_in_its_process_computes_the_same(name):
    """Each job's first steps, from the same weights, have the loss of the NumPy backend."""
    need(CONTENDERS[name])
    child = ContenderProcess(name)
    try:
        for job in (TINY, ADAM, EXPM, PREDICT):
            if CONTENDERS[name].takes(job):
                whole = min(job.check_steps, 64)  # epochs of fastnn
                answer = child.prepare(dataclasses.replace(job, check_steps=whole))
                assert answer["equal"], (job.name, answer)
                assert child.time(1e-3) > 0
    finally:
        child.close()


def test_torch_has_an_adam_of_its_own():
    torch = pytest.importorskip("torch")
    task = Task.make(ADAM)
    params, ours = NumpyByHand(task, torch_adam=True), NumpyByHand(task)
    p = torch.zeros(params.params.size, requires_grad=True)
    rule = torch.optim.Adam([p], lr=task.optimizer.learning_rate, eps=task.optimizer.epsilon)
    for runner in (params, ours):
        runner.params[:] = 0.0
    for _ in range(3):
        g = np.full(p.shape, 1e-8, np.float32)  # as small as epsilon, where it matters
        p.grad = torch.from_numpy(g.copy())
        rule.step()
        params._update(g.copy())
        ours._update(g.copy())
    # float32: three steps of a dozen roundings each; the formulas differ by more than 1%
    np.testing.assert_allclose(params.params, p.detach().numpy(), rtol=1e-4)
    assert abs(ours.params / params.params - 1).min() > 0.01


def test_difference_is_seen():
    task = Task.make(TINY)
    contender = CONTENDERS["numpy-hand"]
    runner = contender.make(task)
    runner.start[0] += 0.1
    runner.reset()
    assert not check(task, contender, runner)["equal"]
