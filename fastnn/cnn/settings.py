"""Settings of ``fastnn cnn train``: validation and presets."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import model_validator

from fastnn.fields import MaybeNone, OneOf, SettingsModel, setting

DATA = ("mnist", "digits")
ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky_relu", "elu", "maxout")
INITIALIZERS = (
    "truncated_normal",
    "glorot_uniform",
    "glorot_normal",
    "he_normal",
    "lecun_normal",
)
SUMMARIES = ("off", "light", "full")
SCHEDULES = ("constant", "one_cycle")

# Default learning rate of each update rule for this network. Initial weights with a standard
# deviation of 0.1 lead to large net inputs; rules that do not scale the gradient need small steps.
LEARNING_RATES = {
    "adam": 1e-4,
    "sgd": 1e-2,
    "momentum": 1e-3,
    "adagrad": 1e-2,
    "rmsprop": 1e-4,
    "adamw": 1e-4,
}

_FAST: dict[str, Any] = {
    "activation": "relu",
    "init": "he_normal",
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "schedule": "one_cycle",
    "batch_size": 64,
    "steps": 440,
    "dropout": 0.2,
    "label_smoothing": 0.1,
    "pool_first": True,
    "precision": "auto",
    "summaries": "light",
}

# The course's run; the shortest run of the same accuracy; a longer run with fewer errors.
PRESETS: dict[str, dict[str, Any]] = {
    "course": {
        "activation": "relu",
        "init": "truncated_normal",
        "optimizer": "adam",
        "schedule": "constant",
        "batch_size": 50,
        "steps": 5500,
        "dropout": 0.5,
        "label_smoothing": 0.0,
        "pool_first": False,
        "precision": "float32",
        "summaries": "full",
    },
    "fast": _FAST,
    "accurate": _FAST | {"learning_rate": 3e-3, "batch_size": 128, "steps": 720, "dropout": 0.4},
}


def _by_preset(name: str) -> str:
    """A setting's default in words: the course's value, then the other presets that differ."""
    presets: dict[Any, list[str]] = {}
    for preset, settings in PRESETS.items():
        value = settings[name]
        presets.setdefault(f"{value:g}" if isinstance(value, float) else value, []).append(preset)
    usual, *others = presets
    return "; ".join([str(usual), *(f"{k} for {' and '.join(presets[k])}" for k in others)])


# Help texts and descriptions of the defaults.
_DATA_DIR = (
    "Folder with the MNIST files.",
    "FASTNN_DATA_DIR, or the cache folder, downloaded if absent",
)
_DATA = "mnist, or digits: scikit-learn's 1,797 digits, enlarged."
_EPOCHS = ("Passes over the data, instead of --steps.", "as many as the steps need")
_PRESET = "as in the preset"


class Settings(SettingsModel):
    """Settings of a training run; None selects the value of the preset.

    Attributes
    ----------
    preset : {"course", "fast", "accurate"}
    data : {"mnist", "digits"}
        MNIST, or scikit-learn's 1,797 digits enlarged to the size of MNIST images.
    data_dir : str or None
        Folder with the MNIST files.
    activation : str
        Activation of both convolutional layers and the dense layer; maxout takes the larger of two
        net inputs per unit and has twice the weights in these layers.
    init : str
        Distribution of the initial weights; truncated_normal has a standard deviation of 0.1.
        Biases start at 0.1.
    optimizer : str
    learning_rate : float
        Default: that of the preset if ``optimizer`` is the preset's, else a rate that suits the
        update rule. With one_cycle it is the peak.
    schedule : {"constant", "one_cycle"}
    batch_size, steps : int
    epochs : float or None
        Number of passes over the training data; alternative to ``steps``.
    dropout : float
        Dropout rate after the dense layer, in training only.
    label_smoothing : float
        Fraction of each target that is distributed equally among all ten digits, in training only
        (Szegedy et al., 2016): fewer errors after few steps, but less certain probabilities.
    seed : int
        Seed of weights, shuffling and dropout.
    pool_first : bool
        Pool before bias and activation. Both are monotonic, and maxout is a maximum itself, so the
        result is bitwise the same, but bias and activation apply to a quarter of the values.
    precision : {"float32", "bfloat16", "auto"}
        Precision of the products; weights and updates are float32. auto selects bfloat16 if the
        CPU supports it in hardware.
    summaries : {"off", "light", "full"}
        Summaries written for TensorBoard.

    Examples
    --------
    >>> from fastnn.cnn import Settings
    >>> settings = Settings(preset="fast", seed=3).completed()
    >>> settings.steps, settings.batch_size
    (440, 64)
    """

    heading: ClassVar[str] = "settings of a run of fastnn cnn train"

    preset: Annotated[str, OneOf(PRESETS)] = setting(
        "course: 5,500 steps of Adam; fast: the same accuracy in a tenth of the time; "
        "accurate: fewer errors in a third of the time.",
        default="course",
    )
    data: Annotated[str, OneOf(DATA)] = setting(_DATA, default="mnist")
    data_dir: str | None = setting(*_DATA_DIR)
    activation: Annotated[str, OneOf(ACTIVATIONS)] | MaybeNone = setting(
        f"Activation function: {', '.join(ACTIVATIONS)}.", _by_preset("activation"), metavar="NAME"
    )
    init: Annotated[str, OneOf(INITIALIZERS)] | MaybeNone = setting(
        f"Initial weights: {', '.join(INITIALIZERS)}.",
        _by_preset("init"),
        metavar="NAME",
        flag="initializer",
    )
    optimizer: Annotated[str, OneOf(LEARNING_RATES)] | MaybeNone = setting(
        f"Update rule: {', '.join(LEARNING_RATES)}.", _by_preset("optimizer"), metavar="NAME"
    )
    learning_rate: float | MaybeNone = setting(
        "Step size; its peak with the presets fast and accurate.",
        f"one that suits the update rule, {LEARNING_RATES['adam']:g} for adam; "
        + "; ".join(f"{v['learning_rate']:g} for {k}" for k, v in PRESETS.items() if k != "course"),
        gt=0,
    )
    schedule: Annotated[str, OneOf(SCHEDULES)] | MaybeNone = None
    batch_size: int | MaybeNone = setting(
        "Images per step.", _by_preset("batch_size"), ge=1, le=100_000
    )
    steps: int | MaybeNone = setting("Number of steps.", _by_preset("steps"), ge=1, lt=2**31)
    epochs: float | None = setting(*_EPOCHS, gt=0, lt=1e6)
    dropout: float | MaybeNone = setting(
        "Dropout rate after the dense layer.", _by_preset("dropout"), ge=0, lt=1
    )
    label_smoothing: float | MaybeNone = setting(
        "Share of each target that is distributed equally among all digits.",
        _by_preset("label_smoothing"),
        ge=0,
        lt=1,
    )
    seed: int = setting("Seed of weights, shuffling and dropout.", default=0, ge=0, lt=2**31)
    pool_first: bool | MaybeNone = None
    precision: Literal["float32", "bfloat16", "auto"] | MaybeNone = None
    summaries: Annotated[str, OneOf(SUMMARIES)] | MaybeNone = setting(
        "What to write for TensorBoard.", _by_preset("summaries")
    )

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give steps or epochs, not both")
        return self

    def completed(self, n_train: int | None = None) -> Settings:
        """Fill in all settings from the preset.

        Parameters
        ----------
        n_train : int, optional
            Number of training images; required if ``epochs`` is given.

        Returns
        -------
        Settings
            With ``steps`` instead of ``epochs``.

        Examples
        --------
        >>> from fastnn.cnn import Settings
        >>> Settings(preset="fast").completed().steps
        440
        >>> Settings(preset="fast", epochs=1).completed(60_000).steps
        938
        """
        given = self.model_dump(exclude_none=True)
        merged = PRESETS[self.preset] | given
        epochs = merged.pop("epochs", None)
        if epochs is not None:
            if n_train is None:
                raise ValueError("epochs need data; give steps")
            merged["steps"] = max(1, round(epochs * n_train / merged["batch_size"]))
        own_rate = PRESETS[self.preset].get("learning_rate")
        if "learning_rate" not in given and (
            own_rate is None or merged["optimizer"] != PRESETS[self.preset]["optimizer"]
        ):
            merged["learning_rate"] = LEARNING_RATES[merged["optimizer"]]
        if merged["precision"] == "auto":
            merged["precision"] = "bfloat16" if has_bfloat16() else "float32"
        return Settings.check(merged)


class ComparisonSettings(SettingsModel):
    """Options of ``fastnn cnn compare``; all except ``ONE_VALUE`` take comma-separated values."""

    ONE_VALUE: ClassVar[tuple[str, ...]] = ("data", "data_dir", "steps", "epochs", "summaries")

    preset: str | None = setting("Presets, as course,fast.", "course")
    activation: str | None = setting("Activation functions, as relu,tanh.", _PRESET)
    init: str | None = setting("Initialisers.", _PRESET, flag="initializer")
    optimizer: str | None = setting("Update rules.", _PRESET)
    learning_rate: str | None = setting("Learning rates, as 1e-4,3e-4.", _PRESET)
    batch_size: str | None = setting("Batch sizes.", _PRESET)
    dropout: str | None = setting("Dropout rates.", _PRESET)
    label_smoothing: str | None = setting("Label smoothing, as 0,0.1.", _PRESET)
    data: Annotated[str, OneOf(DATA)] | None = setting(_DATA, "mnist")
    data_dir: str | None = setting(*_DATA_DIR)
    steps: int | None = setting("Steps of every run.", _PRESET)
    epochs: float | None = setting(*_EPOCHS)
    summaries: Annotated[str, OneOf(SUMMARIES)] = setting(
        "What to write for TensorBoard, with a table of hyperparameters.", default="light"
    )


@functools.cache
def has_bfloat16() -> bool:
    """Whether the CPU supports bfloat16 products in hardware; detected on Linux only."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags)
