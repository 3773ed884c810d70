"""Checkpoints: when a training run writes them, and the state from which a run is resumed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np

from fastnn.training.history import BestEpoch
from fastnn.validation import as_integer

DEFAULT_INTERVAL = timedelta(minutes=1)
_HASHED = 1 << 22  # bytes of an array hashed at a time

CheckpointEvery = int | timedelta | None


class SaveInterval(NamedTuple):
    """Interval between checkpoints, in epochs or in seconds.

    Attributes
    ----------
    epochs : int or None
    seconds : float or None
    """

    epochs: int | None
    seconds: float | None

    @classmethod
    def of(cls, value: CheckpointEvery) -> SaveInterval:
        """Validate ``checkpoint_every`` and convert it."""
        if value is None:
            value = DEFAULT_INTERVAL
        if isinstance(value, timedelta):
            if value <= timedelta(0):
                raise ValueError(f"checkpoint_every must be positive; got {value!r}")
            return cls(None, value.total_seconds())
        try:
            return cls(as_integer("checkpoint_every", value, 1), None)
        except ValueError:
            raise ValueError(
                "checkpoint_every must be a whole number of epochs, at least 1, or a "
                f"datetime.timedelta; got {value!r}"
            ) from None


def checkpoints_requested(checkpoint: Any, every: CheckpointEvery, resume: Any, what: str) -> bool:
    """Validate the checkpoint arguments of ``fit``; return whether there is a ``checkpoint``.

    Parameters
    ----------
    checkpoint, every, resume
        The arguments; ``resume`` is a bool.
    what : str
        Meaning of ``checkpoint``, for the error message.
    """
    if checkpoint is None:
        for name, value in (("checkpoint_every", every), ("resume", resume)):
            if value:
                raise ValueError(f"{name} needs checkpoint, {what}")
        return False
    SaveInterval.of(every)
    if not isinstance(resume, bool):
        raise ValueError(f"resume must be a bool; got {resume!r}")
    return True


@dataclass
class RunPosition:
    """Position of a run: what a checkpoint stores besides network and optimizer state.

    Attributes
    ----------
    first_epoch : int
        Epochs trained before the run.
    steps : int
        Steps done in the run.
    batches : int
        Steps per epoch.
    seconds : float
        Training time so far.
    is_over : bool
        Whether the run has ended because its loss or score no longer improved.
    losses : ndarray of float64, shape (steps,)
        Loss of each step. Estimators store their loss curve instead.
    validation : ndarray of float64, shape (epochs, 2), or None
        Validation loss and score of each epoch. Estimators store their curves instead.
    best : BestEpoch
        Best epoch so far, for early stopping.
    random : dict or None
        State of an estimator's random generator before its first epoch.
    front : ndarray, shape (features, units + 3), or None
        Of the update rule (``fastnn.backends.interface.Rule.front``), if it has one.
    """

    first_epoch: int
    steps: int
    batches: int
    seconds: float = 0.0
    is_over: bool = False
    losses: np.ndarray = field(default_factory=lambda: np.empty(0))
    validation: np.ndarray | None = None
    best: BestEpoch = field(default_factory=BestEpoch)
    random: dict[str, Any] | None = None
    front: np.ndarray | None = None


class RunFingerprint(NamedTuple):
    """Settings and data, other than the network, that determine the result of a training run.

    Attributes
    ----------
    settings : dict
        Settings as plain data.
    data : dict
        Digest of each array, by name.
    """

    settings: dict[str, Any]
    data: dict[str, str]


class Checkpoints:
    """Writer of the checkpoints of a training run.

    Parameters
    ----------
    every : Every
    pack : callable
        Takes a :class:`RunPosition` and returns an immutable copy of it and of the training state.
    write : callable
        Writes what ``pack`` returned.

    Attributes
    ----------
    step : int
        Step of the last checkpoint written.
    """

    def __init__(
        self, every: SaveInterval, pack: Callable[[RunPosition], Any], write: Callable[[Any], None]
    ) -> None:
        self.every, self.pack, self.write = every, pack, write
        self.step = 0
        self._start()

    def _start(self) -> None:
        self._due = time.perf_counter() + (self.every.seconds or 0.0)

    def max_steps(self, step: int, batches: int) -> int | None:
        """Steps until the next checkpoint; None if the interval is in seconds."""
        if self.every.epochs is None:
            return None
        steps = self.every.epochs * batches
        return steps - step % steps

    def is_due(self, step: int, batches: int) -> bool:
        """Whether a checkpoint is due after this step."""
        if self.every.epochs is None:
            return time.perf_counter() >= self._due
        return step % (self.every.epochs * batches) == 0

    def save(self, position: RunPosition) -> None:
        """Write a checkpoint."""
        self.write(self.pack(position))
        self.step = position.steps
        self._start()


def differences(kept: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Describe the settings in which two training runs differ, one string per setting."""
    found = []
    for name in [*own, *(name for name in kept if name not in own)]:
        theirs, ours = kept.get(name), own.get(name)
        if isinstance(theirs, dict) and isinstance(ours, dict):
            found += differences(theirs, ours)
        elif theirs != ours:
            found.append(f"{name} was {theirs!r}, is {ours!r}")
    return found


def digest(*arrays: np.ndarray) -> str:
    """Digest of arrays with their dtypes and shapes, independent of the memory layout."""
    total = hashlib.blake2b(digest_size=16)
    for array in arrays:
        total.update(f"{array.dtype.str} {array.shape};".encode())
        rows = max(1, _HASHED // max(1, array[:1].nbytes))
        for start in range(0, len(array), rows):
            total.update(np.ascontiguousarray(array[start : start + rows]).data)
    return total.hexdigest()


def plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Convert settings to what a JSON file would return: no NumPy types, no tuples."""

    def of_numpy(value: Any) -> Any:
        return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)

    return json.loads(json.dumps(settings, default=of_numpy))
