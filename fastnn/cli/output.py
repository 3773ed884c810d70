"""Output of the commands: tables, JSON, CSV; exit codes."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from fastnn.network import Network
    from fastnn.network.ensemble import Ensemble

BAD_INPUT = 2
INTERRUPTED = 130

# Control characters except tab and line feed, and characters that change the text direction.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def escape_control_characters(text: str) -> str:
    """Escape control characters, so that names from a file cannot control the terminal.

    Characters that standard output cannot encode, as in a locale without UTF-8, are escaped too.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    shown = _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
    return shown.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def open_streams() -> Iterator[None]:
    """Context in which standard streams that the caller closed are connected to the null device."""
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    with ExitStack() as stack:
        for name in closed:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, stack.enter_context(open(os.devnull, mode, encoding="utf-8")))
        try:
            yield
        finally:
            for name in closed:
                setattr(sys, name, None)


def discard_output() -> None:
    """Discard further output, when the reader of the pipe has exited or the disk is full.

    Otherwise Python tries to write the rest when it exits.
    """
    with suppress(OSError):  # not a file of the system
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object on one line; non-finite top-level values become null."""
    import math

    clean = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in result.items()
    }
    sys.stdout.write(json.dumps(clean, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_address(name: str, url: str, as_json: bool, quiet: bool) -> None:
    """Print the address of a running server and flush the output."""
    if as_json:
        print_json({"url": url})
        return
    sys.stdout.write(f"{url}\n" if quiet else f"{name}: {url} (Ctrl-C stops it)\n")
    sys.stdout.flush()


def print_pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    rows = [(name, escape_control_characters(value)) for name, value in rows]
    console = _terminal()
    if console is None:  # a pipe or a file: one line per row
        width = max(len(name) for name, _ in rows)
        sys.stdout.write("".join(f"{name:<{width}}  {value}\n" for name, value in rows))
        sys.stdout.flush()
        return
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value))
    console.print(table)


def print_columns(columns: dict[str, list[str]], left: Sequence[str], notes: Sequence[str]) -> None:
    """Print a table of strings, followed by ``notes``.

    On a terminal the columns named in ``left`` are left-aligned, the others right-aligned.
    """
    console, lines = _terminal(), [escape_control_characters(note) for note in notes]
    columns = {
        name: [escape_control_characters(value) for value in values]
        for name, values in columns.items()
    }
    if console is None:  # a pipe or a file
        lines = [*plain_rows(columns), *lines]
    else:
        rows = list(zip(*columns.values(), strict=True))
        widths = [max(len(name), *map(len, values)) for name, values in columns.items()]
        if sum(widths) + 2 * (len(widths) - 1) > console.width:  # too wide: one paragraph per row
            for row in rows:
                pairs = ", ".join(map(" ".join, zip(columns, row, strict=True)))
                console.print(pairs, soft_wrap=False, markup=False)
        else:
            from rich.table import Table
            from rich.text import Text

            grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            for name in columns:
                grid.add_column(Text(name), justify="left" if name in left else "right")
            for row in rows:
                grid.add_row(*map(Text, row))  # no markup
            console.print(grid)
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _terminal() -> Console | None:
    """Console for standard output; None if that is a pipe or a file.

    Rich takes a while to import, so it is imported only if the output may be a terminal.
    """
    if not (sys.stdout.isatty() or {"FORCE_COLOR", "TTY_COMPATIBLE"} & os.environ.keys()):
        return None
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else None


def plain_rows(columns: dict[str, list[str]]) -> list[str]:
    """Lines of a plain text table: a line of names, then the rows, padded with spaces."""
    widths = [max(len(name), *map(len, values)) for name, values in columns.items()]
    rows = [tuple(columns), *zip(*columns.values(), strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def csv_text(columns: dict[str, list]) -> str:
    """Format columns as CSV."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def shortest_digits(values: np.ndarray) -> np.ndarray:
    """Convert float32 so that it prints with its shortest digits.

    599.945 becomes the float64 599.945, not 599.9450073242188.
    """
    if values.dtype != "float32":
        return values
    return values.astype(str).astype("float64")


def score_of(net: Network) -> str:
    """Key of a network's score in a result: "accuracy" or "r2"."""
    from fastnn.backends import codes

    return "r2" if net.loss_name in codes.REGRESSION else "accuracy"


def score_name(score: str) -> str:
    """Name of a score for printing."""
    return "R^2" if score == "r2" else score


def score_text(value: float, score: str) -> str:
    """Value of a score for printing."""
    return f"{value:.4f}" if score == "r2" else f"{value:.2%}"


def note_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows with the notes on what was decided about the data."""
    return [("note", note) for note in result.get("notes", ())]


def layers_text(net: Network | Ensemble) -> str:
    """Short description of layer sizes and activations."""
    if hasattr(net, "networks"):
        return repr(net)
    sizes = net.layer_sizes
    text = "-".join(map(str, sizes)) if len(sizes) <= 8 else f"{len(sizes) - 1} layers"
    names = list(dict.fromkeys(net.activations))
    return f"{text} {', '.join(names)}" if names else text
