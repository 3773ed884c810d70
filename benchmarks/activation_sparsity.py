"""Time saved by skipping inactive ReLU units: ``python -m benchmarks.activation_sparsity``.

The time of a training step of 16-W-W-4 with relu, as a function of the fraction of active units in
the first hidden layer, divided by that of the same network with leaky relu, whose units are always
active. The biases set the fraction, and a learning rate close to zero keeps it. All fractions and
leaky relu are timed in turn; the results are medians. Below the table: the fractions in the job
"wide" during its training.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

import fastnn
from benchmarks.contenders.fastnn_ import Fastnn
from benchmarks.jobs import JOBS
from benchmarks.machine import in_words, machine
from benchmarks.measuring import medians_in_turn
from benchmarks.outputs import add_outputs, deliver, markdown_table
from benchmarks.passes import training_pass
from benchmarks.tasks import EVALUATED, Task
from fastnn import backends
from fastnn.bench import number

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9)
STEPS = (20, 100, 400, 3000)  # steps of the job "wide" after which its active units are counted
CASES = ((512, 32), (512, 128), (1024, 32), (1024, 128))
SAMPLES = 1024


def microseconds_per_step(
    backend: str, width: int, batch: int, share: float | None
) -> Callable[[], float]:
    """Timer of a network with a given fraction of active units; None for leaky relu."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, 16), dtype=np.float32)
    net = fastnn.Network(
        [16, width, width, 4],
        activation="relu" if share else "leaky_relu",
        backend=backend,
        dtype="float32",
        random_state=0,
    )
    if share:
        net_inputs = x @ net.weights[0]
        net.biases[0][:] = -np.quantile(net_inputs, 1 - share, axis=0)
        active = np.mean(net_inputs + net.biases[0] > 0)
        if abs(active - share) > 0.01:
            raise ValueError(f"share of active units must be {share}; got {active}")
    one_pass = training_pass(net, x, np.arange(SAMPLES) % 4, batch, rate=1e-9)
    return lambda: 1e6 * one_pass() * batch / SAMPLES


def measure(backend: str, rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds per step, by case and fraction of active units."""
    results = {}
    for width, batch in CASES:
        timed = {
            str(share): microseconds_per_step(backend, width, batch, share)
            for share in (None, *SHARES)
        }
        name = f"{width:,} units, batch {batch}"
        results[name] = medians_in_turn(timed, rounds)
        print(name, results[name], flush=True)
    return results


def active_in_training(backend: str, data_dir: str | None) -> dict[int, float]:
    """Fraction of active units in the first layer of the job "wide", by number of steps."""
    task = Task.make(JOBS["wide"], data_dir)
    runner, shares = Fastnn(task, backend), {}
    for steps in map(task.whole_epochs, STEPS):
        runner.reset()
        runner.run(steps)
        net_inputs = task.x[:EVALUATED] @ runner.net.weights[0] + runner.net.biases[0]
        shares[steps] = float(np.mean(net_inputs > 0))
    return shares


def table(results: dict[str, dict[str, float]], training_lock: dict[int, float]) -> str:
    """The results as a Markdown table."""
    rows = [
        [
            f"{share:.0%}",
            *(f"{times[str(share)] / times['None']:.2f}" for times in results.values()),
        ]
        for share in SHARES
    ]
    rows.append(["leaky relu", *(f"{number(times['None'])} us" for times in results.values())])
    text = markdown_table(["active units", *results], rows)
    active = ", ".join(f"{share:.0%} after {n:,}" for n, share in training_lock.items())
    lines = [f"- {in_words(machine())}; medians, in turn"]
    lines += [f'- active units in the first layer of "wide", by steps of training: {active}']
    return text + "\n" + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=backends.available(), default="cython")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--data-dir", help="folder of MNIST's files")
    add_outputs(parser)
    arguments = parser.parse_args()
    results = measure(arguments.backend, arguments.rounds)
    training_lock = active_in_training(arguments.backend, arguments.data_dir)
    both = {"microseconds": results, "active_in_training": training_lock}
    deliver(arguments, both, table(results, training_lock), "activation-sparsity")


if __name__ == "__main__":
    main()
