"""Conversion of a table file to columns that can be selected on the page."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.datasets.reading import TEXT, read, suffix_of
from fastnn.play.settings import MAX_CLASSES, MAX_POINTS

SEED = 0  # of the random rows selected from a large file


def columns(content: bytes, name: str) -> dict[str, Any]:
    """Numeric columns, and columns that can be used as classes.

    Parameters
    ----------
    content : bytes
        Contents of a delimited text file.
    name : str
        File name; its suffix determines the format.

    Returns
    -------
    dict
        ``name``: the file name; ``numbers`` and ``classes``: columns by name, with None or -1 for
        missing values; ``labels``: for each class column, the label of each class; ``notes``:
        decisions made while reading.

    Raises
    ------
    ValueError
        If the file contains no table, fewer than two numeric columns or no class column.
    """
    suffix = suffix_of(Path(name))
    if suffix not in TEXT:
        raise ValueError(f"{name}: the file's name must end in {', '.join(TEXT)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{suffix}"
        path.write_bytes(content)
        try:
            table = read(path)
            numbers, classes = _numbers(table), _classes(table)
        except (ValueError, OSError) as error:
            raise ValueError(str(error).replace(str(path), name)) from None
    if len(numbers) < 2:
        raise ValueError(f"{name}: two columns of numbers are needed; there are {len(numbers)}")
    if not classes:
        raise ValueError(f"{name}: a column with 2 to {MAX_CLASSES} different values is needed")
    # The notes name options of the command line, which the page does not have.
    notes = [
        re.sub(r" \(--[^)]*\)", "", note.replace(str(path), name).replace(path.name, name))
        for note in table.notes
    ]
    n_rows = len(table.columns[0])
    rows = np.arange(n_rows)
    if n_rows > MAX_POINTS:
        rows = np.sort(np.random.default_rng(SEED).choice(n_rows, MAX_POINTS, replace=False))
        notes.append(f"{MAX_POINTS:,} of the {n_rows:,} rows, drawn at random")
    return {
        "name": name,
        "numbers": {name: _plain(values[rows]) for name, values in numbers.items()},
        "classes": {name: codes[rows].tolist() for name, (codes, _) in classes.items()},
        "labels": {name: labels for name, (_, labels) in classes.items()},
        "notes": notes,
    }


def _numbers(table: Any) -> dict[str, np.ndarray]:
    """Numeric columns with at least one finite value."""
    found = {}
    for name in table.names:
        try:
            values, _ = table.numbers(name)
        except ValueError:
            continue
        if np.isfinite(values).any():
            found[name] = values
    return found


def _classes(table: Any) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Columns with few different values: class indices (-1 if missing) and sorted labels."""
    found = {}
    for name in table.names:
        texts = [_text(value) for value in table[name].tolist()]
        labels = sorted({text for text in texts if text is not None})
        if 2 <= len(labels) <= MAX_CLASSES:
            where = {label: k for k, label in enumerate(labels)} | {None: -1}
            found[name] = np.array([where[text] for text in texts]), labels
    return found


def _text(value: Any) -> str | None:
    """Label of a cell; None if the value is missing."""
    if value is None or value != value:  # NaN
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(values: np.ndarray) -> list[float | None]:
    """Values for JSON: None instead of values that are not finite."""
    return [value if np.isfinite(value) else None for value in values.tolist()]
