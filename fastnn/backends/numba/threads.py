"""Team of threads: barrier, claiming of work, split of a layer's units."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numba.compiling import inner, noinline
from fastnn.backends.numba.pointers import (
    at,
    atomic_compare_exchange,
    atomic_fetch_add,
    atomic_load,
    atomic_store,
    minimum,
    sleep_briefly,
)
from fastnn.backends.numba.products import UNITS

SPIN_LIMIT = 120_000  # iterations of the barrier's loop before the thread sleeps: about 0.1 ms


class Team(NamedTuple):
    """Number of this thread, number of threads, and the integers that they share."""

    thread: int
    n_threads: int
    sync: Any


@noinline
def _wait_at_barrier(team, at_start):
    """Wait for all threads.

    ``sync[0]`` counts the threads that have arrived, ``sync[1]`` the completed barriers. Returns
    False if a thread will not arrive. This is checked only if ``at_start``: no Python code runs
    between later barriers, so that nothing can stop a thread there.
    """
    iteration = at(team.sync, 1)
    before = atomic_load(iteration)
    if atomic_fetch_add(team.sync, 1) == team.n_threads - 1:
        atomic_store(team.sync, 0)
        atomic_store(iteration, before + 1)
        return True
    spins = 0
    while atomic_load(iteration) == before:
        if at_start and atomic_load(at(team.sync, codes.SYNC_ABORT)) != 0:
            return False
        spins += 1
        if spins > SPIN_LIMIT:
            sleep_briefly()
    return True


@inner
def barrier(team):
    """Wait for all threads."""
    if team.n_threads > 1:
        _wait_at_barrier(team, np.bool_(False))


@inner
def start_barrier(team):
    """Wait for all threads before the first step; return whether all arrived."""
    return team.n_threads == 1 or _wait_at_barrier(team, np.bool_(True))


@inner
def claim(claims, iteration):
    """Claim work for this thread in this turn; return whether it succeeded.

    ``claims`` is the last turn in which the work was claimed, plus 1.
    """
    last = atomic_load(claims)
    return last <= iteration and atomic_compare_exchange(claims, last, iteration + 1)


@inner
def _share_start(units, thread, n_threads):
    """Return the first unit of a thread's share of a layer, a multiple of ``UNITS``."""
    if n_threads == 1:
        return thread * units
    if thread == n_threads:
        return units
    # The last piece includes the remainder, so that no piece has fewer than UNITS units.
    nearest = (2 * thread * units + n_threads * UNITS) // (2 * n_threads * UNITS)
    last = units // UNITS - 1
    if last < 0:
        return 0
    return minimum(nearest, last) * UNITS


@inner
def unit_share(units, team):
    """Return the range (begin, end) of units in this thread's share."""
    begin = _share_start(units, team.thread, team.n_threads)
    return begin, _share_start(units, team.thread + 1, team.n_threads)
