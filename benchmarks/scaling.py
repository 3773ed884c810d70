"""Scaling of a training step with the number of threads: measured here, computed for more cores.

``python -m benchmarks.scaling [--backend NAME] [--threads N ...] [--write FILE]``

Steps of each job are timed in turn with one thread and with one thread per core of this machine.
For other numbers of threads the time is computed as follows:

* If threads split the samples, blocks are assigned round-robin, and the time of the gradient is
  determined by the thread with most samples: ``(t1 - update) * busiest / samples``.
* If threads split the units of a layer, its products take as long as the largest share of units.
* The update is split evenly among threads.
* A barrier takes ``BARRIER`` seconds per thread, since each writes one shared cache line.

The result is an upper bound of the speedup: it neglects the bandwidth of memory and of shared
caches, and lower clock rates if more cores are busy. Compare the column for the number of cores of
this machine with the measured one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

import numpy as np

from benchmarks.jobs import JOBS
from benchmarks.machine import in_words, machine
from benchmarks.outputs import add_outputs, deliver, markdown_table
from benchmarks.tasks import Task
from fastnn.backends import codes
from fastnn.backends.plan import Plan
from fastnn.training.threads import usable_cores

BARRIER = 60e-9  # seconds per thread: a cache line moves from core to core
UNITS = 48  # threads get units of a layer in multiples of this
ROUNDS = 7
SECONDS = 0.5  # of one measurement: long enough to outweigh page faults in the first steps
TRAINED = ("moons", "circles", "expm", "mlp", "wide")


def step_seconds(task: Task, backend: str, threads: tuple[int, ...]) -> list[float]:
    """Median seconds per step for each number of threads, measured in turn."""
    nets = [task.network(backend) for _ in threads]
    for net, count in zip(nets, threads, strict=True):
        net.n_threads = count

    def run(net: Any, steps: int) -> float:
        rows, epochs = task.rows_and_epochs(steps)
        size = task.job.batch_size
        x, y = task.x[:rows], task.y[:rows]
        history = net.fit(x, y, optimizer=task.optimizer, epochs=epochs, batch_size=size)
        return history.seconds / history.steps

    steps = max(2, int(SECONDS / run(nets[0], 2)))
    taken: list[list[float]] = [[] for _ in threads]
    for turn in range(ROUNDS):
        for k in range(len(threads)) if turn % 2 else reversed(range(len(threads))):
            taken[k].append(run(nets[k], steps))
    return [statistics.median(times) for times in taken]


def update_seconds(task: Task, backend: str) -> float:
    """Median seconds of an update of all parameters on one thread."""
    net, optimizer, seconds = task.network(backend), task.optimizer, []
    gradient = np.full(net.params.shape, 1e-9, net.params.dtype)
    for _ in range(100):
        start = time.perf_counter()
        net.apply(optimizer, gradient)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def share_of_units(units: int, n_threads: int) -> float:
    """The largest fraction of the units of a layer that one thread processes."""
    pieces = max(1, units // UNITS)
    return max(-(-pieces // n_threads) / pieces, 1 / n_threads)


def computed(
    plan: Plan, samples: int, one: float, update: float, n_threads: int
) -> tuple[int, float]:
    """Number of threads that a step uses, and its computed seconds."""
    n_threads = min(n_threads, plan.useful_threads(samples))
    blocks = [min(plan.block_size, samples - first) for first in range(0, samples, plan.block_size)]
    gradient, barriers = one - update, 3
    if plan.header[codes.SPLIT_UNITS]:
        rows = plan.dense_rows()
        work = np.array([row[codes.FAN_IN] * row[codes.FAN_OUT] for row in rows], float)
        shares = [share_of_units(int(row[codes.FAN_OUT]), n_threads) for row in rows]
        gradient *= float(work @ shares / work.sum())
        barriers += 2 * len(rows) * len(blocks)
    else:
        busiest = max(sum(blocks[thread::n_threads]) for thread in range(n_threads))
        gradient *= busiest / samples
    waiting = barriers * n_threads * BARRIER if n_threads > 1 else 0.0
    return n_threads, gradient + update / n_threads + waiting


def measure(name: str, backend: str, threads: list[int]) -> dict[str, Any]:
    """Measure one job."""
    task = Task.make(JOBS[name])
    cores, samples = usable_cores(), task.job.samples_per_step
    one, most = step_seconds(task, backend, (1, cores))
    plan = task.network(backend).model.batch_plan(samples, False)
    update = min(update_seconds(task, backend), 0.5 * one)
    steps = {n: computed(plan, samples, one, update, n) for n in threads}
    return {
        "one": one,
        "measured": one / most,
        "threads": {n: {"used": used, "speedup": one / s} for n, (used, s) in steps.items()},
    }


def table(results: dict[str, dict[str, Any]], threads: list[int]) -> str:
    """The results as a Markdown table: speedups over one thread."""
    cores = usable_cores()
    head = ["job", "one thread", f"{cores} threads, measured", *[f"{n} computed" for n in threads]]
    rows = []
    for name, result in results.items():
        found = [result["threads"][n] for n in threads]
        cells = [f"{r['speedup']:.2f}× ({r['used']})" for r in found]
        rows.append([name, f"{1e6 * result['one']:.1f} µs", f"{result['measured']:.2f}×", *cells])
    return markdown_table(head, rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", default="cython", help="default: cython")
    parser.add_argument("--jobs", nargs="+", choices=TRAINED, default=TRAINED)
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[2, 4, 8, 16], help="default: 2 4 8 16"
    )
    add_outputs(parser)
    given = parser.parse_args()
    os.environ.pop("OMP_NUM_THREADS", None)
    results = {name: measure(name, given.backend, given.threads) for name in given.jobs}
    facts = machine()
    text = (
        table(results, given.threads)
        + "\nIn brackets: threads that a step uses of those allowed.\n\n"
        + f"- {in_words(facts)}\n"
    )
    deliver(given, {"machine": facts, "results": results}, text, "scaling")


if __name__ == "__main__":
    main()
