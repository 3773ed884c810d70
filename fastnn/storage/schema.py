"""Schema of the header of a model file, validated by pydantic."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, JsonValue, model_validator

from fastnn.backends import codes
from fastnn.storage.schema_config import Config, Labels, Strict
from fastnn.storage.schema_training import Run, TrainingState

FORMAT_VERSION = 4  # of checkpoints and ensembles; all other files have format 3


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
    training: dict[str, JsonValue] = Field(default_factory=dict)
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
    training: dict[str, JsonValue] = Field(default_factory=dict)
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
    training: dict[str, JsonValue] = Field(default_factory=dict)
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
