"""What a person sees and does while a network trains: lines of the log, a bar, Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    """An event that Ctrl-C sets, so that it comes between two slices; a second one interrupts."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


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
