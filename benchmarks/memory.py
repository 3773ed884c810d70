"""Memory: growth with the number of steps, and the peak of training the wide network.

``python -m benchmarks.memory [--write FILE]`` (Linux: it reads /proc/self/status.)

Growth: difference in resident memory between a fit and one with ten times as many steps, without
the losses that ``History`` keeps, one float64 each. It should be close to zero.

Peak: the high-water mark of resident memory during ``fit`` of the job "wide" minus the resident
memory before it, plus the parameters, which were already resident; without the workspace and the
copy of the data, which is transposed or, if sparse data are faster, compressed. It should be at
most five times the parameters. A small ``fit`` beforehand loads and compiles what is needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.jobs import JOBS
from benchmarks.machine import in_words, machine
from benchmarks.outputs import add_outputs, deliver, markdown_table
from benchmarks.processes import in_fresh_process
from benchmarks.tasks import Task
from fastnn import backends
from fastnn.backends import codes
from fastnn.training.batches import prefers_sparse
from fastnn.training.threads import default_threads

MODULE = "benchmarks.memory"


def resident(field: str = "VmRSS") -> int:
    """Resident memory in bytes: current (VmRSS) or peak (VmHWM)."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return 1024 * int(line.split()[1])
    raise RuntimeError(f"no {field} in /proc/self/status")


def forget_peak() -> None:
    """Reset the high-water mark."""
    Path("/proc/self/clear_refs").write_text("5")


def growth(backend: str, steps: int) -> dict[str, Any]:
    """Growth of memory from a fit of ``steps`` to one of ten times as many, in bytes."""
    task = Task.make(JOBS["moons"])
    net = task.network(backend)

    def fit(epochs: int) -> None:
        net.fit(task.x, task.y, optimizer=task.optimizer, epochs=epochs)

    fit(steps)
    before = resident()
    forget_peak()
    fit(10 * steps)
    return {
        "steps": 10 * steps,
        "resident_growth": resident() - before,
        "peak_growth": resident("VmHWM") - before,
        "history": 2 * 8 * 10 * steps,  # losses of the steps, and of the epochs
    }


def peak(backend: str, shuffle: bool, batches: int) -> dict[str, Any]:
    """Peak memory of an epoch of "wide" with ``batches`` batches, in bytes."""
    task = Task.make(JOBS["wide"])
    rows = batches * task.job.batch_size
    x, y = task.x[:rows].copy(), task.y[:rows].copy()
    task.x = task.y = np.empty(0)
    net = task.network(backend)
    # The memory of compilation and of the threads' stacks is not counted.
    small = task.network(backend)
    small.fit(x[:256], y[:256], optimizer=task.optimizer, epochs=1, batch_size=128, shuffle=shuffle)
    del small
    before = resident()
    forget_peak()
    net.fit(x, y, optimizer=task.optimizer, epochs=1, batch_size=128, shuffle=shuffle)
    plan = net.model.plan
    copy = 0 if shuffle else x.nbytes
    if prefers_sparse(x, net.model):
        copy = np.count_nonzero(x) * (net.dtype.itemsize + np.dtype(np.int32).itemsize)
    threads = net.n_threads or default_threads()
    workspace = int(plan.header[codes.WORK_SIZE])
    return {
        "shuffle": shuffle,
        "parameters": net.params.nbytes,
        "data": x.nbytes,
        "workspace_at_most": threads * workspace * net.dtype.itemsize,
        "peak_over_before_fit": resident("VmHWM") - before,
        "data_copy": int(copy),
    }


def measure(backend: str, steps: int, batches: int) -> dict[str, Any]:
    """All measurements of a backend, each in a new process."""
    steps //= 50 if backend == "numpy" else 1
    return {
        "growth": in_fresh_process(MODULE, "growth", backend, steps),
        "peak": [in_fresh_process(MODULE, "peak", backend, way, batches) for way in (False, True)],
    }


def bytes_per_step(growth: dict[str, Any]) -> float:
    """Growth per step, without the losses that ``History`` keeps."""
    return max(growth["resident_growth"] - growth["history"], 0) / growth["steps"]


def in_parameters(peak: dict[str, Any]) -> float:
    """Peak relative to the size of the parameters, without workspace and copy of the data."""
    rest = peak["peak_over_before_fit"] + peak["parameters"]
    return (rest - peak["workspace_at_most"] - peak["data_copy"]) / peak["parameters"]


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    head = [
        "memory",
        "growth per step, bytes",
        "peak, in order",
        "peak, shuffled",
        "workspace",
        "data copy",
    ]
    rows = []
    for backend, result in results.items():
        in_order, shuffled = result["peak"]
        rows.append(
            [
                backend,
                f"{bytes_per_step(result['growth']):.3f}",
                f"{in_parameters(in_order):.2f}×",
                f"{in_parameters(shuffled):.2f}×",
                f"{in_order['workspace_at_most'] / 1e6:.1f} MB",
                f"{in_order['data_copy'] / 1e6:.1f} MB",
            ]
        )
    in_order = next(iter(results.values()))["peak"][0]
    lines = [
        f'- parameters of "wide": {in_order["parameters"] / 1e6:.1f} MB; data in order: '
        f"{in_order['data'] / 1e6:.1f} MB",
        f"- {in_words(machine())}",
    ]
    return markdown_table(head, rows) + "\n" + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--batches", type=int, default=100)
    add_outputs(parser)
    arguments = parser.parse_args()
    results = {
        backend: measure(backend, arguments.steps, arguments.batches)
        for backend in backends.available()
    }
    run = {"machine": machine(), "results": results}
    deliver(arguments, run, table(results), "memory")


if __name__ == "__main__":
    main()
