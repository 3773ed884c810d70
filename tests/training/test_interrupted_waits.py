"""Ctrl-C while Python waits for a thread: Condition raises RuntimeError then, calls of ours do not.

In CPython a KeyboardInterrupt within ``Condition.wait`` may leave the lock released; the ``with``
statement around it releases it once more and raises RuntimeError.
"""

import contextlib
import threading
import time
from concurrent import futures

import numpy as np
import pytest
from helpers import load_backend

import fastnn
from fastnn.network import many
from fastnn.tables import members
from fastnn.training.pool import run_pieces
from fastnn.training.team import started_threads

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 4))
Y = (X[:, 0] > 0).astype(int)
LARGE = rng.normal(size=(2000, 20)), np.arange(2000) % 2  # enough for two threads


class InterruptedWait:
    """Context in which Ctrl-C comes at the end of one of the main thread's waits.

    Parameters
    ----------
    number : int
        Which of them.
    """

    def __init__(self, number):
        self.number, self.waits = number, 0

    def __enter__(self):
        self.restore = restore = threading.Condition._acquire_restore

        def interrupted(condition, state):
            if threading.current_thread() is threading.main_thread():
                self.waits += 1
                if self.waits == self.number:
                    raise KeyboardInterrupt
            restore(condition, state)

        threading.Condition._acquire_restore = interrupted
        return self

    def __exit__(self, *error):
        threading.Condition._acquire_restore = self.restore


def left():
    """Threads that are left a moment later."""
    end = time.monotonic() + 5
    while names := [t.name for t in threading.enumerate() if t.name.startswith("fastnn")]:
        if time.monotonic() > end:
            break
        time.sleep(0.001)
    return names


def broken(*arguments, **settings):
    """Raise the error of a Condition that is interrupted."""
    condition = threading.Condition(threading.Lock())
    with InterruptedWait(1), condition:
        condition.wait(0.001)


def test_the_error_of_an_interrupted_wait():
    with pytest.raises(RuntimeError, match="release"):
        broken()


def test_starting_threads():
    number, raised = 0, 0
    while True:
        number += 1
        try:
            with InterruptedWait(number) as waits, started_threads(3):
                pass
        except KeyboardInterrupt:
            raised += 1
        assert left() == []
        if waits.waits < number:
            break
    assert raised == number - 1 > 0


@pytest.mark.parametrize("backend", ["numpy", "cython"])
def test_a_fit_whose_threads_start(backend):
    load_backend(backend)
    fresh = fastnn.Network([20, 64, 64, 2], backend=backend, random_state=0, n_threads=2)
    before = fresh.params.copy()
    with pytest.raises(KeyboardInterrupt), InterruptedWait(1):
        fresh.fit(*LARGE, epochs=2, batch_size=500)
    np.testing.assert_array_equal(fresh.params, before)
    assert left() == []
    assert fresh.fit(*LARGE, epochs=2, batch_size=500).stopped == "epochs"


def test_a_team(monkeypatch):
    load_backend("cython")
    net = fastnn.Network([20, 64, 64, 2], backend="cython", random_state=0, n_threads=2)
    with monkeypatch.context() as patch:
        patch.setattr(futures.Future, "result", broken)
        history = net.fit(*LARGE, epochs=10**6, batch_size=500)
    assert history.stopped == "interrupted"
    assert history.steps == net.state.updates > 0
    assert left() == []


def test_several_networks(monkeypatch):
    nets = [fastnn.Network([4, 3, 2], backend="numpy", random_state=k) for k in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(many, "as_completed", broken)
        histories = fastnn.fit_many(nets, X, Y, epochs=10**6, n_threads=2)
    assert {history.stopped for history in histories} == {"interrupted"}
    assert left() == []


def test_several_networks_for_a_table(monkeypatch):
    model = fastnn.TabularClassifier(n_epochs=10**6, n_members=2, n_threads=2, random_state=0)
    with monkeypatch.context() as patch:
        patch.setattr(members, "wait", broken)
        with contextlib.suppress(KeyboardInterrupt), pytest.warns(UserWarning, match="interrupted"):
            model.fit(X, Y)
    assert left() == []


def test_pieces_of_a_prediction(monkeypatch):
    def slow(k):
        time.sleep(0.001)
        return k

    def many_times():
        for _ in range(100):  # until a thread of the pool has a piece at the end
            run_pieces(slow, 40, 3)

    with monkeypatch.context() as patch:
        patch.setattr(futures.Future, "result", broken)
        with pytest.raises(KeyboardInterrupt):
            many_times()
    assert run_pieces(slow, 10, 3) == list(range(10))
