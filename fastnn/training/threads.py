"""Threads that work side by side: how many, and how those that train are told to stop."""

from __future__ import annotations

import contextvars
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from fastnn.training.blas import limited_blas

_stopped: contextvars.ContextVar[threading.Event] = contextvars.ContextVar("stopped")

_CPU_MAX = "/sys/fs/cgroup/cpu.max"  # as a container sees it


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, or what its container is given."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota()))


@functools.cache
def _quota() -> int:
    """Cores' worth of time that Linux gives the process's control group, rounded up."""
    with suppress(OSError, ValueError), open(_CPU_MAX) as file:
        quota, period = file.read().split()  # microseconds; the quota may be "max"
        return -(-int(quota) // int(period))
    return os.cpu_count() or 1


def default_threads() -> int:
    """Threads for work whose caller names no number: the cores, or OMP_NUM_THREADS if fewer.

    The variable is what users of NumPy, scikit-learn and PyTorch set to share a machine, and what
    joblib gives each of its processes.
    """
    most = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    cores = usable_cores()
    return max(1, min(cores, int(most))) if most.isdigit() else cores


@contextmanager
def helpers(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads beside the calling one: all of them started, each on a core of its own.

    Parameters
    ----------
    n_threads : int
        Their number, without the calling one.

    Yields
    ------
    ThreadPoolExecutor
        On leaving, everything submitted is waited for.
    """
    here = _core()
    allowed = [] if here is None else sorted(os.sched_getaffinity(0), reverse=True)
    # Each takes the last one: the cores that follow this one, then those before it.
    free = [core for core in allowed if core < here] + [core for core in allowed if core > here]
    pool = ThreadPoolExecutor(n_threads, "fastnn", initializer=_leave, initargs=(here, free))
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


def _leave(core: int | None, free: list[int]) -> None:
    """If this thread runs there, go to a free core, without losing the right to all of them.

    Linux may start a thread on its creator's core while another is idle, and take many milliseconds
    to notice; meanwhile the two would wait for each other.
    """
    if core is not None and _core() == core:
        with suppress(OSError, IndexError):
            allowed = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {free.pop()})
            os.sched_setaffinity(0, allowed)


def _core() -> int | None:
    """Number of the core that this thread runs on; None where that cannot be told or chosen."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    try:
        with open("/proc/thread-self/stat") as file:
            # what stands before may have blanks: the name of the program, in parentheses
            return int(file.read().rpartition(")")[2].split()[36])
    except (OSError, ValueError, IndexError):
        return None


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
            self._pool = stack.enter_context(helpers(self.n_threads))
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
    """In a process that was forked: the pool's threads did not come along."""
    global _common, _common_lock
    _common, _common_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def run_pieces(function: Callable[[int], Any], n_pieces: int, n_threads: int) -> list[Any]:
    """``function`` of each piece's number, by this thread and others that are free.

    Whoever is ready takes the next piece. Nothing waits for a thread that is busy elsewhere: what
    it would have done, this one does.

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


def is_worker() -> bool:
    """Whether this code runs in a thread of :class:`Workers`, which has one core to itself."""
    return _stopped.get(None) is not None


def check_stopped() -> None:
    """Raise KeyboardInterrupt in a thread of :class:`Workers` that is to stop.

    Ctrl-C itself reaches the main thread only; loops of training call this between slices.
    """
    stopped = _stopped.get(None)
    if stopped is not None and stopped.is_set():
        raise KeyboardInterrupt
