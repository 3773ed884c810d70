"""Built-in data or a file as a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fastnn.datasets.builtin import BUILT_IN, SYNTHETIC, from_sklearn, synthetic
from fastnn.datasets.dataset import Dataset
from fastnn.datasets.mnist import load_mnist
from fastnn.datasets.reading import Table, read
from fastnn.datasets.targets import TASKS, check_target, whole


def load(
    name_or_path: str | os.PathLike,
    *,
    target: str | int | None = None,
    task: str | None = None,
    features: Sequence[str] | None = None,
    data_dir: str | os.PathLike | None = None,
    seed: int = 0,
) -> Dataset:
    """Load built-in data or a file.

    Parameters
    ----------
    name_or_path : str or path
        moons, circles, blobs, quantiles (two synthetic features each), iris, wine,
        digits, breast_cancer, diabetes, mnist; or a .csv, .tsv, .npz or .parquet
        file. An NPZ file holds ``X`` and ``y``, or one array a column.
    target : str or int, optional
        Column of the targets, by name or position; files need it (an NPZ file
        with ``X`` takes ``y``).
    task : {"classification", "regression"}, optional
        Default: strings, booleans and whole numbers with few different values are
        classes, everything else is regression.
    features : sequence of str, optional
        Columns to take, in this order; default: all but the target.
    data_dir : path, optional
        Folder of the MNIST files; default: the environment variable
        ``FASTNN_DATA_DIR``, then the cache folder, then a download into it.
    seed : int, default=0
        Of the synthetic data.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the data cannot be used; the message names file and column.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> load("iris").y[:2].tolist()
    ['setosa', 'setosa']
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}; got {task!r}")
    name = os.fspath(name_or_path)
    if name in BUILT_IN:
        if target is not None:
            raise ValueError(f"{name} is built in and has its own target; leave out target")
        if name in SYNTHETIC:
            return synthetic(name, seed, task)
        if name == "mnist":
            return load_mnist(data_dir, task)
        return from_sklearn(name, task)
    return _from_file(Path(name), target, task, features)


def load_features(path: str | os.PathLike, features: Sequence[str]) -> np.ndarray:
    """Features alone, from a file that need not have targets.

    Parameters
    ----------
    path : path
    features : sequence of str
        Column names. A file without names, or with none of these, is taken as it
        stands if the number of its columns is right.

    Returns
    -------
    ndarray of float64, shape (samples, len(features))
    """
    table = read(Path(path))
    if table.X is not None and table.X.shape[1] == len(features):
        _check_numbers(table.X, [str(name) for name in features], table.path)
        return table.X
    unnamed = table.names == [str(k) for k in range(len(table.names))]
    foreign = unnamed or set(features).isdisjoint(table.names)
    if foreign and len(table.names) == len(features):
        features = table.names
    return _feature_matrix(table, features)


def _from_file(
    path: Path, target: str | int | None, task: str | None, features: Sequence[str] | None
) -> Dataset:
    """A table's columns as features and target."""
    table = read(path)
    if target is None and table.X is not None and "y" in table.names:
        target = "y"
    name = _column_name(table, target)
    y = table[name]
    if not table.typed and y.dtype.kind == "f" and np.array_equal(y, np.floor(y)):
        y = whole(y)  # a text file cannot say which type a 1 has
    y, task = check_target(y, task, name, str(path))
    if table.X is not None:
        X, names = table.X, [f"x{k}" for k in range(table.X.shape[1])]
        _check_numbers(X, names, path)
    else:
        names = list(features) if features else [other for other in table.names if other != name]
        X = _feature_matrix(table, names)
    if len(X) != len(y):
        raise ValueError(f"{path}: X has {len(X)} rows, {name!r} has {len(y)}")
    return Dataset(path.stem, X, y, task, tuple(names), name)


def _column_name(table: Table, target: str | int | None) -> str:
    """Name of the target's column, given by name or position."""
    listed = ", ".join(map(repr, table.names[:12])) + (", ..." if len(table.names) > 12 else "")
    listed = f"columns: {listed or 'none'}"
    if target is None:
        raise ValueError(f"{table.path}: name the target's column with target (--target); {listed}")
    if target in table.names:
        return str(target)
    try:
        return table.names[int(target)]
    except (ValueError, IndexError):
        raise ValueError(f"{table.path}: there is no column {target!r}; {listed}") from None


def _feature_matrix(table: Table, names: Sequence[str]) -> np.ndarray:
    """Columns as one matrix of float64."""
    if not names:
        raise ValueError(f"{table.path}: there is no column beside the target")
    for name in names:
        if name not in table.names:
            raise ValueError(f"{table.path}: there is no column {name!r}, which the features need")
        column = table[name]
        if column.dtype.kind not in "fiub":
            row = next((k for k, value in enumerate(column) if value is not None), 0)
            raise ValueError(
                f"{table.path}: column {name!r} is not numeric ({column[row]!r} in row {row + 1}); "
                "leave it out or encode it as numbers"
            )
    X = np.column_stack([table[name].astype(np.float64, copy=False) for name in names])
    _check_numbers(X, names, table.path)
    return X


def _check_numbers(X: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Raise where values are missing or infinite."""
    if X.dtype.kind not in "fiub":
        raise ValueError(f"{path}: X must be numbers; got dtype {X.dtype}")
    bad = np.argwhere(~np.isfinite(X))
    if len(bad):
        row, k = bad[0]
        what = "a missing value" if np.isnan(X[row, k]) else "an infinite value"
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise ValueError(f"{path}: column {names[k]!r} has {what} in row {row + 1}{more}")
