"""The connection of a page: only the latest request is answered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from fastnn.play.frames import frame
from fastnn.play.settings import PlaySettings
from fastnn.play.training import Result, train

# Seconds for which a run continues at least, even if a newer request is waiting. While a slider
# moves, longer runs return intermediate results, so that the picture is updated all the time.
GRACE = 0.05


def parse(text: str) -> tuple[int, PlaySettings]:
    """Parse a request of the page: its number and its settings.

    Raises
    ------
    ValueError
        If the request is invalid; the message is one line.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("a request must be JSON") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("settings"), dict):
        raise ValueError("a request must be an object with id and settings")
    number = fields.get("id")
    if not isinstance(number, int) or not 0 <= number < 2**53:
        raise ValueError("id: must be an integer from 0 on")
    return number, PlaySettings.check(fields["settings"])


def number_of(text: str) -> int | None:
    """The number of an invalid request; None if it has no number."""
    try:
        number = json.loads(text)["id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return number if isinstance(number, int) else None


class Session:
    """Requests of one page and their answers.

    One answer is sent at a time, and only the newest one that is ready.

    Parameters
    ----------
    send : callable
        Coroutine function that sends bytes or text to the page.
    workers : Executor
        Thread pool for training.
    """

    def __init__(self, send: Callable[[bytes | str], Awaitable[None]], workers: Executor) -> None:
        self._send, self._workers = send, workers
        self._wanted: tuple[int, PlaySettings] | None = None
        self._answer: bytes | str | None = None
        self._asked, self._ready = asyncio.Event(), asyncio.Event()
        self._closed = False

    def ask(self, text: str) -> None:
        """Accept a request; it replaces a waiting one."""
        try:
            self._wanted = parse(text)
        except ValueError as error:
            self._put(json.dumps({"id": number_of(text), "error": str(error)}))
            return
        self._asked.set()

    def close(self) -> None:
        """Stop the training, as the page is closed."""
        self._closed = True

    async def run(self) -> None:
        """Train and send until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._train())
            group.create_task(self._answers())

    async def _train(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._asked.wait()
            self._asked.clear()
            if self._wanted is None:
                continue
            (number, settings), self._wanted = self._wanted, None

            def put(result: Result, number: int = number) -> None:
                message = frame(number, result)
                loop.call_soon_threadsafe(self._put, message)

            try:
                await loop.run_in_executor(self._workers, self._work, settings, put)
            except Exception as error:  # report it to the page and continue
                text = str(error) or type(error).__name__
                self._put(json.dumps({"id": number, "error": text}))

    def _work(self, settings: PlaySettings, put: Callable[[Result], None]) -> None:
        """Train in a worker thread and pass on intermediate and final results."""
        began = time.perf_counter()

        def stop() -> bool:
            newer = self._wanted is not None and time.perf_counter() - began > GRACE
            return self._closed or newer

        if not self._closed:
            put(train(settings, stop, put))

    def _put(self, message: bytes | str) -> None:
        """Queue an answer; it replaces one that has not been sent."""
        self._answer = message
        self._ready.set()

    async def _answers(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            message, self._answer = self._answer, None
            if message is not None:
                await self._send(message)
