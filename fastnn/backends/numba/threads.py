"""Team of threads: barrier, claiming of work, split of a layer's units."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastnn.backends import codes
from fastnn.backends.numba.compiling import apart, inner
from fastnn.backends.numba.pointers import (
    at,
    atomic_add,
    atomic_load,
    atomic_store,
    atomic_take,
    sleep_a_little,
    smaller,
)
from fastnn.backends.numba.products import UNITS

SPINS = 120_000  # iterations of the barrier's loop before the thread sleeps: about 0.1 ms


class Team(NamedTuple):
    """Number of this thread, number of threads, and the integers that they share."""

    thread: int
    n_threads: int
    sync: Any


@apart
def _wait_for_all(team, at_start):
    """Wait for all threads.

    ``sync[0]`` counts the threads that have arrived, ``sync[1]`` the completed barriers. Returns
    False if a thread will not arrive. This is checked only if ``at_start``: no Python code runs
    between later barriers, so that nothing can stop a thread there.
    """
    turn = at(team.sync, 1)
    before = atomic_load(turn)
    if atomic_add(team.sync, 1) == team.n_threads - 1:
        atomic_store(team.sync, 0)
        atomic_store(turn, before + 1)
        return True
    looks = 0
    while atomic_load(turn) == before:
        if at_start and atomic_load(at(team.sync, codes.SYNC_ABORT)) != 0:
            return False
        looks += 1
        if looks > SPINS:
            sleep_a_little()
    return True


@inner
def barrier(team):
    """Wait for all threads."""
    if team.n_threads > 1:
        _wait_for_all(team, False)


@inner
def assemble(team):
    """Wait for all threads before the first step; return whether all arrived."""
    return team.n_threads == 1 or _wait_for_all(team, True)


@inner
def claim(claims, turn):
    """Claim work for this thread in this turn; return whether it succeeded.

    ``claims`` is the last turn in which the work was claimed, plus 1.
    """
    noted = atomic_load(claims)
    return noted <= turn and atomic_take(claims, noted, turn + 1)


@inner
def _first_unit(units, thread, n_threads):
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
    return smaller(nearest, last) * UNITS


@inner
def share_of_units(units, team):
    """Return the range (begin, end) of units in this thread's share."""
    begin = _first_unit(units, team.thread, team.n_threads)
    return begin, _first_unit(units, team.thread + 1, team.n_threads)
