"""``fastnn export``."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastnn.cli.models import model_path, open_table_model, scale_of
from fastnn.cli.options import Backend, JsonFlag, ModelArgument, QuietFlag, choice, option
from fastnn.cli.output import print_json, print_pairs
from fastnn.export.files import TARGETS, write
from fastnn.export.plain import describe

if TYPE_CHECKING:  # a choice that is computed

    class _Target(Enum): ...

else:
    _Target = choice("Target", list(TARGETS))


def command(
    model: ModelArgument,
    to: Annotated[
        _Target,
        option("--to", f"What to write: {', '.join(TARGETS)}.", shown=False, metavar="NAME"),
    ],
    out: Annotated[
        Path | None, option("--out", "File to write.", "next to the model, with its name")
    ] = None,
    overwrite: Annotated[bool, option("--overwrite", "Write over a file that exists.")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Write a model as ONNX, C99, Keras, PyTorch (state_dict) or scikit-learn (skops) file.

    The export takes the features as the data have them, as `fastnn predict` does: what
    training divided by or standardised is part of it.
    """
    trained, description, encoding = open_table_model(model, Backend.auto)
    path = model_path(model).with_suffix(TARGETS[to.value][0]) if out is None else out
    scale = scale_of(description)
    exported = trained if scale == 1.0 else describe(trained).divided(scale)
    what = write(exported, path, to.value, overwrite=overwrite)
    if encoding is not None and not (quiet or as_json):
        names = ", ".join(encoding.names[:4])
        sys.stderr.write(
            f"fastnn: the export takes the {encoding.n_outputs} encoded columns ({names}, ...), "
            "which fastnn.tables makes of a table\n"
        )
    if as_json:
        print_json({"file": str(path), "to": to.value, "what": what})
    elif quiet:
        print(path)
    else:
        print_pairs([("file", str(path)), ("format", what)])
