"""Limit the number of BLAS threads: one limit for the whole process."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class _Applied(NamedTuple):
    """The limit that is in force (None: none), and the numbers of threads without it."""

    limit: int | None = None
    without: tuple[int, ...] | None = None


_CHANGING = -1  # instead of a limit

_lock = threading.Lock()
_limits: dict[object, int] = {}  # limits of all open contexts, in any thread
_applied = _Applied()


@contextmanager
def limited_blas(threads: int) -> Iterator[None]:
    """Context in which BLAS uses at most ``threads`` threads.

    The number of BLAS threads is a property of the process. Networks trained in several Python
    threads must therefore not set and restore it independently: the smallest limit of all open
    contexts applies, and the last context to exit restores the original number. Ctrl-C may come
    between any two lines.
    """
    context = object()
    try:
        try:
            _change(context, threads)
            yield
        finally:
            _change(context, None)
    finally:
        _change(context, None)  # if Ctrl-C kept the line above from its work


def _change(context: object, threads: int | None) -> None:
    """Add the limit of a context, or remove it, and apply the smallest one; idempotent.

    A limit that was set in the environment is never raised.
    """
    global _applied
    with _lock:
        if threads is None:
            _limits.pop(context, None)
        else:
            _limits[context] = threads
        limit = min(_limits.values(), default=None)
        if limit == _applied.limit:
            return
        libraries = _libraries()
        without = _applied.without
        if without is None:
            without = tuple(library.get_num_threads() for library in libraries)
        _applied = _Applied(_CHANGING, without)  # so that a change that is interrupted is repeated
        for library, number in zip(libraries, without, strict=True):
            library.set_num_threads(number if limit is None else min(limit, *without))
        _applied = _Applied() if limit is None else _Applied(limit, without)


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

    return ThreadpoolController().select(user_api="blas").lib_controllers
