"""Where results go: Markdown tables, their places in a file, JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and the others numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def insert(text: str, table: str, name: str) -> str:
    """Text with the table between ``<!-- name:begin -->`` and ``<!-- name:end -->``."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"no {begin} ... {end} in the file")
    return f"{before}{begin}\n{table}{end}{after}"


def write_table(path: Path, table: str, name: str) -> None:
    """Put a table between its markers in a file."""
    text = path.read_text(encoding="utf-8")
    path.write_text(insert(text, table.rstrip("\n") + "\n", name), encoding="utf-8")


def write_json(path: Path, results: Any) -> None:
    """Write what was measured."""
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Options of where :func:`deliver` puts what was measured."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this file")


def deliver(arguments: argparse.Namespace, results: Any, table: str, name: str) -> None:
    """Print the table, and write what was asked for."""
    print(table)
    if arguments.json is not None:
        write_json(arguments.json, results)
    if arguments.write is not None:
        write_table(arguments.write, table, name)
