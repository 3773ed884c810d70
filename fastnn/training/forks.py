"""Delay forks of the process until no training step of this package is inside BLAS."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 10.0  # maximum wait of a fork in seconds; longer than a step

_lock = threading.Lock()
_within: set[int] = set()  # identifiers of the threads that are computing


@contextmanager
def held_off() -> Iterator[None]:
    """Context during which a fork in another thread waits.

    OpenBLAS stops its threads before a fork; a caller waiting for their results would then wait
    forever. In the child process, locks held by this thread would never be released.
    """
    own = threading.get_ident()
    try:
        with _lock:
            _within.add(own)
        yield
    finally:
        _within.discard(own)


def _before() -> None:
    """Keep further threads from entering, then wait until those inside have left."""
    _lock.acquire()
    until = time.monotonic() + LONGEST
    while _within - {threading.get_ident()} and time.monotonic() < until:
        time.sleep(1e-4)


def _after_in_child() -> None:
    """Reset the state in the child, where only the forking thread exists."""
    global _lock
    _lock = threading.Lock()
    _within.intersection_update({threading.get_ident()})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=lambda: _lock.release(), after_in_child=_after_in_child
    )
