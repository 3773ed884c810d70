"""Where a run's summaries for TensorBoard go, and its row in the table of hyperparameters."""

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

# Columns of the table of hyperparameters: settings that every run has.
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
    """A run's summaries: callbacks while it trains, results at its end.

    Attributes
    ----------
    folder : Path
    callbacks : list
        For ``fit``.
    """

    def __init__(
        self, folder: Path, writer: TensorBoard, settings: TrainSettings, run: Path
    ) -> None:
        self.folder, self.callbacks = folder, [writer]
        self._writer, self._settings, self._run = writer, settings, run

    def end(self, result: dict[str, Any], score: str) -> None:
        """Write the run's row: its settings, and what it came to."""
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
    """The summaries of a run, if they are wanted.

    Parameters
    ----------
    parent : Path or None
        Where the run's folder of summaries is made, with the name of the run's own folder.
    run : Path
    X, y : ndarray
        The training data.
    settings : TrainSettings
    overwrite : bool
        Remove what an earlier run in the same folder wrote there.
    resumed : bool
        Instead: go on where it wrote.
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
    """``NAME``, or ``NAME-2`` and so on if another run's events lie there.

    The events of a run have a suffix made of its folder's path, which tells them from those of
    another run whose folder has the same name.
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
    raise AssertionError  # the count has no end


def _plain(value: Any) -> str | bool | float:
    """A setting as a cell of the table."""
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return value
