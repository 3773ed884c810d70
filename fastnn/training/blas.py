"""Limit the number of BLAS threads: one limit for the whole process."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_limits: list[int] = []  # limits of all open contexts, in any thread
_limiter: Any = None  # applies the smallest limit and remembers the original thread counts


@contextmanager
def limited_blas(threads: int) -> Iterator[None]:
    """Context in which BLAS uses at most ``threads`` threads.

    The number of BLAS threads is a property of the process. Networks trained in several Python
    threads must therefore not set and restore it independently: the smallest limit of all open
    contexts applies, and the last context to exit restores the original number.
    """
    _change(_limits.append, threads)
    try:
        yield
    finally:
        _change(_limits.remove, threads)


def _change(change: Any, threads: int) -> None:
    """Add or remove a limit, then apply the smallest one."""
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
    """Limit the BLAS libraries; never raise a limit that was set in the environment."""
    libraries = _libraries().select(user_api="blas")
    had = [library["num_threads"] for library in libraries.info()]
    return libraries.limit(limits=min([threads, *had]))


def _forget() -> None:
    """Drop all limits in a forked process, where the trainings of other threads do not continue.

    The original number of BLAS threads is restored at the next change of the limit. It cannot be
    restored here, since another thread may have held the locks of BLAS during the fork.
    """
    global _lock
    _lock = threading.Lock()
    _limits.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@functools.cache
def _libraries() -> Any:
    """The BLAS libraries of this process; cached, since the search takes milliseconds."""
    import scipy.linalg.cython_blas  # noqa: F401 (loads the BLAS that the kernels call)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
