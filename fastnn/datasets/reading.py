"""Reading tables from files of all supported formats."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np

from fastnn.datasets.builtin import BUILT_IN
from fastnn.datasets.layout import Format
from fastnn.datasets.npz import read_npz
from fastnn.datasets.table import Table, did_you_mean, listed
from fastnn.datasets.text import PACKED
from fastnn.extras import require

TEXT = (".csv", ".tsv", ".txt", ".dat", ".data", ".tab", ".psv", ".asc")
FEATHER, LINES, EXCEL = (".feather", ".arrow"), (".jsonl", ".ndjson"), (".xlsx", ".xlsm")
SUFFIXES = (*TEXT, ".npz", ".parquet", *FEATHER, *LINES, *EXCEL)


def read(path: Path, wanted: Format | None = None) -> Table:
    """Read the table in a file.

    Parameters
    ----------
    path : Path
    wanted : Format, optional
        Layout of a text file.

    Returns
    -------
    Table

    Raises
    ------
    OSError
        If the file does not exist or cannot be read.
    ValueError
        If the file does not contain a table.
    """
    suffix = suffix_of(path)
    known = f"built in are {', '.join(BUILT_IN)}; files end in {', '.join(SUFFIXES)}"
    if not path.exists():
        known += did_you_mean(path, [*BUILT_IN, *_files_beside(path)])
        raise FileNotFoundError(f"no data set and no file {str(path)!r}; {known}")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, not a file")
    if suffix == ".npz":
        table = read_npz(path)
    elif suffix == ".parquet":
        parquet = require("pyarrow.parquet", "reading Parquet")
        table = _by_arrow(path, parquet.read_table, "a Parquet file")
    elif suffix in FEATHER:
        feather = require("pyarrow.feather", "reading Feather and Arrow files")
        table = _by_arrow(path, feather.read_table, "a Feather or Arrow file")
    elif suffix in LINES:
        json = require("pyarrow.json", "reading JSON lines")
        table = _by_arrow(path, json.read_json, "a file of JSON lines")
    elif suffix in EXCEL:
        table = _read_excel(path)
    elif suffix in TEXT:
        from fastnn.datasets.delimited import read_delimited

        table = read_delimited(path, wanted or Format())
    else:
        raise ValueError(
            f"{path}: unknown kind of file; {known} ({', '.join(TEXT)} also with "
            f"{', '.join(PACKED)} behind)"
        )
    table.names[:] = [normalize("NFC", name) for name in table.names]
    for k, name in enumerate(table.names):
        if name in table.names[:k]:
            raise ValueError(f"{path}: two columns are called {name!r}; rename one")
    if table.X is None and (not table.columns or len(table.columns[0]) == 0):
        raise ValueError(f"{path}: there are no rows")
    return table


def _files_beside(path: Path) -> list[str]:
    """Data files in the folder of a path, at most a thousand."""
    try:
        beside = list(islice(path.parent.iterdir(), 1000))
    except OSError:
        return []
    return sorted(str(other) for other in beside if suffix_of(other) in SUFFIXES)


def suffix_of(path: Path) -> str:
    """File name extension that tells the format, in lower case; ".csv" for "a.csv.gz"."""
    unpacked = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return unpacked.suffix.lower()


def stem_of(path: Path) -> str:
    """File name without its extensions: "a" for "a.csv.gz"."""
    return path.with_suffix("").stem if path.suffix.lower() in PACKED else path.stem


def _by_arrow(path: Path, read_table: Callable[[Path], Any], what: str) -> Table:
    """Read a file with pyarrow, without the columns that pandas stored as the index."""
    with open(path, "rb"):  # raises the plain OSError if the file cannot be read
        pass
    try:
        return _table_of(path, read_table(path))
    except Exception as error:  # for damaged files pyarrow raises many types, also OSError
        first = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: damaged, or not {what} ({first})") from None


def _read_excel(path: Path) -> Table:
    """Read the first sheet of a workbook."""
    from fastnn.tables.columns import as_column

    pandas = require("pandas", "reading Excel files", "excel")
    require("openpyxl", "reading Excel files", "excel")
    with open(path, "rb"):
        pass
    try:
        sheets = pandas.read_excel(path, sheet_name=None)
    except Exception as error:  # openpyxl raises many types for damaged files
        first = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: damaged, or not an Excel file ({first})") from None
    (name, frame), *others = sheets.items()
    skipped = f"; not read: {listed(list(sheets)[1:])}" if others else ""
    columns = [
        column.to_numpy() if column.dtype.kind in "biu" else as_column(str(key), column).values
        for key, column in frame.items()
    ]
    notes = [f"{path.name}: the sheet {name!r}{skipped}"]
    return Table(path, [str(key) for key in frame.columns], columns, notes=notes)


def _table_of(path: Path, table: Any) -> Table:
    """Convert a pyarrow table."""
    from pyarrow import types

    metadata = table.schema.pandas_metadata or {}
    index = [name for name in metadata.get("index_columns", []) if isinstance(name, str)]
    # Parquet keeps categories of text only; pandas notes those of numbers.
    noted = metadata.get("columns", [])
    hints = {c["name"]: "category" for c in noted if c.get("pandas_type") == "categorical"}
    table = table.drop_columns([name for name in index if name in table.column_names])
    table = without_pandas_types(table)
    columns = [arrow_column(column) for column in table.columns]
    notes = [f"{path.name}: the index {', '.join(map(repr, index))} is left out"] if index else []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if types.is_dictionary(column.type):
            hints[name] = "category"
        elif types.is_boolean(column.type) and column.null_count:
            hints[name] = "boolean"
    return Table(path, list(table.column_names), columns, notes=notes, hints=hints)


def without_pandas_types(table: Any) -> Any:
    """A pyarrow table or batch with pandas' periods as dates, and its intervals as texts."""
    import pyarrow

    from fastnn.tables.columns import as_column

    for k, field in enumerate(table.schema):
        stored = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode()
        if getattr(field.type, "extension_name", stored).startswith("pandas."):
            require("pandas", f"the column {field.name!r} of pandas", "parquet")
            values = as_column(field.name, table.select([k]).to_pandas().iloc[:, 0]).values
            table = table.set_column(k, field.name, pyarrow.array(values, from_pandas=True))
    return table


def arrow_column(column: Any) -> np.ndarray:
    """Convert a pyarrow column to an array: numbers with NaN for nulls, dates, else objects."""
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if types.is_decimal(kind):
        column = column.cast("string").cast("float64")  # the direct conversion rounds twice
        kind = column.type
    if types.is_uint64(kind):
        return column.cast("float64", safe=False).to_numpy().astype(np.float64)
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
