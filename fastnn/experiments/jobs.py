"""Training many small networks: the settings they share, and both cores kept busy."""

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

# The course's setting.
ACTIVATIONS = ("tanh", "sigmoid", "relu")
L2 = 5e-5
LEARNING_RATE = 2.0
EPOCHS = 20_000
SAMPLES = 200
NOISE = 0.2
HELD_OUT = 5_000
# No training set has this seed.
HELD_OUT_SEED = 1_000_000

Tick = Callable[[float], None]
Pair = tuple[np.ndarray, np.ndarray]  # points and classes
Job = TypeVar("Job")
Answer = TypeVar("Answer")


def enlarge_for_sigmoid(network: Network) -> None:
    """Multiply the weights between hidden sigmoid layers by four.

    The sigmoid's slope is at most 1/4, so with LeCun's weights each layer takes
    three quarters or more of the gradient away, and deep networks hardly start.
    """
    for layer, name in enumerate(network.activations[1:], start=1):
        if name == "sigmoid":
            network.weights[layer] *= 4.0


@dataclass(frozen=True)
class Run:
    """A trained network, its loss before each step, and its accuracies and losses without L2."""

    network: Network
    losses: np.ndarray
    diverged: bool = False
    measured: dict[str, float] = field(default_factory=dict)


def moons(seed: int, samples: int = SAMPLES, noise: float = NOISE) -> Pair:
    """Two moons, points (samples, 2) and classes."""
    from sklearn.datasets import make_moons

    return make_moons(samples, noise=noise, random_state=seed)


def make_network(
    layer_sizes: Sequence[int], *, activation: str, seed: int, backend: str, **options: Any
) -> Network:
    """A network as the experiments use it: float64, LeCun's weights, one thread."""
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


# Where trainings are kept.
_kept: ContextVar[Path | None] = ContextVar("kept", default=None)


@contextmanager
def keeping(folder: Path | None) -> Iterator[None]:
    """Trainings leave checkpoints in a folder meanwhile, and go on from those of before."""
    token = _kept.set(folder)
    try:
        yield
    finally:
        _kept.reset(token)


def remove_kept(folder: Path) -> None:
    """Remove the checkpoints of :func:`keeping`, and the folder if nothing else is in it."""
    for path in [*folder.glob("fit-*.safetensors"), *folder.glob(".fit-*.tmp")]:
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _key(network: Network, X: np.ndarray, y: np.ndarray, settings: tuple) -> str:
    """Digest of all that a training depends on."""
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
    """Train; a run whose loss overflows is kept with what it had before.

    Within :func:`keeping` a training that was done before is not done again.
    """
    optimizer = optimizer or fastnn.SGD(learning_rate=LEARNING_RATE)
    folder = _kept.get()
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
    """Train as :func:`train`; measure on the training data and on held-out data."""
    run = train(network, *train_set, **options)
    measured = {
        "train_accuracy": network.score(*train_set),
        "held_out_accuracy": network.score(*held_out),
        "train_loss": data_loss(network, *train_set),
        "held_out_loss": data_loss(network, *held_out),
    }
    return replace(run, measured=measured)


def summaries(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Summary of each thing that was measured over runs of several seeds."""
    return {key: summary([run.measured[key] for run in runs]) for key in runs[0].measured}


def each(function: Callable[[Job], Answer], jobs: Iterable[Job], tick: Tick | None) -> list[Answer]:
    """``function`` of every job, in order, on all cores.

    The compiled kernels let go of the interpreter's lock, so threads are enough.

    Parameters
    ----------
    function : callable
    jobs : iterable
    tick : callable or None
        Told the share that is done, from 0 to 1.

    Returns
    -------
    list
    """
    jobs = list(jobs)
    answers = []
    context = copy_context()  # of which each call needs a copy of its own
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
    """As :func:`each`, the answers by their jobs."""
    cases = list(cases)
    return dict(zip(cases, each(function, cases, tick), strict=True))


def n_seeds(count: int) -> str:
    """How many seeds, in words that fit the number."""
    return f"{count} seed{'' if count == 1 else 's'}"


def thin(losses: np.ndarray, points: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """At most ``points`` step numbers spread over the logarithm, and the losses there.

    Of each stretch the lowest and the highest loss stay, so that no spike is lost.
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
