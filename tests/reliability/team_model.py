"""The barrier and the claims of ``src_cython/threads.h`` as states, and a search of all of them.

A state has what the threads share and, of each thread, where it is. Each move is one access of
shared memory, as the processor orders them. In a step each thread claims a group of blocks, then
meets the others; the first meeting may be called off by a thread that does not come.
"""

from __future__ import annotations

from typing import NamedTuple


class Thread(NamedTuple):
    """Where a thread is: what comes next, what it has read, the step."""

    at: str
    read: int = 0
    step: int = 0


class State(NamedTuple):
    """All that there is."""

    arrived: int
    turn: int
    abort: bool
    claimed: int  # the last step in which a thread had the group, plus 1
    owners: tuple[int, ...]  # how many claimed it, by step
    threads: tuple[Thread, ...]


ENDED = "done", "left", "absent"


class Protocol:
    """Moves of the threads; subclasses with a fault show that the search finds it."""

    def __init__(self, n_threads: int, steps: int, absent: bool) -> None:
        self.n_threads, self.steps = n_threads, steps
        threads = [Thread("arrive")] * n_threads
        if absent:
            threads[0] = Thread("call off")
        self.first = State(0, 0, False, 0, (0,) * steps, tuple(threads))

    def move(self, state: State, k: int) -> State:
        """The state after the next access of thread k."""
        thread = state.threads[k]
        return getattr(self, thread.at.replace(" ", "_"))(state, k, thread)

    @staticmethod
    def go(state: State, k: int, thread: Thread, **shared: object) -> State:
        threads = (*state.threads[:k], thread, *state.threads[k + 1 :])
        return state._replace(threads=threads, **shared)

    # --- the barrier; step 0 is before the work, step s is behind that of s - 1

    def arrive(self, state, k, thread):
        return self.go(state, k, thread._replace(at="count", read=state.turn))

    def count(self, state, k, thread):
        last = state.arrived == self.n_threads - 1
        thread = thread._replace(at="reset" if last else "wait")
        return self.go(state, k, thread, arrived=state.arrived + 1)

    def reset(self, state, k, thread):
        return self.go(state, k, thread._replace(at="release"), arrived=0)

    def release(self, state, k, thread):
        return self.go(state, k, self.passed(thread), turn=thread.read + 1)

    def wait(self, state, k, thread):
        if state.turn != thread.read:
            return self.go(state, k, self.passed(thread))
        return self.go(state, k, thread._replace(at="look" if thread.step == 0 else "wait"))

    def look(self, state, k, thread):
        return self.go(state, k, thread._replace(at="left" if state.abort else "wait"))

    def passed(self, thread):
        return Thread("done" if thread.step == self.steps else "see", 0, thread.step)

    # --- work

    def see(self, state, k, thread):
        mine = state.claimed <= thread.step
        next_ = Thread("take", state.claimed, thread.step) if mine else self.worked(thread)
        return self.go(state, k, next_)

    def take(self, state, k, thread):
        if state.claimed != thread.read:
            return self.go(state, k, self.worked(thread))
        return self.own(state, k, thread)

    def own(self, state, k, thread):
        owners = list(state.owners)
        owners[thread.step] += 1
        changes = {"claimed": thread.step + 1, "owners": tuple(owners)}
        return self.go(state, k, self.worked(thread), **changes)

    def worked(self, thread):
        return Thread("arrive", 0, thread.step + 1)

    def call_off(self, state, k, thread):
        return self.go(state, k, Thread("absent"), abort=True)


def faults(protocol: Protocol) -> set[str]:
    """What can go wrong, in any order of the moves.

    Returns
    -------
    set of str
        "lost" or "twice": a group that nobody or more than one claimed; "apart": some came and some
        left, or a step was begun before all had met; "stuck": no order leads to the end any more.
    """
    found, before, waiting = set(), {protocol.first: set()}, [protocol.first]
    ends = []
    while waiting:
        state = waiting.pop()
        found |= _wrong(protocol, state)
        moving = [k for k, thread in enumerate(state.threads) if thread.at not in ENDED]
        if not moving:
            ends.append(state)
        for k in moving:
            after = protocol.move(state, k)
            if after not in before:
                before[after] = set()
                waiting.append(after)
            before[after].add(state)
    ending = set(ends)
    while ends:
        new = before[ends.pop()] - ending
        ending |= new
        ends += new
    return found | ({"stuck"} if len(ending) < len(before) else set())


def _wrong(protocol: Protocol, state: State) -> set[str]:
    """What is wrong with one state."""
    found = set()
    working = [each for each in state.threads if each.at in ("see", "take", "done")]
    for thread in working:  # behind the meeting of this step
        for owners in state.owners[: thread.step]:
            found |= {"lost"} if owners == 0 else {"twice"} if owners > 1 else set()
        if any(other.step < thread.step for other in state.threads):
            found.add("apart")
    if working and any(each.at in ("left", "absent") for each in state.threads):
        found.add("apart")
    if max(state.owners) > 1:
        found.add("twice")
    return found
