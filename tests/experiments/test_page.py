"""The report's page, in a real browser too."""

import os
import re
import time

import pytest

from benchmarks import chromium
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
    assert len(page) < 1_800_000  # it was 7 MB when the figures in it were SVG


# --- the page in a browser ------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if chromium.program() is None:
        reason = "no chromium: the page is not checked in a browser"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with chromium.browsing(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


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
