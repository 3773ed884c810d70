"""Forks wait until no training of this package is within BLAS."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 10.0  # seconds that a fork waits: a step is shorter

_lock = threading.Lock()
_within: set[int] = set()  # threads that compute


@contextmanager
def held_off() -> Iterator[None]:
    """Context that a fork in another thread waits for.

    OpenBLAS ends its threads before a fork, and does not come back to a thread that waits for
    them; in the child, locks would stay that this thread has.
    """
    own = threading.get_ident()
    try:
        with _lock:
            _within.add(own)
        yield
    finally:
        _within.discard(own)


def _before() -> None:
    """Let nobody else in, then wait for those who are."""
    _lock.acquire()
    until = time.monotonic() + LONGEST
    while _within - {threading.get_ident()} and time.monotonic() < until:
        time.sleep(1e-4)


def _after_in_child() -> None:
    """Only the forking thread exists there."""
    global _lock
    _lock = threading.Lock()
    _within.intersection_update({threading.get_ident()})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=lambda: _lock.release(), after_in_child=_after_in_child
    )
