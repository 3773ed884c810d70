"""``fastnn predict``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from fastnn import datasets
from fastnn.cli.data import input_dtype
from fastnn.cli.files import FormatSettings, format_of
from fastnn.cli.models import feature_names, open_model, scale_of
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
from fastnn.cli.output import csv_text, meant_digits
from fastnn.cli.runs import write_text
from fastnn.cli.source import path_of
from fastnn.datasets.features import describe_gaps, gaps_by_column, rows_with_gaps

if TYPE_CHECKING:
    from fastnn.network import Network
    from fastnn.storage import Description


@with_settings(FormatSettings)
def command(
    given: Given,
    model: ModelArgument,
    data: Annotated[str, required("DATA", f"{DATA} No targets needed.")],
    out: Annotated[Path | None, option("--out", "CSV file.", "standard output")] = None,
    proba: Annotated[bool, option("--proba", "Probabilities of the classes, too.")] = False,
    data_dir: DataDirOption = None,
    backend: BackendOption = Backend.auto,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Predict: one line of CSV for every row of DATA.

    A file's columns are found by the names the model was trained with, in any order and among
    others; those of a file without names are taken in order. A row with a missing value has an
    empty prediction. Of mnist it is the test set that is predicted.
    """
    net, description = open_model(model, backend)
    notes: list[str] = []
    X = _features(net, description, data, data_dir, notes, given.flags)
    columns = _columns(net, X, proba)
    text = json.dumps(columns) if as_json else csv_text(columns)
    if out is not None:
        if out.is_dir():
            raise ValueError(f"--out {out}: is a folder")
        write_text(out, text.rstrip("\n") + "\n")
    else:
        sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()
    if not (as_json or quiet):
        sys.stderr.write("".join(f"fastnn: {note}\n" for note in notes))


def _features(
    net: Network,
    description: Description,
    data: str,
    data_dir: str | None,
    notes: list[str],
    given: Mapping[str, Any],
) -> np.ndarray:
    """The features of the data, as the network takes them, and what is to be said of them."""
    if data in datasets.BUILT_IN:
        dataset = datasets.load(data, data_dir=data_dir)
        X = dataset.X if dataset.X_test is None else dataset.X_test
    else:
        names, target = feature_names(net, description.training), description.training.get("target")
        X = datasets.load_features(
            path_of(data), names, target=target, notes=notes, gaps="keep", **format_of(given)
        )
        incomplete = int(rows_with_gaps(X).sum())
        if incomplete:
            found = describe_gaps(gaps_by_column(X, names))
            notes.append(
                f"no prediction for {incomplete:,} of {len(X):,} rows, which have gaps ({found})"
            )
        datasets.check_range(X, net.dtype, names)
    return datasets.scaled(X, scale_of(description), input_dtype(net))


def _without_noise(net: Network, predicted: np.ndarray) -> np.ndarray:
    """Predictions without the digits that a network in float32 does not know.

    Its outputs are deviations from the targets' mean, in units of their standard deviation.
    """
    factors = net.scales.target_scale
    if factors is None or net.dtype != np.float32 or predicted.dtype.kind != "f":
        return predicted
    known = 7 + np.floor(np.log10(np.abs(factors))).astype(int)  # digits after the point
    columns = predicted.reshape(len(predicted), -1).T
    rounded = [np.round(column, n) for column, n in zip(columns, known, strict=True)]
    return np.stack(rounded, axis=1).reshape(predicted.shape)


def _columns(net: Network, X: np.ndarray, proba: bool) -> dict[str, list[Any]]:
    """Predictions, and probabilities if they are wanted, by the names of their columns.

    Rows with gaps have None.
    """
    complete = np.isfinite(X).all(axis=1)
    if not complete.all():
        X = X[complete] if complete.any() else np.zeros_like(X[:1])

    def filled(values: np.ndarray) -> list[Any]:
        column = np.full(len(complete), None, object)
        column[complete] = meant_digits(values[: complete.sum()]).tolist()
        return column.tolist()

    predicted = _without_noise(net, net.predict(X))
    columns: dict[str, list] = {}
    for k, column in enumerate(predicted.reshape(len(X), -1).T):
        columns["prediction" if predicted.ndim == 1 else f"prediction_{k}"] = filled(column)
    if proba:
        probabilities = net.predict_proba(X)
        labels = range(probabilities.shape[1]) if net.classes_ is None else net.classes_
        for label, column in zip(labels, probabilities.T, strict=True):
            columns[f"probability_{label}"] = filled(column)
    return columns
