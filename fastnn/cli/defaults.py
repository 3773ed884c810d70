"""Defaults of ``fastnn train`` that depend on the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn.training.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from fastnn.datasets import Dataset

# Defaults for the course's example: two moons, a 2-3-2 network, full-batch gradient descent.
MOONS: dict[str, Any] = {
    "hidden": [3],
    "activation": ["tanh"],
    "initializer": "lecun_normal",
    "loss": "cross_entropy",
    "optimizer": "sgd",
    "learning_rate": 2.0,
    "l2": 5e-5,
    "epochs": 20_000,
    "batch_size": 0,
    "standardize": False,
    "dtype": "float64",
}

# Levenberg-Marquardt solves a system of equations in the parameters: few of them, all samples.
LM: dict[str, Any] = {
    "hidden": [10],
    "activation": ["tanh"],
    "epochs": 100,
    "batch_size": 0,
    "dtype": "float64",
}

HELD_OUT = 0.2  # share of held-out samples, for data without a test set
LARGE = 10_000  # training samples from which networks and batches are larger
UPDATES = 4000  # approximate number of steps of a training
MIN_EPOCHS, MAX_EPOCHS = 10, 200
PATIENCE = 20  # epochs; PATIENCE_SHARE of all epochs if that is more
PATIENCE_SHARE = 0.05
TABULAR: dict[str, Any] = {"preset": "tabular", "epochs": 256, "validation": 0.2}
SMOOTH_CLIP = 3.0  # default for encoded tables, in standard deviations
CHECKPOINT_INTERVAL = "1m"
VALIDATION = 0.1  # share of the validation samples with early stopping


def tabular(data: Dataset) -> dict[str, Any]:
    """Defaults of the preset tabular."""
    return {
        "task": data.task,
        "seed": 0,
        "backend": "auto",
        "dtype": "float32",
        "test": default_share(data),
        **TABULAR,
    }


def plain(given: dict[str, Any], data: Dataset, n_train: int, encoded: bool) -> dict[str, Any]:
    """Complete the settings of the preset plain.

    Parameters
    ----------
    given : dict
        Settings by name.
    data : Dataset
    n_train : int
        Number of training samples.
    encoded : bool
        Whether the features are the encoded columns of a table.

    Returns
    -------
    dict
        All settings, with ``hidden`` instead of ``layers`` and ``layer_size``.
    """
    given = dict(given)
    layers, layer_size = given.pop("layers", None), given.pop("layer_size", None)
    early = given.get("early_stopping", "patience" in given)
    if not early:
        given.pop("patience", None)
    merged: dict[str, Any] = {
        "task": data.task,
        "test": default_share(data),
        "validation": VALIDATION if early else 0.0,
        "early_stopping": early,
        "seed": 0,
        "backend": "auto",
        "dropout": [],
    }
    if encoded:  # the indicator of a rare category is an outlier after scaling
        merged["smooth_clip"] = SMOOTH_CLIP
    profile = profile_of(data, n_train)
    if given.get("optimizer") == "lm":
        profile = {name: profile[name] for name in profile if name != "learning_rate"} | LM
    merged |= profile | given
    if not merged["standardize"] and "smooth_clip" not in given:
        merged.pop("smooth_clip", None)
    if layers is not None or layer_size is not None:
        width = layer_size or (profile["hidden"] or [8])[0]
        merged["hidden"] = [width] * (1 if layers is None else layers)
    if merged["early_stopping"]:
        merged.setdefault("patience", max(PATIENCE, int(PATIENCE_SHARE * merged["epochs"])))
    if merged["optimizer"] == "sgd":
        merged.setdefault("momentum", 0.0)
    is_other = merged["optimizer"] not in (profile["optimizer"], "lm")
    if "learning_rate" not in given and is_other:
        merged["learning_rate"] = OPTIMIZERS[merged["optimizer"]]().learning_rate
    for name in ("activation", "dropout"):  # a single value if it is the same for all layers
        if len(set(merged[name])) == 1:
            merged[name] = merged[name][:1]
    return merged


def profile_of(data: Dataset, n_train: int) -> dict[str, Any]:
    """Defaults of network and training: those of the course's example, or general ones."""
    if data.name == "moons" and data.draw is not None and data.task == "classification":
        return MOONS
    return general_profile(data, n_train)


def default_share(dataset: Dataset) -> float:
    """Default share of held-out samples: 0 for synthetic data and data with a test set."""
    return 0.0 if dataset.draw is not None or dataset.X_test is not None else HELD_OUT


def general_profile(data: Dataset, n_train: int) -> dict[str, Any]:
    """Defaults that work well on most data: relu, Adam, about 4,000 small steps."""
    small, classes = n_train < LARGE, data.task == "classification"
    batch_size = 32 if small else 128
    steps = -(-n_train // batch_size)
    return {
        "hidden": [64] if small else [128],
        "activation": ["relu"],
        "initializer": "auto",
        "loss": "cross_entropy" if classes else "squared_error",
        "optimizer": "adam",
        "learning_rate": 1e-3,
        # Chosen by the held-out score on the built-in data, five seeds each.
        "l2": (1e-3 if classes else 1e-2) if small else 1e-4,
        "epochs": min(max(-(-UPDATES // steps), MIN_EPOCHS), MAX_EPOCHS),
        "batch_size": batch_size,
        "standardize": data.scale == 1.0,
        "dtype": "float32",
    }
