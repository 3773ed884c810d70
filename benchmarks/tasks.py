"""A job with its data and initial weights, the same for every contender."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.jobs import Job
from fastnn.bench import local_mnist, random_images
from fastnn.network import Network
from fastnn.training.optimizers import SGD, Adam, Optimizer

EVALUATED = 2000  # number of samples on which losses are compared


def make_data(job: Job, data_dir: str | None = None) -> tuple[np.ndarray, np.ndarray, str]:
    """Samples and targets of a job.

    Parameters
    ----------
    job : Job
    data_dir : str, optional
        Folder of MNIST's files. If they are missing, random data of the same shape are used.

    Returns
    -------
    x : ndarray, shape (samples, features), of the job's dtype
    y : ndarray
        Class indices (int64), or real targets, (samples, outputs).
    source : str
        Description of the data.
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
    elif job.data == "mnist":
        try:
            x, y = local_mnist(n, data_dir)
        except (OSError, ValueError) as error:
            source = f"random in place of MNIST ({type(error).__name__}: {error})"
            x, y = random_images(n, job.layer_sizes[0], job.layer_sizes[-1])
    else:
        x = rng.rand(n, job.layer_sizes[0]).astype(np.float32)
        y = rng.randint(0, job.layer_sizes[-1], n)
    x = np.ascontiguousarray(x[:n], job.dtype)
    y = y[:n].astype(job.dtype if job.loss == "squared_error" else np.int64)
    return x, y, source


def expm_2x2(rows: np.ndarray) -> np.ndarray:
    """Exponentials of 2x2 matrices, one per row.

    With ``s`` half the trace, ``B = A - s I`` and ``q^2 = -det B``:
    ``exp A = e^s (cosh q I + sinh q / q B)``. The case q = 0, which has probability zero here, is
    not handled.
    """
    a, b, c, d = rows.T
    s, half = (a + d) / 2, (a - d) / 2
    q = np.sqrt((half * half + b * c).astype(complex))
    even, odd = np.cosh(q).real, (np.sinh(q) / q).real
    return (np.exp(s) * np.stack([even + odd * half, odd * b, odd * c, even - odd * half])).T


@dataclass
class Task:
    """A job with its data and initial weights."""

    job: Job
    x: np.ndarray
    y: np.ndarray
    source: str

    @classmethod
    def make(cls, job: Job, data_dir: str | None = None) -> Task:
        """Create a task and its data."""
        return cls(job, *make_data(job, data_dir))

    @property
    def optimizer(self) -> Optimizer:
        """The update rule."""
        rule = {"sgd": SGD, "adam": Adam}[self.job.optimizer]
        return rule(learning_rate=self.job.learning_rate)

    @cached_property
    def _trained_params(self) -> np.ndarray | None:
        """Pretrained parameters, the same for all contenders; None without pretraining."""
        if not self.job.epochs_before:
            return None
        net = self.new_network("auto")
        net.n_threads = 1  # the other contenders run this at the same time
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
        """A new network with the initial weights of the task."""
        net = self.new_network(backend)
        if self._trained_params is not None:
            net.params[:] = self._trained_params
        return net

    def new_network(self, backend: str, seed: int = 0) -> Network:
        """An untrained network."""
        return Network(
            self.job.layer_sizes,
            activation=self.job.activation,
            loss=self.job.loss,
            backend=backend,
            dtype=self.job.dtype,
            random_state=seed,
        )

    def layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Initial weights and biases, layer by layer; new arrays."""
        net = self.network()
        return [(w.copy(), b.copy()) for w, b in zip(net.weights, net.biases, strict=True)]

    def parameters(self) -> list[np.ndarray]:
        """Initial weights and biases in one list: weights, biases, weights, ..."""
        return [array for pair in self.layers() for array in pair]

    def batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Inputs and targets of each step of an epoch."""
        size = self.job.samples_per_step
        return [
            (self.x[k * size : (k + 1) * size], self.y[k * size : (k + 1) * size])
            for k in range(self.job.steps_per_epoch)
        ]

    def stacked_batches(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets with the batches along the first axis; unchanged if full-batch."""
        steps = self.job.steps_per_epoch
        if steps == 1:
            return self.x, self.y
        return (
            self.x.reshape(steps, -1, *self.x.shape[1:]),
            self.y.reshape(steps, -1, *self.y.shape[1:]),
        )

    def rows_and_epochs(self, steps: int) -> tuple[int, int]:
        """Numbers of samples and of epochs over them that give ``steps`` steps."""
        if self.job.batch_size is None:
            return self.job.samples, steps
        in_epoch = min(steps, self.job.steps_per_epoch)
        return in_epoch * self.job.batch_size, steps // in_epoch

    def whole_epochs(self, steps: int) -> int:
        """Round steps down to whole epochs, if more than one epoch; at least one step."""
        in_epoch = self.job.steps_per_epoch
        return max(1, steps if steps <= in_epoch else steps // in_epoch * in_epoch)

    def loss_of(self, params: np.ndarray) -> float:
        """Loss of a flat parameter vector on the first samples, by the NumPy backend."""
        net = self.network()
        net.params[:] = params
        return float(net.loss(self.x[:EVALUATED], self.y[:EVALUATED]))
