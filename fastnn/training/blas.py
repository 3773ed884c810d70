"""The threads of BLAS: one limit for the process, whoever asks for it."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_limits: list[int] = []  # of the contexts that are open, in any thread
_limiter: Any = None  # holds the smallest of them; knows the numbers from before the first


@contextmanager
def limited_blas(threads: int) -> Iterator[None]:
    """Context in which BLAS uses at most so many threads.

    The number of BLAS's threads belongs to the process. Networks that train in several threads
    of Python must therefore not each set it and set it back: the smallest number asked for
    holds, and the last to leave restores what was.
    """
    _change(_limits.append, threads)
    try:
        yield
    finally:
        _change(_limits.remove, threads)


def _change(change: Any, threads: int) -> None:
    """Add or remove a limit, and have the smallest in force."""
    global _limiter
    with _lock:
        before = min(_limits, default=None)
        change(threads)
        now = min(_limits, default=None)
        if now == before:
            return
        if _limiter is not None:
            _limiter.restore_original_limits()
        _limiter = None if now is None else _limited(now)


def _limited(threads: int) -> Any:
    """Limit the libraries; none gets more threads than the environment gave it."""
    libraries = _libraries().select(user_api="blas")
    had = [library["num_threads"] for library in libraries.info()]
    return libraries.limit(limits=min([threads, *had]))


def _forget() -> None:
    """In a process that was forked: the trainings of other threads do not go on there.

    The next limit sets the threads of BLAS back; BLAS may not be called yet, since another thread
    may have held its locks.
    """
    global _lock
    _lock = threading.Lock()
    _limits.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@functools.cache
def _libraries() -> Any:
    """The BLAS libraries of this process; looking for them takes milliseconds."""
    import scipy.linalg.cython_blas  # noqa: F401 (loads the one that the kernels call)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
