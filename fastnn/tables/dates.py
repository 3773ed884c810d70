"""Dates given as text, in several orders of day, month and year, and dates given as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np

from fastnn.datasets import cells

ORDERS = ("iso", "ymd", "dmy", "mdy", "signs")
EXAMPLES = dict(zip(ORDERS, ("2024-12-31", "2024-12-31", "31.12.2024", "12/31/2024"), strict=False))
NUMBERS = ("s", "ms", "us", "ns", "yyyymmdd")  # orders of dates that are numbers: Unix times, ...
_PER_SECOND = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}
_FIRST, _LAST = 1e8, 4102444800.0  # Unix times of 1973, before which many counts lie, and 2100
_BY_SIGN = {".": "dmy", "/": "mdy", "-": "ymd"}  # of the order "signs", for columns with several
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_PATTERN = re.compile(
    r"(?P<a>\d{1,4})(?P<sign>[./-])(?P<b>\d{1,2}|[A-Za-z]{3})(?P=sign)(?P<c>\d{4}|\d\d)"
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d{1,9})?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?)?",
    re.ASCII,
)


def order_of(texts: Iterable[str]) -> str | None:
    """Determine the order of year, month and day in dates.

    Parameters
    ----------
    texts : iterable of str
        Distinct dates.

    Returns
    -------
    {"iso", "ymd", "dmy", "mdy", "signs"} or None
        The first of ``ORDERS`` in which all texts are valid dates; "mdy" rather than "dmy" if both
        fit and all dates contain slashes. None if no order fits.
    """
    texts = list(texts)
    fitting = [
        order for order in ORDERS if all(parse_date(text, order) is not None for text in texts)
    ]
    if not fitting or not texts:
        return None
    if fitting[:2] == ["dmy", "mdy"] and all("/" in text for text in texts):
        return "mdy"
    return fitting[0]


def number_order(values: np.ndarray) -> str | None:
    """How numbers mean dates, one of ``NUMBERS``; None if not all do.

    Unix times are whole numbers that mean 1970 to 2100, mostly after 1973; 20241231 is the last
    day of 2024.
    """
    values = values[~np.isnan(values)]
    if not len(values) or (values != np.floor(values)).any():
        return None
    low, high = float(values.min()), float(values.max())
    if low >= 18000101 and high < 22000101:
        days = (values % 100 >= 1) & (values % 100 <= 31)
        months = (values // 100 % 100 >= 1) & (values // 100 % 100 <= 12)
        if (days & months).all():
            return "yyyymmdd"
    # the largest unit first, as each interval begins with 0; medians tell them apart
    usual = float(np.median(values))
    for order, factor in _PER_SECOND.items():
        if usual < _LAST * factor:
            known = _FIRST * factor <= usual and low >= 0 and high < _LAST * factor
            return order if known else None
    return None


def moments_of(values: np.ndarray, order: str) -> np.ndarray:
    """Numbers as datetime64[us]; NaT for NaN, and for days that do not exist."""
    out = np.full(len(values), "NaT", "datetime64[us]")
    there = np.flatnonzero(np.isfinite(values))
    if order in _PER_SECOND:
        seconds = values[there] / _PER_SECOND[order]
        inside = np.abs(seconds) < 1e12
        out[there[inside]] = (
            np.round(seconds[inside] * 1e6).astype("int64").astype("datetime64[us]")
        )
        return out
    for row in there.tolist():
        text = f"{values[row]:.0f}"
        found = cells.parse_date(f"{text[:4]}-{text[4:6]}-{text[6:]}")
        if found is not None:
            out[row] = np.datetime64(found.replace(tzinfo=None))
    return out


def looks_like_date(text: str) -> bool:
    """Whether a text is a date in some order."""
    return any(parse_date(text, order) is not None for order in ORDERS)


def parse_date(text: str, order: str) -> datetime | None:
    """Parse a date as a time in UTC; None if it is not a valid date in this order.

    With the order "signs", the day is first in dates with dots, the month in dates with slashes.

    Two-digit years are taken as 1970 to 2069.
    """
    if order == "iso":
        return cells.parse_date(text)
    found = _PATTERN.fullmatch(text)
    if found is None:
        return None
    order = _BY_SIGN[found["sign"]] if order == "signs" else order
    parts = dict(zip(order, (found["a"], found["b"], found["c"]), strict=True))
    name = parts["m"].lower()
    month = _MONTHS.index(name) + 1 if name in _MONTHS else None
    if (month is None and not name.isdecimal()) or not parts["d"].isdecimal():
        return None
    if len(parts["d"]) > 2 or (order == "ymd") != (len(found["a"]) == 4):
        return None
    year = int(parts["y"]) if parts["y"].isdecimal() else -1
    if len(parts["y"]) <= 2 and year >= 0:
        year += 2000 if year < 70 else 1900
    hour = int(found["hour"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
    minute, second = int(found["minute"] or 0), int(found["second"] or 0)
    try:
        return datetime(year, month or int(name), int(parts["d"]), hour, minute, second, tzinfo=UTC)
    except ValueError:  # such as February 31
        return None
