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

BACKEND_COLOURS = {"cython": "#0b6e4f", "numba": "#2f9e78", "numpy": "#94cdb8"}
PEER_COLOUR, BEST_PEER_COLOUR = "#c3c7cf", "#7c828d"
WINNER_COLOURS = ("#d98c3f", "#b5543c", "#7466a8", "#4c78a8", "#a8976b", "#d9b23f", "#8c564b")


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
    ax.set_title(f"{job}: {run['jobs'][job]['description']}", fontsize=7.5, loc="right")


def _draw_map(run: dict[str, Any]) -> Figure:
    """Which contender is fastest, by width and batch; a panel per depth."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    cells = [cell for cell in run["map"] if cell["fastest"] is not None]
    depths = sorted({cell["hidden_layers"] for cell in cells})
    widths = sorted({cell["width"] for cell in cells})
    batches = list(dict.fromkeys(cell["batch"] for cell in cells))
    winners = [name for name in run["contenders"] if any(c["fastest"] == name for c in cells)]
    others = iter(WINNER_COLOURS)
    colours = {name: BACKEND_COLOURS.get(name) or next(others, "#bbbbbb") for name in winners}
    figure = Figure((1.2 + 0.85 * len(widths), 1.2 + len(depths) * (0.55 * len(batches) + 0.6)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(depths), 1, squeeze=False)[:, 0]
    for ax, depth in zip(axes, depths, strict=True):
        of_depth = [cell for cell in cells if cell["hidden_layers"] == depth]
        _draw_grid(ax, of_depth, widths, batches, colours)
        ax.set_title(f"{depth} hidden layer{'s' if depth > 1 else ''}", fontsize=9, loc="left")
    axes[-1].set_xlabel(
        "units per hidden layer\n"
        f"number: best backend / best peer; full: {MAP_SAMPLES}\n"
        f"{in_words(run['machine'])}",
        fontsize=9,
    )
    figure.legend(
        handles=[
            Patch(color=colour, label=run["contenders"][name]["title"])
            for name, colour in colours.items()
        ],
        loc="outside upper center",
        ncols=min(4, max(1, len(winners))),
        fontsize=8,
        frameon=False,
        title="fastest",
    )
    return figure


def _draw_grid(
    ax: Axes,
    cells: Sequence[dict[str, Any]],
    widths: Sequence[int],
    batches: Sequence[str],
    colours: dict[str, str],
) -> None:
    from matplotlib.colors import ListedColormap

    winners = list(colours)
    grid = np.full((len(batches), len(widths)), np.nan)
    for cell in cells:
        i, j = batches.index(cell["batch"]), widths.index(cell["width"])
        grid[i, j] = winners.index(cell["fastest"])
        if cell["ratio"]:
            colour = "white" if cell["fastest"] in ("cython", "numba") else "black"
            text = number(cell["ratio"]) + "×"
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    colour_map = ListedColormap(list(colours.values()))
    ax.imshow(grid, cmap=colour_map, vmin=-0.5, vmax=len(winners) - 0.5, aspect="auto")
    ax.set_xticks(range(len(widths)), widths)
    ax.set_yticks(range(len(batches)), batches)
    ax.set_ylabel("batch")
    ax.set_xticks(np.arange(len(widths) - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(len(batches) - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0)
