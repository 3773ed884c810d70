"""Threads with independent tasks: training of several networks, pieces of predictions."""

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
from fastnn.training.team import raise_interrupt, started_threads
from fastnn.training.threads import usable_cores

_stopped: contextvars.ContextVar[threading.Event] = contextvars.ContextVar("stopped")


class Workers:
    """Threads that train one network each, with BLAS limited to one thread.

    A context manager; on exit it waits until all submitted tasks are done.

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
        """Call a function in one of the threads, in a copy of the caller's context.

        The context includes ``np.errstate``.
        """
        context = contextvars.copy_context()
        context.run(_stopped.set, self._stopped)
        return self._pool.submit(context.run, function, *arguments)

    def stop(self) -> None:
        """Interrupt running trainings as by Ctrl-C, and cancel waiting tasks."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._stopped.set()


def is_worker() -> bool:
    """Whether the calling code runs in a thread of :class:`Workers`, which should use one core."""
    return _stopped.get(None) is not None


def check_stopped() -> None:
    """Raise KeyboardInterrupt in a thread of :class:`Workers` after :meth:`Workers.stop`.

    Ctrl-C itself reaches the main thread only. Training runs call this between chunks of steps.
    """
    stopped = _stopped.get(None)
    if stopped is not None and stopped.is_set():
        raise KeyboardInterrupt


_shared_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def get_shared_pool() -> ThreadPoolExecutor:
    """Thread pool of :func:`run_pieces`, created at its first use."""
    global _shared_pool
    with _pool_lock:
        if _shared_pool is None:
            _shared_pool = ThreadPoolExecutor(max(1, usable_cores() - 1), "predicting")
        return _shared_pool


def _forget_pool() -> None:
    """Drop the pool in a forked process, where only the forking thread exists."""
    global _shared_pool, _pool_lock
    _shared_pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def run_pieces(function: Callable[[int], Any], n_pieces: int, n_threads: int) -> list[Any]:
    """Call ``function`` with each of ``range(n_pieces)``, in this thread and idle pool threads.

    Each thread takes the next piece when it is ready, so no call waits for pool threads that are
    busy elsewhere. The pool outlives the call, since starting a thread costs more than most
    predictions; a forked process creates its own pool.

    Parameters
    ----------
    function : callable
        Takes the number of a piece.
    n_pieces : int
    n_threads : int
        Maximum number of threads, including the calling one.

    Returns
    -------
    list
        The results, in the order of the pieces.
    """
    results: list[Any] = [None] * n_pieces
    queue = deque(range(n_pieces))

    def work() -> None:
        try:
            while True:
                try:
                    k = queue.popleft()
                except IndexError:
                    return
                results[k] = function(k)
        finally:
            queue.clear()  # after an error or Ctrl-C, no thread starts another piece

    pool, futures = get_shared_pool(), []
    try:
        try:
            for _ in range(min(n_threads, n_pieces) - 1):
                futures.append(pool.submit(work))
            work()
        finally:
            queue.clear()
            running = [future for future in futures if not future.cancel()]
            for future in running:
                future.result()
    except RuntimeError as error:
        raise_interrupt(error)
        raise
    return results
