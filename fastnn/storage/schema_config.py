"""Schema of a network in the header of a model file: its settings and classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fastnn.network.spec import FIELDS, NetworkSpec, bounds, choices, default

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
