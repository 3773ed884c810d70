"""Values that the user declares as missing, such as -999 or "unknown"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unicodedata import normalize

import numpy as np

from fastnn.datasets import cells, quantities
from fastnn.datasets.table import did_you_mean, listed
from fastnn.tables.columns import Column, label
from fastnn.tables.dates import NUMBERS, moments_of
from fastnn.tables.kinds import read_dates


def by_column(missing_values: Any, names: Sequence[str]) -> dict[str, list[str]]:
    """Values of each column that count as missing, as text.

    Parameters
    ----------
    missing_values : number, str, sequence of them, mapping of column names to them, or None
        Without names, the values are those of all columns.
    names : sequence of str
        Columns of the table.

    Returns
    -------
    dict of str to list of str
        Numbers are written as ``fastnn.tables.columns.label`` does.

    Raises
    ------
    ValueError
        If there is no column of a given name.

    Examples
    --------
    >>> from fastnn.tables.missing import by_column
    >>> by_column([-999.0, "unknown"], ["age"])
    {'age': ['-999', 'unknown']}
    >>> by_column({"age": 0}, ["age", "size"])
    {'age': ['0']}
    """
    if not isinstance(missing_values, Mapping):
        texts = _texts(missing_values)
        return dict.fromkeys(names, texts) if texts else {}
    found = {}
    for given, values in missing_values.items():
        name = normalize("NFC", str(given))
        if name not in names:
            raise ValueError(
                f"missing_values: there is no column {name!r}; the table has {listed(names)}"
                f"{did_you_mean(name, names)}"
            )
        found[name] = _texts(values)
    return found


def _texts(values: Any) -> list[str]:
    """Values as text; NaN and None, which are missing anyway, are left out."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    several = isinstance(values, Iterable) and not isinstance(values, (str, bytes))
    texts = [label(v) for v in (values if several else [values]) if v is not None]
    return [normalize("NFC", text) for text in texts if text.lower() not in cells.GAPS]


def declare(columns: Sequence[Column], given: Mapping[str, Sequence[str]]) -> list[Column]:
    """Replace declared values by gaps; the columns then know which values were declared.

    Parameters
    ----------
    columns : sequence of Column
    given : mapping of str to sequence of str
        As returned by :func:`by_column`.

    Returns
    -------
    list of Column
    """
    found = []
    for column in columns:
        if texts := _own(column, given):
            taken = matches(column, texts)
            column = replace(without(column, taken), missing=texts, taken=taken)
        found.append(column)
    return found


def unmatched(columns: Sequence[Column], given: Mapping[str, Sequence[str]]) -> list[str]:
    """Declared values that occur in no column, given the columns before :func:`declare`."""
    texts = dict.fromkeys(text for values in given.values() for text in values)
    for column in columns:
        for text in _own(column, given):
            if text in texts and matches(column, [text]).any():
                del texts[text]
    return list(texts)


def _own(column: Column, given: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Declared values of a column; for booleans no numbers, since 0 is another value than False."""
    texts = dict.fromkeys(given.get(column.name, ()))
    return tuple(t for t in texts if column.hint != "boolean" or number_of(t) is None)


def matches(column: Column, texts: Sequence[str]) -> np.ndarray:
    """Mask of the rows of a column with one of the values ``texts``.

    Numbers and dates are compared as such, other cells as text.
    """
    values = column.values
    if values.dtype.kind == "f":
        return np.isin(values, numbers_of(texts))
    if values.dtype.kind == "M":
        return np.isin(values, moments(texts))
    known, numbers = set(texts), set(numbers_of(texts).tolist())

    def is_one(cell: str | None) -> bool:
        if cell is None or cell in known:
            return cell is not None
        found = quantities.parse_number(cell, column.decimal) if numbers else None
        return found is not None and found[1] == "" and found[0] in numbers

    every = values.tolist()
    table = {cell: is_one(cell) for cell in dict.fromkeys(every)}
    return np.array([table[cell] for cell in every], bool)


def without(column: Column, rows: np.ndarray) -> Column:
    """The column with gaps in the rows of a mask."""
    if not rows.any():
        return column
    gap = {"f": np.nan, "M": np.datetime64("NaT")}.get(column.values.dtype.kind)
    values = column.values.copy()
    values[rows] = gap
    return replace(column, values=values)


def number_of(text: str) -> float | None:
    """A declared value as a number, with any decimal sign; None for other texts."""
    value = quantities.plain_number(text)
    if value is None:
        found = quantities.parse_number(text, ".") or quantities.parse_number(text, ",")
        value = found[0] if found is not None and found[1] == "" else None
    return None if value is None or np.isnan(value) else value


def numbers_of(texts: Iterable[str]) -> np.ndarray:
    """The numbers among declared values, as float64."""
    found = [number_of(text) for text in texts]
    return np.array([value for value in found if value is not None], np.float64)


def moments(texts: Sequence[str], order: str = "iso") -> np.ndarray:
    """The dates among declared values, as datetime64[us], in the column's order."""
    if order in NUMBERS and len(numbers := numbers_of(texts)):
        found = moments_of(numbers, order)
    else:
        found = read_dates(Column("", np.array([*texts, None], object)), order)[0]
    return found[~np.isnat(found)].astype("datetime64[us]")
