"""Output of results: Markdown tables, their positions in a file, JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown table with a column of text first and columns of numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def insert(text: str, table: str, name: str) -> str:
    """Replace the text between ``<!-- name:begin -->`` and ``<!-- name:end -->`` by a table."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"no {begin} ... {end} in the file")
    return f"{before}{begin}\n{table}{end}{after}"


def write_table(path: Path, table: str, name: str) -> None:
    """Write a table between its markers in a file."""
    text = path.read_text(encoding="utf-8")
    path.write_text(insert(text, table.rstrip("\n") + "\n", name), encoding="utf-8")


def write_json(path: Path, results: Any) -> None:
    """Write results as JSON."""
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the options that tell :func:`deliver` where to write results."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this file")


def deliver(arguments: argparse.Namespace, results: Any, table: str, name: str) -> None:
    """Print the table, and write the requested files."""
    print(table)
    if arguments.json is not None:
        write_json(arguments.json, results)
    if arguments.write is not None:
        write_table(arguments.write, table, name)
