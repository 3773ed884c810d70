"""``fastnn predict``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastnn import datasets
from fastnn.cli.data import input_dtype
from fastnn.cli.models import feature_names, open_model, scale_of
from fastnn.cli.options import (
    DATA,
    Backend,
    BackendOption,
    DataDirOption,
    JsonFlag,
    ModelArgument,
    option,
    required,
)
from fastnn.cli.output import csv_text
from fastnn.cli.runs import write_text

if TYPE_CHECKING:
    import numpy as np

    from fastnn.network import Network
    from fastnn.storage import Description


def command(
    model: ModelArgument,
    data: Annotated[str, required("DATA", f"{DATA} No targets needed.")],
    out: Annotated[Path | None, option("--out", "CSV file.", "standard output")] = None,
    proba: Annotated[bool, option("--proba", "Probabilities of the classes, too.")] = False,
    data_dir: DataDirOption = None,
    backend: BackendOption = Backend.auto,
    as_json: JsonFlag = False,
) -> None:
    """Predict: one line of CSV for every row of DATA.

    A file's columns are found by the names the model was trained with. Of mnist it is the
    test set that is predicted.
    """
    net, description = open_model(model, backend)
    columns = _columns(net, _features(net, description, data, data_dir), proba)
    text = json.dumps(columns) if as_json else csv_text(columns)
    if out is not None:
        if out.is_dir():
            raise ValueError(f"--out {out}: is a folder")
        write_text(out, text.rstrip("\n") + "\n")
    else:
        sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()


def _features(
    net: Network, description: Description, data: str, data_dir: str | None
) -> np.ndarray:
    """The features of the data, as the network takes them."""
    if data in datasets.BUILT_IN:
        dataset = datasets.load(data, data_dir=data_dir)
        X = dataset.X if dataset.X_test is None else dataset.X_test
    else:
        X = datasets.load_features(data, feature_names(net, description.training))
    return datasets.scaled(X, scale_of(description), input_dtype(net))


def _columns(net: Network, X: np.ndarray, proba: bool) -> dict[str, list[Any]]:
    """Predictions, and probabilities if they are wanted, by the names of their columns."""
    predicted = net.predict(X)
    columns: dict[str, list] = {}
    for k, column in enumerate(predicted.reshape(len(X), -1).T):
        columns["prediction" if predicted.ndim == 1 else f"prediction_{k}"] = column.tolist()
    if proba:
        probabilities = net.predict_proba(X)
        labels = range(probabilities.shape[1]) if net.classes_ is None else net.classes_
        for label, column in zip(labels, probabilities.T, strict=True):
            columns[f"probability_{label}"] = column.tolist()
    return columns
