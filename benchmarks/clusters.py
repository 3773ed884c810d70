"""When a cluster is worthwhile: cost of the fits of a search, and a simulation of many workers.

``python -m benchmarks.clusters`` measures CPU time, which other programs on the machine hardly
affect: that of fits on one thread, and the overhead of each fit on the machine that runs the
search (Dask's client and scheduler, writing the result to a file).
"""

from __future__ import annotations

import heapq
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fastnn.tables.kept import InFolder, Key
from fastnn.tables.search import Plan, fit_cost
from fastnn.tables.trials import Fit, Problem, drawn_settings, fit, folds_of, own_settings

FEATURES, FOLDS, BATCH = 30, 5, 256
EPOCHS = 4  # epochs of a measured fit


def problem_of(rows: int) -> Problem:
    """A classification problem with the given number of rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, FEATURES))
    targets = (x[:, :1] * x[:, 1:2] > 0).astype(int)
    folds = folds_of(targets, FOLDS, True, 0)
    return Problem(x, targets, None, np.arange(2), folds, "accuracy")


def step_seconds(problem: Problem, settings: dict) -> float:
    """CPU time per step with 256 rows, including validation, start and end of a fit."""
    kept, held_out = np.flatnonzero(problem.folds), np.flatnonzero(problem.folds == 0)
    fit(problem, settings, 1, kept, held_out, 0)
    started = time.process_time()
    fit(problem, settings, EPOCHS, kept, held_out, 0)
    return (time.process_time() - started) / (EPOCHS * (len(kept) // BATCH))


def overhead_seconds(network: object) -> tuple[float, float]:
    """Overhead of a fit on the searching machine, in CPU time: of Dask, and of writing the file."""
    import distributed
    import joblib

    with tempfile.TemporaryDirectory() as folder:
        store = InFolder(Path(folder), {})
        started = time.process_time()
        for k in range(50):
            store.put(Key(k, 1, 0), Fit(0.0, 0.0, 0.0), network)
        keeping = (time.process_time() - started) / 50
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        joblib.parallel_config("dask", client=client),
    ):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        for count in (20, 200):  # the first round includes the imports of the workers
            started = time.process_time()
            for _ in parallel(joblib.delayed(answer)(network) for _ in range(count)):
                pass
        return (time.process_time() - started) / 200, keeping


def answer(network: object) -> object:
    """A task that returns a network."""
    return network


def makespan(rounds: Sequence[Sequence[float]], workers: int, serial: float) -> float:
    """Simulated time of rounds of tasks, each round starting after the previous one.

    One machine distributes the tasks and collects the results, which takes it ``serial`` seconds
    per task.
    """
    now = 0.0
    for tasks in rounds:
        free, handing = [now] * workers, now
        heapq.heapify(free)
        for seconds in tasks:
            handing = max(handing, heapq.heappop(free)) + serial
            heapq.heappush(free, handing + seconds)
        now = max(free)
    return now


def seconds_by_round(
    plan: Plan, problem: Problem, seconds: dict[float, float]
) -> list[list[float]]:
    """Seconds of all fits of a search by round, in the order in which they are distributed."""
    rng = np.random.default_rng(1)
    settings, rounds = drawn_settings(problem, plan.trials), []
    for k, (epochs, number) in enumerate(plan.rounds()):
        chosen = rng.permutation(np.arange(1, plan.trials))[:number]  # random, as if the best
        tasks = [seconds[fit_cost(FEATURES, settings[n])] * epochs for n in chosen]
        tasks = sorted(np.repeat(tasks, FOLDS).tolist(), reverse=True)
        own = [] if k else [seconds[fit_cost(FEATURES, settings[0])] * plan.epochs] * FOLDS
        rounds.append(own + tasks)
    return rounds


def main() -> None:
    """Print the tables of docs/clusters.md."""
    problem = problem_of(4000)
    own = own_settings(problem)
    steps, shown = {}, {}
    for sizes in ((256,) * 3, (64,) * 5, (512,)):
        settings = own | {"hidden_layer_sizes": list(sizes), "dropout": 0.15}
        steps[fit_cost(FEATURES, settings)] = shown[sizes] = step_seconds(problem, settings)
    print("| hidden layers | ms a step of 256 rows | s a fit of 1,000 | 10,000 | 100,000 rows |")
    for sizes, seconds in shown.items():
        fits = [f"{256 * (0.8 * n // BATCH) * seconds:.2g}" for n in (1000, 10_000, 100_000)]
        print(f"| {'-'.join(map(str, sizes))} | {1e3 * seconds:.2f} | {' | '.join(fits)} |")
    network = fit(problem, own, 1, np.arange(3000), np.arange(3000, 4000), 0)
    dask, keeping = overhead_seconds(network)
    print(
        f"a fit costs the searching machine {1e3 * dask:.1f} ms of Dask, "
        f"{1e3 * keeping:.1f} ms of file"
    )
    plans = {"random, 320 trials": Plan(320, method="random"), "halving, 222 trials": Plan(222)}
    for name, plan in plans.items():
        for rows in (1000, 10_000, 100_000):
            fits = {cost: s * (0.8 * rows // BATCH) for cost, s in steps.items()}
            rounds = seconds_by_round(plan, problem, fits)
            work = sum(map(sum, rounds))
            cells = []
            for workers in (2, 8, 16, 32, 64):
                total = makespan(rounds, workers, dask + keeping)
                cells.append(f"{work / (workers * total):.3f} ({total:,.0f} s)")
            print(f"| {name}, {sum(map(len, rounds))} fits | {rows:,} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
