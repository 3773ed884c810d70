"""Progress of long tasks: a bar on a terminal, otherwise occasional lines of text."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

    from fastnn.training.bars import CountingBar, TrainingBar
    from fastnn.training.history import Progress

FIRST_DELAY = 2.0  # seconds until the first line; shorter tasks print none
MAX_INTERVAL = 30.0  # maximum number of seconds between two lines; the interval doubles from FIRST


class ProgressLines:
    """Progress reports as lines on standard error; a context manager.

    Parameters
    ----------
    name : str
        Name of the counted items, such as "epoch".
    total : int or None
        Total number of items; None if unknown.
    done : int, default=0
        Number of items already completed.
    percent : bool, default=False
        Whether the items are percents, with a ``total`` of 100.
    """

    def __init__(
        self, name: str, total: int | None, done: int = 0, *, percent: bool = False
    ) -> None:
        self._name, self._total, self._done, self._percent = name, total, done, percent
        self._wait = FIRST_DELAY
        self._started = time.monotonic()
        self._next = self._started + self._wait
        self._first: tuple[float, int] | None = None  # time and count of the first report
        self._silence: threading.Timer | None = None  # prints a line if there is no early report

    def __enter__(self) -> Self:
        self._silence = threading.Timer(FIRST_DELAY, _write, ("preparing",))
        self._silence.daemon = True
        self._silence.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._silence is not None:
            self._silence.cancel()

    def callback(self, progress: Progress) -> None:
        """Report the state of the training (a callback of ``fit``)."""
        text = f", loss {progress.loss:.4g}"
        if progress.validation_loss is not None:
            text += f", validation {progress.validation_loss:.4g}"
        self.set_completed(progress.epoch, text)

    def increment(self) -> None:
        """Count one more completed item."""
        self.set_completed(self._done + 1)

    def set_completed(self, done: int, text: str | float = "") -> None:
        """Report ``done`` completed items, with a text or the loss, if a line is due."""
        text = text if isinstance(text, str) else f", loss {text:.4g}"
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        self._done = done
        now = time.monotonic()
        if self._first is None:  # time before, such as compiling, says nothing about the rest
            self._first, self._next = (now, done), now + FIRST_DELAY
        if now < self._next:
            return
        self._wait = min(2 * self._wait, MAX_INTERVAL)
        self._next = now + self._wait
        seconds, count = now - self._first[0], done - self._first[1]
        of_total, rest = "", ""
        if self._total is not None:
            of_total = "%" if self._percent else f" of {self._total:,}"
            if count > 0 and done < self._total:
                rest = f", about {seconds * (self._total - done) / count:.0f} s left"
        _write(f"{self._name} {done:,}{of_total}{text}, {now - self._started:.0f} s{rest}")


def training_progress(epochs: int) -> TrainingBar | ProgressLines:
    """Return a progress display for the epochs of a training run; see its ``callback``."""
    if may_be_terminal():
        from fastnn.training.bars import TrainingBar

        bar = TrainingBar.on_terminal(epochs)
        if bar is not None:
            return bar
    return ProgressLines("epoch", epochs)


def counting_progress(name: str, total: int | None) -> CountingBar | ProgressLines:
    """Return a progress display for counted items; see its ``increment`` and ``set_completed``."""
    if may_be_terminal():
        from fastnn.training.bars import CountingBar

        bar = CountingBar.on_terminal(name, total)
        if bar is not None:
            return bar
    return ProgressLines(name, total)


def may_be_terminal() -> bool:
    """Whether standard error may be a terminal for Rich, which is slow to import."""
    stream: Any = sys.stderr
    return stream is not None and (
        stream.isatty() or bool({"FORCE_COLOR", "TTY_COMPATIBLE"} & os.environ.keys())
    )


def _write(line: str) -> None:
    """Write a line to standard error, if it exists (pythonw has none)."""
    if sys.stderr is not None:
        sys.stderr.write(f"fastnn: {line}\n")
        sys.stderr.flush()
