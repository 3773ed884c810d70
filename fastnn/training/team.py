"""The threads of one training: all started before its first step, gone when it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

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
