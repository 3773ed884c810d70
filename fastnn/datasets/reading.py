"""Tables in files, by the kind of file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastnn.datasets.builtin import BUILT_IN
from fastnn.datasets.layout import Format
from fastnn.datasets.npz import read_npz
from fastnn.datasets.table import Table
from fastnn.datasets.text import PACKED

TEXT = (".csv", ".tsv", ".txt", ".dat", ".data", ".tab", ".psv", ".asc")
SUFFIXES = (*TEXT, ".npz", ".parquet")


def read(path: Path, wanted: Format | None = None) -> Table:
    """The table in a file.

    Parameters
    ----------
    path : Path
    wanted : Format, optional
        How a text file is to be read.

    Returns
    -------
    Table

    Raises
    ------
    OSError, ValueError
        If there is no such file, or no table in it.
    """
    suffix = suffix_of(path)
    known = f"built in are {', '.join(BUILT_IN)}; files end in {', '.join(SUFFIXES)}"
    if not path.exists():
        raise FileNotFoundError(f"no data set and no file {str(path)!r}; {known}")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, not a file")
    if suffix == ".npz":
        table = read_npz(path)
    elif suffix == ".parquet":
        table = _read_parquet(path)
    elif suffix in TEXT:
        from fastnn.datasets.delimited import read_delimited

        table = read_delimited(path, wanted or Format())
    else:
        raise ValueError(
            f"{path}: unknown kind of file; {known} ({', '.join(TEXT)} also with "
            f"{', '.join(PACKED)} behind)"
        )
    for k, name in enumerate(table.names):
        if name in table.names[:k]:
            raise ValueError(f"{path}: two columns are called {name!r}")
    if table.X is None and (not table.columns or len(table.columns[0]) == 0):
        raise ValueError(f"{path}: there are no rows")
    return table


def suffix_of(path: Path) -> str:
    """The end of a file's name that tells its kind, without that of the packing."""
    unpacked = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return unpacked.suffix.lower()


def stem_of(path: Path) -> str:
    """A file's name without its ends."""
    return path.with_suffix("").stem if path.suffix.lower() in PACKED else path.stem


def _read_parquet(path: Path) -> Table:
    """Columns of a Parquet file, without those that pandas keeps as the index."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            'reading Parquet needs pyarrow; install it with: pip install "fastnn-cpu[parquet]"'
        ) from None
    with open(path, "rb"):  # the reason, where it cannot be read
        pass
    try:
        return _table_of(path, pyarrow.parquet.read_table(path))
    except Exception as error:  # pyarrow has many kinds, OSError too, for what is damaged
        first = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: damaged, or not a Parquet file ({first})") from None


def _table_of(path: Path, table: Any) -> Table:
    """A table of pyarrow as ours."""
    index = [
        name
        for name in (table.schema.pandas_metadata or {}).get("index_columns", [])
        if isinstance(name, str)
    ]
    table = table.drop_columns([name for name in index if name in table.column_names])
    columns = [arrow_column(column) for column in table.columns]
    notes = [f"{path.name}: the index {', '.join(map(repr, index))} is left out"] if index else []
    return Table(path, list(table.column_names), columns, notes=notes)


def arrow_column(column: Any) -> np.ndarray:
    """A column of pyarrow as an array: numbers with NaN for gaps, dates, else objects."""
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if types.is_decimal(kind):
        column = column.cast("float64")
        kind = column.type
    if types.is_boolean(kind) or types.is_integer(kind):
        if not column.null_count:
            return column.to_numpy().astype(bool if types.is_boolean(kind) else np.int64)
        column = column.cast("int8") if types.is_boolean(kind) else column
        return column.cast("float64").to_numpy().astype(np.float64)
    if types.is_floating(kind):
        return column.to_numpy().astype(np.float64)
    if types.is_timestamp(kind) or types.is_date(kind):
        return column.cast("timestamp[us]").to_numpy().astype("datetime64[us]")
    return np.array([*column.to_pylist(), None], object)[:-1]
