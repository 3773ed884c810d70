"""Microseconds for derivatives and custom training steps: ``python -m benchmarks.derivatives``.

The Jacobian of 10,000 samples from Python; value and Jacobian of one sample from compiled code;
forward, backward and an Adam update with the derivative of a loss computed in Python. All
contenders of a column are timed in turn in one process, after their warm-up, each with its default
number of threads.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numba
import numpy as np

import fastnn
from benchmarks.calls import calls_that_take, nanoseconds_per_call
from benchmarks.measuring import medians_in_turn
from benchmarks.outputs import add_outputs, deliver, markdown_table

SHAPES = ((2, 8, 8, 8, 2), (16, 64, 64, 4))
STEPS = (4, 64, 64, 2)
ROWS = 10_000
ROUNDS = 7

Run = Callable[[int], np.ndarray]


def make(sizes: tuple[int, ...], backend: str = "auto") -> fastnn.Network:
    return fastnn.Network(sizes, loss="squared_error", backend=backend, random_state=0)


def repeated(call: Callable[[], np.ndarray]) -> Run:
    def run(n):
        for _ in range(n):
            out = call()
        return out

    return run


# --- the Jacobian of many samples -------------------------------------------------


def jacobian_by_torch(net: fastnn.Network, X: np.ndarray) -> Callable[[], np.ndarray]:
    import torch

    module, x = torch_module(net), torch.tensor(X)
    jacobian = torch.func.vmap(torch.func.jacrev(module))

    def call():
        with torch.no_grad():
            return jacobian(x).numpy()

    return call


def jacobian_by_jax(net: fastnn.Network, X: np.ndarray) -> Callable[[], np.ndarray]:
    import jax

    layers = [*zip(net.weights, net.biases, strict=True)]

    def module(a):
        for w, b in layers[:-1]:
            a = jax.numpy.tanh(a @ w + b)
        return a @ layers[-1][0] + layers[-1][1]

    jacobian, x = jax.jit(jax.vmap(jax.jacfwd(module))), jax.numpy.asarray(X)
    return lambda: np.asarray(jacobian(x).block_until_ready())


def jacobians(sizes: tuple[int, ...]) -> dict[str, Run]:
    X = np.random.default_rng(0).normal(size=(ROWS, sizes[0])).astype(np.float32)
    calls = {}
    for backend in ("cython", "numba", "numpy"):
        net = make(sizes, backend)
        calls[f"fastnn {backend}"] = lambda net=net: net.jacobian(X)
    for name, of in (("torch", jacobian_by_torch), ("jax", jacobian_by_jax)):
        try:
            calls[NAMES[name]] = of(net, X)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    expected = net.jacobian(X)
    for call in calls.values():
        np.testing.assert_allclose(call(), expected, atol=1e-5)
    return {name: repeated(call) for name, call in calls.items()}


NAMES = {"torch": "PyTorch, vmap(jacrev)", "jax": "JAX, jit(vmap(jacfwd))"}


# --- one sample in compiled code ----------------------------------------------------


@numba.njit(nogil=True)
def loop(predict, n, x, out, jac):
    for _ in range(n):
        x[0] = out[0] + jac[0, 0]  # so that calls cannot overlap
        predict(x, out, jac)


def in_numba(sizes: tuple[int, ...]) -> dict[str, Run]:
    net = make(sizes)
    predict = net.numba_predict(derivative="jacobian")

    def run(n):
        x, out = np.ones(sizes[0], np.float32), np.ones(sizes[-1], np.float32)
        jac = np.ones((sizes[-1], sizes[0]), np.float32)
        loop(predict, n, x, out, jac)
        return jac

    return {"fastnn, in Numba": run}


# --- custom training steps ----------------------------------------------------------


def torch_module(net: fastnn.Network):
    import torch

    layers = []
    for w, b in zip(net.weights, net.biases, strict=True):
        layer = torch.nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = torch.tensor(w.T.copy()), torch.tensor(b.copy())
        layers += [layer, torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def steps_in_torch(net: fastnn.Network, X: np.ndarray, d: np.ndarray) -> Callable[[], np.ndarray]:
    import torch

    module, x, d_outputs = torch_module(net), torch.tensor(X), torch.tensor(d)
    rule = torch.optim.Adam(module.parameters(), 1e-3, fused=True)

    def step():
        rule.zero_grad()
        out = module(x)
        out.backward(d_outputs)
        rule.step()
        return out.detach().numpy()

    return step


def steps(rows: int) -> dict[str, Run]:
    X = np.random.default_rng(0).normal(size=(rows, STEPS[0])).astype(np.float32)
    d = np.full((rows, STEPS[-1]), 1 / rows, np.float32)
    calls = {}
    for backend in ("cython", "numba", "numpy"):

        def step(net=make(STEPS, backend), rule=fastnn.Adam(1e-3)):  # noqa: B008
            tape = net.forward(X)
            net.apply(rule, tape.backward(d))
            return tape.outputs

        calls[f"fastnn {backend}"] = step
    try:
        calls["PyTorch"] = steps_in_torch(make(STEPS), X, d)
    except ImportError as error:
        print(f"torch is left out: {error}")
    outputs = [[call() for _ in range(3)] for call in calls.values()]
    for values in outputs:
        np.testing.assert_allclose(values, outputs[-1], atol=1e-4)
    return {name: repeated(call) for name, call in calls.items()}


# --- measuring ----------------------------------------------------------------------


def columns() -> dict[str, Callable[[], dict[str, Run]]]:
    found: dict[str, Callable[[], dict[str, Run]]] = {}
    for sizes in SHAPES:
        name = "-".join(map(str, sizes))
        found[f"{ROWS:,} x {name}"] = lambda sizes=sizes: jacobians(sizes)
        found[f"1 x {name}"] = lambda sizes=sizes: in_numba(sizes)
    for rows in (1, 32):
        found[f"step, {rows} x {'-'.join(map(str, STEPS))}"] = lambda rows=rows: steps(rows)
    return found


def measure(seconds: float) -> dict[str, dict[str, float]]:
    """Median microseconds per call, by column and contender."""
    results = {}
    for column, contenders in columns().items():
        timed = {}
        for name, run in contenders().items():
            run(3)
            calls = calls_that_take(seconds / ROUNDS / 2, run, 1)
            timed[name] = lambda run=run, calls=calls: nanoseconds_per_call(run, calls) / 1000
        results[column] = medians_in_turn(timed, ROUNDS)
    return results


def table(results: dict[str, dict[str, float]]) -> str:
    """The results as a Markdown table."""
    names = dict.fromkeys(name for row in results.values() for name in row)
    rows = [
        [name, *(f"{row[name]:,.3g}" if name in row else "" for row in results.values())]
        for name in names
    ]
    return markdown_table(["µs per call", *results], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each contender and column")
    add_outputs(parser)
    arguments = parser.parse_args()
    results = measure(arguments.seconds)
    deliver(arguments, results, table(results), "derivatives")


if __name__ == "__main__":
    main()
