"""Ctrl-C and SIGTERM: both end the work of a command in order, only the exit codes differ."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fastnn.cli.output import INTERRUPTED

TERMINATED = 143


class Signals:
    """What came in the course of a command.

    Attributes
    ----------
    terminated : bool
        Whether SIGTERM came.
    held : bool
        Whether the next signal waits until the results are written.
    waiting : bool
        Whether one does.
    """

    def __init__(self) -> None:
        self.terminated = self.held = self.waiting = False
        self._process = os.getpid()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt, which ends a training where it is; or wait."""
        if os.getpid() != self._process and number != signal.SIGINT:  # in a child: as ever
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.terminated |= number == signal.SIGTERM
        if self.held:
            self.held, self.waiting = False, True
            return
        raise KeyboardInterrupt

    def exit_code(self, code: int) -> int:
        """That of the command, if it had ``code`` without a signal."""
        if self.terminated:
            return TERMINATED
        return INTERRUPTED if self.waiting and code == 0 else code


_current: Signals | None = None


@contextmanager
def handled() -> Iterator[Signals]:
    """Handlers for the time of a command, in place of those that end the process at once."""
    global _current
    signals, before = Signals(), {}
    if threading.current_thread() is threading.main_thread():
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        before = {
            number: each for number, each in usual.items() if signal.getsignal(number) == each
        }
    try:
        for number in before:
            signal.signal(number, signals.handle)
        _current = signals
        yield signals
    finally:
        _current = None
        for number, handler in before.items():
            signal.signal(number, handler)


def hold() -> None:
    """From now on results are written, which the first signal does not end."""
    if _current is not None:
        _current.held = True
