"""Settings of ``fastnn train``: checked, merged, completed, written.

A setting comes from the command line, else from the environment
(``FASTNN_EPOCHS``), else from the file given with ``--config``, else it has a
default, which depends on the data.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

import fastnn
from fastnn.backends import codes
from fastnn.datasets import Dataset
from fastnn.network import INITIALIZERS
from fastnn.training.optimizers import OPTIMIZERS, SGD, Optimizer

# Training of data without a profile of its own: about this many updates, in sensible limits.
_UPDATES = 4000


def _split(value: Any) -> Any:
    """``"8,8"`` as a list; ``"none"`` or ``""`` as an empty one; one number as a list of it."""
    if isinstance(value, str):
        value = value.strip()
        return [] if value in ("", "none") else [item.strip() for item in value.split(",")]
    return [value] if isinstance(value, (int, float)) else value


def _number_or_text(value: Any) -> Any:
    """A column's position may come as a number from a file."""
    return str(value) if isinstance(value, int) else value


Rate = Annotated[float, Field(ge=0, lt=1)]
Activation = Literal[tuple(codes.ACTIVATIONS)]


class TrainSettings(BaseModel):
    """What ``fastnn train`` can be told; None leaves it to the defaults.

    The fields are the options of the command and the keys of ``settings.toml``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    data: str = "moons"
    target: Annotated[str | None, BeforeValidator(_number_or_text)] = None
    task: Literal["classification", "regression"] | None = None
    data_dir: str | None = None
    test: Rate | None = None
    validation: Rate | None = None
    standardize: bool | None = None
    hidden: Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(_split)] | None = None
    layers: Annotated[int, Field(ge=0)] | None = None
    layer_size: Annotated[int, Field(ge=1)] | None = None
    activation: Annotated[list[Activation], BeforeValidator(_split)] | None = None
    alpha: Annotated[float, Field(ge=0)] | None = None
    initializer: Literal[INITIALIZERS] | None = None
    loss: Literal[tuple(codes.LOSSES)] | None = None
    label_smoothing: Rate | None = None
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None
    delta: Annotated[float, Field(gt=0)] | None = None
    l2: Annotated[float, Field(ge=0)] | None = None
    dropout: Annotated[list[Rate], BeforeValidator(_split)] | None = None
    optimizer: Literal[tuple(OPTIMIZERS)] | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    momentum: Rate | None = None
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    clip_value: Annotated[float, Field(gt=0)] | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=0)] | None = None
    early_stopping: bool | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    backend: Literal["auto", "cython", "numba", "numpy"] | None = None
    dtype: Literal["float32", "float64"] | None = None
    threads: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> TrainSettings:
        if self.hidden is not None and (self.layers is not None or self.layer_size is not None):
            raise ValueError("give hidden, or layers and layer_size, not both")
        if self.momentum is not None and self.optimizer not in (None, "sgd"):
            raise ValueError(f"momentum belongs to sgd; the optimizer is {self.optimizer}")
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError("give clip_norm or clip_value, not both")
        for name in ("quantile", "delta"):
            wanted = "huber" if name == "delta" else name
            if getattr(self, name) is not None and self.loss != wanted:
                which = f"the loss is {self.loss}" if self.loss else "no loss is given"
                raise ValueError(f"{name} belongs to the loss {wanted}; {which}")
        return self

    def completed(self, data: Dataset, n_train: int) -> TrainSettings:
        """Every setting filled in, for these data.

        Parameters
        ----------
        data : Dataset
        n_train : int
            Training samples.

        Returns
        -------
        TrainSettings
            With ``hidden`` instead of ``layers`` and ``layer_size``.
        """
        given = self.model_dump(exclude_none=True)
        layers, layer_size = given.pop("layers", None), given.pop("layer_size", None)
        early = self.early_stopping
        if early is None:
            early = self.patience is not None
        if not early:
            given.pop("patience", None)
        held_out_is_there = data.X_test is not None or data.draw is not None
        common = {
            "task": data.task,
            "test": 0.0 if held_out_is_there else 0.2,
            "validation": 0.1 if early else 0.0,
            "early_stopping": early,
            "seed": 0,
            "backend": "auto",
            "dropout": [],
        }
        course = data.name == "moons" and data.draw is not None and data.task == "classification"
        profile = moons_profile() if course else general_profile(data, n_train)
        merged = common | profile | given
        if layers is not None or layer_size is not None:
            width = layer_size or (profile["hidden"] or [8])[0]
            merged["hidden"] = [width] * (1 if layers is None else layers)
        if merged["early_stopping"]:
            merged.setdefault("patience", 20)
        if merged["optimizer"] == "sgd":
            merged.setdefault("momentum", 0.0)
        if "learning_rate" not in given and merged["optimizer"] != profile["optimizer"]:
            merged["learning_rate"] = OPTIMIZERS[merged["optimizer"]]().learning_rate
        for name in ("activation", "dropout"):  # one value for all layers, where it is one
            if len(set(merged[name])) == 1:
                merged[name] = merged[name][:1]
        try:
            return TrainSettings.model_validate(merged)
        except ValidationError as error:
            raise ValueError(explain(error)) from None

    def make_optimizer(self) -> Optimizer:
        """The update rule (of completed settings)."""
        rest = {"clip_norm": self.clip_norm, "clip_value": self.clip_value, "ema": self.ema}
        if self.optimizer == "sgd":
            return SGD(self.learning_rate, momentum=self.momentum or 0.0, **rest)
        return OPTIMIZERS[self.optimizer](self.learning_rate, **rest)

    def to_toml(self) -> str:
        """The settings as a file that ``--config`` reads."""
        lines = [f"# fastnn {fastnn.__version__}: settings of a run; see fastnn train --config"]
        for name, value in self.model_dump(exclude_none=True).items():
            # What JSON writes for strings, numbers, booleans and lists of them is TOML too.
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=True)}")
        return "\n".join(lines) + "\n"


def moons_profile() -> dict[str, Any]:
    """The course's own run: two moons, 2-3-2, full-batch gradient descent."""
    return {
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


def general_profile(data: Dataset, n_train: int) -> dict[str, Any]:
    """What does well on most data: relu, Adam, about 4,000 small steps."""
    small, classes = n_train < 10_000, data.task == "classification"
    batch_size = 32 if small else 128
    steps = -(-n_train // batch_size)
    return {
        "hidden": [64] if small else [128],
        "activation": ["relu"],
        "initializer": "auto",
        "loss": "cross_entropy" if classes else "squared_error",
        "optimizer": "adam",
        "learning_rate": 1e-3,
        # By held-out score over the built-in data, five seeds each.
        "l2": (1e-3 if classes else 1e-2) if small else 1e-4,
        "epochs": min(max(-(-_UPDATES // steps), 10), 200),
        "batch_size": batch_size,
        "standardize": data.scale == 1.0,
        "dtype": "float32",
    }


def read_toml(path: Path) -> dict[str, Any]:
    """Settings in a TOML file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If it is not TOML or has a setting that does not exist or is not allowed.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    try:
        TrainSettings.model_validate(fields)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from None
    return fields


def merge(*levels: Mapping[str, Any]) -> TrainSettings:
    """Settings from several places, the first of which counts most.

    Parameters
    ----------
    *levels : dict
        Settings by name; a value of None is not there.

    Returns
    -------
    TrainSettings

    Raises
    ------
    ValueError
        If a setting is not allowed.
    """
    merged: dict[str, Any] = {}
    for level in reversed(levels):
        fields = {name: value for name, value in level.items() if value is not None}
        # What counts more replaces what says the same in another way, or no longer fits.
        if "hidden" in fields:
            merged = {k: v for k, v in merged.items() if k not in ("layers", "layer_size")}
        if "layers" in fields or "layer_size" in fields:
            merged.pop("hidden", None)
        if fields.get("optimizer", "sgd") != "sgd":
            merged.pop("momentum", None)
        for name, loss in (("quantile", "quantile"), ("delta", "huber")):
            if fields.get("loss", loss) != loss:
                merged.pop(name, None)
        if "clip_norm" in fields or "clip_value" in fields:
            merged = {k: v for k, v in merged.items() if k not in ("clip_norm", "clip_value")}
        merged |= fields
    try:
        return TrainSettings.model_validate(merged)
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def explain(error: ValidationError) -> str:
    """One line that names the setting, what is wrong and what came."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function"))
    if first["type"] == "extra_forbidden":
        return f"there is no setting {where!r}"
    text = first["msg"].removeprefix("Value error, ")
    return f"{where}: {text} (got {first['input']!r})" if where else text
