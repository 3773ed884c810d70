"""Data sources: a built-in name, a file, or standard input copied to a file."""

from __future__ import annotations

import atexit
import functools
import shutil
import sys
import tempfile
from pathlib import Path

from fastnn.datasets import BUILT_IN

STDIN = "-"
# First bytes of binary formats, and the file name extensions they need.
_ENDINGS = ((b"PAR1", ".parquet"), (b"PK\x03\x04", ".npz"))


def path_of(data: str) -> str:
    """Return ``data``, or for standard input the path of a temporary file with its contents.

    The temporary file is removed when the process exits.

    Raises
    ------
    ValueError
        If standard input is empty.
    """
    return standard_input() if data == STDIN else data


def recorded(data: str) -> str:
    """Name of the data as stored with a run; paths are made absolute."""
    return data if data in BUILT_IN or data == STDIN else str(Path(data).resolve())


def shown(data: str) -> str:
    """Name of the data for printing."""
    return "standard input" if data == STDIN else data


@functools.cache
def standard_input() -> str:
    """Copy standard input to a temporary file, once, and return its path."""
    contents = sys.stdin.buffer.read()
    if not contents:
        raise ValueError("DATA - is standard input, and nothing came; fastnn ... - < FILE")
    folder = Path(tempfile.mkdtemp(prefix="fastnn-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ending = next((end for start, end in _ENDINGS if contents.startswith(start)), ".csv")
    path = folder / f"stdin{ending}"
    path.write_bytes(contents)
    return str(path)
