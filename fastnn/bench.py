"""``fastnn bench``: time the backends and scikit-learn in turn at a few jobs on this machine.

Complete calls of ``fit`` and ``predict_proba`` are timed, with the same initial weights and the
same batches. To compare with other libraries use ``python -m benchmarks`` in the repository.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fastnn import backends
from fastnn.network import Network
from fastnn.training.optimizers import SGD, Adam, Optimizer
from fastnn.training.threads import usable_cores

SKLEARN = "scikit-learn"
ROUNDS = 5
REST = 0.2  # pause before each turn in seconds: BLAS threads spin for a while after a product
# Maximum difference of a probability after the first epoch, caused by float32 rounding, which
# Adam amplifies by dividing by small moments.
TOLERANCE = 1e-2

# Command of the repository with more jobs, other libraries, a map over widths, and charts.
MORE = "python -m benchmarks"
# Options moved to that command: first a flag, then options with a value.
MOVED = ("--map", "--peers", "--rounds", "--layers", "--widths", "--data-dir", "--plot")

Arrays = tuple[np.ndarray, np.ndarray]
Data = tuple[np.ndarray, np.ndarray, str]  # X, y and a description


def _moons() -> Data:
    from sklearn.datasets import make_moons

    return *make_moons(200, noise=0.2, random_state=0), "two moons"


def _circles(samples: int) -> Data:
    from sklearn.datasets import make_circles

    x, y = make_circles(max(samples, 2), noise=0.1, factor=0.5, random_state=0)
    return x[:samples], y[:samples], "two circles"


def _images(samples: int) -> Data:
    try:
        return *local_mnist(samples), "MNIST"
    except (OSError, ValueError):
        return *random_images(samples, 784, 10), "random images, as MNIST's files are missing"


def local_mnist(samples: int, data_dir: str | None = None) -> Arrays:
    """Load the first training images of MNIST, pixels in [0, 1], and labels, from local files.

    ``data_dir`` defaults to ``FASTNN_DATA_DIR`` or the cache folder. Raises FileNotFoundError if
    the files are missing; nothing is downloaded.
    """
    from fastnn import datasets

    folder = Path(data_dir or os.environ.get("FASTNN_DATA_DIR") or datasets.cache_dir())
    if not any(folder.rglob("train-images*")):
        raise FileNotFoundError("no MNIST files; set FASTNN_DATA_DIR or give --data-dir")
    data = datasets.load("mnist", data_dir=folder)
    x, y = data.X[:samples], data.y[:samples]
    if x.dtype == np.uint8:
        x = x.astype(np.float32) / np.float32(255)
    return x.reshape(len(x), -1), y


def random_images(samples: int, features: int, classes: int) -> Arrays:
    """Random float32 data with 81% zeros, as in MNIST, and random labels."""
    rng = np.random.RandomState(0)
    x = rng.rand(samples, features).astype(np.float32)
    x[x < 0.81] = 0.0
    return x, rng.randint(0, classes, samples)


@dataclass(frozen=True)
class Job:
    """A benchmark: a network, its data, and training or prediction in float32."""

    description: str
    layer_sizes: tuple[int, ...]
    data: Callable[[], Data]
    activation: str = "tanh"
    optimizer: Optimizer = SGD(learning_rate=0.1)  # noqa: RUF009 (immutable)
    batch_size: int | None = None
    predict: bool = False


_CIRCLES = (2, 8, 8, 8, 2)
JOBS = {
    "moons": Job(
        "2-3-2 tanh, 200 samples, full batch, gradient descent",
        (2, 3, 2),
        _moons,
        optimizer=SGD(learning_rate=0.5),
    ),
    "circles": Job(
        "2-8-8-8-2 tanh, 500 samples, full batch, gradient descent", _CIRCLES, lambda: _circles(500)
    ),
    "mlp": Job(
        "784-128-64-10 relu, 12,800 samples, batch 128, Adam",
        (784, 128, 64, 10),
        lambda: _images(100 * 128),
        "relu",
        Adam(learning_rate=1e-3),
        128,
    ),
    "predict-1": Job(
        "predict_proba of 1 row through 2-8-8-8-2 tanh", _CIRCLES, lambda: _circles(1), predict=True
    ),
    "predict-100k": Job(
        "predict_proba of 100,000 rows through the same",
        _CIRCLES,
        lambda: _circles(100_000),
        predict=True,
    ),
}


def _contender(name: str, job: Job, x: np.ndarray, y: np.ndarray) -> tuple[Callable, Callable]:
    """Functions of one contender: train for ``n`` epochs, and predict probabilities."""
    net = Network(
        job.layer_sizes,
        activation=job.activation,
        backend="numpy" if name == SKLEARN else name,
        dtype="float32",
        random_state=0,
    )
    if name == SKLEARN:
        model, targets = sklearn_model(net, job.optimizer, job.batch_size, x, y)
        return lambda n: model.set_params(max_iter=n).fit(x, targets), model.predict_proba
    options: dict[str, Any] = {
        "optimizer": job.optimizer,
        "batch_size": job.batch_size,
        "shuffle": False,
    }
    return lambda n: net.fit(x, y, epochs=n, **options), net.predict_proba


def sklearn_model(
    net: Network, optimizer: Optimizer, batch_size: int | None, x: np.ndarray, y: np.ndarray
) -> tuple[Any, np.ndarray]:
    """scikit-learn's MLP that is equivalent to a network, and the targets for its ``fit``.

    For two classes scikit-learn has one sigmoid output. With one column of targets per class and
    ``out_activation_`` set to softmax it computes the network's function and gradient.

    ``y`` are class indices, or real numbers for a network with squared error. The model's ``fit``
    starts from the network's weights (``warm_start``) and runs ``max_iter`` epochs.
    """
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    classifies = net.loss_name == "cross_entropy"
    targets = np.eye(net.n_outputs, dtype=np.int64)[y] if classifies else y
    rows = batch_size or len(x)
    model = (MLPClassifier if classifies else MLPRegressor)(
        hidden_layer_sizes=tuple(len(b) for b in net.biases[:-1]),
        activation=net.activations[0],
        solver=type(optimizer).__name__.lower(),
        alpha=0.0,
        batch_size=rows,
        learning_rate_init=optimizer.learning_rate,
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
        tol=0.0,
        n_iter_no_change=10**9,
        warm_start=True,
        max_iter=1,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ConvergenceWarning
        model.fit(x[:rows], targets[:rows])
    if classifies:
        model.out_activation_ = "softmax"
    model.coefs_ = [w.copy() for w in net.weights]
    model.intercepts_ = [b.copy() for b in net.biases]
    model.n_iter_ = 0
    return model, targets


def measure(name: str, contenders: Sequence[str], seconds: float) -> dict[str, Any]:
    """Time all contenders in turn at a job, in microseconds per step or per call."""
    job = JOBS[name]
    x, y, source = job.data()
    x = np.ascontiguousarray(x, np.float32)
    steps = 1 if job.predict or job.batch_size is None else len(x) // job.batch_size
    made = {contender: _contender(contender, job, x, y) for contender in ("numpy", *contenders)}

    def timed(contender: str, count: int) -> float:
        fit, predict = made[contender]
        started = time.perf_counter()
        if job.predict:
            for _ in range(count):
                predict(x)
        else:
            fit(count)
        return time.perf_counter() - started

    predictions = {}
    for contender, (fit, predict) in made.items():
        if not job.predict:
            fit(1)
        predictions[contender] = predict(x[:1000])
        difference = np.abs(predictions[contender] - predictions["numpy"]).max()
        if difference > TOLERANCE:
            raise RuntimeError(f"{contender} differs from NumPy at {name}: {difference:.2g}")
    counts = {}
    for contender in contenders:
        count = 1
        while (took := timed(contender, count)) < 0.02:
            count *= 4
        counts[contender] = max(1, round(count * seconds / ROUNDS / took))
    rounds: dict[str, list[float]] = {contender: [] for contender in contenders}
    for _ in range(ROUNDS):
        for contender, times in rounds.items():
            time.sleep(REST)
            count = counts[contender]
            times.append(1e6 * timed(contender, count) / (count * steps))
    return {
        "description": f"{job.description}, {source}",
        "microseconds": {c: statistics.median(times) for c, times in rounds.items()},
        "rounds": rounds,
    }


def cpu_name() -> str:
    """Name of the processor."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def number(value: float | None) -> str:
    """Format a number with three significant digits."""
    if value is None:
        return ""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}"


def show(run: dict[str, Any]) -> None:
    """Print times, ratios to scikit-learn, and descriptions of the jobs."""
    from rich.console import Console
    from rich.table import Table

    jobs, contenders = run["jobs"], run["contenders"]
    table = Table("µs per step or call")
    for name in jobs:
        table.add_column(name, justify="right", no_wrap=True)
    for contender in contenders:
        table.add_row(contender, *(number(job["microseconds"][contender]) for job in jobs.values()))
    table.add_section()
    for contender in contenders[:-1]:
        times = [job["microseconds"] for job in jobs.values()]
        ratios = (f"{number(us[SKLEARN] / us[contender])}×" for us in times)
        table.add_row(f"{SKLEARN} / {contender}", *ratios)
    console = Console()
    wide = console.options.update(width=1000)
    if console.measure(table, options=wide).maximum <= console.width:
        console.print(table)
    else:
        for name, job in jobs.items():
            console.print(_paragraph(name, job["microseconds"]), markup=False, highlight=False)
    for name, job in jobs.items():
        console.print(f"{name}: {job['description']}", markup=False, highlight=False)
    print(f"{run['machine']['cpu']}, {run['machine']['cores']} cores; medians of {ROUNDS} rounds")


def _paragraph(name: str, us: dict[str, float]) -> str:
    """Times of a job as text, for terminals too narrow for the table."""
    times = ", ".join(f"{contender} {number(value)}" for contender, value in us.items())
    ratios = (f"{number(us[SKLEARN] / value)}× {c}" for c, value in us.items() if c != SKLEARN)
    return f"{name}: µs per step or call: {times}; {SKLEARN} takes {', '.join(ratios)}"


def pick(names: str, known: Sequence[str], what: str, others: str = "or all") -> list[str]:
    """Split comma-separated names; raise if one is unknown."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}, {others}; got {name!r}")
    return wanted


def _moved(value: Any) -> None:
    """Raise for an option that has moved to the command ``MORE``."""
    if value:
        raise ValueError(
            f"{', '.join(MOVED[:-1])} and {MOVED[-1]} are options of {MORE}, in a clone of the "
            "repository (benchmarks/README.md)"
        )


def _hidden(*names: str) -> Any:
    return typer.Option(*names, hidden=True, is_eager=True, callback=_moved, expose_value=False)


def command(
    jobs: Annotated[
        str, typer.Option(help=f"Jobs, separated by commas: {', '.join(JOBS)}.")
    ] = "all",
    backend_names: Annotated[
        str,
        typer.Option(
            "--backends", help="Backends, separated by commas, in addition to scikit-learn."
        ),
    ] = "all",
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Measuring time for each backend and job.")
    ] = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Also write the results to a JSON file.", show_default="none"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress; print only the times.")
    ] = False,
    old_file: Annotated[str | None, typer.Argument(hidden=True)] = None,
    moved: Annotated[
        str | None,
        _hidden(*MOVED[1:]),
    ] = None,
    moved_flag: Annotated[bool, _hidden(MOVED[0])] = False,
) -> None:
    """Compare the speed of the installed backends and scikit-learn.

    For other libraries (PyTorch, TensorFlow, Keras, JAX), more jobs and charts use `python -m
    benchmarks` in a clone of the repository.
    """
    try:
        more = f"or all; more with {MORE}"
        names = list(JOBS) if jobs == "all" else pick(jobs, list(JOBS), "job", more)
        found = backends.available()
        chosen = found if backend_names == "all" else pick(backend_names, found, "backend", more)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if old_file is not None and not as_json:
        raise typer.BadParameter(f"there is no argument; got {old_file!r}")
    if old_file not in (None, "-"):  # --json FILE, as in earlier versions
        out, as_json = Path(str(old_file)), False
    if out is not None and not out.absolute().parent.is_dir():
        raise typer.BadParameter(f"no such directory: {out.parent}")
    contenders = [*chosen, SKLEARN]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ConvergenceWarning of scikit-learn
        measured = {}
        for name in names:
            if not (quiet or as_json):
                typer.echo(f"timing {name} ...", err=True)
            measured[name] = measure(name, contenders, seconds)
    run = {
        "machine": {"cpu": cpu_name(), "cores": usable_cores()},
        "contenders": contenders,
        "jobs": measured,
    }
    if as_json:
        print(json.dumps(run))
    else:
        show(run)
    if out is not None:
        from fastnn.datasets import write_atomically

        write_atomically(out, (json.dumps(run, indent=1) + "\n").encode())
