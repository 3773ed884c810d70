"""Threads that train one network each, and how they are told to stop."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from fastnn.blas import limited_blas

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
            self._pool = stack.enter_context(ThreadPoolExecutor(self.n_threads, "fastnn"))
            # All threads start here: Ctrl-C while one starts leaves it unknown to the pool, which
            # would not wait for it.
            started = threading.Event()
            stack.callback(started.set)
            for _ in range(self.n_threads):
                self._pool.submit(started.wait)
            started.set()
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


def check_stopped() -> None:
    """Raise KeyboardInterrupt in a thread of :class:`Workers` that is to stop.

    Ctrl-C itself reaches the main thread only; loops of training call this between slices.
    """
    stopped = _stopped.get(None)
    if stopped is not None and stopped.is_set():
        raise KeyboardInterrupt
