"""``fastnn predict``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fastnn import datasets
from fastnn.cli.data import input_dtype
from fastnn.cli.files import FormatSettings
from fastnn.cli.models import feature_names, format_like, named_target, open_table_model, scale_of
from fastnn.cli.options import (
    DATA,
    Backend,
    BackendOption,
    DataDirOption,
    Given,
    JsonFlag,
    ModelArgument,
    QuietFlag,
    option,
    required,
    with_settings,
)
from fastnn.cli.output import escape_control_characters
from fastnn.cli.predicting import Predictor, columns, predict_stream, write_columns, write_json
from fastnn.cli.ranges import OutOfRangeRows
from fastnn.cli.source import path_of
from fastnn.datasets.features import describe_gaps, gaps_by_column, rows_with_gaps
from fastnn.datasets.loading import features_of
from fastnn.datasets.reading import read

if TYPE_CHECKING:
    from fastnn.network import Network
    from fastnn.storage import Description


@with_settings(FormatSettings)
def command(
    given: Given,
    model: ModelArgument,
    data: Annotated[str, required("DATA", f"{DATA} Targets are not needed.")],
    out: Annotated[
        Path | None,
        option("--out", "Output file: .csv, .tsv, .csv.gz or .parquet.", "standard output"),
    ] = None,
    append: Annotated[
        bool | None,
        typer.Option(
            "--append/--no-append",
            help="Append the predictions to the columns of DATA.",
            show_default="on for models of tables with text or gaps",
        ),
    ] = None,
    proba: Annotated[
        bool, option("--proba", "Also write the probabilities of the classes.")
    ] = False,
    data_dir: DataDirOption = None,
    backend: BackendOption = Backend.auto,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Predictions of a model, one line of CSV for each row of DATA.

    Models of tables with text, dates or gaps append the predictions to the columns of DATA
    (--no-append), predict rows with missing values, and read files of any size in parts. Other
    models write only the predictions (--append), which are empty for rows with missing values.

    Columns are matched by the names of the training data, in any order; additional columns are
    ignored. Without names they are matched by position. For mnist the test set is predicted.
    """
    net, description, encoding = open_table_model(model, backend)
    if append is None:
        append = encoding is not None
    if proba and net.is_regression:
        raise ValueError("--proba is for classification; the model is one of regression")
    if out is not None and (as_json or not append) and _is_file(data, out):
        raise ValueError(f"--out {out}: is DATA, whose columns would be lost; choose another name")
    notes: list[str] = []
    if append or encoding is not None or data == "-":
        if data in datasets.BUILT_IN:
            raise ValueError(f"{data} is built in; the model takes files (--no-append)")
        predict_stream(
            Predictor(net, description, encoding, proba),
            data,
            format_like(description, given.flags),
            out=out,
            append=append,
            as_json=as_json,
            quiet=quiet or as_json,
        )
        return
    X = _features(net, description, data, data_dir, notes, given.flags)
    ranges = OutOfRangeRows(feature_names(net, description.training))
    ranges.add(net, X)
    if text := ranges.text():
        notes.append(f"out of range: {text}")
    found = columns(net, X, proba)
    if as_json:
        write_json(found, out)
    else:
        write_columns(found, out)
    if not (as_json or quiet):
        sys.stderr.write("".join(f"fastnn: {escape_control_characters(note)}\n" for note in notes))


def _is_file(data: str, out: Path) -> bool:
    """Whether the output file is that of the data."""
    given = data not in datasets.BUILT_IN and os.path.exists(data)
    return given and out.exists() and out.samefile(data)


def _features(
    net: Network,
    description: Description,
    data: str,
    data_dir: str | None,
    notes: list[str],
    given: Mapping[str, Any],
) -> np.ndarray:
    """Load the features in the form that the network takes; append remarks to ``notes``."""
    if data in datasets.BUILT_IN:
        dataset = datasets.load(data, data_dir=data_dir)
        X = dataset.X if dataset.X_test is None else dataset.X_test
        if X.shape[1] != net.n_features:
            raise ValueError(
                f"{data} has {X.shape[1]} features; the network expects {net.n_features}"
            )
    else:
        names, target = feature_names(net, description.training), named_target(description)
        table = read(Path(path_of(data)), format_like(description, given))
        X, decided = features_of(table, names, target, "keep")
        notes += decided
        incomplete = int(rows_with_gaps(X).sum())
        if incomplete:
            found = describe_gaps(gaps_by_column(X, names))
            notes.append(
                f"no prediction for {incomplete:,} of {len(X):,} rows, which have gaps ({found})"
            )
        datasets.check_range(X, net.dtype, names)
    return datasets.scaled(X, scale_of(description), input_dtype(net))
