"""What is timed: jobs of ``python -m benchmarks``, single calls, fresh processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from benchmarks import jobs

BACKENDS = ("cython", "numba", "numpy")


@dataclass(frozen=True)
class Job(jobs.Job):
    """One thing to time.

    Attributes
    ----------
    group : str
    kind : str
        A key of ``worker.KINDS``, or "process": a fresh process (see ``trees.PROCESSES``).
    text : str
        What the description says besides.
    shuffle : bool
    backends : tuple of str
        Those it is for.
    """

    group: str = ""
    kind: str = "fit"
    text: str = ""
    shuffle: bool = False
    backends: tuple[str, ...] = BACKENDS

    def describe(self) -> str:
        """One line for ``--list``."""
        words = [super().describe() if self.layer_sizes else self.kind, self.text]
        return ", ".join(filter(None, [*words, "shuffled" * self.shuffle]))


def _job(job: jobs.Job, group: str, **changes: Any) -> Job:
    """A job of the published table or the map in a group, with changes."""
    return Job(**vars(job) | {"group": group} | changes)


def _table(name: str, **changes: Any) -> Job:
    """A job of the published table."""
    return _job(jobs.JOBS[name], "table", **changes)


# 64 batches of images in a pass instead of 468.
_MLP, _WIDE = (_table(name, samples=64 * 128) for name in ("mlp", "wide"))
_TABLE = (
    *map(_table, ("moons", "circles", "moons64", "circles64", "expm")),
    _MLP,
    replace(_MLP, name="mlp-shuffled", shuffle=True),
    replace(_MLP, name="mlp64", dtype="float64"),
    _WIDE,
    replace(_WIDE, name="wide-shuffled", shuffle=True),
    replace(_WIDE, name="wide-later", epochs_before=7),  # 448 steps, about a pass over MNIST
)

# Some shapes of the map, two widths that are no multiples of a vector, and batches of one sample.
_SHAPES = [(width, batch) for width in (16, 64, 128, 256, 512, 1024) for batch in (32, 128, None)]
_SHAPES += [(width, batch) for width in (300, 508) for batch in (32, 128)]
_SHAPES += [(64, 1), (256, 1)]
_MAP = [_job(jobs.map_job(width, batch, 2), "map") for width, batch in _SHAPES]

_LARGE = replace(_MLP, group="predict", kind="predict_proba", predict=True)
_PREDICT = (
    *(
        _job(jobs.JOBS[name], "predict", kind="predict_proba")
        for name in ("predict-1", "predict-1k", "predict-100k")
    ),
    replace(_LARGE, name="predict-mlp-1", samples=1),
    replace(_LARGE, name="predict-mlp-1k", samples=1000),
    _job(jobs.JOBS["predict-1"], "predict", name="numba_predict", kind="numba_predict",
         backends=("numba",), text="1,000 calls from compiled code"),
)  # fmt: skip


def _other(name: str, group: str, kind: str, text: str, **changes: Any) -> Job:
    """A job whose network, if any, is part of its kind."""
    no_network = jobs.Job(name, (), "tanh", "random", 1)
    return _job(no_network, group, kind=kind, text=text, **changes)


_CALLS = (
    _job(jobs.JOBS["moons"], "calls", name="fit-2", kind="fit_call", samples=2, text="one epoch"),
    _other("classifier-predict-1", "calls", "classifier_predict", "iris, one row"),
    _other("partial_fit-2", "calls", "classifier_partial_fit", "iris, two rows"),
)
_START = tuple(
    _other(name, "start", "process", text, backends=(backend,))
    for name, text, backend in (
        ("import", "import fastnn", "cython"),
        ("first-fit", "10 steps", "cython"),
        ("numba-warm", "10 steps, code cached", "numba"),
        ("numba-cold", "10 steps, empty cache", "numba"),
    )
)

JOBS = {job.name: job for job in (*_TABLE, *_MAP, *_PREDICT, *_CALLS, *_START)}
GROUPS = tuple(dict.fromkeys(job.group for job in JOBS.values()))
QUICK = ("moons", "mlp", "2x300/128", "predict-1", "import")
