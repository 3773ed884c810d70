"""The command ``fastnn``: train, predict, evaluate, plot, info.

What takes long to import is imported where it is used.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

import fastnn
from fastnn.backends import BACKENDS, codes
from fastnn.errors import DivergenceError
from fastnn.training.optimizers import OPTIMIZERS
from fastnn.training.threads import usable_cores

if TYPE_CHECKING:
    import numpy as np

    from fastnn.datasets import Dataset
    from fastnn.network import Network
    from fastnn.settings import TrainSettings
    from fastnn.storage import Description
    from fastnn.training.history import History

BAD_INPUT = 2
INTERRUPTED = 130

MODEL_FILE = "model.safetensors"
N_FRESH = 10_000  # held-out points of synthetic data
FRESH_SEED = 20_000  # far from the seeds that people train with

# Commands with much to import, which the others need not wait for.
_LATE = {
    "search": "fastnn.search",
    "experiments": "fastnn.experiments",
    "bench": "fastnn.bench",
    "cnn": "fastnn.cnn.cli",
    "export": "fastnn.export.cli",
}


class _Commands(TyperGroup):
    """Commands; those of ``_LATE`` are imported when asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, for the help."""
        return list(dict.fromkeys([*super().list_commands(ctx), *_LATE]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Command of a name, or None."""
        if cmd_name in _LATE and cmd_name not in self.commands:
            module = importlib.import_module(_LATE[cmd_name])
            late = getattr(module, "app", None)  # commands of its own, or a single one
            if late is None:
                late = typer.Typer()
                late.command(cmd_name)(module.command)
            self.commands[cmd_name] = typer.main.get_command(late)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    name="fastnn",
    cls=_Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # joins the lines of a paragraph
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _choice(name: str, values: Sequence[str]) -> type[Enum]:
    """Names as the choices of an option."""
    return Enum(name, {value: value for value in values}, type=str)


_Backend = _choice("Backend", ["auto", *BACKENDS])
_Optimizer = _choice("Optimizer", list(OPTIMIZERS))
_Loss = _choice("Loss", list(codes.LOSSES))
_Dtype = _choice("Dtype", ["float32", "float64"])
_Task = _choice("Task", ["classification", "regression"])

_DATA = "Built-in name (moons, iris, ...) or a .csv, .tsv, .npz or .parquet file."
_MODEL = "Model file, or the run folder it lies in."
_NETWORK, _TRAINING, _DATA_PANEL, _RUN = "Network", "Training", "Data", "Run"


def _option(name: str, text: str, panel: str | None = None, flag: str | None = None) -> Any:
    """An option that the environment can give too."""
    flags = [flag or f"--{name.replace('_', '-')}"]
    return typer.Option(
        *flags,
        help=text,
        rich_help_panel=panel,
        envvar=f"FASTNN_{name.upper()}",
        show_default=False,
        show_envvar=False,
    )


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Small dense neural networks on a CPU at the speed of the machine."""
    if version:
        typer.echo(f"fastnn {fastnn.__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit


# --- train --------------------------------------------------------------------


@app.command()
def train(
    ctx: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help=f"{_DATA} Default: moons.", show_default=False),
    ] = None,
    target: Annotated[
        str | None, _option("target", "Column of the targets, by name or position.", _DATA_PANEL)
    ] = None,
    task: Annotated[
        _Task | None, _option("task", "Default: by the target's values.", _DATA_PANEL)
    ] = None,
    data_dir: Annotated[
        str | None, _option("data_dir", "Folder with the files of mnist.", _DATA_PANEL)
    ] = None,
    test: Annotated[
        float | None,
        _option("test", "Share of the samples held out for the final score.", _DATA_PANEL),
    ] = None,
    validation: Annotated[
        float | None,
        _option("validation", "Share of the samples to watch during training.", _DATA_PANEL),
    ] = None,
    standardize: Annotated[
        bool | None,
        _option(
            "standardize",
            "Standardise features inside the model.",
            _DATA_PANEL,
            "--standardize/--no-standardize",
        ),
    ] = None,
    hidden: Annotated[
        str | None, _option("hidden", "Units of the hidden layers, as 8,8,8; or none.", _NETWORK)
    ] = None,
    layers: Annotated[int | None, _option("layers", "Number of hidden layers.", _NETWORK)] = None,
    layer_size: Annotated[
        int | None, _option("layer_size", "Units of every hidden layer.", _NETWORK)
    ] = None,
    activation: Annotated[
        str | None,
        _option(
            "activation",
            f"One, or one for each hidden layer: {', '.join(codes.ACTIVATIONS)}.",
            _NETWORK,
        ),
    ] = None,
    alpha: Annotated[
        float | None, _option("alpha", "Slope of leaky_relu, alpha of elu.", _NETWORK)
    ] = None,
    initializer: Annotated[
        str | None, _option("initializer", "auto, lecun_normal, he_normal, ...", _NETWORK)
    ] = None,
    loss: Annotated[_Loss | None, _option("loss", "Default: by the task.", _NETWORK)] = None,
    label_smoothing: Annotated[
        float | None,
        _option("label_smoothing", "Share of each target given to all classes.", _NETWORK),
    ] = None,
    quantile: Annotated[
        float | None, _option("quantile", "What --loss quantile estimates.", _NETWORK)
    ] = None,
    delta: Annotated[
        float | None, _option("delta", "Where --loss huber becomes linear.", _NETWORK)
    ] = None,
    l2: Annotated[
        float | None, _option("l2", "Factor of the squared weights, halved.", _NETWORK)
    ] = None,
    dropout: Annotated[
        str | None, _option("dropout", "Rate, or one for each hidden layer.", _NETWORK)
    ] = None,
    optimizer: Annotated[_Optimizer | None, _option("optimizer", "Update rule.", _TRAINING)] = None,
    learning_rate: Annotated[
        float | None, _option("learning_rate", "Step size.", _TRAINING)
    ] = None,
    momentum: Annotated[float | None, _option("momentum", "Of sgd.", _TRAINING)] = None,
    clip_norm: Annotated[
        float | None, _option("clip_norm", "Shorten longer gradients to this.", _TRAINING)
    ] = None,
    clip_value: Annotated[
        float | None, _option("clip_value", "Clip a gradient's entries to this.", _TRAINING)
    ] = None,
    ema: Annotated[
        float | None,
        _option("ema", "Predict with the parameters' moving average of this decay.", _TRAINING),
    ] = None,
    epochs: Annotated[int | None, _option("epochs", "Passes over the data.", _TRAINING)] = None,
    batch_size: Annotated[
        int | None, _option("batch_size", "Samples a step; 0 takes all.", _TRAINING)
    ] = None,
    early_stopping: Annotated[
        bool | None,
        _option(
            "early_stopping",
            "Stop when the validation loss no longer falls; keep the best parameters.",
            _TRAINING,
            "--early-stopping/--no-early-stopping",
        ),
    ] = None,
    patience: Annotated[
        int | None, _option("patience", "Epochs to wait for that.", _TRAINING)
    ] = None,
    seed: Annotated[
        int | None, _option("seed", "Of weights, shuffling, dropout, splits.", _TRAINING)
    ] = None,
    backend: Annotated[_Backend | None, _option("backend", "Which kernels to use.", _RUN)] = None,
    dtype: Annotated[_Dtype | None, _option("dtype", "Precision.", _RUN)] = None,
    threads: Annotated[int | None, _option("threads", "Most threads to use.", _RUN)] = None,
    config: Annotated[
        Path | None, _option("config", "TOML file with settings, as a run writes it.", _RUN)
    ] = None,
    out: Annotated[
        Path | None, _option("out", "Folder for the results; default: runs/NAME-N.", _RUN)
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Write into --out even if it has files.", rich_help_panel=_RUN
        ),
    ] = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write summaries for TensorBoard, in a folder there named as the run's.",
            rich_help_panel=_RUN,
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object and nothing else.", rich_help_panel=_RUN
        ),
    ] = False,
) -> None:
    """Train a network and keep it, with its history, its settings and its pictures.

    Without DATA: the course's example, two moons and a 2-3-2 network. A setting comes from
    its option, else from the environment (FASTNN_EPOCHS, ...), else from --config, else it
    has a default that suits the data.
    """
    from fastnn import datasets, storage
    from fastnn.settings import merge, read_toml

    file = read_toml(config) if config is not None else {}
    flags, environment = _given(ctx)
    settings = merge(flags, environment, file)
    dataset = datasets.load(
        settings.data, target=settings.target, task=settings.task, data_dir=settings.data_dir
    )
    train_rows, test_rows = _split(dataset, settings.test, settings.seed or 0)
    settings = settings.completed(dataset, len(train_rows))
    if settings.data not in datasets.BUILT_IN:
        settings = settings.model_copy(update={"data": str(Path(settings.data).resolve())})
    net = _make_network(dataset, settings)
    X, y = _part(dataset, train_rows, net.dtype)

    with _run_folder(out, dataset.name, overwrite) as folder:
        with _board(tensorboard, folder, X, y, settings) as callbacks:
            history = _fit(net, X, y, settings, callbacks, verbose=not as_json)
        fresh_X, fresh_y, held_out_name = _held_out(dataset, test_rows, net.dtype)
        score = "accuracy" if dataset.task == "classification" else "r2"
        result: dict[str, Any] = {
            "data": settings.data,
            "task": dataset.task,
            "layer_sizes": list(net.layer_sizes),
            "backend": net.backend,
            "dtype": net.dtype.name,
            "samples": len(X),
            "epochs": history.epochs,
            "steps": history.steps,
            "stopped": history.stopped,
            "loss": net.loss(X, y),
            score: net.score(X, y),
            "held_out": held_out_name,
            f"held_out_{score}": net.score(fresh_X, fresh_y) if len(fresh_X) else None,
            "seconds": history.seconds,
            "compile_seconds": history.compile_seconds,
            "steps_per_second": history.steps_per_second if history.steps else None,
        }
        if history.best_epoch is not None:
            result["best_epoch"] = history.best_epoch + 1
        training = {
            "settings": settings.model_dump(exclude_none=True),
            "features": list(dataset.feature_names),
            "target": dataset.target_name,
            "scale": dataset.scale,
            "results": {k: v for k, v in result.items() if isinstance(v, int | float | str)},
        }
        storage.save(net, folder / MODEL_FILE, training=training)
        _write_text(folder / "settings.toml", settings.to_toml())
        _write_history(folder / "history.csv", history)
        pictures = _draw_run(folder, net, dataset, history, X, y, result, score)
    result["folder"] = str(folder)
    result["files"] = [MODEL_FILE, "settings.toml", "history.csv", *pictures]
    if as_json:
        _print_json(result)
    else:
        _print_training(result, score)
    if history.stopped == "interrupted":
        raise typer.Exit(INTERRUPTED)


def _given(ctx: typer.Context) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings from the command line and from the environment."""
    from fastnn.settings import TrainSettings

    flags: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    for name in TrainSettings.model_fields:
        value = ctx.params.get(name)
        source = ctx.get_parameter_source(name)
        if value is not None and source is not None:
            value = value.value if isinstance(value, Enum) else value
            (environment if source.name == "ENVIRONMENT" else flags)[name] = value
    return flags, environment


def _split(dataset: Dataset, fraction: float | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train with and rows held out, where the data have no other held-out part."""
    import numpy as np

    from fastnn.datasets import train_test_split

    if fraction is None:
        fraction = 0.0 if dataset.draw is not None or dataset.X_test is not None else 0.2
    if not 0 <= fraction < 1:
        raise ValueError(f"test must be a share in [0, 1); got {fraction!r}")
    rows = np.arange(len(dataset.X))
    if not fraction:
        return rows, rows[:0]
    stratify = dataset.task == "classification"
    return train_test_split(dataset.y, fraction, seed, stratify=stratify)


def _part(dataset: Dataset, rows: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Some rows of the data, as the network takes them."""
    X = dataset.X if len(rows) == len(dataset.X) else dataset.X[rows]
    return dataset.inputs(X, dtype), dataset.y[rows]


def _held_out(
    dataset: Dataset, test_rows: np.ndarray, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, str]:
    """Samples that training has not seen, and what they are."""
    if len(test_rows):
        X, y = _part(dataset, test_rows, dtype)
        return X, y, f"{len(y):,} samples set aside"
    if dataset.X_test is not None and dataset.y_test is not None:
        X, y = dataset.inputs(dataset.X_test, dtype), dataset.y_test
        return X, y, f"test set of {len(y):,}"
    if dataset.draw is not None:
        X, y = dataset.draw(N_FRESH, FRESH_SEED)
        y = y.astype(dataset.y.dtype)
        return dataset.inputs(X, dtype), y, f"{len(y):,} fresh points"
    return dataset.inputs(dataset.X[:0], dtype), dataset.y[:0], "none"


def _make_network(dataset: Dataset, settings: TrainSettings) -> Network:
    """The network for these data, untrained."""
    import numpy as np

    from fastnn.network import Network

    if dataset.task == "regression":
        n_outputs = 1
    else:
        n_classes = len(np.unique(dataset.y))
        n_outputs = 1 if settings.loss == "binary_cross_entropy" else n_classes
        if n_classes < 2:
            raise ValueError(f"target {dataset.target_name!r} has a single class")
        if n_outputs == 1 and n_classes > 2:
            raise ValueError(f"binary_cross_entropy is for 2 classes; there are {n_classes}")
    if (dataset.task == "regression") != (settings.loss in codes.REGRESSION):
        raise ValueError(f"the loss {settings.loss} is not one of {dataset.task}")
    activation, dropout = settings.activation, settings.dropout
    return Network(
        [dataset.X.shape[1], *settings.hidden, n_outputs],
        activation=activation[0] if len(activation) == 1 else activation,
        alpha=settings.alpha,
        loss=settings.loss,
        label_smoothing=settings.label_smoothing or 0.0,
        quantile=0.5 if settings.quantile is None else settings.quantile,
        delta=1.0 if settings.delta is None else settings.delta,
        l2=settings.l2,
        dropout=(dropout or [0.0])[0] if len(dropout) < 2 else dropout,
        initializer=settings.initializer,
        standardize=settings.standardize,
        backend=settings.backend,
        dtype=settings.dtype,
        random_state=settings.seed,
        n_threads=settings.threads,
    )


def _fit(
    net: Network,
    X: np.ndarray,
    y: np.ndarray,
    settings: TrainSettings,
    callbacks: Sequence[Any],
    verbose: bool,
) -> History:
    """Train as the settings say."""
    from fastnn.training.history import EarlyStopping

    return net.fit(
        X,
        y,
        optimizer=settings.make_optimizer(),
        epochs=settings.epochs,
        batch_size=settings.batch_size or None,
        validation_fraction=settings.validation,
        early_stopping=EarlyStopping(settings.patience) if settings.early_stopping else None,
        callbacks=callbacks,
        verbose=verbose and sys.stderr.isatty(),
    )


@contextlib.contextmanager
def _board(
    parent: Path | None, run: Path, X: np.ndarray, y: np.ndarray, settings: TrainSettings
) -> Any:
    """The callbacks that write summaries of a run, if they are wanted."""
    if parent is None:
        yield []
        return
    from fastnn.tensorboard import TensorBoard

    text = settings.model_dump(exclude_none=True)
    with TensorBoard(parent / run.resolve().name, X, y, settings=text) as board:
        yield [board]


@contextlib.contextmanager
def _run_folder(out: Path | None, name: str, overwrite: bool) -> Any:
    """A new folder for a run; gone again if nothing came to lie in it."""
    if out is not None:
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out {out}: not a folder")
        if out.is_dir() and any(out.iterdir()) and not overwrite:
            raise ValueError(f"--out {out}: has files already; choose another or add --overwrite")
        folder, created = out, [path for path in (out, *out.parents) if not path.exists()]
        out.mkdir(parents=True, exist_ok=True)
    else:
        runs, number = Path("runs"), 1
        created = [] if runs.exists() else [runs]
        runs.mkdir(exist_ok=True)
        while True:
            folder = runs / f"{name}-{number}"
            try:
                folder.mkdir()
                break
            except FileExistsError:
                number += 1
        created.insert(0, folder)
    try:
        yield folder
    except BaseException:
        with contextlib.suppress(OSError):  # not empty
            for path in created:
                path.rmdir()
        raise


def _write_text(path: Path, text: str) -> None:
    from fastnn.datasets import write_atomically

    write_atomically(path, text.encode("utf-8"))


def _write_history(path: Path, history: History) -> None:
    """One line an epoch, every digit kept."""
    columns = {name: values.tolist() for name, values in history.to_dict().items()}
    lines = [",".join(columns)]
    lines += [",".join(map(repr, row)) for row in zip(*columns.values(), strict=True)]
    _write_text(path, "\n".join(lines) + "\n")


def _draw_run(
    folder: Path,
    net: Network,
    dataset: Dataset,
    history: History,
    X: np.ndarray,
    y: np.ndarray,
    result: dict[str, Any],
    score: str,
) -> list[str]:
    """The pictures of a run; returns their file names."""
    from fastnn.plots import decision_boundary, loss_curve

    files = []
    title = f"{dataset.name}: {_describe_layers(net)}"
    if net.n_features == 2:
        held_out = result[f"held_out_{score}"]
        text = f"{title}\n{_score_name(score)} {_percent(result[score], score)}"
        if held_out is not None:
            text += f", held out {_percent(held_out, score)}"
        with _figure(folder / "decision_boundary.png", (6.4, 5.0)) as ax:
            names = dataset.feature_names
            decision_boundary(net, X, y, ax=ax, feature_names=names, title=text)
        files.append("decision_boundary.png")
    if history.epochs:
        with _figure(folder / "loss.png", (6.4, 4.0)) as ax:
            loss_curve(history, ax=ax, title=title)
        files.append("loss.png")
    return files


@contextlib.contextmanager
def _figure(path: Path, size: tuple[float, float]) -> Any:
    """Axes of a figure that is written at the end; no window, no pyplot."""
    import io

    from matplotlib.figure import Figure

    from fastnn.datasets import write_atomically

    figure = Figure(figsize=size, dpi=150, layout="constrained")
    yield figure.subplots()
    contents = io.BytesIO()
    figure.savefig(contents, format=path.suffix[1:].lower())
    write_atomically(path, contents.getvalue())


# --- predict, evaluate, plot --------------------------------------------------


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help=_MODEL)],
    data: Annotated[str, typer.Argument(metavar="DATA", help=f"{_DATA} No targets needed.")],
    out: Annotated[
        Path | None, typer.Option(help="CSV file; default: standard output.", show_default=False)
    ] = None,
    proba: Annotated[
        bool, typer.Option("--proba", help="Probabilities of the classes too.")
    ] = False,
    data_dir: Annotated[str | None, _option("data_dir", "Folder with the files of mnist.")] = None,
    backend: Annotated[_Backend, _option("backend", "Which kernels to use.")] = _Backend.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Predict: one line of CSV for every row of DATA.

    A file's columns are found by the names the model was trained with. Of mnist it is the
    test set that is predicted.
    """
    from fastnn import datasets

    net, description = _open_model(model, backend)
    training = description.training
    if data in datasets.BUILT_IN:
        dataset = datasets.load(data, data_dir=data_dir)
        X = dataset.X if dataset.X_test is None else dataset.X_test
    else:
        X = datasets.load_features(data, _feature_names(net, training))
    X = datasets.scaled(X, float(training.get("scale", 1.0)), net.dtype)
    predicted = net.predict(X)
    columns: dict[str, list] = {}
    for k, column in enumerate(predicted.reshape(len(X), -1).T):
        columns["prediction" if predicted.ndim == 1 else f"prediction_{k}"] = column.tolist()
    if proba:
        probabilities = net.predict_proba(X)
        labels = range(probabilities.shape[1]) if net.classes_ is None else net.classes_
        for label, column in zip(labels, probabilities.T, strict=True):
            columns[f"probability_{label}"] = column.tolist()
    text = json.dumps(columns) if as_json else _csv_text(columns)
    if out is not None:
        if out.is_dir():
            raise ValueError(f"--out {out}: is a folder")
        _write_text(out, text.rstrip("\n") + "\n")
    else:
        sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help=_MODEL)],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help=f"{_DATA} Default: what it was trained on.", show_default=False
        ),
    ] = None,
    target: Annotated[
        str | None, _option("target", "Column of the targets; default: as in training.")
    ] = None,
    data_dir: Annotated[str | None, _option("data_dir", "Folder with the files of mnist.")] = None,
    backend: Annotated[_Backend, _option("backend", "Which kernels to use.")] = _Backend.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Loss and score of a model.

    A file that is named is taken whole. Of built-in data, and without DATA, it is what
    training has not seen: the test set, fresh points, or the samples set aside.
    """
    net, description = _open_model(model, backend)
    dataset = _load_for(net, description, data, target, data_dir)
    X, y, what = _unseen(net, description, dataset, data)
    score = "r2" if net.loss_name in codes.REGRESSION else "accuracy"
    result = {
        "model": str(_model_path(model)),
        "data": dataset.name,
        "what": what,
        "samples": len(X),
        "backend": net.backend,
        "loss": net.loss(X, y),
        score: net.score(X, y),
    }
    if as_json:
        _print_json(result)
        return
    _print_table(
        [
            ("model", result["model"]),
            ("data", f"{dataset.name} ({what})"),
            ("backend", f"{net.backend}, {net.dtype.name}"),
            ("loss", f"{result['loss']:.6f}"),
            (_score_name(score), _percent(result[score], score)),
        ]
    )


@app.command()
def plot(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help=_MODEL)],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help=f"{_DATA} Default: what it was trained on.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Picture (.png, .svg, .pdf); default: next to the model.", show_default=False
        ),
    ] = None,
    target: Annotated[
        str | None, _option("target", "Column of the targets; default: as in training.")
    ] = None,
    data_dir: Annotated[str | None, _option("data_dir", "Folder with the files of mnist.")] = None,
    backend: Annotated[_Backend, _option("backend", "Which kernels to use.")] = _Backend.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw the decision boundary of a model with two features."""
    from fastnn.plots import decision_boundary

    net, description = _open_model(model, backend)
    if net.n_features != 2:
        raise ValueError(
            f"a decision boundary can be drawn over 2 features; the network has {net.n_features}"
        )
    dataset = _load_for(net, description, data, target, data_dir)
    X = dataset.inputs(dataset.X, net.dtype)
    score = "r2" if net.loss_name in codes.REGRESSION else "accuracy"
    value = net.score(X, dataset.y)
    if out is None:
        out = _model_path(model).parent / f"plot_{dataset.name}.png"
    elif out.is_dir() or out.suffix.lower() not in (".png", ".svg", ".pdf", ".jpg", ".webp"):
        raise ValueError(f"--out {out}: the file's name must end in .png, .svg or .pdf")
    title = (
        f"{dataset.name}: {_describe_layers(net)}\n{_score_name(score)} {_percent(value, score)}"
    )
    with _figure(out, (6.4, 5.0)) as ax:
        decision_boundary(
            net, X, dataset.y, ax=ax, feature_names=dataset.feature_names, title=title
        )
    if as_json:
        _print_json({"file": str(out), "data": dataset.name, score: value})
    else:
        _print_table([("picture", str(out)), (_score_name(score), _percent(value, score))])


def _model_path(model: Path) -> Path:
    """The file itself, or the one in a run folder."""
    return model / MODEL_FILE if model.is_dir() else model


def _open_model(model: Path, backend: Enum) -> tuple[Network, Description]:
    """The network, an estimator's too, and what its file says about it."""
    from fastnn import storage
    from fastnn.network import Network

    path = _model_path(model)
    net, description = storage.load(path, backend=backend.value), storage.describe(path)
    if not isinstance(net, Network):
        estimator, net = net, net._network()
        if description.fitted.target_type in ("binary", "multiclass"):
            classes = estimator.classes_
            # one that was fitted to a single class knows no other
            net.classes_ = classes if len(classes) > 1 else classes.repeat(2)
        names = description.fitted.feature_names
        if names is not None:
            training = {"features": names, **description.training}
            description = description.model_copy(update={"training": training})
    return net, description


def _feature_names(net: Network, training: dict[str, Any]) -> list[str]:
    """The columns that the network was trained with."""
    names = training.get("features")
    if isinstance(names, list) and len(names) == net.n_features:
        return [str(name) for name in names]
    return [f"x{k}" for k in range(net.n_features)]


def _training_settings(description: Description) -> dict[str, Any]:
    settings = description.training.get("settings")
    return settings if isinstance(settings, dict) else {}


def _load_for(
    net: Network,
    description: Description,
    data: str | None,
    target: str | None,
    data_dir: str | None,
) -> Dataset:
    """Data with targets for a trained network."""
    from dataclasses import replace

    from fastnn import datasets

    training, settings = description.training, _training_settings(description)
    if data is None:
        data = settings.get("data")
        if not isinstance(data, str):
            raise ValueError("the model does not say what it was trained on; name the data")
    task = "regression" if net.loss_name in codes.REGRESSION else "classification"
    if data in datasets.BUILT_IN:
        dataset = datasets.load(data, target=target, task=task, data_dir=data_dir)
    else:
        features = training.get("features")
        known = isinstance(features, list) and len(features) == net.n_features
        if target is None:
            target = training.get("target") if isinstance(training.get("target"), str) else None
        dataset = datasets.load(
            data, target=target, task=task, features=features if known else None
        )
        dataset = replace(dataset, scale=float(training.get("scale", 1.0)))
    if dataset.X.shape[1] != net.n_features:
        raise ValueError(
            f"{data} has {dataset.X.shape[1]} features; the network expects {net.n_features}"
        )
    return dataset


def _unseen(
    net: Network, description: Description, dataset: Dataset, data: str | None
) -> tuple[np.ndarray, np.ndarray, str]:
    """What training has not seen of these data; all where that is not known."""
    import numpy as np

    from fastnn import datasets

    settings = _training_settings(description)
    rows = np.arange(0)
    if data is None or (data in datasets.BUILT_IN and data == settings.get("data")):
        rows = _split(dataset, settings.get("test"), settings.get("seed") or 0)[1]
    X, y, what = _held_out(dataset, rows, net.dtype)
    if len(X):
        return X, y, what
    return dataset.inputs(dataset.X, net.dtype), dataset.y, f"all {len(dataset.X):,} samples"


# --- info ---------------------------------------------------------------------


@app.command()
def info(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Versions, backends, vector level, BLAS and threads, cache folder."""
    import importlib.metadata
    import platform

    import numpy as np  # noqa: F401 (loads its BLAS)
    import scipy.linalg  # noqa: F401 (loads its own)
    from threadpoolctl import threadpool_info

    from fastnn import backends
    from fastnn.datasets import cache_dir

    versions = {"fastnn": fastnn.__version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "numba", "scikit-learn", "matplotlib", "tensorflow"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    available = {name: backends.why_missing(name) for name in backends.BACKENDS}
    level = None
    if available["cython"] is None:
        try:
            level = getattr(backends.load("cython"), "LEVEL", None)
        except ImportError as error:
            available["cython"] = str(error)
    blas = [
        {
            "library": pool.get("internal_api"),
            "version": pool.get("version"),
            "architecture": pool.get("architecture"),
            "threads": pool.get("num_threads"),
            "of": "scipy" if "scipy" in Path(pool["filepath"]).parts[-2] else "numpy",
        }
        for pool in threadpool_info()
        if pool.get("user_api") == "blas"
    ]
    result = {
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": usable_cores(),
        "backends": {
            name: {"available": reason is None, "reason": reason}
            for name, reason in available.items()
        },
        "auto": next(name for name, reason in available.items() if reason is None),
        "vector_level": level if level is None else str(level),
        "blas": blas,
        "cache": str(cache_dir()),
    }
    if as_json:
        _print_json(result)
        return
    rows = [(name, version or "not installed") for name, version in versions.items()]
    rows.append(("machine", f"{result['machine']}, {result['cores']} cores"))
    for name, reason in available.items():
        default = " (taken by auto)" if name == result["auto"] else ""
        rows.append((f"backend {name}", f"there{default}" if reason is None else reason))
    rows.append(("vector level", result["vector_level"] or "chosen by the compiler at run time"))
    for pool in blas:
        text = f"{pool['library']} {pool['version']}, {pool['architecture']}"
        rows.append((f"BLAS of {pool['of']}", f"{text}, {pool['threads']} threads"))
    rows.append(("cache folder", result["cache"]))
    _print_table(rows)


# --- what is printed ----------------------------------------------------------


def _print_json(result: dict[str, Any]) -> None:
    """One object on one line; what is not finite becomes null."""
    import math

    clean = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in result.items()
    }
    sys.stdout.write(json.dumps(clean, allow_nan=False) + "\n")
    sys.stdout.flush()


def _print_training(result: dict[str, Any], score: str) -> None:
    """The result of a run as a table."""
    name, held_out = _score_name(score), result[f"held_out_{score}"]
    sizes = "-".join(map(str, result["layer_sizes"]))
    stopped = "" if result["stopped"] == "epochs" else f", ended by {result['stopped']}"
    if result["stopped"] == "interrupted":
        stopped = ", interrupted"
    best = f", best at {result['best_epoch']:,}" if "best_epoch" in result else ""
    rate = result["steps_per_second"]
    compiling = ""
    if result["compile_seconds"] >= 1:
        compiling = f", after {result['compile_seconds']:.1f} of compiling, this once"
    _print_table(
        [
            ("data", f"{result['data']}, {result['samples']:,} training samples"),
            ("network", f"{sizes}, {result['backend']}, {result['dtype']}"),
            ("epochs", f"{result['epochs']:,}{stopped}{best}"),
            ("training loss", f"{result['loss']:.6f}"),
            (f"training {name}", _percent(result[score], score)),
            (
                f"held-out {name}",
                "nothing was held out"
                if held_out is None
                else f"{_percent(held_out, score)} ({result['held_out']})",
            ),
            ("seconds", f"{result['seconds']:.3f}{compiling}"),
            ("steps per second", "-" if rate is None else f"{rate:,.0f}"),
            ("folder", result["folder"]),
            ("files", ", ".join(result["files"])),
        ]
    )


def _print_table(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe or a file: one line a row
        width = max(len(name) for name, _ in rows)
        sys.stdout.write("".join(f"{name:<{width}}  {value}\n" for name, value in rows))
        sys.stdout.flush()
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value))
    console.print(table)


def _csv_text(columns: dict[str, list]) -> str:
    """Columns as CSV."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _score_name(score: str) -> str:
    return "R^2" if score == "r2" else score


def _percent(value: float, score: str) -> str:
    return f"{value:.4f}" if score == "r2" else f"{value:.2%}"


def _describe_layers(net: Network) -> str:
    """Sizes and activations, briefly."""
    sizes = net.layer_sizes
    text = "-".join(map(str, sizes)) if len(sizes) <= 8 else f"{len(sizes) - 1} layers"
    names = list(dict.fromkeys(net.activations))
    return f"{text} {', '.join(names)}" if names else text


# --- entry point --------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; default: those of the process.

    Returns
    -------
    int
        0, 2 for bad input (one line on standard error), 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = app(arguments, prog_name="fastnn", standalone_mode=False)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except OSError as error:
        known = error.filename is not None and error.strerror
        return _complain(f"{error.filename}: {error.strerror}" if known else str(error), BAD_INPUT)
    except (ValueError, ImportError, DivergenceError) as error:
        return _complain(str(error) or type(error).__name__, BAD_INPUT)
    except MemoryError:
        return _complain("not enough memory", BAD_INPUT)
    except Exception as error:
        # Typer's own errors: it brings its own Click, so they have no class to be named here.
        if not hasattr(error, "format_message"):
            if type(error).__name__ == "Abort":
                return _complain("interrupted", INTERRUPTED)
            raise
        return _complain(error.format_message().replace("Value error, ", ""), BAD_INPUT)
    if code == INTERRUPTED:  # Typer makes this of Ctrl-C
        return _complain("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    """One line on standard error."""
    sys.stderr.write(f"fastnn: {' '.join(message.split())}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
