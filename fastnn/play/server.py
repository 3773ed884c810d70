"""Server of the page: routes, checks of requests, start and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fastnn
from fastnn.extras import require
from fastnn.play import code, settings, tables, training
from fastnn.play.presets import PRESETS
from fastnn.play.session import Session, parse
from fastnn.training.threads import usable_cores

HOST = "127.0.0.1"
PORT = 8765
STATIC = Path(__file__).parent / "static"
MOST_BYTES = 1 << 20  # size of a request; 2,000 points need a tenth of it
MOST_PAGES = 256  # open at the same time

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
    port : int
        Port of the server.
    """

    def __init__(self, app: Any, port: int) -> None:
        names = (HOST, "localhost")
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
        from starlette.datastructures import Headers
        from starlette.responses import PlainTextResponse

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
        "most_units": settings.MOST_UNITS,
        "backends": ["auto", *fastnn.available_backends()],
    }


def make_app(port: int) -> tuple[Guard, Callable[[], None]]:
    """Create the application and a function that stops its threads."""
    require("starlette", "fastnn play")
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.staticfiles import StaticFiles
    from starlette.websockets import WebSocket, WebSocketDisconnect

    workers = ThreadPoolExecutor(max(2, usable_cores()), thread_name_prefix="play")
    pages: set[Session] = set()
    ending = threading.Event()

    async def get_about(request: Request) -> Response:
        return JSONResponse(about())

    def answering(work: Callable[[bytes, Any], Response]) -> Any:
        """Handler that runs ``work`` in a worker thread; errors become one-line messages."""

        async def handle(request: Request) -> Response:
            try:
                body = await _body(request)
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(workers, work, body, request.query_params)
            except (ValueError, ImportError, MemoryError, ArithmeticError) as error:
                status = 413 if isinstance(error, _TooLarge) else 400
                return JSONResponse({"error": str(error) or type(error).__name__}, status)

        return handle

    def post_code(body: bytes, query: Any) -> Response:
        wanted = _settings(body)
        return JSONResponse({"python": code.python(wanted), "command": code.command(wanted)})

    def post_model(body: bytes, query: Any) -> Response:
        return Response(
            model_file(_settings(body), ending.is_set), media_type="application/octet-stream"
        )

    def post_table(body: bytes, query: Any) -> Response:
        return JSONResponse(tables.columns(body, query.get("name", "data.csv")))

    async def socket_of_page(websocket: WebSocket) -> None:
        await websocket.accept()
        if len(pages) >= MOST_PAGES:
            await websocket.close(1013, f"{MOST_PAGES} pages are open already")
            return

        async def send(message: bytes | str) -> None:
            if isinstance(message, bytes):
                await websocket.send_bytes(message)
            else:
                await websocket.send_text(message)

        session = Session(send, workers)
        pages.add(session)
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
            pages.discard(session)
            running.cancel()
            with contextlib.suppress(BaseException):
                await running

    routes: list[Any] = [
        Route("/about.json", get_about),
        Route("/code", answering(post_code), methods=["POST"]),
        Route("/model", answering(post_model), methods=["POST"]),
        Route("/table", answering(post_table), methods=["POST"]),
        WebSocketRoute("/train", socket_of_page),
        Mount("/", StaticFiles(directory=STATIC, html=True)),
    ]

    def end() -> None:
        ending.set()
        for session in list(pages):
            session.close()
        workers.shutdown(cancel_futures=True)

    return Guard(Starlette(routes=routes), port), end


class _TooLarge(ValueError):
    """The body of a request is too large."""


async def _body(request: Any) -> bytes:
    """Read the body of a request; raise ``_TooLarge`` if it exceeds ``MOST_BYTES``."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise _TooLarge(f"a request may have {MOST_BYTES:,} bytes at most")
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


def listen(port: int) -> socket.socket:
    """Open a listening socket that is reachable from this machine only.

    Raises
    ------
    ValueError
        If the port is in use or may not be bound.
    """
    sock = socket.socket()
    if sys.platform != "win32":  # on Windows the option would let two servers share a port
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
        sock.listen(128)  # the browser may connect before the server runs
    except OSError as error:
        sock.close()
        raise ValueError(
            f"port {port}: {error.strerror}; --port takes another, 0 any that is free"
        ) from None
    return sock


def make_server(sock: socket.socket) -> tuple[Any, Callable[[], None]]:
    """Create a server for a socket and a function that stops its threads."""
    uvicorn = require("uvicorn", "fastnn play")
    require("websockets", "fastnn play")
    app, end = make_app(sock.getsockname()[1])
    config = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=MOST_BYTES,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config), end


def serve(port: int = PORT, open_browser: bool = True, tell: Callable[[str], Any] = print) -> None:
    """Serve the page until Ctrl-C.

    Parameters
    ----------
    port : int
        0 selects any free port.
    open_browser : bool
        Whether to open the page in the default browser.
    tell : callable
        Called with the address of the page.

    Raises
    ------
    ValueError
        If the port is in use.
    KeyboardInterrupt
        After Ctrl-C, when the server and its threads have stopped.
    """
    with listen(port) as sock:
        server, end = make_server(sock)
        # Load lazily imported modules and compiled code before the first request.
        training.train(settings.PlaySettings.check({"steps": 100}))
        address = f"http://{HOST}:{sock.getsockname()[1]}/"
        tell(address)
        later = threading.Timer(1.5, _import_slow_parts)  # so as not to delay the first picture
        later.daemon = True
        later.start()
        if open_browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        try:
            server.run(sockets=[sock])
        finally:
            end()


def _import_slow_parts() -> None:
    """Import modules needed for other data sets and scores before a user waits for them."""
    import sklearn.datasets
    import sklearn.metrics  # noqa: F401
