"""Text files with separators between the values.

NumPy's ``loadtxt`` reads them: its C code takes a third of a second for a million cells, without
another dependency, so that a file means the same wherever it is read. What it refuses is read
again with the csv module, which finds the line that is wrong.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from fastnn.datasets import cells
from fastnn.datasets.layout import Format, Layout, find_layout, split_rows
from fastnn.datasets.table import Table
from fastnn.datasets.text import read_text

SPREAD = 20_000  # cells by which the types of the columns are guessed
_GAPS_BEGIN = frozenset("".join(gap[:1] + gap[:1].upper() for gap in cells.GAPS))


def read_delimited(path: Path, wanted: Format) -> Table:
    """The table in a text file.

    Parameters
    ----------
    path : Path
    wanted : Format

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        If the file is no table; the message names the line.
    """
    text, notes = read_text(path, wanted.encoding)
    try:
        layout = find_layout(text, wanted, path)
        columns = _columns(layout, path)
    except csv.Error as error:  # a cell of more than 128 KiB
        raise ValueError(f"{path}: {error}; is a quotation mark not closed?") from None
    names = list(layout.names)
    n = len(columns[0])
    while len(names) > 1 and _is_unnamed(names[-1]) and _is_empty(columns[-1]):
        names.pop()  # a separator at the end of the lines
        columns.pop()

    @cache
    def locate(row: int) -> tuple[int, list[str]] | None:
        try:
            line, values = next(islice(_rows(layout), row, None))
        except (csv.Error, StopIteration):  # NumPy is more patient with quotation marks
            return None
        return (line, values) if len(values) >= len(names) else None

    notes += [f"{note}, {n:,} rows" for note in layout.notes]
    return Table(
        path, names, columns, typed=False, decimal=layout.decimal, locate=locate, notes=notes
    )


def _is_unnamed(name: str) -> bool:
    return name.startswith("Unnamed: ") or name.isdecimal()


def _is_empty(column: np.ndarray) -> bool:
    """Whether there is nothing but gaps."""
    if column.dtype.kind == "f":
        return bool(np.isnan(column).all())
    return all(value is None for value in column.tolist())


def _columns(layout: Layout, path: Path) -> list[np.ndarray]:
    """All columns: numbers where all cells are plain numbers or gaps."""
    columns = _columns_by_numpy(layout) if layout.sample else None
    if columns is not None:
        return columns
    rows = [values for _, values in _checked_rows(layout, path)]
    if not rows:
        raise ValueError(f"{path}: there are no rows")
    return [_texts(np.array(column, object), layout.decimal) for column in zip(*rows, strict=True)]


def _columns_by_numpy(layout: Layout) -> list[np.ndarray] | None:
    """All columns; None if NumPy refuses a line."""
    text, decimal = layout.text, layout.decimal
    # Where there is no point, commas can become points, and points in words commas again.
    swapped = decimal == "," != layout.separator and "." not in text
    if swapped:
        text, decimal = text.replace(",", "."), "."
    # A quoted cell may have several lines, which a list of lines would tear apart.
    lines = None if '"' in text else text.split("\n")
    names = [f"f{k}" for k in range(len(layout.names))]
    plain = [decimal == "."] * len(names)
    if decimal == ".":
        # Gaps may begin late: lines all over the text.
        spread = text[-100_000:].split("\n")[1:] if lines is None else lines
        step = max(1, len(spread) // max(50, SPREAD // len(names)))
        some = split_rows(spread[::step], layout.separator)
        if not swapped:
            some = layout.sample[:50] + some
        for row in some:
            for k, cell in enumerate(row[: len(names)]):
                plain[k] = plain[k] and cells.plain_number(cell) is not None
    table, tries = None, 0
    while table is None:
        # Columns of different types in one pass, which a later cell that is no number ends.
        kinds = np.dtype([(name, "f8" if plain[k] else "O") for k, name in enumerate(names)])
        table, odd = _loadtxt(text, lines, layout, kinds)
        if table is None and not any(plain):
            return None
        tries += 1
        if odd is not None and odd < len(names) and tries < 4:
            plain[odd] = False
        else:
            plain = [False] * len(names)
    columns = []
    for name in names:
        column = table[name]
        column = _texts(column, decimal) if column.dtype == object else np.array(column)
        if swapped and column.dtype.kind == "O":
            texts = [None if v is None else v.replace(".", ",") for v in column.tolist()]
            column = np.array([*texts, None], object)[:-1]
        columns.append(column)
    return columns


def _loadtxt(
    text: str, lines: list[str] | None, layout: Layout, types: np.dtype
) -> tuple[np.ndarray | None, int | None]:
    """The rows by NumPy; None if it refuses them, and the column, if one is not of its type."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no rows
        try:
            table = np.loadtxt(
                io.StringIO(text) if lines is None else lines,
                dtype=types,
                delimiter=None if layout.separator == " " else layout.separator,
                comments=None,
                quotechar='"',
                ndmin=1,
            )
        except ValueError as error:
            odd = re.search(r"could not convert .* column (\d+)\.?$", str(error), re.DOTALL)
            return None, int(odd[1]) - 1 if odd else None
    return (table if len(table) else None), None


def _texts(column: np.ndarray, decimal: str) -> np.ndarray:
    """Texts as numbers if they are plain ones, else stripped, with None for gaps."""
    values = list(map(str.strip, column.tolist()))
    numbers = _plain_numbers(values, decimal)
    if numbers is not None:
        return numbers
    if any(value[:1] == '"' for value in values):  # behind a blank, where NumPy keeps it
        values = [v[1:-1] if len(v) > 1 and v[0] == v[-1] == '"' else v for v in values]
    texts = [
        None if not value or (value[0] in _GAPS_BEGIN and value.lower() in cells.GAPS) else value
        for value in values
    ]
    if None in texts:
        numbers = _plain_numbers(["nan" if text is None else text for text in texts], decimal)
        if numbers is not None:
            return numbers
    return np.array([*texts, None], object)[:-1]


def _plain_numbers(values: list[str], decimal: str) -> np.ndarray | None:
    """Numbers without thousands separators; None if there is anything else."""
    if decimal == ",":
        joined = "\n".join(values)
        if "." in joined:
            return None
        values = joined.replace(",", ".").split("\n")
    try:
        numbers = np.fromiter(map(float, values), np.float64, len(values))
    except ValueError:
        return None
    return None if any("_" in value for value in values) else numbers


def _rows(layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Line and stripped cells of every row."""
    blanks = layout.separator == " "
    lines: Iterator[str] = io.StringIO(layout.text)
    if blanks:
        lines = (line.replace("\t", " ").strip(" ") for line in lines)
    reader = csv.reader(lines, delimiter=layout.separator, skipinitialspace=True, strict=True)
    for row in reader:
        if len(row) > 1 or (row and row[0].strip()):
            yield reader.line_num, [cell.strip() for cell in row]


def _checked_rows(layout: Layout, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows, all of one width."""
    width, line = len(layout.names), 0
    try:
        for line, row in _rows(layout):
            while len(row) > width and not row[-1]:
                row.pop()  # separators at the end
            if len(row) != width:
                raise ValueError(
                    f"{path}, line {line}: {len(row)} values where the others have {width} "
                    f"(separator {layout.separator!r}; --separator names another)"
                )
            yield line, row
    except csv.Error as error:
        raise ValueError(
            f"{path}, after line {line}: {error}; is a quotation mark not closed?"
        ) from None
