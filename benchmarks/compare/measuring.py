"""Pairs of turns, and what their ratios say."""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.compare.jobs import Job
from benchmarks.compare.trees import Failure, Tree, Worker, fresh_process

STARTS = 3  # of the worker processes; each does a third of the pairs
REST = 0.02  # seconds before a turn: threads of BLAS spin for a while after their work


@dataclass
class Row:
    """Of a job and backend: seconds of a step or call, pair by pair, and both results."""

    name: str
    job: Job
    backend: str
    steps: int = 0
    times: tuple[list, list] = field(default_factory=lambda: ([], []))
    digests: tuple[set, set] = field(default_factory=lambda: (set(), set()))
    losses: list[float] = field(default_factory=lambda: [math.nan, math.nan])
    error: str = ""

    @property
    def ratios(self) -> list[float]:
        """Today / BASE."""
        return [today / base for base, today in zip(*self.times, strict=True)]

    @property
    def result(self) -> str:
        """How the results compare."""
        if self.error or not self.digests[0]:
            return self.error
        if max(map(len, self.digests)) > 1:
            return "not repeatable"
        if self.digests[0] == self.digests[1]:
            return "equal bits"
        base, today = self.losses
        return f"loss differs by {abs(today - base) / max(abs(base), 1e-300):.0e}"

    def fails(self, tolerance: float) -> bool:
        """Whether it is worse than tolerated by more than the spread explains."""
        return bool(self.error) or interval(self.ratios)[0] > tolerance


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """At least 95% confidence interval of the median: of 45 ratios the 16th and 30th smallest.

    It is that of the sign test, which supposes nothing about how the ratios are distributed. Fewer
    than six ratios give the least and the largest.
    """
    n, tail, rank = len(ratios), 0.0, 0
    while rank < n // 2 and (tail := tail + math.comb(n, rank) / 2**n) <= 0.025:
        rank += 1
    rank = max(rank, 1)
    return sorted(ratios)[rank - 1], sorted(ratios)[-rank]


def order(pair: int) -> tuple[int, int]:
    """Which tree is first in a pair: A B B A ..."""
    return (0, 1) if pair % 2 == 0 else (1, 0)


def say(text: str) -> None:
    """Progress, where someone watches, on one line."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def measure(
    rows: Iterable[Row], trees: Sequence[Tree], rounds: int, seconds: float
) -> dict[str, str]:
    """Fill the rows of jobs that worker processes do; gives what these know of machine and data."""
    rows, facts, starts = list(rows), {}, min(STARTS, rounds)
    with tempfile.TemporaryDirectory() as folder:
        for start, backend in itertools.product(
            range(starts), dict.fromkeys(r.backend for r in rows)
        ):
            pairs = rounds // starts + (start < rounds % starts)
            with ExitStack() as stack:
                workers = [stack.enter_context(Worker(tree)) for tree in trees]
                for row in rows:
                    if row.backend != backend or row.error:
                        continue
                    say(f"start {start + 1} of {starts}, {backend}, {row.name}")
                    try:
                        facts |= take_turns(row, workers, pairs, seconds, folder)
                    except Failure as error:
                        row.error = str(error)
                        for worker in workers:
                            worker.restart()
    return facts


def take_turns(
    row: Row, workers: Sequence[Worker], pairs: int, seconds: float, folder: str
) -> dict[str, str]:
    """Prepare a job and time some pairs."""
    given = {"job": dataclasses.asdict(row.job), "backend": row.backend, "folder": folder}
    known = [worker.ask("prepare", **given) for worker in workers]
    if not row.steps:
        row.steps = workers[0].ask("calibrate", seconds=seconds)["steps"]
    for pair in range(pairs):
        for k in order(pair):
            time.sleep(REST)
            answer = workers[k].ask("turn", steps=row.steps)
            row.times[k].append(answer["seconds"] / row.steps)
            row.digests[k].add(answer["digest"])
            row.losses[k] = answer["loss"]
    facts = {"images": known[0]["source"]} if known[0]["source"] else {}
    if row.backend == "cython":
        facts["vector level"] = " and ".join(dict.fromkeys(answer["level"] for answer in known))
    return facts


def measure_processes(rows: Iterable[Row], trees: Sequence[Tree], rounds: int) -> list[Row]:
    """Fill the rows of fresh processes; gives more rows, of the compilation in them.

    They take long: there are a third as many pairs, of those that compile a fifteenth.
    """
    more = []
    for row in rows:
        say(f"fresh processes, {row.name}")
        compiling = dataclasses.replace(row, name=f"{row.name}: compile", times=([], []))
        cold = row.name == "numba-cold"
        try:
            if not cold:
                for tree in trees:
                    fresh_process(tree, row.name)  # reads files, fills the cache
            for pair in range(max(1, rounds // (15 if cold else 3))):
                for k in order(pair):
                    seconds, compile_seconds = fresh_process(trees[k], row.name)
                    row.times[k].append(seconds)
                    if row.backend == "numba":
                        compiling.times[k].append(compile_seconds)
        except Failure as error:
            row.error = str(error)
        else:
            more += [compiling] if compiling.times[0] else []
    return more
