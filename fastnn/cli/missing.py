"""The option ``--missing``: values of a file that count as missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from unicodedata import normalize

from fastnn.datasets.table import Table, did_you_mean, listed

if TYPE_CHECKING:
    from fastnn.tables.columns import Column

MAX_NOTES = 8  # maximum number of columns that notes name


def declared_missing(
    given: Sequence[str] | None, table: Table, names: Sequence[str], target: str
) -> dict[str, list[str]]:
    """Parse strings VALUE and NAME=VALUE into values of each column and of the target.

    Parameters
    ----------
    given : sequence of str or None
        As on the command line.
    table : Table
    names : sequence of str
        Columns beside the target.
    target : str

    Raises
    ------
    ValueError
        If there is no column of a given name.
    """
    from fastnn.tables.missing import by_column

    every = [*names, *([target] if target not in names else [])]
    found: dict[str, list[str]] = {}
    for text in given or ():
        own, value = _parts(text, every, table)
        for name, values in by_column(value if own is None else {own: value}, every).items():
            found[name] = [*found.get(name, ()), *values]
    return found


def _parts(text: str, names: Sequence[str], table: Table) -> tuple[str | None, str]:
    """Name of the column (None for all) and value of an option."""
    cuts = [k for k, sign in enumerate(text) if sign == "="]
    pairs = [(normalize("NFC", text[:k].strip()), text[k + 1 :]) for k in cuts]
    for name, value in pairs:
        if name in names:
            return name, value
    if not pairs:
        return None, text
    raise ValueError(
        f"{table.path}: --missing {text}: there is no column {pairs[0][0]!r}; columns: "
        f"{listed(names)}{did_you_mean(pairs[0][0], names)}"
    )


def target_cells(table: Table, name: str) -> Column:
    """The target as a column."""
    from fastnn.tables.columns import Column, as_column

    found = as_column(name, table[name])
    sign = table.decimal_of(name) if found.values.dtype.kind == "O" else "."
    return Column(name, found.values, table.hints.get(name, found.hint), sign)


def target_with_gaps(table: Table, name: str, declared: Mapping[str, Sequence[str]]) -> Table:
    """The table with gaps for declared values of the target."""
    from fastnn.tables.missing import declare

    if not declared.get(name) or table[name].ndim != 1:
        return table
    (column,) = declare([target_cells(table, name)], declared)
    if column.taken is None or not column.taken.any():
        return table
    columns = [*table.columns]
    columns[table.names.index(name)] = column.values
    return replace(table, columns=columns)


def missing_notes(
    given: Sequence[str] | None, table: Table, columns: Sequence[Column], target: str
) -> list[str]:
    """Lines on how many values are taken as missing, and on values that do not occur.

    Parameters
    ----------
    given, table, target
        See :func:`declared_missing`.
    columns : sequence of Column
        Columns beside the target, without gaps for these values.
    """
    from fastnn.tables.missing import declare, matches, unmatched

    if not given:
        return []
    names, notes = [column.name for column in columns], []
    declared = declared_missing(given, table, names, target)
    every = [*columns, *([target_cells(table, target)] if target not in names else [])]
    for whole, column in zip(every, declare(every, declared), strict=True):
        n = 0 if column.taken is None else int(column.taken.sum())
        if n:
            what = "target" if column.name == target else "column"
            values = "value" if len(column) == 1 else "values"
            there = [text for text in column.missing if matches(whole, [text]).any()]
            shown = " or ".join(there[:3]) + (" or ..." if there[3:] else "")
            notes.append(
                f"{what} {column.name!r}: {n:,} of {len(column):,} {values} taken as missing "
                f"(--missing: {shown})"
            )
    if (more := len(notes) - MAX_NOTES) > 0:
        notes[MAX_NOTES:] = [f"{more} more columns with values taken as missing (--missing)"]
    for text in given:
        if unmatched(every, declared_missing([text], table, names, target)):
            name = _parts(text, [column.name for column in every], table)[0]
            where = "no column has" if name is None else f"column {name!r} does not have"
            notes.append(f"--missing {text}: {where} this value")
    return notes
