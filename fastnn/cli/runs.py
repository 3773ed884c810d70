"""Run folders and their files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastnn.datasets import write_atomically
from fastnn.datasets.writing import remove_left_over, sole_writer
from fastnn.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.training.history import History

MODEL_FILE = "model.safetensors"


@contextlib.contextmanager
def run_folder(out: Path | None, name: str, overwrite: bool) -> Iterator[Path]:
    """Context manager that creates a run folder; an error removes it if it is still empty.

    Folders that existed before are not removed. Two commands cannot write into the same folder.
    """
    if out is not None:
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out {out}: not a folder")
        if out.is_dir() and any(out.iterdir()) and not overwrite:
            raise ValueError(f"--out {out}: has files already; choose another or add --overwrite")
        folder, created = out, [path for path in (out, *out.parents) if not path.exists()]
    else:
        folder, created = _numbered_folder(Path("runs"), name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with sole_writer(folder):
            remove_left_over(folder)
            yield folder
    except BaseException:
        for path in created:
            with contextlib.suppress(OSError):  # not empty, or never created
                path.rmdir()
        raise


def _numbered_folder(runs: Path, name: str) -> tuple[Path, list[Path]]:
    """Create ``NAME-1`` or the next free number; return it and all folders created."""
    created = [] if runs.exists() else [runs]
    runs.mkdir(exist_ok=True)
    number = 1
    while True:
        folder = runs / f"{name}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder, [folder, *created]


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_atomically(path, text.encode("utf-8"))


def write_history(path: Path, history: History) -> None:
    """Write one line of CSV per epoch, with all digits."""
    columns: dict[str, list[Any]] = {
        name: values.tolist() for name, values in history.to_dict().items()
    }
    lines = [",".join(columns)]
    lines += [",".join(map(repr, row)) for row in zip(*columns.values(), strict=True)]
    write_text(path, "\n".join(lines) + "\n")


@contextlib.contextmanager
def figure(path: Path, size: tuple[float, float]) -> Iterator[Axes]:
    """Context manager that yields the axes of a figure and writes the figure at the end.

    pyplot is not used, so that no window or global state is involved.
    """
    import io

    figures = require("matplotlib.figure", "a picture")
    drawn = figures.Figure(figsize=size, dpi=150, layout="constrained")
    yield drawn.subplots()
    contents = io.BytesIO()
    drawn.savefig(contents, format=path.suffix[1:].lower())
    write_atomically(path, contents.getvalue())
