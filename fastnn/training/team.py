"""The threads of one training: all started before its first step, gone when it ends."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from fastnn.backends.codes import SYNC_ABORT
from fastnn.backends.tuning import tuning


@contextmanager
def started_threads(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads beside the calling one, all of them started.

    None outlives the context, so that nothing has to survive a fork.

    Parameters
    ----------
    n_threads : int
        Their number, without the calling one.

    Yields
    ------
    ThreadPoolExecutor
        On leaving, everything submitted is waited for.
    """
    pool = ThreadPoolExecutor(n_threads, "fastnn")
    with pool:
        # Ctrl-C while one starts leaves it unknown to the pool, which would not wait for it.
        started = threading.Barrier(n_threads + 1)
        try:
            for _ in range(n_threads):
                pool.submit(started.wait)
            started.wait()
        except BaseException:
            started.abort()
            raise
        yield pool


def receives_signals() -> bool:
    """Whether this is the thread in which Ctrl-C raises KeyboardInterrupt."""
    return threading.current_thread() is threading.main_thread()


def run_team(
    run: Callable[[int], int], n_threads: int, pool: ThreadPoolExecutor | None, sync: np.ndarray
) -> int:
    """Have a team train: each thread calls ``run`` with its number; returns what number 0 got.

    The calling thread is number 0. Whatever keeps it or another away (Ctrl-C, lack of memory), the
    others are told to leave: they wait for all before the first step, and once all are there, in
    compiled code, nothing of Python can come between.

    Parameters
    ----------
    run : callable
    n_threads : int
    pool : ThreadPoolExecutor or None
        With ``n_threads - 1`` idle threads; None for one thread.
    sync : ndarray of int64
        What the threads share; see :class:`fastnn.backends.interface.Team`.
    """

    def join(thread: int) -> None:
        try:
            run(thread)
        except BaseException:
            sync[SYNC_ABORT] = 1
            raise

    others: list[Future] = []
    try:
        for thread in range(1, n_threads):
            assert pool is not None, "several threads without a pool"
            others.append(pool.submit(join, thread))
        done = run(0)
        for other in others:
            other.result()
    except BaseException:
        sync[SYNC_ABORT] = 1
        raise
    return done


def run_apart(run: Callable[[int], int], pool: ThreadPoolExecutor, sync: np.ndarray) -> int:
    """As :func:`run_team` for one thread, which is not the calling one.

    For kernels of Python, which Ctrl-C would end within a step. After it this waits for the step.
    """
    context = contextvars.copy_context()  # with np.errstate
    is_done = threading.Lock()
    is_done.acquire()
    try:
        step = pool.submit(context.run, run, 0)
        step.add_done_callback(lambda _: is_done.release())
        # Ctrl-C while a Condition waits, as in result(), may end in a RuntimeError instead.
        is_done.acquire()
        return step.result()
    except BaseException:
        sync[SYNC_ABORT] = 1
        pool.shutdown()
        raise


def to_the_end(function: Callable[[], None]) -> None:
    """Call a function again if Ctrl-C ends it, then raise KeyboardInterrupt.

    Parameters
    ----------
    function : callable
        What it has done is done once, however often it is called.
    """
    try:
        function()
    except KeyboardInterrupt:
        function()
        raise


class TeamSize:
    """How many threads train the next chunk: all, or one while that is faster.

    Another program may have taken a core, and then threads that wait for each other are slower
    than one alone. The number changes no bit of the result.

    Parameters
    ----------
    most : int
    """

    def __init__(self, most: int) -> None:
        self.most = self.threads = most
        self.last = float("inf")  # seconds per step of the latest chunk with ``threads``
        self.until_probe = self.pause = tuning().probe_first

    def choose(self) -> int:
        """Threads of the next chunk."""
        if self.most == 1 or self.until_probe > 0:
            return self.threads
        return 1 if self.threads > 1 else self.most

    def report(self, threads: int, seconds: float, steps: int) -> None:
        """Time of a chunk; too short ones tell nothing."""
        if self.most == 1:
            return
        limits = tuning()
        if seconds < limits.chunk_seconds / 4:
            return
        if threads == self.threads:
            self.last = seconds / steps
            self.until_probe -= 1
            return
        self.pause = min(2 * self.pause, limits.probe_latest)
        if seconds / steps < self.last:
            self.threads, self.last = threads, seconds / steps
            self.pause = limits.probe_after_change
        self.until_probe = self.pause
