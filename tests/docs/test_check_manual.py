"""The check of the built manual (make docs-check) finds faults of each kind."""

import importlib.util
from pathlib import Path

import pytest

from benchmarks import chromium

TOOL = Path(__file__).parents[2] / "tools" / "check_manual.py"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"  # 1 x 1


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("check_manual", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def write(tmp_path):
    def make(name, body):
        viewport = '<meta name="viewport" content="width=device-width">'
        text = f"<!doctype html><title>a</title>{viewport}<article>{body}</article>"
        (tmp_path / name).write_text(text)
        return tmp_path

    return make


def test_links(tool, write):
    write("a.html", '<h1 id="top">A</h1><a href="b.html#there">b</a> <a href="#top">top</a>')
    folder = write("b.html", '<p id="there">B</p><a href="https://example.org/none">elsewhere</a>')
    assert list(tool.broken_links(folder)) == []
    write("c.html", '<a href="d.html">d</a> <a href="b.html#nowhere">b</a> <img src="e.png">')
    assert list(tool.broken_links(folder)) == [
        "c.html: leads nowhere: d.html",
        "c.html: leads nowhere: b.html#nowhere",
        "c.html: leads nowhere: e.png",
    ]


@pytest.mark.skipif(chromium.program() is None, reason="Chromium is not installed")
def test_layout(tool, write):
    long = "x" * 80
    folder = write(
        "good.html",
        f'<section id="a"><h1>A</h1><p>text</p><pre style="overflow-x: auto">{long}</pre>'
        f'<img src="{PIXEL}"></section>',
    )
    write("cut.html", f'<div style="overflow: hidden"><p>{long}</p></div>')
    write("wide.html", '<div style="width: 600px">text</div>')
    write("picture.html", '<p>text</p><img src="none.png">')
    write("empty.html", '<section id="b"><h2>B</h2></section>')
    found = list(tool.faults_of_layout(folder))
    picture = f"no picture: {(folder / 'none.png').as_uri()}"
    assert found == [
        f"cut.html, 390 pixels: cut off: {long[:60]}",
        "empty.html, 390 pixels: empty section: b",
        f"picture.html, 390 pixels: {picture}",
        "wide.html, 390 pixels: the page is 218 pixels wider than the screen",
        "empty.html, 1280 pixels: empty section: b",
        f"picture.html, 1280 pixels: {picture}",
    ]
