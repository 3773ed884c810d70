"""Targets: conversion of their column, and the kind of task."""

from __future__ import annotations

from itertools import islice

import numpy as np

from fastnn.datasets import cells, quantities
from fastnn.datasets.table import Table
from fastnn.datasets.task import guess_task

ENOUGH = 1000  # different texts that are checked for dates
FEW_CLASSES = 10  # maximum number of different texts that may be classes if most are numbers
TASKS = ("classification", "regression")


def target_column(
    table: Table, name: str, task: str | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Convert a column to targets: numbers if all cells can be read as numbers, else texts.

    Returns
    -------
    y : ndarray, shape (rows,)
    gone : ndarray of bool, shape (rows,)
        Mask of the missing targets.
    notes : list of str

    Raises
    ------
    ValueError
        If the column is not 1-D, or has dates, infinite values, or a few texts among numbers.
    """
    y, notes = table[name], []
    if y.ndim != 1:
        raise ValueError(f"{table.path}: target {name!r} must be 1-D; got shape {y.shape}")
    if y.dtype.kind == "M":
        raise ValueError(
            f"{table.path}: target {name!r} has dates, which are neither classes nor numbers"
        )
    if y.dtype.kind == "O":
        texts = y.tolist()
        if set(map(type, texts)) <= {str, type(None)}:
            if _are_dates(texts):
                raise ValueError(
                    f"{table.path}: target {name!r} has dates, which are neither classes nor "
                    "numbers; write what is to be predicted as a number"
                )
            decimal = table.decimal_of(name)
            found = cells.parse(texts, decimal)
            if found.words and (task == "regression" or len(set(texts)) > FEW_CLASSES):
                quantities = cells.parse(texts, decimal, units=True)
                if quantities.bad is None and task != "classification":
                    found = quantities
            odd = found.bad is not None and not found.words and task != "classification"
            odd &= table.hints.get(name) != "text"
            if (
                odd
                and found.bad is not None
                and (task is not None or len(set(texts)) > FEW_CLASSES)
            ):
                raise ValueError(
                    f"{table.path}: target {name!r} is {texts[found.bad]!r} in "
                    f"{table.where(found.bad)} where others are numbers (--task classification "
                    "takes all of them as words)"
                )
            as_text = table.hints.get(name) == "text"
            if found.bad is None and not as_text and not _is_boolean(texts):
                y = found.values
                if found.how:
                    notes.append(f"target {name!r}: {found.how}")
    if y.dtype.kind == "O":
        words = sorted({text for text in y.tolist() if isinstance(text, str)})
        if len(words) <= ENOUGH and (same := cells.same_but_case(words)):
            notes.append(f"caution: target {name!r}: {same}; they count as different classes")
    if y.dtype.kind == "f":
        gone = np.isnan(y)
        infinite = np.isinf(y)
        if infinite.any():
            row = int(infinite.argmax())
            raise ValueError(
                f"{table.path}: target {name!r} has an infinite value in {table.where(row)}"
            )
    else:
        gone = y == np.array(None) if y.dtype.kind == "O" else np.zeros(len(y), bool)
    if not gone.all():
        notes += _words_for_gaps(table, name, gone)
    return y, gone, notes


def _words_for_gaps(table: Table, name: str, gone: np.ndarray) -> list[str]:
    """Note on a word such as "none" that counts as a missing target, if there is one."""
    for row in np.flatnonzero(gone)[:20].tolist():
        found = table.locate(row) if table.locate is not None else None
        cell = found[1][table.names.index(name)] if found is not None else ""
        if cell.isalpha():
            where = table.where(row)
            return [f"target {name!r}: {cell!r} in {where} is no class but a missing value"]
    return []


def _are_dates(texts: list[str | None]) -> bool:
    """Whether texts are dates, with day, month and year in any order."""
    from fastnn.tables.dates import order_of

    different = dict.fromkeys(texts)
    words = (cell for cell in different if cell is not None and not cells.is_missing(cell))
    return order_of(islice(words, ENOUGH)) is not None


def _is_boolean(texts: list[str | None]) -> bool:
    """Whether texts are booleans such as yes and no, which are kept as class names."""
    first = next((value for value in texts if value is not None), None)
    return first is None or cells.kind(first) == "boolean"


def check_target(y: np.ndarray, task: str | None, name: str, where: str) -> tuple[np.ndarray, str]:
    """Convert targets to the dtype that the task needs, and determine the task if not given.

    Parameters
    ----------
    y : ndarray, shape (samples,)
        Targets without missing values.
    task : {"classification", "regression"}, optional
        Default: determined from the values.
    name, where : str
        Column and file, for messages.

    Returns
    -------
    y : ndarray
    task : str

    Raises
    ------
    ValueError
        If the targets do not suit the task.
    """
    if y.dtype.kind not in "fiub":
        y = y.astype(str)
    if task is None:
        task = guess_task(y)
    if task == "classification" and y.dtype.kind == "f":
        if not _is_whole(y):
            raise ValueError(f"{where}: target {name!r} has fractions, which are no class labels")
        y = whole(y)
    if task == "regression":
        if y.dtype.kind == "U":
            bad = next(
                (k for k, v in enumerate(y.tolist()) if quantities.plain_number(v) is None), 0
            )
            raise ValueError(
                f"{where}: target {name!r} is not numeric ({str(y[bad])!r}); "
                "words are for --task classification"
            )
        y = y.astype(np.float64)
    return y, task


def _is_whole(y: np.ndarray) -> bool:
    return np.array_equal(y, np.floor(y))


def whole(y: np.ndarray) -> np.ndarray:
    """Convert whole floats to int64 if all are below 2**53 in absolute value."""
    return y.astype(np.int64) if (np.abs(y) < 2.0**53).all() else y
