"""Training of many small networks in parallel, with common settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import fastnn
from fastnn.errors import DivergenceError
from fastnn.experiments.result import summary
from fastnn.network import Network
from fastnn.training.checkpoints import digest
from fastnn.training.optimizers import Optimizer
from fastnn.training.threads import usable_cores

# Settings of the course.
ACTIVATIONS = ("tanh", "sigmoid", "relu")
L2 = 5e-5
LEARNING_RATE = 2.0
EPOCHS = 20_000
SAMPLES = 200
NOISE = 0.2
HELD_OUT = 5_000
# A seed that no training set uses.
HELD_OUT_SEED = 1_000_000

Tick = Callable[[float], None]
Pair = tuple[np.ndarray, np.ndarray]  # points and classes
Job = TypeVar("Job")
Answer = TypeVar("Answer")


def enlarge_for_sigmoid(network: Network) -> None:
    """Multiply the weights between hidden sigmoid layers by four.

    The slope of the sigmoid is at most 1/4. With LeCun's initialization, each layer thus reduces
    the gradient to a quarter or less, and deep networks hardly start to learn.
    """
    for layer, name in enumerate(network.activations[1:], start=1):
        if name == "sigmoid":
            network.weights[layer] *= 4.0


@dataclass(frozen=True)
class Run:
    """A trained network, its loss before each step, and measured accuracies and losses.

    The measured losses are without the L2 term; ``losses`` is empty if the training diverged.
    """

    network: Network
    losses: np.ndarray
    diverged: bool = False
    measured: dict[str, float] = field(default_factory=dict)


def moons(seed: int, samples: int = SAMPLES, noise: float = NOISE) -> Pair:
    """The two moons: points, shape (samples, 2), and classes."""
    from sklearn.datasets import make_moons

    return make_moons(samples, noise=noise, random_state=seed)


def make_network(
    layer_sizes: Sequence[int], *, activation: str, seed: int, backend: str, **options: Any
) -> Network:
    """Create a network as used in the experiments: float64, LeCun's initialization, one thread."""
    settings: dict[str, Any] = {"l2": L2, "initializer": "lecun_normal"} | options
    return fastnn.Network(
        layer_sizes,
        activation=activation,
        dtype="float64",
        random_state=seed,
        backend=backend,
        n_threads=1,
        **settings,
    )


# Folder for the checkpoints of trainings; None if they are not stored.
_cache_folder: ContextVar[Path | None] = ContextVar("cache_folder", default=None)


@contextmanager
def cached_trainings(folder: Path | None) -> Iterator[None]:
    """Context in which trainings write checkpoints to a folder, and resume from those in it."""
    token = _cache_folder.set(folder)
    try:
        yield
    finally:
        _cache_folder.reset(token)


def remove_cache(folder: Path) -> None:
    """Remove the checkpoints of :func:`cached_trainings`, and the folder if it is then empty."""
    for path in [*folder.glob("fit-*.safetensors"), *folder.glob(".fit-*.tmp")]:
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _key(network: Network, X: np.ndarray, y: np.ndarray, settings: tuple) -> str:
    """Digest of everything on which the result of a training depends."""
    text = json.dumps([network.get_config(), network.backend, *settings], sort_keys=True)
    return digest(np.frombuffer(text.encode(), np.uint8), network.params, X, y)


def train(
    network: Network,
    X: np.ndarray,
    y: np.ndarray,
    *,
    epochs: int,
    optimizer: Optimizer | None = None,
    batch_size: int | None = None,
) -> Run:
    """Train a network; if the loss overflows, the run is marked as diverged.

    Within :func:`cached_trainings`, a training that was completed before is not repeated.
    """
    optimizer = optimizer or fastnn.SGD(learning_rate=LEARNING_RATE)
    folder = _cache_folder.get()
    again: dict[str, Any] = {}
    if folder is not None:
        name = _key(network, X, y, (repr(optimizer), epochs, batch_size))
        again = {"checkpoint": folder / f"fit-{name}.safetensors", "resume": True}
    try:
        history = network.fit(
            X, y, optimizer=optimizer, epochs=epochs, batch_size=batch_size, **again
        )
    except DivergenceError:
        return Run(network, np.empty(0), diverged=True)
    return Run(network, history.loss)


def data_loss(network: Network, X: np.ndarray, y: np.ndarray) -> float:
    """Mean cross-entropy, without the L2 term."""
    penalty = 0.5 * network.l2 * sum(float(np.vdot(w, w)) for w in network.weights)
    return network.loss(X, y) - penalty


def train_and_measure(network: Network, train_set: Pair, held_out: Pair, **options: Any) -> Run:
    """Train a network; measure accuracy and loss on the training data and on held-out data."""
    run = train(network, *train_set, **options)
    measured = {
        "train_accuracy": network.score(*train_set),
        "held_out_accuracy": network.score(*held_out),
        "train_loss": data_loss(network, *train_set),
        "held_out_loss": data_loss(network, *held_out),
    }
    return replace(run, measured=measured)


def summaries(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Summary of each measured quantity over the runs with several seeds."""
    return {key: summary([run.measured[key] for run in runs]) for key in runs[0].measured}


def each(function: Callable[[Job], Answer], jobs: Iterable[Job], tick: Tick | None) -> list[Answer]:
    """Results of ``function`` for all jobs, in their order, computed on all cores.

    Threads are sufficient, since the compiled kernels release the GIL.

    Parameters
    ----------
    function : callable
    jobs : iterable
    tick : callable or None
        Called with the fraction of the jobs that are done, from 0 to 1.

    Returns
    -------
    list
    """
    jobs = list(jobs)
    answers = []
    context = copy_context()  # each call needs its own copy, since calls run concurrently
    with ThreadPoolExecutor(usable_cores()) as pool:
        try:
            for answer in pool.map(lambda job: context.copy().run(function, job), jobs):
                answers.append(answer)
                if tick is not None:
                    tick(len(answers) / len(jobs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return answers


def by_case(
    function: Callable[[Job], Answer], cases: Iterable[Job], tick: Tick | None
) -> dict[Job, Answer]:
    """As :func:`each`, but returns a dict from jobs to results."""
    cases = list(cases)
    return dict(zip(cases, each(function, cases, tick), strict=True))


def n_seeds(count: int) -> str:
    """Number of seeds as text, "1 seed" or "6 seeds"."""
    return f"{count} seed{'' if count == 1 else 's'}"


def thin(losses: np.ndarray, points: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """At most ``points`` logarithmically spaced steps, and their losses, for a plot.

    The smallest and the largest loss of each interval are kept, so that no spike is lost.
    """
    edges = np.unique(np.round(np.geomspace(1, len(losses), points // 2 + 1)).astype(int))
    steps = np.unique(
        [
            low + place
            for low, high in pairwise(edges)
            for place in (losses[low:high].argmin(), losses[low:high].argmax())
        ]
    )
    return steps, losses[steps]
