"""Where data come from: a built-in name, a file, or standard input as a file."""

from __future__ import annotations

import atexit
import functools
import shutil
import sys
import tempfile
from pathlib import Path

from fastnn.datasets import BUILT_IN

STDIN = "-"
# How files begin that are no text, and what their names must end in.
_ENDINGS = ((b"PAR1", ".parquet"), (b"PK\x03\x04", ".npz"))


def path_of(data: str) -> str:
    """A built-in name or a path; standard input is read into a file, which ends with the process.

    Raises
    ------
    ValueError
        If nothing comes.
    """
    return _standard_input() if data == STDIN else data


def recorded(data: str) -> str:
    """How a run remembers its data: a path as an absolute one."""
    return data if data in BUILT_IN or data == STDIN else str(Path(data).resolve())


def shown(data: str) -> str:
    """What a run's data are called for people."""
    return "standard input" if data == STDIN else data


@functools.cache
def _standard_input() -> str:
    contents = sys.stdin.buffer.read()
    if not contents:
        raise ValueError("DATA - is standard input, and nothing came; fastnn ... - < FILE")
    folder = Path(tempfile.mkdtemp(prefix="fastnn-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ending = next((end for start, end in _ENDINGS if contents.startswith(start)), ".csv")
    path = folder / f"stdin{ending}"
    path.write_bytes(contents)
    return str(path)
