"""Cost on both sides of every threshold: ``python -m benchmarks.cliffs``.

Where the kernels switch to another algorithm (loops or BLAS, one thread or two, samples or units
split among threads, whole vectors of units or a remainder, sparse or dense rows, few or many rows
to predict) the cost must not jump. Each pair of cases is just below and just above one threshold;
both sides are timed in turn. The ratio is that of the median times per sample, divided by the ratio
of the numbers of multiply-adds.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np

import fastnn
from benchmarks.machine import in_words, machine
from benchmarks.measuring import medians_in_turn
from benchmarks.outputs import add_outputs, deliver, markdown_table
from benchmarks.passes import calibrated, training_pass
from fastnn import backends
from fastnn.backends import codes, plan
from fastnn.backends.tuning import tuning
from fastnn.bench import number


@dataclass(frozen=True)
class Side:
    """One side of a threshold: a network and its data."""

    sizes: tuple[int, ...]
    batch: int
    density: float = 1.0
    predict: bool = False

    @property
    def work(self) -> float:
        """Multiply-adds per sample, counting non-zero inputs only."""
        pairs = [a * b for a, b in itertools.pairwise(self.sizes)]
        return self.density * pairs[0] + sum(pairs[1:])


def planned(kernels: ModuleType, sizes: tuple[int, ...], batch: int = 0) -> plan.Plan:
    """Plan of a network in float32."""
    layers = len(sizes) - 1
    return plan.make_plan(list(sizes), [0] * layers, [0.0] * layers, [], 1, 4, kernels, batch)


def pairs(backend: str) -> Iterator[tuple[str, Side, Side]]:
    """Yield the name of each threshold of a backend, and the cases below and above it."""
    kernels, limits = backends.load(backend), tuning()
    width = math.isqrt(kernels.WIDE_LAYER_WEIGHTS - 1) + 1
    for batch in (32, 128, 1024):
        below = Side((16, width - 1, width - 1, 4), batch)
        yield f"wide layers, batch {batch}", below, replace(below, sizes=(16, width, width, 4))
    for sizes in ((4, 32, 16, 4), (64, 64, 64, 8), (16, 144, 144, 4), (256, 128, 128, 10)):
        batch = next(
            b for b in itertools.count(1) if planned(kernels, sizes, b).useful_threads(b) > 1
        )
        below = Side(sizes, batch - 1)
        name = "-".join(map(str, sizes))
        yield f"a second thread, {name}", below, replace(below, batch=batch)
    for width in (144, 384):
        below = Side((16, width, width, 4), limits.split_units_samples)
        name = f"tensor to data parallelism, {width} units"
        # both are whole vectors of samples: 97 samples cost as much as 112, a different effect
        yield name, below, replace(below, batch=below.batch + 16)
    numbers = limits.split_units_bytes // 4
    width = next(w for w in range(1, 2048) if (64 + 1) * w + (w + 1) * w + (w + 1) * 8 > numbers)
    for batch in (32, 128, 1024):
        below = Side((64, width - 1, width - 1, 8), batch)
        yield (
            f"data to tensor parallelism, batch {batch}",
            below,
            replace(below, sizes=(64, width, width, 8)),
        )
    for width in (304, 512):
        below = Side((64, width, width, 8), 128)
        name = f"whole vectors or a remainder, {width} and {width - 4} units"
        yield name, below, replace(below, sizes=(64, width - 4, width - 4, 8))
    for units, density in ((16, limits.sparse_density), (128, limits.sparse_density_wide)):
        below = Side((256, units, 10), 128, density - 0.02)
        yield f"sparse rows, {units} units", below, replace(below, density=density + 0.02)
    for sizes in ((2, 8, 8, 8, 2), (64, 64, 10), (784, 128, 64, 10)):
        of_it = planned(kernels, sizes)
        few = kernels.few_samples_limit(of_it.n_params, bool(of_it.layers[:, codes.WIDE].any()))
        above = Side(sizes, few, predict=True)
        name = f"rows to predict, {'-'.join(map(str, sizes))}"
        yield name, replace(above, batch=above.batch - 1), above


def timed(side: Side, backend: str) -> Callable[[], float]:
    """Timer of one side with a backend, in nanoseconds per sample."""
    rng = np.random.default_rng(0)
    batches = 1 if side.predict else max(8, 4096 // side.batch)
    x = rng.standard_normal((side.batch * batches, side.sizes[0]), dtype=np.float32)
    x[rng.random(x.shape) >= side.density] = 0
    y = np.arange(len(x)) % side.sizes[-1]
    net = fastnn.Network(
        list(side.sizes), activation="relu", dtype="float32", backend=backend, random_state=0
    )

    def predictions(n: int) -> float:
        started = time.perf_counter()
        for _ in range(n):
            net.predict_proba(x)
        return time.perf_counter() - started

    one_pass = (
        calibrated(predictions) if side.predict else training_pass(net, x, y, side.batch, rate=1e-4)
    )
    return lambda: 1e9 * one_pass() / len(x)


def measure(backend: str, rounds: int) -> list[dict[str, object]]:
    """Nanoseconds per sample on both sides of each threshold."""
    rows = []
    for name, below, above in pairs(backend):
        sides = {"below": timed(below, backend), "above": timed(above, backend)}
        row = {"threshold": name, **medians_in_turn(sides, rounds)}
        # the cost of a sparse row depends on its density, that of a dense row does not
        work = 1.0 if name.startswith("sparse") else above.work / below.work
        row["ratio"] = row["above"] / row["below"] / work
        rows.append(row)
        print(f"{backend}, {name}: {row['ratio']:.2f}", flush=True)
    return rows


def table(results: dict[str, list[dict]]) -> str:
    """The results as a Markdown table."""
    head = ["ns per sample"]
    for backend in results:
        head += [f"{backend}: below", "above", "ratio"]
    body = []
    for rows in zip(*results.values(), strict=True):
        cells = [
            cell
            for row in rows
            for cell in (number(row["below"]), number(row["above"]), f"{row['ratio']:.2f}")
        ]
        body.append([rows[0]["threshold"], *cells])
    return f"{markdown_table(head, body)}\n- {in_words(machine())}; medians, in turn\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    add_outputs(parser)
    arguments = parser.parse_args()
    chosen = [name for name in backends.available() if name != "numpy"]
    results = {name: measure(name, arguments.rounds) for name in chosen}
    deliver(arguments, results, table(results), "cliffs")


if __name__ == "__main__":
    main()
