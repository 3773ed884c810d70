"""Targets whose values are taken as texts: class labels such as 01."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastnn.datasets.table import Table

if TYPE_CHECKING:
    import numpy as np

LOOKED_AT = 1000  # rows that are searched for leading zeros


def text_target(table: Table, name: str) -> Table:
    """The table with the values of the target as texts, which are class labels."""
    from fastnn.tables.columns import as_column, as_texts

    if name not in table.names or table[name].ndim != 1:  # reported later
        return table
    columns = list(table.columns)
    k = table.names.index(name)
    if columns[k].dtype.kind != "O":  # texts may have blanks at their ends, which are kept
        columns[k] = as_texts(as_column(name, columns[k]))
    return replace(table, columns=columns, hints={**table.hints, name: "text"})


def asked_target(table: Table, name: str, kinds: dict[str, str], task: str | None) -> Table:
    """Apply ``--column TARGET=category``, which is removed from ``kinds``.

    Without it, leading zeros that get lost are noted.
    """
    kind = kinds.pop(name, None)
    if kind not in (None, "category"):
        raise ValueError(
            f"--column {name}={kind}: {name!r} is the target, which may only be a category (each "
            "text is a class); see --task"
        )
    if kind == "category" and task == "regression":
        raise ValueError(f"--column {name}=category: the target of a regression is a number")
    if kind == "category":
        return text_target(table, name)
    known = any(note.startswith(f"column {name!r}: ") for note in table.notes)
    cell = "" if known or task == "regression" else _with_zero(table, name)
    if not cell:
        return table
    note = f"target {name!r}: {cell} is read as {int(cell)} (--column {name}=category keeps zeros)"
    return replace(table, notes=[*table.notes, note])


def _with_zero(table: Table, name: str) -> str:
    """A whole number with a leading zero among the first cells of the target; empty if none."""
    if name not in table.names or table[name].ndim != 1:
        return ""
    column: np.ndarray = table[name]
    shown: list[Any] = column.tolist()
    if column.dtype.kind == "f" and table.locate is not None and not (column % 1 > 0).any():
        k = table.names.index(name)
        rows = (table.locate(row) for row in range(min(len(column), LOOKED_AT)))
        shown = [found[1][k] for found in rows if found is not None]
    elif column.dtype.kind != "O" or not all(v is None or str(v).isdecimal() for v in shown):
        return ""
    zeros = (v for v in shown if v and v.isdecimal() and v[0] == "0" and len(v) > 1)
    return next(zeros, "")
