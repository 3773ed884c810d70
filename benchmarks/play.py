"""Frames per second and latency of ``fastnn play``, in a headless browser.

``python -m benchmarks.play [--seconds S] [--json FILE]``

A slider (the noise of the two moons) moves at the refresh rate of the screen, 60 positions per
second, as if dragged continuously. A frame is the picture of a new training. Chromium renders
without a GPU here, on the cores that train, so a desktop reaches more frames per second.

``python -m benchmarks.play --picture FILE`` writes the picture of the README instead.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import chromium
from benchmarks.machine import in_words, machine
from fastnn.play.server import STATIC

DEEP = "#hidden=8,8,8&activation=tanh,tanh,tanh&learning_rate=0.5"
JOBS = {
    "2-3-2, 20,000 steps": "",
    "2-8-8-8-2, 20,000 steps": DEEP,
    "2-8-8-8-2, 3,000 steps": f"{DEEP}&steps=3000",
}
IS_THERE = "window.play && play.frame && play.frame.status === 'done' && play.stats.frames > 0"

DRAG = """
(async () => {
  const slider = document.querySelector("[data-field=noise]");
  const stats = play.stats;
  const set = (value) => { slider.value = value; slider.dispatchEvent(new Event("input")); };
  const screen = () => new Promise(requestAnimationFrame);
  stats.frames = 0;
  for (let i = 0; i < 60; i++) { set(0.1 + 0.003 * i); await screen(); }
  const early = stats.frames;
  stats.frames = 0; stats.latencies.length = stats.times.length = 0;
  const [begin, end] = [performance.now(), performance.now() + 1000 * SECONDS];
  let moves = 0;
  while (performance.now() < end) {
    set(0.1 + 0.15 * (1 + Math.sin(moves / 25)));
    moves += 1;
    await screen();
  }
  const seconds = (performance.now() - begin) / 1000;
  return {frames: stats.frames, early, moves, seconds, latencies: stats.latencies.slice()};
})()
"""

# One position after the other, each after the picture of the previous one is shown.
SINGLE = """
(async () => {
  const slider = document.querySelector("[data-field=noise]");
  const found = [];
  for (let i = 0; i < COUNT; i++) {
    const before = play.stats.frames;
    const start = performance.now();
    slider.value = 0.1 + 0.003 * (i + 1);
    slider.dispatchEvent(new Event("input"));
    while (play.stats.frames === before || play.frame.status !== "done")
      await new Promise(requestAnimationFrame);
    found.push(performance.now() - start);
    await new Promise(done => setTimeout(done, 30));
  }
  return found;
})()
"""


@contextlib.contextmanager
def server():
    """Context with a new server; yields its address and process id."""
    command = [sys.executable, "-m", "fastnn.cli", "play", "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().split()[2], process.pid
    finally:
        process.terminate()
        process.wait()


def quantile(values, share):
    """Quantile of some values."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def cpu_seconds(pid):
    """CPU time of a process and its descendants (Linux)."""
    parents, times = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            times[int(folder.name)] = int(fields[11]) + int(fields[12])
    total = 0
    for one, ticks in times.items():
        ancestor = one
        while ancestor not in (0, pid):
            ancestor = parents.get(ancestor, 0)
        total += ticks if ancestor == pid else 0
    return total / os.sysconf("SC_CLK_TCK")


def measure(browser, address, server_pid, seconds):
    """Measure one job."""
    pids = server_pid, browser.process.pid
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=address)
    browser.until(IS_THERE)
    time.sleep(1)
    before = [cpu_seconds(pid) for pid in pids]
    drag = browser.value(DRAG.replace("SECONDS", str(seconds)))
    used = [cpu_seconds(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
    pictures = drag["frames"] + drag["early"]
    browser.until("play.frame.status === 'done'")
    single = browser.value(SINGLE.replace("COUNT", "40"))
    return {
        "server_cpu_ms": 1000 * used[0] / pictures,
        "browser_cpu_ms": 1000 * used[1] / pictures,
        "frames_per_second": drag["frames"] / drag["seconds"],
        "drag_median_ms": quantile(drag["latencies"], 0.5),
        "drag_p95_ms": quantile(drag["latencies"], 0.95),
        "single_median_ms": quantile(single, 0.5),
        "single_p95_ms": quantile(single, 0.95),
    }


def page_bytes():
    """Size of the files of the page in bytes, and their size compressed with gzip."""
    contents = [path.read_bytes() for path in sorted(STATIC.iterdir())]
    return sum(map(len, contents)), sum(len(gzip.compress(content)) for content in contents)


def picture(browser, address, path, dark):
    """Save the picture of the README: three spirals, hidden layers of 12 and 8 units."""
    browser.look(1280, 890)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.call("Emulation.setEmulatedMedia", features=[scheme])
    browser.call("Emulation.setScrollbarsHidden", hidden=True)
    browser.call(
        "Page.navigate",
        url=f"{address}#data=spirals&classes=3&noise=0.07&samples=400&held_out=0.25&hidden=12,8"
        "&activation=tanh,tanh&optimizer=adam&learning_rate=0.02&steps=3000&initializer=auto",
    )
    browser.until(IS_THERE)
    browser.value(SINGLE.replace("COUNT", "5"))  # warm up: first frames are not representative
    browser.value(SINGLE.replace("COUNT", "1").replace("0.1 + 0.003 * (i + 1)", "0.07"))
    time.sleep(1)
    browser.picture(path)


def main(argv=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each drag (5)")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--picture", type=Path, help="write the picture of the README instead")
    parser.add_argument("--dark", action="store_true", help="the picture in dark colours")
    options = parser.parse_args(argv)
    if chromium.program() is None:
        sys.exit("there is no chromium")
    with (
        server() as (address, pid),
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        chromium.browsing(folder) as browser,
    ):
        if options.picture is not None:
            picture(browser, address, options.picture, options.dark)
            return
        browser.look(1280, 900)
        jobs = {
            name: measure(browser, address + at, pid, options.seconds) for name, at in JOBS.items()
        }
    plain, packed = page_bytes()
    here = machine()
    if options.json is not None:
        result = {"machine": here, "jobs": jobs, "bytes": plain, "bytes_gzip": packed}
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(in_words(here))
    print(
        "| job | frames/s | drag: median, p95 | one change: median, p95 "
        "| CPU a frame: server, browser |"
    )
    print("|---|---:|---:|---:|---:|")
    for name, n in jobs.items():
        print(
            f"| {name} | {n['frames_per_second']:.1f} "
            f"| {n['drag_median_ms']:.0f}, {n['drag_p95_ms']:.0f} ms "
            f"| {n['single_median_ms']:.0f}, {n['single_p95_ms']:.0f} ms "
            f"| {n['server_cpu_ms']:.0f}, {n['browser_cpu_ms']:.0f} ms |"
        )
    print(f"The page has {plain:,} bytes ({packed:,} with gzip).")


if __name__ == "__main__":
    main()
