"""The command ``fastnn cnn``: train, evaluate, predict, compare, export.

TensorFlow is imported by the commands, not here: the help must come at once.
"""

from __future__ import annotations

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
_Optimizer = _choice("Optimizer", list(choices.LEARNING_RATES))

_RUN = "Run folder, or the model file in it."
_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_DATA_DIR = Annotated[
    str | None,
    typer.Option(
        help="Folder with the files of mnist.", envvar="FASTNN_DATA_DIR", show_envvar=False
    ),
]


def _option(text: str, *flags: str) -> Any:
    return typer.Option(*flags, help=text, show_default=False)


@app.command()
def train(
    ctx: typer.Context,
    preset: Annotated[
        _Preset | None,
        _option("course: 5,500 steps of Adam (the default); fast: its accuracy many times sooner."),
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
    seed: Annotated[int | None, _option("Of weights, shuffling, dropout.")] = None,
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
