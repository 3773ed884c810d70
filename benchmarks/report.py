"""Markdown from the JSON of ``fastnn bench``.

``python -m benchmarks.report bench.json`` prints the table;
``python -m benchmarks.report bench.json --write benchmarks/README.md`` puts it between the
marks ``<!-- bench:begin -->`` and ``<!-- bench:end -->`` of that file (``<!-- map:begin -->``
and so on for the JSON of ``fastnn bench --map``). ``--plot FILE`` draws the chart, with ``--jobs``
that of some jobs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from fastnn.bench import draw, markdown, part_of


def insert(text: str, table: str, mark: str) -> str:
    """Text with the table between its marks."""
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"no {begin} ... {end} in the file")
    return f"{before}{begin}\n{table}{end}{after}"


def write_table(path: Path, table: str, mark: str) -> None:
    """Put a table between its marks in a file."""
    text = path.read_text(encoding="utf-8")
    path.write_text(insert(text, table.rstrip("\n") + "\n", mark), encoding="utf-8")


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Options of where :func:`deliver` puts what was measured."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this file")


def deliver(arguments: argparse.Namespace, results: Any, table: str, mark: str) -> None:
    """Print the table, and write what was asked for."""
    print(table)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if arguments.write is not None:
        write_table(arguments.write, table, mark)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path, help="made by fastnn bench --json")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put it into this file")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the chart")
    parser.add_argument("--jobs", help="only these, with commas between")
    arguments = parser.parse_args()
    run = json.loads(arguments.json.read_text(encoding="utf-8"))
    if arguments.jobs:
        run = part_of(run, arguments.jobs.split(","))
    if arguments.plot is not None:
        draw(run).savefig(arguments.plot, dpi=150)
    table = markdown(run)
    if arguments.write is None and arguments.plot is None:
        print(table, end="")
    if arguments.write is None:
        return
    write_table(arguments.write, table, "map" if "map" in run else "bench")


if __name__ == "__main__":
    main()
