"""Server of the page: start and shutdown."""

from __future__ import annotations

import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from typing import Any

from fastnn.extras import require
from fastnn.play import settings, training

HOST = "127.0.0.1"
PORT = 8765


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
    require("starlette", "fastnn play")
    from fastnn.play.app import MAX_BYTES, make_app

    app, end = make_app(HOST, sock.getsockname()[1])
    config = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=MAX_BYTES,
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
