"""Charts of the jobs and of the map, from the JSON of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.jobs import MAP_SAMPLES
from benchmarks.machine import in_words
from benchmarks.measuring import timed_entries
from fastnn.bench import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

BACKEND_COLOURS = {"cython": "#0b6e4f", "numba": "#2f9e78", "numpy": "#94cdb8"}
PEER_COLOUR, BEST_PEER_COLOUR = "#c3c7cf", "#7c828d"
FACTOR = 8  # of the best backend against the best peer, from which on the colour is full


def draw(run: dict[str, Any]) -> Figure:
    """The chart of a run of jobs, or of the map."""
    return _draw_map(run) if "map" in run else _draw_jobs(run)


def _draw_jobs(run: dict[str, Any]) -> Figure:
    """Bars on a logarithmic scale, a panel per job, the fastest on top."""
    from matplotlib.figure import Figure

    jobs = [job for job in run["jobs"] if timed_entries(run["results"], job)]
    columns = 1 if len(jobs) == 1 else 2
    lines = -(-len(jobs) // columns)
    most = max((len(timed_entries(run["results"], job)) for job in jobs), default=1)
    figure = Figure((6.2 * columns, lines * (0.21 * most + 1.0) + 0.5), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax, job in zip(axes, jobs, strict=False):
        _draw_bars(ax, run, job)
    for ax in axes[len(jobs) :]:
        ax.remove()
    text = f"microseconds per step (logarithmic)    {in_words(run['machine'])}"
    figure.supxlabel(text, fontsize=9)
    return figure


def _draw_bars(ax: Axes, run: dict[str, Any], job: str) -> None:
    from matplotlib.ticker import NullFormatter

    entries = timed_entries(run["results"], job)
    names = sorted(entries, key=lambda n: entries[n]["us_per_step"])
    values = [entries[name]["us_per_step"] for name in names]
    best = run["ratios"][job]["best_peer"]
    colours = [
        BACKEND_COLOURS.get(name.split("-")[0], PEER_COLOUR)
        if not entries[name]["peer"]
        else (BEST_PEER_COLOUR if name == best else PEER_COLOUR)
        for name in names
    ]
    titles = [run["contenders"][name]["title"] for name in names]
    bars = ax.barh(range(len(names)), values, color=colours)
    ax.bar_label(bars, [number(value) for value in values], padding=3, fontsize=8)
    ax.set_yticks(range(len(names)), titles, fontsize=8)
    for label, name in zip(ax.get_yticklabels(), names, strict=True):
        label.set_fontweight("normal" if entries[name]["peer"] else "bold")
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())  # bars carry their numbers
    ax.set_xlim(min(values) / 3, max(values) * 5)
    ax.tick_params(axis="x", labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(f"{job}\n{run['jobs'][job]['description']}", fontsize=8.5, loc="left")


def _draw_map(run: dict[str, Any]) -> Figure:
    """By how much the best backend is faster than the best peer; a panel per depth.

    The colour tells the factor. A cell names the fastest contender where it is not the usual one.
    """
    from matplotlib.figure import Figure

    cells = [cell for cell in run["map"] if cell["fastest"] is not None]
    depths = sorted({cell["hidden_layers"] for cell in cells})
    widths = sorted({cell["width"] for cell in cells})
    batches = list(dict.fromkeys(cell["batch"] for cell in cells))
    figure = Figure((1.2 + 0.85 * len(widths), 1.2 + len(depths) * (0.55 * len(batches) + 0.6)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(depths), 1, squeeze=False)[:, 0]
    fastest = [cell["fastest"] for cell in cells]
    usual = max(set(fastest), key=fastest.count)
    titles = {name: run["contenders"][name]["title"] for name in fastest}
    others = {name: title for name, title in titles.items() if name != usual}
    for ax, depth in zip(axes, depths, strict=True):
        of_depth = [cell for cell in cells if cell["hidden_layers"] == depth]
        picture = _draw_grid(ax, of_depth, widths, batches, others)
        ax.set_title(f"{depth} hidden layer{'s' if depth > 1 else ''}", fontsize=9, loc="left")
    axes[-1].set_xlabel(
        "units per hidden layer\n"
        f"full: {MAP_SAMPLES}; fastest where no other is named: {titles[usual]}\n"
        f"{in_words(run['machine'])}",
        fontsize=9,
    )
    ticks = [2.0**k for k in range(-3, 4)]
    bar = figure.colorbar(picture, ax=axes, ticks=np.log2(ticks), fraction=0.04, pad=0.02)
    bar.ax.set_yticklabels([f"{tick:g}×" for tick in ticks], fontsize=8)
    bar.set_label("best backend against the best peer", fontsize=9)
    return figure


def _draw_grid(
    ax: Axes,
    cells: Sequence[dict[str, Any]],
    widths: Sequence[int],
    batches: Sequence[str],
    named: dict[str, str],
) -> AxesImage:
    grid = np.full((len(batches), len(widths)), np.nan)
    for cell in cells:
        i, j = batches.index(cell["batch"]), widths.index(cell["width"])
        text = named.get(cell["fastest"], "").replace(" ", "\n")
        if cell["ratio"]:
            grid[i, j] = np.log2(cell["ratio"])
            text = f"{number(cell['ratio'])}×\n{text}".rstrip()
        dark = cell["ratio"] and abs(grid[i, j]) > 0.75 * np.log2(FACTOR)
        colour = "white" if dark else "black"
        ax.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    far = np.log2(FACTOR)
    picture = ax.imshow(grid, cmap="PRGn", vmin=-far, vmax=far, aspect="auto")
    ax.set_xticks(range(len(widths)), widths)
    ax.set_yticks(range(len(batches)), batches)
    ax.set_ylabel("batch")
    ax.set_xticks(np.arange(len(widths) - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(len(batches) - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0)
    return picture
