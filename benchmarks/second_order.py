"""Seconds to a given error by second-order training: ``python -m benchmarks.second_order``.

Four small function fits in float64, one of them with two goals. The result is the time until half
the mean squared error of the (standardised) data is first at or below the goal, for
Levenberg-Marquardt, Adam and L-BFGS of fastnn, L-BFGS of scikit-learn, and SciPy's
``least_squares(method="lm")`` with the exact Jacobian of
:meth:`fastnn.Network.jacobian_by_params`. All start from the same weights, except scikit-learn,
which draws its own. L-BFGS does not report losses while running: the time is that of the fit with
the fewest iterations that reaches the goal. "Not reached" means not within ``--seconds``, or that
the method terminated before.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.optimize
from sklearn.neural_network import MLPRegressor as Theirs

import fastnn
from benchmarks.outputs import add_outputs, deliver, markdown_table


class Task(NamedTuple):
    """Standardised data, layer sizes, and the error to be reached."""

    x: np.ndarray
    y: np.ndarray
    sizes: tuple[int, ...]
    goal: float

    def network(self, backend: str = "auto") -> fastnn.Network:
        return fastnn.Network(
            self.sizes,
            loss="squared_error",
            initializer="nguyen_widrow",
            dtype="float64",
            backend=backend,
            random_state=3,
        )


class Reached(Exception):
    """Raised to leave SciPy's loop, when the goal is reached or the time is over."""


def standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=0)) / x.std(axis=0)


def tasks() -> dict[str, Task]:
    rng = np.random.default_rng(0)
    found = {}
    x = np.linspace(-1, 1, 1000)[:, None]
    found["sinc"] = Task(x, np.sinc(10 * x), (1, 20, 1), 2e-6)
    found["sinc, close"] = found["sinc"]._replace(goal=0.5e-8)
    # fuelling and speed to torque and emissions: smooth, saturating
    fuel, speed = rng.uniform(-1, 1, (2, 1199))
    torque = np.tanh(2 * fuel + 0.5) * (1 - 0.4 * speed**2) + 0.2 * speed
    nox = np.exp(-((fuel - 0.3) ** 2) / 0.3) * (1 + np.tanh(3 * speed))
    engine = np.column_stack([torque, nox]) + 0.01 * rng.standard_normal((1199, 2))
    x = np.column_stack([fuel, speed])
    found["engine"] = Task(x, standardised(engine), (2, 12, 2), 6e-4)
    x = rng.uniform(size=(500, 5))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    y += 10 * x[:, 3] + 5 * x[:, 4]
    found["friedman"] = Task(2 * x - 1, standardised(y[:, None]), (5, 15, 1), 3e-5)
    angles = rng.uniform(-1, 1, (1000, 2))
    first, both = np.pi * angles[:, 0] / 2, np.pi * angles.sum(axis=1) / 2
    arm = np.column_stack([np.cos(first) + np.cos(both), np.sin(first) + np.sin(both)])
    found["robot arm"] = Task(angles, standardised(arm), (2, 15, 2), 1e-5)
    return found


# --- contenders: return seconds, or None if the goal is not reached in time -------------


def by_lm(task: Task, limit: float, backend: str = "auto") -> float | None:
    net = task.network(backend)
    rule = fastnn.LevenbergMarquardt(goal=task.goal, min_gradient=0)
    late = time.perf_counter() + limit
    before = time.perf_counter()
    history = net.fit(
        task.x,
        task.y,
        optimizer=rule,
        epochs=100_000,
        callbacks=[lambda progress: time.perf_counter() > late],
    )
    return time.perf_counter() - before if history.stopped == "goal" else None


def by_adam(task: Task, limit: float) -> float | None:
    net, late = task.network(), time.perf_counter() + limit
    before = time.perf_counter()
    history = net.fit(
        task.x,
        task.y,
        optimizer=fastnn.Adam(3e-3),
        batch_size=100,
        epochs=10_000_000,
        callbacks=[
            lambda progress: net.loss(task.x, task.y) <= task.goal or time.perf_counter() > late
        ],
    )
    reached = history.stopped == "callback" and net.loss(task.x, task.y) <= task.goal
    return time.perf_counter() - before if reached else None


def by_least_squares(task: Task, limit: float) -> float | None:
    net, late = task.network(), time.perf_counter() + limit
    samples = len(task.x)

    def residuals(params: np.ndarray) -> np.ndarray:
        net.params = params
        found = (net.predict(task.x).reshape(task.y.shape) - task.y).ravel()
        if 0.5 * found @ found / samples <= task.goal:
            raise Reached(True)
        if time.perf_counter() > late:
            raise Reached(False)
        return found

    def jacobian(params: np.ndarray) -> np.ndarray:
        net.params = params
        return net.jacobian_by_params(task.x).reshape(-1, net.n_params)

    before, tolerances = time.perf_counter(), {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
    try:
        scipy.optimize.least_squares(
            residuals, net.params.copy(), jacobian, method="lm", max_nfev=10**6, **tolerances
        )
    except Reached as found:
        return time.perf_counter() - before if found.args[0] else None
    return None


def by_lbfgs(
    task: Task, limit: float, make: Callable[[int], fastnn.MLPRegressor | Theirs]
) -> float | None:
    y = task.y if task.y.shape[1] > 1 else task.y.ravel()

    def fit(iterations: int) -> tuple[float, bool, bool]:
        """Seconds, whether the goal is reached, and whether more iterations are possible."""
        model = make(iterations)
        before = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(task.x, y)
        seconds = time.perf_counter() - before
        error = 0.5 * np.mean(((model.predict(task.x).reshape(task.y.shape) - task.y) ** 2).sum(1))
        return seconds, error <= task.goal, model.n_iter_ >= iterations

    low, high = 0, 32
    while True:
        seconds, reached, goes_on = fit(high)
        if reached:
            break
        if not goes_on or seconds > limit / 2:
            return None
        low, high = high, 2 * high
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        found, reached, _ = fit(middle)
        if reached:
            high, seconds = middle, found
        else:
            low = middle
    return seconds


def ours(task: Task) -> Callable[[int], fastnn.MLPRegressor]:
    """Models of fastnn for L-BFGS, with the initial weights of the other contenders."""
    net = task.network()

    def make(iterations: int) -> fastnn.MLPRegressor:
        model = fastnn.MLPRegressor(hidden_layer_sizes=task.sizes[1:-1], **LBFGS)
        model.set_params(max_iter=iterations, warm_start=True)
        model.n_features_in_, model.n_outputs_ = task.sizes[0], task.sizes[-1]
        model.n_layers_, model.out_activation_ = len(task.sizes), "identity"
        model.coefs_ = [w.copy() for w in net.weights]
        model.intercepts_ = [b.copy() for b in net.biases]
        return model

    return make


def theirs(task: Task) -> Callable[[int], Theirs]:
    return lambda iterations: Theirs(
        hidden_layer_sizes=task.sizes[1:-1], max_iter=iterations, random_state=3, **LBFGS
    )


LBFGS = {"activation": "tanh", "solver": "lbfgs", "alpha": 0.0, "tol": 1e-14, "max_fun": 10**7}
CONTENDERS: dict[str, Callable[[Task, float], float | None]] = {
    "fastnn, LevenbergMarquardt": by_lm,
    "... Numba": lambda task, limit: by_lm(task, limit, "numba"),
    "... NumPy": lambda task, limit: by_lm(task, limit, "numpy"),
    "fastnn, Adam, batches of 100": by_adam,
    "fastnn, lbfgs": lambda task, limit: by_lbfgs(task, limit, ours(task)),
    "scikit-learn, lbfgs": lambda task, limit: by_lbfgs(task, limit, theirs(task)),
    "SciPy, least_squares": by_least_squares,
}


# --- measuring ----------------------------------------------------------------------


def measure(limit: float, rounds: int, chosen: list[str]) -> dict[str, dict[str, float | None]]:
    """Median seconds, by task and contender."""
    results: dict[str, dict[str, float | None]] = {}
    for name, task in tasks().items():
        if chosen and name not in chosen:
            continue
        shape = "-".join(map(str, task.sizes))
        row = results.setdefault(f"{name.split(',')[0]} {shape} to {task.goal:g}", {})
        for contender, run in CONTENDERS.items():
            if "Numba" in contender:
                run(task._replace(goal=1e9), limit)  # compiles
            times = [run(task, limit)]
            # runs longer than a second are measured once
            more = rounds - 1 if times[0] is not None and times[0] < 1 else 0
            times += [run(task, limit) for _ in range(more)]
            found = [seconds for seconds in times if seconds is not None]
            row[contender] = statistics.median(found) if len(found) == len(times) else None
    return results


def table(results: dict[str, dict[str, float | None]]) -> str:
    """The results as a Markdown table."""
    rows = []
    for name in CONTENDERS:
        values = [row[name] for row in results.values()]
        shown = ["not reached" if value is None else f"{value:,.3g}" for value in values]
        rows.append([name, *shown])
    return markdown_table(["seconds to the goal", *results], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="most for each fit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", default="", help="some of them: sinc,engine,friedman,robot arm")
    add_outputs(parser)
    arguments = parser.parse_args()
    chosen = [name for name in arguments.tasks.split(",") if name]
    results = measure(arguments.seconds, arguments.rounds, chosen)
    deliver(arguments, results, table(results), "second_order")


if __name__ == "__main__":
    main()
