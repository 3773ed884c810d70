"""Ctrl-C and SIGTERM: both end a command cleanly; only the exit codes differ."""

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
    """Signals received while a command runs.

    Attributes
    ----------
    terminated : bool
        Whether SIGTERM was received.
    held : bool
        Whether the next signal is deferred until the results are written.
    waiting : bool
        Whether a signal was deferred.
    active : bool
        Whether the command runs, and its caller handles KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.terminated = self.held = self.waiting = self.active = False
        self._process = os.getpid()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: raise KeyboardInterrupt, or defer the signal while results are written.

        In a forked child, SIGTERM has its default effect.
        """
        if os.getpid() != self._process and number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.terminated |= number == signal.SIGTERM
        if self.held or not self.active:
            self.held, self.waiting = False, True
            return
        raise KeyboardInterrupt

    def begin(self) -> None:
        """The command begins; raise KeyboardInterrupt if a signal came before."""
        self.active = True
        if self.waiting:
            self.waiting = False
            raise KeyboardInterrupt

    def exit_code(self, code: int) -> int:
        """Exit code of the command; ``code`` is the exit code apart from signals."""
        if self.terminated:
            return TERMINATED
        return INTERRUPTED if self.waiting and code == 0 else code


_current: Signals | None = None


@contextmanager
def handled() -> Iterator[Signals]:
    """Context manager that installs handlers in place of the default ones.

    Handlers that the caller has changed stay, and so do all handlers outside the main thread.
    """
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
    """Defer the next signal: from now on results are written."""
    if _current is not None:
        _current.held = True
