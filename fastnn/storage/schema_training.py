"""Schema of a training in the header of a model file: its state, the position of a checkpoint."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, model_validator

from fastnn.storage.schema_config import Strict
from fastnn.training.optimizers import optimizer_from_dict


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
