"""Progress bars for the epochs of a training run and the fits of a search."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fastnn.training import history as training

MIN_FULL_WIDTH = 64  # minimum terminal width, in columns, for the full set of columns


class TrainingBar(Progress):
    """Progress bar over the epochs that shows the loss; a context manager.

    Parameters
    ----------
    epochs : int
        Total number of epochs.
    console : rich.console.Console
    """

    def __init__(self, epochs: int, console: Console) -> None:
        wide = [BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn()]
        super().__init__(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            *(wide if console.width >= MIN_FULL_WIDTH else []),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self.add_task("training", total=epochs, text="preparing")

    @classmethod
    def on_terminal(cls, epochs: int) -> TrainingBar | None:
        """Return a bar on standard error, or None if standard error is not a terminal."""
        console = Console(stderr=True)
        return cls(epochs, console) if console.is_terminal else None

    def set_completed(self, epoch: int, loss: float) -> None:
        """Show ``epoch`` as the number of completed epochs."""
        self.update(self._task, completed=epoch, text=f"loss {loss:.4g}")

    def callback(self, progress: training.Progress) -> None:
        """Show the state of the training (a callback of ``fit``)."""
        text = f"loss {progress.loss:.4g}"
        if progress.validation_loss is not None:
            text += f", validation {progress.validation_loss:.4g}"
        self.update(self._task, completed=progress.epoch, text=text)


class CountingBar(Progress):
    """Progress bar that counts completed items; a context manager.

    Parameters
    ----------
    name : str
        Label of the bar.
    total : int or None
        Total number of items; None if unknown.
    console : rich.console.Console
    done : int, optional
        Number of items already completed. If given, the bar also shows the remaining time.
    """

    def __init__(
        self, name: str, total: int | None, console: Console, done: int | None = None
    ) -> None:
        remaining = [] if done is None else [TimeRemainingColumn()]
        super().__init__(
            TextColumn(name),
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            *remaining,
            console=console,
        )
        self._task = self.add_task(name, total=total, completed=done or 0)

    @classmethod
    def on_terminal(cls, name: str, total: int | None) -> CountingBar | None:
        """Return a bar on standard error, or None if standard error is not a terminal."""
        console = Console(stderr=True)
        return cls(name, total, console) if console.is_terminal else None

    def increment(self) -> None:
        """Count one more completed item."""
        self.advance(self._task)

    def set_completed(self, done: int) -> None:
        """Show ``done`` as the number of completed items."""
        self.update(self._task, completed=done)
