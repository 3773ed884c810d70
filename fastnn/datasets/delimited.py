"""Text files with separators between the values.

Large files are read with pyarrow if it is installed, other files with NumPy's ``loadtxt``, whose C
code takes a fifth of a second per million cells. A file that these reject is read again with the
csv module, which locates the faulty line.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from itertools import chain, islice
from pathlib import Path

import numpy as np

from fastnn.datasets import cells, quantities
from fastnn.datasets.arrow import columns_by_arrow
from fastnn.datasets.layout import Format, Layout, find_layout, split_rows
from fastnn.datasets.table import Table
from fastnn.datasets.text import read_text

SPREAD = 20_000  # cells from which the types of the columns are guessed
REPEATS = 1000  # values from which it is decided whether a column has many duplicates
_GAPS_BEGIN = frozenset("".join(gap[:1] + gap[:1].upper() for gap in cells.GAPS))


def read_delimited(path: Path, wanted: Format) -> Table:
    """Read a table from a text file.

    Parameters
    ----------
    path : Path
    wanted : Format
        Layout, as far as it is given.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        If the file is not a table; the message names the line.
    """
    text, notes = read_text(path, wanted.encoding)
    try:
        layout = find_layout(text, wanted, path)
        columns = _columns(layout, path, wanted.texts)
    except csv.Error as error:  # a cell of more than 128 KiB
        raise ValueError(f"{path}: {error}; is a quotation mark not closed?") from None
    names = list(layout.names)
    n = len(columns[0])
    while len(names) > 1 and is_unnamed(names[-1]) and _is_empty(columns[-1]):
        names.pop()  # the lines end with a separator
        columns.pop()

    @cache
    def locate(row: int) -> tuple[int, list[str]] | None:
        try:
            line, values = next(islice(_rows(layout), row, None))
        except (csv.Error, StopIteration):  # NumPy accepts quotation marks that csv rejects
            return None
        return (line, values) if len(values) >= len(names) else None

    layout_note, *others = layout.notes
    notes += [f"{layout_note}, {n:,} rows", *others]
    given = wanted.decimal is not None
    return Table(
        path,
        names,
        columns,
        typed=False,
        decimal=layout.decimal,
        decimal_given=given,
        locate=locate,
        notes=notes,
    )


def is_unnamed(name: str) -> bool:
    """Whether the name of a column was generated: "Unnamed: 0" or a number."""
    return name.startswith("Unnamed: ") or name.isdecimal()


def _is_empty(column: np.ndarray) -> bool:
    """Whether all values are missing."""
    if column.dtype.kind == "f":
        return bool(np.isnan(column).all())
    return all(value is None for value in column.tolist())


def _columns(layout: Layout, path: Path, texts: Collection[str]) -> list[np.ndarray]:
    """Read all columns; a column is numeric if all cells are plain numbers or missing.

    Columns whose names are in ``texts`` are not numeric if there are leading zeros.
    """
    as_text = [name in texts for name in layout.names]
    columns = _columns_by_library(layout, as_text) if layout.sample else None
    if columns is not None:
        return columns
    rows = [values for _, values in checked_rows(layout, path)]
    if not rows:
        raise ValueError(f"{path}: there are no rows")
    found = (np.array(column, object) for column in zip(*rows, strict=True))
    pairs = zip(found, as_text, strict=True)
    return [column_of(column, layout.decimal, is_text) for column, is_text in pairs]


def _columns_by_library(layout: Layout, as_text: list[bool]) -> list[np.ndarray] | None:
    """Read all columns with pyarrow or NumPy; None if they reject a line."""
    text, decimal = layout.text, layout.decimal
    # If the text has no points, commas are replaced by points and changed back in text columns.
    swapped = decimal == "," != layout.separator and "." not in text
    if swapped:
        text, decimal = text.replace(",", "."), "."
    # Quoted cells may contain line breaks; then the text cannot be split into lines.
    lines = None if '"' in text else text.split("\n")
    plain, numeric = ([decimal == "."] * len(layout.names) for _ in range(2))
    if decimal == ".":
        # Missing values may first occur late, so lines throughout the text are examined.
        spread = text[-100_000:].split("\n")[1:] if lines is None else lines
        step = max(1, len(spread) // max(50, SPREAD // len(plain)))
        some = split_rows(spread[::step], layout.separator)
        if not swapped:
            some = layout.sample[:50] + some
        for row in some:
            for k, cell in enumerate(row[: len(plain)]):
                if quantities.plain_number(cell) is None:
                    plain[k] = False
                    numeric[k] &= cell.lower() in cells.GAPS
    plain, numeric = (
        [number and not is_text for number, is_text in zip(numbers, as_text, strict=True)]
        for numbers in (plain, numeric)
    )

    def convert(k: int, texts: list[str]) -> np.ndarray:
        return _converted(texts, decimal, as_text[k])

    columns = columns_by_arrow(text, layout.separator, numeric, convert)
    if columns is None:
        columns = _columns_by_numpy(text, lines, layout.separator, plain, decimal, as_text)
    if columns is not None and swapped:
        for k, column in enumerate(columns):
            if column.dtype == object:
                texts = [v if v is None else v.replace(".", ",") for v in column.tolist()]
                columns[k] = _objects(texts)
    return columns


def _columns_by_numpy(
    text: str,
    lines: list[str] | None,
    separator: str,
    plain: list[bool],
    decimal: str,
    as_text: list[bool],
) -> list[np.ndarray] | None:
    """Read all columns with NumPy; None if it rejects a line.

    ``plain`` marks the columns that seem to contain only plain numbers, without missing values.
    """
    names = [f"f{k}" for k in range(len(plain))]
    tries = 0
    while True:
        # All columns are read in one pass, which fails at a cell that is not a number as guessed.
        kinds = np.dtype([(name, "f8" if plain[k] else "O") for k, name in enumerate(names)])
        table, odd = _loadtxt(text, lines, separator, kinds)
        if table is not None:
            break
        if not any(plain):
            return None
        tries += 1
        if odd is not None and odd < len(names) and tries < 4:
            plain[odd] = False
        else:
            plain = [False] * len(names)
    return [
        np.array(table[name]) if number else column_of(table[name], decimal, is_text)
        for name, number, is_text in zip(names, plain, as_text, strict=True)
    ]


def _loadtxt(
    text: str, lines: list[str] | None, separator: str, types: np.dtype
) -> tuple[np.ndarray | None, int | None]:
    """Read the rows with ``numpy.loadtxt``.

    Returns
    -------
    rows : ndarray or None
        None if NumPy rejects the text or there are no rows.
    column : int or None
        Index of the column with a cell that is not of its dtype, if that is the reason.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "input contained no data"
        try:
            table = np.loadtxt(
                io.StringIO(text) if lines is None else lines,
                dtype=types,
                delimiter=None if separator == " " else separator,
                comments=None,
                quotechar='"',
                ndmin=1,
            )
        except ValueError as error:
            odd = re.search(r"could not convert .* column (\d+)\.?$", str(error), re.DOTALL)
            return None, int(odd[1]) - 1 if odd else None
    return (table if len(table) else None), None


def column_of(column: np.ndarray, decimal: str, as_text: bool = False) -> np.ndarray:
    """Convert strings as :func:`_converted`; each different string once if many are equal."""
    texts = column.tolist()
    if 2 * len(set(texts[:REPEATS])) <= min(len(texts), REPEATS):
        # Many duplicates: convert each different string once.
        different = list(set(texts))
        found = _converted(different, decimal, as_text)
        table = dict(zip(different, found.tolist(), strict=True))
        values = [table[text] for text in texts]
        return np.array(values) if found.dtype != object else _objects(values)
    return _converted(texts, decimal, as_text)


def _converted(texts: list[str], decimal: str, as_text: bool = False) -> np.ndarray:
    """Convert strings to numbers if all are plain numbers or missing values.

    Otherwise, or with ``as_text`` if there are leading zeros, the array contains the stripped
    strings, with None for missing values.
    """
    values = list(map(str.strip, texts))
    as_text = as_text and any(value[:1] == "0" and value[1:2].isdigit() for value in values)
    numbers = None if as_text else _plain_numbers(values, decimal)
    if numbers is not None:
        return numbers
    if any(value[:1] == '"' for value in values):  # NumPy keeps quotation marks after a blank
        values = [v[1:-1] if len(v) > 1 and v[0] == v[-1] == '"' else v for v in values]
    found = [
        None if not value or (value[0] in _GAPS_BEGIN and value.lower() in cells.GAPS) else value
        for value in values
    ]
    if None in found and not as_text:
        numbers = _plain_numbers(["nan" if text is None else text for text in found], decimal)
        if numbers is not None:
            return numbers
    return _objects(found)


def _objects(values: list[str | None]) -> np.ndarray:
    """Create a 1-D object array of strings and None."""
    return np.array([*values, None], object)[:-1]


def _plain_numbers(values: list[str], decimal: str) -> np.ndarray | None:
    """Convert strings to numbers; None if any is not a number without thousands separators."""
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


def _rows(layout: Layout, more: Iterable[str] = ()) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and stripped cells of every row, of the layout and then of ``more``."""
    blanks = layout.separator == " "
    lines: Iterator[str] = chain(io.StringIO(layout.text), more)
    if blanks:
        lines = (line.replace("\t", " ").strip(" ") for line in lines)
    reader = csv.reader(lines, delimiter=layout.separator, skipinitialspace=True, strict=True)
    for row in reader:
        if len(row) > 1 or (row and row[0].strip()):
            yield reader.line_num, [cell.strip() for cell in row]


def checked_rows(
    layout: Layout, path: Path, more: Iterable[str] = ()
) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and stripped cells of every row, checking the number of cells.

    Parameters
    ----------
    layout : Layout
    path : Path
        The file, for messages.
    more : iterable of str
        Lines that follow those of the layout.

    Raises
    ------
    ValueError
        If a row does not have as many cells as there are names; the message names the line.
    """
    width, line = len(layout.names), 0
    try:
        for line, row in _rows(layout, more):
            while len(row) > width and not row[-1]:
                row.pop()  # the line ends with a separator
            if len(row) != width:
                raise ValueError(
                    f"{path}, line {line}: {len(row)} values where the others have {width} "
                    f"(separator {layout.separator!r}; --separator names another)"
                )
            yield line, row
    except csv.Error as error:
        where = f"{path}, after line {line}" if line else f"{path}, line 1"
        raise ValueError(f"{where}: {error}; is a quotation mark not closed?") from None
