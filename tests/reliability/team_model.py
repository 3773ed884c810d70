"""State model of the barrier and the claims in ``src_cython/threads.h``, explored exhaustively.

A state consists of the shared variables and the position of each thread. Each transition is one
access to shared memory, in the order in which the processor executes them. In each step, every
thread tries to claim a group of blocks and then waits at a barrier. The first barrier may be
cancelled by a thread that does not arrive.
"""

from __future__ import annotations

from typing import NamedTuple


class Thread(NamedTuple):
    """State of a thread: next operation, value that it has read, and step."""

    at: str
    read: int = 0
    step: int = 0


class State(NamedTuple):
    """Shared variables, and the state of each thread."""

    arrived: int
    turn: int
    abort: bool
    claimed: int  # 1 + the last step in which a thread claimed the group
    owners: tuple[int, ...]  # for each step, the number of threads that claimed the group
    threads: tuple[Thread, ...]


ENDED = "done", "left", "absent"


class Protocol:
    """Transitions of the threads; subclasses with faults test whether the search finds them."""

    def __init__(self, n_threads: int, steps: int, absent: bool) -> None:
        self.n_threads, self.steps = n_threads, steps
        threads = [Thread("arrive")] * n_threads
        if absent:
            threads[0] = Thread("call off")
        self.first = State(0, 0, False, 0, (0,) * steps, tuple(threads))

    def move(self, state: State, k: int) -> State:
        """The state after the next access to shared memory by thread k."""
        thread = state.threads[k]
        return getattr(self, thread.at.replace(" ", "_"))(state, k, thread)

    @staticmethod
    def go(state: State, k: int, thread: Thread, **shared: object) -> State:
        threads = (*state.threads[:k], thread, *state.threads[k + 1 :])
        return state._replace(threads=threads, **shared)

    # --- the barrier; barrier 0 precedes the work, barrier s follows the work of step s - 1

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
    """Faults that occur in some order of the transitions.

    Returns
    -------
    set of str
        "lost" or "twice": a group was claimed by no thread or by more than one. "apart": some
        threads passed a barrier that others left or had not reached. "stuck": there is a state from
        which no order of transitions leads to the end.
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
    """Faults of one state."""
    found = set()
    working = [each for each in state.threads if each.at in ("see", "take", "done")]
    for thread in working:  # threads that passed the barrier of their step
        for owners in state.owners[: thread.step]:
            found |= {"lost"} if owners == 0 else {"twice"} if owners > 1 else set()
        if any(other.step < thread.step for other in state.threads):
            found.add("apart")
    if working and any(each.at in ("left", "absent") for each in state.threads):
        found.add("apart")
    if max(state.owners) > 1:
        found.add("twice")
    return found
