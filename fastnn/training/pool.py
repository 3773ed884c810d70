"""Threads with tasks of their own: networks trained side by side, pieces of predictions."""

from __future__ import annotations

import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from fastnn.training.blas import limited_blas
from fastnn.training.team import started_threads
from fastnn.training.threads import usable_cores

_stopped: contextvars.ContextVar[threading.Event] = contextvars.ContextVar("stopped")


class Workers:
    """Threads that train one network each; the threads of BLAS are held at one meanwhile.

    A context manager, which leaves when everything submitted is done.

    Parameters
    ----------
    n_threads : int
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._stopped = threading.Event()

    def __enter__(self) -> Workers:
        with ExitStack() as stack:
            stack.enter_context(limited_blas(1))
            self._pool = stack.enter_context(started_threads(self.n_threads))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """Call a function in one of the threads, under the caller's ``np.errstate``."""
        context = contextvars.copy_context()
        context.run(_stopped.set, self._stopped)
        return self._pool.submit(context.run, function, *arguments)

    def stop(self) -> None:
        """Training that runs is interrupted as by Ctrl-C; what waits does not begin."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._stopped.set()


def is_worker() -> bool:
    """Whether this code runs in a thread of :class:`Workers`, which has one core to itself."""
    return _stopped.get(None) is not None


def check_stopped() -> None:
    """Raise KeyboardInterrupt in a thread of :class:`Workers` that is to stop.

    Ctrl-C itself reaches the main thread only; a training calls this between chunks of steps.
    """
    stopped = _stopped.get(None)
    if stopped is not None and stopped.is_set():
        raise KeyboardInterrupt


_common: ThreadPoolExecutor | None = None
_common_lock = threading.Lock()


def _common_pool() -> ThreadPoolExecutor:
    """Threads that wait for :func:`run_pieces`, started when they are first wanted."""
    global _common
    with _common_lock:
        if _common is None:
            _common = ThreadPoolExecutor(max(1, usable_cores() - 1), "predicting")
        return _common


def _forget_pool() -> None:
    """In a process that was forked: only the forking thread exists there."""
    global _common, _common_lock
    _common, _common_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def run_pieces(function: Callable[[int], Any], n_pieces: int, n_threads: int) -> list[Any]:
    """``function`` of each piece's number, by this thread and others that are free.

    Whoever is ready takes the next piece. Nothing waits for a thread that is busy elsewhere: its
    pieces are done by the others. The threads outlive the call, since starting one costs more than
    most predictions; a child process that was forked starts its own.

    Parameters
    ----------
    function : callable
    n_pieces : int
    n_threads : int
        At most so many take part, this one counted in.

    Returns
    -------
    list
        The results, in the pieces' order.
    """
    results: list[Any] = [None] * n_pieces
    waiting = deque(range(n_pieces))

    def work() -> None:
        try:
            while True:
                try:
                    k = waiting.popleft()
                except IndexError:
                    return
                results[k] = function(k)
        finally:
            waiting.clear()  # after an error, or Ctrl-C, nobody begins another

    pool = _common_pool()
    others = [pool.submit(work) for _ in range(min(n_threads, n_pieces) - 1)]
    try:
        work()
    finally:
        started = [other for other in others if not other.cancel()]
        for other in started:
            other.result()
    return results
