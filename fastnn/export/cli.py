"""The command ``fastnn export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastnn import cli
from fastnn.export.files import TARGETS, write
from fastnn.export.plain import describe

_Target = cli._choice("Target", list(TARGETS))


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help=cli._MODEL)],
    to: Annotated[_Target, typer.Option("--to", help="What to write.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="File; default: next to the model.", show_default=False)
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write over a file that is there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a model as ONNX, C99, Keras, PyTorch (state_dict) or scikit-learn (skops) file.

    The export takes the features as they stand in the data, as `fastnn predict` does: what
    training divided by or standardised is part of it.
    """
    trained, description = cli._open_model(model, cli._Backend.auto)
    path = cli._model_path(model).with_suffix(TARGETS[to.value][0]) if out is None else out
    scale = float(description.training.get("scale", 1.0))
    exported = trained if scale == 1.0 else describe(trained).divided(scale)
    what = write(exported, path, to.value, overwrite=overwrite)
    if as_json:
        cli._print_json({"file": str(path), "to": to.value, "what": what})
    else:
        cli._print_table([("file", str(path)), ("format", what)])
