"""Interpretation of the cells of a text file: booleans, dates, missing values, columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastnn.datasets.quantities import (
    in_unit,
    parse_number,
    parse_quantity,
    plain_number,
    prevailing_unit,
)

if TYPE_CHECKING:
    from datetime import datetime

# Notations of a missing value, in lower case: in any column, and in numeric columns, where signs
# such as "-" cannot be the name of a class.
GAPS = frozenset(
    {"", "na", "n/a", "n.a.", "#n/a", "nan", "<na>", "nat", "null", "none", "?", "missing", "\\n"}
    | {"(null)", "#na", "#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!"}  # spreadsheets
)
NUMBER_GAPS = GAPS | {"-", "--", "---", ".", "..", "...", "*", "nr", "nd", "n.d.", "nil"}

BOOLEANS = (("true", "false"), ("yes", "no"), ("t", "f"), ("y", "n"), ("on", "off"))

_DATE = re.compile(
    r"(?:1[89]|2[01])\d\d-(?:0[1-9]|1[0-2])|"
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?(?:Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)


class Parsed(NamedTuple):
    """A column of strings converted to numbers.

    Attributes
    ----------
    values : ndarray of float64
        NaN for missing values; empty if a cell could not be converted.
    how : str or None
        Description of the conversion; None for plain numbers.
    bad : int or None
        Index of the first cell that could not be converted.
    words : bool
        Whether most different cells could not be converted, so that the column is text.
    usual : str or None
        An example of a cell that could be converted, if ``bad`` is an exception.
    """

    values: np.ndarray
    how: str | None = None
    bad: int | None = None
    words: bool = False
    usual: str | None = None


def is_missing(cell: str) -> bool:
    """Whether a cell means a missing value in a numeric column."""
    return cell.lower() in NUMBER_GAPS


def kind(cell: str) -> str:
    """Kind of a single cell: "gap", "number", "boolean", "date" or "text"."""
    if is_missing(cell):
        return "gap"
    if parse_number(cell, ".") is not None or parse_number(cell, ",") is not None:
        return "number"
    if any(cell.lower() in pair for pair in BOOLEANS):
        return "boolean"
    return "date" if is_date(cell) else "text"


def is_date(cell: str) -> bool:
    """Whether a cell has the form of an ISO 8601 date, with or without a time."""
    return _DATE.fullmatch(cell) is not None


def parse_date(cell: str) -> datetime | None:
    """Parse an ISO 8601 date as an aware datetime, in UTC if it names no time zone.

    Returns None for anything else, including impossible dates such as 31 February.
    """
    from datetime import UTC, datetime

    if not is_date(cell):
        return None
    try:
        found = datetime.fromisoformat(cell if len(cell) > 7 else f"{cell}-01")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def same_but_case(words: Iterable[str]) -> str | None:
    """Description of two words that differ in upper and lower case only; None if none do."""
    first: dict[str, str] = {}
    for word in words:
        other = first.setdefault(word.lower(), word)
        if other != word:
            return f"{other!r} and {word!r} differ in case only"
    return None


def decimal_sign(cells: Iterable[str], separator: str) -> str | None:
    """Detect the decimal sign from cells; None if they show neither sign or both.

    A comma as in ``1,5`` is a decimal sign. In ``1,234`` it may separate thousands; it is taken as
    a decimal sign only if the cells are not separated by commas and no cell has a decimal point.
    """
    commas = points = doubtful = 0
    for cell in cells:
        if "," in cell or "." in cell:
            with_point = parse_number(cell, ".") is not None
            with_comma = parse_number(cell, ",") is not None
            points += with_point and (not with_comma or cell.count(",") > 1)
            commas += with_comma and not with_point
            doubtful += with_point and with_comma and "," in cell
    if commas and points:
        return None
    if commas or (doubtful and not points and separator != ","):
        return ","
    return "." if points else None


def own_decimal_sign(column: Iterable[str | None], otherwise: str) -> str:
    """Decimal sign that the cells of one column show; ``otherwise`` if they show none or both."""
    some = islice((cell for cell in dict.fromkeys(column) if isinstance(cell, str)), 1000)
    return decimal_sign(some, ",") or otherwise


def parse(column: Sequence[str | None], decimal: str = ".", units: bool = False) -> Parsed:
    """Convert a column of strings to numbers, if all can be read as the same kind.

    The kinds are booleans, numbers and dates.

    Parameters
    ----------
    column : sequence of str or None
        Stripped cells; None is a missing value.
    decimal : {".", ","}
        Decimal sign.
    units : bool
        Whether numbers may have units (:func:`parse_quantity`).

    Returns
    -------
    Parsed
    """
    # Keep the order of the column, so that messages do not depend on hash values.
    different = {
        cell: 0 for cell in dict.fromkeys(column) if cell is not None and not is_missing(cell)
    }
    for way in (_booleans, _numbers, _dates):
        table, how = way(different.keys(), decimal, units)
        if len(table) == len(different):
            return Parsed(_filled(column, table), how)
        if table and 2 * len(table) >= len(different):  # the remaining cells are exceptions
            break
    else:
        table = {}
    bad = next(k for k, cell in enumerate(column) if cell in different and cell not in table)
    return Parsed(np.empty(0), None, bad, not table, next(iter(table), None))


def _filled(column: Sequence[str | None], table: dict[str, float]) -> np.ndarray:
    """Look up the number of each cell; NaN if ``table`` does not have it."""
    nan = float("nan")
    return np.fromiter(
        [nan if cell is None else table.get(cell, nan) for cell in column], np.float64, len(column)
    )


def _booleans(
    cells: Collection[str], decimal: str, units: bool
) -> tuple[dict[str, float], str | None]:
    """Map booleans to 1 and 0, with a description; other cells are left out."""
    if len(cells) > 16:  # more than the upper and lower case spellings of two words
        return {}, None
    tables = [
        {cell: 1.0 - pair.index(cell.lower()) for cell in cells if cell.lower() in pair}
        for pair in BOOLEANS
    ]
    table = max(tables, key=len)
    shown = sorted(table, key=lambda cell: -table[cell])
    if len(set(table.values())) == 2:
        return table, f"{shown[0]}/{shown[-1]} read as 1/0"
    return table, f"{shown[0]} read as {table[shown[0]]:.0f}" if shown else None


def _numbers(
    cells: Collection[str], decimal: str, units: bool
) -> tuple[dict[str, float], str | None]:
    """Map cells to numbers, with a description; other cells are left out.

    If there are several signs, only the cells with the most frequent one are included. Units are
    converted to each other.
    """
    if decimal == "." and not any("_" in cell for cell in cells):
        try:
            return dict(zip(cells, map(float, cells), strict=True)), None
        except ValueError:
            pass
    parse_one = parse_quantity if units else parse_number
    found = {cell: pair for cell in cells if (pair := parse_one(cell, decimal)) is not None}
    if not found:
        return {}, None
    counts = Counter(unit for _, unit in found.values())
    if units:
        wanted = prevailing_unit(counts)
        values = {cell: in_unit(*pair, wanted) for cell, pair in found.items()}
        table = {cell: value for cell, value in values.items() if value is not None}
    else:
        usual = counts.most_common(1)[0][0]
        table = {cell: value for cell, (value, unit) in found.items() if unit == usual}
    shown = max((cell for cell in table if plain_number(cell) is None), default=None, key=len)
    return table, None if shown is None else f"{shown!r} read as {table[shown]:.15g}"


def _dates(
    cells: Collection[str], decimal: str, units: bool
) -> tuple[dict[str, float], str | None]:
    """Map dates to days since 1970-01-01 00:00 UTC, with a description; other cells are left out.

    Dates without a time zone are taken as UTC.
    """
    from datetime import UTC, datetime

    start, table = datetime(1970, 1, 1, tzinfo=UTC), {}
    for cell in cells:
        found = parse_date(cell)
        if found is not None:
            table[cell] = (found - start).total_seconds() / 86400
    return table, "dates read as days since 1970-01-01" if table else None
