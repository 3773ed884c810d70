"""Encoding of one column of a table: how it is learned, applied and described.

number
    The number; the training median if missing. With ``logs``, the logarithm of a positive number
    with a long tail follows as a second column. If training had missing values, an indicator
    column (1 where missing, else 0) is the last one.
boolean
    +1, -1; 0 if missing.
category
    One column per category, 1 or 0; all 0 if the category is missing or unknown.
    Exactly two categories: one column, +1 for the first, -1 for the second, 0 for neither.
date
    Parts as numbers (see ``PARTS``), their training medians if missing; then the indicator column
    as for numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal
from unicodedata import normalize

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fastnn.datasets import cells, quantities
from fastnn.datasets.table import listed
from fastnn.tables.columns import Column, as_texts, label
from fastnn.tables.dates import EXAMPLES, NUMBERS, ORDERS
from fastnn.tables.kinds import (
    KINDS,
    Guess,
    dates_order,
    read_booleans,
    read_dates,
    read_numbers,
    units_of,
)
from fastnn.tables.missing import matches, moments, numbers_of, without
from fastnn.tables.remarks import Remarks

PARTS = ("year", "month", "weekday", "hour", "age")  # age: days before the latest training date
LONG_TAIL = 1.0  # skewness above which the logarithm of a column is added
TAIL_VALUES = 10  # minimum number of distinct values for a logarithm
TINY = 1e-300


class ColumnCode(BaseModel):
    """How one column of the table is encoded.

    Attributes
    ----------
    name : str
    kind : {"number", "boolean", "category", "date", "drop"}
    why : str
        For a column that is left out: the reason.
    gaps, rows : int
        Number of training rows without a value, and of all training rows.
    categories : list of str
        Categories that are encoded.
    odd : list of str
        Up to three training values that are not of this kind and count as missing.
    others : int
        Number of training categories that are not encoded, the least frequent ones.
    order : {"iso", "ymd", "dmy", "mdy", "signs", "s", "ms", "us", "ns", "yyyymmdd"}
        For dates given as text: order of year, month and day.  For dates given as numbers: the
        unit of Unix times, or "yyyymmdd".
    parts : list of str
        For dates: the parts that are encoded (see ``PARTS``).
    fill : list of float
        Values that replace missing ones: one for a number, one per part for a date.
    origin : float
        For dates: the latest training date, in days since 1970-01-01.
    flag : bool
        Whether there is an indicator column for missing values.
    texts : bool
        For booleans: whether they were given as text, such as "yes" and "no".
    unit : str, optional
        For numbers given as text: their sign or unit, such as "$" or "kg", or ":" for times, which
        are read as hours; "*" or "$*" if numbers such as 1.5M have multipliers. Numbers in units
        that cannot be converted count as missing. None: any currency sign.
    decimal : {".", ","} or None
        For numbers given as text: their decimal sign, for texts that show none, such as "1.234".
    bare : int
        For numbers with a unit: number of training rows without it.
    converted : list of str
        Up to four other units, or the multipliers, that occurred in training.
    floor : float
        For numbers with a logarithm: the smallest training value, at which smaller values are
        clipped before the logarithm is taken. 0: no logarithm.
    missing : list of str
        Values that count as missing, as the user declared. Numbers and dates are compared as such.
    taken : int
        Number of training rows with such a value.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    name: str
    kind: Literal[KINDS]  # type: ignore[valid-type]
    why: str = ""
    rows: int = Field(default=0, ge=0)
    gaps: int = Field(default=0, ge=0)
    odd: list[str] = []
    categories: list[str] = []
    others: int = Field(default=0, ge=0)
    order: Literal[ORDERS + NUMBERS] = "iso"  # type: ignore[valid-type]
    parts: list[Literal[PARTS]] = []  # type: ignore[valid-type]
    fill: list[float] = []
    origin: float = 0.0
    flag: bool = False
    texts: bool = False
    unit: str | None = None
    decimal: Literal[".", ","] | None = None
    bare: int = Field(default=0, ge=0)
    converted: list[str] = []
    floor: float = Field(default=0.0, ge=0)
    missing: list[str] = []
    taken: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> ColumnCode:
        needed = {"number": 1, "date": len(self.parts)}.get(self.kind, 0)
        if len(self.fill) != needed or len(set(self.categories)) != len(self.categories):
            raise ValueError(f"column {self.name!r} makes no sense")
        if self.kind == "category" and not self.categories:
            raise ValueError(f"column {self.name!r} has no categories")
        if self.flag and self.kind not in ("number", "date"):
            raise ValueError(f"column {self.name!r} has no missing-value indicator")
        if self.floor and self.kind != "number":
            raise ValueError(f"column {self.name!r} has no logarithm")
        return self

    def outputs(self) -> list[str]:
        """Names of the encoded columns."""
        flag = [f"{self.name}=missing"] if self.flag else []
        if self.kind in ("number", "boolean"):
            log = [f"{self.name}.log"] if self.floor else []
            return [self.name, *log, *flag]
        if self.kind == "date":
            return [*(f"{self.name}.{part}" for part in self.parts), *flag]
        if self.kind == "category":
            if len(self.categories) == 2:
                return [f"{self.name}={self.categories[0]}", *flag]
            return [f"{self.name}={category}" for category in self.categories]
        return []

    def codes_of_gaps(self) -> list[float]:
        """Numbers that count as missing: in the column's unit, or for dates seconds since 1970."""
        if self.kind == "number" or (self.kind == "boolean" and not self.texts):
            return numbers_of(self.missing).tolist()
        if self.kind == "date":
            return (moments(self.missing, self.order).astype(np.int64) / 1e6).tolist()
        return []

    def measured(self) -> str:
        """In what a number is measured, such as " in kg"; empty for other columns."""
        base = (self.unit or "").partition("*")[0]
        return f" in {'hours' if base == quantities.TIME else base}" if base else ""

    def what(self) -> str:
        """Description of the encoding."""
        if self.kind == "drop":
            return f"left out: {self.why}"
        gaps = f"; {self.gaps:,} of {self.rows:,} missing" if self.gaps else ""
        if self.taken:
            declared = _short(self.missing[0]) if len(self.missing) == 1 else "declared"
            gaps += f", {self.taken:,} as {declared}"
        gaps += f", such as {listed(self.odd)}" if self.odd else ""
        if self.kind == "number":
            how = f" (filled with {self.fill[0]:.6g})" if self.gaps else ""
            log = ", with its logarithm" if self.floor else ""
            where = ", and a missing-value indicator" if self.flag else ""
            base, times, _ = (self.unit or "").partition("*")
            unit = " of hours" if base == quantities.TIME else f" in {base}" if base else ""
            names = ", ".join(self.converted)
            unit += (
                f" with multipliers ({names})"
                if times
                else f" ({names} converted)"
                if names
                else ""
            )
            if self.bare and not times:
                unit += f" ({self.bare:,} without a unit, taken as {base})"
            return "number" + unit + log + gaps + how + where
        if self.kind == "boolean":
            return "yes or no, as +1 and -1" + (f"{gaps} (0)" if gaps else "")
        if self.kind == "date":
            order = {
                "dmy": " (day first)",
                "mdy": " (month first)",
                "signs": " (day first with dots, month first with slashes)",
                "yyyymmdd": " (numbers YYYYMMDD)",
            }.get(self.order, "")
            if self.order in NUMBERS and not order:
                order = f" (Unix times in {self.order})"
            return f"date{order}, as {', '.join(self.parts)}{gaps}"
        n = len(self.categories) + self.others
        shown = ", ".join(map(_short, self.categories[:4])) + (", ..." if n > 4 else "")
        same = cells.same_but_case(self.categories)
        gaps += f"; {same}" if same else ""
        if len(self.categories) == 2:
            return f"2 categories ({shown}), as +1 and -1{gaps}"
        some = f", the {len(self.categories):,} most frequent of them" if self.others else ""
        one = "category" if n == 1 else "categories"
        return f"{n:,} {one} ({shown}), a column each{some}{gaps}"


def learn(
    column: Column, found: Guess, max_categories: int, given: bool, logs: bool = False
) -> ColumnCode:
    """Learn the encoding of a column.

    Parameters
    ----------
    column : Column
        Training rows.
    found : Guess
        Kind of the column.
    max_categories : int
        Maximum number of categories to encode.
    given : bool
        Whether the user specified the kind.
    logs : bool
        Whether to add the logarithm of a number with a long tail, unless its kind is given.

    Raises
    ------
    ValueError
        If a number is infinite, or if the values do not suit the given kind.
    """
    kind, n = found.kind, len(column)
    common: dict[str, Any] = {"name": column.name, "rows": n, "missing": list(column.missing)}
    common["taken"] = 0 if column.taken is None else int(column.taken.sum())
    if kind == "drop":
        return ColumnCode(kind="drop", why=found.why, **common)
    if kind == "category":
        return _learn_categories(column, max_categories, given, common)
    order = dates_order(column) if kind == "date" else "iso"
    units = units_of(column) if kind == "number" else Counter()
    unit = (quantities.prevailing_unit(units) or None) if units else None
    values, odd = _read(column, kind, order, unit, column.missing)
    gaps = np.isnat(values) if kind == "date" else np.isnan(values)
    if odd and given and gaps.sum() - column.gaps.sum() > 0.5 * n:
        raise ValueError(f"column {column.name!r} is not a {kind}: {odd[0]!r}")
    if gaps.all():
        return ColumnCode(kind="drop", why="empty in the rows of training", **common)
    common |= {"kind": kind, "gaps": int(gaps.sum()), "odd": odd[:3]}
    if kind == "boolean":
        return ColumnCode(texts=column.values.dtype.kind == "O", **common)
    flag = bool(gaps.any())
    if kind == "number":
        if np.isinf(values).any():
            raise ValueError(f"column {column.name!r} has an infinite value")
        floor = _floor(values[~gaps]) if logs and not given else 0.0
        fill = [float(np.median(values[~gaps]))]
        if column.values.dtype.kind == "O":
            common |= {"decimal": column.decimal}
        return ColumnCode(fill=fill, flag=flag, floor=floor, **_units(units, unit), **common)
    origin = float(_days(values[~gaps]).max())
    parts = {part: _part(values[~gaps], part, origin) for part in PARTS}
    used = [part for part, numbers in parts.items() if (numbers != numbers[0]).any()]
    if not used and not flag:
        return ColumnCode(kind="drop", why="constant", name=column.name, rows=n)
    fill = [float(np.median(parts[part])) for part in used]
    return ColumnCode(parts=used, fill=fill, origin=origin, flag=flag, order=order, **common)


def _units(units: Counter[str], unit: str | None) -> dict[str, Any]:
    """The fields of a number's code that are about its unit."""
    if unit is None:
        return {}
    others = [u for u, _ in units.most_common() if u not in ("", unit)]
    others = [u.rpartition("*")[2] for u in others if quantities.in_unit(1.0, u, unit) is not None]
    return {"unit": unit, "bare": units[""], "converted": list(dict.fromkeys(others))[:4]}


def _floor(values: np.ndarray) -> float:
    """Smallest value of a column whose logarithm is to be added; 0 for other columns."""
    low, values = float(values.min()), values / max(float(abs(values).max()), TINY)
    if low <= 0 or len(np.unique(values)) < TAIL_VALUES:
        return 0.0
    z = (values - values.mean()) / max(values.std(), TINY)
    return low if np.mean(z**3) > LONG_TAIL else 0.0


def _learn_categories(
    column: Column, max_categories: int, given: bool, common: dict[str, Any]
) -> ColumnCode:
    texts = as_texts(column)
    counts = Counter(text for text in texts.tolist() if text is not None)
    n_there = counts.total()
    if not counts:
        return ColumnCode(kind="drop", why="empty in the rows of training", **common)
    if given and len(counts) > 10 * max_categories and len(counts) > 0.5 * n_there:
        raise ValueError(
            f"column {column.name!r} has {len(counts):,} different values in {n_there:,} rows, "
            "too many to be categories; leave it out"
        )
    kept = list(counts)
    if len(kept) > max_categories:
        kept = [category for category, _ in counts.most_common(max_categories)]
    kept.sort(key=float if column.values.dtype.kind == "f" and column.hint is None else None)
    return ColumnCode(
        kind="category",
        gaps=len(texts) - n_there,
        categories=kept,
        others=len(counts) - len(kept),
        **common,
    )


def _short(category: str) -> str:
    """A category in one line of at most 30 characters."""
    line = " ".join(category.split())
    return line if len(line) <= 30 else line[:27] + "..."


def _read(
    column: Column, kind: str, order: str, unit: str | None, missing: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """A column as numbers or dates, and the distinct values that cannot be read as such.

    Values that count as missing are compared again, since they may be written in another way, with
    a unit or as a date in another order.
    """
    if kind == "boolean":
        return read_booleans(column)
    values, odd = read_dates(column, order) if kind == "date" else read_numbers(column, unit)
    if missing:
        codes = moments(missing, order) if kind == "date" else numbers_of(missing)
        gap = np.datetime64("NaT") if kind == "date" else np.nan
        values = np.where(np.isin(values, codes), gap, values)
    return values, odd


def encode(code: ColumnCode, column: Column, out: np.ndarray, remarks: Remarks) -> None:
    """Encode one column into ``out``, shape (rows, encoded columns), which must be zero."""
    if code.decimal is not None and column.values.dtype.kind == "O":
        sign = cells.own_decimal_sign(column.values.tolist(), code.decimal)
        column = replace(column, decimal=sign)
    if code.missing and not (code.texts and column.values.dtype.kind == "f"):
        column = without(column, matches(column, code.missing))
    if code.kind == "category":
        _encode_categories(code, column, out, remarks)
        return
    values, odd = _read(column, code.kind, code.order, code.unit, code.missing)
    odd = [text for text in odd if text not in code.odd]  # reported in training already
    if odd:
        is_date = code.kind == "date" and code.order in EXAMPLES
        kind = f"date such as {EXAMPLES[code.order]}" if is_date else code.kind
        remarks.add_odd(code.name, kind, odd)
    gaps = np.isnat(values) if code.kind == "date" else np.isnan(values)
    if code.kind == "number":
        if np.isinf(values).any():
            row = int(np.isinf(values).argmax())
            raise ValueError(
                f"column {code.name!r} has an infinite value in row {row + 1} (counted from 1)"
            )
        out[:, 0] = np.where(gaps, code.fill[0], values)
        if code.floor:
            # Report values below the floor by a larger factor than the floor is below the median.
            below = out[:, 0] < code.floor * (code.floor / code.fill[0])
            if below.any():
                remarks.add_below(code.name, code.floor, out[below, 0])
            out[:, 1] = np.log(np.maximum(out[:, 0], code.floor))
    elif code.kind == "boolean":
        out[:, 0] = np.where(gaps, 0.0, 2 * values - 1)
    else:
        for k, part in enumerate(code.parts):
            out[:, k] = code.fill[k]
            out[~gaps, k] = _part(values[~gaps], part, code.origin)
    if code.flag:
        out[:, -1] = gaps


def _encode_categories(code: ColumnCode, column: Column, out: np.ndarray, remarks: Remarks) -> None:
    texts = as_texts(column).tolist()
    places: dict[str | None, int] = {None: -1}
    places |= {category: k for k, category in enumerate(code.categories)}
    for category, k in list(places.items())[1:]:
        places.setdefault(_plain(category), k)
    for text in dict.fromkeys(texts):
        if text not in places:
            places[text] = places.get(_plain(text), -2)
    which = np.array([places[text] for text in texts], np.int64)
    if not code.others and (which == -2).any():
        new = (text for text, k in zip(texts, which.tolist(), strict=True) if k == -2)
        remarks.add_unknown(code.name, int((which == -2).sum()), new)
    if len(code.categories) == 2:
        out[:, 0] = np.where(which == 0, 1.0, np.where(which == 1, -1.0, 0.0))
        return
    rows = np.flatnonzero(which >= 0)
    out[rows, which[rows]] = 1.0


def _plain(category: Any) -> str:
    """A category as a typed table has it: "1.50" and "01" may be the numbers 1.5 and 1 there."""
    number = quantities.plain_number(category)
    return (
        label(number) if number is not None and np.isfinite(number) else normalize("NFC", category)
    )


def _days(moments: np.ndarray) -> np.ndarray:
    return moments.astype("datetime64[us]").astype(np.int64) / 86_400e6


def _part(moments: np.ndarray, part: str, origin: float) -> np.ndarray:
    """One of ``PARTS`` of dates, as float64."""
    if part == "age":
        return origin - _days(moments)
    days = moments.astype("datetime64[D]")
    if part == "year":
        return moments.astype("datetime64[Y]").astype(np.float64) + 1970
    if part == "month":
        return moments.astype("datetime64[M]").astype(np.int64) % 12 + 1.0
    if part == "weekday":  # Monday is 0; 1970-01-01 was a Thursday
        return (days.astype(np.int64) + 3) % 7 * 1.0
    return (moments - days) / np.timedelta64(1, "h")
