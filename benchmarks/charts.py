"""Charts of the jobs and of the map, from the JSON of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.jobs import MAP_SAMPLES
from benchmarks.machine import in_words
from benchmarks.measuring import timed_entries
from fastnn.bench import number
from fastnn.plots.axes import COLORS, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# The backends are blue, as in every figure of fastnn; peers grey, the best of them darker.
BACKEND_COLOURS = {"cython": COLORS[0], "numba": COLORS[4], "numpy": "#B9DDF3"}
PEER_COLOUR, BEST_PEER_COLOUR = "#CCCCCC", "#777777"
FACTOR = 8  # speed ratio of best backend and best peer at which the colour is saturated
MAX_PANELS = 4  # for more jobs the chart has one row per job


def draw(run: dict[str, Any]) -> Figure:
    """Draw the chart of a run of jobs, or of the map."""
    if "map" in run:
        return _draw_map(run)
    jobs = [job for job in run["jobs"] if timed_entries(run["results"], job)]
    return _draw_panels(run, jobs) if len(jobs) <= MAX_PANELS else _draw_rows(run, jobs)


def library(title: str) -> str:
    """The library of a contender, which may have several variants, as "PyTorch, 1 thread"."""
    return title if title.startswith("NumPy") else re.split("[ ,]", title)[0]


def shown(run: dict[str, Any], job: str) -> dict[str, dict[str, Any]]:
    """Entries of a job to draw: the backends, and the fastest variant of each other library."""
    entries = timed_entries(run["results"], job)
    fastest: dict[str, str] = {}
    for name in sorted(entries, key=lambda n: entries[n]["us_per_step"]):
        title = run["contenders"][name]["title"]
        fastest.setdefault(library(title) if entries[name]["peer"] else title, name)
    return {name: entries[name] for name in fastest.values()}


def _draw_panels(run: dict[str, Any], jobs: Sequence[str]) -> Figure:
    """Draw bars on a logarithmic scale, one panel per job, fastest on top."""
    from matplotlib.figure import Figure

    columns = 1 if len(jobs) == 1 else 2
    lines = -(-len(jobs) // columns)
    most = max((len(shown(run, job)) for job in jobs), default=1)
    figure = Figure((4.8 * columns, lines * (0.21 * most + 0.8) + 0.4), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax, job in zip(axes, jobs, strict=False):
        _draw_bars(ax, run, job)
    for ax in axes[len(jobs) :]:
        ax.remove()
    text = f"microseconds per step, logarithmic; {in_words(run['machine'])}"
    figure.supxlabel(text, fontsize=9)
    return figure


def _draw_bars(ax: Axes, run: dict[str, Any], job: str) -> None:
    from matplotlib.ticker import NullFormatter

    entries = shown(run, job)
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
    ax.set_yticks(range(len(names)), titles)
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())  # bars are labelled with their values
    ax.set_xlim(min(values) / 3, max(values) * 6)
    style_axes(ax)
    ax.tick_params(labelsize=8)
    for label, name in zip(ax.get_yticklabels(), names, strict=True):
        label.set_fontweight("normal" if entries[name]["peer"] else "bold")
    about = _short(run["jobs"][job]["description"])
    ax.set_title(f"{job}\n{about}", fontsize=9, loc="left")


def _short(description: str) -> str:
    """Network and data of a job, and the dtype if it is float64."""
    first, rest = description.split(", ")[:3], description.split(", ")[3:]
    return ", ".join(first + [part for part in rest if part == "float64"])


def _draw_rows(run: dict[str, Any], jobs: Sequence[str]) -> Figure:
    """Draw one row per job with the time of each contender relative to the fastest backend."""
    from matplotlib.figure import Figure

    figure = Figure((9.6, 0.46 * len(jobs) + 1.6), layout="constrained")
    ax = figure.subplots()
    places: dict[str, list[tuple[float, int]]] = {}
    for row, job in enumerate(jobs):
        entries = shown(run, job)
        first = min(e["us_per_step"] for e in entries.values() if not e["peer"])
        ax.axhline(row, color="#EEEEEE", linewidth=6, zorder=0)
        for name, entry in entries.items():
            title = run["contenders"][name]["title"]
            kind = library(title) if entry["peer"] else title.split(",")[0]
            if "shuffled" not in title:
                places.setdefault(kind, []).append((entry["us_per_step"] / first, row))
        ax.annotate(
            f"{number(first)} µs", (1.01, row), xycoords=("axes fraction", "data"),
            va="center", fontsize=8,
        )  # fmt: skip
    ours = sorted(kind for kind in places if kind.startswith("fastnn"))
    kinds = [*ours, *sorted((kind for kind in places if kind not in ours), key=str.lower)]
    others = iter(
        zip(
            (COLORS[1], COLORS[2], COLORS[3], COLORS[5], "#777777", "#000000"),
            "sDv^Xd",
            strict=True,
        )
    )
    for kind in kinds:
        x, y = zip(*places[kind], strict=True)
        colour, marker = (
            (BACKEND_COLOURS[kind.split()[1]], "o") if kind in ours else next(others, ("gray", "*"))
        )
        ax.scatter(
            x, y, s=62 if kind in ours else 40, marker=marker, color=colour, label=kind,
            edgecolors="white", linewidths=0.6, zorder=3 if kind in ours else 2,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:,g}×")
    ax.set_xlim(0.8, 2 * max(x for points in places.values() for x, _ in points))
    ax.axvline(1, color=BACKEND_COLOURS["cython"], linewidth=0.8, zorder=1)
    labels = [f"{job}\n{_short(run['jobs'][job]['description'])}" for job in jobs]
    ax.set_yticks(range(len(jobs)), labels)
    ax.set_ylim(len(jobs) - 0.5, -0.5)
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
    style_axes(ax)
    ax.tick_params(labelsize=8)
    figure.supxlabel(
        "time in multiples of the fastest backend's, shown on the right; of each other "
        f"library its fastest form\n{in_words(run['machine'])}",
        fontsize=9,
    )
    figure.legend(loc="outside upper left", ncols=5, frameon=False, fontsize=9)
    return figure


def _draw_map(run: dict[str, Any]) -> Figure:
    """Draw how much faster the best backend is than the best peer, one panel per depth.

    The colour shows the ratio. A cell names the fastest contender unless it is the most frequent
    one.
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


def _colours() -> Colormap:
    """Colormap: vermilion where slower than the best peer, blue where faster."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ratio", [COLORS[5], "#FFFFFF", COLORS[0]])


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
    picture = ax.imshow(grid, cmap=_colours(), vmin=-far, vmax=far, aspect="auto")
    ax.set_xticks(range(len(widths)), widths)
    ax.set_yticks(range(len(batches)), batches)
    ax.set_ylabel("batch")
    ax.set_xticks(np.arange(len(widths) - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(len(batches) - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0)
    return picture
