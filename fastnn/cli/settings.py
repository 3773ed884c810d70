"""Settings of ``fastnn train``: the fields and their validation."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from fastnn.backends import BACKENDS, codes
from fastnn.cli import defaults, options
from fastnn.cli.defaults import (
    CHECKPOINT_INTERVAL,
    HELD_OUT,
    LARGE,
    MAX_EPOCHS,
    MIN_EPOCHS,
    MOONS,
    PATIENCE,
    PATIENCE_SHARE,
    SMOOTH_CLIP,
    TABULAR,
    UPDATES,
    VALIDATION,
)
from fastnn.cli.files import FileSettings
from fastnn.fields import MaybeNone, OneOf, setting
from fastnn.network import INITIALIZERS
from fastnn.training.optimizers import OPTIMIZERS, SGD, LevenbergMarquardt, Optimizer

if TYPE_CHECKING:
    from fastnn.datasets import Dataset

# Panels of the help.
DATA, NETWORK, TRAINING, RUN = "Data", "Network", "Training", "Run"

NOT_OF_LM = ("learning_rate", "momentum", "clip_norm", "clip_value", "ema", "batch_size")

_RATES = ", ".join(f"{rule().learning_rate:g} for {name}" for name, rule in OPTIMIZERS.items())

# Settings of the preset plain only: the preset tabular determines these itself.
OF_PLAIN = (
    *("hidden", "layers", "layer_size", "activation", "alpha", "initializer", "label_smoothing"),
    *("l2", "dropout", "optimizer", "learning_rate", "momentum"),
    *("clip_norm", "clip_value", "ema", "batch_size", "early_stopping", "patience"),
    *("standardize", "smooth_clip"),
)
OF_TABULAR = ("members", "time_limit")  # giving one of them makes the preset tabular the default


def _split(value: Any) -> Any:
    """Convert ``"8,8"`` to a list, ``"none"`` or ``""`` to an empty list, a number to ``[number]``.

    Other values are returned unchanged.
    """
    if isinstance(value, str):
        value = value.strip()
        if not value:
            raise ValueError("name at least one, or none")
        return [] if value == "none" else [item.strip() for item in value.split(",")]
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
    help texts means the course's example, whose defaults are
    :data:`fastnn.cli.defaults.MOONS`.
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
        f"{MIN_EPOCHS} to {MAX_EPOCHS}, for about {UPDATES:,} steps; "
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
        f"{CHECKPOINT_INTERVAL}, and at the end; never with --time-limit",
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
            raise ValueError("must increase, as 0.1,0.5,0.9")
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
        given = self.model_dump(exclude_none=True)
        if self.takes_tabular(encoded):
            return TrainSettings.check(defaults.tabular(data) | given)
        return TrainSettings.check(defaults.plain(given, data, n_train, encoded))

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
