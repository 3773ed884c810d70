"""TensorBoard summaries of a run: their folder, and the run's row in the HPARAMS table."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from fastnn.cli.settings import TrainSettings
    from fastnn.tensorboard import TensorBoard

# Columns of the hyperparameter table: settings that every run has.
HPARAMS = (
    "data",
    "hidden",
    "activation",
    "initializer",
    "loss",
    "l2",
    "dropout",
    "optimizer",
    "learning_rate",
    "epochs",
    "batch_size",
    "early_stopping",
    "standardize",
    "seed",
    "dtype",
)


class Board:
    """Summaries of a run: callbacks during training, results at the end.

    Attributes
    ----------
    folder : Path
        Folder of the event files.
    callbacks : list
        Callbacks for ``fit``.
    """

    def __init__(
        self, folder: Path, writer: TensorBoard, settings: TrainSettings, run: Path
    ) -> None:
        self.folder, self.callbacks = folder, [writer]
        self._writer, self._settings, self._run = writer, settings, run

    def end(self, result: dict[str, Any], score: str) -> None:
        """Write the run's row of the hyperparameter table: settings and results."""
        results = {
            "loss": result["loss"],
            "score": result[score],
            "held_out_score": result[f"held_out_{score}"],
            "seconds": result["seconds"],
        }
        self._writer.add_results(
            {name: _plain(getattr(self._settings, name)) for name in HPARAMS},
            {name: value for name, value in results.items() if value is not None},
            name=str(self._run.resolve()),
        )


@contextlib.contextmanager
def board(
    parent: Path | None,
    run: Path,
    X: np.ndarray,
    y: np.ndarray,
    settings: TrainSettings,
    overwrite: bool,
    resumed: bool = False,
) -> Iterator[Board | None]:
    """Context manager that yields the summaries of a run, or None if ``parent`` is None.

    Parameters
    ----------
    parent : Path or None
        Folder in which a subfolder for the summaries is created, named after the run folder.
    run : Path
        The run folder.
    X, y : ndarray
        The training data.
    settings : TrainSettings
    overwrite : bool
        Whether to remove the event files that an earlier run in the same run folder wrote.
    resumed : bool
        Whether to append to the event files of the resumed run.
    """
    if parent is None:
        yield None
        return
    from fastnn.tensorboard import TensorBoard

    suffix = "." + hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:12]
    folder = _free_folder(parent, run.resolve().name, suffix, overwrite, resumed)
    text = settings.model_dump(exclude_none=True)
    with TensorBoard(folder, X, y, settings=text, suffix=suffix) as writer:
        yield Board(folder, writer, settings, run)


def _free_folder(
    parent: Path, name: str, suffix: str, overwrite: bool, resumed: bool = False
) -> Path:
    """Return ``NAME``, or ``NAME-2`` etc. if that folder contains events of another run.

    The suffix of the event files is a hash of the run folder's path. It distinguishes runs whose
    folders have the same name.
    """
    free = None
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        events = list(folder.glob("*tfevents*"))
        if resumed and any(path.name.endswith(suffix) for path in events):
            return folder
        for path in events if overwrite else []:
            if path.name.endswith(suffix):
                path.unlink()
        if free is None and not list(folder.glob("*tfevents*")):
            free = folder
        if not events:
            return free or folder
    raise AssertionError  # unreachable: the loop is infinite


def _plain(value: Any) -> str | bool | float:
    """Convert a setting to a cell of the hyperparameter table."""
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return value
