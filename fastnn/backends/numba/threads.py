"""Threads that train together: they meet at a barrier, claim work, split layers."""

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

SPINS = 120_000  # looks at a barrier before the processor is left to others: about 0.1 ms


class Team(NamedTuple):
    """Threads, this one's number, and the integers that they share."""

    thread: int
    n_threads: int
    sync: Any


@apart
def _wait_for_all(team, at_start):
    """Wait for all threads; ``sync`` holds who has arrived and how often all had.

    False if one of them will not come, which is looked at if ``at_start``: no Python runs later, so
    that nothing can keep a thread away.
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
    """Wait for all threads before the first step; whether all came."""
    return team.n_threads == 1 or _wait_for_all(team, True)


@inner
def claim(claims, turn):
    """Whether work is this thread's in this turn; ``claims`` holds the last turn taken, plus 1."""
    noted = atomic_load(claims)
    return noted <= turn and atomic_take(claims, noted, turn + 1)


@inner
def _first_unit(units, thread, n_threads):
    """Where a thread's share of a layer's units begins, in whole ``UNITS``."""
    if n_threads == 1:
        return thread * units
    if thread == n_threads:
        return units
    # what is left over goes with the last of them, so that no product is smaller than one
    nearest = (2 * thread * units + n_threads * UNITS) // (2 * n_threads * UNITS)
    last = units // UNITS - 1
    if last < 0:
        return 0
    return smaller(nearest, last) * UNITS


@inner
def share_of_units(units, team):
    """First unit of a thread's share, and the first one behind it."""
    begin = _first_unit(units, team.thread, team.n_threads)
    return begin, _first_unit(units, team.thread + 1, team.n_threads)
