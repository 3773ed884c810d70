"""A table in memory: the columns of a file and their conversion to numbers."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fastnn.datasets import cells, quantities


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of a file by name, and notes about them.

    Attributes
    ----------
    path : Path
        The file, for messages.
    names : list of str
    columns : list of ndarray, shape (rows,)
        Numbers, with NaN for missing values, if all values are numbers; dates as datetime64 if the
        file stores them as such; else objects: stripped strings, with None for missing values.
    X : ndarray or None
        Matrix ``X`` of an NPZ file, if any; the columns are then the other arrays.
    typed : bool
        Whether the file stores the types of the columns; False for text files.
    decimal : {".", ","}
        Decimal sign of text cells.
    decimal_given : bool
        Whether the user named the decimal sign, so that no column has its own one.
    locate : callable or None
        ``locate(row)`` returns the line number of a row in a text file and its cells, or None if
        the row cannot be located.
    notes : list of str
        Decisions made while reading.
    hints : dict of str to str
        Columns that the file stores as "category", or as "boolean" with missing values; "text" for
        a target whose texts are class labels.
    """

    path: Path
    names: list[str]
    columns: list[np.ndarray]
    X: np.ndarray | None = None
    typed: bool = True
    decimal: str = "."
    decimal_given: bool = False
    locate: Callable[[int], tuple[int, list[str]] | None] | None = None
    notes: list[str] = field(default_factory=list)
    hints: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[self.names.index(name)]

    def decimal_of(self, name: str) -> str:
        """Decimal sign of a column of text, which may differ from that of the file."""
        if self.decimal_given:
            return self.decimal
        return cells.own_decimal_sign(self[name].tolist(), self.decimal)

    def where(self, row: int) -> str:
        """Location of a row for messages: its line in a text file, else its number."""
        found = self.locate(row) if self.locate is not None else None
        return f"row {row + 1}" if found is None else f"line {found[0]}"

    def shown(self, name: str, row: int) -> str:
        """A cell for messages, as written in the file."""
        found = self.locate(row) if self.locate is not None else None
        if found is not None:
            return repr(found[1][self.names.index(name)])
        value = self[name][row]
        return repr(value.item() if isinstance(value, np.generic) else value)

    def numbers(self, name: str) -> tuple[np.ndarray, str | None]:
        """Convert a column to numbers.

        Returns
        -------
        values : ndarray of float64
            NaN for missing values.
        how : str or None
            Description of the conversion; None for plain numbers.

        Raises
        ------
        ValueError
            If a cell cannot be converted; the message shows it.
        """
        column = self[name]
        if column.dtype.kind in "fiub":
            return column.astype(np.float64, copy=False), None
        if column.dtype.kind == "M":
            return days(column), "dates read as days since 1970-01-01"
        texts = column.tolist()
        other = next((k for k, v in enumerate(texts) if v is not None and type(v) is not str), None)
        if other is not None:
            raise ValueError(
                f"{self.path}: column {name!r} is not numeric ({texts[other]!r} in "
                f"{self.where(other)}); {advice(name)}"
            )
        decimal = self.decimal_of(name)
        found = cells.parse(texts, decimal)
        if found.bad is None:
            return found.values, found.how
        cell, line = texts[found.bad], self.where(found.bad)
        if found.words:
            what = f"is not numeric ({cell!r} in {line})"
        else:
            what = f"has {cell!r} in {line}, unlike others such as {found.usual!r}"
        hint = ""
        if "," in cell or "." in cell:
            other_sign = "," if decimal == "." else "."
            if quantities.parse_number(cell, other_sign) is not None:
                hint = f"is the decimal sign {other_sign!r} (--decimal {other_sign})? or "
        raise ValueError(f"{self.path}: column {name!r} {what}; {hint}{advice(name)}")


def advice(name: str) -> str:
    """Advice, for messages, about a column that cannot be converted."""
    return (
        f"leave it out (--ignore {name!r}, ignore=[{name!r}]) or encode it as numbers "
        "(fastnn.TableEncoder)"
    )


def days(column: np.ndarray) -> np.ndarray:
    """Convert dates to days since 1970-01-01; NaN for missing values."""
    passed = column - np.datetime64("1970-01-01")
    return passed / np.timedelta64(1, "D")


def did_you_mean(name: object, names: Sequence[str]) -> str:
    """The closest of the names, as a question at the end of a message; empty if none is close."""
    near = [other for other in names if other.lower() == str(name).lower()]
    near = near or difflib.get_close_matches(str(name), names, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def listed(names: Sequence[str], most: int = 8) -> str:
    """Join the first ``most`` names for a message."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
