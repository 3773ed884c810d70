"""When a cluster is worthwhile: cost of the fits of a search, and a simulation of many workers.

``python -m benchmarks.clusters`` measures CPU time, which other programs on the machine hardly
affect: that of fits on one thread, and the overhead of each fit on the machine that runs the
search (Dask's client and scheduler, writing the result to a file).
"""

from __future__ import annotations

import heapq
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from fastnn.tables.fit_store import FitFolder, FitKey
from fastnn.tables.halving import Halving
from fastnn.tables.pools import pool
from fastnn.tables.search import Plan, fit_cost
from fastnn.tables.trials import Fit, Problem, default_settings, drawn_settings, fit, folds_of

FEATURES, FOLDS, BATCH = 30, 5, 256
EPOCHS = 4  # epochs of a measured fit
DRAWS = 10  # simulated searches with different settings; their mean is printed


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
        store = FitFolder(Path(folder), {})
        started = time.process_time()
        for k in range(50):
            store.put(FitKey(k, 1, 0), Fit(0.0, 0.0, 0.0), network)
        keeping = (time.process_time() - started) / 50
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        joblib.parallel_config("dask", client=client),
        pool(answer, network, None) as results_of,
    ):
        for count in (20, 200):  # the first round includes the imports of the workers
            tasks = iter([(k,) for k in range(count)])
            started = time.process_time()
            for _ in results_of(lambda tasks=tasks: next(tasks, None)):
                pass
        return (time.process_time() - started) / 200, keeping


def answer(network: object, number: int) -> object:
    """A task that returns a network."""
    return network


def simulated(
    plan: Plan, problem: Problem, seconds: dict[float, float], workers: int, serial: float
) -> tuple[float, float]:
    """Simulate a search; return its efficiency and its time.

    One machine distributes the fits and collects the results, which takes it ``serial`` seconds
    per fit. The settings are drawn with the problem's seed; the ranks of the trials are random.
    """
    settings = drawn_settings(problem, plan.trials)
    costs = [fit_cost(FEATURES, each) for each in settings]
    ranks = np.random.default_rng(problem.seed).permutation(plan.trials)
    halving = Halving(plan.rounds(), FOLDS, costs.__getitem__)
    left: Counter[tuple[int, int]] = Counter()
    now, handing, work = 0.0, 0.0, 0.0
    running: list[tuple[float, int, int]] = []
    while True:
        while len(running) < workers and (started := halving.start()) is not None:
            trial, epochs, _ = started
            handing = max(handing, now) + serial
            fit_seconds = seconds[costs[trial]] * epochs
            work += fit_seconds
            heapq.heappush(running, (handing + fit_seconds, trial, epochs))
        if not running:
            return work / (workers * now), now
        now, trial, epochs = heapq.heappop(running)
        left[trial, epochs] += 1
        if left[trial, epochs] == FOLDS:
            halving.finish(trial, epochs, ranks[trial])


def main() -> None:
    """Print the tables of docs/clusters.md."""
    problem = problem_of(4000)
    own = default_settings(problem)
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
    plans = {
        "random, 320 trials": Plan(320, method="random"),
        "halving, 222 trials": Plan(222),
        "halving, 600 trials": Plan(600),
    }
    draws = [replace(problem, seed=seed) for seed in range(DRAWS)]
    for name, plan in plans.items():
        for rows in (1000, 10_000, 100_000):
            fits = {cost: s * (0.8 * rows // BATCH) for cost, s in steps.items()}
            cells = []
            for workers in (2, 8, 16, 32, 64):
                efficiency, total = np.mean(
                    [simulated(plan, each, fits, workers, dask + keeping) for each in draws], axis=0
                )
                cells.append(f"{efficiency:.3f} ({total:,.0f} s)")
            print(f"| {name}, {plan.n_fits(FOLDS)} fits | {rows:,} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
