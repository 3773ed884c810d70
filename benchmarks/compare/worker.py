"""Worker process: times jobs with the fastnn that it is told to import.

``python -P worker.py ROOT``, with ROOT first in PYTHONPATH. It reads one JSON message per line from
standard input, answers each with one line, and works only in between. It uses fastnn's public API
and nothing else of its own tree, so that it runs with any revision.
"""

from __future__ import annotations

import copy
import functools
import gzip
import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace as Job  # the attributes are those of jobs.Job
from typing import Any

import numpy as np

import fastnn

# Does so many steps or calls, always from the same state; gives seconds, the loss (or the mean of
# the predictions), and what must be equal bit by bit.
Turn = Callable[[int], tuple[float, float, np.ndarray]]


# --- data ---------------------------------------------------------------------------


@functools.cache
def make_data(kind: str, samples: int, features: int, classes: int) -> tuple:
    """Inputs, targets and the name of their source; the same in every process."""
    rng, source = np.random.RandomState(0), kind
    if kind == "moons":
        from sklearn.datasets import make_moons

        x, y = make_moons(max(samples, 2), noise=0.2, random_state=0)
    elif kind == "circles":
        from sklearn.datasets import make_circles

        x, y = make_circles(max(samples, 2), noise=0.1, factor=0.5, random_state=0)
    elif kind == "iris":
        from sklearn.datasets import load_iris

        x, y = load_iris(return_X_y=True)
    elif kind == "expm":
        from scipy.linalg import expm

        x = rng.uniform(-1, 1, (samples, 4))
        y = expm(x.reshape(-1, 2, 2)).reshape(-1, 4)
    elif kind == "mnist":
        x, y, source = images(samples, rng)
    else:
        x, y = rng.standard_normal((samples, features)), rng.randint(0, classes, samples)
    return x[:samples], y[:samples], source


def images(samples: int, rng: np.random.RandomState) -> tuple:
    """MNIST from FASTNN_DATA_DIR, else synthetic images with as many zeros (81%)."""
    if folder := os.environ.get("FASTNN_DATA_DIR"):
        x = read_idx(Path(folder), "train-images", 16, samples * 784).reshape(-1, 784)
        return x / 255.0, read_idx(Path(folder), "train-labels", 8, samples).astype(int), "MNIST"
    # Each class has its own place where pixels are likely; as in MNIST the edge is empty.
    y, centres = rng.randint(0, 10, samples), rng.uniform(11, 16, (10, 2, 1))
    near = np.exp(-((np.arange(28) - centres) ** 2) / 60)  # (class, axis, position)
    chance = (near[:, 0, :, None] * near[:, 1, None, :]).reshape(10, 784)
    chance *= 0.19 / chance.mean(axis=1, keepdims=True)
    x = rng.uniform(size=(samples, 784)) * (rng.uniform(size=(samples, 784)) < chance[y])
    return x, y, "synthetic, FASTNN_DATA_DIR is not set"


def read_idx(folder: Path, name: str, header: int, count: int) -> np.ndarray:
    """Bytes of a file of MNIST, behind its header."""
    found = sorted(folder.rglob(name + "*"))
    if not found:
        raise FileNotFoundError(f"no {name} file in FASTNN_DATA_DIR={folder}")
    with (gzip.open if found[0].suffix == ".gz" else open)(found[0], "rb") as file:
        return np.frombuffer(file.read(header + count), np.uint8, offset=header)


def inputs(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """In the job's precision."""
    x, y, _ = make_data(job.data, job.samples, job.layer_sizes[0], job.layer_sizes[-1])
    real = job.loss == "squared_error"
    return np.ascontiguousarray(x, job.dtype), y.astype(job.dtype) if real else y


# --- kinds of jobs ------------------------------------------------------------------


def network(job: Job) -> Any:
    return fastnn.Network(
        job.layer_sizes,
        activation=job.activation,
        loss=job.loss,
        backend=job.backend,
        dtype=job.dtype,
        random_state=0,
    )


FEW = 64  # samples that surely have all classes


def fit(job: Job) -> Turn:
    """Training steps, by the clock of ``fit`` itself."""
    (x, y), first, size = inputs(job), network(job), job.batch_size or job.samples
    rule = {"sgd": fastnn.SGD, "adam": fastnn.Adam}[job.optimizer](job.learning_rate)
    settings = {"optimizer": rule, "batch_size": job.batch_size, "shuffle": job.shuffle}
    if job.epochs_before:
        file = Path(job.folder, f"{job.name}.npy")  # both trees start from the same weights
        if not file.exists():
            trained = copy.deepcopy(first)
            trained.fit(x, y, epochs=job.epochs_before, **settings)
            np.save(file, trained.params)
        first.params[:] = np.load(file)

    def turn(steps: int) -> tuple[float, float, np.ndarray]:
        net = copy.deepcopy(first)
        few = max(size, FEW)
        net.fit(x[:few], y[:few], epochs=1, **settings)  # memory is touched before the clock runs
        epochs = max(1, steps * size // len(x))
        rows = steps * size // epochs
        history = net.fit(x[:rows], y[:rows], epochs=epochs, **settings)
        if history.steps != steps:
            raise RuntimeError(f"did {history.steps} steps instead of {steps}")
        return history.seconds, float(history.loss[-1]), net.params

    return turn


def calls(start: Callable[[], tuple[Callable, Callable]]) -> Turn:
    """``start`` gives a call to be timed, and one that gives the result."""

    def turn(n: int) -> tuple[float, float, np.ndarray]:
        call, result = start()
        started = time.perf_counter()
        for _ in range(n):
            call()
        seconds, array = time.perf_counter() - started, result()
        return seconds, float(array.ravel()[::2].mean()), array

    return turn


def predict_proba(job: Job) -> Turn:
    (x, _), net = inputs(job), network(job)
    return calls(lambda: (lambda: net.predict_proba(x),) * 2)


def numba_predict(job: Job) -> Turn:
    """In a compiled loop; each input depends on the output before it."""
    import numba

    predict = network(job).numba_predict()

    @numba.njit
    def loop(x, out):
        for _ in range(1000):
            x[0] = out[0]
            predict(x, out)

    def start() -> tuple[Callable, Callable]:
        x, out = np.ones(job.layer_sizes[0], job.dtype), np.ones(job.layer_sizes[-1], job.dtype)
        return lambda: loop(x, out), lambda: out

    return calls(start)


def fit_call(job: Job) -> Turn:
    (x, y), first, rule = inputs(job), network(job), fastnn.SGD(job.learning_rate)

    def start() -> tuple[Callable, Callable]:
        net = copy.deepcopy(first)
        return lambda: net.fit(x, y, optimizer=rule, epochs=1), lambda: net.params

    return calls(start)


def classifier(job: Job, rows: int) -> tuple:
    """A classifier that has seen some rows of iris, and these rows."""
    x, y, _ = make_data("iris", 150, 4, 3)
    x, y = x[:: 150 // rows], y[:: 150 // rows]
    model = fastnn.MLPClassifier(backend=job.backend, random_state=0)
    return model.partial_fit(x, y, classes=[0, 1, 2]), x, y


def classifier_predict(job: Job) -> Turn:
    model, x, _ = classifier(job, 150)
    return calls(lambda: (lambda: model.predict(x[:1]), lambda: model.predict_proba(x)))


def classifier_partial_fit(job: Job) -> Turn:
    def start() -> tuple[Callable, Callable]:
        model, x, y = classifier(job, 2)
        return lambda: model.partial_fit(x, y), lambda: model.predict_proba(x)

    return calls(start)


KINDS = {
    "fit": fit,
    "predict_proba": predict_proba,
    "numba_predict": numba_predict,
    "fit_call": fit_call,
    "classifier_predict": classifier_predict,
    "classifier_partial_fit": classifier_partial_fit,
}


# --- messages -----------------------------------------------------------------------


def calibrate(job: Job, turn: Turn, seconds: float) -> int:
    """Steps that take about so many seconds: part of one pass over the data, or whole passes."""
    size = (job.batch_size or job.samples) if job.kind == "fit" else job.samples
    batches = job.samples // size

    def whole(steps: float) -> int:
        return max(1, round(steps) if steps <= batches else round(steps / batches) * batches)

    steps = max(1, FEW // size) if job.kind == "fit" else 1
    spent = turn(steps)[0]
    while spent < seconds / 2:
        steps = whole(steps * min(8.0, max(2.0, seconds / max(spent, 1e-9))))
        spent = turn(steps)[0]
    return whole(steps * seconds / spent)


def answers(root: Path, messages: Iterable[str]) -> Iterator[dict[str, Any]]:
    """One answer per message; an exception is an answer too."""
    for line in messages:
        message = json.loads(line)
        try:
            if message["do"] == "hello":
                if not Path(fastnn.__file__).resolve().is_relative_to(root):
                    raise ImportError(f"fastnn is {fastnn.__file__}, not the one in {root}")
                yield {}
            elif message["do"] == "prepare":
                turn = None  # frees the memory of the job before
                job = Job(**message["job"], backend=message["backend"], folder=message["folder"])
                turn = KINDS[job.kind](job)
                turn(1)  # compiles
                source = make_data("mnist", 1, 784, 10)[2] if job.data == "mnist" else ""
                level = getattr(fastnn.backends.load(job.backend), "LEVEL", "unknown")
                yield {"source": source, "level": level}
            elif message["do"] == "calibrate":
                yield {"steps": calibrate(job, turn, message["seconds"])}
            else:
                seconds, loss, array = turn(message["steps"])
                digest = hashlib.sha1(np.ascontiguousarray(array).tobytes()).hexdigest()
                yield {"seconds": seconds, "loss": loss, "digest": digest}
        except Exception as error:
            traceback.print_exc()
            yield {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what else is printed must not come between the answers
    for answer in answers(Path(sys.argv[1]), sys.stdin):
        print(json.dumps(answer), file=out)


if __name__ == "__main__":
    main()
