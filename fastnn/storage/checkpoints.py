"""Checkpoint files: model files with the optimizer state and the position of the training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.datasets.writing import remove_left_over
from fastnn.errors import ModelFormatError
from fastnn.storage.files import read_contents, write_contents
from fastnn.storage.models import build, contents_of
from fastnn.storage.schema import FORMAT_VERSION, AnyDescription, Description
from fastnn.storage.schema_training import Run
from fastnn.training.checkpoints import (
    CheckpointEvery,
    Checkpoints,
    RunFingerprint,
    RunPosition,
    SaveInterval,
    differences,
)
from fastnn.training.history import BestEpoch

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor
    from fastnn.network import Network

Contents = tuple[dict[str, Any], dict[str, np.ndarray]]


class CheckpointFile(NamedTuple):
    """Path of the checkpoints of a training, with additional data to save in them.

    Attributes
    ----------
    path : Path
    training : dict
        As for :func:`fastnn.storage.save`.
    """

    path: Path
    training: dict[str, Any] = {}  # noqa: RUF012, never modified

    @classmethod
    def of(cls, checkpoint: Any) -> CheckpointFile:
        """Convert a path, or return an instance unchanged."""
        if isinstance(checkpoint, cls):
            return checkpoint
        try:
            path = Path(checkpoint)
        except TypeError:
            raise ValueError(f"checkpoint must be a path; got {checkpoint!r}") from None
        if path.is_dir():
            raise ValueError(f"checkpoint must be a file; {path} is a folder")
        return cls(path)


class Checkpoint(NamedTuple):
    """Contents of a checkpoint file.

    Attributes
    ----------
    path : Path
    model : Network, MLPClassifier or MLPRegressor
    fingerprint : RunFingerprint
        Settings and data of its training.
    position : RunPosition
        Position of the training.
    """

    path: Path
    model: Any
    fingerprint: RunFingerprint
    position: RunPosition

    def check(self, fingerprint: RunFingerprint, epochs: tuple[str, int]) -> None:
        """Raise unless the checkpoint belongs to the same training.

        Parameters
        ----------
        fingerprint : RunFingerprint
        epochs : tuple (str, int)
            Name and value of the argument with the number of epochs requested.
        """
        found = differences(self.fingerprint.settings, fingerprint.settings)
        found += [
            f"{name} is not the same"
            for name in sorted({*fingerprint.data, *self.fingerprint.data})
            if self.fingerprint.data.get(name) != fingerprint.data.get(name)
        ]
        if found:
            raise ValueError(f"{self.path}: a checkpoint of another training: {'; '.join(found)}")
        done, (name, wanted) = -(-self.position.steps // self.position.batches), epochs
        if done > wanted:
            raise ValueError(f"{name}={wanted}, but {self.path} has {done:,} epochs already")


def checkpoints(
    model: Network | MLPClassifier | MLPRegressor,
    file: CheckpointFile,
    every: CheckpointEvery,
    fingerprint: RunFingerprint,
) -> Checkpoints:
    """Create the writer of the checkpoints of a training, and the folder of the file."""
    path = Path(os.path.realpath(file.path))
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_left_over(path.parent, path.name)

    def pack(position: RunPosition) -> Contents:
        return _contents(model, file, fingerprint, position)

    def write(contents: Contents) -> None:
        write_contents(file.path, *contents)

    return Checkpoints(SaveInterval.of(every), pack, write)


def _contents(
    model: Any, file: CheckpointFile, fingerprint: RunFingerprint, position: RunPosition
) -> Contents:
    """Contents of a checkpoint, with copies of the arrays that training modifies."""
    fields, own = contents_of(model, file.path, file.training, include_optimizer=True)
    arrays = {name: array.copy() for name, array in own.items()}
    best, validation = position.best, position.validation
    fields["format_version"] = FORMAT_VERSION
    fields["run"] = {
        "settings": fingerprint.settings,
        "data": fingerprint.data,
        "first_epoch": position.first_epoch,
        "steps": position.steps,
        "batches": position.batches,
        "seconds": position.seconds,
        "is_over": position.is_over,
        "n_losses": len(position.losses),
        "n_validated": None if validation is None else len(validation),
        "best_epoch": best.epoch,
        "best_loss": None if best.params is None else float(best.loss),
        "random": position.random,
        "has_front": position.front is not None,
    }
    if len(position.losses):
        arrays["losses"] = position.losses
    if validation is not None and len(validation):
        arrays["validation"] = validation.ravel()
    if best.params is not None:
        arrays["best_params"] = best.params
    if position.front is not None:
        arrays["front"] = position.front.ravel()  # a copy is the run's
    return fields, arrays


def read_checkpoint(path: str | os.PathLike, backend: str = "auto") -> Checkpoint:
    """Read and validate a checkpoint.

    Parameters
    ----------
    path : path
    backend : {"auto", "cython", "numba", "numpy"}

    Raises
    ------
    ModelFormatError
        If the file is damaged, or is a model file without the state of a training.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    description, arrays = read_contents(path)
    run, config = run_of(path, description), description.config
    model = build(path, description, dict(arrays), backend)
    validation = None
    if run.n_validated is not None:
        validation = arrays.get("validation", np.empty(0)).reshape(-1, 2)
    best = BestEpoch()
    if run.best_loss is not None:
        best = BestEpoch(run.best_loss, run.best_epoch, arrays["best_params"])
    position = RunPosition(
        run.first_epoch,
        run.steps,
        run.batches,
        run.seconds,
        run.is_over,
        arrays.get("losses", np.empty(0)),
        validation,
        best,
        None if run.random is None else run.random.model_dump(),
        arrays["front"].reshape(config.layer_sizes[0], -1) if run.has_front else None,
    )
    return Checkpoint(path, model, RunFingerprint(run.settings, run.data), position)


def run_of(path: Path, description: AnyDescription) -> Run:
    """The run of a checkpoint; raises if the file is not a checkpoint."""
    run, state = description.run, description.training_state
    if run is None or state is None:
        raise ModelFormatError(
            f"{path}: a model, not a checkpoint: it has no position of a training"
        )
    epochs = run.first_epoch + run.steps // run.batches
    agree = epochs == state.epochs and state.updates >= run.steps
    config = description.config
    if isinstance(description, Description):
        agree &= (config.n_epochs, config.seed) == (state.epochs, state.seed)
    if not agree:
        raise ModelFormatError(f"{path}: counters of update rule and run do not fit each other")
    return run


def to_resume(checkpoint: Any, resume: Any, backend: str, kind: str) -> Checkpoint | None:
    """Read the checkpoint from which to resume; None for a new training.

    Parameters
    ----------
    checkpoint, resume
        Arguments of ``fit``.
    backend : str
    kind : str
        Name of the class of the model to train.
    """
    if isinstance(resume, bool | None):
        if not resume:
            return None
        if checkpoint is None:
            raise ValueError("resume=True needs checkpoint, the file to continue from")
        path = CheckpointFile.of(checkpoint).path
        if not path.exists():
            return None
    else:
        try:
            path = Path(resume)
        except TypeError:
            raise ValueError(f"resume must be a bool or a path; got {resume!r}") from None
    kept = read_checkpoint(path, backend)
    found = type(kept.model).__name__
    if found != kind:
        raise ValueError(f"{path}: a checkpoint of a {found}, not of a {kind}")
    return kept
