"""Fixture for a server of the page, in a thread of the test process."""

import importlib.util
import os
import threading

import pytest

from fastnn.play import server


def pytest_collection_modifyitems(items):
    for name in ("starlette", "uvicorn", "websockets"):
        if importlib.util.find_spec(name) is None and not os.environ.get("CI"):
            for item in items:
                if "play_server" in item.nodeid or "play_page" in item.nodeid:
                    item.add_marker(pytest.mark.skip(reason=f"{name} is not installed"))


@pytest.fixture(scope="session")
def port():
    """Port of a running server."""
    with server.listen(0) as sock:
        running, end = server.make_server(sock)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]})
        thread.start()
        yield sock.getsockname()[1]
        running.should_exit = True
        thread.join(10)
        end()
        assert not thread.is_alive()
