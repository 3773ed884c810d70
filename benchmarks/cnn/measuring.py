"""Timing: every contender in its own process, in turn, round after round; medians count."""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.cnn import runs
from benchmarks.cnn.contenders import CONTENDERS, PREDICT
from benchmarks.cnn.network import CHUNK, initial_weights
from benchmarks.machine import machine
from benchmarks.processes import Child, ChildError

BATCHES = (50, 128, 256, 1024)
PRECISIONS = ("float32", "bfloat16")
CHECK_STEPS, CHECK_BATCH = 3, 50
# Of the loss after the steps of the check. The position of epsilon in Adam's formula differs, which
# moves parameters with tiny gradients; bfloat16 has 8 bits.
TOLERANCE = {"float32": 2e-3, "bfloat16": 5e-2}
SINGLE_PREDICTIONS = 20  # timed per round
TARGETS = (0.9867, 0.99)
CURVE = "curve"  # what failed, if it is a run of training

WORKER = "benchmarks.cnn.measuring:Worker"
Key = tuple[str, str]  # contender, precision


@dataclass(frozen=True)
class Options:
    """What is measured, and how long."""

    data: str = "mnist"
    data_dir: str | None = None
    quick: bool = False
    batches: tuple[int, ...] = BATCHES
    rounds: int = 3
    seconds: float = 1.0
    emulate: bool = False  # bfloat16 without hardware for it
    summary_steps: int = 700
    # preset, steps between evaluations, seeds: so many that the accuracies' standard errors are
    # well below their differences
    presets: tuple[tuple[str, int, int], ...] = (
        ("course", 220, 3),
        ("fast", 20, 5),
        ("accurate", 60, 5),
    )
    preset_changes: dict[str, Any] = field(default_factory=dict)
    # hidden layers, epochs
    dense: tuple[tuple[tuple[int, ...], int], ...] = (
        ((32,), 20),
        ((128, 64), 15),
        ((1024, 1024), 5),
    )
    dense_seeds: int = 3


def quick_options(**changes: Any) -> Options:
    """Little of everything."""
    little = {
        "batches": (50,),
        "rounds": 1,
        "seconds": 0.2,
        "summary_steps": 200,
        "presets": tuple((name, 20, 1) for name, *_ in Options.presets),
        "preset_changes": {"steps": 40},
        "dense": (((128, 64), 3),),
    }
    return Options(quick=True, **(little | changes))


class Worker:
    """What a process answers with: a contender with its images, or whole runs of training."""

    def __init__(
        self, data: str, data_dir: str | None, name: str = "", precision: str = ""
    ) -> None:
        from fastnn.cnn.data import load

        self.images = load(data, data_dir)
        if name:
            self.contender = CONTENDERS[name][0](precision, *self.images.train)

    def loss_after(self, params: dict[str, np.ndarray], steps: int, batch: int) -> float:
        """Loss after some steps from these weights."""
        self.contender.set(params)
        self.contender.run(0, steps, batch)
        return self.contender.loss()

    def set(self, params: dict[str, np.ndarray]) -> None:
        self.contender.set(params)

    def steps(self, steps: int, batch: int) -> float:
        """Seconds of so many steps."""
        return _seconds(lambda: self.contender.run(0, steps, batch))

    def predictions(self, n: int) -> float:
        """Seconds of predicting n images."""
        images = np.resize(self.images.test[0], (n, 28, 28, 1))
        return _seconds(lambda: self.contender.predict(images))

    def run(self, name: str, *arguments: Any) -> Any:
        """What a function of ``runs`` returns."""
        return getattr(runs, name)(self.images, *arguments)


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def note_failure(run: dict, name: str, what: str, error: object) -> None:
    """In the run and on the screen; ``what`` is a precision, or ``CURVE``."""
    run["failed"].append([f"{name}, {what}", str(error)])
    say(f"failed: {name}, {what}: {error}")


def measure(options: Options) -> dict:
    """All five parts."""
    from fastnn.cnn.settings import has_bfloat16

    precisions = PRECISIONS if has_bfloat16() or options.emulate else PRECISIONS[:1]
    run = {"machine": machine(), "quick": options.quick, "data": options.data}
    run |= {"failed": [], "steps": [], "inference": [], "summaries": {}, "curves": []}
    run["bfloat16"] = {"hardware": has_bfloat16(), "timed": len(precisions) > 1}
    children: dict[Key, Child] = {}
    try:
        start_contenders(options, run, precisions, children)
        for batch in options.batches:
            time_steps(options, run, children, batch)
        for n in (1, 10_000):
            time_predictions(options, run, children, n)
    finally:
        for child in children.values():
            child.close()
    time_summaries(options, run)
    measure_curves(options, run)
    return run


def start_contenders(
    options: Options, run: dict, precisions: tuple[str, ...], children: dict[Key, Child]
) -> None:
    """Fill ``children`` with the processes of those that compute the same."""
    params, expected = initial_weights(), None
    for precision in precisions:
        for name, (_, module) in CONTENDERS.items():
            if importlib.util.find_spec(module) is None:
                note_failure(run, name, precision, f"{module} is not installed")
                continue
            child = Child(WORKER, options.data, options.data_dir, name, precision)
            try:
                loss = child.ask("loss_after", params, CHECK_STEPS, CHECK_BATCH)
                expected = expected or loss  # of the first contender, in float32
                if abs(loss - expected) > TOLERANCE[precision] * expected:
                    raise ChildError(
                        f"computes something else: loss {loss:.6f}, expected {expected:.6f}"
                    )
            except ChildError as error:
                note_failure(run, name, precision, error)
                child.close()
                continue
            children[name, precision] = child
            say(f"{name}, {precision}: loss {loss:.6f} after {CHECK_STEPS} steps")


def time_steps(options: Options, run: dict, children: dict[Key, Child], batch: int) -> None:
    """Seconds per step with a batch size; who fails is left out from then on."""
    params, counts = initial_weights(), {}
    times: dict[Key, list[float]] = {}
    for number in range(options.rounds + 1):
        for key, child in list(children.items()):
            try:
                if number == 0:
                    child.ask("set", params)
                    counts[key] = steps_that_take(options.seconds, child, batch)
                    times[key] = []
                else:
                    times[key].append(child.ask("steps", counts[key], batch) / counts[key])
            except ChildError as error:
                note_failure(run, *key, f"batch {batch}: {error}")
                children.pop(key).close()
                times.pop(key, None)
    for (name, precision), values in times.items():
        median = statistics.median(values)
        run["steps"].append(
            {
                "contender": name,
                "precision": precision,
                "batch": batch,
                "seconds": median,
                "images_per_second": batch / median,
                "spread": (max(values) - min(values)) / median,
                "steps": counts[name, precision],
                "rounds": values,
            }
        )
        say(f"batch {batch}: {name}, {precision}: {1e3 * median:.2f} ms per step")


def steps_that_take(seconds: float, child: Child, batch: int) -> int:
    """Compile, warm up, see how many steps fill the time; whole chunks if more than one."""
    steps = CHUNK if batch < 512 else 4
    child.ask("steps", steps, batch)
    wanted = seconds * steps / child.ask("steps", steps, batch)
    return max(2, round(wanted / CHUNK) * CHUNK if wanted > CHUNK else round(wanted))


def time_predictions(options: Options, run: dict, children: dict[Key, Child], n: int) -> None:
    """Seconds of predicting n images."""
    times: dict[Key, list[float]] = {}
    for number in range(options.rounds + 1):
        for key, child in children.items():
            if key[0] in PREDICT:
                repeats = SINGLE_PREDICTIONS if n == 1 else 1
                took = [child.ask("predictions", n) for _ in range(repeats)]
                if number:  # the first warms up
                    times.setdefault(key, []).append(statistics.median(took))
    for (name, precision), values in times.items():
        run["inference"].append(
            {
                "contender": name,
                "precision": precision,
                "images": n,
                "seconds": statistics.median(values),
                "rounds": values,
            }
        )


def in_own_process(options: Options, *request: Any) -> Any:
    """What a function of ``runs`` returns in a process of its own."""
    child = Child(WORKER, options.data, options.data_dir)
    try:
        return child.ask("run", *request)
    finally:
        child.close()


def time_summaries(options: Options, run: dict) -> None:
    """What each level of summaries costs the course's run."""
    for level in ("off", "light", "full"):
        run["summaries"][level] = in_own_process(
            options, "summaries_cost", level, options.summary_steps
        )
        say(f"summaries {level}: {run['summaries'][level]}")


def measure_curves(options: Options, run: dict) -> None:
    """Whole runs of training, put into ``run``."""
    run["curves"] = []
    run["failed"] = [entry for entry in run["failed"] if not entry[0].endswith(f", {CURVE}")]
    jobs = [
        (name, seeds, "preset_curve", {"preset": name} | options.preset_changes, every)
        for name, every, seeds in options.presets
    ]
    for hidden, epochs in options.dense:
        name = "dense " + "-".join(map(str, [784, *hidden, 10]))
        jobs.append((name, options.dense_seeds, "dense_curve", hidden, epochs))
    # seed after seed, so that a slow minute affects all
    curves: dict[str, list] = {name: [] for name, *_ in jobs}
    for seed in range(max(seeds for _, seeds, *_ in jobs)):
        for name, seeds, *request in jobs:
            if seed >= seeds:
                continue
            try:
                points = in_own_process(options, *request, seed)
            except ChildError as error:
                note_failure(run, name, CURVE, error)
                continue
            curves[name].append(points)
            say(f"{name}, seed {seed}: {points[-1][0]:.1f} s, {points[-1][1]:.4f}")
    for name, found in curves.items():
        if not found:
            continue
        points, ends = found[0], [points[-1] for points in found]
        times = {
            str(target): next((t for t, accuracy in points if accuracy >= target), None)
            for target in TARGETS
        }
        run["curves"].append({"name": name, "points": points, "seconds_to": times, "ends": ends})
