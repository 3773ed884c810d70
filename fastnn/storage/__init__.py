"""Model files: safetensors with the settings as JSON in the header.

Nothing in a file is trusted, and nothing is ever unpickled: sizes are checked
before memory is taken, and the settings by pydantic before an array is looked at.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

import fastnn
from fastnn.backends import codes
from fastnn.datasets import write_atomically
from fastnn.errors import ModelFormatError
from fastnn.network import Network
from fastnn.network.spec import FIELDS, NetworkSpec, bounds, choices, default

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor

FORMAT_VERSION = 2
METADATA_KEY = "fastnn"

MAX_HEADER_BYTES = 16 * 2**20  # 100,000 class names and more
MAX_FILE_BYTES = 16 * 2**30

_SAFETENSORS_NAMES = {"float32": "F32", "float64": "F64"}


class _Strict(BaseModel):
    """No unknown fields, no conversions, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Labels(_Strict):
    """Labels in their order, with their type."""

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
        """The labels as the network keeps them."""
        return np.array(self.values, self.dtype)


class Classes(Labels):
    """The labels of a network in the order of its outputs."""

    values: list[bool | int | float | str] = Field(min_length=2)


def _names(field: str) -> Any:
    """Type of a setting of networks that is one of some names."""
    return Literal[choices(field)]  # type: ignore[valid-type]


def _number(field: str, **kind: Any) -> Any:
    """Type of a setting of networks that is a number."""
    return Annotated[float, Field(**bounds(field), **kind)]


class Config(_Strict):
    """What :meth:`fastnn.Network.get_config` gives."""

    layer_sizes: list[int] = Field(min_length=2, max_length=10_000)
    activation: list[_names("activation")]
    alpha: _number("alpha") | None
    loss: _names("loss")
    # these three since format 2
    label_smoothing: _number("label_smoothing") = default("label_smoothing")
    quantile: _number("quantile") = default("quantile")
    delta: _number("delta") = default("delta")
    l2: _number("l2")
    dropout: list[_number("dropout")]
    initializer: _names("initializer")
    standardize: bool
    dtype: _names("dtype")
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
        """What the network is; raises ValueError where settings do not fit each other."""
        return NetworkSpec(**{name: getattr(self, name) for name in FIELDS})


class Description(_Strict):
    """The JSON in a model file.

    Attributes
    ----------
    format_version : int
    kind : str
    fastnn_version : str
        Of the library that wrote the file.
    config : Config
        The network's settings.
    training : dict
        How it was trained, as the command line recorded it; may be empty.
    """

    format_version: Literal[1, 2]
    kind: Literal["Network"]
    fastnn_version: str
    config: Config
    training: dict[str, JsonValue] = {}


Curve = Annotated[list[float | None], Field(max_length=10_000_000)] | None


class Fitted(_Strict):
    """What an estimator learned beside its parameters; None in a curve stands for NaN."""

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


class EstimatorDescription(_Strict):
    """The JSON in the file of an estimator.

    Attributes
    ----------
    format_version : int
    kind : str
        Name of its class.
    fastnn_version : str
    config : Config
        Its network's settings.
    parameters : dict
        Its constructor's arguments.
    fitted : Fitted
    training : dict
        As for a network.
    """

    format_version: Literal[1, 2]
    kind: Literal["MLPClassifier", "MLPRegressor"]
    fastnn_version: str
    config: Config
    parameters: dict[str, JsonValue]
    fitted: Fitted
    training: dict[str, JsonValue] = {}

    @model_validator(mode="after")
    def _consistent(self) -> EstimatorDescription:
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


_ESTIMATORS = ("MLPClassifier", "MLPRegressor")


class _Entry(_Strict):
    """What a safetensors header says about one array."""

    dtype: Literal["F32", "F64"]
    shape: list[int] = Field(min_length=1, max_length=1)
    data_offsets: list[int] = Field(min_length=2, max_length=2)


def save(
    model: Network | MLPClassifier | MLPRegressor,
    path: str | os.PathLike,
    *,
    training: dict[str, Any] | None = None,
) -> None:
    """Write a model file; it is there in full or not at all.

    Parameters
    ----------
    model : Network, MLPClassifier or MLPRegressor
        An estimator must be fitted. Not kept are the moments of its update rule, a RandomState
        (an int is kept), and a ``scoring`` that is a function.
    path : path
        Ends in ``.safetensors`` by custom.
    training : dict, optional
        How it was trained, as plain data (JSON), to be kept in the header.

    Raises
    ------
    ModelFormatError
        If the model cannot be kept, because its parameters are not finite, its labels
        are neither numbers nor strings, or it has a custom activation or loss, which is code.
    """
    import safetensors.numpy

    path = Path(path)
    if isinstance(model, Network):
        network, own = model, {}
    else:
        from fastnn.estimators.fields import fields_of

        own = fields_of(model)  # raises where it is not fitted
        network = model._network()
    try:
        config = network.get_config()
    except ValueError as error:  # custom functions
        raise ModelFormatError(f"{path}: not written, {error}") from None
    arrays = network.arrays()
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ModelFormatError(f"{path}: not written, {name} is not finite")
    fields = {
        "format_version": FORMAT_VERSION,
        "kind": type(model).__name__,
        "fastnn_version": fastnn.__version__,
        "config": config,
        "training": training or {},
        **own,
    }
    try:
        description = _description(fields)
        text = description.model_dump_json()
    except ValueError as error:
        raise ModelFormatError(f"{path}: not written, {_reason(error)}") from None
    data = safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        {METADATA_KEY: text},
    )
    write_atomically(path, data)


def _description(fields: dict[str, Any]) -> Description | EstimatorDescription:
    """Checked description of a network or an estimator."""
    kind = fields.get("kind")
    model = EstimatorDescription if kind in _ESTIMATORS else Description
    return model.model_validate(fields)


def load(path: str | os.PathLike, backend: str = "auto") -> Network | MLPClassifier | MLPRegressor:
    """Model from a model file.

    Parameters
    ----------
    path : path
    backend : {"auto", "cython", "numba", "numpy"}

    Returns
    -------
    Network, MLPClassifier or MLPRegressor
        What was saved.

    Raises
    ------
    ModelFormatError
        If the file is damaged, inconsistent or not one of ours.
    OSError
        If it cannot be read.
    """
    import safetensors.numpy

    path = Path(path)
    with open(path, "rb") as file:
        description, size = _read_header(path, file)
        file.seek(0)
        data = file.read(size)
    try:
        arrays = safetensors.numpy.load(data)
    except Exception as error:  # safetensors has its own kinds
        raise ModelFormatError(f"{path}: {_reason(error)}") from None
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ModelFormatError(f"{path}: {name} is not finite")
        if name.endswith("scale") and not (array > 0).all():
            raise ModelFormatError(f"{path}: {name} is not positive")
    return _build(path, description, arrays, backend)


def describe(path: str | os.PathLike) -> Description | EstimatorDescription:
    """What a model file says about itself; no array is read.

    Parameters
    ----------
    path : path

    Returns
    -------
    Description or EstimatorDescription

    Raises
    ------
    ModelFormatError
        If the file is damaged, inconsistent or not one of ours.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    with open(path, "rb") as file:
        return _read_header(path, file)[0]


def _build(
    path: Path,
    description: Description | EstimatorDescription,
    arrays: dict[str, np.ndarray],
    backend: str,
) -> Network | MLPClassifier | MLPRegressor:
    """The model; a missing or unknown backend is no fault of the file."""
    from fastnn import backends

    backends.load(backend)
    fields = description.model_dump()
    try:
        network = Network.from_config(fields["config"], arrays, backend=backend)
        if isinstance(description, Description):
            return network
        from fastnn import estimators
        from fastnn.estimators.fields import from_fields

        return from_fields(getattr(estimators, description.kind), fields, network, backend)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFormatError(f"{path}: {_reason(error)}") from None


def _read_header(path: Path, file: Any) -> tuple[Description | EstimatorDescription, int]:
    """The checked description, and the size that the file then has."""

    def fail(reason: str) -> ModelFormatError:
        return ModelFormatError(f"{path}: {reason}")

    size = os.fstat(file.fileno()).st_size
    if size > MAX_FILE_BYTES:
        raise fail(f"{size:,} bytes are more than a model may have ({MAX_FILE_BYTES:,})")
    start = file.read(8)
    if len(start) < 8:
        raise fail("not a model file (shorter than a header)")
    (length,) = struct.unpack("<Q", start)
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise fail(f"not a model file (a header of {length:,} bytes in {size:,})")
    try:
        header = _parse(file.read(length))
    except (ValueError, RecursionError) as error:
        raise fail(f"not a model file ({_reason(error)})") from None
    metadata = header.pop("__metadata__", None)
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and "fastnn.cnn" in metadata:
        raise fail("a convolutional network: use fastnn cnn, or fastnn.cnn.load")
    if not isinstance(text, str):
        raise fail("a safetensors file, but not one of fastnn")
    try:
        fields = _parse(text)
        version = fields.get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise fail(
                f"written in format {version}, by a newer fastnn; "
                f"this one reads up to {FORMAT_VERSION}"
            )
        description = _description(fields)
        entries = {name: _Entry.model_validate(entry) for name, entry in header.items()}
    except ModelFormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise fail(_reason(error)) from None

    config = description.config
    shapes = config.spec().shapes
    needed = {"params"}
    if config.standardize and len(entries) > 1:
        needed |= {"input_shift", "input_scale"}
        if config.loss in codes.SCALED_TARGETS:
            needed |= {"target_shift", "target_scale"}
    if set(entries) != needed:
        raise fail(f"has the arrays {', '.join(sorted(entries)) or 'none'}, not the network's")
    itemsize = np.dtype(config.dtype).itemsize
    expected = 8 + length
    for name, entry in entries.items():
        if entry.dtype != _SAFETENSORS_NAMES[config.dtype] or tuple(entry.shape) != shapes[name]:
            raise fail(
                f"{name} is {entry.dtype} of shape {tuple(entry.shape)}; the layer sizes "
                f"{_short(config.layer_sizes)} need {config.dtype} of shape {shapes[name]}"
            )
        expected += shapes[name][0] * itemsize
    if size != expected:
        raise fail(f"has {size:,} bytes instead of {expected:,}")
    return description, size


def _parse(text: str | bytes) -> dict[str, Any]:
    """A JSON object, without NaN, infinities and repeated keys."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise ValueError("a key is there twice")
        return fields

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    fields = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    if not isinstance(fields, dict):
        raise ValueError("the header is no JSON object")
    return fields


def _reason(error: Exception) -> str:
    """One line of what is wrong."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else first["msg"]
    return str(error).strip().split("\n")[0] or type(error).__name__


def _short(sizes: list[int]) -> str:
    return str(sizes) if len(sizes) <= 8 else f"[{sizes[0]}, ..., {sizes[-1]}]"
