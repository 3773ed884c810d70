"""Features from the columns of a table: selection, conversion to numbers, missing values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fastnn.datasets.table import Table, did_you_mean, listed

GAPS = ("error", "drop")

# Names of columns that are taken as row identifiers if their whole numbers are unique.
_OF_AN_ID = re.compile(r"(^|[_\s.-])(id|uuid|guid)$|[a-z](Id|ID)$", re.ASCII)
_INDEX_NAMES = frozenset({"", "id", "index", "row", "row_id", "rowid", "rownames", "row_names"})
ROWS_TO_COUNT = 10  # with fewer rows a column may be 0, 1, 2, ... by chance


def check_ignored(name: str, names: Sequence[str], path: Path) -> None:
    """Raise if a file has no column with the name of a column to ignore."""
    if name not in names:
        raise ValueError(
            f"{path}: there is no column {name!r} to ignore; columns: {listed(names)}"
            f"{did_you_mean(name, names)}"
        )


def usable_columns(
    table: Table, target: str, ignore: Sequence[str], keep_index: bool
) -> tuple[list[str], list[str]]:
    """Choose the columns that can be features; note the columns that are left out.

    Parameters
    ----------
    table : Table
    target : str
        Name of the target column.
    ignore : sequence of str
        Columns to leave out.
    keep_index : bool
        Whether to keep columns that only number or name the rows.

    Returns
    -------
    names, notes : list of str
    """
    for name in ignore:
        check_ignored(name, table.names, table.path)
        if name == target:
            raise ValueError(f"{table.path}: column {name!r} is the target and cannot be ignored")
    names = [name for name in table.names if name != target and name not in ignore]
    notes = []
    empty = [name for name in names if _is_empty(table[name])]
    if empty and len(empty) < len(names):
        names = [name for name in names if name not in empty]
        notes.append(f"left out, since all rows have gaps there: {listed(empty)}")
    if not keep_index:
        counting = [name for name in names if is_index(name, table[name])]
        # If all columns count the rows, they may be features, such as the time of a series.
        if counting and len(counting) < len(names):
            names = [name for name in names if name not in counting]
            notes.append(
                f"left out, since they only count or name the rows: {listed(counting)} "
                "(--keep-index keeps them)"
            )
    return names, notes


def _is_empty(column: np.ndarray) -> bool:
    if column.dtype.kind == "f":
        return bool(np.isnan(column).all())
    return column.dtype.kind == "O" and all(value is None for value in column.tolist())


def is_index(name: str, column: np.ndarray) -> bool:
    """Whether a column only numbers or identifies the rows.

    True if the values are 0, 1, 2, ... or 1, 2, 3, ... (in ten rows or more, unless the name is
    empty or that of an index), or if the name is one of an index and the values are unique whole
    numbers (also names such as "customer_id", in ten rows or more), or if the column is
    "Unnamed: 0" and has unique texts.
    """
    unnamed = name.startswith("Unnamed: ") or name.strip().lower() in _INDEX_NAMES
    n = len(column)
    if column.dtype.kind == "O":
        return name == "Unnamed: 0" and len({*column.tolist(), None}) == n + 1
    if column.dtype.kind not in "fiu" or n < 2 or not (unnamed or n >= ROWS_TO_COUNT):
        return False
    first = column[0]
    if first in (0, 1) and np.array_equal(column, np.arange(n) + first):
        return True
    named = unnamed or (n >= ROWS_TO_COUNT and _OF_AN_ID.search(name) is not None)
    if not named or not np.array_equal(column, np.floor(column)):
        return False  # also if values are missing, since NaN != NaN
    return len(np.unique(column)) == n


def matrix(table: Table, names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Combine columns into a float64 matrix with NaN for missing values; note conversions."""
    if not names:
        raise ValueError(
            f"{table.path}: there is no column beside the target; is the separator right? "
            "(--separator, separator=)"
        )
    for name in names:
        if name not in table.names:
            raise ValueError(f"{table.path}: there is no column {name!r}, which the features need")
    X = np.empty((len(table[names[0]]), len(names)))
    ways: dict[str, list[str]] = {}
    for k, name in enumerate(names):
        try:
            X[:, k], how = table.numbers(name)
        except ValueError as error:
            raise ValueError(_with_others(str(error), table, names[k + 1 :])) from None
        if how is not None:
            ways.setdefault(how, []).append(name)
        infinite = np.isinf(X[:, k])
        if infinite.any():
            row = int(infinite.argmax())
            raise ValueError(
                f"{table.path}: column {name!r} has an infinite value in {table.where(row)} "
                f"({table.shown(name, row)})"
            )
    return X, [_way(columns, how) for how, columns in ways.items()]


def _with_others(message: str, table: Table, names: Sequence[str]) -> str:
    """Append the names of the other non-numeric columns to a message about one of them."""
    others = []
    for name in names:
        try:
            table.numbers(name)
        except ValueError:
            others.append(name)
    return f"{message} (so with {listed(others)})" if others else message


def _way(columns: list[str], how: str) -> str:
    return f"column{'s' if len(columns) > 1 else ''} {listed(columns)}: {how}"


def check_matrix(X: np.ndarray, names: Sequence[str], table: Table) -> np.ndarray:
    """Return ``X``; raise if it is not numeric or has infinite values (NaN are allowed)."""
    if X.dtype.kind not in "fiub":
        raise ValueError(f"{table.path}: X must be numbers; got dtype {X.dtype}")
    bad = np.argwhere(np.isinf(X))
    if len(bad):
        row, k = bad[0]
        raise ValueError(
            f"{table.path}: column {names[k]!r} has an infinite value in row {row + 1}"
        )
    return X


def rows_with_gaps(X: np.ndarray) -> np.ndarray:
    """Mask of the rows with missing values."""
    return np.isnan(X).any(axis=1) if X.dtype.kind == "f" else np.zeros(len(X), bool)


def gaps_by_column(
    X: np.ndarray, names: Sequence[str], others: Iterable[tuple[str, np.ndarray]] = ()
) -> list[tuple[str, int, int]]:
    """Columns with missing values, in decreasing order: name, number, first row.

    ``others`` are names of further columns, with a mask of their missing values.
    """
    found = []
    if X.dtype.kind == "f":
        missing = np.isnan(X)
        counts = missing.sum(axis=0)
        found = [
            (names[k], int(counts[k]), int(missing[:, k].argmax()))
            for k in np.flatnonzero(counts).tolist()
        ]
    for name, gone in others:
        if gone.any():
            found.append((name, int(gone.sum()), int(gone.argmax())))
    return sorted(found, key=lambda entry: -entry[1])


def describe_gaps(found: Sequence[tuple[str, int, int]], most: int = 5) -> str:
    """Format columns and their numbers of missing values for a message."""
    text = ", ".join(f"{name!r}: {count:,}" for name, count, _ in found[:most])
    return text + (f" and {len(found) - most} more columns" if len(found) > most else "")


def without_gaps(
    table: Table, X: np.ndarray, names: Sequence[str], target: str, gone: np.ndarray, gaps: str
) -> tuple[np.ndarray, list[str]]:
    """Return the mask of the rows without missing values, and a note about the others.

    Parameters
    ----------
    table : Table
    X : ndarray, shape (rows, features)
    names : sequence of str
        Names of the features.
    target : str
        Name of the target column.
    gone : ndarray of bool, shape (rows,)
        Mask of the missing targets.
    gaps : {"error", "drop"}

    Returns
    -------
    complete : ndarray of bool, shape (rows,)
    notes : list of str

    Raises
    ------
    ValueError
        If there are missing values and ``gaps`` is "error", or no row is complete.
    """
    incomplete = rows_with_gaps(X) | gone
    n, left = len(incomplete), int(len(incomplete) - incomplete.sum())
    if left == n:
        return ~incomplete, []
    found = gaps_by_column(X, names, [(target, gone)])
    if gaps == "error":
        name, count, row = found[0]
        what = "target" if name == target and gone.any() else "column"
        number = "a missing value" if count == 1 else f"{count:,} missing values, the first"
        also = f" (all gaps: {describe_gaps(found)})" if len(found) > 1 else ""
        raise ValueError(
            f"{table.path}: {what} {name!r} has {number} in {table.where(row)}"
            f"{_cell(table, name, row)}{also}; fill them in, or leave these rows out with "
            'gaps="drop" (--gaps drop)'
        )
    if left == 0:
        raise ValueError(
            f"{table.path}: no row is without gaps ({describe_gaps(found)}); leave columns out "
            f"with --ignore {found[0][0]!r} (ignore=[...])"
        )
    many = "; --ignore leaves out a column instead" if left < 0.7 * n else ""
    return ~incomplete, [
        f"left out {n - left:,} of {n:,} rows, which have gaps ({describe_gaps(found)}; "
        f"--gaps error refuses them{many})"
    ]


def _cell(table: Table, name: str, row: int) -> str:
    """The text of a missing value in the file, in brackets; empty for an empty cell."""
    found = table.locate(row) if table.locate is not None else None
    if found is None or name not in table.names:
        return ""
    cell = found[1][table.names.index(name)]
    return f" ({cell!r})" if cell else ""
