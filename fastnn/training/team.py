"""The threads of one training run: started before its first step, ended with it."""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from fastnn.backends.codes import SYNC_ABORT
from fastnn.backends.tuning import tuning

# Of ThreadTuner; the first two are relative to ``Tuning.chunk_seconds``.
_SHORT = 1 / 20  # chunks that take less are too short to be compared alone
_TIMED = 1 / 8  # time of the chunks that are compared together
_SLOW = 1.5  # a single chunk is compared if it takes this many times as long as the latest probe


@contextmanager
def started_threads(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """Context with a pool of threads that are all started.

    The threads end with the context, so that no pool has to survive a fork.

    Parameters
    ----------
    n_threads : int
        Number of threads, not counting the calling one.

    Yields
    ------
    ThreadPoolExecutor
        The pool. On exit the context waits for all submitted tasks.
    """
    pool = ThreadPoolExecutor(n_threads, "fastnn")
    with pool:
        # A thread whose start is interrupted by Ctrl-C is unknown to the pool, which does not wait
        # for it. Aborting the barrier then releases the thread.
        started = threading.Barrier(n_threads + 1)
        try:
            for _ in range(n_threads):
                pool.submit(started.wait)
            started.wait()
        except BaseException as error:
            started.abort()
            raise_interrupt(error)
            raise
        yield pool


def is_interrupt(error: BaseException) -> bool:
    """Whether Ctrl-C caused an exception.

    If it comes while a ``Condition`` waits (for the start of a thread, for the result of a Future),
    Python raises RuntimeError, since it then releases a lock that it does not hold.
    """
    if isinstance(error, RuntimeError):
        return isinstance(error.__context__, KeyboardInterrupt)
    return isinstance(error, KeyboardInterrupt)


def raise_interrupt(error: BaseException) -> None:
    """Raise KeyboardInterrupt in place of an error that Ctrl-C caused."""
    if is_interrupt(error):
        raise KeyboardInterrupt from None


def receives_signals() -> bool:
    """Whether this is the thread in which Ctrl-C raises KeyboardInterrupt."""
    return threading.current_thread() is threading.main_thread()


def run_team(
    run: Callable[[int], int], n_threads: int, pool: ThreadPoolExecutor | None, sync: np.ndarray
) -> int:
    """Train with a team of threads; return the result of thread 0, the calling one.

    Each thread calls ``run`` with its number. Before the first step the threads wait for each
    other; if one fails to arrive (Ctrl-C, out of memory), the others are told to return. Once all
    have arrived, they are in compiled code, where no Python exception can occur.

    Parameters
    ----------
    run : callable
    n_threads : int
    pool : ThreadPoolExecutor or None
        Pool with ``n_threads - 1`` idle threads; None for one thread.
    sync : ndarray of int64
        State shared by the threads; see :class:`fastnn.backends.interface.Team`.
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
    except BaseException as error:
        sync[SYNC_ABORT] = 1
        raise_interrupt(error)
        raise
    return done


def run_in_worker(run: Callable[[int], int], pool: ThreadPoolExecutor, sync: np.ndarray) -> int:
    """Like :func:`run_team` with a single thread, which is not the calling one.

    For kernels in Python, which Ctrl-C would otherwise interrupt within a step. After Ctrl-C this
    function waits until the step is complete.
    """
    context = contextvars.copy_context()  # includes np.errstate
    is_done = threading.Lock()
    is_done.acquire()
    try:
        step = pool.submit(context.run, run, 0)
        step.add_done_callback(lambda _: is_done.release())
        # Wait for a lock, not in result(): Ctrl-C inside its Condition may raise RuntimeError.
        is_done.acquire()
        return step.result()
    except BaseException as error:
        sync[SYNC_ABORT] = 1
        pool.shutdown()
        raise_interrupt(error)
        raise


def call_to_completion(function: Callable[[], None]) -> None:
    """Call a function; if Ctrl-C interrupts it, call it again and re-raise KeyboardInterrupt.

    Parameters
    ----------
    function : callable
        Must be idempotent.
    """
    try:
        function()
    except KeyboardInterrupt:
        function()
        raise


class ThreadTuner:
    """Choose the number of threads of the next chunk: all, or one while that is faster.

    If another program occupies a core, threads that wait for each other are several times slower
    than a single one. The results do not depend on the number, to the last bit.

    Now and then a chunk is run with the other number, as a probe. The second chunk of a run is one
    if the first was short, so that a short training notices a busy core too. Chunks too short to
    be timed count together.

    Parameters
    ----------
    max_threads : int
        Maximum number of threads.
    """

    def __init__(self, max_threads: int) -> None:
        self.max_threads = self.threads = max_threads
        # Seconds per step of the latest chunks with ``threads``, and of the latest probe.
        self.current = self.other = math.inf
        self.seconds, self.steps = 0.0, 0  # of the chunks since the last decision
        self.is_first = True
        self.chunks_until_probe = self.probe_interval = tuning().first_probe

    def choose(self) -> int:
        """Return the number of threads for the next chunk."""
        if self.max_threads == 1 or self.chunks_until_probe > 0:
            return self.threads
        return 1 if self.threads > 1 else self.max_threads

    def report(self, threads: int, seconds: float, steps: int) -> None:
        """Record the time of a chunk."""
        if self.max_threads == 1:
            return
        limits = tuning()
        if self.is_first:  # not representative, since it touches the memory for the first time
            self.is_first = False
            if seconds < _SHORT * limits.chunk_seconds:
                self.chunks_until_probe = 0
            return
        is_probe = threads != self.threads
        is_first_probe = is_probe and self.current == math.inf
        is_slow = (
            not is_probe
            and seconds > _SHORT * limits.chunk_seconds
            and seconds / steps > _SLOW * self.other
        )
        self.seconds, self.steps = self.seconds + seconds, self.steps + steps
        if self.seconds < _TIMED * limits.chunk_seconds and not (is_first_probe or is_slow):
            return
        measured, self.seconds, self.steps = self.seconds / self.steps, 0.0, 0
        if is_first_probe:
            self.other, self.chunks_until_probe = measured, self.probe_interval
        elif is_probe:
            self.other = measured
            self.probe_interval = min(2 * self.probe_interval, limits.max_probe_interval)
            self.chunks_until_probe = self.probe_interval
            if measured < self.current:
                self._switch()
        else:
            self.current = measured
            self.chunks_until_probe -= 1
            if measured > self.other:
                self._switch()

    def _switch(self) -> None:
        """Change the number of threads; soon probe whether the other one is faster again."""
        self.threads = 1 if self.threads > 1 else self.max_threads
        self.current, self.other = self.other, self.current
        self.chunks_until_probe = self.probe_interval = tuning().probe_after_change
