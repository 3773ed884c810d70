"""Specification of a network: one frozen dataclass with all its settings.

:class:`fastnn.Network` is created from it and model files store its fields. Code that offers the
same settings (the command line, the schema of model files) takes names, choices, bounds and
defaults from its fields, by :func:`choices`, :func:`bounds` and :func:`default`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

from fastnn.backends import codes
from fastnn.backends.model import Model
from fastnn.network.custom import CustomActivation, CustomLoss
from fastnn.network.initializers import INITIALIZERS
from fastnn.validation import as_bool, as_integer, as_real, one_of

DTYPES = ("float32", "float64")

# Default alpha of the activations that have this parameter.
DEFAULT_ALPHA: dict[str | CustomActivation, float] = {"leaky_relu": 0.01, "elu": 1.0}


def _bounded(low: float, high: float | None = None, *, low_open: bool = False) -> dict[str, Any]:
    """Metadata of a number with ``low <= number < high`` (``low < number`` if open)."""
    return {"low": low, "high": high, "low_open": low_open}


def _choice_of(allowed: Iterable[str]) -> dict[str, Any]:
    """Metadata of a field whose value is one of some names."""
    return {"choices": tuple(allowed)}


def _converted_default(value: Any) -> Any:
    """A default that ``__post_init__`` converts to the type of its field."""
    return value


@dataclass(frozen=True)
class NetworkSpec:
    """Settings of a network; the fields are described at :class:`fastnn.Network`.

    ``activation`` and ``dropout`` may be single values for all hidden layers; they are converted
    to tuples with one entry per hidden layer.

    Raises
    ------
    ValueError
        If a field is invalid, on its own or in combination with others.
    """

    layer_sizes: tuple[int, ...]
    activation: tuple[str | CustomActivation, ...] = field(
        default=_converted_default("tanh"), metadata=_choice_of(codes.ACTIVATIONS)
    )
    alpha: float | None = field(default=None, metadata=_bounded(0.0))
    loss: str | CustomLoss = field(default="cross_entropy", metadata=_choice_of(codes.LOSSES))
    label_smoothing: float = field(default=0.0, metadata=_bounded(0.0, 1.0))
    quantile: float | tuple[float, ...] = field(
        default=0.5, metadata=_bounded(0.0, 1.0, low_open=True)
    )
    delta: float = field(default=1.0, metadata=_bounded(0.0, low_open=True))
    beta: float = field(default=0.5, metadata=_bounded(0.0))
    l2: float = field(default=0.0, metadata=_bounded(0.0))
    dropout: tuple[float, ...] = field(default=_converted_default(0.0), metadata=_bounded(0.0, 1.0))
    initializer: str = field(default="auto", metadata=_choice_of(INITIALIZERS))
    standardize: bool = False
    smooth_clip: float | None = field(default=None, metadata=_bounded(0.0, low_open=True))
    dtype: np.dtype = field(default=_converted_default("float32"), metadata=_choice_of(DTYPES))

    # Derived fields: name of the loss, built-in or custom; whether its targets are real numbers;
    # number of outputs per target, which are adjacent; number of targets.
    loss_name: str = field(init=False, repr=False, compare=False)
    is_regression: bool = field(init=False, repr=False, compare=False)
    outputs_per_target: int = field(init=False, repr=False, compare=False)
    n_targets: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "layer_sizes", _sizes(self.layer_sizes))
        if isinstance(self.loss, CustomLoss):
            loss, is_regression = self.loss.name, True
        else:
            loss = one_of("loss", self.loss, choices("loss"))
            is_regression = loss in codes.REGRESSION
        set_(self, "loss_name", loss)
        set_(self, "is_regression", is_regression)
        if self.loss == "cross_entropy" and self.n_outputs < 2:
            raise ValueError(
                "cross_entropy needs at least two outputs; "
                "use binary_cross_entropy for one (layer_sizes ends in 1)"
            )
        for name in ("label_smoothing", "delta", "beta", "l2"):
            set_(self, name, _as_number(name, getattr(self, name)))
        set_(self, "quantile", as_quantiles(self.quantile))
        per_target = codes.outputs_per_target(self._loss_code, self._loss_constants)
        set_(self, "outputs_per_target", per_target)
        set_(self, "n_targets", self.n_outputs // per_target)
        if self.n_outputs % per_target:
            each = "a mean and a logarithm of the variance"
            if loss == "quantile":
                each = f"the {per_target} quantiles"
            raise ValueError(
                f"the loss {loss} has {per_target} outputs for each target, {each}: layer_sizes "
                f"must end in a multiple of {per_target}; got {self.n_outputs}"
            )
        if self.label_smoothing and self.is_regression:
            raise ValueError(
                f"label_smoothing needs a loss of classification; this one is {self.loss_name}"
            )
        set_(self, "activation", self._per_layer("activation", _as_activation))
        set_(self, "alpha", None if self.alpha is None else _as_number("alpha", self.alpha))
        set_(self, "dropout", self._per_layer("dropout", _as_number))
        one_of("initializer", self.initializer, choices("initializer"))
        set_(self, "standardize", as_bool("standardize", self.standardize))
        if self.smooth_clip is not None:
            set_(self, "smooth_clip", _as_number("smooth_clip", self.smooth_clip))
            if not self.standardize:
                raise ValueError("smooth_clip clips standardised features: set standardize=True")
        set_(self, "dtype", _as_dtype(self.dtype))

    def _per_layer(self, name: str, check: Callable[[str, Any], Any]) -> tuple[Any, ...]:
        """Validate one value for all hidden layers, or one for each; return a tuple."""
        value, n_hidden = getattr(self, name), len(self.layer_sizes) - 2
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
            return (check(name, value),) * n_hidden
        if len(value) != n_hidden:
            raise ValueError(
                f"{name} must be one value or one for each of {n_hidden} hidden layers; "
                f"got {len(value)}"
            )
        return tuple(check(name, item) for item in value)

    # --- derived ----------------------------------------------------------------

    @property
    def n_features(self) -> int:
        """Number of inputs."""
        return self.layer_sizes[0]

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return self.layer_sizes[-1]

    @property
    def _loss_code(self) -> int:
        return codes.LOSSES.get(self.loss_name, codes.CUSTOM_LOSS)

    @property
    def _loss_constants(self) -> list[float]:
        """The constants of a built-in loss."""
        if self.loss_name == "quantile":
            return list(self.quantile) if isinstance(self.quantile, tuple) else [self.quantile]
        of_loss = {"huber": self.delta, "gaussian": self.beta}
        return [of_loss.get(self.loss_name, self.label_smoothing)]

    @property
    def n_classes(self) -> int:
        """Number of classes of a classification with one class per sample."""
        return max(self.n_outputs, 2)

    @property
    def has_target_columns(self) -> bool:
        """Whether targets are columns of numbers, not class labels."""
        multilabel = self.loss_name == "binary_cross_entropy" and self.n_outputs > 1
        return self.is_regression or multilabel

    @property
    def scales_targets(self) -> bool:
        """Whether the loss allows targets to be shifted and scaled."""
        return isinstance(self.loss, CustomLoss) or self.loss in codes.SCALED_TARGETS

    @property
    def input_dtype(self) -> np.dtype | None:
        """Data type to which samples are cast on input; None if they are standardised first."""
        return None if self.standardize else self.dtype

    @property
    def target_dtype(self) -> np.dtype | None:
        """Data type of real targets on input; None if they are standardised first."""
        return None if self.standardize and self.scales_targets else self.dtype

    @property
    def custom(self) -> list[CustomActivation | CustomLoss]:
        """The custom functions, without duplicates."""
        pairs = [*self.activation, self.loss]
        return list(dict.fromkeys(p for p in pairs if isinstance(p, CustomActivation | CustomLoss)))

    @property
    def alphas(self) -> list[float]:
        """Alpha of the activation of each dense layer, 0 for activations without alpha."""
        names = [*self.activation, "identity"]
        if self.alpha is None:
            return [DEFAULT_ALPHA.get(name, 0.0) for name in names]
        return [self.alpha if name in DEFAULT_ALPHA else 0.0 for name in names]

    @property
    def shapes(self) -> dict[str, tuple[int]]:
        """Shape of every array that a network can have, by name."""
        sizes = self.layer_sizes
        return {
            "params": (sum((m + 1) * n for m, n in pairwise(sizes)),),
            "input_shift": (self.n_features,),
            "input_scale": (self.n_features,),
            "target_shift": (self.n_outputs,),
            "target_scale": (self.n_outputs,),
            "input_low": (self.n_features,),
            "input_high": (self.n_features,),
        }

    # --- conversions --------------------------------------------------------------

    def model(self, kernels: ModuleType) -> Model:
        """Create the model for the kernels of a backend; its parameters are uninitialised."""
        names: list[Any] = [*self.activation, "identity"]
        constants: list[Any] = self.alphas
        constants[-1:] = self._loss_constants
        for k, pair in enumerate([*self.activation, self.loss]):
            if not isinstance(pair, str):
                constants[k] = pair.for_kernels(kernels.NAME, self.dtype)
        return Model(
            kernels,
            self.layer_sizes,
            [codes.ACTIVATIONS.get(name, codes.CUSTOM_ACTIVATION) for name in names],
            constants,
            self.dropout,
            self._loss_code,
            self.dtype,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data (JSON), from which an equal spec can be created.

        Raises
        ------
        ValueError
            If there are custom functions.
        """
        if self.custom:
            raise ValueError(
                f"{self.custom[0]!r} is code and cannot be stored as data: pickle the network, or "
                "keep arrays() and make the network again"
            )
        values = {name: getattr(self, name) for name in FIELDS}
        for name in ("layer_sizes", "activation", "dropout", "quantile"):
            if isinstance(values[name], tuple):
                values[name] = list(values[name])
        return values | {"dtype": self.dtype.name}


# --- the table of fields ------------------------------------------------------------

FIELDS = {each.name: each for each in fields(NetworkSpec) if each.init}


def choices(name: str) -> tuple[str, ...]:
    """Allowed names of a field, without custom functions."""
    return FIELDS[name].metadata["choices"]


def default(name: str) -> Any:
    """Default value of a field."""
    return FIELDS[name].default


def bounds(name: str) -> dict[str, float]:
    """Bounds of a numeric field: ``gt`` or ``ge``, and ``lt`` if there is an upper bound."""
    limits = FIELDS[name].metadata
    lower = {"gt" if limits["low_open"] else "ge": limits["low"]}
    return lower if limits["high"] is None else lower | {"lt": limits["high"]}


def shortened(layer_sizes: Sequence[int]) -> str:
    """Layer sizes as text for a message, shortened if there are many."""
    sizes = list(layer_sizes)
    return str(sizes) if len(sizes) <= 8 else f"[{sizes[0]}, ..., {sizes[-1]}]"


def _as_number(name: str, value: Any) -> float:
    """Convert to a float and check the bounds of the field."""
    limits = FIELDS[name].metadata
    high = np.inf if limits["high"] is None else limits["high"]
    return as_real(name, value, limits["low"], high, low_open=limits["low_open"])


def as_quantiles(value: Any) -> float | tuple[float, ...]:
    """Validate quantiles: return a single one as a float, several as a tuple.

    Raises
    ------
    ValueError
        If one is not in (0, 1), or several are not in strictly increasing order.
    """
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        return _as_number("quantile", value)
    several = tuple(_as_number("quantile", item) for item in value)
    if not several or any(a >= b for a, b in pairwise(several)):
        raise ValueError(
            f"quantile must be one number or several in increasing order; got {list(several)}"
        )
    return several if len(several) > 1 else several[0]


def _as_activation(name: str, value: Any) -> str | CustomActivation:
    """Validate the name of an activation, or a custom activation."""
    return value if isinstance(value, CustomActivation) else one_of(name, value, choices(name))


def _sizes(layer_sizes: Any) -> tuple[int, ...]:
    """Validate layer sizes: at least two positive integers."""
    try:
        if isinstance(layer_sizes, str):
            raise TypeError
        sizes = tuple(
            as_integer(f"layer_sizes[{k}]", size, 1) for k, size in enumerate(layer_sizes)
        )
    except TypeError:
        raise ValueError(
            f"layer_sizes must be a sequence of whole numbers; got {layer_sizes!r}"
        ) from None
    if len(sizes) < 2:
        raise ValueError(f"layer_sizes needs inputs and outputs; got {list(sizes)}")
    return sizes


def _as_dtype(dtype: Any) -> np.dtype:
    """Validate a dtype: float32 or float64."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64; got {dtype!r}")
    return found
