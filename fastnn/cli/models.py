"""Opening a model, and the data that belong to it."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import datasets, storage
from fastnn.backends import codes
from fastnn.cli.data import held_out, input_dtype, split
from fastnn.cli.runs import MODEL_FILE
from fastnn.network import Network

if TYPE_CHECKING:
    from fastnn.datasets import Dataset
    from fastnn.storage import Description


def model_path(model: Path) -> Path:
    """The file itself, or the one in a run folder."""
    return model / MODEL_FILE if model.is_dir() else model


def open_model(model: Path, backend: Enum) -> tuple[Network, Description]:
    """The network, an estimator's too, and what its file says about it."""
    path = model_path(model)
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


def scale_of(description: Description) -> float:
    """What the features were divided by in training."""
    return float(description.training.get("scale", 1.0))


def feature_names(net: Network, training: dict[str, Any]) -> list[str]:
    """The columns that the network was trained with."""
    names = training.get("features")
    if isinstance(names, list) and len(names) == net.n_features:
        return [str(name) for name in names]
    return [f"x{k}" for k in range(net.n_features)]


def data_with_targets(
    net: Network,
    description: Description,
    data: str | None,
    target: str | None,
    data_dir: str | None,
) -> Dataset:
    """Data with targets for a trained network; default: those that it was trained on."""
    training = description.training
    if data is None:
        data = _settings(description).get("data")
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
        dataset = replace(dataset, scale=scale_of(description))
    if dataset.X.shape[1] != net.n_features:
        raise ValueError(
            f"{data} has {dataset.X.shape[1]} features; the network expects {net.n_features}"
        )
    return dataset


def unseen(
    net: Network, description: Description, dataset: Dataset, data: str | None
) -> tuple[np.ndarray, np.ndarray, str]:
    """What training has not seen of these data; all if that is not known."""
    settings = _settings(description)
    rows = np.arange(0)
    if data is None or (data in datasets.BUILT_IN and data == settings.get("data")):
        rows = split(dataset, settings.get("test"), settings.get("seed") or 0)[1]
    X, y, what = held_out(dataset, rows, input_dtype(net))
    if len(X):
        return X, y, what
    X = dataset.inputs(dataset.X, input_dtype(net))
    return X, dataset.y, f"all {len(dataset.X):,} samples"


def _settings(description: Description) -> dict[str, Any]:
    settings = description.training.get("settings")
    return settings if isinstance(settings, dict) else {}
