"""Names of the features; columns of data frames are found by them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.validation import first_few


def names_of(X: Any) -> list[str] | None:
    """Names of the columns of a frame; None for other data, and for names that are not strings."""
    names = getattr(X, "column_names", None)  # of a pyarrow table, whose columns are arrays
    if names is None:
        names = getattr(X, "columns", None)
    if names is None:
        return None
    names = list(names)
    return names if names and all(isinstance(name, str) for name in names) else None


def by_name(name: str, X: Any, known: list[str] | None) -> Any:
    """Select the columns of a frame by the names of training; other data are returned unchanged.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    given = None if known is None or type(X) is np.ndarray else names_of(X)
    if given is None or known is None or given == known:
        return X
    missing = [each for each in known if each not in given]
    if missing:
        more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise ValueError(
            f"{name} has no column {missing[0]!r}{more}, with which the network was trained; its "
            f"columns are {first_few(given)}. Arrays are taken by position: {name}.to_numpy()"
        )
    return X.select(known) if hasattr(X, "select") else X[known]
