"""Settings of ``fastnn train``: validation, merging of sources, defaults.

The sources of a setting, in decreasing priority: the command line, the environment
(``FASTNN_EPOCHS``), the file given with ``--config``, a default that depends on the data.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from fastnn.backends import BACKENDS, codes
from fastnn.cli import options
from fastnn.cli.files import FileSettings
from fastnn.fields import MaybeNone, OneOf, setting
from fastnn.network import INITIALIZERS
from fastnn.training.optimizers import OPTIMIZERS, SGD, LevenbergMarquardt, Optimizer

if TYPE_CHECKING:
    from fastnn.datasets import Dataset

# Panels of the help.
DATA, NETWORK, TRAINING, RUN = "Data", "Network", "Training", "Run"

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
NOT_OF_LM = ("learning_rate", "momentum", "clip_norm", "clip_value", "ema", "batch_size")

_RATES = ", ".join(f"{rule().learning_rate:g} for {name}" for name, rule in OPTIMIZERS.items())

HELD_OUT = 0.2  # share of held-out samples, for data without a test set
LARGE = 10_000  # training samples from which networks and batches are larger
UPDATES = 4000  # approximate number of steps of a training
FEWEST_EPOCHS, MOST_EPOCHS = 10, 200
PATIENCE = 20  # epochs; PATIENCE_SHARE of all epochs if that is more
PATIENCE_SHARE = 0.05
# Settings of the preset plain only: the preset tabular determines these itself.
OF_PLAIN = (
    *("hidden", "layers", "layer_size", "activation", "alpha", "initializer", "label_smoothing"),
    *("l2", "dropout", "optimizer", "learning_rate", "momentum"),
    *("clip_norm", "clip_value", "ema", "batch_size", "early_stopping", "patience"),
    *("standardize", "smooth_clip"),
)
OF_TABULAR = ("members", "time_limit")  # giving one of them makes the preset tabular the default
TABULAR: dict[str, Any] = {"preset": "tabular", "epochs": 256, "validation": 0.2}
SMOOTH_CLIP = 3.0  # default for encoded tables, in standard deviations
USUAL_CHECKPOINTS = "1m"
VALIDATION = 0.1  # share of the validation samples with early stopping


def _split(value: Any) -> Any:
    """Convert ``"8,8"`` to a list, ``"none"`` or ``""`` to an empty list, a number to ``[number]``.

    Other values are returned unchanged.
    """
    if isinstance(value, str):
        value = value.strip()
        return [] if value in ("", "none") else [item.strip() for item in value.split(",")]
    return [value] if isinstance(value, (int, float)) else value


def _number_or_text(value: Any) -> Any:
    """Convert an integer, such as a column position in a TOML file, to a string."""
    return str(value) if isinstance(value, int) else value


Units = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Quantile = Annotated[float, Field(gt=0, lt=1)]
ColumnName = Annotated[str, BeforeValidator(_number_or_text)]
Activation = Annotated[str, OneOf(codes.ACTIVATIONS)]
List = BeforeValidator(_split)


class TrainSettings(FileSettings):
    """Settings of ``fastnn train``; None means that the default is used.

    The fields are the options of the command and the keys of ``settings.toml``. "moons" in the
    help texts means the course's example, whose defaults are :data:`MOONS`.
    """

    heading: ClassVar[str] = "settings of a run; see fastnn train --config"

    # --- data

    data: str = setting(options.DATA, default="moons", panel=DATA)
    target: ColumnName | None = setting(options.TARGET, options.TARGET_DEFAULT, panel=DATA)
    task: Literal["classification", "regression"] | MaybeNone = setting(
        options.TASK, options.TASK_DEFAULT, panel=DATA, metavar="NAME"
    )
    data_dir: str | None = setting(
        options.DATA_DIR, "the cache folder; downloaded there if absent", panel=DATA
    )
    test: Rate | MaybeNone = setting(
        "Share of the samples held out for the final score.",
        f"{HELD_OUT}; 0 if the data have a test set or are synthetic",
        panel=DATA,
    )
    validation: Rate | MaybeNone = setting(
        "Share of the samples used for validation during training.",
        f"0; {VALIDATION} with early stopping, {TABULAR['validation']} with --preset tabular",
        panel=DATA,
    )
    class_weight: Literal["balanced"] | None = setting(
        options.CLASS_WEIGHT, "all samples have the same weight", panel=DATA
    )
    scoring: str | None = setting(
        "Additional score to print, a name of scikit-learn.", "none", panel=DATA
    )
    standardize: bool | MaybeNone = setting(
        "Standardise features inside the model.", "on; off for images and moons", panel=DATA
    )
    smooth_clip: float | None = setting(
        "Limit standardised features smoothly to this many standard deviations; 3 is usual.",
        f"none; {SMOOTH_CLIP:g} for tables with text or gaps",
        panel=DATA,
        gt=0,
    )

    # --- network

    preset: Literal["plain", "tabular"] | None = setting(
        "tabular: the tuned network and training of TabularClassifier and TabularRegressor; "
        "plain: a network and training set by the options below.",
        "tabular for tables with text, dates or gaps, unless options such as --hidden are given, "
        "and with --members or --time-limit; otherwise plain",
        panel=NETWORK,
        metavar="NAME",
    )
    hidden: Annotated[list[Units], List] | MaybeNone = setting(
        "Units of the hidden layers, for example 8,8,8; or none.",
        f"64; 128 with {LARGE:,} samples or more; {MOONS['hidden'][0]} for moons",
        panel=NETWORK,
    )
    layers: int | None = setting(
        "Number of hidden layers, instead of --hidden.", 1, panel=NETWORK, ge=0
    )
    layer_size: int | None = setting(
        "Units of every hidden layer, instead of --hidden.",
        "as for --hidden",
        panel=NETWORK,
        ge=1,
    )
    activation: Annotated[list[Activation], List] | MaybeNone = setting(
        f"Activation, or one for each hidden layer (tanh,relu): {', '.join(codes.ACTIVATIONS)}.",
        f"relu; {MOONS['activation'][0]} for moons",
        panel=NETWORK,
        metavar="NAMES",
    )
    alpha: float | None = setting(
        "Slope of leaky_relu for negative inputs, or alpha of elu.",
        "0.01 for leaky_relu, 1 for elu",
        panel=NETWORK,
        ge=0,
    )
    initializer: Annotated[str, OneOf(INITIALIZERS)] | MaybeNone = setting(
        f"Initial weights: {', '.join(INITIALIZERS)}.",
        f"auto: he_normal for relu and similar, otherwise lecun_normal; "
        f"{MOONS['initializer']} for moons",
        panel=NETWORK,
        metavar="NAME",
    )
    loss: Annotated[str, OneOf(codes.LOSSES)] | MaybeNone = setting(
        f"Loss function: {', '.join(codes.LOSSES)}.",
        "cross_entropy; squared_error for regression",
        panel=NETWORK,
        metavar="NAME",
    )
    label_smoothing: Rate | None = setting(
        "Share of each target that is distributed equally among all classes.", 0, panel=NETWORK
    )
    quantile: float | None = setting(
        "Quantile estimated by --loss quantile.", 0.5, panel=NETWORK, gt=0, lt=1
    )
    quantiles: Annotated[list[Quantile], List] | None = setting(
        "Several quantiles, for example 0.1,0.5,0.9, instead of --quantile.", "none", panel=NETWORK
    )
    delta: float | None = setting(
        "Error above which --loss huber is linear.", 1, panel=NETWORK, gt=0
    )
    l2: float | MaybeNone = setting(
        "L2 penalty: half of it times the sum of the squared weights is added to the loss.",
        f"0.001, for regression 0.01; 0.0001 with {LARGE:,} samples or more; "
        f"{MOONS['l2']} for moons",
        panel=NETWORK,
        ge=0,
    )
    dropout: Annotated[list[Rate], List] | MaybeNone = setting(
        "Dropout rate, or one for each hidden layer (0.2,0.5).", 0, panel=NETWORK
    )

    # --- training

    optimizer: Annotated[str, OneOf((*OPTIMIZERS, "lm"))] | MaybeNone = setting(
        f"Update rule: {', '.join(OPTIMIZERS)} or lm (Levenberg-Marquardt, for small networks).",
        f"adam; {MOONS['optimizer']} for moons",
        panel=TRAINING,
        metavar="NAME",
    )
    learning_rate: float | MaybeNone = setting(
        "Step size.",
        f"{_RATES}; {MOONS['learning_rate']:g} for moons with {MOONS['optimizer']}",
        panel=TRAINING,
        gt=0,
    )
    momentum: Rate | None = setting("Momentum of sgd.", 0, panel=TRAINING)
    clip_norm: float | None = setting(
        "Limit the norm of the gradient to this.", "off", panel=TRAINING, gt=0
    )
    clip_value: float | None = setting(
        "Limit the absolute value of each entry of the gradient to this.",
        "off",
        panel=TRAINING,
        gt=0,
    )
    ema: float | None = setting(
        "Predict with an exponential moving average of the parameters with this decay.",
        "off",
        panel=TRAINING,
        gt=0,
        lt=1,
    )
    epochs: int | MaybeNone = setting(
        "Passes over the data.",
        f"{FEWEST_EPOCHS} to {MOST_EPOCHS}, for about {UPDATES:,} steps; "
        f"{TABULAR['epochs']} with --preset tabular; "
        f"{MOONS['epochs']:,} for moons",
        panel=TRAINING,
        ge=1,
    )
    batch_size: int | MaybeNone = setting(
        "Samples per step; 0 for all.",
        f"32; 128 with {LARGE:,} samples or more; {MOONS['batch_size']} for moons",
        panel=TRAINING,
        ge=0,
    )
    members: int | None = setting(
        "Number of networks to average with --preset tabular, trained one per core.",
        1,
        panel=NETWORK,
        ge=1,
        le=1000,
    )
    time_limit: float | None = setting(
        "Seconds for the training with --preset tabular, which reduces the number of epochs.",
        "none",
        panel=TRAINING,
        gt=0,
    )
    early_stopping: bool | MaybeNone = setting(
        "Stop when the validation loss no longer decreases; keep the best parameters.",
        "off; on with --patience",
        panel=TRAINING,
    )
    patience: int | MaybeNone = setting(
        "Epochs without a decrease of the validation loss before early stopping.",
        f"{PATIENCE}, or {PATIENCE_SHARE:.0%} of the epochs if more",
        panel=TRAINING,
        ge=1,
    )
    seed: int | MaybeNone = setting(
        "Seed of weights, shuffling, dropout and splits.", 0, panel=TRAINING, ge=0, lt=2**32
    )

    # --- run

    backend: Annotated[str, OneOf(("auto", *BACKENDS))] | MaybeNone = setting(
        options.BACKEND, "auto", panel=RUN, metavar="NAME"
    )
    dtype: Literal["float32", "float64"] | MaybeNone = setting(
        "Precision of parameters and training.", f"float32; {MOONS['dtype']} for moons", panel=RUN
    )
    report: bool | None = setting(
        "Write report.html for data from a file: columns, errors, importances.",
        "on",
        panel=RUN,
    )
    checkpoint_every: Annotated[str, BeforeValidator(_number_or_text)] | None = setting(
        "Interval of checkpoints for --resume: a number of epochs (10), a time (30s, 5m, 2h) or "
        "never.",
        f"{USUAL_CHECKPOINTS}, and at the end; never with --time-limit",
        panel=RUN,
        metavar="EVERY",
    )
    threads: int | None = setting(
        "Maximum number of threads.", "all cores, or OMP_NUM_THREADS if smaller", panel=RUN, ge=1
    )

    @field_validator("quantiles")
    @classmethod
    def _rising(cls, value: list[float] | None) -> list[float] | None:
        if value is not None and any(a >= b for a, b in pairwise(value)):
            raise ValueError("must rise, as 0.1,0.5,0.9")
        return value

    @field_validator("checkpoint_every")
    @classmethod
    def _possible(cls, value: str | None) -> str | None:
        if value is not None:
            checkpoint_interval(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> TrainSettings:
        if self.hidden is not None and (self.layers is not None or self.layer_size is not None):
            raise ValueError("give --hidden, or --layers and --layer-size, not both")
        if self.momentum is not None and self.optimizer not in (None, "sgd"):
            raise ValueError(f"momentum belongs to sgd; the optimizer is {self.optimizer}")
        if self.optimizer == "lm":
            for name in NOT_OF_LM:
                if getattr(self, name):
                    raise ValueError(f"{name} does not apply to the optimizer lm")
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError("give clip_norm or clip_value, not both")
        if self.quantile is not None and self.quantiles is not None:
            raise ValueError("give quantile or quantiles, not both")
        for name in ("quantile", "quantiles", "delta"):
            wanted = "huber" if name == "delta" else "quantile"
            if getattr(self, name) is not None and self.loss != wanted:
                which = f"the loss is {self.loss}" if self.loss else "no loss is given"
                belongs = "belong" if name == "quantiles" else "belongs"
                raise ValueError(f"{name} {belongs} to the loss {wanted}; {which}")
        return self

    @property
    def of_plain(self) -> list[str]:
        """Names of the given settings that the preset tabular does not have."""
        found = [name for name in OF_PLAIN if getattr(self, name) is not None]
        return [*found, "loss"] if self.loss == "binary_cross_entropy" else found

    def takes_tabular(self, encoded: bool) -> bool:
        """Whether the preset tabular is used.

        Parameters
        ----------
        encoded : bool
            Whether the features are the encoded columns of a table.

        Raises
        ------
        ValueError
            If a given setting does not belong to the preset.
        """
        if self.preset == "tabular" and self.of_plain:
            raise ValueError(
                f"{self.of_plain[0]} does not go with the preset tabular; add --preset plain"
            )
        own = [name for name in OF_TABULAR if getattr(self, name) is not None]
        if own and (self.preset == "plain" or self.of_plain):
            raise ValueError(f"{own[0]} is for the preset tabular")
        wanted = encoded or bool(own)
        return self.preset == "tabular" or (self.preset is None and wanted and not self.of_plain)

    def completed(self, data: Dataset, n_train: int, encoded: bool = False) -> TrainSettings:
        """Fill in the defaults for these data.

        Parameters
        ----------
        data : Dataset
        n_train : int
            Number of training samples.
        encoded : bool
            Whether the features are the encoded columns of a table.

        Returns
        -------
        TrainSettings
            With ``hidden`` instead of ``layers`` and ``layer_size``.
        """
        if self.class_weight is not None and data.task == "regression":
            raise ValueError("class_weight is for classes; the task is regression")
        if self.takes_tabular(encoded):
            common: dict[str, Any] = {
                "seed": 0,
                "backend": "auto",
                "dtype": "float32",
                "test": default_share(data),
            }
            given = self.model_dump(exclude_none=True)
            return TrainSettings.check({"task": data.task} | common | TABULAR | given)
        given = self.model_dump(exclude_none=True)
        layers, layer_size = given.pop("layers", None), given.pop("layer_size", None)
        early = self.early_stopping
        if early is None:
            early = self.patience is not None
        if not early:
            given.pop("patience", None)
        common = {
            "task": data.task,
            "test": default_share(data),
            "validation": VALIDATION if early else 0.0,
            "early_stopping": early,
            "seed": 0,
            "backend": "auto",
            "dropout": [],
        }
        course = data.name == "moons" and data.draw is not None and data.task == "classification"
        profile = MOONS if course else general_profile(data, n_train)
        if encoded:  # the indicator of a rare category is an outlier after scaling
            common["smooth_clip"] = SMOOTH_CLIP
        if given.get("optimizer") == "lm":
            profile = {name: profile[name] for name in profile if name != "learning_rate"} | LM
        merged = common | profile | given
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
        return TrainSettings.check(merged)

    def make_optimizer(self) -> Optimizer:
        """Create the optimizer; the settings must be completed."""
        if self.optimizer == "lm":
            return LevenbergMarquardt()
        rest: dict[str, Any] = {
            "clip_norm": self.clip_norm,
            "clip_value": self.clip_value,
            "ema": self.ema,
        }
        if self.optimizer == "sgd":
            return SGD(self.learning_rate, momentum=self.momentum or 0.0, **rest)
        return OPTIMIZERS[self.optimizer](self.learning_rate, **rest)


def checkpoint_interval(text: str) -> int | timedelta | None:
    """Parse the interval of checkpoints: epochs or time; None for "never".

    Raises
    ------
    ValueError
        If ``text`` is none of these.
    """
    if text == "never":
        return None
    found = re.fullmatch(r"(\d{1,9})([smh]?)", text.strip())
    if found is None or not int(found[1]):
        raise ValueError("must be a number of epochs as 10, a time as 30s, 5m or 2h, or never")
    if not found[2]:
        return int(found[1])
    return timedelta(**{{"s": "seconds", "m": "minutes", "h": "hours"}[found[2]]: int(found[1])})


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
        "epochs": min(max(-(-UPDATES // steps), FEWEST_EPOCHS), MOST_EPOCHS),
        "batch_size": batch_size,
        "standardize": data.scale == 1.0,
        "dtype": "float32",
    }


def read_toml(path: Path) -> dict[str, Any]:
    """Read settings from a TOML file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If the file is not TOML, or contains an unknown setting or a value that is not allowed.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    TrainSettings.check(fields, f"{path}: ")
    return fields


def merge(*levels: Mapping[str, Any]) -> TrainSettings:
    """Merge settings from several sources.

    Parameters
    ----------
    *levels : dict
        Settings by name, in decreasing priority; None means not given.

    Returns
    -------
    TrainSettings

    Raises
    ------
    ValueError
        If a value is not allowed.
    """
    merged: dict[str, Any] = {}
    for level in reversed(levels):
        fields = {name: value for name, value in level.items() if value is not None}
        # A setting also removes settings of lower priority that mean the same or conflict.
        if "hidden" in fields:
            merged = {k: v for k, v in merged.items() if k not in ("layers", "layer_size")}
        if "layers" in fields or "layer_size" in fields:
            merged.pop("hidden", None)
        if fields.get("optimizer", "sgd") != "sgd":
            merged.pop("momentum", None)
        if fields.get("optimizer") == "lm":
            merged = {k: v for k, v in merged.items() if k not in NOT_OF_LM}
        if "quantile" in fields or "quantiles" in fields:
            merged = {k: v for k, v in merged.items() if k not in ("quantile", "quantiles")}
        for name, loss in (("quantile", "quantile"), ("quantiles", "quantile"), ("delta", "huber")):
            if fields.get("loss", loss) != loss:
                merged.pop(name, None)
        if "clip_norm" in fields or "clip_value" in fields:
            merged = {k: v for k, v in merged.items() if k not in ("clip_norm", "clip_value")}
        merged |= fields
    return TrainSettings.check(merged)
