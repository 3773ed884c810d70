"""Progress bars: the epochs of a training run, the fits of a search."""

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

WIDE = 64  # columns of a terminal from which on there is room for all of it


class TrainingBar(Progress):
    """A bar over the epochs, with the loss; a context manager.

    Parameters
    ----------
    epochs : int
    console : rich.console.Console
    """

    def __init__(self, epochs: int, console: Console) -> None:
        wide = [BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn()]
        super().__init__(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            *(wide if console.width >= WIDE else []),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self.add_task("training", total=epochs, text="preparing")

    @classmethod
    def on_terminal(cls, epochs: int) -> TrainingBar | None:
        """The bar, on standard error; None where that is not a terminal."""
        console = Console(stderr=True)
        return cls(epochs, console) if console.is_terminal else None

    def reach(self, epoch: int, loss: float) -> None:
        """Show that so many epochs are done."""
        self.update(self._task, completed=epoch, text=f"loss {loss:.4g}")

    def callback(self, progress: training.Progress) -> None:
        """Show how far training is."""
        text = f"loss {progress.loss:.4g}"
        if progress.validation_loss is not None:
            text += f", validation {progress.validation_loss:.4g}"
        self.update(self._task, completed=progress.epoch, text=text)


class CountingBar(Progress):
    """A bar that counts what is done; a context manager.

    Parameters
    ----------
    name : str
    total : int or None
        None where it is not known.
    console : rich.console.Console
    done : int, optional
        What was done before; the bar then tells the time that remains, too.
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
        """The bar, on standard error; None where that is not a terminal."""
        console = Console(stderr=True)
        return cls(name, total, console) if console.is_terminal else None

    def one_more(self) -> None:
        """Count one."""
        self.advance(self._task)

    def reach(self, done: int) -> None:
        """Show that so many are done."""
        self.update(self._task, completed=done)
