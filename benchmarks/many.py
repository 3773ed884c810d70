"""Seconds for training many small networks: ``python -m benchmarks.many``.

fastnn trains one network after the other, or uses ``fit_many``; scikit-learn runs in processes of
joblib; JAX uses ``vmap`` if all shapes are equal. All start from the same weights and do the same
steps.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np

import fastnn
from benchmarks.contenders import fastnn_, jax_, sklearn_
from benchmarks.contenders.base import Runner
from benchmarks.jobs import JOBS
from benchmarks.measuring import medians_in_turn
from benchmarks.outputs import add_outputs, deliver, markdown_table
from benchmarks.tasks import Task, make_data
from fastnn.bench import number

SEEDS = replace(JOBS["circles"], name="seeds", optimizer="adam", learning_rate=1e-2, check_steps=20)
SHAPES = tuple((2, *[units] * depth, 2) for units in (4, 6, 8, 12, 16) for depth in (1, 2, 3, 4))
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
FOLDS = 5


@dataclass
class Member(Task):
    """One of many networks: a task with its own initial weights."""

    seed: int

    def network(self, backend: str = "numpy") -> fastnn.Network:
        """A new network with the initial weights."""
        return self.new_network(backend, self.seed)


# --- networks -----------------------------------------------------------------------


def seeds(n: int) -> list[Member]:
    """Networks of one shape on the same data."""
    data = make_data(SEEDS)
    return [Member(SEEDS, *data, seed) for seed in range(n)]


def grid(n: int) -> list[Member]:
    """All combinations of shapes and learning rates, on the same data."""
    data = make_data(SEEDS)
    pairs = [(sizes, rate) for sizes in SHAPES for rate in RATES]
    jobs = [replace(SEEDS, name="grid", layer_sizes=s, learning_rate=rate) for s, rate in pairs]
    return [Member(jobs[k % len(jobs)], *data, k) for k in range(n)]


def folds(n: int) -> list[Member]:
    """Networks of one shape on the folds of a cross-validation, in batches of 50."""
    x, y, source = make_data(SEEDS)
    samples = len(x) - len(x) // FOLDS
    # check_steps is three whole epochs
    job = replace(SEEDS, name="folds", samples=samples, batch_size=50, check_steps=24)
    members = []
    for seed in range(n):
        rows = np.arange(len(x)) % FOLDS != seed % FOLDS
        members.append(Member(job, x[rows], y[rows], source, seed))
    return members


GROUPS = {
    "seeds": (seeds, "2-8-8-8-2, full batch of 500, one seed each"),
    "grid": (
        grid,
        "20 shapes, 2-4-2 to 2-16-16-16-16-2, by 5 learning rates, full batch of 500",
    ),
    "folds": (folds, "2-8-8-8-2, one seed and 400 of 500 samples each (5 folds), batches of 50"),
}


# --- contenders ---------------------------------------------------------------------


class OneByOne:
    """``fit`` of each network, with its default number of threads."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.runners = [fastnn_.Fastnn(member, "auto") for member in members]

    def reset(self) -> None:
        for runner in self.runners:
            runner.reset()

    def run(self, steps: int) -> None:
        for runner in self.runners:
            runner.run(steps)

    def results(self) -> list[np.ndarray]:
        return [runner.result() for runner in self.runners]


class FitMany(OneByOne):
    """``fit_many`` of the same networks."""

    def run(self, steps: int) -> None:
        fits = []
        for runner in self.runners:
            member = runner.task
            rows, epochs = member.rows_and_epochs(steps)
            fits.append(
                fastnn.Fit(
                    runner.net,
                    member.x[:rows],
                    member.y[:rows],
                    optimizer=member.optimizer,
                    epochs=epochs,
                    batch_size=member.job.batch_size,
                )
            )
        fastnn.fit_many(fits, shuffle=False)


class ScikitLearn(OneByOne):
    """scikit-learn's ``fit`` of each network, in one process per core."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.runners = [sklearn_.ScikitLearn(member) for member in members]

    def run(self, steps: int) -> None:
        fit = joblib.delayed(run)
        with joblib.parallel_config("loky", n_jobs=joblib.cpu_count()):
            self.runners = joblib.Parallel()(fit(runner, steps) for runner in self.runners)


def run(runner: Runner, steps: int) -> Runner:
    """Run some steps and return the runner, from another process."""
    runner.run(steps)
    return runner


class Jax(jax_.Jax):
    """All networks at once: the training loop, mapped over the networks."""

    def __init__(self, members: Sequence[Member]) -> None:
        if len({member.job for member in members}) > 1:
            raise ValueError("vmap needs equal shapes")
        self.members = members
        super().__init__(members[0], loop=True)
        parameters = [member.parameters() for member in members]
        self.start = [np.stack(arrays) for arrays in zip(*parameters, strict=True)]
        axis = None  # axis of the data to map over; None if all networks have the same data
        if any(member.x is not members[0].x for member in members):
            axis = 0
            shape = (len(members), *self.x.shape)
            self.x = self.jnp.asarray(np.stack([m.x for m in members]).reshape(shape))
            self.y = self.jnp.asarray(np.stack([m.y for m in members]).reshape(shape[:-1]))
        state = (0, 0, 0, None)  # the count of steps is shared
        mapped = self.jax.vmap(self._many, in_axes=(state, axis, axis, None), out_axes=state)
        self.many = self.jax.jit(mapped, donate_argnums=0)
        self.reset()

    def results(self) -> list[np.ndarray]:
        parameters = [np.asarray(p) for p in self.state[0]]
        return [
            np.concatenate([p[k].ravel() for p in parameters]) for k in range(len(self.members))
        ]


CONTENDERS: dict[str, Callable[[Sequence[Member]], Any]] = {
    "fastnn, one after the other": OneByOne,
    "fastnn.fit_many": FitMany,
    "scikit-learn, joblib": ScikitLearn,
    "JAX vmap": Jax,
}


# --- timing -------------------------------------------------------------------------


def same(name: str, members: Sequence[Member], trained: Sequence[np.ndarray]) -> None:
    """Raise if a network's loss is not that of the NumPy backend after the same steps.

    Adam divides by the root of a mean of squares, which amplifies the rounding of weights whose
    gradient is near zero. Ten times the tolerance of a single job still detects different steps, a
    different order or a different learning rate.
    """
    for member, params in zip(members, trained, strict=True):
        reference = fastnn_.Fastnn(member, "numpy")
        reference.run(member.job.check_steps)
        np.testing.assert_allclose(
            member.loss_of(params),
            member.loss_of(reference.result()),
            rtol=10 * member.job.tolerance,
            err_msg=f"{name} computes something else, with seed {member.seed}",
        )


def measure(n: int, steps: int, rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds by job and contender, all timed in turn."""
    results: dict[str, dict[str, float]] = {}
    for job, (make, _) in GROUPS.items():
        members = make(n)
        contenders = {}
        for name, contender in CONTENDERS.items():
            try:
                contenders[name] = made = contender(members)
            except (ImportError, ValueError) as error:
                print(f"{job}: {name} is left out: {error}")
                continue
            made.reset()
            made.run(members[0].job.check_steps)
            same(name, members, made.results())
        whole = members[0].whole_epochs(steps)
        timed = {name: functools.partial(seconds, made, whole) for name, made in contenders.items()}
        results[job] = medians_in_turn(timed, rounds)
    return results


def seconds(contender: Any, steps: int) -> float:
    """Time from the initial weights of all networks to the end of their training."""
    contender.reset()
    started = time.perf_counter()
    contender.run(steps)
    return time.perf_counter() - started


def table(results: dict[str, dict[str, float]], n: int, steps: int) -> str:
    """The results as a Markdown table."""
    rows = [[name, *(number(row.get(name)) for row in results.values())] for name in CONTENDERS]
    lines = [f"- {n} networks, {steps} steps of Adam each; {joblib.cpu_count()} cores"]
    lines += [f"- {job}: {GROUPS[job][1]}" for job in results]
    return markdown_table(["seconds", *results], rows) + "\n" + "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--steps", type=int, default=400, help="of each network")
    parser.add_argument("--rounds", type=int, default=5)
    add_outputs(parser)
    arguments = parser.parse_args()
    results = measure(arguments.networks, arguments.steps, arguments.rounds)
    text = table(results, arguments.networks, arguments.steps)
    deliver(arguments, results, text, "many")


if __name__ == "__main__":
    main()
