"""The command: arguments, table, JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import benchmarks.compare
from benchmarks.compare.jobs import BACKENDS, GROUPS, JOBS, QUICK
from benchmarks.compare.measuring import Row, interval, measure, measure_processes, say
from benchmarks.compare.trees import Failure, Tree, base_tree, todays_tree
from fastnn.bench import cpu_name
from fastnn.training.threads import usable_cores

TOLERANCES = {"cython": 1.03, "numba": 1.15, "numpy": 1.15}


# --- arguments ----------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Errors in one line."""

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: error: {message}\n")


def positive(kind: type) -> Any:
    """Parser of a positive number."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be a positive number; got {text!r}")
        return value

    return parse


def names(known: Sequence[str], advice: str) -> Any:
    """Parser of names with commas between."""

    def parse(text: str) -> list[str]:
        for name in text.split(","):
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown name {name!r}; {advice}")
        return text.split(",")

    return parse


def parse(arguments: Sequence[str] | None) -> tuple[Parser, argparse.Namespace]:
    parser = Parser(
        "python -m benchmarks.compare",
        description=benchmarks.compare.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("base", nargs="?", metavar="BASE", help="a git revision, or the directory of a checkout")
    jobs = names(
        [*GROUPS, *JOBS], f"there are the groups {', '.join(GROUPS)} and the jobs of --list"
    )
    add("--jobs", type=jobs, help="names or groups, with commas; default: all")
    add("--quick", action="store_true", help="some jobs only, about a minute")
    backends = names(BACKENDS, f"there are {', '.join(BACKENDS)}")
    add("--backends", type=backends, default=["cython", "numba"], help="default: cython,numba")
    add("--rounds", type=positive(int), default=45, help="pairs of turns; default 45")
    add("--seconds", type=positive(float), default=0.03, help="length of a turn; default 0.03")
    add("--threads", type=positive(int), help="use at most so many; default: all cores")
    add("--check", action="store_true", help="exit 1 if a job is worse than tolerated")
    for name, ratio in TOLERANCES.items():
        add(
            f"--{name}-tolerance",
            type=positive(float),
            default=ratio,
            help=f"ratio of --check; default {ratio}",
        )
    add("--markdown", action="store_true", help="print the table as Markdown")
    add("--json", type=Path, metavar="FILE", help="write all numbers")
    add("--list", action="store_true", help="print the jobs and exit")
    given = parser.parse_args(arguments)
    if given.base is None and not given.list:
        parser.error("BASE is missing: a git revision, or the directory of a checkout")
    if given.quick and given.jobs:
        parser.error("--quick and --jobs exclude each other")
    if given.json and not given.json.absolute().parent.is_dir():
        parser.error(f"no such directory: {given.json.parent}")
    return parser, given


# --- output -------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for factor, unit in ((1e9, "ns"), (1e6, "us"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def table(rows: Sequence[Row], tolerances: dict[str, float], markdown: bool) -> str:
    """Aligned text, or Markdown."""
    lines = [["job", "backend", "BASE", "today", "today/BASE", "interval", "result", "check"]]
    for row in rows:
        cells = [""] * 4
        if not row.error:
            low, high = interval(row.ratios)
            cells = [duration(statistics.median(values)) for values in row.times]
            cells += [f"{statistics.median(row.ratios):.3f}", f"{low:.3f} - {high:.3f}"]
        verdict = "FAILS" if row.fails(tolerances[row.backend]) else ""
        lines.append([row.name, row.backend, *cells, row.result, verdict])
    if markdown:
        lines.insert(1, ["---", "---", *["---:"] * 4, "---", "---"])
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [str.ljust] * 2 + [str.rjust] * 4 + [str.ljust] * 2
    return "\n".join(
        "  ".join(
            pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def summary(rows: Sequence[Row]) -> list[str]:
    """Of each backend, the mean ratio, the extremes, and how wide the intervals are."""
    lines = []
    for backend in dict.fromkeys(row.backend for row in rows):
        of_it = {r.name: r.ratios for r in rows if r.backend == backend and not r.error}
        if not of_it:
            continue
        medians = {name: statistics.median(ratios) for name, ratios in of_it.items()}
        least, most = min(medians, key=medians.get), max(medians, key=medians.get)
        width = statistics.median(high - low for low, high in map(interval, of_it.values()))
        lines.append(
            f"{backend}: geometric mean {statistics.geometric_mean(medians.values()):.3f}, from "
            f"{medians[least]:.3f} ({least}) to {medians[most]:.3f} ({most}); "
            f"intervals {width:.3f} wide (median)"
        )
    return lines


def write_json(
    file: Path, rows: Sequence[Row], tolerances: dict[str, float], facts: dict[str, Any]
) -> None:
    """All numbers."""
    results = [
        {
            "job": row.name,
            "backend": row.backend,
            "steps": row.steps,
            "base": row.times[0],
            "today": row.times[1],
            "interval": interval(row.ratios) if not row.error else None,
            "result": row.result,
            "fails": row.fails(tolerances[row.backend]),
        }
        for row in rows
    ]
    content = facts | {"tolerances": tolerances, "results": results}
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


# --- the command --------------------------------------------------------------------


def compare(given: argparse.Namespace, rows: list[Row]) -> tuple[list[Row], dict[str, Any]]:
    """Measure the rows; gives them, with those of compilation, and the text above the table."""
    trees: list[Tree] = [base_tree(given.base), todays_tree()]
    for tree in trees:
        tree.threads = given.threads
    processes = [row for row in rows if row.job.kind == "process"]
    others = [row for row in rows if row.job.kind != "process"]
    facts = {"BASE": trees[0].title, "today": trees[1].title}
    facts |= {"processor": cpu_name(), "cores": usable_cores()}
    facts |= measure(others, trees, given.rounds, given.seconds)
    facts |= {"threads": given.threads or "all cores", "pairs": given.rounds}
    return [*others, *processes, *measure_processes(processes, trees, given.rounds)], facts


def main(arguments: Sequence[str] | None = None) -> int:
    parser, given = parse(arguments)
    if given.list:
        for job in JOBS.values():
            print(f"{job.name:22}{job.group:9}{job.describe()}")
        return 0
    chosen = QUICK if given.quick else given.jobs or GROUPS
    rows = [
        Row(job.name, job, backend)
        for job in JOBS.values()
        if job.name in chosen or job.group in chosen
        for backend in BACKENDS
        if backend in given.backends and backend in job.backends
    ]
    if not rows:
        parser.error("none of these jobs runs with these backends")
    tolerances = {name: getattr(given, f"{name}_tolerance") for name in BACKENDS}
    started = time.perf_counter()
    try:
        rows, facts = compare(given, rows)
    except Failure as error:
        parser.error(str(error))
    say("")
    facts["minutes"] = round((time.perf_counter() - started) / 60, 1)
    notes = [f"{name}: {value}" for name, value in facts.items()]
    if given.markdown:
        print(table(rows, tolerances, True), "", *(f"- {x}" for x in notes), sep="\n")
        print(*(f"- {x}" for x in summary(rows)), sep="\n")
    else:
        print(", ".join(notes[:-1]), "", table(rows, tolerances, False), "", sep="\n")
        print(*summary(rows), f"{facts['minutes']} minutes in all", sep="\n")
    if given.json:
        write_json(given.json, rows, tolerances, facts)
    failed = any(row.fails(tolerances[row.backend]) for row in rows)
    return 1 if given.check and failed else 0


if __name__ == "__main__":
    sys.exit(main())
