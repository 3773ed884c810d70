"""``fastnn export``."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastnn.cli.models import model_path, open_table_model, scale_of
from fastnn.cli.options import Backend, JsonFlag, ModelArgument, QuietFlag, choice, option
from fastnn.cli.output import print_json, print_pairs
from fastnn.cli.tables import MAX_ROWS
from fastnn.export.files import TARGETS, target_of, write
from fastnn.export.from_models import describe
from fastnn.export.table import describe_table, what_is_missing, what_to_pass
from fastnn.network.ensemble import Ensemble

TABLES = ("onnx", "c")  # formats whose exports take the original columns of a table

if TYPE_CHECKING:  # type checkers cannot evaluate the dynamically created enum

    class _Target(Enum): ...

else:
    _Target = choice("Target", list(TARGETS))


def command(
    model: ModelArgument,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Output file.", show_default="as --out"),
    ] = None,
    to: Annotated[
        _Target | None,
        option("--to", f"Format: {', '.join(TARGETS)}.", "by the extension of FILE"),
    ] = None,
    out: Annotated[
        Path | None, option("--out", "Output file.", "beside the model, with its name")
    ] = None,
    overwrite: Annotated[bool, option("--overwrite", "Replace an existing file.")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Convert a model to ONNX, C99, Keras, PyTorch (state_dict) or scikit-learn (skops).

    The exported model takes the original features, as `fastnn predict` does: scaling and
    standardisation are included. For tables with text, dates or gaps, ONNX and C take the original
    columns, the other formats the encoded ones.
    """
    if file is not None and out is not None:
        raise ValueError(f"give FILE or --out, not both; got FILE {file} and --out {out}")
    out = file if out is None else out
    if to is None and out is None:
        raise ValueError(f"name a FILE, or what to write: --to {'|'.join(TARGETS)}")
    trained, description, encoding = open_table_model(model, Backend.auto)
    target = to.value if to is not None else target_of(Path(str(out)))
    if isinstance(trained, Ensemble) and target not in TABLES:
        raise ValueError(
            f"{model_path(model)}: an ensemble of {len(trained)} networks and {target} has one; "
            "ONNX and C average them (one network: fastnn train without --members, fastnn search "
            "--ensemble 0)"
        )
    path = model_path(model).with_suffix(TARGETS[target][0]) if out is None else out
    exported = _with_scale(trained, scale_of(description))
    takes_table = False
    if encoding is not None and target in TABLES:
        from fastnn.tables import TableModel

        takes_table, exported = True, TableModel(encoding, trained)
    if target == "keras" and os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        with contextlib.suppress(ImportError):
            import fastnn.cnn.runtime  # noqa: F401 (TensorFlow without its messages)
    what = write(exported, path, target, overwrite=overwrite)
    if encoding is not None and not takes_table and not (quiet or as_json):
        names = ", ".join(encoding.names[:4])
        sys.stderr.write(
            f"fastnn: the export takes the {encoding.n_outputs} encoded columns ({names}, ...), "
            "what fastnn.load(MODEL).encoding.transform(table) gives; ONNX and C take the table\n"
        )
    if trained.spec.outputs_per_target > 1 and not (quiet or as_json):
        outputs = "mean and logarithm of the variance"
        if isinstance(trained.quantile, tuple) and trained.loss_name == "quantile":
            outputs = f"the quantiles {', '.join(map(str, trained.quantile))}, which may cross"
        sys.stderr.write(f"fastnn: the outputs are {outputs}\n")
    inputs = input_rows(exported, target) if takes_table else {}
    if as_json:
        takes = {"inputs": inputs} if takes_table else {}
        print_json({"file": str(path), "to": target, "what": what, **takes})
    elif quiet:
        print(path)
    else:
        print_pairs([("file", str(path)), ("format", what), *_printed(inputs)])


def _printed(inputs: dict[str, str]) -> list[tuple[str, str]]:
    """Rows of the output that describe the inputs of an exported table model."""
    width = max(map(len, inputs), default=0)
    rows = [("input", f"{name:<{width}}  {takes}") for name, takes in inputs.items()]
    if len(rows) > MAX_ROWS:
        rows[MAX_ROWS:] = [("input", f"and {len(rows) - MAX_ROWS} more")]
    return rows


def _with_scale(trained: Any, scale: float) -> Any:
    """The model to export, which divides its features by ``scale`` as the training did."""
    if scale == 1.0:
        return trained
    if not isinstance(trained, Ensemble):
        return describe(trained).divided(scale)
    found = describe_table(trained)
    assert found is not None
    return replace(found, members=tuple(p.divided(scale) for p in found.members))


def input_rows(model: Any, target: str) -> dict[str, str]:
    """Describe how each table column is passed to an exported table model."""
    table = describe_table(model)
    assert table is not None
    if target == "onnx":
        return {code.name: what_to_pass(code) for code in table.columns}
    rows = {
        code.name: f"numbers[{k}]{code.measured()}{IN_C[code.kind]}; "
        f"{what_is_missing(code, 'NAN')} for a missing value"
        for k, code in enumerate(table.numbers)
    }
    return rows | {
        code.name: f"codes[{k}], {_counted(code)}; -1 for a missing or other one"
        for k, code in enumerate(table.categories)
    }


def _counted(code: Any) -> str:
    """Number of categories of a column."""
    n = len(code.categories)
    return "1 category" if n == 1 else f"{n} categories"


IN_C = {
    "number": "",
    "boolean": ", 1 or 0",
    "date": ", seconds since 1970-01-01 00:00 UTC",
}
