"""The report's page, in a real browser too."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from fastnn.experiments.claims import claims


def test_the_page_needs_nothing_from_outside(report):
    page = (report[0] / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    addresses = re.findall(r'(?:src|srcset|href)="([^"]{1,40})', page)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "url(" not in page
    figures = page.count("<figure>")
    assert figures == sum(len(result.pictures) for result in report[1].values())
    assert page.count("<source ") == figures


# --- the page in a browser ------------------------------------------------------------------


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
    """Headless Chromium, spoken to over its debugging pipe (messages end with a zero byte)."""

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
        """One command and its answer; events on the way are kept."""
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


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        reason = "no chromium: the page is not checked in a browser"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with Browser(program, tmp_path_factory.mktemp("chromium")) as chromium:
        chromium.attach()
        for part in ("Page", "Runtime", "Log", "Network"):
            chromium.call(f"{part}.enable")
        yield chromium


LOADED = """
(async () => {
  if (document.readyState !== "complete")
    await new Promise(done => addEventListener("load", done));
  await Promise.all([...document.images].map(image => image.decode()));
  return [...document.images].map(
    image => [image.id, image.naturalWidth, image.naturalHeight, image.alt.length,
              image.getBoundingClientRect().width]);
})()
"""


@pytest.mark.parametrize("look", ["desktop", "phone", "dark", "print"])
def test_the_page_in_a_browser(report, browser, look):
    out, results, _ = report
    width = 390 if look == "phone" else 1280
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width, height=900, deviceScaleFactor=1, mobile=look == "phone",
    )  # fmt: skip
    browser.call(
        "Emulation.setEmulatedMedia",
        media="print" if look == "print" else "screen",
        features=[{"name": "prefers-color-scheme", "value": "dark" if look == "dark" else "light"}],
    )
    browser.events.clear()
    page = (out / "index.html").as_uri()
    browser.call("Page.navigate", url=page)
    while browser.value("location.href") != page:
        time.sleep(0.02)
    images = browser.value(LOADED)

    pictures = [picture for result in results.values() for picture in result.pictures]
    assert [image[0] for image in images] == [f"figure-{picture.name}" for picture in pictures]
    for _, natural_width, natural_height, alt, shown in images:
        assert natural_width > 0
        assert natural_height > 0
        assert alt > 30
        assert 200 < shown <= width
    # Nothing sticks out: only tables scroll, each in its own box.
    assert browser.value("document.documentElement.scrollWidth") <= width
    headings = browser.value("[...document.querySelectorAll('h2')].map(h => h.textContent)")
    assert headings == ["What the original said, and what holds"] + [
        result.title for result in results.values()
    ]
    assert browser.value("document.querySelectorAll('#claims tbody tr').length") == len(claims({}))
    if look == "phone":  # the table becomes a list, each cell as wide as the page
        cells = "[...document.querySelectorAll('#claims td')].map(cell => cell.clientWidth)"
        assert min(browser.value(cells)) > 0.8 * width
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    red = int(re.findall(r"\d+", ground)[0])
    assert red < 60 if look == "dark" else red > 230

    bad = [
        event
        for event in browser.events
        if event["method"] in ("Runtime.exceptionThrown", "Network.loadingFailed")
        or event["method"] == "Log.entryAdded"
        or (event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] == "error")
    ]
    assert not bad
    requests = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert all(url.startswith(("data:", page)) for url in requests)
