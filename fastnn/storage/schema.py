"""Schema of the header of a model file, validated by pydantic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from fastnn.backends import codes
from fastnn.network.spec import FIELDS, NetworkSpec, bounds, choices, default
from fastnn.training.optimizers import optimizer_from_dict

FORMAT_VERSION = 4  # of checkpoints and ensembles; all other files have format 3

MAX_FILE_BYTES = 16 * 2**30


class Strict(BaseModel):
    """Base class: no unknown fields, no conversions, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Labels(Strict):
    """Sorted labels with their dtype."""

    dtype: str = Field(pattern=r"^([<>=]?[iuf][1248]|[<>=]?U\d{1,6}|\|[biuO]\d?)$")
    values: list[bool | int | float | str] = Field(min_length=1)

    @model_validator(mode="after")
    def _in_order(self) -> Labels:
        if "U" in self.dtype:
            longest = max(len(str(value)) for value in self.values)
            if int(self.dtype.split("U")[1]) > max(longest, 1):
                raise ValueError("class names are shorter than their type")
        kinds = {str: "UO", bool: "bO", int: "iufO", float: "fO"}
        if any(np.dtype(self.dtype).kind not in kinds[type(value)] for value in self.values):
            raise ValueError("classes do not fit their type")
        try:
            array = self.array()
            ordered = bool((array[:-1] < array[1:]).all())
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"classes are not of one type: {error}") from None
        if not ordered:
            raise ValueError("classes are not in order")
        return self

    def array(self) -> np.ndarray:
        """The labels as an array of their dtype."""
        return np.array(self.values, self.dtype)


class Classes(Labels):
    """The labels of a network in the order of its outputs."""

    values: list[bool | int | float | str] = Field(min_length=2)


def _names(field: str) -> Any:
    """Type of a network setting whose value is one of some names."""
    return Literal[choices(field)]


def _number(field: str, **kind: Any) -> Any:
    """Type of a numeric network setting."""
    limits: dict[str, Any] = bounds(field) | kind
    return Annotated[float, Field(**limits)]


# mypy cannot evaluate types that are computed from the specification.
if TYPE_CHECKING:
    Activation: TypeAlias = str
    Loss: TypeAlias = str
    Initializer: TypeAlias = str
    Dtype: TypeAlias = str
    Alpha: TypeAlias = float
    Smoothing: TypeAlias = float
    Quantile: TypeAlias = float
    Delta: TypeAlias = float
    Beta: TypeAlias = float
    L2: TypeAlias = float
    Rate: TypeAlias = float
    Clip: TypeAlias = float
else:
    Activation, Loss = _names("activation"), _names("loss")
    Initializer, Dtype = _names("initializer"), _names("dtype")
    Alpha, Smoothing = _number("alpha"), _number("label_smoothing")
    Quantile, Delta, L2 = _number("quantile"), _number("delta"), _number("l2")
    Beta = _number("beta")
    Rate, Clip = _number("dropout"), _number("smooth_clip")


class Config(Strict):
    """Result of :meth:`fastnn.Network.get_config`."""

    layer_sizes: list[int] = Field(min_length=2, max_length=10_000)
    activation: list[Activation]
    alpha: Alpha | None
    loss: Loss
    # the following three since format 2
    label_smoothing: Smoothing = default("label_smoothing")
    quantile: Quantile | list[Quantile] = default("quantile")
    delta: Delta = default("delta")
    l2: L2
    dropout: list[Rate]
    initializer: Initializer
    standardize: bool
    smooth_clip: Clip | None = None  # since format 3
    beta: Beta = default("beta")  # since format 3, as are several quantiles
    dtype: Dtype
    classes: Classes | None
    targets_1d: bool
    n_epochs: int = Field(ge=0)
    seed: int = Field(ge=0, lt=2**31)

    @field_validator("layer_sizes")
    @classmethod
    def _possible(cls, sizes: list[int]) -> list[int]:
        if max(sizes) > MAX_FILE_BYTES:
            raise ValueError("layer sizes are more than a file can hold")
        return sizes

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        spec = self.spec()
        if self.classes is not None:
            fit = not spec.is_regression and len(self.classes.values) == spec.n_classes
            if not fit:
                raise ValueError(f"{len(self.classes.values)} classes do not fit the outputs")
        return self

    def spec(self) -> NetworkSpec:
        """The specification of the network; raises ValueError for inconsistent settings."""
        return NetworkSpec(**{name: getattr(self, name) for name in FIELDS})


class TrainingState(Strict):
    """Optimizer and counters of a training (since format 3); the moments are an array.

    Attributes
    ----------
    rule : dict
        Name and settings of the optimizer.
    updates : int
        Number of updates done with these moments.
    epochs : int
    seed : int
        Seed of the order of the samples and of dropout.
    learning_rate : float or None
        Learning rate of an estimator's next epoch.
    """

    rule: dict[str, JsonValue]
    updates: int = Field(ge=0)
    epochs: int = Field(ge=0)
    seed: int = Field(ge=0, lt=2**31)
    learning_rate: float | None = None

    @model_validator(mode="after")
    def _known(self) -> TrainingState:
        optimizer_from_dict(self.rule)
        return self

    @property
    def n_moments(self) -> int:
        """Number of values kept for each parameter."""
        return optimizer_from_dict(self.rule).n_moments


class RandomNumbers(Strict):
    """State of NumPy's RandomState, as returned by its ``get_state``."""

    key: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(min_length=624, max_length=624)
    pos: int = Field(ge=0, le=624)
    has_gauss: int = Field(ge=0, le=1)
    gauss: float


class Run(Strict):
    """Position of the training in a checkpoint (since format 4), without its arrays.

    Attributes
    ----------
    settings : dict
        Settings of the training.
    data : dict
        Digest of each array of training data.
    first_epoch, steps, batches, seconds, is_over
        As for :class:`fastnn.training.checkpoints.RunPosition`.
    n_losses : int
        Number of steps whose losses are stored; zero for estimators.
    n_validated : int or None
        Number of epochs whose validation is stored; None without validation.
    best_epoch : int
        Epoch whose parameters are stored; -1 if there are none.
    best_loss : float or None
        Validation loss of the best epoch.
    random : RandomNumbers or None
        Of an estimator, before its first epoch.
    has_front : bool
        Whether the update rule has trained factors of the features: of a network of a table.
    """

    settings: dict[str, JsonValue]
    data: dict[str, str]
    first_epoch: int = Field(ge=0)
    steps: int = Field(ge=0)
    batches: int = Field(ge=1)
    seconds: float = Field(ge=0)
    is_over: bool
    n_losses: int = Field(ge=0)
    n_validated: int | None = Field(ge=0)
    best_epoch: int = Field(ge=-1)
    best_loss: float | None
    random: RandomNumbers | None
    has_front: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Run:
        epochs = self.steps // self.batches
        if self.n_losses not in (0, self.steps):
            raise ValueError(f"{self.n_losses} losses of {self.steps} steps")
        if self.n_validated is not None and self.n_validated not in (epochs, epochs - 1):
            raise ValueError(f"{self.n_validated} of {epochs} epochs are validated")
        if self.best_epoch > epochs or (self.best_loss is None) != (self.best_epoch < 0):
            raise ValueError(f"epoch {self.best_epoch} of {epochs} cannot be the best")
        return self


class Description(Strict):
    """The JSON in a model file.

    Attributes
    ----------
    format_version : int
    kind : str
    fastnn_version : str
        Version of the library that wrote the file.
    config : Config
        Settings of the network.
    training : dict
        Description of the training, as recorded by the command line; may be empty.
    training_state : TrainingState or None
        State from which training can be continued, if it was saved.
    table : dict or None
        State of the :class:`fastnn.tables.Encoding` that converts the columns of a table to
        inputs (since format 3).
    run : Run or None
        Position of the training, in checkpoints.
    """

    format_version: Literal[1, 2, 3, 4]
    kind: Literal["Network"]
    fastnn_version: str
    config: Config
    training: dict[str, JsonValue] = {}
    training_state: TrainingState | None = None
    table: dict[str, JsonValue] | None = None
    run: Run | None = None

    @model_validator(mode="after")
    def _table_fits(self) -> Description:
        check_table(self.table, self.config.layer_sizes[0])
        return self


Curve = Annotated[list[float | None], Field(max_length=10_000_000)] | None


class Fitted(Strict):
    """Fitted attributes of an estimator other than its parameters; None in a curve means NaN."""

    n_iter: int = Field(ge=0)
    t: int = Field(ge=0)
    loss: float | None
    best_loss: float | None
    loss_curve: Curve
    validation_scores: Curve
    validation_loss_curve: Curve
    best_validation_score: float | None
    no_improvement_count: int = Field(ge=0)
    feature_names: list[str] | None
    target_type: Literal["binary", "multiclass", "multilabel-indicator"] | None
    labels: Labels | None


class EstimatorDescription(Strict):
    """The JSON in the file of an estimator.

    Attributes
    ----------
    format_version : int
    kind : str
        Name of the class.
    fastnn_version : str
    config : Config
        Settings of the network.
    parameters : dict
        Arguments of the constructor.
    fitted : Fitted
    training, training_state, table, run
        As for a network.
    """

    format_version: Literal[1, 2, 3, 4]
    kind: Literal["MLPClassifier", "MLPRegressor"]
    fastnn_version: str
    config: Config
    parameters: dict[str, JsonValue]
    fitted: Fitted
    training: dict[str, JsonValue] = {}
    training_state: TrainingState | None = None
    table: dict[str, JsonValue] | None = None
    run: Run | None = None

    @model_validator(mode="after")
    def _consistent(self) -> EstimatorDescription:
        check_table(self.table, self.config.layer_sizes[0])
        sizes, loss, fitted = self.config.layer_sizes, self.config.loss, self.fitted
        if self.config.standardize or self.config.classes is not None:
            raise ValueError("the network of an estimator has neither scales nor classes")
        if fitted.feature_names is not None and len(fitted.feature_names) != sizes[0]:
            raise ValueError(f"{len(fitted.feature_names)} feature names for {sizes[0]} features")
        if self.kind == "MLPRegressor":
            if loss not in codes.REGRESSION or fitted.labels is not None or fitted.target_type:
                raise ValueError("a regressor has a loss of regression and no labels")
            return self
        if fitted.labels is None or fitted.target_type is None:
            raise ValueError("a classifier has labels")
        n_labels = len(fitted.labels.values)
        fits = {
            "binary": sizes[-1] == 1 and n_labels <= 2,
            "multiclass": sizes[-1] == n_labels >= 3,
            "multilabel-indicator": sizes[-1] == n_labels,
        }
        wanted = "cross_entropy" if fitted.target_type == "multiclass" else "binary_cross_entropy"
        if loss != wanted or not fits[fitted.target_type]:
            raise ValueError(
                f"{n_labels} labels ({fitted.target_type}) do not fit {sizes[-1]} outputs, {loss}"
            )
        return self


class Member(Strict):
    """A network of an ensemble; the arrays of the K-th are named ``K.params`` and so on."""

    config: Config
    weight: float = Field(gt=0)


class EnsembleDescription(Strict):
    """The JSON in the file of an ensemble (since format 4).

    Attributes
    ----------
    format_version : int
    kind : str
    fastnn_version : str
    members : list of Member
        Networks with the same inputs, loss and classes.
    training, table
        As for a network.
    """

    format_version: Literal[4]
    kind: Literal["Ensemble"]
    fastnn_version: str
    members: list[Member] = Field(min_length=1, max_length=1000)
    training: dict[str, JsonValue] = {}
    table: dict[str, JsonValue] | None = None
    # fields of the other descriptions
    training_state: None = None
    run: None = None

    @property
    def config(self) -> Config:
        """Settings of the first network."""
        return self.members[0].config

    @model_validator(mode="after")
    def _fit_each_other(self) -> EnsembleDescription:
        first = self.config
        if first.loss != "cross_entropy" and first.loss not in codes.REGRESSION:
            raise ValueError(f"members: the loss {first.loss} has no ensembles")
        for member in self.members:
            other = member.config
            if (
                (other.layer_sizes[0], other.layer_sizes[-1])
                != (first.layer_sizes[0], first.layer_sizes[-1])
                or (other.loss, other.dtype, other.targets_1d)
                != (first.loss, first.dtype, first.targets_1d)
                or other.classes != first.classes
            ):
                raise ValueError("members: networks of different inputs or outputs")
        check_table(self.table, first.layer_sizes[0])
        return self


AnyDescription: TypeAlias = Description | EstimatorDescription | EnsembleDescription


def check_table(state: dict[str, Any] | None, n_inputs: int) -> None:
    """Raise ValueError unless an encoding with this state produces ``n_inputs`` columns."""
    if state is not None:
        from fastnn.tables.encoding import n_outputs

        if n_outputs(state) != n_inputs:
            raise ValueError(f"table: makes {n_outputs(state)} columns for {n_inputs} inputs")


ESTIMATORS = ("MLPClassifier", "MLPRegressor")


def checked_description(fields: dict[str, Any]) -> AnyDescription:
    """Validate the description of a network, an estimator or an ensemble."""
    kind = fields.get("kind")
    if kind == "Ensemble":
        return EnsembleDescription.model_validate(fields)
    model = EstimatorDescription if kind in ESTIMATORS else Description
    return model.model_validate(fields)
