"""Memory: growth with the number of steps, and the peak of training the wide network.

``python -m benchmarks.memory [--json FILE]`` (Linux: it reads /proc/self/status.)

Growth: resident memory after a fit and after a ten times longer one. ``History`` keeps one
float64 an epoch, which is subtracted, and so must little else remain.

Peak: the high-water mark of resident memory during ``fit`` of the job "wide" over what was
resident before it, plus the parameters themselves, which were; without the workspace and
the copy of the data, which is transposed or, where zeros pay, sparse. It should be at most five
times the parameters. A small ``fit`` before has loaded and compiled what is needed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fastnn import backends, bench
from fastnn.backends import codes
from fastnn.training.batches import sparse_pays
from fastnn.training.threads import default_threads


def resident(field: str = "VmRSS") -> int:
    """Bytes resident now (VmRSS) or at most (VmHWM)."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return 1024 * int(line.split()[1])
    raise RuntimeError(f"no {field} in /proc/self/status")


def forget_peak() -> None:
    """The high-water mark starts anew."""
    Path("/proc/self/clear_refs").write_text("5")


def growth(backend: str, steps: int) -> dict[str, Any]:
    """Growth from ``steps`` to ten times as many; bytes."""
    task = bench.Task.make(bench.JOBS["moons"])
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
    """Peak of training "wide" on so many batches; bytes."""
    task = bench.Task.make(bench.JOBS["wide"])
    rows = batches * task.job.batch_size
    x, y = task.x[:rows].copy(), task.y[:rows].copy()
    task.x = task.y = np.empty(0)
    net = task.network(backend)
    # Compiling and the threads' stacks are not what training needs.
    small = task.network(backend)
    small.fit(x[:256], y[:256], optimizer=task.optimizer, epochs=1, batch_size=128, shuffle=shuffle)
    del small
    before = resident()
    forget_peak()
    net.fit(x, y, optimizer=task.optimizer, epochs=1, batch_size=128, shuffle=shuffle)
    plan = net.model.plan
    copy = 0 if shuffle else x.nbytes
    if sparse_pays(x, net.model):
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


def in_process(call: str) -> dict[str, Any]:
    """Result of one of the functions above in a fresh process."""
    script = f"import json; from benchmarks import memory; print(json.dumps(memory.{call}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    results = {}
    for backend in backends.available():
        steps = arguments.steps // (50 if backend == "numpy" else 1)
        grown = in_process(f"growth({backend!r}, {steps})")
        extra = grown["resident_growth"] - grown["history"]
        print(
            f"{backend}: {grown['steps']:,} steps: {grown['resident_growth'] / 1e6:.2f} MB more "
            f"resident (losses: {grown['history'] / 1e6:.2f} MB), "
            f"{max(extra, 0) / grown['steps']:.3f} bytes a step beyond them"
        )
        results[backend] = {"growth": grown, "peak": []}
        for shuffle in (False, True):
            entry = in_process(f"peak({backend!r}, {shuffle}, {arguments.batches})")
            results[backend]["peak"].append(entry)
            rest = (
                entry["peak_over_before_fit"]
                + entry["parameters"]
                - entry["workspace_at_most"]
                - entry["data_copy"]
            )
            print(
                f"{backend}, wide, {'shuffled' if shuffle else 'in order'}: peak "
                f"{rest / entry['parameters']:.2f} x parameters "
                f"({entry['parameters'] / 1e6:.1f} MB), beside data {entry['data'] / 1e6:.1f} MB"
                f"{' and their copy' if entry['data_copy'] else ''}, workspace "
                f"{entry['workspace_at_most'] / 1e6:.1f} MB",
                flush=True,
            )
    if arguments.json is not None:
        run = {"machine": bench.machine(), "results": results}
        arguments.json.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
