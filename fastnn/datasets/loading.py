"""Loading built-in data or a file as a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import numpy as np

from fastnn.datasets import features as columns_of
from fastnn.datasets.builtin import BUILT_IN, SYNTHETIC, from_sklearn, synthetic
from fastnn.datasets.columns import choose_columns
from fastnn.datasets.dataset import Dataset
from fastnn.datasets.layout import Format
from fastnn.datasets.mnist import load_mnist
from fastnn.datasets.reading import read, stem_of
from fastnn.datasets.table import Table, did_you_mean, listed
from fastnn.datasets.targets import TASKS, check_target, target_column


def load(
    name_or_path: str | os.PathLike,
    *,
    target: str | int | None = None,
    task: str | None = None,
    features: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    keep_index: bool = False,
    gaps: str = "error",
    header: bool | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    data_dir: str | os.PathLike | None = None,
    seed: int = 0,
) -> Dataset:
    """Load built-in data or a file.

    Parameters
    ----------
    name_or_path : str or path
        Name of a built-in data set: moons, circles, blobs, quantiles (two synthetic features
        each), iris, wine, digits, breast_cancer, diabetes, mnist. Or a file: text with separators
        (.csv, .tsv, .txt, .dat, .data, .tab, .psv, .asc; may be compressed, as .csv.gz), .npz or
        .parquet. An NPZ file contains ``X`` and ``y``, or one array per column.
    target : str or int, optional
        Target column, by name or position; required for files (default for an NPZ file with
        ``X``: ``y``).
    task : {"classification", "regression"}, optional
        Default: determined from the target's values (:func:`fastnn.datasets.task.guess_task`).
    features : sequence of str, optional
        Columns to use, in this order; default: all columns except the target and those that only
        number or name the rows. See :func:`load_features`.
    ignore : sequence of str, optional
        Columns to leave out.
    keep_index : bool, default=False
        Whether to keep columns that only number or name the rows.
    gaps : {"error", "drop"}, default="error"
        Whether missing values raise an error, or their rows are left out.
    header : bool, optional
        Whether the first line of a text file contains the column names; default: detected by
        comparing it with the next lines.
    separator : str, optional
        Separator of a text file: a character, "tab" or "blank"; default: detected.
    decimal : {".", ","}, optional
        Decimal sign of a text file; default: detected.
    encoding : str, optional
        Encoding of a text file; default: by byte-order mark, else UTF-16 if nearly every other
        byte is zero, else UTF-8, else Windows-1252, else Latin-1.
    data_dir : path, optional
        Folder of the MNIST files; default: the environment variable ``FASTNN_DATA_DIR``, then the
        cache folder, to which missing files are downloaded.
    seed : int, default=0
        Seed of the synthetic data.

    Returns
    -------
    Dataset
        Its ``notes`` list the decisions made while reading.

    Raises
    ------
    ValueError
        If the data cannot be used; the message names file, column and line.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> load("iris").y[:2].tolist()
    ['setosa', 'setosa']
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}; got {task!r}")
    if gaps not in columns_of.GAPS:
        raise ValueError(f"gaps must be one of {', '.join(columns_of.GAPS)}; got {gaps!r}")
    wanted = Format(header, separator, decimal, encoding)
    name = os.fspath(name_or_path)
    if name in BUILT_IN:
        if target is not None:
            raise ValueError(f"{name} is built in and has its own target; leave out target")
        of_files = {
            "header": header,
            "separator": separator,
            "decimal": decimal,
            "encoding": encoding,
            "ignore": ignore or None,
            "keep_index": keep_index or None,
        }
        for option, value in of_files.items():
            if value is not None:
                raise ValueError(f"{name} is built in; {option} is for files")
        if name in SYNTHETIC:
            return synthetic(name, seed, task)
        if name == "mnist":
            return load_mnist(data_dir, task)
        return from_sklearn(name, task)
    table = read(Path(name), wanted)
    return dataset_of(table, target, task, features, ignore, keep_index, gaps)


def load_features(
    path: str | os.PathLike,
    features: Sequence[str],
    *,
    target: str | None = None,
    notes: list[str] | None = None,
    gaps: str = "error",
    header: bool | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
) -> np.ndarray:
    r"""Load only features, from a file that need not have targets.

    Parameters
    ----------
    path : path
        Path of the data file.
    features : sequence of str
        Column names. Columns are matched by name. They are matched by position if the file has no
        names or ``features`` only number the columns ("0", "1", ... or "x0", "x1", ...); the
        numbers of columns must then agree.
    target : str, optional
        Target column, which is left out if the file has it.
    notes : list of str, optional
        List to which the decisions about file and columns are appended.
    gaps : {"error", "keep"}, default="error"
        Whether missing values raise an error, or are NaN in the result.
    header, separator, decimal, encoding
        As for :func:`load`.

    Returns
    -------
    ndarray of float64, shape (samples, len(features))

    Raises
    ------
    ValueError
        If a column is missing or cannot be used; the message names it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from fastnn.datasets import load_features
    >>> length = Path("new.csv").write_text("width,length\n1,2\n3,4\n")
    >>> load_features("new.csv", ["length", "width"])
    array([[2., 1.],
           [4., 3.]])
    """
    if gaps not in ("error", "keep"):
        raise ValueError(f"gaps must be error or keep; got {gaps!r}")
    table = read(Path(path), Format(header, separator, decimal, encoding))
    X, decided = features_of(table, features, target, gaps)
    if notes is not None:
        notes += decided
    return X


def features_of(
    table: Table, features: Sequence[str], target: str | None = None, gaps: str = "error"
) -> tuple[np.ndarray, list[str]]:
    """Return the features of a table and notes; the arguments are those of `load_features`."""
    if table.X is not None:
        if table.X.shape[1] != len(features):
            raise ValueError(
                f"{table.path}: X has {table.X.shape[1]} columns; "
                f"the network was trained with {len(features)}"
            )
        names, decided = [str(name) for name in features], list(table.notes)
        X = columns_of.check_matrix(table.X, names, table)
    else:
        names, chosen = choose_columns(table.names, features, table.path, target)
        X, ways = columns_of.matrix(table, names)
        decided = [*table.notes, *chosen, *ways]
    if gaps == "error":
        columns_of.without_gaps(table, X, names, "", np.zeros(len(X), bool), gaps)
    return X, decided


def dataset_of(
    table: Table,
    target: str | int | None,
    task: str | None = None,
    features: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    keep_index: bool = False,
    gaps: str = "error",
) -> Dataset:
    """Create a data set from a table; the arguments are those of :func:`load`."""
    path, notes = table.path, list(table.notes)
    name = target_name(table, target)
    y, gone, decided = target_column(table, name, task)
    notes += decided
    if gone.all() and len(gone):
        raise ValueError(f"{path}: target {name!r} has no values")
    if table.X is not None:
        names = [f"x{k}" for k in range(table.X.shape[1])]
        X = columns_of.check_matrix(table.X, names, table)
        if len(X) != len(y):
            raise ValueError(f"{path}: X has {len(X)} rows, {name!r} has {len(y)}")
    else:
        if features:
            names, chosen = choose_columns(table.names, features, path, name)
        else:
            names, chosen = columns_of.usable_columns(table, name, ignore, keep_index)
        X, ways = columns_of.matrix(table, names)
        notes += [*chosen, *ways]
    complete, dropped = columns_of.without_gaps(table, X, names, name, gone, gaps)
    if dropped:
        X, y, notes = X[complete], y[complete], notes + dropped
    y, task = check_target(y, task, name, str(path))
    names = list(features) if features and table.X is None else names
    dataset = Dataset(stem_of(path), X, y, task, tuple(names), name, notes=tuple(notes))
    return replace(dataset, decimal=table.decimal)


def target_name(table: Table, target: str | int | None) -> str:
    """Name of the target column, given by name or position."""
    if target is None and table.X is not None and "y" in table.names:
        return "y"
    columns = f"columns: {listed(table.names, 12) or 'none'}"
    if not table.typed and len(table.names) == 1:
        columns += "; is the separator right? (--separator, separator=)"
    elif not table.typed and all(name.isdecimal() for name in table.names):
        columns += "; no line of names was found (--header, header=True, if there is one)"
    if target is None:
        raise ValueError(
            f"{table.path}: target (--target) must name the target's column; {columns}"
        )
    if isinstance(target, str):
        target = normalize("NFC", target)
    if target in table.names:
        return str(target)
    try:
        return table.names[int(target)]
    except (ValueError, IndexError):
        columns += did_you_mean(target, table.names)
        raise ValueError(f"{table.path}: there is no column {target!r}; {columns}") from None
