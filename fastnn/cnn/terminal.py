"""User interaction during training: log lines, progress bar, Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


def speaker(log: Any, quiet: bool) -> Callable[[str], None]:
    """Function that writes a line to the log and, unless ``quiet``, to standard output."""

    def say(line: str) -> None:
        log.write(line + "\n")
        if not quiet:
            print(line, flush=True)

    return say


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Context with an event that Ctrl-C sets, so that training stops between two chunks of steps.

    A second Ctrl-C interrupts at once. SIGTERM is treated alike if a Python handler is installed
    for it, as the command line does. Outside the main thread, signals are left alone.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    numbers = [signal.SIGINT]
    if callable(signal.getsignal(signal.SIGTERM)):
        numbers.append(signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: FrameType | None) -> None:
        event.set()
        signal.signal(number, before[signal.Signals(number)])
        if number == signal.SIGTERM:
            with suppress(KeyboardInterrupt):  # the handler records the signal, then raises
                before[signal.SIGTERM](number, frame)  # type: ignore[operator, misc]

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield event
    finally:
        for number in numbers:
            signal.signal(number, before[number])


@contextmanager
def progress_bar(steps: int, done: int, quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """Progress bar on standard error if that and standard output are terminals, else None."""
    if quiet or not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console

    from fastnn.training.bars import CountingBar

    with CountingBar("step", steps, Console(stderr=True), done) as bar:
        yield bar.set_completed
