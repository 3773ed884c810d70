"""Cost on both sides of every threshold: ``python -m benchmarks.cliffs``.

Where the kernels change their ways (loops or BLAS, one thread or two, samples or units shared out,
whole vectors of units or not, sparse or dense rows, few or many rows to predict) the cost must not
jump. Each pair is a little below and a little above one threshold; both sides are timed in turn,
and the ratio is that of the medians of the time a sample, over that of the work.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np

import fastnn
from benchmarks.report import add_outputs, deliver
from fastnn import backends, bench
from fastnn.backends import codes, plan
from fastnn.backends.tuning import tuning


@dataclass(frozen=True)
class Side:
    """A network and its data."""

    sizes: tuple[int, ...]
    batch: int
    density: float = 1.0
    predict: bool = False

    @property
    def work(self) -> float:
        """Multiply-adds a sample, for what is stored of it."""
        pairs = [a * b for a, b in itertools.pairwise(self.sizes)]
        return self.density * pairs[0] + sum(pairs[1:])


def planned(kernels: ModuleType, sizes: tuple[int, ...], batch: int = 0) -> plan.Plan:
    """Of a network in float32."""
    layers = len(sizes) - 1
    return plan.make_plan(list(sizes), [0] * layers, [0.0] * layers, [], 1, 4, kernels, batch)


def pairs(backend: str) -> Iterator[tuple[str, Side, Side]]:
    """Name of a backend's threshold, below it, above it."""
    kernels, limits = backends.load(backend), tuning()
    width = math.isqrt(kernels.BLAS_WEIGHTS - 1) + 1
    for batch in (32, 128, 1024):
        below = Side((16, width - 1, width - 1, 4), batch)
        yield f"wide layers, batch {batch}", below, replace(below, sizes=(16, width, width, 4))
    for sizes in ((4, 32, 16, 4), (64, 64, 64, 8), (16, 144, 144, 4), (256, 128, 128, 10)):
        batch = next(b for b in itertools.count(1) if planned(kernels, sizes, b).threads(b) > 1)
        below = Side(sizes, batch - 1)
        name = "-".join(map(str, sizes))
        yield f"a second thread, {name}", below, replace(below, batch=batch)
    for width in (144, 384):
        below = Side((16, width, width, 4), limits.shared_samples)
        name = f"units shared out, or samples, {width} units"
        # both of whole vectors, of up to 16 samples: 97 cost what 112 do, which is not the point
        yield name, below, replace(below, batch=below.batch + 16)
    numbers = limits.shared_bytes // 4
    width = next(w for w in range(1, 2048) if (64 + 1) * w + (w + 1) * w + (w + 1) * 8 > numbers)
    for batch in (32, 128, 1024):
        below = Side((64, width - 1, width - 1, 8), batch)
        yield f"units shared out, batch {batch}", below, replace(below, sizes=(64, width, width, 8))
    for width in (304, 512):
        below = Side((64, width, width, 8), 128)
        name = f"not whole vectors, {width} and {width - 4} units"
        yield name, below, replace(below, sizes=(64, width - 4, width - 4, 8))
    for units, density in ((16, limits.sparse_density), (128, limits.sparse_density_wide)):
        # what is stored of a dense matrix is all of it
        below = Side((256, units, 10), 128, density - 0.02)
        yield f"sparse rows, {units} units", below, replace(below, density=density + 0.02)
    for sizes in ((2, 8, 8, 8, 2), (64, 64, 10), (784, 128, 64, 10)):
        of_it = planned(kernels, sizes)
        few = kernels.few_samples(of_it.n_params, bool(of_it.layers[:, codes.BLAS].any()))
        above = Side(sizes, few, predict=True)
        name = f"rows to predict, {'-'.join(map(str, sizes))}"
        yield name, replace(above, batch=above.batch - 1), above


class Timed:
    """One side with a backend."""

    def __init__(self, side: Side, backend: str) -> None:
        rng = np.random.default_rng(0)
        self.side, batches = side, 1 if side.predict else max(8, 4096 // side.batch)
        self.x = rng.standard_normal((side.batch * batches, side.sizes[0]), dtype=np.float32)
        self.x[rng.random(self.x.shape) >= side.density] = 0
        self.y = np.arange(len(self.x)) % side.sizes[-1]
        self.net = fastnn.Network(
            list(side.sizes), activation="relu", dtype="float32", backend=backend, random_state=0
        )
        self.epochs = 1
        self.run()
        self.epochs = max(1, round(0.1 / max(self.run(), 1e-7)))

    def run(self) -> float:
        """Seconds a pass."""
        if self.side.predict:
            started = time.perf_counter()
            for _ in range(self.epochs):
                self.net.predict_proba(self.x)
            return (time.perf_counter() - started) / self.epochs
        history = self.net.fit(
            self.x,
            self.y,
            optimizer=fastnn.Adam(1e-4),
            epochs=self.epochs,
            batch_size=self.side.batch,
            shuffle=False,
        )
        return history.seconds / self.epochs


def measure(backend: str, rounds: int) -> list[dict[str, object]]:
    """Nanoseconds a sample on both sides of each threshold."""
    rows = []
    for name, *sides in pairs(backend):
        timed = [Timed(side, backend) for side in sides]
        times: list[list[float]] = [[], []]
        for _ in range(rounds):
            for one, values in zip(timed, times, strict=True):
                values.append(one.run() / len(one.x))
        below, above = (1e9 * statistics.median(values) for values in times)
        # a sparse row costs what is stored of it, a dense one all
        work = 1.0 if name.startswith("sparse") else sides[1].work / sides[0].work
        rows.append({"threshold": name, "below": below, "above": above})
        rows[-1]["ratio"] = above / below / work
        print(f"{backend}, {name}: {rows[-1]['ratio']:.2f}", flush=True)
    return rows


def table(results: dict[str, list[dict]]) -> str:
    """As Markdown."""
    lines = ["| ns a sample | " + " | ".join(f"{b}: below | above | ratio" for b in results) + " |"]
    lines.append("|---|" + "---:|" * (3 * len(results)))
    for rows in zip(*results.values(), strict=True):
        cells = [
            f"{bench.number(row['below'])} | {bench.number(row['above'])} | {row['ratio']:.2f}"
            for row in rows
        ]
        lines.append(f"| {rows[0]['threshold']} | {' | '.join(cells)} |")
    machine = bench.machine()
    lines += ["", f"- {machine['cpu']}, {machine['usable_cores']} cores; medians, in turn"]
    return "\n".join(lines) + "\n"


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
