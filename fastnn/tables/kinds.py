"""Detection of the kind of a column: number, boolean, category, date, or to be left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from fastnn.datasets import cells, quantities
from fastnn.datasets.features import is_index
from fastnn.tables.columns import Column, as_texts
from fastnn.tables.dates import (
    NUMBERS,
    looks_like_date,
    moments_of,
    number_order,
    order_of,
    parse_date,
)

KINDS = ("number", "boolean", "category", "date", "drop")
MOSTLY = 0.9  # least share of numbers or dates in a text column of that kind
MANY = 0.5  # with more than max_categories distinct texts: largest ratio of distinct to all texts
DIFFERENT = 20  # least number of distinct numbers in a column of numbers with some words
FEW_WORDS = 5  # up to this many distinct words, such as "unknown", may make up half of the values
NAMING = 20  # least number of rows for a text column of distinct values to be left out
WORDS_OF_A_NAME = 3  # texts with more words on average are free text, otherwise identifiers
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Guess:
    """Detected kind of a column.

    Attributes
    ----------
    kind : one of ``KINDS``
    why : str
        For a column that is left out: the reason.
    """

    kind: str
    why: str = ""


def guess(column: Column, max_categories: int, keep_index: bool = False) -> Guess:
    """Detect the kind of a column from its type and its values.

    Parameters
    ----------
    column : Column
        The column with all rows.
    max_categories : int
        A text column with more distinct values than this is left out as free text if more than
        half of its values are distinct.
    keep_index : bool
        Keep columns that only number or name the rows.

    Returns
    -------
    Guess

    Raises
    ------
    ValueError
        If a number is infinite.
    """
    values, there = column.values, ~column.gaps
    n = int(there.sum())
    if n == 0:
        return Guess("drop", "empty")
    kind = column.hint or {"f": "number", "M": "date"}.get(values.dtype.kind) or _of_texts(column)
    if n == len(values) and len(values) > 1 and _is_constant(column, kind):
        return Guess("drop", "constant")
    if kind == "number":
        numbers = values if values.dtype.kind == "f" else read_numbers(column, unit_of(column))[0]
        if not keep_index and is_index(column.name, numbers):
            return Guess("drop", "identifier")
        if np.isinf(numbers).any():
            row = int(np.isinf(numbers).argmax())
            raise ValueError(
                f"column {column.name!r} has an infinite value in row {row + 1} (counted from 1)"
            )
    if kind == "date" and values.dtype.kind == "O" and _order_of(column) is None:
        return Guess("drop", "dates without a common order of day, month and year")
    if kind == "category" and column.hint is None:
        different = len(set(values[there].tolist()))
        free_text = Guess("drop", f"free text, {different:,} different values")
        if different == n and n >= NAMING and not keep_index:
            words = np.mean([len(text.split()) for text in values[there].tolist()])
            return free_text if words > WORDS_OF_A_NAME else Guess("drop", "identifier")
        if different > max_categories and different > MANY * n:
            return free_text
    return Guess(kind)


def _is_constant(column: Column, kind: str) -> bool:
    if kind == "category":
        return len(set(as_texts(column).tolist())) == 1
    return bool((column.values == column.values[0]).all())


def _of_texts(column: Column) -> str:
    """Detect the kind of a text column: boolean, number, date or category."""
    counts = Counter(column.values[~column.gaps].tolist())
    different = counts.keys()
    if 2 <= len(different) <= 16:
        spellings = {cell.lower() for cell in different}
        # a pair, and perhaps others that mean the same: yes, no, y, N
        if spellings <= _WORDS.keys() and any(spellings >= set(pair) for pair in cells.BOOLEANS):
            return "boolean"
    total = sum(count for cell, count in counts.items() if not cells.is_missing(cell))
    units: dict[str, str] = {}
    dates = 0
    for cell, count in counts.items():
        found = quantities.parse_quantity(cell, column.decimal)
        if found is not None:
            units[cell] = found[1]
        elif looks_like_date(cell):
            dates += count
    if units:
        # 0, 1, 2 and "3+" are categories. In a column of many numbers and a few words, the words
        # count as missing values.
        frequencies: Counter[str] = Counter()
        for cell, own in units.items():
            frequencies[own] += counts[cell]
        unit = quantities.prevailing_unit(frequencies)
        agree = {
            cell for cell, own in units.items() if quantities.in_unit(1.0, own, unit) is not None
        }
        n_numbers = sum(counts[cell] for cell in agree)
        words = [c for c in different if not cells.is_missing(c) and c not in agree]
        many = len(different) - len(words) >= DIFFERENT
        mostly = n_numbers >= MOSTLY * total or (
            n_numbers >= 0.5 * total and len(words) <= FEW_WORDS
        )
        if n_numbers == total or (many and mostly):
            return "number"
    return "date" if dates and dates >= MOSTLY * total else "category"


def unit_of(column: Column) -> str | None:
    """Sign or unit in which a text column's numbers are expressed; None if most have none."""
    units = units_of(column)
    return (quantities.prevailing_unit(units) or None) if units else None


def units_of(column: Column) -> Counter[str]:
    """Frequencies of the units of the numbers in a text column; "" for numbers without a unit."""
    units: Counter[str] = Counter()
    if column.values.dtype.kind == "O":
        for cell, count in Counter(column.values[~column.gaps].tolist()).items():
            found = quantities.parse_quantity(cell, column.decimal)
            if found is not None:
                units[found[1]] += count
    return units


def read_numbers(column: Column, unit: str | None = None) -> tuple[np.ndarray, list[str]]:
    """A column as float64 with NaN for missing values, and the distinct texts that are not numbers.

    Such texts count as missing, and so do numbers in units that cannot be converted to ``unit``.
    Without a ``unit``, numbers may have any currency or percent sign.
    """
    values = column.values
    if values.dtype.kind == "f":
        return values, []
    if values.dtype.kind == "M":
        raise ValueError(f"column {column.name!r} has dates where numbers are expected")

    def number(cell: str) -> float | None:
        if unit is None:
            found = quantities.parse_number(cell, column.decimal)
        else:
            found = quantities.parse_quantity(cell, column.decimal)
        if found is None:
            return _BOOLEANS.get(cell.lower())
        return found[0] if unit is None else quantities.in_unit(*found, unit)

    return _looked_up(column, number, cells.is_missing)


def read_booleans(column: Column) -> tuple[np.ndarray, list[str]]:
    """A column as 1.0, 0.0 or NaN (missing), and the distinct values that are not booleans."""
    values = column.values
    if values.dtype.kind == "f":
        odd = ~np.isnan(values) & (values != 0) & (values != 1)
        return np.where(odd, np.nan, values), [f"{v:g}" for v in np.unique(values[odd])]
    if values.dtype.kind == "M":
        raise ValueError(f"column {column.name!r} has dates where yes and no are expected")
    return _looked_up(column, lambda cell: _WORDS.get(cell.lower()), cells.is_missing)


def dates_order(column: Column) -> str:
    """Order of year, month and day in a column of dates (see ``dates.ORDERS``, ``NUMBERS``)."""
    if column.values.dtype.kind == "f":
        return number_order(column.values) or "iso"
    if column.values.dtype.kind != "O":
        return "iso"
    return _order_of(column) or "iso"


def _order_of(column: Column) -> str | None:
    """Order in a text column with dates; None if no order fits all of them."""
    texts = dict.fromkeys(column.values.tolist())
    return order_of(t for t in texts if t is not None and looks_like_date(t))


def read_dates(column: Column, order: str = "iso") -> tuple[np.ndarray, list[str]]:
    """A column as datetime64[us] with NaT for missing values, and the texts that are not dates.

    Dates in ISO 8601 are read with any ``order``.
    """
    values = column.values
    if values.dtype.kind == "M":
        return values, []
    if values.dtype.kind == "f":
        if order not in NUMBERS and not np.isnan(values).all():
            known = number_order(values)
            what = "neither Unix times nor YYYYMMDD"
            if known is not None:  # but training had no numbers
                what = "YYYYMMDD" if known == "yyyymmdd" else f"perhaps Unix times in {known}"
                what += "; write them as dates, such as 2024-12-31"
            raise ValueError(
                f"column {column.name!r} has numbers where dates are expected, which are {what}"
            )
        moments = moments_of(values, order)
        odd = values[np.isnat(moments) & ~np.isnan(values)]
        return moments, [f"{value:.15g}" for value in np.unique(odd)]

    def day(cell: str) -> float | None:
        found = cells.parse_date(cell)
        if found is None and order not in NUMBERS:
            found = parse_date(cell, order)
        return None if found is None else (found - _EPOCH).total_seconds()

    seconds, odd = _looked_up(column, day, cells.is_missing)
    moments = np.full(len(seconds), "NaT", "datetime64[us]")
    there = ~np.isnan(seconds)
    moments[there] = np.round(seconds[there] * 1e6).astype("int64").astype("datetime64[us]")
    return moments, odd


_BOOLEANS = {word: 1.0 - k for pair in cells.BOOLEANS for k, word in enumerate(pair)}
_WORDS = _BOOLEANS | {"1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}


def _looked_up(
    column: Column, read: Callable[[str], float | None], is_missing: Callable[[str], bool]
) -> tuple[np.ndarray, list[str]]:
    """Convert texts with ``read``, once per distinct text; return values and unreadable texts."""
    texts = column.values.tolist()
    table: dict[str | None, float] = {None: np.nan}
    odd = []
    for cell in dict.fromkeys(texts):
        if cell is not None:
            value = read(cell)
            if value is None and not is_missing(cell):
                odd.append(cell)
            table[cell] = np.nan if value is None else value
    return np.array([table[cell] for cell in texts], np.float64), odd
