"""Milliseconds from a public call to its result: ``python -m benchmarks.waits``.

Estimators, networks and commands as users call them, data checked and prepared each time. Every
library has a process of its own; they are timed in turn, round after round. The commands, and
first calls in a new Python process, are timed as whole processes.

``python -m benchmarks.waits [--cases NAMES] [--libraries NAMES] [--rounds N] [--json FILE]
[--write FILE] [--plot FILE]``
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import in_words, machine
from benchmarks.measuring import REST, medians_in_turn
from benchmarks.outputs import add_outputs, deliver, markdown_table
from benchmarks.processes import Child, ChildError
from benchmarks.waits.cases import CASES, FASTNN, LIBRARIES
from fastnn.bench import number

SECONDS = 0.2  # of a turn, at least one call
PREPARE_LIMIT = 300.0
TICKS = (1, 2, 5, 10, 20, 50, 100)


class Worker:
    """What a library's process answers with."""

    def __init__(self, library: str) -> None:
        self.library = LIBRARIES[library]

    def prepare(self, case: str) -> bool:
        """Make the case and call it until it is warm; False if the library has no such thing."""
        import warnings

        warnings.simplefilter("ignore")  # trainings that are cut short say so
        make = next(function for function in CASES if function.__name__ == case)
        self.calls, self.call = 1, make(self.library)
        if self.call is None:
            return False
        self.call()
        seconds = min(self.time() for _ in range(2))
        self.calls = max(1, int(SECONDS / seconds))
        return True

    def time(self) -> float:
        """Seconds per call."""
        started = time.perf_counter()
        for _ in range(self.calls):
            self.call()
        return (time.perf_counter() - started) / self.calls


def measure(cases: list[str], libraries: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds by case and library."""
    children = {name: Child("benchmarks.waits.__main__:Worker", name) for name in libraries}
    results: dict[str, dict[str, float]] = {}
    try:
        for case in cases:
            timed = {}
            for name, child in children.items():
                try:
                    if child.ask("prepare", case, limit=PREPARE_LIMIT):
                        timed[name] = partial(time_after_rest, child)
                except ChildError as error:
                    print(f"{case}: {LIBRARIES[name].title} is left out: {error}", flush=True)
            results[case] = medians_in_turn(timed, rounds)
            parts = [f"{name} {in_units(s)}" for name, s in results[case].items()]
            print(f"{case:18s}" + ", ".join(parts), flush=True)
    finally:
        for child in children.values():
            child.close()
    return results


def time_after_rest(child: Child) -> float:
    """Seconds per call, after the threads of the last library have stopped their busy-waiting."""
    time.sleep(REST)
    return float(child.ask("time"))


def in_units(seconds: float) -> str:
    """Seconds with a unit that people read."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1 or unit == "µs":
            return f"{number(seconds * factor)} {unit}"
    raise AssertionError


def ratio(times: dict[str, float]) -> float | None:
    """Time of the fastest other library divided by fastnn's fastest."""
    own = [times[name] for name in FASTNN if name in times]
    others = [seconds for name, seconds in times.items() if name not in FASTNN]
    return min(others) / min(own) if own and others else None


def described(case: str) -> str:
    """The case in words."""
    text = next(function.__doc__ for function in CASES if function.__name__ == case)
    return text or case


def table(run: dict[str, Any]) -> str:
    """As Markdown."""
    libraries = run["libraries"]
    rows = []
    for case, times in run["results"].items():
        best = ratio(times)
        cells = [in_units(times[name]) if name in times else "" for name in libraries]
        rows.append([described(case), *cells, "" if best is None else f"{number(best)}×"])
    head = ["", *(LIBRARIES[name].title for name in libraries), "fastnn / best other"]
    facts = run["machine"]
    return markdown_table(head, rows) + f"\n- {in_words(facts)}, {facts['date'][:10]}\n"


def draw(run: dict[str, Any], path: Path) -> None:
    """A chart of how many times as fast each case is as with the other libraries."""
    found = {described(case): ratio(times) for case, times in run["results"].items()}
    draw_ratios({case: r for case, r in found.items() if r}, run["machine"], path)


def draw_ratios(found: dict[str, float], facts: dict[str, Any], path: Path) -> None:
    """The chart, from the ratios by case."""
    from matplotlib.figure import Figure

    from fastnn.plots.axes import COLORS, style_axes

    names = sorted(found, key=lambda case: found[case])
    figure = Figure((8, 0.3 * len(names) + 1.0), layout="constrained")
    ax = figure.subplots()
    factors = [found[case] for case in names]
    bars = ax.barh(names, [factor - 1 for factor in factors], left=1, color=COLORS[0])
    ax.bar_label(bars, [f"{number(factor)}×" for factor in factors], padding=3, fontsize=9)
    ax.set_xscale("log")
    ax.set_xticks([tick for tick in TICKS if tick <= 2 * max(factors)])
    ax.xaxis.set_major_formatter("{x:g}×")
    ax.xaxis.minorticks_off()
    ax.axvline(1, color="black", linewidth=0.8)
    style_axes(ax)
    ax.margins(x=0.15)
    title = f"times as fast as the fastest other library; {in_words(facts)}"
    figure.supxlabel(title, fontsize=9)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [function.__name__ for function in CASES]
    parser.add_argument("--cases", default=",".join(names), help="names, with commas")
    parser.add_argument("--libraries", default=",".join(LIBRARIES), help="names, with commas")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios")
    add_outputs(parser)
    arguments = parser.parse_args()
    cases, libraries = arguments.cases.split(","), arguments.libraries.split(",")
    for name in {*cases} - {*names} | {*libraries} - {*LIBRARIES}:
        parser.error(f"unknown: {name}; there are {', '.join([*names, *LIBRARIES])}")
    results = measure(cases, libraries, arguments.rounds)
    run = {"machine": machine(), "libraries": libraries, "results": results}
    deliver(arguments, run, table(run), "waits")
    if arguments.plot is not None:
        draw(run, arguments.plot)


if __name__ == "__main__":
    main()
