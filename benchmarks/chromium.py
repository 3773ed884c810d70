"""Headless Chromium, for testing and measuring web pages.

Controlled directly by its debugging protocol, so that no library is needed.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--remote-debugging-pipe",
)


class Browser:
    """Headless Chromium, controlled by its debugging pipe (messages end with a zero byte)."""

    def __init__(self, program, folder):
        from_browser, to_us = os.pipe()
        from_us, to_browser = os.pipe()
        # Chromium reads descriptor 3 and writes descriptor 4.
        move = (
            "import fcntl, os, sys;"
            "a, b = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]);"
            "os.dup2(a, 3); os.dup2(b, 4); os.execvp(sys.argv[3], sys.argv[3:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", move, str(from_us), str(to_us), program, *FLAGS,
             f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(from_us, to_us),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(from_us)
        os.close(to_us)
        self.reader, self.writer = from_browser, to_browser
        os.set_blocking(self.reader, False)
        self.buffer, self.number, self.events, self.session = b"", 0, [], None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.reader)
        os.close(self.writer)

    def messages(self):
        try:
            part = os.read(self.reader, 1 << 20)
        except BlockingIOError:
            part = b""
            time.sleep(0.01)
        *whole, self.buffer = (self.buffer + part).split(b"\0")
        return [json.loads(message) for message in whole]

    def call(self, method, **params):
        """Send a command and return its result; events received meanwhile are stored."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        answer = None
        while answer is None:
            assert time.monotonic() < deadline, f"no answer to {method}"
            assert self.process.poll() is None, "the browser ended"
            for got in self.messages():
                if got.get("id") == self.number:
                    answer = got
                elif "method" in got:
                    self.events.append(got)
        assert "error" not in answer, answer
        return answer["result"]

    def attach(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]

    def value(self, expression):
        got = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def until(self, expression, seconds=20):
        """Wait until an expression is true, and return its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.value(expression)):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.02)
        return value

    def look(self, width=1280, height=900, dark=False, mobile=False, density=1):
        """Set size and colour scheme of the screen."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=density, mobile=mobile,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])

    def picture(self, path, **clip):
        """Save a screenshot as a PNG or WebP file."""
        options = {"clip": {"scale": 1, **clip}} if clip else {}
        kind = {"format": "webp", "quality": 90} if str(path).endswith(".webp") else {}
        got = self.call("Page.captureScreenshot", **kind, **options)
        Path(path).write_bytes(base64.b64decode(got["data"]))

    def key(self, name, code=0, text=""):
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, text=text,
                      windowsVirtualKeyCode=code)  # fmt: skip
            text = ""

    def drag(self, places):
        """Press the mouse button at the first place, move along the others, release it."""
        for i, (x, y) in enumerate(places):
            kind = "mouseMoved" if i else "mousePressed"
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1,
                      clickCount=1)  # fmt: skip
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left",
                  clickCount=1)  # fmt: skip

    def complaints(self):
        """Errors, exceptions and failed requests since the events were cleared."""
        self.value("0")  # collects all events that occurred before this command
        return [
            event
            for event in self.events
            if event["method"]
            in ("Runtime.exceptionThrown", "Network.loadingFailed", "Log.entryAdded")
            or (
                event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] == "error"
            )
        ]


PARTS = ("Page", "Runtime", "Log", "Network")


def program():
    """Path of Chromium; None if not installed."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextlib.contextmanager
def browsing(folder):
    """Context with a browser with one page, whose events are stored; profile in ``folder``."""
    with Browser(program(), folder) as chromium:
        chromium.attach()
        for part in PARTS:
            chromium.call(f"{part}.enable")
        yield chromium
