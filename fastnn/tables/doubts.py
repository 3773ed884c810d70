"""Numbers that may mean something else: times, codes for missing values, sums at the end."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from fastnn.datasets import cells, quantities
from fastnn.datasets.table import listed
from fastnn.tables.columns import Column
from fastnn.tables.dates import moments_of, number_order
from fastnn.tables.kinds import guess, read_numbers, unit_of

CODES = (-99.0, -999.0, -9999.0, -99999.0, -99.9, -999.9, 99.0, 999.0, 9999.0, 99999.0, 999999.0)
MOST_CATEGORIES = 256  # as by default
FEWEST = 10  # least number of distinct values for a remark
_LIMIT = re.compile(r"(?:[<>≤≥]=?|below|above|under|over)\s*\d.*", re.IGNORECASE)
_UNITS = {"s": "Unix times in seconds", "ms": "Unix times in milliseconds"}
_UNITS |= {"us": "Unix times in microseconds", "ns": "Unix times in nanoseconds"}


def doubts(columns: Sequence[Column], y: np.ndarray | None = None) -> list[str]:
    """Remarks on columns of numbers that were taken as they are.

    Parameters
    ----------
    columns : sequence of Column
    y : ndarray, shape (rows,), optional
        Target of a regression.

    Returns
    -------
    list of str

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tables.columns import columns_of
    >>> from fastnn.tables.doubts import doubts
    >>> (text,) = doubts(columns_of({"age": [-999.0, *range(20, 60), -999.0]}))
    >>> text.split(";")[0]
    "caution: column 'age': -999 in 2 of 42 rows stands apart from 20 to 59"
    """
    found = []
    for column in columns:
        values = column.values
        if text := _of_words(column) or _of_limits(column):
            found.append(f"caution: column {column.name!r}{text}")
        if text := _of_thousands(column):
            found.append(f"column {column.name!r}: {text}")
        if values.dtype.kind != "f" or column.hint is not None:
            continue
        there = values[~np.isnan(values)]
        if len(there) < FEWEST:
            continue
        for text in (_of_times(there, column.name), _of_codes(there, len(values))):
            if text:
                found.append(f"caution: column {column.name!r}{text}")
    totals = [
        repr(c.name) for c in columns if c.values.dtype.kind == "f" and _ends_with_sum(c.values)
    ]
    if y is not None and y.dtype.kind == "f" and _ends_with_sum(y):
        totals.append("the target")
    if totals:
        found.append(
            f"caution: the last row looks like a total: its value of {totals[0]} is the sum of all "
            "others; remove the row if so"
        )
    return found


def _of_times(values: np.ndarray, name: str) -> str:
    """Remark on numbers that look like dates; empty for others."""
    order = number_order(values)
    if order is None or len(np.unique(values[:1000])) < FEWEST:
        return ""
    first, last = moments_of(np.array([values.min(), values.max()]), order).astype("datetime64[D]")
    what = f"{_UNITS[order]}, {first} to {last}" if order in _UNITS else "dates YYYYMMDD"
    return f": its numbers look like {what}; {_option(name, 'date')} takes them so"


def _option(name: str, kind: str) -> str:
    """How to give the kind of a column, on the command line and in Python."""
    return f"--column '{name}={kind}' (columns={{{name!r}: {kind!r}}})"


def _of_words(column: Column) -> str:
    """Remark on a column of categories most of which are numbers, such as 7 and ">90"."""
    if column.values.dtype.kind != "O" or column.hint is not None:
        return ""
    texts = column.values[~column.gaps].tolist()
    words = read_numbers(column, unit_of(column))[1]
    odd = set(words)
    n_numbers = sum(text not in odd for text in texts)
    if not words or 2 * n_numbers < len(texts) or len(set(texts)) - len(words) < FEWEST:
        return ""
    if guess(column, MOST_CATEGORIES).kind != "category":
        return ""
    return (
        f": {n_numbers:,} of {len(texts):,} values are numbers, others ({listed(words, 3)}) are "
        f"not, so that all are categories; {_option(column.name, 'number')} takes others as missing"
    )


def _of_limits(column: Column) -> str:
    """Remark on a column of numbers in which limits such as <0.05 count as missing values."""
    if column.values.dtype.kind != "O" or column.hint is not None:
        return ""
    texts = column.values[~column.gaps].tolist()
    beyond = {text for text in set(texts) if _LIMIT.fullmatch(text)}
    if not beyond or guess(column, MOST_CATEGORIES).kind != "number":
        return ""
    n = sum(text in beyond for text in texts)
    return (
        f": limits ({listed(sorted(beyond), 3)}) in {n:,} of {len(texts):,} rows count as missing "
        "values; write numbers instead, such as the limit or half of it, if they are to count"
    )


def _of_thousands(column: Column) -> str:
    """Remark on numbers such as 1,234 in a column that does not show its decimal sign."""
    texts = column.values
    if texts.dtype.kind != "O" or cells.own_decimal_sign(texts.tolist(), ""):
        return ""
    sign, other = (".", ",") if column.decimal == "." else (",", ".")
    for text in dict.fromkeys(texts.tolist()):
        found = (
            quantities.parse_quantity(text, sign) if text is not None and other in text else None
        )
        if found is None:
            continue
        different = quantities.parse_quantity(text, other)
        if different is not None and different[0] != found[0]:
            value, option = f"{found[0]:.15g}", f"--decimal {other} (decimal={other!r})"
            return f"{text!r} is read as {value}; {option} if it is {different[0]:.15g}"
    return ""


def _of_codes(values: np.ndarray, n_rows: int) -> str:
    """Remark on a repeated number, such as -999, that stands apart from all others."""
    for extreme in (float(values.min()), float(values.max())):
        others = values[values != extreme]
        count = len(values) - len(others)
        if extreme not in CODES or count < 2 or len(np.unique(others)) < FEWEST:
            continue
        low, high = float(others.min()), float(others.max())
        apart = max(low - extreme, extreme - high)
        if apart > high - low or (extreme < 0 <= low):
            return (
                f": {extreme:g} in {count:,} of {n_rows:,} rows stands apart from {low:g} to "
                f"{high:g}; if it means a missing value: --missing {extreme:g} "
                f"(missing_values={extreme:g})"
            )
    return ""


def _ends_with_sum(values: np.ndarray) -> bool:
    """Whether the last number is the sum of all others, and larger than each of them."""
    others = values[:-1]
    if len(others) < FEWEST or not abs(values[-1]) > np.nanmax(np.abs(others), initial=0.0):
        return False
    return bool(np.isclose(values[-1], np.nansum(others), rtol=1e-9, atol=0))
