"""The contenders: a file each, in the order of the tables."""

from __future__ import annotations

from benchmarks.contenders import (
    fastnn_,
    jax_,
    keras_,
    numpy_hand,
    sklearn_,
    tensorflow_,
    torch_,
)
from benchmarks.contenders.base import Contender
from fastnn.bench import pick

_FILES = (fastnn_, numpy_hand, sklearn_, torch_, tensorflow_, keras_, jax_)

CONTENDERS = {contender.name: contender for file in _FILES for contender in file.CONTENDERS}


def choose(names: str | None, peer: bool) -> list[Contender]:
    """Contenders by comma-separated names, "all", "none", or None for the default ones."""
    kind = [c for c in CONTENDERS.values() if c.peer == peer]
    if names is None:
        return [c for c in kind if c.default]
    if names in ("all", "none"):
        return kind if names == "all" else []
    what = "peer" if peer else "backend"
    return [CONTENDERS[name] for name in pick(names, [c.name for c in kind], what, "all or none")]
