"""What a table becomes, as plain names and numbers: applied and kept without scikit-learn.

How each kind of column is encoded:

number
    Itself; a gap is the median of training. A column "was missing" (1 or 0) follows where training
    had gaps.
boolean
    +1, -1; 0 for a gap.
category
    One column for each category, 1 or 0; all 0 for a gap or a category that training did not have.
    Exactly two categories: one column, +1 for the first, -1 for the second, 0 for neither.
date
    Parts as numbers (see ``PARTS``); a gap is the median of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fastnn.datasets.table import listed
from fastnn.tables.columns import Column, as_texts, columns_of
from fastnn.tables.dates import ORDERS
from fastnn.tables.kinds import (
    KINDS,
    Guess,
    dates_order,
    guess,
    read_booleans,
    read_dates,
    read_numbers,
)
from fastnn.tables.remarks import Remarks

PARTS = ("year", "month", "weekday", "hour", "age")  # age: days before the latest of training
SCALINGS = ("robust-clip", "standard", None)
CLIP = 3.0
FAR = 1e150  # whose square is finite; the clip leaves nothing of the difference
VERSION = 1


class ColumnCode(BaseModel):
    """How one column of the table is encoded.

    Attributes
    ----------
    name : str
    kind : {"number", "boolean", "category", "date", "drop"}
    why : str
        Why it is left out.
    gaps, rows : int
        Rows without a value, and all rows, in training.
    categories : list of str
    odd : list of str
        Some texts of training that are not of the kind and count as missing.
    others : int
        Categories of training that have no column, the rarest ones.
    order : {"iso", "ymd", "dmy", "mdy"}
        Of day, month and year, of a date that was text.
    parts : list of str
        Of a date.
    fill : list of float
        What stands for a gap: of a number, or of each part.
    origin : float
        Of a date: the latest of training, in days since 1970-01-01.
    flag : bool
        Whether a column says where gaps were.
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
    order: Literal[ORDERS] = "iso"  # type: ignore[valid-type]
    parts: list[Literal[PARTS]] = []  # type: ignore[valid-type]
    fill: list[float] = []
    origin: float = 0.0
    flag: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> ColumnCode:
        needed = {"number": 1, "date": len(self.parts)}.get(self.kind, 0)
        if len(self.fill) != needed or len(set(self.categories)) != len(self.categories):
            raise ValueError(f"column {self.name!r} makes no sense")
        if self.kind == "category" and not self.categories:
            raise ValueError(f"column {self.name!r} has no categories")
        return self

    def outputs(self) -> list[str]:
        """Names of the encoded columns."""
        flag = [f"{self.name}=missing"] if self.flag else []
        if self.kind in ("number", "boolean"):
            return [self.name, *flag]
        if self.kind == "date":
            return [*(f"{self.name}.{part}" for part in self.parts), *flag]
        if self.kind == "category":
            if len(self.categories) == 2:
                return [f"{self.name}={self.categories[0]}", *flag]
            return [f"{self.name}={category}" for category in self.categories]
        return []

    def what(self) -> str:
        """What the column becomes, in words."""
        if self.kind == "drop":
            return f"left out: {self.why}"
        gaps = f"; {self.gaps:,} of {self.rows:,} missing" if self.gaps else ""
        gaps += f", such as {listed(self.odd)}" if self.odd else ""
        if self.kind == "number":
            how = f" (filled with {self.fill[0]:.6g})" if self.gaps else ""
            return "number" + gaps + how + (", and a column that says where" if self.flag else "")
        if self.kind == "boolean":
            return "yes or no, as +1 and -1" + (f"{gaps} (0)" if gaps else "")
        if self.kind == "date":
            order = {"dmy": " (day first)", "mdy": " (month first)"}.get(self.order, "")
            return f"date{order}, as {', '.join(self.parts)}{gaps}"
        n = len(self.categories) + self.others
        shown = ", ".join(self.categories[:4]) + (", ..." if n > 4 else "")
        if len(self.categories) == 2:
            return f"2 categories ({shown}), as +1 and -1{gaps}"
        some = f", the {len(self.categories):,} most frequent of them" if self.others else ""
        one = "category" if n == 1 else "categories"
        return f"{n:,} {one} ({shown}), a column each{some}{gaps}"


class _State(BaseModel):
    """The part of an encoding that is kept as JSON."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    version: Literal[1]
    scaling: Literal["robust-clip", "standard"] | None
    columns: list[ColumnCode] = Field(min_length=1)
    positional: bool = False


@dataclass(frozen=True)
class Encoding:
    """A fitted encoding.

    Attributes
    ----------
    columns : tuple of ColumnCode
        In the order of training, those that are left out too.
    scaling : {"robust-clip", "standard"} or None
    positional : bool
        Whether the table of training had no names, so that columns are taken in order.
    shift, factor : ndarray of float64, shape (encoded columns,), or None
        The encoded columns are ``(x - shift) * factor``; for "robust-clip" then
        ``z / sqrt(1 + (z / 3)^2)``. None without scaling.
    """

    columns: tuple[ColumnCode, ...]
    scaling: str | None = None
    positional: bool = False
    shift: np.ndarray | None = None
    factor: np.ndarray | None = None
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = [name for column in self.columns for name in column.outputs()]
        object.__setattr__(self, "names", tuple(_distinct(names)))

    @property
    def n_outputs(self) -> int:
        """Number of encoded columns."""
        return len(self.names)

    @property
    def used(self) -> list[str]:
        """Columns of the table that become something."""
        return [column.name for column in self.columns if column.kind != "drop"]

    @classmethod
    def fit(
        cls,
        table: Any,
        *,
        kinds: Mapping[str, str] | None = None,
        scaling: str | None = "robust-clip",
        max_categories: int = 256,
        keep_index: bool = False,
        rows: np.ndarray | None = None,
    ) -> Encoding:
        """Learn an encoding.

        Parameters
        ----------
        table : table, or list of Column
        kinds : mapping of str to str, optional
            Kinds of columns that are given, by name.
        scaling, max_categories, keep_index
            See :class:`fastnn.tables.TableEncoder`.
        rows : ndarray of int, optional
            Rows to learn from; kinds are decided by all rows. Default: all.

        Returns
        -------
        Encoding
        """
        columns = table if _are_columns(table) else columns_of(table)
        kinds = dict(kinds or {})
        _check_kinds(kinds, [column.name for column in columns])
        codes = []
        for column in columns:
            if column.name in kinds:
                found = Guess(kinds[column.name], "as asked")
            else:
                found = guess(column, max_categories, keep_index)
            part = column if rows is None else column.take(rows)
            codes.append(_learn(part, found, max_categories, column.name in kinds))
        if all(code.kind == "drop" for code in codes):
            kept = _kept_after_all(codes)
            if kept is None:
                why = "; ".join(f"{code.name}: {code.why}" for code in codes[:8])
                raise ValueError(f"no column is left to learn from ({why})")
            column = columns[kept]
            part = column if rows is None else column.take(rows)
            kind = guess(column, max_categories, keep_index=True)
            codes[kept] = _learn(part, kind, max_categories, False)
        encoding = cls(tuple(codes), positional=not _named(table))
        if scaling is None:
            return encoding
        part = columns if rows is None else [column.take(rows) for column in columns]
        shift, factor = _scales(encoding.transform(part), scaling)
        return replace(encoding, scaling=scaling, shift=shift, factor=factor)

    def transform(self, table: Any, remarks: Remarks | None = None) -> np.ndarray:
        """Encode a table.

        Parameters
        ----------
        table : table, or list of Column
            Columns are found by name, in any order; others are ignored.
        remarks : Remarks, optional
            Gets what is to be said: columns that were ignored, categories that training did not
            have, texts that are no numbers.

        Returns
        -------
        ndarray of float64, shape (rows, n_outputs)

        Raises
        ------
        ValueError
            If a column is missing or cannot be read; the message names it.
        """
        columns = table if _are_columns(table) else columns_of(table)
        found = self._find(columns, remarks)
        out = np.zeros((len(columns[0]), self.n_outputs))
        first = 0
        for code, column in zip(self.columns, found, strict=True):
            width = len(code.outputs())
            if column is not None and width:
                _encode(code, column, out[:, first : first + width], remarks)
            first += width
        if self.shift is not None and self.factor is not None:
            with np.errstate(over="ignore"):
                out -= self.shift
                out *= self.factor
            if self.scaling == "robust-clip":
                np.clip(out, -FAR, FAR, out=out)
                out /= np.sqrt(1 + (out / CLIP) ** 2)
        return out

    def _find(self, columns: Sequence[Column], remarks: Remarks | None) -> list[Column | None]:
        """The columns of a table for each of training; None for one that is left out."""
        by_name = {column.name: column for column in columns}
        missing = [name for name in self.used if name not in by_name]
        in_order = self.positional or all(name.removeprefix("x").isdecimal() for name in by_name)
        if missing and in_order and len(columns) == len(self.columns):
            if remarks is not None:
                remarks.in_order = True
            return list(columns)
        if missing:
            raise ValueError(
                f"there is no column {listed(missing)}, which the model was trained with; the "
                f"table has {listed([column.name for column in columns])}"
            )
        if self.positional and not set(by_name) <= {code.name for code in self.columns}:
            raise ValueError(
                f"the table has {len(columns)} columns; the model was trained with "
                f"{len(self.columns)}"
            )
        if remarks is not None:
            known = {code.name for code in self.columns}
            remarks.ignored = [column.name for column in columns if column.name not in known]
        return [by_name.get(code.name) if code.kind != "drop" else None for code in self.columns]

    def summary(self) -> list[tuple[str, str]]:
        """Name of each column and what it becomes, in words."""
        return [(code.name, code.what()) for code in self.columns]

    def to_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What :meth:`from_state` takes: values of JSON, and arrays of float64 by name."""
        state = {
            "version": VERSION,
            "scaling": self.scaling,
            "positional": self.positional,
            "columns": [code.model_dump(exclude_defaults=True) for code in self.columns],
        }
        if self.shift is None or self.factor is None:
            return state, {}
        return state, {"shift": self.shift, "factor": self.factor}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Encoding:
        """The encoding of a state.

        Raises
        ------
        ValueError
            If the state makes no sense; nothing in it is trusted.
        """
        checked = _checked(state)
        lengths = array_lengths(state)
        for name, length in lengths.items():
            array = np.asarray(arrays.get(name, ()), np.float64)
            if array.shape != (length,) or not np.isfinite(array).all():
                raise ValueError(f"table: {name} is not {length} finite numbers")
        own = {name: np.array(arrays[name], np.float64) for name in lengths}
        return cls(tuple(checked.columns), checked.scaling, checked.positional, **own)


def array_lengths(state: Mapping[str, Any]) -> dict[str, int]:
    """Names and lengths of the arrays that belong to a state; ValueError if it makes no sense."""
    checked = _checked(state)
    if checked.scaling is None:
        return {}
    n = sum(len(code.outputs()) for code in checked.columns)
    return {"shift": n, "factor": n}


def codes_of(state: Mapping[str, Any]) -> list[ColumnCode]:
    """The columns of a state."""
    return _checked(state).columns


def n_outputs(state: Mapping[str, Any]) -> int:
    """Number of encoded columns of a state."""
    return sum(len(code.outputs()) for code in _checked(state).columns)


def _checked(state: Mapping[str, Any]) -> _State:
    try:
        return _State.model_validate(dict(state))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"table: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _are_columns(table: Any) -> bool:
    return isinstance(table, list) and bool(table) and isinstance(table[0], Column)


def _named(table: Any) -> bool:
    """Whether a table has names of columns; arrays and lists have none."""
    return not (isinstance(table, (np.ndarray, list)) and not _are_columns(table))


def _distinct(names: Sequence[str]) -> list[str]:
    """Names that differ: of equal ones the later are numbered."""
    counts: Counter[str] = Counter()
    found = []
    for name in names:
        counts[name] += 1
        found.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return found


def _check_kinds(kinds: Mapping[str, str], names: Sequence[str]) -> None:
    for name, kind in kinds.items():
        if name not in names:
            raise ValueError(f"columns: there is no column {name!r}; the table has {listed(names)}")
        if kind not in KINDS:
            raise ValueError(
                f"columns: the kind of {name!r} must be one of {', '.join(KINDS)}; got {kind!r}"
            )


def _kept_after_all(codes: Sequence[ColumnCode]) -> int | None:
    """A single column that counts the rows is the time of a series, say."""
    counting = [k for k, code in enumerate(codes) if code.why == "identifier"]
    return counting[0] if len(counting) == 1 else None


def _learn(column: Column, found: Guess, max_categories: int, given: bool) -> ColumnCode:
    """How a column of training is encoded."""
    kind, n = found.kind, len(column)
    common: dict[str, Any] = {"name": column.name, "rows": n}
    if kind == "drop":
        return ColumnCode(kind="drop", why=found.why, **common)
    if kind == "category":
        return _learn_categories(column, max_categories, given, common)
    order = dates_order(column) if kind == "date" else "iso"
    values, odd = _read(column, kind, order)
    gaps = np.isnat(values) if kind == "date" else np.isnan(values)
    if odd and given and gaps.sum() - column.gaps.sum() > 0.5 * n:
        raise ValueError(f"column {column.name!r} is no {kind}: {odd[0]!r}")
    if gaps.all():
        return ColumnCode(kind="drop", why="empty in the rows of training", **common)
    common |= {"kind": kind, "gaps": int(gaps.sum()), "odd": odd[:3]}
    if kind == "boolean":
        return ColumnCode(**common)
    flag = bool(gaps.any())
    if kind == "number":
        if np.isinf(values).any():
            raise ValueError(f"column {column.name!r} has an infinite value")
        return ColumnCode(fill=[float(np.median(values[~gaps]))], flag=flag, **common)
    origin = float(_days(values[~gaps]).max())
    parts = {part: _part(values[~gaps], part, origin) for part in PARTS}
    used = [part for part, numbers in parts.items() if (numbers != numbers[0]).any()]
    if not used and not flag:
        return ColumnCode(kind="drop", why="constant", name=column.name, rows=n)
    fill = [float(np.median(parts[part])) for part in used]
    return ColumnCode(parts=used, fill=fill, origin=origin, flag=flag, order=order, **common)


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


def _read(column: Column, kind: str, order: str) -> tuple[np.ndarray, list[str]]:
    """A column as numbers or dates, and the texts that are none."""
    if kind == "date":
        return read_dates(column, order)
    return read_numbers(column) if kind == "number" else read_booleans(column)


def _encode(code: ColumnCode, column: Column, out: np.ndarray, remarks: Remarks | None) -> None:
    """Fill the encoded columns, which are zeros, of one column."""
    if code.kind == "category":
        _encode_categories(code, column, out, remarks)
        return
    values, odd = _read(column, code.kind, code.order)
    if odd and remarks is not None:
        remarks.add_odd(code.name, code.kind, odd)
    gaps = np.isnat(values) if code.kind == "date" else np.isnan(values)
    if code.kind == "number":
        if np.isinf(values).any():
            row = int(np.isinf(values).argmax())
            raise ValueError(f"column {code.name!r} has an infinite value in row {row + 1}")
        out[:, 0] = np.where(gaps, code.fill[0], values)
    elif code.kind == "boolean":
        out[:, 0] = np.where(gaps, 0.0, 2 * values - 1)
    else:
        for k, part in enumerate(code.parts):
            out[:, k] = code.fill[k]
            out[~gaps, k] = _part(values[~gaps], part, code.origin)
    if code.flag:
        out[:, -1] = gaps


def _encode_categories(
    code: ColumnCode, column: Column, out: np.ndarray, remarks: Remarks | None
) -> None:
    texts = as_texts(column).tolist()
    number = {category: k for k, category in enumerate(code.categories)}
    which = np.array([-1 if text is None else number.get(text, -2) for text in texts], np.int64)
    if remarks is not None and not code.others and (which == -2).any():
        new = (text for text, k in zip(texts, which.tolist(), strict=True) if k == -2)
        remarks.add_unknown(code.name, int((which == -2).sum()), new)
    if len(code.categories) == 2:
        out[:, 0] = np.where(which == 0, 1.0, np.where(which == 1, -1.0, 0.0))
        return
    rows = np.flatnonzero(which >= 0)
    out[rows, which[rows]] = 1.0


def _days(moments: np.ndarray) -> np.ndarray:
    return moments.astype("datetime64[us]").astype(np.int64) / 86_400e6


def _part(moments: np.ndarray, part: str, origin: float) -> np.ndarray:
    """A part of dates as float64."""
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


def _scales(X: np.ndarray, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    """Shift and factor of each encoded column; a constant one has the factor 0."""
    low, high = X.min(axis=0), X.max(axis=0)
    if scaling == "standard":
        shift, spread = X.mean(axis=0), X.std(axis=0)
    else:
        q25, shift, q75 = np.quantile(X, (0.25, 0.5, 0.75), axis=0)
        spread = np.where(q75 == q25, 0.5 * (high - low), q75 - q25)
    factor = np.where(low == high, 0.0, 1 / (spread + 1e-30))
    return shift, factor
