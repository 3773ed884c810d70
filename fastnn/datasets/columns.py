"""Matching the columns of a file with the features of a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

LISTED = 8  # maximum number of names in a message


def choose_columns(
    names: Sequence[str], features: Sequence[str], path: Path, target: str | None = None
) -> tuple[list[str], list[str]]:
    """Choose columns for the features: by name, or by position if either side has no names.

    Parameters
    ----------
    names : sequence of str
        Columns of the file; "0", "1", ... for a file without names.
    features : sequence of str
        Names of the features in training.
    path : Path
        The file, for messages.
    target : str, optional
        Name of the target column, which is not used unless it is one of ``features``.

    Returns
    -------
    columns : list of str
        One column of the file for each feature.
    notes : list of str
        Decisions, if the file does not have exactly these columns in this order.

    Raises
    ------
    ValueError
        If features are missing; the message names them.
    """
    others = [name for name in names if name != target or name in features]
    missing = [name for name in features if name not in others]
    if not missing:
        return list(features), _notes(others, features, path)
    if not (_are_positions(names) or _are_positions(features)):
        raise ValueError(
            f"{path}: there is no column {_listed(missing)}, which the network was trained with; "
            f"the file has {_listed(others)}"
        )
    if len(names) == len(features):
        others = list(names)  # the target is also a position, and may be absent from this file
    if len(others) != len(features):
        which = "the file has no names" if _are_positions(names) else "the network knows no names"
        raise ValueError(
            f"{path}: {len(others)} columns; the network was trained with {len(features)}, "
            f"which are taken in order, since {which}"
        )
    if _are_positions(names) and not _are_positions(features):
        return others, [f"{path.name} has no column names: columns are taken in order"]
    if _are_positions(names):
        return others, []
    return others, [f"the network knows no column names: those of {path.name} are taken in order"]


def _notes(names: list[str], features: Sequence[str], path: Path) -> list[str]:
    """Notes about columns that are not used, or that are in another order."""
    more = [name for name in names if name not in features]
    notes = [f"{path.name}: not used: {_listed(more)}"] if more else []
    if [name for name in names if name in features] != list(features):
        notes.append(f"{path.name}: columns are taken by name, in the order of training")
    return notes


def _are_positions(names: Sequence[str]) -> bool:
    """Whether names only number the columns: "0", "1", ... or "x0", "x1", ..."""
    numbers = [name.removeprefix("x") for name in names]
    return all(number.isdecimal() for number in numbers)


def _listed(names: Sequence[str]) -> str:
    """Join the first :data:`LISTED` names for a message."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(repr, names[:LISTED])) + more
