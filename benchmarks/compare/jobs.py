"""What is timed."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Job:
    """One thing to time; the same attributes as in ``fastnn bench``.

    Attributes
    ----------
    kind : str
        A key of ``worker.KINDS``, or "process": a fresh process (see ``trees.PROCESSES``).
    batch_size : int or None
        None means full batch.
    epochs_before : int
        Passes over the data before the timed steps.
    """

    name: str
    group: str
    layer_sizes: tuple[int, ...] = ()
    activation: str = "tanh"
    data: str = "random"
    samples: int = 1
    batch_size: int | None = None
    optimizer: str = "sgd"
    learning_rate: float = 0.5
    loss: str = "cross_entropy"
    dtype: str = "float32"
    shuffle: bool = False
    epochs_before: int = 0
    kind: str = "fit"
    text: str = ""
    backends: tuple[str, ...] = ("cython", "numba", "numpy")

    def describe(self) -> str:
        """One line for ``--list``."""
        words = [self.kind, self.text, "-".join(map(str, self.layer_sizes))]
        if self.layer_sizes:
            words += [self.activation, self.dtype, self.data, f"{self.samples:,} samples"]
        if self.kind == "fit":
            words += [f"batch {self.batch_size or 'full'}", self.optimizer]
            words += ["shuffled" * self.shuffle, f"epoch {self.epochs_before + 1}"]
        return ", ".join(filter(None, words))


# The jobs of the published table, with 64 batches of images in a pass instead of 468.
_MOONS = Job("moons", "table", (2, 3, 2), data="moons", samples=200)
_CIRCLES = Job("circles", "table", (2, 8, 8, 8, 2), data="circles", samples=500, learning_rate=0.1)
_EXPM = Job("expm", "table", (4, 32, 16, 4), "tanh", "expm", 10_000, None, "adam", 1e-3)
_MLP = Job("mlp", "table", (784, 128, 64, 10), "relu", "mnist", 64 * 128, 128, "adam", 1e-3)
_WIDE = replace(_MLP, name="wide", layer_sizes=(784, 1024, 1024, 10))
_TABLE = (
    _MOONS,
    _CIRCLES,
    replace(_MOONS, name="moons64", dtype="float64"),
    replace(_CIRCLES, name="circles64", dtype="float64"),
    replace(_EXPM, loss="squared_error"),
    _MLP,
    replace(_MLP, name="mlp-shuffled", shuffle=True),
    _WIDE,
    replace(_WIDE, name="wide-shuffled", shuffle=True),
    replace(_WIDE, name="wide-later", epochs_before=7),  # 448 steps, about a pass over MNIST
)

# Some shapes of the map, and two widths that are no multiples of a vector.
_SHAPES = [(width, batch) for width in (16, 64, 128, 256, 512, 1024) for batch in (32, 128, None)]
_SHAPES += [(width, batch) for width in (300, 508) for batch in (32, 128)]
_MAP = [
    Job(
        f"2x{width}/{batch or 'full'}",
        "map",
        (16, width, width, 4),
        "relu",
        samples=1024,
        batch_size=batch,
        optimizer="adam",
        learning_rate=1e-3,
    )
    for width, batch in _SHAPES
]

_SMALL = replace(_CIRCLES, group="predict", kind="predict_proba")
_LARGE = replace(_MLP, group="predict", kind="predict_proba")
_PREDICT = (
    replace(_SMALL, name="predict-1", samples=1),
    replace(_SMALL, name="predict-1k", samples=1000),
    replace(_SMALL, name="predict-100k", samples=100_000),
    replace(_LARGE, name="predict-mlp-1", samples=1),
    replace(_LARGE, name="predict-mlp-1k", samples=1000),
    replace(_SMALL, name="numba_predict", kind="numba_predict", samples=1, backends=("numba",),
            text="1,000 calls from compiled code"),
)  # fmt: skip
_CALLS = (
    replace(_MOONS, name="fit-2", group="calls", kind="fit_call", samples=2, text="one epoch"),
    Job("classifier-predict-1", "calls", kind="classifier_predict", text="iris, one row"),
    Job("partial_fit-2", "calls", kind="classifier_partial_fit", text="iris, two rows"),
)
_START = (
    Job("import", "start", kind="process", text="import fastnn", backends=("cython",)),
    Job("first-fit", "start", kind="process", text="10 steps", backends=("cython",)),
    Job("numba-warm", "start", kind="process", text="10 steps, code cached", backends=("numba",)),
    Job("numba-cold", "start", kind="process", text="10 steps, empty cache", backends=("numba",)),
)

JOBS = {job.name: job for job in (*_TABLE, *_MAP, *_PREDICT, *_CALLS, *_START)}
GROUPS = tuple(dict.fromkeys(job.group for job in JOBS.values()))
QUICK = ("moons", "mlp", "2x300/128", "predict-1", "import")
