"""The target of a table: its values, its task, and the rows in which it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np

from fastnn.datasets import cells
from fastnn.datasets.table import Table
from fastnn.datasets.targets import TASKS, check_target, target_column
from fastnn.tables.columns import Column, as_column, as_texts, is_missing, label

MAX_CLASSES = 10_000


class TableTarget(NamedTuple):
    """A target without missing values.

    Attributes
    ----------
    values : ndarray, shape (known rows,)
        Class labels (strings, integers or booleans), or float64 for a regression.
    known : ndarray of bool, shape (rows,)
        Mask of the rows that have a target.
    task : {"classification", "regression"}
    notes : list of str
        Decisions that were made.

    Examples
    --------
    >>> from fastnn.tables import table_target
    >>> target = table_target(["yes", None, "no"])
    >>> target.known
    array([ True, False,  True])
    """

    values: np.ndarray
    known: np.ndarray
    task: str
    notes: list[str]


def table_target(y: Any, task: str | None = None, name: str = "y") -> TableTarget:
    """Convert a column of any library to a target.

    Parameters
    ----------
    y : Series of pandas or polars, column of pyarrow, array or list, shape (rows,)
        Targets, one per sample.
    task : {"classification", "regression"}, optional
        Default: determined from the values (:func:`fastnn.datasets.task.guess_task`).
    name : str
        Name of the target in messages.

    Returns
    -------
    TableTarget

    Raises
    ------
    ValueError
        If the target consists of dates, is constant, or cannot be used for the task.

    Examples
    --------
    >>> from fastnn.tables import table_target
    >>> table_target(["yes", "no", "yes"]).task
    'classification'
    >>> table_target([1.5, 2.25, 7.125]).task
    'regression'
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}; got {task!r}")
    column = as_column(name, y)
    whole = _is_whole_type(y)
    values = column.values
    if column.hint == "category":
        task = task or "classification"
    if column.hint == "boolean" and task != "regression":
        known = ~column.gaps
        found = np.where(known, values, 0).astype(bool)
        return _checked(found[known], known, "classification", [], name, "y")
    if values.dtype.kind == "f" and task == "classification" and not whole:
        values = as_texts(column) if not _all_whole(column) else values
    table = Table(Path(name), [name], [values])
    return target_of(table, name, task, "y")


def known_targets(y: Any, classes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Targets to compare predictions with; they may be constant.

    Parameters
    ----------
    y : column or table of any library, array or list, shape (rows,) or (rows, outputs)
    classes : ndarray or None
        Labels of the model; None for a regression.

    Returns
    -------
    values : ndarray, shape (known rows,) or (known rows, outputs)
    known : ndarray of bool, shape (rows,)
        Mask of the rows that have a target.
    """
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and classes is None:
        columns = [known_targets(column, None) for column in array.T]
        known = np.logical_and.reduce([there for _, there in columns])
        full = np.full(array.shape, np.nan)
        for k, (values, there) in enumerate(columns):
            full[there, k] = values
        return full[known], known
    if array.ndim == 1 and classes is not None:
        names = set(classes.tolist())
        labels = [_as_label(value, names) for value in array.tolist()]
        known = np.array([value is not None for value in labels], bool)
        kept = [value for value in labels if value is not None]
        are_texts = any(isinstance(value, str) for value in kept)
        if kept and (classes.dtype.kind in "OU" or not are_texts):
            return np.array(kept), known
    task = "regression" if classes is None else "classification"
    values = as_column("y", array).values
    found = target_of(Table(Path("y"), ["y"], [values]), "y", task, "y", constant=True)
    return found.values, found.known


def _as_label(value: Any, names: set) -> Any:
    """A label as a file has it, as text without surrounding blanks, if it is none of ``names``."""
    if is_missing(value):
        return None
    if value in names:
        return value
    if not isinstance(value, str):
        return label(value) if label(value) in names else value
    text = normalize("NFC", value.strip())
    return None if text.lower() in cells.GAPS else text


def target_of(
    table: Table,
    name: str,
    task: str | None,
    where: str | None = None,
    constant: bool = False,
) -> TableTarget:
    """Convert a column of a file to a target.

    Parameters
    ----------
    table : Table
    name : str
        Name of the column.
    task : {"classification", "regression"}, optional
    where : str, optional
        Source of the column in messages; default: the path of the file.
    constant : bool, default=False
        Whether to skip :func:`check_learnable`: the target of a few rows to score may be constant.

    Returns
    -------
    TableTarget

    Raises
    ------
    ValueError
        If the target has no values or cannot be used for the task.
    """
    y, gone, notes = target_column(table, name, task)
    where = where or str(table.path)
    if gone.all():
        raise ValueError(f"{where}: target {name!r} has no values")
    if gone.any():
        notes.append(f"left out {int(gone.sum()):,} of {len(gone):,} rows without a target")
    y, task = check_target(y[~gone], task, name, where)
    if constant:
        return TableTarget(y, ~gone, task, notes)
    return _checked(y, ~gone, task, notes, name, where)


def _checked(
    y: np.ndarray, known: np.ndarray, task: str, notes: list[str], name: str, where: str
) -> TableTarget:
    check_learnable(y, task, name, where)
    return TableTarget(y, known, task, notes)


def check_learnable(y: np.ndarray, task: str, name: str, where: str) -> None:
    """Check that the target is not constant and does not have too many classes.

    Parameters
    ----------
    y : ndarray, shape (samples,)
    task : {"classification", "regression"}
    name, where : str
        Names of the target and of its file in messages.

    Raises
    ------
    ValueError
        If the target is constant, has more than ``MAX_CLASSES`` classes, or has more than 100
        classes with less than two samples per class on average.
    """
    if (y == y[0]).all():
        rows = "the only row" if len(y) == 1 else f"all {len(y):,} rows"
        raise ValueError(
            f"{where}: target {name!r} is {y[0].item()!r} in {rows}; there is nothing to learn"
        )
    if task == "classification":
        n = len(np.unique(y))
        if n > MAX_CLASSES or (n > 100 and 2 * n > len(y)):
            raise ValueError(
                f"{where}: target {name!r} has {n:,} different values in {len(y):,} rows, too "
                "many to be classes (is it an identifier? for numbers: task regression)"
            )


def _is_whole_type(y: Any) -> bool:
    """Whether a column has an integer type."""
    dtype = getattr(y, "dtype", None)
    name = str(dtype if dtype is not None else getattr(y, "type", "")).lower()
    if name.startswith(("int", "uint")):
        return True
    return isinstance(y, list) and all(type(v) is int for v in y if v is not None)


def _all_whole(column: Column) -> bool:
    there = column.values[~column.gaps]
    return np.array_equal(there, np.floor(there))
