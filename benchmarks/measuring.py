"""Time contenders at jobs: they are checked, warmed up, then timed in turn in several rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from benchmarks.contenders import CONTENDERS
from benchmarks.contenders.base import Contender, Runner
from benchmarks.contenders.fastnn_ import Fastnn
from benchmarks.jobs import Job
from benchmarks.machine import floor, machine
from benchmarks.processes import Child, ChildError, in_fresh_process
from benchmarks.tasks import Task
from fastnn.training.threads import usable_cores

PREPARE_LIMIT = 300.0  # seconds to import, compile and warm up
TIMING_LIMIT = 120.0
REST = 0.2  # pause before each turn in seconds: threads of the last contender spin for a while

Key = TypeVar("Key", bound=Hashable)


def medians_in_turn(contenders: Mapping[Key, Callable[[], float]], rounds: int) -> dict[Key, float]:
    """Call the functions in turn, in several rounds; return the median result of each."""
    values: dict[Key, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, timed in contenders.items():
            values[name].append(timed())
    return {name: statistics.median(found) for name, found in values.items()}


# --- in the contender's process -----------------------------------------------------


def check(task: Task, contender: Contender, runner: Runner) -> dict[str, Any]:
    """Compare the results of a contender with its reference, usually the NumPy backend.

    Parameters
    ----------
    task : Task
    contender : Contender
    runner : Runner
        A new runner; its first steps are done here.

    Returns
    -------
    dict
        loss, reference, difference (relative), tolerance, equal. For predictions "loss" is the
        mean probability of class 0 and "difference" the largest difference of a probability.
    """
    job = task.job
    reference = (contender.reference or Fastnn)(task)
    steps = 1 if job.predict else job.check_steps
    runner.run(steps)
    reference.run(steps)
    got, expected = np.array(runner.result()), reference.result()
    if job.predict:
        loss, reference_loss = float(got[:, 0].mean()), float(expected[:, 0].mean())
        difference = float(np.abs(got - expected).max())
    else:
        loss, reference_loss = task.loss_of(got), task.loss_of(expected)
        difference = abs(loss - reference_loss) / abs(reference_loss)
    return {
        "loss": loss,
        "reference": reference_loss,
        "difference": difference,
        "tolerance": job.tolerance,
        "equal": bool(difference <= job.tolerance),
    }


def seconds_per_step(task: Task, runner: Runner, seconds: float, guess: float) -> float:
    """Time steps from the initial weights for about ``seconds``; return seconds per step."""
    steps = task.whole_epochs(max(3, int(seconds / max(guess, 1e-9))))
    runner.reset()
    return runner.timed(steps) / steps


def calibrate(task: Task, runner: Runner) -> float:
    """Estimate the seconds per step; also warms up."""
    steps = 1
    while True:
        runner.reset()
        seconds = runner.timed(steps)
        if seconds > 0.1:
            return seconds / steps
        steps = task.whole_epochs(4 * steps)


class Worker:
    """Object that answers requests in the process of a contender, one job after the other."""

    def __init__(self, contender: str, data_dir: str | None) -> None:
        self.contender, self.data_dir = CONTENDERS[contender], data_dir
        self.task: Task | None = None
        self.runner: Runner | None = None
        self.step = 0.0

    def prepare(self, job: Job) -> dict[str, Any]:
        """Compile, check, warm up; result of :func:`check`, source of data, warm-up time."""
        self.runner = self.task = None  # release the memory of the previous job
        self.task = Task.make(job, self.data_dir)
        started = time.perf_counter()
        self.runner = self.contender.make(self.task)
        answer = check(self.task, self.contender, self.runner)
        self.step = calibrate(self.task, self.runner)
        warm_up = time.perf_counter() - started
        return {**answer, "data": self.task.source, "warm_up_seconds": warm_up}

    def time(self, seconds: float) -> float:
        """Seconds per step, measured for about ``seconds``."""
        self.step = seconds_per_step(self.task, self.runner, seconds, self.step)
        return self.step


# --- in the parent ------------------------------------------------------------------


class ContenderProcess(Child):
    """A process with a :class:`Worker`."""

    def __init__(self, contender: str, data_dir: str | None = None) -> None:
        variables = CONTENDERS[contender].environment
        super().__init__("benchmarks.measuring:Worker", contender, data_dir, variables=variables)

    def prepare(self, job: Job) -> dict[str, Any]:
        """See :meth:`Worker.prepare`."""
        return self.ask("prepare", job, limit=PREPARE_LIMIT)

    def time(self, seconds: float) -> float:
        """See :meth:`Worker.time`."""
        return self.ask("time", seconds, limit=TIMING_LIMIT + seconds)


def measure(
    jobs: Sequence[Job],
    contenders: Sequence[Contender],
    *,
    seconds: float = 1.0,
    rounds: int = 5,
    data_dir: str | None = None,
    advance: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Time contenders at jobs, in turn, in several rounds.

    Parameters
    ----------
    jobs : sequence of Job
    contenders : sequence of Contender
        Contenders that are not installed are listed under "missing".
    seconds : float
        Timing of each contender at each job.
    rounds : int
        Number of turns into which ``seconds`` is divided.
    data_dir : str, optional
        Folder of MNIST's files.
    advance : callable
        Called with a description of each next step, ``steps_of_work`` times.

    Returns
    -------
    dict
        Plain data, the contents of the JSON file of ``python -m benchmarks``.
    """
    missing = {c.name: reason for c in contenders if (reason := c.why_missing())}
    present = [c for c in contenders if c.name not in missing]
    children: dict[str, ContenderProcess] = {}
    results: list[dict[str, Any]] = []
    advance("the machine")
    speed = in_fresh_process("benchmarks.machine", "speeds")
    try:
        for job in jobs:
            takers = [c for c in present if c.takes(job)]
            for c in takers:
                if c.name not in children:
                    children[c.name] = ContenderProcess(c.name, data_dir)
            turns = _Turns(job, takers, children, advance)
            turns.prepare()
            turns.time(seconds, rounds)
            results.extend(turns.summary())
    finally:
        for child in children.values():
            child.close()
    return {
        "machine": {**machine(), **speed},
        "settings": {"seconds": seconds, "rounds": rounds},
        "jobs": {
            job.name: {
                "description": job.describe(),
                **asdict(job),
                "flops": job.flops,
                "moved_bytes": job.moved_bytes,
                "floor": floor(job, speed),
            }
            for job in jobs
        },
        "contenders": {c.name: {"title": c.title, "peer": c.peer} for c in present},
        "missing": missing,
        "results": results,
        "ratios": ratios(results),
    }


def steps_of_work(jobs: Iterable[Job], contenders: Sequence[Contender], rounds: int) -> int:
    """Number of calls of ``advance`` by :func:`measure`."""
    present = [c for c in contenders if not c.why_missing()]
    return 1 + sum(c.takes(job) for job in jobs for c in present) * (1 + rounds)


class _Turns:
    """The turns of the contenders at one job; failed processes are skipped in later rounds."""

    def __init__(
        self,
        job: Job,
        contenders: Sequence[Contender],
        children: dict[str, ContenderProcess],
        advance: Callable[[str], None],
    ) -> None:
        self.job, self.children, self.advance = job, children, advance
        self.entries: dict[str, dict[str, Any]] = {
            c.name: {"job": job.name, "contender": c.name, "peer": c.peer, "rounds": []}
            for c in contenders
        }

    def prepare(self) -> None:
        # Nothing is timed yet, so imports and compilations may run in parallel.
        with ThreadPoolExecutor(usable_cores()) as pool:
            list(pool.map(self._prepare, self.entries))

    def _prepare(self, name: str) -> None:
        self.advance(f"{self.job.name}: {CONTENDERS[name].title} is prepared")
        try:
            self.entries[name].update(self.children[name].prepare(self.job))
        except ChildError as error:
            self._fail(name, error)

    def time(self, seconds: float, rounds: int) -> None:
        for _ in range(rounds):
            for name, entry in self.entries.items():
                self.advance(f"{self.job.name}: {CONTENDERS[name].title}")
                if "error" in entry or not entry["equal"]:
                    continue
                time.sleep(REST)
                try:
                    entry["rounds"].append(1e6 * self.children[name].time(seconds / rounds))
                except ChildError as error:
                    self._fail(name, error)

    def _fail(self, name: str, error: Exception) -> None:
        self.entries[name]["error"] = str(error)
        self.children.pop(name).close()

    def summary(self) -> list[dict[str, Any]]:
        for entry in self.entries.values():
            if "error" not in entry and not entry["equal"]:
                entry["error"] = (
                    f"computes something else: loss {entry['loss']:.8g}, expected "
                    f"{entry['reference']:.8g}"
                )
            us = entry["rounds"]
            entry["us_per_step"] = statistics.median(us) if us and "error" not in entry else None
            entry["spread"] = (max(us) - min(us)) / statistics.median(us) if us else None
        return list(self.entries.values())


# --- results ------------------------------------------------------------------------


def timed_entries(results: Iterable[dict[str, Any]], job: str) -> dict[str, dict[str, Any]]:
    """Entries of a job that have a time, by contender."""
    return {
        entry["contender"]: entry
        for entry in results
        if entry["job"] == job and entry.get("us_per_step")
    }


def ratios(results: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each job the best peer, and the speed of each backend relative to it."""
    out: dict[str, dict[str, Any]] = {}
    for job in dict.fromkeys(entry["job"] for entry in results):
        entries = timed_entries(results, job)
        peers = {n: e["us_per_step"] for n, e in entries.items() if e["peer"]}
        best = min(peers, key=peers.get) if peers else None
        out[job] = {
            "best_peer": best,
            "backends": {
                n: peers[best] / e["us_per_step"]
                for n, e in entries.items()
                if best is not None and not e["peer"]
            },
        }
    return out


def map_cells(run: dict[str, Any]) -> list[dict[str, Any]]:
    """For each job of the map: the fastest contender, and the ratio of best backend and peer."""
    cells = []
    for name, job in run["jobs"].items():
        entries = timed_entries(run["results"], name)
        times = {n: e["us_per_step"] for n, e in entries.items()}
        cells.append(
            {
                "width": job["layer_sizes"][1],
                "hidden_layers": len(job["layer_sizes"]) - 2,
                "batch": "full" if job["batch_size"] is None else str(job["batch_size"]),
                "fastest": min(times, key=times.get) if times else None,
                "ratio": max(run["ratios"][name]["backends"].values(), default=None)
                if name in run["ratios"]
                else None,
                "us_per_sample": {
                    n: us / (job["batch_size"] or job["samples"]) for n, us in times.items()
                },
            }
        )
    return cells
