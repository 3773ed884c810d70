"""Asynchronous halving: what continues, whatever finishes first; where the fits run."""

import threading
from contextlib import nullcontext
from itertools import count, pairwise

import joblib
import numpy as np
import pytest

from fastnn.tables.halving import Halving
from fastnn.tables.pools import pool
from fastnn.tables.search import Plan

ROUNDS = Plan(40).rounds()
FOLDS = 2


def cost(trial):
    return 1.0 + trial % 3


def chosen(order_of, workers, rng):
    """Fits in the order of their start, if a random one of the running ones finishes next."""
    halving, left, running, started = Halving(ROUNDS, FOLDS, cost), {}, [], []
    while True:
        while len(running) < workers and (fit := halving.start()) is not None:
            running.append(fit)
            started.append(fit)
        if not running:
            return started
        trial, epochs, _ = running.pop(rng.integers(len(running)))
        left[trial, epochs] = left.get((trial, epochs), FOLDS) - 1
        if not left[trial, epochs]:
            halving.finish(trial, epochs, order_of(trial, epochs))


def by_definition(order_of):
    """Trials of each round: the best of the first so many that has not been chosen yet."""
    rounds = [list(range(1, ROUNDS[0][1] + 1))]
    for (epochs, size), (_, next_size) in pairwise(ROUNDS):
        following = []
        for n in range(1, size + 1):
            while len(following) < n * next_size // size:
                before = [t for t in rounds[-1][:n] if t not in following]
                following.append(min(before, key=lambda t: order_of(t, epochs)))
        rounds.append(following)
    return rounds


@pytest.mark.parametrize("workers", [1, 2, 7, 200])
def test_what_continues_does_not_depend_on_what_finishes_first(workers):
    ranks = np.random.default_rng(0).permutation(40 * 300).reshape(40, 300)
    order_of = lambda trial, epochs: ranks[trial, epochs]  # noqa: E731
    expected = {
        (trial, epochs, fold)
        for (epochs, _), trials in zip(ROUNDS, by_definition(order_of), strict=True)
        for trial in trials
        for fold in range(FOLDS)
    } | {(0, ROUNDS[-1][0], fold) for fold in range(FOLDS)}
    assert len(expected) == Plan(40).n_fits(FOLDS)
    for seed in range(5):
        started = chosen(order_of, workers, np.random.default_rng(seed))
        assert len(started) == len(expected)
        assert set(started) == expected
        assert started[:FOLDS] == [(0, 256, fold) for fold in range(FOLDS)]


def test_most_of_the_best_third_continues():
    """Ranks that never change: a comparison with the trials before is nearly one with all."""
    shares = []
    for seed in range(20):
        ranks = np.random.default_rng(seed).permutation(40)
        second = by_definition(lambda trial, _, ranks=ranks: ranks[trial])[1]
        best = sorted(range(1, 40), key=lambda trial: ranks[trial])
        shares.append(np.mean([trial in best[: len(second)] for trial in second]))
        assert best[0] in second
    assert np.mean(shares) > 0.8


def test_trials_that_failed_do_not_continue():
    halving = Halving([(10, 6), (30, 2)], 1, cost)
    fits = [halving.start() for _ in range(7)]
    assert halving.start() is None
    for trial, _, _ in fits[1:]:
        halving.finish(trial, 10, None if trial != 5 else 0)
    assert [halving.start(), halving.start()] == [(5, 30, 0), None]


# --- where they run -----------------------------------------------------------------------


def double(data, number):
    """For a pool: counts the calls that run at the same time."""
    if isinstance(data, list):
        data.append(threading.get_ident())
    return 2 * number


@pytest.mark.parametrize(("backend", "n_jobs"), [(None, 1), (None, 3), ("threading", 2)])
def test_every_task_runs_once(backend, n_jobs):
    """Tasks 3 to 5 can be started when three others are finished."""
    numbers, results, threads = count(), [], []

    def next_task():
        blocked = started[-1:] == [2] and len(results) < 3
        if blocked or len(started) == 6:
            return None
        started.append(next(numbers))
        return (started[-1],)

    started = []
    with (
        joblib.parallel_config(backend) if backend else nullcontext(),
        pool(double, threads, n_jobs) as results_of,
    ):
        for result in results_of(next_task):
            results.append(result)  # next_task looks at it
    assert sorted(results) == [0, 2, 4, 6, 8, 10]
    assert sorted(results[:3]) == [0, 2, 4]
    assert len(threads) == 6
    if n_jobs == 1:
        assert set(threads) == {threading.get_ident()}


def fail(data, number):
    raise ArithmeticError(f"task {number}")


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_of_a_task_is_raised(n_jobs):
    tasks = iter([(1,), (1,), (1,)])
    with (
        pytest.raises(ArithmeticError, match="task 1"),
        pool(fail, None, n_jobs) as results_of,
    ):
        list(results_of(lambda: next(tasks, None)))
