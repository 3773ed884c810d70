"""Settings of a request: every field with its bounds and default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fastnn.backends import BACKENDS, codes
from fastnn.fields import OneOf, SettingsModel
from fastnn.network import INITIALIZERS
from fastnn.training.optimizers import OPTIMIZERS, SGD, Optimizer

DATA = ("moons", "circles", "blobs", "spirals", "quantiles", "xor", "points")
# Data with a selectable number of classes; the others have two.
SEVERAL_CLASSES = ("blobs", "spirals", "quantiles", "points")
# Data sets whose points are displaced by noise.
NOISY = ("moons", "circles", "blobs", "spirals", "xor")

MAX_POINTS = 2000
MAX_CLASSES = 4
MAX_LAYERS = 8
MAX_UNITS = 32
MAX_STEPS = 200_000
MAX_SECONDS = 20.0  # duration of one training run

Units = Annotated[int, Field(ge=1, le=MAX_UNITS)]
Activation = Annotated[str, OneOf(codes.ACTIVATIONS)]
Coordinate = Annotated[float, Field(ge=-1e15, le=1e15)]
Point = tuple[Coordinate, Coordinate, Annotated[int, Field(ge=0, lt=MAX_CLASSES)]]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class PlaySettings(SettingsModel):
    """Data, network and training of a request; the defaults are those of the course.

    Attributes
    ----------
    data : str
        One of ``DATA``; "points" selects the points in ``points``.
    samples : int
        Number of points drawn, held-out points included.
    noise : float
        Standard deviation of the Gaussian noise added to every point.
    factor : float
        Radius of the inner circle.
    scale : float
        Factor by which both features are multiplied.
    held_out : float
        Fraction of the points excluded from training.
    points : list of (x, y, class)
        User-defined points.
    hidden, activation : list
        Number of units and activation of each hidden layer.
    steps : int
        Minimum number of updates; training ends with the epoch in which it is reached.
    batch_size : int
        0 means all training points.
    """

    data: Annotated[str, OneOf(DATA)] = "moons"
    samples: int = Field(200, ge=10, le=MAX_POINTS)
    noise: float = Field(0.2, ge=0, le=2)
    classes: int = Field(2, ge=2, le=MAX_CLASSES)
    factor: float = Field(0.5, ge=0.1, le=0.95)
    scale: float = Field(1.0, ge=1e-6, le=1e6)
    data_seed: Seed = 0
    held_out: float = Field(0.0, ge=0, le=0.9)
    points: list[Point] = Field([], max_length=MAX_POINTS)

    hidden: list[Units] = Field([3], max_length=MAX_LAYERS)
    activation: list[Activation] = Field(["tanh"], max_length=MAX_LAYERS)
    initializer: Annotated[str, OneOf(INITIALIZERS)] = "lecun_normal"
    l2: float = Field(5e-5, ge=0, le=10)
    dropout: float = Field(0.0, ge=0, le=0.9)
    standardize: bool = False
    seed: Seed = 0

    optimizer: Annotated[str, OneOf(OPTIMIZERS)] = "sgd"
    learning_rate: float = Field(2.0, gt=0, le=1e6)
    momentum: float = Field(0.0, ge=0, lt=1)
    batch_size: int = Field(0, ge=0, le=MAX_POINTS)
    steps: int = Field(20_000, ge=1, le=MAX_STEPS)
    dtype: Literal["float32", "float64"] = "float64"
    backend: Annotated[str, OneOf(("auto", *BACKENDS))] = "auto"

    @model_validator(mode="after")
    def _consistent(self) -> PlaySettings:
        if len(self.activation) != len(self.hidden) and self.hidden:
            raise ValueError(
                f"activation must have one name for each of the {len(self.hidden)} hidden "
                f"layers; got {len(self.activation)}"
            )
        if self.data == "points":
            classes = {k for _, _, k in self.points}
            if len(self.points) < 2 or len(classes) < 2:
                raise ValueError(
                    "points: draw points of two classes at least (choose a class below the picture)"
                )
        return self

    @property
    def n_classes(self) -> int:
        """Requested number of classes."""
        return self.classes if self.data in SEVERAL_CLASSES else 2

    def make_optimizer(self) -> Optimizer:
        """Create the update rule."""
        if self.optimizer == "sgd":
            return SGD(self.learning_rate, momentum=self.momentum)
        return OPTIMIZERS[self.optimizer](self.learning_rate)

    def network(self, n_outputs: int) -> dict[str, Any]:
        """Arguments of :class:`fastnn.Network` that differ from its defaults."""
        one = len(set(self.activation)) <= 1
        given: dict[str, Any] = {"layer_sizes": [2, *self.hidden, n_outputs]}
        if self.hidden:
            given["activation"] = self.activation[0] if one else list(self.activation)
        rest = {
            "l2": (self.l2, 0.0),
            "dropout": (self.dropout if self.hidden else 0.0, 0.0),
            "initializer": (self.initializer, "auto"),
            "standardize": (self.standardize, False),
            "backend": (self.backend, "auto"),
            "dtype": (self.dtype, "float32"),
        }
        given |= {name: value for name, (value, default) in rest.items() if value != default}
        return given | {"random_state": self.seed}

    def batches(self, n_train: int) -> int:
        """Number of steps per epoch of ``n_train`` points."""
        return -(-n_train // min(self.batch_size or n_train, n_train))

    def epochs(self, n_train: int) -> int:
        """Number of epochs of ``n_train`` points that have at least ``steps`` steps."""
        return -(-self.steps // self.batches(n_train))


def describe() -> dict[str, Any]:
    """Default, bounds and choices of every field, for the page."""
    schema = PlaySettings.model_json_schema()["properties"]
    fields = {}
    for name, about in schema.items():
        items = about.get("items", {})
        limits = {
            "minimum": about.get("minimum", about.get("exclusiveMinimum")),
            "maximum": about.get("maximum", about.get("exclusiveMaximum")),
            "choices": about.get("enum", items.get("enum")),
            "most": about.get("maxItems"),
        }
        fields[name] = {"default": about["default"]} | {
            key: value for key, value in limits.items() if value is not None
        }
    return fields
