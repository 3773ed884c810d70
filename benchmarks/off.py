"""What units that are off spare a wide layer: ``python -m benchmarks.off``.

A step of 16-W-W-4 with relu by how many of the first W units are on in a sample, over one of the
same network with leaky relu, whose units are never off. Biases make the share, and a learning rate
of next to nothing keeps it. All shares and the leaky one are timed in turn; medians count.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

import fastnn
from benchmarks.report import add_outputs, deliver
from fastnn import backends, bench

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9)
CASES = ((512, 32), (512, 128), (1024, 32), (1024, 128))
SAMPLES = 1024


class Timed:
    """A network with some share of its units on, None for leaky relu."""

    def __init__(self, backend: str, width: int, batch: int, share: float | None) -> None:
        rng = np.random.default_rng(0)
        self.batch, self.epochs = batch, 1
        self.x = rng.standard_normal((SAMPLES, 16), dtype=np.float32)
        self.y = np.arange(SAMPLES) % 4
        self.net = fastnn.Network(
            [16, width, width, 4],
            activation="relu" if share else "leaky_relu",
            backend=backend,
            dtype="float32",
            random_state=0,
        )
        net_inputs = self.x @ self.net.weights[0]
        if share:
            self.net.biases[0][:] = -np.quantile(net_inputs, 1 - share, axis=0)
            on = np.mean(net_inputs + self.net.biases[0] > 0)
            if abs(on - share) > 0.01:
                raise ValueError(f"share of units that are on must be {share}; got {on}")
        self.run()
        self.epochs = max(1, round(0.1 / self.run()))

    def run(self) -> float:
        """Seconds a pass."""
        history = self.net.fit(
            self.x,
            self.y,
            optimizer=fastnn.Adam(1e-9),
            epochs=self.epochs,
            batch_size=self.batch,
            shuffle=False,
        )
        return history.seconds / self.epochs


def measure(backend: str, rounds: int) -> dict[str, dict[str, float]]:
    """By case and share, microseconds a step."""
    results = {}
    for width, batch in CASES:
        timed = {share: Timed(backend, width, batch, share) for share in (None, *SHARES)}
        times: dict[float | None, list[float]] = {share: [] for share in timed}
        for _ in range(rounds):
            for share, one in timed.items():
                times[share].append(one.run() * batch / SAMPLES * 1e6)
        name = f"{width:,} units, batch {batch}"
        results[name] = {str(share): statistics.median(values) for share, values in times.items()}
        print(name, results[name], flush=True)
    return results


def table(results: dict[str, dict[str, float]]) -> str:
    """As Markdown."""
    lines = [
        "| units that are on | " + " | ".join(results) + " |",
        "|---|" + "---:|" * len(results),
    ]
    for share in SHARES:
        ratios = [f"{times[str(share)] / times['None']:.2f}" for times in results.values()]
        lines.append(f"| {share:.0%} | {' | '.join(ratios)} |")
    leaky = [f"{bench.number(times['None'])} us" for times in results.values()]
    lines.append(f"| leaky relu | {' | '.join(leaky)} |")
    machine = bench.machine()
    lines += ["", f"- {machine['cpu']}, {machine['usable_cores']} cores; medians, in turn"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=backends.available(), default="cython")
    parser.add_argument("--rounds", type=int, default=7)
    add_outputs(parser)
    arguments = parser.parse_args()
    results = measure(arguments.backend, arguments.rounds)
    deliver(arguments, results, table(results), "off")


if __name__ == "__main__":
    main()
