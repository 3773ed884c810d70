"""The command ``fastnn cnn``: train, evaluate, predict, compare, export.

TensorFlow is imported by the commands, not here: the help must come at once.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from fastnn import cli
from fastnn.cnn import settings as choices
from fastnn.cnn.settings import Settings

app = typer.Typer(
    name="cnn",
    no_args_is_help=True,
    help="The convolutional network for MNIST, with TensorFlow.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _choice(name: str, values: Sequence[str]) -> type[Enum]:
    return Enum(name, {value: value for value in values}, type=str)


_Preset = _choice("Preset", list(choices.PRESETS))
_Data = _choice("Data", choices.DATA)
_Activation = _choice("Activation", choices.ACTIVATIONS)
_Init = _choice("Init", choices.INITIALIZERS)
_Summaries = _choice("Summaries", choices.SUMMARIES)
_Optimizer = _choice("Optimizer", list(choices.LEARNING_RATES))

_RUN = "Run folder, or the model file in it."
_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_DATA_DIR = Annotated[
    str | None,
    typer.Option(help="Folder with the files of mnist; default: FASTNN_DATA_DIR, the cache."),
]


def _option(text: str, *flags: str) -> Any:
    return typer.Option(*flags, help=text, show_default=False)


@app.command()
def train(
    ctx: typer.Context,
    preset: Annotated[
        _Preset | None,
        _option(
            "course: 5,500 steps of Adam (the default); fast: its accuracy many times sooner; "
            "accurate: fewer errors, still sooner."
        ),
    ] = None,
    data: Annotated[
        _Data | None, _option("mnist (the default), or scikit-learn's 1,797 digits enlarged.")
    ] = None,
    data_dir: _DATA_DIR = None,
    activation: Annotated[_Activation | None, _option("Default: relu.")] = None,
    init: Annotated[_Init | None, _option("How weights are drawn.")] = None,
    optimizer: Annotated[_Optimizer | None, _option("Update rule.")] = None,
    learning_rate: Annotated[
        float | None, _option("Step size; default: one that suits the update rule.")
    ] = None,
    batch_size: Annotated[int | None, _option("Images a step.")] = None,
    steps: Annotated[int | None, _option("Steps.")] = None,
    epochs: Annotated[float | None, _option("Passes over the data, instead of --steps.")] = None,
    dropout: Annotated[float | None, _option("Rate after the dense layer.")] = None,
    label_smoothing: Annotated[
        float | None, _option("Share of each target for all digits alike.")
    ] = None,
    seed: Annotated[int | None, _option("Of weights, shuffling, dropout.")] = None,
    summaries: Annotated[
        _Summaries | None,
        _option("For TensorBoard: off, light, full; default: full, light for fast."),
    ] = None,
    out: Annotated[
        Path | None, _option("Folder for the results; default: runs/cnn-NAME-N.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into --out even if it has files.")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run from its last checkpoint; --steps for more than it has.",
            show_default=False,
        ),
    ] = None,
    as_json: _JSON = False,
) -> None:
    """Train the network and keep it.

    Ctrl-C ends training with a checkpoint.
    """
    given = {
        name: value.value if isinstance(value, Enum) else value
        for name, value in ctx.params.items()
        if name in Settings.model_fields and value is not None
    }
    if resume is not None:
        _only_resume(ctx)
        from fastnn.cnn.training import resume as go_on

        result = go_on(resume, steps=steps, quiet=as_json)
    else:
        if data_dir is not None:
            given["data_dir"] = str(Path(data_dir).resolve())
        settings = choices.check(given)
        settings.completed(1)  # complain before TensorFlow is imported
        from fastnn.cnn import data as images
        from fastnn.cnn.training import train as start

        loaded = images.load(settings.data, settings.data_dir)
        with cli._run_folder(out, f"cnn-{settings.data}", overwrite) as folder:
            result = start(settings, folder, images=loaded, quiet=as_json)
    if as_json:
        cli._print_json(result)
    else:
        print(f"folder: {result['folder']}")
    if result["stopped"] == "interrupted":
        if not as_json:
            print(f"go on with: fastnn cnn train --resume {result['folder']}")
        raise typer.Exit(cli.INTERRUPTED)


def _only_resume(ctx: typer.Context) -> None:
    """Raise if a setting is given that the run has already."""
    for name in [*Settings.model_fields, "out", "overwrite"]:
        if name == "steps" or name not in ctx.params:
            continue
        if getattr(ctx.get_parameter_source(name), "name", None) == "COMMANDLINE":
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"--resume goes on with the run's own settings; leave out {flag}")


@app.command()
def board(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder, or one that holds several runs.")
    ],
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Default: the first free from 6006 on.")
    ] = None,
) -> None:
    """Start TensorBoard over the summaries of runs; Ctrl-C ends it."""
    import threading

    from fastnn.cnn.board import start

    print(f"TensorBoard: {start(run, port)} (Ctrl-C ends it)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help=_RUN)],
    data: Annotated[
        _Data | None, _option("Whose test images; default: those it was trained for.")
    ] = None,
    data_dir: _DATA_DIR = None,
    as_json: _JSON = False,
) -> None:
    """Accuracy on validation and test images."""
    from fastnn.cnn import data as images
    from fastnn.cnn import runs

    path = runs.model_path(run)
    network = runs.load(path)
    name = data.value if data is not None else network.settings.data
    loaded = images.load(name, data_dir or network.settings.data_dir)
    result: dict[str, Any] = {"model": str(path), "data": name}
    for part in ("validation", "test"):
        result[f"{part}_accuracy"] = network.score(*getattr(loaded, part))
    if as_json:
        cli._print_json(result)
        return
    cli._print_table(
        [
            ("model", result["model"]),
            ("data", name),
            ("validation accuracy", f"{result['validation_accuracy']:.2%}"),
            ("test accuracy", f"{result['test_accuracy']:.2%}"),
        ]
    )
    sys.stdout.flush()


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help=_RUN)],
    files: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="PNG or JPEG files, a digit in each.")
    ],
    as_json: _JSON = False,
) -> None:
    """Digits in pictures of any size and either polarity, with their probabilities.

    One line of CSV for every IMAGE.
    """
    import numpy as np

    from fastnn.cnn import images, runs

    path = runs.model_path(run)
    pictures = np.array([images.read(file) for file in files])
    probabilities = runs.load(path).predict_proba(pictures)
    columns = {
        "image": [str(file) for file in files],
        "digit": probabilities.argmax(axis=1).tolist(),
        "probability": probabilities.max(axis=1).tolist(),
    }
    columns |= {f"probability_{k}": column.tolist() for k, column in enumerate(probabilities.T)}
    if as_json:
        cli._print_json(columns)
        return
    for name, values in columns.items():
        if name.startswith("probability"):
            columns[name] = [f"{value:.4f}" for value in values]
    sys.stdout.write(cli._csv_text(columns))
    sys.stdout.flush()


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help=_RUN)],
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .keras or .onnx.")],
) -> None:
    """Write the network as a model of Keras or ONNX."""
    from fastnn.cnn import runs

    path = runs.model_path(run)
    network = runs.load(path)
    from fastnn.cnn.export import export as write

    write(network, out)
    print(f"written: {out}")


_VARIED = (
    "preset", "activation", "init", "optimizer", "learning_rate", "batch_size", "dropout",
    "label_smoothing",
)  # fmt: skip


@app.command()
def compare(
    ctx: typer.Context,
    activation: Annotated[str | None, _option("Activations, as relu,tanh.")] = None,
    init: Annotated[str | None, _option("Initialisers.")] = None,
    optimizer: Annotated[str | None, _option("Update rules.")] = None,
    learning_rate: Annotated[str | None, _option("Learning rates, as 1e-4,3e-4.")] = None,
    batch_size: Annotated[str | None, _option("Batch sizes.")] = None,
    dropout: Annotated[str | None, _option("Rates of dropout.")] = None,
    label_smoothing: Annotated[str | None, _option("Label smoothing, as 0,0.1.")] = None,
    preset: Annotated[str | None, _option("Presets; default: course.")] = None,
    data: Annotated[_Data | None, _option("mnist (the default) or digits.")] = None,
    data_dir: _DATA_DIR = None,
    steps: Annotated[int | None, _option("Steps of every run.")] = None,
    epochs: Annotated[float | None, _option("Passes over the data, instead of --steps.")] = None,
    summaries: Annotated[
        _Summaries, typer.Option(help="For TensorBoard, with the table of HParams.")
    ] = _Summaries.light,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each combination.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/cnn-compare"),
    as_json: _JSON = False,
) -> None:
    """Train every combination of some settings with several seeds, and compare them.

    What is in --out already is not trained again, so that a comparison can be stopped and
    extended.
    """
    from fastnn.cnn import compare as comparison

    fixed: dict[str, Any] = {"data_dir": data_dir, "steps": steps, "epochs": epochs}
    fixed["data"] = data.value if data is not None else None
    fixed["summaries"] = summaries.value
    fixed = {name: value for name, value in fixed.items() if value is not None}
    varied = {}
    for name in _VARIED:
        if (text := ctx.params[name]) is None:
            continue
        parts = [choices.check({name: part.strip()}) for part in text.split(",")]
        values = list(dict.fromkeys(getattr(part, name) for part in parts))
        if len(values) > 1:
            varied[name] = values
        else:
            fixed[name] = values[0]
    comparison.grid(fixed, varied)  # complain before anything is written
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: not a folder")
    cells = comparison.run(fixed, varied, seeds, out, lambda line: None if as_json else print(line))
    columns = comparison.table(cells)
    cli._write_text(out / comparison.TABLE_FILE, cli._csv_text(columns))
    with cli._figure(out / comparison.FIGURE_FILE, (8.0, 1.4 + 0.4 * len(cells))) as ax:
        comparison.draw(cells, ax)
    files = [comparison.TABLE_FILE, comparison.FIGURE_FILE]
    if as_json:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        for row in rows:
            if row["standard_error"] != row["standard_error"]:
                row["standard_error"] = None
        cli._print_json({"table": rows, "folder": str(out), "files": files})
        return
    digits = {"mean": ".4f", "standard_error": ".4f", "seconds": ".1f"}
    texts = {
        name: [name, *(format(value, digits.get(name, "")) for value in values)]
        for name, values in columns.items()
    }
    widths = [max(map(len, values)) for values in texts.values()]
    for row in zip(*texts.values(), strict=True):
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    print(f"folder: {out} ({', '.join(files)})")
