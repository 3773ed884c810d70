"""A file with a table as columns that the page can choose from."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.datasets.reading import TEXT, read, suffix_of
from fastnn.play.settings import MOST_CLASSES, MOST_POINTS

SEED = 0  # of the rows that are taken of a large file


def columns(content: bytes, name: str) -> dict[str, Any]:
    """Columns of numbers, and columns that can be classes.

    Parameters
    ----------
    content : bytes
        Of a text file with separators.
    name : str
        Of the file; its end tells what it is.

    Returns
    -------
    dict
        ``numbers`` and ``classes``: columns by name, the classes as positions in ``labels``;
        ``notes``: what was decided.

    Raises
    ------
    ValueError
        If there is no table in it, or too few such columns.
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
        raise ValueError(f"{name}: a column with 2 to {MOST_CLASSES} different values is needed")
    # Without the options of the command, which the page has not.
    notes = [
        re.sub(r" \(--[^)]*\)", "", note.replace(str(path), name).replace(path.name, name))
        for note in table.notes
    ]
    n_rows = len(table.columns[0])
    rows = np.arange(n_rows)
    if n_rows > MOST_POINTS:
        rows = np.sort(np.random.default_rng(SEED).choice(n_rows, MOST_POINTS, replace=False))
        notes.append(f"{MOST_POINTS:,} of the {n_rows:,} rows, drawn at random")
    return {
        "name": name,
        "numbers": {name: _plain(values[rows]) for name, values in numbers.items()},
        "classes": {name: codes[rows].tolist() for name, (codes, _) in classes.items()},
        "labels": {name: labels for name, (_, labels) in classes.items()},
        "notes": notes,
    }


def _numbers(table: Any) -> dict[str, np.ndarray]:
    """Columns that are numbers."""
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
    """Columns of few values: their positions among the sorted values; -1 for gaps."""
    found = {}
    for name in table.names:
        texts = [_text(value) for value in table[name].tolist()]
        labels = sorted({text for text in texts if text is not None})
        if 2 <= len(labels) <= MOST_CLASSES:
            where = {label: k for k, label in enumerate(labels)} | {None: -1}
            found[name] = np.array([where[text] for text in texts]), labels
    return found


def _text(value: Any) -> str | None:
    """A cell as a label."""
    if value is None or value != value:  # a gap: NaN
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(values: np.ndarray) -> list[float | None]:
    """Numbers as JSON has them: what is not finite is null."""
    return [value if np.isfinite(value) else None for value in values.tolist()]
