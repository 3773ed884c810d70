"""Application of the page: routes, and checks of requests."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

import fastnn
from fastnn.play import code, settings, tables, training
from fastnn.play.presets import PRESETS
from fastnn.play.session import Session, parse
from fastnn.training.threads import usable_cores

STATIC = Path(__file__).parent / "static"
MAX_BYTES = 1 << 20  # size of a request; 2,000 points need a tenth of it
MAX_PAGES = 256  # open at the same time

HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' "
    "data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


class Guard:
    """Middleware that refuses requests with a foreign host or origin and adds security headers.

    Any website open in the same browser can send requests to this server. Such a request has that
    website as its origin or, with DNS rebinding, the website's host name as its host.

    Parameters
    ----------
    app : ASGI application
    host, port : str, int
        Address and port of the server.
    """

    def __init__(self, app: Any, host: str, port: int) -> None:
        names = (host, "localhost")
        self.app = app
        self.hosts = {f"{name}:{port}" for name in names}
        if port == 80:
            self.hosts |= set(names)
        self.origins = {f"http://{host}" for host in self.hosts}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        reason, headers = None, Headers(scope=scope)
        if headers.get("host") not in self.hosts:
            reason = f"this server answers for {' and '.join(sorted(self.hosts))} only"
        elif headers.get("origin", next(iter(self.origins))) not in self.origins:
            reason = "requests from other pages are refused"
        if reason is None:
            await self.app(scope, receive, self._with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
        else:
            await PlainTextResponse(f"{reason}\n", 403)(scope, receive, send)

    @staticmethod
    def _with_headers(send: Any) -> Any:
        own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message["headers"], *own]}
            await send(message)

        return sending


def about() -> dict[str, Any]:
    """Data that the page needs at start: version, fields, presets, backends."""
    return {
        "version": fastnn.__version__,
        "fields": settings.describe(),
        "presets": PRESETS,
        "noisy": settings.NOISY,
        "several_classes": settings.SEVERAL_CLASSES,
        "most_units": settings.MAX_UNITS,
        "backends": ["auto", *fastnn.available_backends()],
    }


class Application:
    """The routes of the page, its worker threads and the open pages."""

    def __init__(self) -> None:
        self.workers = ThreadPoolExecutor(max(2, usable_cores()), thread_name_prefix="play")
        self.pages: set[Session] = set()
        self.stopping = threading.Event()

    def routes(self) -> list[Any]:
        """Routes of the application."""
        return [
            Route("/about.json", self.get_about),
            Route("/code", self.handler(self.post_code), methods=["POST"]),
            Route("/model", self.handler(self.post_model), methods=["POST"]),
            Route("/table", self.handler(self.post_table), methods=["POST"]),
            WebSocketRoute("/train", self.connect),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ]

    def handler(self, work: Callable[[bytes, Any], Response]) -> Any:
        """Handler that runs ``work`` in a worker thread; errors become one-line messages."""

        async def handle(request: Request) -> Response:
            try:
                body = await _body(request)
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self.workers, work, body, request.query_params)
            except (ValueError, ImportError, MemoryError, ArithmeticError) as error:
                status = 413 if isinstance(error, _TooLarge) else 400
                return JSONResponse({"error": str(error) or type(error).__name__}, status)

        return handle

    async def get_about(self, request: Request) -> Response:
        """Data that the page needs at start."""
        return JSONResponse(about())

    def post_code(self, body: bytes, query: Any) -> Response:
        """The settings as Python code and as a command."""
        wanted = _settings(body)
        return JSONResponse({"python": code.python(wanted), "command": code.command(wanted)})

    def post_model(self, body: bytes, query: Any) -> Response:
        """A model file, trained with the settings."""
        contents = model_file(_settings(body), self.stopping.is_set)
        return Response(contents, media_type="application/octet-stream")

    def post_table(self, body: bytes, query: Any) -> Response:
        """The columns of a file."""
        return JSONResponse(tables.columns(body, query.get("name", "data.csv")))

    async def connect(self, websocket: WebSocket) -> None:
        """Train for a page until it is closed."""
        await websocket.accept()
        if len(self.pages) >= MAX_PAGES:
            await websocket.close(1013, f"{MAX_PAGES} pages are open already")
            return

        async def send(message: bytes | str) -> None:
            if isinstance(message, bytes):
                await websocket.send_bytes(message)
            else:
                await websocket.send_text(message)

        session = Session(send, self.workers)
        self.pages.add(session)
        running = asyncio.ensure_future(session.run())
        try:
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                session.ask(message.get("text") or "")
        except WebSocketDisconnect:
            pass
        finally:
            session.close()
            self.pages.discard(session)
            running.cancel()
            with contextlib.suppress(BaseException):
                await running

    def stop(self) -> None:
        """Stop all trainings and the worker threads."""
        self.stopping.set()
        for session in list(self.pages):
            session.close()
        self.workers.shutdown(cancel_futures=True)


def make_app(host: str, port: int) -> tuple[Guard, Callable[[], None]]:
    """Create the application and a function that stops its threads."""
    app = Application()
    return Guard(Starlette(routes=app.routes()), host, port), app.stop


class _TooLarge(ValueError):
    """The body of a request is too large."""


async def _body(request: Any) -> bytes:
    """Read the body of a request; raise ``_TooLarge`` if it exceeds ``MAX_BYTES``."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            raise _TooLarge(f"a request may have {MAX_BYTES:,} bytes at most")
    return body


def _settings(body: bytes) -> settings.PlaySettings:
    """Parse the settings in a body."""
    return parse(body.decode("utf-8", "replace"))[1]


def model_file(wanted: settings.PlaySettings, stop: Callable[[], bool]) -> bytes:
    """Train a network and return the contents of its model file."""
    result = training.train(wanted, stop)
    if result.status != "done":
        raise ValueError(result.message)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        result.network.save(path)
        return path.read_bytes()
