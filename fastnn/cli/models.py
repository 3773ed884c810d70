"""Opening a model and the data that belong to it."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import datasets, storage
from fastnn.backends import codes
from fastnn.cli.data import held_out, input_dtype, part, split
from fastnn.cli.files import file_of, format_of
from fastnn.cli.rows import digest, known_rows, rows_of_training
from fastnn.cli.runs import MODEL_FILE
from fastnn.cli.source import STDIN, path_of
from fastnn.cli.tables import encoded_again
from fastnn.cli.text_targets import text_target
from fastnn.datasets.layout import Format
from fastnn.datasets.loading import dataset_of, target_name
from fastnn.datasets.reading import read
from fastnn.datasets.table import Table
from fastnn.network import Network
from fastnn.network.ensemble import Ensemble

if TYPE_CHECKING:
    from fastnn.datasets import Dataset
    from fastnn.storage import Description
    from fastnn.tables import Encoding


def model_path(model: Path) -> Path:
    """Return the model file, given the file itself or its run folder."""
    if not model.exists():
        text = "No such file or folder; fastnn train makes run folders, in runs/"
        raise FileNotFoundError(errno.ENOENT, text, str(model))
    return model / MODEL_FILE if model.is_dir() else model


def open_table_model(model: Path, backend: Enum) -> tuple[Network, Description, Encoding | None]:
    """Load a model of any kind: its network, its description and its encoding (None if absent).

    Raises
    ------
    ValueError
        For a checkpoint of ``fastnn train``, whose predictions for columns would be wrong.
    """
    path = model_path(model)
    # A network, an estimator or a table model, each with its own type of description.
    net: Any = storage.load(path, backend=backend.value)
    description: Any = storage.describe(path)
    if description.run is not None and "settings" in description.training:
        raise ValueError(
            f"{path}: is a checkpoint of fastnn train, without names, scale and encoding of the "
            f"columns; take {MODEL_FILE}, which fastnn train --resume {path.parent} writes"
        )
    encoding = None
    if description.table is not None:
        net, encoding = net.network, net.encoding
    if not isinstance(net, (Network, Ensemble)):
        estimator, net = net, net._network()
        if description.fitted.target_type in ("binary", "multiclass"):
            classes = estimator.classes_
            # the network is binary; if the estimator saw a single class, both labels are that one
            net.classes_ = classes if len(classes) > 1 else classes.repeat(2)
        names = description.fitted.feature_names
        if names is not None:
            training = {"features": names, **description.training}
            description = description.model_copy(update={"training": training})
    return net, description, encoding


def scale_of(description: Description) -> float:
    """Divisor of the features in training."""
    scale = description.training.get("scale", 1.0)
    return float(scale) if isinstance(scale, (int, float)) else 1.0


def named_target(description: Description) -> str | None:
    """Name of the target column in training; None if it has no name."""
    target = description.training.get("target")
    return target if isinstance(target, str) else None


def format_like(description: Description, given: Mapping[str, Any]) -> Format:
    """Layout of a file for a trained model: as given, and the training file's decimal sign."""
    usual = description.training.get("decimal")
    usual = usual if usual in (".", ",") else None
    return Format(**format_of(given), usual_decimal=usual, trained=True)


def feature_names(net: Network, training: dict[str, Any]) -> list[str]:
    """Names of the features in training; "x0", "x1", ... if unknown."""
    names = training.get("features")
    if isinstance(names, list) and len(names) == net.n_features:
        return [str(name) for name in names]
    return [f"x{k}" for k in range(net.n_features)]


def _read(data: str, wanted: Format, target: str | None, are_texts: bool) -> Table:
    """Read a file; if ``are_texts``, the target is read as text, as it was in training."""
    texts = frozenset([target]) if are_texts and target is not None else frozenset()
    table = read(Path(path_of(data)), replace(wanted, texts=texts))
    return text_target(table, target_name(table, target)) if are_texts else table


def data_with_targets(
    net: Network,
    description: Description,
    data: str | None,
    target: str | None,
    data_dir: str | None,
    given: Mapping[str, Any] | None = None,
    encoding: Encoding | None = None,
) -> Dataset:
    """Load data with targets for a trained network.

    If ``data`` is None, the training data are loaded, with the settings of training for reading
    files; ``given`` overrides these. Other files are read with the settings in ``given``.
    """
    training = description.training
    reading = dict(given or {})
    if data is None:
        reading = _settings(description) | reading
        data = _settings(description).get("data")
        if not isinstance(data, str):
            raise ValueError("the model has no record of its training data; name the data")
        if data == STDIN:
            raise ValueError("the model was trained on standard input; name the data (MODEL DATA)")
    task = "regression" if net.loss_name in codes.REGRESSION else "classification"
    labels = getattr(net, "classes_", None)
    are_texts = labels is not None and labels.dtype.kind in "OU"
    known = named_target(description) if target is None else target
    if data in datasets.BUILT_IN and encoding is None:
        dataset = datasets.load(data, target=target, task=task, data_dir=data_dir)
    elif encoding is not None:
        if data in datasets.BUILT_IN:
            raise ValueError(f"{data} is built in; the model takes files")
        table = _read(data, format_like(description, reading), known, are_texts)
        missing = _settings(description).get("missing")
        dataset = encoded_again(table, encoding, known, task, reading.get("gaps"), missing)
        dataset.check_range(net.dtype)
    else:
        features = training.get("features")
        if not isinstance(features, list) or len(features) != net.n_features:
            features = None
        chosen = file_of(reading)
        dataset = dataset_of(
            _read(data, format_like(description, reading), known, are_texts),
            known,
            task,
            None if features is None else [str(name) for name in features],
            chosen["ignore"],
            chosen["keep_index"],
            chosen["gaps"],
        )
        dataset = replace(dataset, scale=scale_of(description))
        dataset.check_range(net.dtype)
    if dataset.X.shape[1] != net.n_features:
        raise ValueError(
            f"{data} has {dataset.X.shape[1]} features; the network expects {net.n_features}"
        )
    return dataset


def unseen(
    net: Network, description: Description, dataset: Dataset, data: str | None, model: Path
) -> tuple[np.ndarray, np.ndarray, str]:
    """Select the samples that were not used for training, or all samples of a given file.

    Parameters
    ----------
    net : Network
    description : Description
    dataset : Dataset
    data : str or None
        Name or path that the user gave; None for the training data.
    model : Path
        The model file.

    Returns
    -------
    X, y : ndarray
    what : str
        Description of the samples, which mentions those used for training.
    """
    settings, n_samples = _settings(description), len(dataset.X)
    trained_on = settings.get("data")
    rows = np.arange(0)
    if (trained_on if data is None else data) not in datasets.BUILT_IN:
        rows, what = np.arange(n_samples), f"all {n_samples:,} samples"
        if data is None:
            rows, what = _left_out(description, dataset, trained_on, model)
        else:
            found = rows_of_training(model, dataset)
            if found is not None and found.any():
                what += f", {found.sum():,} of them trained with"
        return (*part(dataset, rows, input_dtype(net)), what)
    if data is None or data == trained_on:
        rows = split(dataset, settings.get("test"), settings.get("seed") or 0)[1]
    X, y, what = held_out(dataset, rows, input_dtype(net))
    if len(X):
        return X, y, what
    return dataset.inputs(dataset.X, input_dtype(net)), dataset.y, f"all {n_samples:,} samples"


def _left_out(
    description: Description, dataset: Dataset, path: Any, model: Path
) -> tuple[np.ndarray, str]:
    """Rows of the training file that were not used for training, and a description of them."""
    n_samples, known = len(dataset.X), known_rows(description.training)
    if known is None:
        return _left_out_by_seed(description, dataset, path)
    if digest(path) == known.sha256 and len(known.held_out) == n_samples:
        rows = np.flatnonzero(known.held_out)
        if len(rows):
            return rows, f"{len(rows):,} samples set aside"
        return np.arange(n_samples), _all_trained(n_samples)
    found = rows_of_training(model, dataset)
    if found is None:
        raise ValueError(_changed(path))
    rows = np.flatnonzero(~found)
    if not len(rows):
        return np.arange(n_samples), f"{_all_trained(n_samples)}; the data have changed"
    rest = n_samples - len(rows)
    what = f"{rest:,} others were trained with" if rest else "none was trained with"
    return rows, f"{len(rows):,} samples; the data have changed, {what}"


def _left_out_by_seed(
    description: Description, dataset: Dataset, path: str
) -> tuple[np.ndarray, str]:
    """:func:`_left_out` for a model of an earlier version, which stores no mask of the rows.

    The split is repeated with the stored seed; the stored number of training rows is checked.
    """
    settings, results = _settings(description), description.training.get("results")
    train_rows, rows = split(dataset, settings.get("test"), settings.get("seed") or 0)
    if not isinstance(results, dict) or results.get("samples") != len(train_rows):
        raise ValueError(_changed(path))
    if len(rows):
        return rows, f"{len(rows):,} samples set aside, if the file has not changed"
    return train_rows, _all_trained(len(train_rows))


def _changed(path: str) -> str:
    return (
        f"{path} has changed since training, and nothing tells the rows of training apart; "
        "to score all its rows, name it"
    )


def _all_trained(n_samples: int) -> str:
    return f"all {n_samples:,} samples, all trained with"


def _settings(description: Description) -> dict[str, Any]:
    settings = description.training.get("settings")
    return settings if isinstance(settings, dict) else {}
