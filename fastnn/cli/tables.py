"""Data of a file for a network: numbers as they are, or an encoding of text, dates and gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn import datasets
from fastnn.cli.data import split
from fastnn.cli.files import file_of, format_of
from fastnn.cli.missing import declared_missing, missing_notes, target_with_gaps
from fastnn.cli.source import path_of
from fastnn.cli.text_targets import asked_target
from fastnn.datasets.dataset import Dataset
from fastnn.datasets.features import check_ignored, usable_columns
from fastnn.datasets.layout import Format
from fastnn.datasets.loading import dataset_of, target_name
from fastnn.datasets.reading import read, stem_of
from fastnn.datasets.table import Table

if TYPE_CHECKING:
    from fastnn.cli.search_settings import SearchSettings
    from fastnn.cli.settings import TrainSettings
    from fastnn.tables import Encoding
    from fastnn.tables.columns import Column

MAX_NUMBERS = 1_500_000_000  # maximum number of values of an encoded table: 12 GB in float64


class Data(NamedTuple):
    """Data of a training.

    Attributes
    ----------
    dataset : Dataset
        For an encoded table, its features are the encoded columns.
    train_rows, test_rows : ndarray of int
        Indices of the training rows and of the held-out rows.
    encoding : Encoding or None
        None if the features are used without an encoding.
    """

    dataset: Dataset
    train_rows: np.ndarray
    test_rows: np.ndarray
    encoding: Encoding | None = None


def load(settings: TrainSettings | SearchSettings, data_seed: bool = False) -> Data:
    """Load the data that the settings name and split them.

    Parameters
    ----------
    settings : TrainSettings or SearchSettings
    data_seed : bool, default=False
        Whether the seed also determines synthetic data; otherwise their seed is 0.

    Returns
    -------
    Data
    """
    given, seed = settings.model_dump(), settings.seed or 0
    kinds = kinds_of(settings.column)
    if settings.data in datasets.BUILT_IN:
        if kinds:
            raise ValueError(f"{settings.data} is built in; --column is for files")
        if settings.missing:
            raise ValueError(f"{settings.data} is built in; --missing is for files")
        dataset = datasets.load(
            settings.data,
            target=settings.target,
            task=settings.task,
            data_dir=settings.data_dir,
            seed=seed if data_seed else 0,
            **file_of(given),
        )
        return Data(dataset, *split(dataset, settings.test, seed))
    texts = frozenset(name for name, kind in kinds.items() if kind == "category")
    table = read(Path(path_of(settings.data)), Format(**format_of(given), texts=texts))
    name = target_name(table, settings.target)
    table = asked_target(table, name, kinds, settings.task)
    ignore, keep_index = settings.ignore or (), bool(settings.keep_index)
    plain = not kinds and not settings.missing
    if plain and not needs_encoding(table, name, ignore, keep_index, settings.gaps):
        gaps = "error" if settings.gaps == "error" else "drop"
        dataset = dataset_of(table, name, settings.task, None, ignore, keep_index, gaps)
        if dataset.y.ndim == 1 and len(dataset.y) > 1:
            from fastnn.tables.target import check_learnable

            check_learnable(dataset.y, dataset.task, name, str(table.path))
        _check_variation(dataset, str(table.path))
        dataset = _with_caution(dataset)
        return Data(dataset, *split(dataset, settings.test, seed))
    return _encoded(table, name, settings, kinds)


def _check_variation(dataset: Dataset, path: str) -> None:
    """Raise if every feature is constant."""
    X, names = dataset.X, dataset.feature_names
    if len(X) > 1 and (X[:1] == X).all():
        values = ", ".join(
            f"{name!r} is {value:g} in all rows"
            for name, value in zip(names[:3], X[0].tolist(), strict=False)
        )
        raise ValueError(f"{path}: no column varies ({values}); there is nothing to learn from")


def _with_caution(dataset: Dataset) -> Dataset:
    """Add notes about columns that reveal the target.

    Data with a single feature are not checked: there it may be legitimate. Numbers that may mean
    something else (times, missing values) are mentioned, too.
    """
    from fastnn.tables.columns import Column

    X, names = dataset.X, dataset.feature_names
    if X.dtype.kind != "f" or len(names) != X.shape[1]:
        return dataset
    columns = [Column(name, X[:, k].astype(float)) for k, name in enumerate(names)]
    notes = (*dataset.notes, *_doubts(columns, dataset.y, dataset.task))
    if X.shape[1] > 1:
        notes += tuple(_cautions(columns, dataset.y, dataset.task))
    return replace(dataset, notes=notes)


def _doubts(columns: Sequence[Column], y: np.ndarray, task: str) -> list[str]:
    from fastnn.tables.doubts import doubts

    return doubts(columns, y if task == "regression" else None)


def _cautions(columns: Sequence[Column], y: np.ndarray, task: str) -> list[str]:
    from fastnn.tables.baselines import copies_of_target

    if task == "classification" and 2 * (n_classes := len(np.unique(y))) > len(y):
        return [
            f"caution: the target has {n_classes:,} classes in {len(y):,} rows; does it name the "
            "rows? Nothing can be learnt about a class of one row"
        ]
    return [
        f"caution: column {copy!r} determines the target (leakage); is it known when "
        f"predicting? (--ignore {copy!r})"
        for copy in copies_of_target(columns, y, task)
    ]


def kinds_of(given: Sequence[str] | None) -> dict[str, str]:
    """Parse strings NAME=KIND into kinds of columns by name."""
    from fastnn.tables.kinds import KINDS

    kinds = {}
    for text in given or ():
        name, sign, kind = text.rpartition("=")
        if not sign or kind not in KINDS:
            raise ValueError(
                f"--column must be NAME=KIND, with one of {', '.join(KINDS)}; got {text!r}"
            )
        kinds[name] = kind
    return kinds


def needs_encoding(
    table: Table, target: str, ignore: Sequence[str], keep_index: bool, gaps: str | None
) -> bool:
    """Whether a feature is not numeric, or has missing values that are to be filled."""
    if table.X is not None:
        return gaps in (None, "fill") and table.X.dtype.kind == "f" and np.isnan(table.X).any()
    for name in usable_columns(table, target, ignore, keep_index)[0]:
        column = table[name]
        if column.dtype.kind == "M" or table.hints.get(name) == "category":
            return True
        try:
            values, how = table.numbers(name)
        except ValueError:
            return True
        if how is not None and ("dates" in how or table.decimal_of(name) != table.decimal):
            return True
        if gaps in (None, "fill") and np.isnan(values).any():
            return True
    return False


def _encoded(
    table: Table, name: str, settings: TrainSettings | SearchSettings, kinds: dict[str, str]
) -> Data:
    """Fit an encoding to the training rows of a table, and apply it to all rows."""
    from fastnn.tables import Encoding, Remarks
    from fastnn.tables.columns import columns_of
    from fastnn.tables.missing import declare
    from fastnn.tables.target import target_of

    notes = list(table.notes)
    columns = [column for column in columns_of(table) if column.name != name or table.X is not None]
    declared = declared_missing(settings.missing, table, [column.name for column in columns], name)
    notes += missing_notes(settings.missing, table, columns, name)
    columns, table = declare(columns, declared), target_with_gaps(table, name, declared)
    target = target_of(table, name, settings.task)
    if not columns:
        raise ValueError(
            f"{table.path}: there is no column beside the target; is the separator right? "
            "(--separator, separator=)"
        )
    names = [column.name for column in columns]
    for ignored in settings.ignore or ():
        check_ignored(ignored, names, table.path)
        kinds[ignored] = "drop"
    known = target.known & _complete(columns, kinds, settings.gaps, table)
    if not known.all():
        columns = [column.take(known) for column in columns]
    y = target.values[known[target.known]]
    notes += target.notes
    if (rest := int(len(target.values) - len(y))) > 0:
        notes.append(f"left out {rest:,} rows, which have gaps (--gaps fill keeps them)")
    blank = np.zeros((len(y), 0))
    dataset = Dataset(stem_of(table.path), blank, y, target.task, (), name)
    train_rows, test_rows = split(dataset, settings.test, settings.seed or 0)
    logarithms = _takes_logarithms(settings)
    try:
        encoding = Encoding.fit(
            columns,
            kinds=kinds,
            scaling=None,
            keep_index=bool(settings.keep_index),
            log_features=logarithms,
            rows=train_rows,
        )
        _check_size(len(y), encoding)
        # These remarks are discarded: non-numeric texts are mentioned with their column, and
        # held-out values below the training range are no surprise.
        X = encoding.transform(columns, Remarks())
    except ValueError as error:
        own = any(text in str(error) for text in ("no column is left", "there is no column"))
        advice = "" if own else " (--column NAME=drop leaves one out)"
        raise ValueError(f"{table.path}: {error}{advice}") from None
    used = set(encoding.used)
    candidates = [column for column in columns if column.name in used]
    guessed = [column for column in candidates if column.name not in kinds]
    notes += _doubts(guessed, y, target.task) + _cautions(candidates, y, target.task)
    dataset = Dataset(dataset.name, X, y, target.task, encoding.names, name, notes=tuple(notes))
    dataset = replace(dataset, decimal=table.decimal)
    return Data(dataset, train_rows, test_rows, encoding)


def _takes_logarithms(settings: TrainSettings | SearchSettings) -> bool:
    """Whether to add logarithms of columns with long tails, as the tabular estimators do."""
    of_train = getattr(settings, "takes_tabular", None)
    return bool(of_train(True)) if of_train is not None else settings.preset != "plain"


def _check_size(n_rows: int, encoding: Encoding) -> None:
    """Raise if the encoded table would have more than :data:`MAX_NUMBERS` values."""
    if n_rows * encoding.n_outputs > MAX_NUMBERS:
        widest = max(encoding.columns, key=lambda code: len(code.outputs()))
        raise ValueError(
            f"{n_rows:,} rows of {encoding.n_outputs:,} encoded columns are too many; "
            f"{widest.name!r} alone makes {len(widest.outputs()):,}"
        )


def _complete(
    columns: Sequence[Column], kinds: Mapping[str, str], gaps: str | None, table: Table
) -> np.ndarray:
    """Mask of the rows to use: all rows, or with ``gaps="drop"`` those without missing values.

    Raises
    ------
    ValueError
        If ``gaps`` is "error" and there is a missing value, or no row is complete.
    """
    complete = np.ones(len(columns[0]), bool)
    if gaps in (None, "fill"):
        return complete
    for column in columns:
        missing = column.gaps
        if kinds.get(column.name) == "drop" or missing.all():
            continue
        if gaps == "error" and missing.any():
            row = int(missing.argmax())
            raise ValueError(
                f"{table.path}: column {column.name!r} has a missing value in {table.where(row)}; "
                "--gaps fill takes the median, --gaps drop leaves these rows out"
            )
        complete &= ~missing
    if not complete.any():
        raise ValueError(f"{table.path}: no row is without gaps; --gaps fill takes medians")
    return complete


def encoded_again(
    table: Table,
    encoding: Encoding,
    target: str | None,
    task: str,
    gaps: str | None,
    missing: Sequence[str] | None = None,
) -> Dataset:
    """Apply the encoding of a trained model to a table.

    Parameters
    ----------
    table : Table
        The training table or another one.
    encoding : Encoding
    target : str or None
        Name of the target column.
    task : {"classification", "regression"}
    gaps : {"fill", "drop", "error"} or None
        Treatment of missing values; None as "fill".
    missing : sequence of str, optional
        ``--missing`` of training, for the target; the encoding has it for the columns.
    """
    from fastnn.tables import Remarks
    from fastnn.tables.columns import columns_of
    from fastnn.tables.missing import declare
    from fastnn.tables.target import target_of

    name = target_name(table, target)
    columns = [column for column in columns_of(table) if column.name != name or table.X is not None]
    if not columns:
        raise ValueError(f"{table.path}: there is no column beside the target")
    names = [code.name for code in encoding.columns]
    table = target_with_gaps(table, name, declared_missing(missing, table, names, name))
    found = target_of(table, name, task, constant=True)
    left_out = {code.name: "drop" for code in encoding.columns if code.kind == "drop"}
    declared = {code.name: code.missing for code in encoding.columns}
    columns = declare(columns, declared)
    known = found.known & _complete(columns, left_out, gaps, table)
    notes = [*table.notes, *found.notes]
    remarks = Remarks()
    try:
        X = encoding.transform([column.take(known) for column in columns], remarks)
    except ValueError as error:
        raise ValueError(f"{table.path}: {error}") from None
    y = found.values[known[found.known]]
    notes += remarks.lines()
    return Dataset(stem_of(table.path), X, y, task, encoding.names, name, notes=tuple(notes))


def column_rows(encoding: Encoding) -> list[tuple[str, str]]:
    """Rows that describe the encoding of each column, for printing."""
    return described_rows(describe(encoding))


def described_rows(columns: Mapping[str, Mapping[str, str]] | None) -> list[tuple[str, str]]:
    """:func:`column_rows` from the output of :func:`describe`; empty for None."""
    if columns is None:
        return []
    plain = [name for name, column in columns.items() if column["becomes"] == "number"]
    rows = [(name, c["becomes"]) for name, c in columns.items() if name not in set(plain)]
    shown = [("numbers", listed_names(plain))] if plain else []
    width = max((len(name) for name, _ in rows[:MAX_ROWS]), default=0)
    shown += [("column", f"{name:<{width}}  {what}") for name, what in rows[:MAX_ROWS]]
    if len(rows) > MAX_ROWS:
        shown.append(("column", f"and {len(rows) - MAX_ROWS} more (fastnn info MODEL)"))
    hints = ["--column NAME=number|boolean|category|date|drop changes one"]
    if any(column["becomes"] == "left out: identifier" for column in columns.values()):
        hints.append("--keep-index keeps identifiers")
    return [*shown, ("", ", ".join(hints))]


MAX_ROWS = 40  # maximum number of columns that are printed on separate lines
MAX_NAMES = 12  # maximum number of names in a list


def listed_names(names: Sequence[str]) -> str:
    """Join names with commas; only the first :data:`MAX_NAMES` are shown."""
    more = f", ... ({len(names)} columns)" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def describe(encoding: Encoding) -> dict[str, Any]:
    """Describe the encoded columns by name, as JSON values."""
    return {code.name: {"kind": code.kind, "becomes": code.what()} for code in encoding.columns}
