"""Progress of something long: a bar on a terminal, elsewhere a line now and then."""

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

FIRST = 2.0  # seconds until the first line; what is done sooner is not worth one
LONGEST = 30.0  # seconds between two lines, which double from the first on


class Lines:
    """Lines on standard error that tell how far something is; a context manager.

    Parameters
    ----------
    name : str
        What is counted.
    total : int or None
        None where it is not known.
    done : int, default=0
        What was done before.
    """

    def __init__(self, name: str, total: int | None, done: int = 0) -> None:
        self._name, self._total, self._done = name, total, done
        self._wait = FIRST
        self._started = time.monotonic()
        self._next = self._started + self._wait
        self._first: tuple[float, int] | None = None  # time and number of the first that was told
        self._silence: threading.Timer | None = None  # speaks if nothing is told for so long

    def __enter__(self) -> Self:
        self._silence = threading.Timer(FIRST, _write, (f"{self._name}: preparing",))
        self._silence.daemon = True
        self._silence.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._silence is not None:
            self._silence.cancel()

    def callback(self, progress: Progress) -> None:
        """Tell how far a training is."""
        text = f", loss {progress.loss:.4g}"
        if progress.validation_loss is not None:
            text += f", validation {progress.validation_loss:.4g}"
        self.reach(progress.epoch, text)

    def one_more(self) -> None:
        """Count one."""
        self.reach(self._done + 1)

    def reach(self, done: int, text: str | float = "") -> None:
        """Tell that so many are done, with a text or the loss, if that is due."""
        text = text if isinstance(text, str) else f", loss {text:.4g}"
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        self._done = done
        now = time.monotonic()
        if self._first is None:  # what came before, such as compiling, tells nothing of the rest
            self._first, self._next = (now, done), now + FIRST
        if now < self._next:
            return
        self._wait = min(2 * self._wait, LONGEST)
        self._next = now + self._wait
        seconds, new = now - self._first[0], done - self._first[1]
        of, left = "", ""
        if self._total is not None:
            of = f" of {self._total:,}"
            if new > 0 and done < self._total:
                left = f", about {seconds * (self._total - done) / new:.0f} s left"
        _write(f"{self._name} {done:,}{of}{text}, {now - self._started:.0f} s{left}")


def training_progress(epochs: int) -> TrainingBar | Lines:
    """Progress over the epochs of a training, for ``callback``."""
    if may_be_terminal():
        from fastnn.training.bars import TrainingBar

        bar = TrainingBar.on_terminal(epochs)
        if bar is not None:
            return bar
    return Lines("epoch", epochs)


def counting_progress(name: str, total: int | None) -> CountingBar | Lines:
    """Progress of what is counted, for ``one_more`` and ``reach``."""
    if may_be_terminal():
        from fastnn.training.bars import CountingBar

        bar = CountingBar.on_terminal(name, total)
        if bar is not None:
            return bar
    return Lines(name, total)


def may_be_terminal() -> bool:
    """Whether Rich, which takes a while to import, is to be asked about standard error."""
    stream: Any = sys.stderr
    return stream is not None and (
        stream.isatty() or bool({"FORCE_COLOR", "TTY_COMPATIBLE"} & os.environ.keys())
    )


def _write(line: str) -> None:
    """A line on standard error, where there is one (pythonw has none)."""
    if sys.stderr is not None:
        sys.stderr.write(f"fastnn: {line}\n")
        sys.stderr.flush()
