"""Check the built manual: its links, and its pages in headless Chromium.

``python tools/check_manual.py build/docs`` prints a line for each fault, and exits with 1 if there
is one. Each page is opened on a phone's and on a laptop's width: nothing may be cut off at the
right, pictures must load, and sections must not be empty. Pages of source code are left out.
"""

from __future__ import annotations

import html.parser
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import chromium  # noqa: E402

WIDTHS = (390, 1280)
LOOK = """
(() => {
  const article = document.querySelector("article") || document.body;
  const scrolls = node => {  // whether the node is in a box that scrolls by itself
    for (let box = node.parentElement; box && box !== article; box = box.parentElement)
      if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return true;
    return false;
  };
  const faults = [];
  // innerWidth grows with the page where a phone would zoom out
  const width = document.documentElement.clientWidth;
  const wider = document.documentElement.scrollWidth - width;
  if (wider > 0) faults.push(`the page is ${wider} pixels wider than the screen`);
  const texts = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const range = document.createRange(), text = texts.currentNode;
    range.selectNodeContents(text);
    if (text.data.trim() && range.getBoundingClientRect().right > width + 1 && !scrolls(text))
      faults.push(`cut off: ${text.data.trim().slice(0, 60)}`);
  }
  for (const image of document.images)
    if (!image.complete || !image.naturalWidth) faults.push(`no picture: ${image.src}`);
  for (const section of article.querySelectorAll("section")) {
    const heading = section.querySelector("h1, h2, h3, h4");
    const rest = section.textContent.replace(heading ? heading.textContent : "", "");
    if (!rest.trim() && !section.querySelector("img, video, svg"))
      faults.push(`empty section: ${section.id}`);
  }
  return JSON.stringify(faults);
})()
"""


class Page(html.parser.HTMLParser):
    """Anchors and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the anchors and links of an element."""
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value or "")
            elif name in ("href", "src") and value:
                self.links.append(value)


def pages_of(folder: Path) -> list[Path]:
    """The pages of a manual."""
    left_out = {"_modules", "_static"}
    return sorted(p for p in folder.rglob("*.html") if not left_out & set(p.parts))


def broken_links(folder: Path) -> Iterator[str]:
    """Links to pages, pictures or anchors that do not exist; those to other sites are not tried."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in pages_of(folder)}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (
                anchor and target in pages and anchor not in pages[target].anchors
            ):
                yield f"{path.relative_to(folder.resolve())}: leads nowhere: {link}"


def faults_of_layout(folder: Path) -> Iterator[str]:
    """What a reader would see of wrong layout."""
    # Chromium's children may still write into the profile when it is removed
    temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with temporary as profile, chromium.browsing(profile) as browser:
        for width in WIDTHS:
            browser.look(width, 850, mobile=width == min(WIDTHS))
            for path in pages_of(folder):
                browser.call("Page.navigate", url=path.resolve().as_uri())
                browser.until("document.readyState === 'complete'", 60)
                for fault in json.loads(browser.value(LOOK)):
                    yield f"{path.relative_to(folder)}, {width} pixels: {fault}"


def main() -> None:
    """Print the faults of the manual in a folder."""
    folder = Path(sys.argv[1])
    if not pages_of(folder):
        sys.exit(f"no pages in {folder}: make docs")
    faults = list(broken_links(folder))
    if chromium.program():
        faults += faults_of_layout(folder)
    else:
        print("Chromium is not installed: only links are checked")
    for fault in faults:
        print(fault)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
