"""The jobs to time: training steps of a network on some data, or its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fastnn.bench import pick


@dataclass(frozen=True)
class Job:
    """A job to time.

    Attributes
    ----------
    name : str
    layer_sizes : tuple of int
    activation : str
        Activation of the hidden layers.
    data : {"moons", "circles", "expm", "mnist", "random"}
    samples : int
    batch_size : int or None
        None for full-batch steps. Batches are consecutive, in fixed order.
    optimizer : {"sgd", "adam"}
    learning_rate : float
    loss : {"cross_entropy", "squared_error"}
    dtype : {"float32", "float64"}
    predict : bool
        Time ``predict_proba`` of all samples instead of training steps.
    check_steps : int
        Steps after which losses are compared.
    epochs_before : int
        Number of epochs with which the initial weights are pretrained. Training makes relu
        activations sparser, and the kernels skip inactive units.
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
    def steps_per_epoch(self) -> int:
        """Number of steps of one pass over the data."""
        return 1 if self.batch_size is None else self.samples // self.batch_size

    @property
    def samples_per_step(self) -> int:
        """The batch size, or all samples."""
        return self.batch_size or self.samples

    @property
    def n_weights(self) -> list[int]:
        """Number of weights of each layer, without biases."""
        return [m * n for m, n in zip(self.layer_sizes, self.layer_sizes[1:], strict=False)]

    @property
    def n_params(self) -> int:
        """Number of weights and biases."""
        return sum(self.n_weights) + sum(self.layer_sizes[1:])

    @property
    def flops(self) -> int:
        """Floating-point operations of the matrix products of a step.

        Two per weight and sample for each of the forward product, the gradient by the weights,
        and the gradient by the inputs, which the first layer does not need.
        """
        products = sum(self.n_weights)
        if not self.predict:
            products = 3 * products - self.n_weights[0]
        return 2 * self.samples_per_step * products

    @property
    def moved_bytes(self) -> int:
        """Bytes a step must move: the batch once; parameters and moments, read and written."""
        itemsize = np.dtype(self.dtype).itemsize
        numbers = self.samples_per_step * self.layer_sizes[0]
        if self.predict:
            numbers += self.n_params + self.samples_per_step * self.layer_sizes[-1]
        else:
            numbers += (6 if self.optimizer == "adam" else 2) * self.n_params
        return itemsize * numbers

    @property
    def tolerance(self) -> float:
        """Tolerated relative difference of the loss (or predictions), for rounding."""
        # not smaller for float64, since Keras stores learning rate and momentum in float32
        return 1e-8 if self.dtype == "float64" else 1e-4

    def describe(self) -> str:
        """Description in one line."""
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
_EXPM = Job(
    "expm",
    (4, 32, 16, 4),
    "tanh",
    "expm",
    10_000,
    optimizer="adam",
    learning_rate=1e-3,
    loss="squared_error",
    check_steps=20,
)
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
        _EXPM,
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
    """A job of the map over widths and batches: relu, Adam, random data."""
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


def map_jobs(layers: str, widths: str | None) -> list[Job]:
    """Jobs of the map for comma-separated numbers of hidden layers and widths (None: all)."""
    depths = _positive_integers("layers", layers)
    sizes = _positive_integers("widths", widths) if widths else MAP_WIDTHS
    return [
        map_job(width, batch, depth) for depth in depths for batch in MAP_BATCHES for width in sizes
    ]


def choose_jobs(names: str | None) -> list[Job]:
    """Jobs by comma-separated names; None or "all" for all."""
    if names is None or names == "all":
        return list(JOBS.values())
    return [JOBS[name] for name in pick(names, list(JOBS), "job")]


def _positive_integers(name: str, text: str) -> Sequence[int]:
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        values = [0]
    if min(values) < 1:
        raise ValueError(f"{name} must be whole numbers with commas between; got {text!r}")
    return values
