"""``fastnn bench``: the backends against each other and against what a user would pick instead.

A *job* is one thing to compute; a *contender* is a backend of this package or a
peer, in its strongest honest form. Every contender works in its own process, so
that no thread pool disturbs another's. A contender first shows that it computes
the same thing as the NumPy backend (the loss after the same steps from the same
weights, or the predictions), is warmed up, and is then timed in turn with the
others, round after round; the median of the rounds counts.

From top to bottom: jobs, contenders, processes, measuring, the machine, tables,
figures, the command.
"""

# Runners override documented methods.
# ruff: noqa: D102

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fastnn import backends
from fastnn.network import Network
from fastnn.training.optimizers import SGD, Adam, Optimizer
from fastnn.training.threads import usable_cores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVALUATED = 2000  # samples whose loss is compared
PREPARE_LIMIT = 300.0  # seconds to import, compile and warm up
TIMING_LIMIT = 120.0
REST = 0.2  # seconds before each turn: threads of whoever had the last one spin for a while


# --- jobs ---------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One thing to compute.

    Attributes
    ----------
    name : str
    layer_sizes : tuple of int
    activation : str
        Of the hidden layers.
    data : {"moons", "circles", "expm", "mnist", "random"}
    samples : int
    batch_size : int or None
        None for all samples a step. Batches are consecutive, in fixed order.
    optimizer : {"sgd", "adam"}
    learning_rate : float
    loss : {"cross_entropy", "squared_error"}
    dtype : {"float32", "float64"}
    predict : bool
        Time ``predict_proba`` of all samples instead of training steps.
    check_steps : int
        Steps after which losses are compared.
    epochs_before : int
        Passes over the data that the weights to start from have already seen. Of relu units ever
        fewer are on, and the kernels skip those that are off.
    """

    name: str
    layer_sizes: tuple[int, ...]
    activation: str
    data: str
    samples: int
    batch_size: int | None = None
    optimizer: str = "sgd"
    learning_rate: float = 0.5
    loss: str = "cross_entropy"
    dtype: str = "float32"
    predict: bool = False
    check_steps: int = 100
    epochs_before: int = 0

    @property
    def batches(self) -> int:
        """Steps of one pass over the data."""
        return 1 if self.batch_size is None else self.samples // self.batch_size

    @property
    def samples_a_step(self) -> int:
        """Samples worked through by one step."""
        return self.batch_size or self.samples

    @property
    def n_weights(self) -> list[int]:
        """Number of weights of each layer, biases left out."""
        return [m * n for m, n in zip(self.layer_sizes, self.layer_sizes[1:], strict=False)]

    @property
    def n_params(self) -> int:
        """Number of weights and biases."""
        return sum(self.n_weights) + sum(self.layer_sizes[1:])

    @property
    def flops(self) -> int:
        """Floating-point operations of a step's matrix products.

        Forward, gradient of the weights, and gradient of the inputs (which the
        first layer does not need): two a weight and sample each.
        """
        products = sum(self.n_weights)
        if not self.predict:
            products = 3 * products - self.n_weights[0]
        return 2 * self.samples_a_step * products

    @property
    def moved_bytes(self) -> int:
        """Bytes a step must move: the batch once, parameters and moments in and out."""
        itemsize = np.dtype(self.dtype).itemsize
        numbers = self.samples_a_step * self.layer_sizes[0]
        if self.predict:
            numbers += self.n_params + self.samples_a_step * self.layer_sizes[-1]
        else:
            numbers += (6 if self.optimizer == "adam" else 2) * self.n_params
        return itemsize * numbers

    @property
    def tolerance(self) -> float:
        """Relative difference of the loss (or predictions) that counts as rounding."""
        # float64: Keras keeps its learning rate and momentum in float32 all the same
        return 1e-8 if self.dtype == "float64" else 1e-4

    def describe(self) -> str:
        """One line for people."""
        sizes = "-".join(map(str, self.layer_sizes))
        if self.predict:
            return f"predict {self.samples:,} through {sizes} {self.activation}, {self.dtype}"
        batch = "full batch" if self.batch_size is None else f"batch {self.batch_size}"
        rule = {"sgd": "gradient descent", "adam": "Adam"}[self.optimizer]
        later = "" if not self.epochs_before else f", from epoch {self.epochs_before + 1} on"
        return (
            f"{sizes} {self.activation}, {self.samples:,} samples, {batch}, {rule}, "
            f"{self.loss.replace('_', ' ')}, {self.dtype}{later}"
        )


_MOONS = Job("moons", (2, 3, 2), "tanh", "moons", 200)
_CIRCLES = Job("circles", (2, 8, 8, 8, 2), "tanh", "circles", 500, learning_rate=0.1)
_MLP = Job(
    "mlp",
    (784, 128, 64, 10),
    "relu",
    "mnist",
    468 * 128,  # whole batches of MNIST's 60,000
    batch_size=128,
    optimizer="adam",
    learning_rate=1e-3,
    check_steps=40,
)
_WIDE = replace(_MLP, name="wide", layer_sizes=(784, 1024, 1024, 10), check_steps=5)
_PREDICT = replace(_CIRCLES, name="predict-1", samples=1, predict=True)

JOBS = {
    job.name: job
    for job in (
        _MOONS,
        _CIRCLES,
        replace(_MOONS, name="moons64", dtype="float64"),
        replace(_CIRCLES, name="circles64", dtype="float64"),
        Job(
            "expm",
            (4, 32, 16, 4),
            "tanh",
            "expm",
            10_000,
            optimizer="adam",
            learning_rate=1e-3,
            loss="squared_error",
            check_steps=20,
        ),
        _MLP,
        _WIDE,
        replace(_WIDE, name="wide-later", epochs_before=1),
        _PREDICT,
        replace(_PREDICT, name="predict-1k", samples=1000),
        replace(_PREDICT, name="predict-100k", samples=100_000),
    )
}

MAP_WIDTHS = tuple(2**k for k in range(1, 12))
MAP_BATCHES = (32, 128, None)
MAP_SAMPLES = 1024


def map_job(width: int, batch_size: int | None, hidden_layers: int) -> Job:
    """A job of the sweep over widths and batches: relu, Adam, random data."""
    batch = "full" if batch_size is None else str(batch_size)
    return Job(
        f"{hidden_layers}x{width}/{batch}",
        (16, *[width] * hidden_layers, 4),
        "relu",
        "random",
        MAP_SAMPLES,
        batch_size=batch_size,
        optimizer="adam",
        learning_rate=1e-3,
        check_steps=3,
    )


def make_data(job: Job, data_dir: str | None = None) -> tuple[np.ndarray, np.ndarray, str]:
    """Samples and targets of a job.

    Parameters
    ----------
    job : Job
    data_dir : str, optional
        Where MNIST lies. Where it is missing, random data of the same shape
        take its place.

    Returns
    -------
    x : ndarray, shape (samples, features), of the job's dtype
    y : ndarray
        Class indices (int64), or real targets, (samples, outputs).
    source : str
        What the data are, in words.
    """
    rng = np.random.RandomState(0)
    n, source = job.samples, job.data
    if job.data == "moons":
        from sklearn.datasets import make_moons

        x, y = make_moons(max(n, 2), noise=0.2, random_state=0)
    elif job.data == "circles":
        from sklearn.datasets import make_circles

        x, y = make_circles(max(n, 2), noise=0.1, factor=0.5, random_state=0)
    elif job.data == "expm":
        x = rng.uniform(-1, 1, (n, 4))
        y = expm_2x2(x)
    else:
        x = y = None
        if job.data == "mnist":
            try:
                x, y = _mnist(data_dir, n)
            except (ImportError, AttributeError, OSError, ValueError) as error:
                source = f"random in place of MNIST ({type(error).__name__}: {error})"
        if x is None:
            x = rng.rand(n, job.layer_sizes[0]).astype(np.float32)
            if job.data == "mnist":
                x[x < 0.81] = 0.0  # as many zeros as MNIST has
            y = rng.randint(0, job.layer_sizes[-1], n)
    x = np.ascontiguousarray(x[:n], job.dtype)
    y = y[:n].astype(job.dtype if job.loss == "squared_error" else np.int64)
    return x, y, source


def expm_2x2(rows: np.ndarray) -> np.ndarray:
    """Exponentials of 2x2 matrices, one a row.

    With ``s`` half the trace, ``B = A - s I`` and ``q^2 = -det B``:
    ``exp A = e^s (cosh q I + sinh q / q B)``. A q of zero, which has no
    probability here, is not provided for.
    """
    a, b, c, d = rows.T
    s, half = (a + d) / 2, (a - d) / 2
    q = np.sqrt((half * half + b * c).astype(complex))
    even, odd = np.cosh(q).real, (np.sinh(q) / q).real
    return (np.exp(s) * np.stack([even + odd * half, odd * b, odd * c, even - odd * half])).T


def _mnist(data_dir: str | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images of MNIST, pixels in [0, 1]; never downloads."""
    from fastnn import datasets

    folder = Path(data_dir or os.environ.get("FASTNN_DATA_DIR") or datasets.cache_dir())
    if not any(folder.rglob("train-images*")):
        raise FileNotFoundError("no MNIST files; set FASTNN_DATA_DIR or give --data-dir")
    data = datasets.load("mnist", data_dir=folder)
    x, y = data.X[:n], data.y[:n]
    if x.dtype == np.uint8:
        x = x.astype(np.float32) / np.float32(255)
    return x.reshape(len(x), -1), y


@dataclass
class Task:
    """A job with its data and first weights, as contenders get it."""

    job: Job
    x: np.ndarray
    y: np.ndarray
    source: str

    @classmethod
    def make(cls, job: Job, data_dir: str | None = None) -> Task:
        """Task with its data."""
        return cls(job, *make_data(job, data_dir))

    @property
    def optimizer(self) -> Optimizer:
        """The update rule."""
        rule = {"sgd": SGD, "adam": Adam}[self.job.optimizer]
        return rule(learning_rate=self.job.learning_rate)

    @cached_property
    def _first_params(self) -> np.ndarray | None:
        """Weights after some epochs, the same for all contenders; None: a new network's."""
        if not self.job.epochs_before:
            return None
        net = self._new_network("auto")
        net.n_threads = 1  # the other cores are other contenders', who do the same
        net.fit(
            self.x,
            self.y,
            optimizer=self.optimizer,
            epochs=self.job.epochs_before,
            batch_size=self.job.batch_size,
            shuffle=False,
        )
        return net.params

    def network(self, backend: str = "numpy") -> Network:
        """A new network with the first weights."""
        net = self._new_network(backend)
        if self._first_params is not None:
            net.params[:] = self._first_params
        return net

    def _new_network(self, backend: str) -> Network:
        return Network(
            self.job.layer_sizes,
            activation=self.job.activation,
            loss=self.job.loss,
            backend=backend,
            dtype=self.job.dtype,
            random_state=0,
        )

    def layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights and biases to start from, layer by layer; new arrays."""
        net = self.network()
        return [(w.copy(), b.copy()) for w, b in zip(net.weights, net.biases, strict=True)]

    def batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Inputs and targets of each step of a pass."""
        size = self.job.samples_a_step
        return [
            (self.x[k * size : (k + 1) * size], self.y[k * size : (k + 1) * size])
            for k in range(self.job.batches)
        ]

    def rows_and_epochs(self, steps: int) -> tuple[int, int]:
        """Samples and passes over them that make ``steps`` steps."""
        if self.job.batch_size is None:
            return self.job.samples, steps
        in_pass = min(steps, self.job.batches)
        return in_pass * self.job.batch_size, steps // in_pass

    def whole(self, steps: int) -> int:
        """At most ``steps`` steps, at least one; whole passes where it is more than one."""
        batches = self.job.batches
        return max(1, steps if steps <= batches else steps // batches * batches)

    def value(self, result: np.ndarray) -> float:
        """Loss of a flat parameter vector on the first samples, by the NumPy backend."""
        net = self.network()
        net.params[:] = result
        return float(net.loss(self.x[:EVALUATED], self.y[:EVALUATED]))


# --- contenders -----------------------------------------------------------------


class Runner:
    """One task in one contender's hands; starts from the task's weights.

    Parameters
    ----------
    task : Task
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.job = task.job

    def reset(self) -> None:
        """Back to the first weights and fresh moments."""
        raise NotImplementedError

    def run(self, steps: int) -> None:
        """Do steps (or predictions), and wait until they are done."""
        raise NotImplementedError

    def result(self) -> np.ndarray:
        """Parameters in fastnn's flat layout, or the last predictions."""
        raise NotImplementedError

    def timed(self, steps: int) -> float:
        """Seconds that :meth:`run` takes."""
        started = time.perf_counter()
        self.run(steps)
        return time.perf_counter() - started


class Fastnn(Runner):
    """``Network.fit`` and the ordinary, checked ``predict_proba``."""

    def __init__(self, task: Task, backend: str, shuffle: bool = False) -> None:
        super().__init__(task)
        self.backend, self.shuffle = backend, shuffle
        self.reset()

    def reset(self) -> None:
        self.net = self.task.network(self.backend)

    def run(self, steps: int) -> None:
        if self.job.predict:
            predict, x = self.net.predict_proba, self.task.x
            for _ in range(steps):
                self.out = predict(x)
            return
        rows, epochs = self.task.rows_and_epochs(steps)
        self.history = self.net.fit(
            self.task.x[:rows],
            self.task.y[:rows],
            optimizer=self.task.optimizer,
            epochs=epochs,
            batch_size=self.job.batch_size,
            shuffle=self.shuffle,
        )

    def result(self) -> np.ndarray:
        return self.out if self.job.predict else self.net.params

    def timed(self, steps: int) -> float:
        """As with the peers, data and moments are made, and touched, before the clock starts."""
        if self.job.predict:
            return super().timed(steps)
        self.run(1)
        self.run(steps)
        return self.history.seconds


class NumpyByHand(Runner):
    """What one writes with NumPy: flat parameters, results into memory that is there.

    With ``torch_adam`` Adam's epsilon is added to the corrected root of the second
    moment, as PyTorch does, where the others add it to the root itself.
    """

    def __init__(self, task: Task, torch_adam: bool = False) -> None:
        super().__init__(task)
        self.torch_adam = torch_adam
        self.start = np.concatenate([a.ravel() for pair in task.layers() for a in pair])
        self.params, self.grads = self.start.copy(), np.empty_like(self.start)
        self.m, self.v = np.zeros_like(self.start), np.zeros_like(self.start)
        self.scratch = np.empty_like(self.start)
        self.layers, self.grad_layers = self._views(self.params), self._views(self.grads)
        self.batches = task.batches()
        n = task.job.samples_a_step
        self.buffers = [
            np.empty((n, units), self.start.dtype) for units in task.job.layer_sizes[1:]
        ]
        self.deltas = [np.empty_like(buffer) for buffer in self.buffers]
        self.rows = np.arange(n)
        self.reset()

    def _views(self, flat: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        views, at = [], 0
        for m, n in zip(self.job.layer_sizes, self.job.layer_sizes[1:], strict=False):
            views.append((flat[at : at + m * n].reshape(m, n), flat[at + m * n : at + m * n + n]))
            at += m * n + n
        return views

    def reset(self) -> None:
        self.params[:] = self.start
        self.m[:] = self.v[:] = 0.0
        self.count = 0

    def _forward(self, x: np.ndarray) -> np.ndarray:
        tanh, last = self.job.activation == "tanh", len(self.layers) - 1
        for k, (w, b) in enumerate(self.layers):
            x = np.matmul(x, w, out=self.buffers[k])
            x += b
            if k < last:
                np.tanh(x, out=x) if tanh else np.maximum(x, 0, out=x)
        if self.job.loss == "cross_entropy":
            x -= x.max(axis=1, keepdims=True)
            np.exp(x, out=x)
            x /= x.sum(axis=1, keepdims=True)
        return x

    def run(self, steps: int) -> None:
        if self.job.predict:
            for _ in range(steps):
                self.out = self._forward(self.task.x)
            return
        for _ in range(steps):
            x, y = self.batches[self.count % len(self.batches)]
            self._step(x, y)

    def _step(self, x: np.ndarray, y: np.ndarray) -> None:
        delta = self._forward(x)
        if self.job.loss == "cross_entropy":
            delta[self.rows, y] -= 1
        else:
            delta -= y
        delta *= self.start.dtype.type(1 / len(x))
        for k in range(len(self.layers) - 1, -1, -1):
            dw, db = self.grad_layers[k]
            a = self.buffers[k - 1] if k else x
            np.matmul(a.T, delta, out=dw)
            np.sum(delta, axis=0, out=db)
            if k:
                delta = np.matmul(delta, self.layers[k][0].T, out=self.deltas[k - 1])
                if self.job.activation == "tanh":
                    a *= a
                    np.subtract(1, a, out=a)
                    delta *= a
                else:
                    delta *= a > 0
        self._update(self.grads)

    def _update(self, g: np.ndarray) -> None:
        self.count += 1
        rule, number = self.task.optimizer, self.start.dtype.type
        if isinstance(rule, SGD):
            g *= number(rule.learning_rate)
            self.params -= g
            return
        m, v, s = self.m, self.v, self.scratch
        m *= number(rule.beta_1)
        np.multiply(g, number(1 - rule.beta_1), out=s)
        m += s
        v *= number(rule.beta_2)
        g *= g
        g *= number(1 - rule.beta_2)
        v += g
        np.sqrt(v, out=s)
        epsilon = rule.epsilon
        if self.torch_adam:
            epsilon *= (1 - rule.beta_2**self.count) ** 0.5
        s += number(epsilon)
        np.divide(m, s, out=s)
        s *= number(adam_rate(rule, self.count))
        self.params -= s

    def result(self) -> np.ndarray:
        return self.out if self.job.predict else self.params


def adam_rate(rule: Adam, count: int) -> float:
    """Adam's learning rate of the step ``count`` (from 1), corrected for the moments' start."""
    return rule.learning_rate * (1 - rule.beta_2**count) ** 0.5 / (1 - rule.beta_1**count)


class ScikitLearn(Runner):
    """MLPClassifier and MLPRegressor, whole fits.

    scikit-learn gives two classes one sigmoid output. Two targets a sample and
    ``out_activation_`` set to softmax make it compute the network of the others.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        job = task.job
        self.targets = task.y
        if job.loss == "cross_entropy":
            self.targets = np.eye(job.layer_sizes[-1], dtype=np.int64)[task.y]
        kind = MLPClassifier if job.loss == "cross_entropy" else MLPRegressor
        self.model = kind(
            hidden_layer_sizes=job.layer_sizes[1:-1],
            activation=job.activation,
            solver=job.optimizer,
            alpha=0.0,
            batch_size=job.samples_a_step,
            learning_rate_init=job.learning_rate,
            momentum=0.0,
            nesterovs_momentum=False,
            shuffle=False,
            tol=0.0,
            n_iter_no_change=10**9,
            warm_start=True,
            max_iter=1,
            random_state=0,
        )
        self._fit(self.job.samples_a_step, 1)
        if job.loss == "cross_entropy":
            self.model.out_activation_ = "softmax"
        self.reset()

    def _fit(self, rows: int, epochs: int) -> None:
        self.model.max_iter = epochs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            self.model.fit(self.task.x[:rows], self.targets[:rows])

    def reset(self) -> None:
        layers = self.task.layers()
        self.model.coefs_ = [w for w, _ in layers]
        self.model.intercepts_ = [b for _, b in layers]
        self.model.n_iter_ = 0

    def run(self, steps: int) -> None:
        if self.job.predict:
            for _ in range(steps):
                self.out = self.model.predict_proba(self.task.x)
            return
        self._fit(*self.task.rows_and_epochs(steps))

    def result(self) -> np.ndarray:
        if self.job.predict:
            return self.out
        pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return np.concatenate([a.ravel() for pair in pairs for a in pair])


class Torch(Runner):
    """PyTorch, eager or compiled.

    Eager: autograd, with the fused Adam. Compiled: one graph from the batch to
    the updated parameters.
    """

    def __init__(self, task: Task, threads: int | None = None, compiled: bool = False) -> None:
        super().__init__(task)
        import torch

        self.torch, self.compiled = torch, compiled
        if threads is not None:
            torch.set_num_threads(threads)
        self.start = [torch.from_numpy(a) for pair in task.layers() for a in pair]
        self.params = [p.clone().requires_grad_(not compiled) for p in self.start]
        self.batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in task.batches()]
        self.optimizer = None
        if compiled and not self.job.predict:
            self.moments = [[torch.zeros_like(p) for p in self.start] for _ in range(2)]
            self.step = torch.compile(self._whole_step, fullgraph=True, dynamic=False)
        elif compiled:
            self.predict = torch.compile(self._predict, fullgraph=True, dynamic=False)
        else:
            self.predict, self.step = self._predict, self._eager_step
        self.reset()

    def reset(self) -> None:
        with self.torch.no_grad():
            for p, start in zip(self.params, self.start, strict=True):
                p.copy_(start)
        self.count = 0
        if self.compiled and not self.job.predict:
            for moment in [*self.moments[0], *self.moments[1]]:
                moment.zero_()
        elif self.job.optimizer == "adam" and not self.job.predict:
            rule = self.task.optimizer
            self.optimizer = self.torch.optim.Adam(
                self.params,
                lr=rule.learning_rate,
                betas=(rule.beta_1, rule.beta_2),
                eps=rule.epsilon,
                fused=True,
            )

    def _logits(self, params: Sequence[Any], x: Any) -> Any:
        torch, last = self.torch, len(params) - 2
        activation = {"tanh": torch.tanh, "relu": torch.relu}[self.job.activation]
        for k in range(0, len(params), 2):
            x = torch.addmm(params[k + 1], x, params[k])
            if k < last:
                x = activation(x)
        return x

    def _predict(self, x: Any) -> Any:
        return self.torch.softmax(self._logits(self.params, x), dim=1)

    def _loss(self, params: Sequence[Any], x: Any, y: Any) -> Any:
        z = self._logits(params, x)
        if self.job.loss == "cross_entropy":
            return self.torch.nn.functional.cross_entropy(z, y)
        return (z - y).square().sum() * (0.5 / x.shape[0])

    def _eager_step(self, x: Any, y: Any) -> None:
        torch = self.torch
        loss = self._loss(self.params, x, y)
        if self.optimizer is not None:
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return
        grads = torch.autograd.grad(loss, self.params)
        with torch.no_grad():
            torch._foreach_add_(self.params, grads, alpha=-self.job.learning_rate)

    def _whole_step(
        self, params: list[Any], first: list[Any], second: list[Any], rate: Any, x: Any, y: Any
    ) -> None:
        grads = self.torch.func.grad(self._loss)(params, x, y)
        if self.job.optimizer == "sgd":
            for p, g in zip(params, grads, strict=True):
                p.sub_(rate * g)
            return
        rule = self.task.optimizer
        for p, g, m, v in zip(params, grads, first, second, strict=True):
            m.lerp_(g, 1 - rule.beta_1)
            v.mul_(rule.beta_2).add_(g * g, alpha=1 - rule.beta_2)
            p.sub_(rate * m / (v.sqrt() + rule.epsilon))

    def run(self, steps: int) -> None:
        torch = self.torch
        if self.job.predict:
            with torch.inference_mode():
                predict, x = self.predict, self.batches[0][0]
                for _ in range(steps):
                    self.out = predict(x)
            return
        rule, batches = self.task.optimizer, self.batches
        if not self.compiled:
            for _ in range(steps):
                self.step(*batches[self.count % len(batches)])
                self.count += 1
            return
        constant = torch.tensor(rule.learning_rate, dtype=self.params[0].dtype)
        for _ in range(steps):
            x, y = batches[self.count % len(batches)]
            self.count += 1
            rate = constant
            if isinstance(rule, Adam):
                rate = torch.tensor(adam_rate(rule, self.count), dtype=constant.dtype)
            self.step(self.params, *self.moments, rate, x, y)

    def result(self) -> np.ndarray:
        if self.job.predict:
            return self.out.numpy()
        return np.concatenate([p.detach().numpy().ravel() for p in self.params])


class TensorFlow(Runner):
    """tf.function step by step, the same compiled by XLA, or the whole loop in XLA."""

    def __init__(self, task: Task, mode: str) -> None:
        super().__init__(task)
        import tensorflow as tf

        self.tf, self.mode = tf, mode
        self.start = [a for pair in task.layers() for a in pair]
        xla = mode != "function"
        if self.job.predict:
            self.x = tf.constant(task.x)
            params = [tf.constant(p) for p in self.start]
            self.predict = tf.function(
                lambda x: tf.nn.softmax(self._logits(params, x)), jit_compile=xla
            ).get_concrete_function(tf.TensorSpec(task.x.shape, task.x.dtype))
            return
        if mode == "loop":
            x, y = task.x, task.y
            if self.job.batches > 1:
                x = x.reshape(self.job.batches, -1, *x.shape[1:])
                y = y.reshape(self.job.batches, -1, *y.shape[1:])
            self.x, self.y = tf.constant(x), tf.constant(y)
            self.loop = tf.function(self._loop, jit_compile=True)
        else:
            self.batches = [(tf.constant(x), tf.constant(y)) for x, y in task.batches()]
            self.step = tf.function(self._step, jit_compile=xla)
            self.variables = [tf.Variable(p) for p in self.start]
            self.moments = [
                [tf.Variable(tf.zeros_like(p)) for p in self.start] if self._adam else []
                for _ in range(2)
            ]
            self.counter = tf.Variable(0.0, dtype=self.job.dtype)
        self.reset()

    @property
    def _adam(self) -> bool:
        return self.job.optimizer == "adam"

    def reset(self) -> None:
        if self.job.predict:
            return
        self.count = 0
        if self.mode == "loop":
            tf = self.tf
            state = [tf.constant(p) for p in self.start]
            zeros = [tf.zeros_like(p) for p in self.start] if self._adam else []
            self.state = [state, zeros, list(zeros)]
            return
        for variable, start in zip(self.variables, self.start, strict=True):
            variable.assign(start)
        for moment in [*self.moments[0], *self.moments[1], self.counter]:
            moment.assign(self.tf.zeros_like(moment))

    def _logits(self, params: Sequence[Any], x: Any) -> Any:
        tf = self.tf
        activation = {"tanh": tf.tanh, "relu": tf.nn.relu}[self.job.activation]
        for k in range(0, len(params), 2):
            x = tf.matmul(x, params[k]) + params[k + 1]
            if k < len(params) - 2:
                x = activation(x)
        return x

    def _loss(self, params: Sequence[Any], x: Any, y: Any) -> Any:
        tf, z = self.tf, self._logits(params, x)
        if self.job.loss == "cross_entropy":
            return tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z)
            )
        return tf.reduce_sum(tf.square(z - y)) * (0.5 / self.job.samples_a_step)

    def _gradients(self, params: Sequence[Any], x: Any, y: Any) -> list[Any]:
        with self.tf.GradientTape() as tape:
            tape.watch(params)
            loss = self._loss(params, x, y)
        return tape.gradient(loss, params)

    def _updated(
        self, params: Sequence[Any], grads: Sequence[Any], first: Any, second: Any, count: Any
    ) -> tuple[list[Any], list[Any], list[Any]]:
        tf, rule = self.tf, self.task.optimizer
        if isinstance(rule, SGD):
            return (
                [p - rule.learning_rate * g for p, g in zip(params, grads, strict=True)],
                [],
                [],
            )
        rate = rule.learning_rate * tf.sqrt(1 - rule.beta_2**count) / (1 - rule.beta_1**count)
        first = [rule.beta_1 * m + (1 - rule.beta_1) * g for m, g in zip(first, grads, strict=True)]
        second = [
            rule.beta_2 * v + (1 - rule.beta_2) * g * g for v, g in zip(second, grads, strict=True)
        ]
        params = [
            p - rate * m / (tf.sqrt(v) + rule.epsilon)
            for p, m, v in zip(params, first, second, strict=True)
        ]
        return params, first, second

    def _step(self, x: Any, y: Any) -> None:
        variables = [*self.variables, *self.moments[0], *self.moments[1]]
        count = self.counter.assign_add(1)
        grads = self._gradients(self.variables, x, y)
        new = self._updated(self.variables, grads, *self.moments, count)
        for variable, value in zip(variables, [p for part in new for p in part], strict=True):
            variable.assign(value)

    def _loop(self, steps: Any, done: Any, state: Any) -> Any:
        tf = self.tf

        def body(i: Any, state: Any) -> Any:
            x, y = self.x, self.y
            if self.job.batches > 1:
                k = (done + i) % self.job.batches
                x, y = x[k], y[k]
            params, first, second = state
            grads = self._gradients(params, x, y)
            count = tf.cast(done + i + 1, self.job.dtype)
            return i + 1, list(self._updated(params, grads, first, second, count))

        start = [tf.constant(0), state]
        return tf.while_loop(lambda i, state: i < steps, body, start)[1]

    def run(self, steps: int) -> None:
        if self.job.predict:
            for _ in range(steps):
                self.out = self.predict(self.x)
            return
        if self.mode == "loop":
            tf = self.tf
            self.state = self.loop(tf.constant(steps), tf.constant(self.count), self.state)
            self.state[0][-1].numpy()  # wait
        else:
            for _ in range(steps):
                self.step(*self.batches[self.count % len(self.batches)])
                self.count += 1
            self.variables[-1].numpy()
            return
        self.count += steps

    def result(self) -> np.ndarray:
        if self.job.predict:
            return self.out.numpy()
        params = self.state[0] if self.mode == "loop" else self.variables
        return np.concatenate([p.numpy().ravel() for p in params])


class Keras(Runner):
    """``Model.fit``, several steps an execution; its setting up is not timed, as with fastnn."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        import keras

        job = task.job
        stack = [keras.Input((job.layer_sizes[0],), dtype=job.dtype)]
        for units in job.layer_sizes[1:-1]:
            stack.append(keras.layers.Dense(units, activation=job.activation, dtype=job.dtype))
        stack.append(keras.layers.Dense(job.layer_sizes[-1], dtype=job.dtype))
        self.model = keras.Sequential(stack)
        rule = task.optimizer
        self.optimizer = (
            keras.optimizers.Adam(rule.learning_rate, epsilon=rule.epsilon)
            if isinstance(rule, Adam)
            else keras.optimizers.SGD(rule.learning_rate)
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if job.loss == "squared_error":

            def loss(y: Any, p: Any) -> Any:
                return 0.5 * keras.ops.sum(keras.ops.square(p - y), axis=-1)

        self.model.compile(
            self.optimizer, loss, steps_per_execution=min(job.batches, 32), jit_compile="auto"
        )
        self.optimizer.build(self.model.trainable_variables)
        self.clock = keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: setattr(self, "begun", time.perf_counter()),
            on_train_end=lambda logs: setattr(self, "ended", time.perf_counter()),
        )
        self.reset()

    def reset(self) -> None:
        self.model.set_weights([a for pair in self.task.layers() for a in pair])
        for variable in self.optimizer.variables:
            if variable is not self.optimizer._learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def run(self, steps: int) -> None:
        rows, epochs = self.task.rows_and_epochs(steps)
        self.model.fit(
            self.task.x[:rows],
            self.task.y[:rows],
            batch_size=self.job.samples_a_step,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[self.clock],
        )

    def timed(self, steps: int) -> float:
        self.run(steps)
        return self.ended - self.begun

    def result(self) -> np.ndarray:
        return np.concatenate([a.ravel() for a in self.model.get_weights()])


class Jax(Runner):
    """A jitted step, or the whole loop in one call, with donated buffers."""

    def __init__(self, task: Task, loop: bool) -> None:
        super().__init__(task)
        import jax

        jax.config.update("jax_enable_x64", task.job.dtype == "float64")
        jnp = jax.numpy
        self.jax, self.jnp, self.loop = jax, jnp, loop
        self.start = [a for pair in task.layers() for a in pair]
        if self.job.predict:
            params = [jnp.asarray(p) for p in self.start]
            self.x = jnp.asarray(task.x)
            self.predict = jax.jit(lambda x: jax.nn.softmax(self._logits(params, x)))
            return
        if loop:
            x, y = task.x, task.y
            if self.job.batches > 1:
                x = x.reshape(self.job.batches, -1, *x.shape[1:])
                y = y.reshape(self.job.batches, -1, *y.shape[1:])
            self.x, self.y = jnp.asarray(x), jnp.asarray(y)
            self.many = jax.jit(self._many, donate_argnums=0)
        else:
            self.batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in task.batches()]
            self.step = jax.jit(self._step, donate_argnums=0)
        self.reset()

    def reset(self) -> None:
        if self.job.predict:
            return
        jnp = self.jnp
        params = [jnp.array(p) for p in self.start]
        moments: list[list[Any]] = [[], []]
        if self.job.optimizer == "adam":
            moments = [[jnp.zeros_like(p) for p in params] for _ in range(2)]
        self.state = (params, *moments, jnp.zeros((), jnp.int32))
        self.count = 0

    def _logits(self, params: Sequence[Any], x: Any) -> Any:
        activation = {"tanh": self.jnp.tanh, "relu": self.jax.nn.relu}[self.job.activation]
        for k in range(0, len(params), 2):
            x = x @ params[k] + params[k + 1]
            if k < len(params) - 2:
                x = activation(x)
        return x

    def _loss(self, params: Sequence[Any], x: Any, y: Any) -> Any:
        jnp, z = self.jnp, self._logits(params, x)
        if self.job.loss == "cross_entropy":
            log_p = self.jax.nn.log_softmax(z)
            return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))
        return jnp.sum(jnp.square(z - y)) * (0.5 / self.job.samples_a_step)

    def _step(self, state: Any, x: Any, y: Any) -> Any:
        jnp, rule = self.jnp, self.task.optimizer
        params, first, second, count = state
        grads = self.jax.grad(self._loss)(params, x, y)
        count = count + 1
        if isinstance(rule, SGD):
            params = [p - rule.learning_rate * g for p, g in zip(params, grads, strict=True)]
            return params, first, second, count
        t = count.astype(self.job.dtype)
        rate = rule.learning_rate * jnp.sqrt(1 - rule.beta_2**t) / (1 - rule.beta_1**t)
        first = [rule.beta_1 * m + (1 - rule.beta_1) * g for m, g in zip(first, grads, strict=True)]
        second = [
            rule.beta_2 * v + (1 - rule.beta_2) * g * g for v, g in zip(second, grads, strict=True)
        ]
        params = [
            p - rate * m / (jnp.sqrt(v) + rule.epsilon)
            for p, m, v in zip(params, first, second, strict=True)
        ]
        return params, first, second, count

    def _many(self, state: Any, x: Any, y: Any, steps: Any) -> Any:
        def body(_: Any, state: Any) -> Any:
            if self.job.batches == 1:
                return self._step(state, x, y)
            k = state[3] % self.job.batches
            return self._step(state, x[k], y[k])

        # One compilation for any number of steps; the loop is the one that scan makes.
        return self.jax.lax.fori_loop(0, steps, body, state)

    def run(self, steps: int) -> None:
        if self.job.predict:
            predict, x = self.predict, self.x
            for _ in range(steps):
                self.out = predict(x).block_until_ready()
            return
        if self.loop:
            self.state = self.many(self.state, self.x, self.y, steps)
        else:
            for _ in range(steps):
                self.state = self.step(self.state, *self.batches[self.count % len(self.batches)])
                self.count += 1
        self.jax.block_until_ready(self.state)

    def result(self) -> np.ndarray:
        if self.job.predict:
            return np.asarray(self.out)
        return np.concatenate([np.asarray(p).ravel() for p in self.state[0]])


@dataclass(frozen=True)
class Contender:
    """A backend or a peer.

    Attributes
    ----------
    name, title : str
    make : callable
        Runner of a task.
    needs : str
        Module to be installed.
    reference : callable
        Runner that must compute the same.
    peer : bool
    short : bool
        Takes part unless others are asked for.
    trains, predicts, only_batches : bool
        Which jobs it takes: training; prediction; none that is full-batch.
    environment : dict
        Of its process.
    """

    name: str
    title: str
    make: Callable[[Task], Runner]
    needs: str = "numpy"
    reference: Callable[[Task], Runner] = lambda task: Fastnn(task, "numpy")
    peer: bool = True
    short: bool = False
    trains: bool = True
    predicts: bool = True
    only_batches: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    def takes(self, job: Job) -> bool:
        """Whether the job makes sense for it."""
        if self.only_batches and job.batches == 1:
            return False
        return self.predicts if job.predict else self.trains

    def why_missing(self) -> str | None:
        """Reason why it cannot take part; None if it can."""
        if not self.peer:
            return backends.why_missing(self.name.split("-")[0])
        if importlib.util.find_spec(self.needs) is None:
            package = {"sklearn": "scikit-learn"}.get(self.needs, self.needs)
            return f"not installed: pip install {package}"
        return None


def _torch_reference(task: Task) -> Runner:
    return NumpyByHand(task, torch_adam=True)


_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

CONTENDERS = {
    contender.name: contender
    for contender in (
        *(
            Contender(
                name,
                f"fastnn {name}",
                lambda task, name=name: Fastnn(task, name),
                peer=False,
                short=True,
            )
            for name in backends.BACKENDS
        ),
        *(
            Contender(
                f"{name}-shuffled",
                f"fastnn {name}, shuffled",
                lambda task, name=name: Fastnn(task, name, shuffle=True),
                reference=lambda task: Fastnn(task, "numpy", shuffle=True),
                peer=False,
                predicts=False,
                only_batches=True,
            )
            for name in backends.BACKENDS
        ),
        Contender("numpy-hand", "NumPy by hand", NumpyByHand, short=True),
        Contender("sklearn", "scikit-learn", ScikitLearn, "sklearn", short=True),
        Contender(
            "torch-1",
            "PyTorch, 1 thread",
            lambda task: Torch(task, 1),
            "torch",
            _torch_reference,
            short=True,
            environment=_ONE_THREAD,
        ),
        Contender("torch", "PyTorch", Torch, "torch", _torch_reference, short=True),
        Contender(
            "torch-compiled-1",
            "PyTorch compiled, 1 thread",
            lambda task: Torch(task, 1, compiled=True),
            "torch",
            environment=_ONE_THREAD,
        ),
        Contender(
            "torch-compiled",
            "PyTorch compiled",
            lambda task: Torch(task, compiled=True),
            "torch",
        ),
        Contender(
            "tf-function",
            "TensorFlow function",
            lambda task: TensorFlow(task, "function"),
            "tensorflow",
        ),
        Contender(
            "tf-xla-step",
            "TensorFlow XLA step",
            lambda task: TensorFlow(task, "xla-step"),
            "tensorflow",
        ),
        Contender(
            "tf-xla-loop",
            "TensorFlow XLA whole loop",
            lambda task: TensorFlow(task, "loop"),
            "tensorflow",
            short=True,
            predicts=False,
        ),
        Contender("keras", "Keras fit", Keras, "keras", predicts=False),
        Contender("jax-step", "JAX step", lambda task: Jax(task, loop=False), "jax"),
        Contender(
            "jax-loop",
            "JAX whole loop",
            lambda task: Jax(task, loop=True),
            "jax",
            short=True,
        ),
    )
}


def check(task: Task, contender: Contender, runner: Runner) -> dict[str, Any]:
    """Compare what a contender computes with its reference, mostly the NumPy backend.

    Parameters
    ----------
    task : Task
    contender : Contender
    runner : Runner
        As made; it is left after its first steps.

    Returns
    -------
    dict
        loss, reference, difference (relative), tolerance, equal. For predictions
        the "loss" is the mean probability of class 0 and the difference the
        largest of any.
    """
    job = task.job
    reference = contender.reference(task)
    steps = 1 if job.predict else job.check_steps
    runner.run(steps)
    reference.run(steps)
    got, expected = np.array(runner.result()), reference.result()
    if job.predict:
        loss, reference_loss = float(got[:, 0].mean()), float(expected[:, 0].mean())
        difference = float(np.abs(got - expected).max())
    else:
        loss, reference_loss = task.value(got), task.value(expected)
        difference = abs(loss - reference_loss) / abs(reference_loss)
    return {
        "loss": loss,
        "reference": reference_loss,
        "difference": difference,
        "tolerance": job.tolerance,
        "equal": bool(difference <= job.tolerance),
    }


def seconds_a_step(task: Task, runner: Runner, seconds: float, guess: float) -> float:
    """Time about ``seconds`` of steps from the first weights; seconds a step."""
    steps = task.whole(max(3, int(seconds / max(guess, 1e-9))))
    runner.reset()
    return runner.timed(steps) / steps


def calibrate(task: Task, runner: Runner) -> float:
    """Seconds a step, roughly; warms up."""
    steps = 1
    while True:
        runner.reset()
        seconds = runner.timed(steps)
        if seconds > 0.1:
            return seconds / steps
        steps = task.whole(4 * steps)


# --- processes --------------------------------------------------------------------


class ContenderError(RuntimeError):
    """A contender's process failed or took too long."""


class Child:
    """A process of its own for one contender.

    Parameters
    ----------
    contender : str or None
        None for the process that looks at the machine.
    data_dir : str, optional
    """

    def __init__(self, contender: str | None, data_dir: str | None = None) -> None:
        self.contender, self.data_dir = contender, data_dir
        environment = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "-1",
            "JAX_PLATFORMS": "cpu",
            "KERAS_BACKEND": "tensorflow",
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
            ).rstrip(os.pathsep),
        }
        if contender is not None:
            environment.update(CONTENDERS[contender].environment)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from fastnn.bench import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )

    def ask(self, limit: float, **message: Any) -> dict[str, Any]:
        """Send a message and wait for the answer.

        Raises
        ------
        ContenderError
            With the reason, after the process was ended.
        """
        process, late = self._process, threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limit, end)
        timer.start()
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        if late.is_set():
            raise ContenderError(f"took more than {limit:.0f} s")
        answer = json.loads(line) if line else {"error": self._last_words()}
        if "error" in answer:
            raise ContenderError(answer["error"])
        return answer

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        return f"ended with {self._process.returncode}: {lines[-1] if lines else ''}"

    def prepare(self, job: Job) -> dict[str, Any]:
        """Compile, check and warm up; see :func:`check` for the answer, plus timings."""
        return self.ask(
            PREPARE_LIMIT,
            ask="prepare",
            contender=self.contender,
            job=asdict(job),
            data_dir=self.data_dir,
        )

    def time(self, seconds: float) -> float:
        """Seconds a step, measured for about so long."""
        return self.ask(TIMING_LIMIT + seconds, ask="time", seconds=seconds)["seconds"]

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def serve() -> None:
    """What a contender's process does: answers messages, one line each."""
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    task: Task | None = None
    runner: Runner | None = None
    step = 0.0
    for line in sys.stdin:
        message = json.loads(line)
        try:
            if message["ask"] == "machine":
                answer = machine_speed()
            elif message["ask"] == "prepare":
                runner = task = None  # frees the memory of the job before
                job = message["job"]
                job["layer_sizes"] = tuple(job["layer_sizes"])
                contender = CONTENDERS[message["contender"]]
                task = Task.make(Job(**job), message["data_dir"])
                started = time.perf_counter()
                runner = contender.make(task)
                answer = check(task, contender, runner)
                step = calibrate(task, runner)
                warm_up = time.perf_counter() - started
                answer.update(data=task.source, warm_up_seconds=warm_up, seconds=step)
            else:
                step = seconds_a_step(task, runner, message["seconds"], step)
                answer = {"seconds": step}
        except Exception as error:
            text = str(error).strip().splitlines()
            answer = {"error": f"{type(error).__name__}: {text[0] if text else ''}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


# --- measuring --------------------------------------------------------------------


def choose(names: str | None, peer: bool) -> list[Contender]:
    """Contenders by name: a list with commas, "all", "none", or None for the short form."""
    kind = [c for c in CONTENDERS.values() if c.peer == peer]
    if names is None:
        return [c for c in kind if c.short]
    if names in ("all", "none"):
        return kind if names == "all" else []
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {c.name: c for c in kind}
    for name in wanted:
        if name not in known:
            what = "peer" if peer else "backend"
            raise ValueError(f"{what} must be one of {', '.join(known)}, all or none; got {name!r}")
    return [known[name] for name in wanted]


def choose_jobs(names: str | None) -> list[Job]:
    """Jobs by name: a list with commas; None or "all" for all."""
    if names is None or names == "all":
        return list(JOBS.values())
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in JOBS:
            raise ValueError(f"job must be one of {', '.join(JOBS)}, or all; got {name!r}")
    return [JOBS[name] for name in wanted]


def measure(
    jobs: Sequence[Job],
    contenders: Sequence[Contender],
    *,
    seconds: float = 1.0,
    rounds: int = 5,
    data_dir: str | None = None,
    advance: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Time contenders at jobs, in turn, round after round.

    Parameters
    ----------
    jobs : sequence of Job
    contenders : sequence of Contender
        Those that are missing are named as such.
    seconds : float
        Timing of each contender at each job.
    rounds : int
        Turns into which it is divided.
    data_dir : str, optional
        Where MNIST lies.
    advance : callable
        Told what comes next, ``steps_of_work`` times.

    Returns
    -------
    dict
        Plain data; the JSON file of ``fastnn bench``.
    """
    missing = {c.name: reason for c in contenders if (reason := c.why_missing())}
    present = [c for c in contenders if c.name not in missing]
    children: dict[str, Child] = {}
    results: list[dict[str, Any]] = []
    speed: dict[str, Any] = {}
    try:
        advance("the machine")
        child = children["machine"] = Child(None)
        speed = child.ask(TIMING_LIMIT, ask="machine")
        children.pop("machine").close()
        for job in jobs:
            entries = _measure_job(
                job,
                [c for c in present if c.takes(job)],
                children,
                seconds,
                rounds,
                data_dir,
                advance,
            )
            results.extend(entries)
    finally:
        for child in children.values():
            child.close()
    return {
        "machine": {**machine(), **speed},
        "settings": {"seconds": seconds, "rounds": rounds},
        "jobs": {
            job.name: {
                "description": job.describe(),
                **asdict(job),
                "flops": job.flops,
                "moved_bytes": job.moved_bytes,
                "floor": floor(job, speed),
            }
            for job in jobs
        },
        "contenders": {
            c.name: {"title": c.title, "peer": c.peer} for c in contenders if c.name not in missing
        },
        "missing": missing,
        "results": results,
        "ratios": ratios(results),
    }


def steps_of_work(jobs: Iterable[Job], contenders: Sequence[Contender], rounds: int) -> int:
    """How often :func:`measure` calls ``advance``."""
    present = [c for c in contenders if not c.why_missing()]
    return 1 + sum(c.takes(job) for job in jobs for c in present) * (1 + rounds)


def _measure_job(
    job: Job,
    contenders: Sequence[Contender],
    children: dict[str, Child],
    seconds: float,
    rounds: int,
    data_dir: str | None,
    advance: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Entries of one job; processes that fail are left out of the next rounds."""
    entries: dict[str, dict[str, Any]] = {}

    def fail(name: str, error: Exception) -> None:
        entries[name]["error"] = str(error)
        children.pop(name).close()

    def prepare(name: str) -> None:
        advance(f"{job.name}: {CONTENDERS[name].title} gets ready")
        if name not in children:
            children[name] = Child(name, data_dir)
        try:
            answer = children[name].prepare(job)
            answer.pop("seconds")
            entries[name].update(answer)
        except ContenderError as error:
            fail(name, error)

    for c in contenders:
        entries[c.name] = {"job": job.name, "contender": c.name, "peer": c.peer, "rounds": []}
    # Nothing is timed yet: importing and compiling may share the cores.
    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(prepare, entries))
    for _ in range(rounds):
        for name, entry in entries.items():
            advance(f"{job.name}: {CONTENDERS[name].title}")
            if "error" in entry or not entry["equal"]:
                continue
            time.sleep(REST)
            try:
                entry["rounds"].append(1e6 * children[name].time(seconds / rounds))
            except ContenderError as error:
                fail(name, error)
    for entry in entries.values():
        if "error" not in entry and not entry["equal"]:
            entry["error"] = (
                f"computes something else: loss {entry['loss']:.8g}, expected "
                f"{entry['reference']:.8g}"
            )
        us = entry["rounds"]
        entry["us_per_step"] = statistics.median(us) if us and "error" not in entry else None
        entry["spread"] = (max(us) - min(us)) / statistics.median(us) if us else None
    return list(entries.values())


def _timed(results: Iterable[dict[str, Any]], job: str) -> dict[str, dict[str, Any]]:
    """Entries with a time, by contender."""
    return {
        entry["contender"]: entry
        for entry in results
        if entry["job"] == job and entry.get("us_per_step")
    }


def ratios(results: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each job the best peer, and how many times as fast each backend is."""
    out: dict[str, dict[str, Any]] = {}
    for job in dict.fromkeys(entry["job"] for entry in results):
        entries = _timed(results, job)
        peers = {n: e["us_per_step"] for n, e in entries.items() if e["peer"]}
        best = min(peers, key=peers.get) if peers else None
        out[job] = {
            "best_peer": best,
            "backends": {
                n: peers[best] / e["us_per_step"]
                for n, e in entries.items()
                if best is not None and not e["peer"]
            },
        }
    return out


# --- the machine ---------------------------------------------------------------


VERSIONED = (
    "fastnn-cpu",
    "numpy",
    "scipy",
    "numba",
    "scikit-learn",
    "torch",
    "tensorflow",
    "keras",
    "jax",
    "jaxlib",
)


def machine() -> dict[str, Any]:
    """Facts about the machine and what is installed."""
    import scipy.linalg  # noqa: F401  (so that its BLAS is seen)
    from threadpoolctl import threadpool_info

    versions = {"python": platform.python_version()}
    for name in VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    level = None
    if backends.why_missing("cython") is None:
        with contextlib.suppress(ImportError):
            level = getattr(backends.load("cython"), "LEVEL", None)
    return {
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "versions": versions,
        "thread_pools": [
            {k: v for k, v in pool.items() if k != "filepath"} for pool in threadpool_info()
        ],
        "vector_level": level,
        "cpu_vectors": _cpu_vectors(),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _cpuinfo(key: str) -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
    return ""


def _cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpu_vectors() -> list[str]:
    flags = _cpuinfo("flags").split()
    return [name for name in ("sse4_2", "avx", "avx2", "fma", "avx512f") if name in flags]


def machine_speed() -> dict[str, Any]:
    """Measured GEMM peak (GFLOP/s) and copy bandwidth (GB/s, read and write counted).

    Returns
    -------
    dict
        gemm_gflops and copy_gbytes, each with one core and with all, best of several.
    """
    from threadpoolctl import threadpool_limits

    gemm: dict[str, dict[str, float]] = {}
    for dtype in ("float32", "float64"):
        a = np.random.RandomState(0).rand(1536, 1536).astype(dtype)
        out = np.empty_like(a)
        gemm[dtype] = {}
        for name, limit in (("one_core", 1), ("all_cores", None)):
            with threadpool_limits(limit, "blas"):
                best = _best(lambda a=a, out=out: np.matmul(a, a, out=out))
            gemm[dtype][name] = 2 * a.shape[0] ** 3 / best / 1e9
    cores = usable_cores()
    source = np.ones(2**25, np.float64)  # 256 MiB, more than the caches hold
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(source, cores), np.array_split(target, cores), strict=True))
    with ThreadPoolExecutor(cores) as pool:
        one = _best(lambda: np.copyto(target, source))
        everyone = _best(lambda: list(pool.map(lambda p: np.copyto(p[1], p[0]), parts)))
    copied = 2 * source.nbytes / 1e9
    return {
        "gemm_gflops": gemm,
        "copy_gbytes": {"one_core": copied / one, "all_cores": copied / everyone},
    }


def _best(run: Callable[[], Any], times: int = 5) -> float:
    run()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def floor(job: Job, speed: dict[str, Any]) -> dict[str, float]:
    """Least microseconds a step: arithmetic at the GEMM peak, bytes at the copy bandwidth.

    Both the better of one core and all. A small job's numbers stay in the caches, where the
    memory floor does not apply, and its products never reach the GEMM peak.
    """
    if not speed:
        return {}
    gflops = max(speed["gemm_gflops"][job.dtype].values())
    gbytes = max(speed["copy_gbytes"].values())
    arithmetic, memory = job.flops / gflops / 1e3, job.moved_bytes / gbytes / 1e3
    return {"arithmetic_us": arithmetic, "memory_us": memory, "sum_us": arithmetic + memory}


# --- tables -----------------------------------------------------------------------


def number(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return ""
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
    return f"{value:,.{digits}f}"


def part_of(run: dict[str, Any], jobs: Sequence[str]) -> dict[str, Any]:
    """A run as if only some of its jobs had been measured."""
    return {
        **run,
        "jobs": {job: run["jobs"][job] for job in jobs},
        "results": [entry for entry in run["results"] if entry["job"] in jobs],
    }


def rows_of_table(run: dict[str, Any]) -> Iterator[tuple[str, str, list[str], list[bool]]]:
    """Rows of the table: kind, title, cells, which of them is the best peer.

    Kinds: "backend", "peer" (microseconds a step), "ratio" (times as fast as the
    best peer), "floor".
    """
    jobs = list(run["jobs"])
    failed = {(e["job"], e["contender"]) for e in run["results"] if "error" in e}
    for kind in ("backend", "peer"):
        for name, contender in run["contenders"].items():
            if contender["peer"] != (kind == "peer"):
                continue
            cells, best = [], []
            for job in jobs:
                entry = _timed(run["results"], job).get(name)
                cells.append(
                    number(entry["us_per_step"])
                    if entry
                    else ("failed" if (job, name) in failed else "")
                )
                best.append(run["ratios"].get(job, {}).get("best_peer") == name)
            yield kind, contender["title"], cells, best
    for name, contender in run["contenders"].items():
        values = [run["ratios"].get(job, {}).get("backends", {}).get(name) for job in jobs]
        if any(value is not None for value in values):
            cells = [number(v) + "×" if v is not None else "" for v in values]
            yield "ratio", f"{contender['title']} / best peer", cells, [False] * len(jobs)
    floors = [number(run["jobs"][job]["floor"].get("sum_us")) for job in jobs]
    yield "floor", "floor (arithmetic + memory)", floors, [False] * len(jobs)


def remarks(run: dict[str, Any]) -> list[str]:
    """Machine, missing peers and failures, a line each."""
    facts = run["machine"]
    lines = [
        f"{facts['cpu']}, {facts['usable_cores']} cores; "
        f"vector level of the extension: {facts['vector_level'] or 'not built'}"
    ]
    if "gemm_gflops" in facts:
        peak, copy = facts["gemm_gflops"]["float32"], facts["copy_gbytes"]
        lines.append(
            f"measured: {peak['all_cores']:.0f} GFLOP/s in float32 matrix products "
            f"({peak['one_core']:.0f} on one core), {copy['all_cores']:.1f} GB/s copying "
            f"({copy['one_core']:.1f} on one core)"
        )
    lines += [f"missing: {name}, {reason}" for name, reason in run["missing"].items()]
    for entry in run["results"]:
        if "error" in entry:
            lines.append(f"failed: {entry['contender']} at {entry['job']}: {entry['error']}")
    sources = {e["data"] for e in run["results"] if e.get("data", "").startswith("random in")}
    return [*lines, *(f"data: {source}" for source in sorted(sources))]


def markdown(run: dict[str, Any]) -> str:
    """The table for a README, made from the JSON of a run."""
    if "map" in run:
        head = ["hidden layers, batch", *map(str, MAP_WIDTHS)]
        body = [[title, *cells] for title, cells in _map_rows(run)]
    else:
        head = ["µs a step", *run["jobs"]]
        body = []
        for _, title, cells, best in rows_of_table(run):
            marked = [f"**{c}**" if b else c for c, b in zip(cells, best, strict=True)]
            body.append([title, *marked])
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    lines += ["", *(f"- {remark}" for remark in remarks(run))]
    if "map" not in run:
        lines += [f"- {name}: {job['description']}" for name, job in run["jobs"].items()]
    return "\n".join(lines) + "\n"


def _map_rows(run: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """For each depth and batch, by width: the fastest, and the best backend's ratio."""
    cells = {(c["hidden_layers"], c["batch"], c["width"]): c for c in run["map"]}
    for depth, batch in dict.fromkeys((c["hidden_layers"], c["batch"]) for c in run["map"]):
        row = []
        for width in MAP_WIDTHS:
            cell = cells.get((depth, batch, width))
            if cell is None or cell["fastest"] is None:
                row.append("")
                continue
            ratio = f" {number(cell['ratio'])}×" if cell["ratio"] else ""
            row.append(cell["fastest"] + ratio)
        yield f"{depth}, {batch}", row


def show(run: dict[str, Any]) -> None:
    """Print the table and remarks."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if "map" in run:
        table = Table("width", title="fastest, and the best backend's ratio to the best peer")
        rows = list(_map_rows(run))
        for title, _ in rows:
            table.add_column(f"layers, batch: {title}", justify="right")
        for k, width in enumerate(MAP_WIDTHS):
            if any(cells[k] for _, cells in rows):
                table.add_row(str(width), *(cells[k] for _, cells in rows))
        console.print(table)
    else:
        jobs = list(run["jobs"])
        at_once = max(1, (console.width - 40) // 13)  # as many columns as stay readable
        for first in range(0, len(jobs), at_once):
            part = part_of(run, jobs[first : first + at_once])
            table = Table("microseconds a step", title="the best peer of each job is bold")
            for job in part["jobs"]:
                table.add_column(job, justify="right", no_wrap=True)
            before = None
            for kind, title, cells, best in rows_of_table(part):
                if not any(cells):
                    continue
                if before not in (None, kind):
                    table.add_section()
                before = kind
                marked = [f"[bold]{c}[/bold]" if b else c for c, b in zip(cells, best, strict=True)]
                style = {"backend": "cyan", "ratio": "cyan", "floor": "dim"}.get(kind)
                table.add_row(title, *marked, style=style)
            console.print(table)
    for remark in remarks(run):
        console.print(remark, markup=False, highlight=False, soft_wrap=True)


# --- figures -------------------------------------------------------------------------

_BACKEND_COLOURS = {"cython": "#0b6e4f", "numba": "#2f9e78", "numpy": "#94cdb8"}
_PEER_COLOUR, _BEST_PEER_COLOUR = "#c3c7cf", "#7c828d"


def draw(run: dict[str, Any]) -> Figure:
    """Bars on a logarithmic scale, a panel a job, the fastest on top."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    if "map" in run:
        return _draw_map(run)
    jobs = [job for job in run["jobs"] if _timed(run["results"], job)]
    columns = 1 if len(jobs) == 1 else 2
    lines = -(-len(jobs) // columns)
    most = max((len(_timed(run["results"], job)) for job in jobs), default=1)
    figure = Figure((6.2 * columns, lines * (0.21 * most + 1.0) + 0.5), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax, job in zip(axes, jobs, strict=False):
        entries = _timed(run["results"], job)
        names = sorted(entries, key=lambda n, e=entries: e[n]["us_per_step"])
        values = [entries[name]["us_per_step"] for name in names]
        best = run["ratios"][job]["best_peer"]
        colours = [
            _BACKEND_COLOURS.get(name.split("-")[0], _PEER_COLOUR)
            if not entries[name]["peer"]
            else (_BEST_PEER_COLOUR if name == best else _PEER_COLOUR)
            for name in names
        ]
        titles = [run["contenders"][name]["title"] for name in names]
        bars = ax.barh(range(len(names)), values, color=colours)
        ax.bar_label(bars, [number(value) for value in values], padding=3, fontsize=8)
        ax.set_yticks(range(len(names)), titles, fontsize=8)
        for label, name in zip(ax.get_yticklabels(), names, strict=True):
            label.set_fontweight("normal" if entries[name]["peer"] else "bold")
        ax.invert_yaxis()
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())  # bars carry their numbers
        ax.set_xlim(min(values) / 3, max(values) * 5)
        ax.tick_params(axis="x", labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
        description = run["jobs"][job]["description"]
        ax.set_title(f"{job}: {description}", fontsize=7.5, loc="right")
    for ax in axes[len(jobs) :]:
        ax.remove()
    figure.supxlabel(
        f"microseconds a step (logarithmic)    {run['machine']['cpu']}, "
        f"{run['machine']['usable_cores']} cores",
        fontsize=9,
    )
    return figure


def _draw_map(run: dict[str, Any]) -> Figure:
    """Which contender is fastest, by width and batch; a panel a depth."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    cells = [cell for cell in run["map"] if cell["fastest"] is not None]
    depths = sorted({cell["hidden_layers"] for cell in cells})
    widths = sorted({cell["width"] for cell in cells})
    batches = list(dict.fromkeys(cell["batch"] for cell in cells))
    winners = [name for name in run["contenders"] if any(c["fastest"] == name for c in cells)]
    others = iter(["#d98c3f", "#b5543c", "#7466a8", "#4c78a8", "#a8976b", "#d9b23f", "#8c564b"])
    colours = [_BACKEND_COLOURS.get(name) or next(others, "#bbbbbb") for name in winners]
    figure = Figure((1.2 + 0.85 * len(widths), 1.2 + len(depths) * (0.55 * len(batches) + 0.6)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(depths), 1, squeeze=False)[:, 0]
    for ax, depth in zip(axes, depths, strict=True):
        grid = np.full((len(batches), len(widths)), np.nan)
        for cell in cells:
            if cell["hidden_layers"] != depth:
                continue
            i, j = batches.index(cell["batch"]), widths.index(cell["width"])
            grid[i, j] = winners.index(cell["fastest"])
            if cell["ratio"]:
                ax.text(
                    j,
                    i,
                    number(cell["ratio"]) + "×",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if cell["fastest"] in ("cython", "numba") else "black",
                )
        ax.imshow(
            grid,
            cmap=ListedColormap(colours),
            vmin=-0.5,
            vmax=len(winners) - 0.5,
            aspect="auto",
        )
        ax.set_xticks(range(len(widths)), widths)
        ax.set_yticks(range(len(batches)), batches)
        ax.set_ylabel("batch")
        ax.set_title(f"{depth} hidden layer{'s' if depth > 1 else ''}", fontsize=9, loc="left")
        ax.set_xticks(np.arange(len(widths) - 1) + 0.5, minor=True)
        ax.set_yticks(np.arange(len(batches) - 1) + 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=1.5)
        ax.tick_params(which="both", length=0)
    axes[-1].set_xlabel(
        f"units a hidden layer    (number: best backend against best peer; "
        f"full = {MAP_SAMPLES})\n{run['machine']['cpu']}, {run['machine']['usable_cores']} cores",
        fontsize=9,
    )
    figure.legend(
        handles=[
            Patch(color=colour, label=run["contenders"][name]["title"])
            for name, colour in zip(winners, colours, strict=True)
        ],
        loc="outside upper center",
        ncols=min(4, max(1, len(winners))),
        fontsize=8,
        frameon=False,
        title="fastest",
    )
    return figure


def map_cells(run: dict[str, Any]) -> list[dict[str, Any]]:
    """For each job of the sweep: the fastest, and the best backend's ratio to the best peer."""
    cells = []
    for name, job in run["jobs"].items():
        entries = _timed(run["results"], name)
        times = {n: e["us_per_step"] for n, e in entries.items()}
        cells.append(
            {
                "width": job["layer_sizes"][1],
                "hidden_layers": len(job["layer_sizes"]) - 2,
                "batch": "full" if job["batch_size"] is None else str(job["batch_size"]),
                "fastest": min(times, key=times.get) if times else None,
                "ratio": max(run["ratios"][name]["backends"].values(), default=None)
                if name in run["ratios"]
                else None,
                "us_per_sample": {
                    n: us / (job["batch_size"] or job["samples"]) for n, us in times.items()
                },
            }
        )
    return cells


# --- the command ---------------------------------------------------------------------


def command(
    jobs: Annotated[
        str, typer.Option(help=f"Jobs, with commas between: {', '.join(JOBS)}.")
    ] = "all",
    peers: Annotated[
        str | None,
        typer.Option(
            help="Peers, with commas between, all or none: "
            + ", ".join(c.name for c in CONTENDERS.values() if c.peer)
            + ". Default: the strongest few."
        ),
    ] = None,
    backend_names: Annotated[
        str | None,
        typer.Option(
            "--backends",
            help="Backends, with commas between, all or none: "
            + ", ".join(c.name for c in CONTENDERS.values() if not c.peer)
            + ".",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Timing of each contender at each job.")
    ] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="Turns it is divided into.")] = 5,
    sweep: Annotated[
        bool,
        typer.Option(
            "--map",
            help="Which is fastest by width and batch, instead of the jobs.",
        ),
    ] = False,
    layers: Annotated[
        str, typer.Option(help="Numbers of hidden layers of --map, with commas between.")
    ] = "2",
    widths: Annotated[
        str | None, typer.Option(help="Widths of --map, with commas between (default 2 to 2048).")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="FASTNN_DATA_DIR", help="Where MNIST's files lie.")
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write everything as JSON; - for the output."),
    ] = None,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the chart (png, svg, pdf).")
    ] = None,
) -> None:
    """Time the backends against each other and the peers that are installed."""
    try:
        contenders = [*choose(backend_names, peer=False), *choose(peers, peer=True)]
        chosen = choose_jobs(jobs)
        if sweep:
            chosen = [
                map_job(width, batch, depth)
                for depth in _integers("layers", layers)
                for batch in MAP_BATCHES
                for width in (_integers("widths", widths) if widths else MAP_WIDTHS)
            ]
        if not contenders:
            raise ValueError("there is nothing to time: give backends or peers")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    for path in (json_file if json_file != "-" else None, plot_file):
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise typer.BadParameter(f"no such directory: {Path(path).parent}")
    run = _with_bar(
        chosen, contenders, seconds, rounds, str(data_dir) if data_dir is not None else None
    )
    if sweep:
        run["map"] = map_cells(run)
    if json_file == "-":
        print(json.dumps(run, indent=1))
    else:
        show(run)
        if json_file is not None:
            Path(json_file).write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    if plot_file is not None:
        draw(run).savefig(plot_file, dpi=150)


def _integers(name: str, text: str) -> list[int]:
    """Whole numbers of at least one from a list with commas."""
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        values = [0]
    if min(values) < 1:
        raise ValueError(f"{name} must be whole numbers with commas between; got {text!r}")
    return values


def _with_bar(
    jobs: Sequence[Job],
    contenders: Sequence[Contender],
    seconds: float,
    rounds: int,
    data_dir: str | None,
) -> dict[str, Any]:
    """Measure behind a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=steps_of_work(jobs, contenders, rounds))
        return measure(
            jobs,
            contenders,
            seconds=seconds,
            rounds=rounds,
            data_dir=data_dir,
            advance=lambda text: bar.update(task, advance=1, description=text),
        )
