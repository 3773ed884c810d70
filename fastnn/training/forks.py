"""Delay forks of the process until no training step of this package is inside BLAS."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MAX_WAIT = 10.0  # maximum wait of a fork in seconds; longer than a step

_lock = threading.Lock()
_computing_threads: set[int] = set()  # identifiers of the threads that are computing


@contextmanager
def delay_forks() -> Iterator[None]:
    """Context during which a fork in another thread waits.

    OpenBLAS stops its threads before a fork; a caller waiting for their results would then wait
    forever. In the child process, locks held by this thread would never be released.
    """
    own = threading.get_ident()
    try:
        with _lock:
            _computing_threads.add(own)
        yield
    finally:
        _computing_threads.discard(own)


def _before_fork() -> None:
    """Keep further threads from entering, then wait until those inside have left."""
    _lock.acquire()
    deadline = time.monotonic() + MAX_WAIT
    while _computing_threads - {threading.get_ident()} and time.monotonic() < deadline:
        time.sleep(1e-4)


def _after_in_child() -> None:
    """Reset the state in the child, where only the forking thread exists."""
    global _lock
    _lock = threading.Lock()
    _computing_threads.intersection_update({threading.get_ident()})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=lambda: _lock.release(), after_in_child=_after_in_child
    )
