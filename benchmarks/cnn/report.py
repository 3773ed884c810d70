"""Tables and figure from the JSON of a run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.cnn.measuring import TARGETS
from benchmarks.machine import in_words
from benchmarks.outputs import markdown_table
from fastnn.bench import number
from fastnn.plots.axes import COLORS, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)  # percent
VERSIONS = ("tensorflow", "keras", "torch", "jax", "numpy")


def markdown(run: dict) -> str:
    """Tables and remarks."""
    tables = (steps_table(run), predictions_table(run), runs_table(run))
    return "\n".join(tables) + "\n" + "\n".join(f"- {remark}" for remark in remarks(run)) + "\n"


def steps_table(run: dict) -> str:
    """A training step by batch and precision."""
    batches = sorted({row["batch"] for row in run["steps"]})
    head = ["ms per step (images per second)", *(f"batch {b:,}" for b in batches)]

    def cell(row: dict) -> str:
        return f"{number(1e3 * row['seconds'])} ({row['images_per_second']:,.0f})"

    return _by_contender(head, run["steps"], "batch", batches, cell)


def predictions_table(run: dict) -> str:
    """Predictions of one image and of many."""
    head = ["predicting, ms", "1 image", "10,000 images"]
    return _by_contender(
        head, run["inference"], "images", [1, 10_000], lambda row: number(1e3 * row["seconds"])
    )


def _by_contender(
    head: list[str], entries: list[dict], key: str, values: list[int], cell: Callable[[dict], str]
) -> str:
    """A row per contender and precision, a column per value of ``key``."""
    found = {(row["contender"], row["precision"], row[key]): row for row in entries}
    rows = []
    for name, precision in dict.fromkeys(place[:2] for place in found):
        places = [(name, precision, value) for value in values]
        cells = [cell(found[place]) if place in found else "" for place in places]
        rows.append([f"{name}, {precision}", *cells])
    return markdown_table(head, rows)


def runs_table(run: dict) -> str:
    """Whole runs of training."""
    titles = [f"seconds to {100 * (1 - target):.3g}% error" for target in TARGETS]
    head = ["run", *titles, "seconds in all", "share of the course's", "test error", "seeds"]
    whole = {
        curve["name"]: statistics.median(seconds for seconds, _ in curve["ends"])
        for curve in run["curves"]
    }
    rows = []
    for curve in run["curves"]:
        cells = [number(curve["seconds_to"][str(target)]) or "never" for target in TARGETS]
        accuracies = [accuracy for _, accuracy in curve["ends"]]
        mean, n = statistics.mean(accuracies), len(accuracies)
        error = f" ± {100 * statistics.stdev(accuracies) / n**0.5:.2f}" if n > 1 else ""
        seconds = whole[curve["name"]]
        share = f"1/{whole['course'] / seconds:.1f}" if "course" in whole else ""
        test = f"{100 * (1 - mean):.2f}{error} %"
        rows.append([curve["name"], *cells, number(seconds), share, test, str(n)])
    return markdown_table(head, rows)


def remarks(run: dict) -> list[str]:
    """Cost of summaries, machine, failures, versions."""
    lines = []
    if run["summaries"]:
        base = run["summaries"]["off"]
        costs = [
            f"{level} {(report - base[1]) / (100 * step):.1%}"
            for level, (step, report) in run["summaries"].items()
            if level != "off"
        ]
        text = "more time for summaries every 100 steps of the course's run"
        lines.append(f"{text}: {', '.join(costs)}")
    facts = run["machine"]
    lines.append(f"{in_words(facts)}, {facts['date'][:10]}")
    if run["quick"]:
        lines.append("**a quick run: too short to tell anything**")
    if run["data"] != "mnist":
        lines.append(f"images: {run['data']}, not MNIST")
    if not run["bfloat16"]["hardware"]:
        then = "its rows are emulated" if run["bfloat16"]["timed"] else "it was not timed"
        lines.append(f"this CPU does not multiply bfloat16 in hardware; {then}")
    lines += [f"failed: {name}: {error}" for name, error in run["failed"]]
    versions = [f"{n} {facts['versions'][n]}" for n in VERSIONS if n in facts["versions"]]
    return [*lines, ", ".join(versions)]


def draw(run: dict) -> Figure:
    """Test error against seconds of training."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure((8, 5), layout="constrained")
    ax = figure.subplots()
    for curve, colour in zip(run["curves"], COLORS, strict=False):
        seconds, accuracy = np.array(curve["points"]).T
        dense = curve["name"].startswith("dense")
        ax.plot(
            seconds,
            100 * np.maximum(1 - accuracy, 1e-4),
            "s--" if dense else "o-",
            color=colour,
            linewidth=1.4,
            markersize=3.5,
            label=curve["name"] if dense else f"convolutional, {curve['name']}",
        )
    ax.set(xscale="log", yscale="log", ylabel="test error")
    limits = ax.get_ylim()
    ax.set_yticks([tick for tick in TICKS if limits[0] < tick < limits[1]])
    ax.set_ylim(limits)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}%")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.minorticks_off()
    ax.grid(color="#DDDDDD", linewidth=0.6)
    style_axes(ax)
    quick = "; a quick run" if run["quick"] else ""
    text = f"seconds of training, logarithmic; {in_words(run['machine'])}{quick}"
    figure.supxlabel(text, fontsize=9)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return figure
