"""What a person sees and does while a network trains: lines of the log, a bar, Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


def speaker(log: Any, quiet: bool) -> Callable[[str], None]:
    """What writes a line to the log and to standard output."""

    def say(line: str) -> None:
        log.write(line + "\n")
        if not quiet:
            print(line, flush=True)

    return say


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that it comes between two slices; a second one interrupts.

    SIGTERM too, where somebody has a handler for it, as the command line does.
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
            with suppress(KeyboardInterrupt):  # it has taken note
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
    """A progress bar on standard error, where that and standard output are a terminal."""
    if quiet or not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console

    from fastnn.training.bars import CountingBar

    with CountingBar("step", steps, Console(stderr=True), done) as bar:
        yield bar.reach
