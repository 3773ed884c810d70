"""Tables in files."""

from __future__ import annotations

import csv
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.datasets.builtin import BUILT_IN

SUFFIXES = (".csv", ".tsv", ".npz", ".parquet")

# How CSV files write that a value is not there.
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


@dataclass(frozen=True, eq=False)
class Table:
    """Columns by name; numbers where all values are, else objects with None for missing.

    ``X`` is the matrix of an NPZ file that has one; the columns are then its other arrays.
    """

    path: Path
    names: list[str]
    columns: list[np.ndarray]
    X: np.ndarray | None = None
    typed: bool = True

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[self.names.index(name)]


def read(path: Path) -> Table:
    """The table in a file."""
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".npz": _read_npz, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None or not path.exists():
        known = f"built in are {', '.join(BUILT_IN)}; files end in {', '.join(SUFFIXES)}"
        if path.exists():
            raise ValueError(f"{path}: unknown kind of file; {known}")
        raise FileNotFoundError(f"no data set and no file {str(path)!r}; {known}")
    table = reader(path)
    for k, name in enumerate(table.names):
        if name in table.names[:k]:
            raise ValueError(f"{path}: two columns are called {name!r}")
    if table.X is None and (not table.columns or len(table.columns[0]) == 0):
        raise ValueError(f"{path}: there are no rows")
    return table


def _read_csv(path: Path) -> Table:
    """CSV with or without a line of names.

    Not read with pandas, so that a file means the same with and without it.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            line = file.readline()
            delimiter = max(",;\t", key=line.count)
            first = next(csv.reader([line], delimiter=delimiter), [])
            if not first:
                raise ValueError(f"{path}: the first line is empty")
            has_names = not all(_is_number(cell) for cell in first)
            if has_names:
                names = [cell.strip() for cell in first]
            else:
                names = [str(k) for k in range(len(first))]
                file.seek(0)
            start = file.tell()
            matrix = _all_numbers(file, delimiter, len(names))
            if matrix is not None:
                return Table(path, names, list(matrix.T), typed=False)
            file.seek(start)
            reader = csv.reader(file, delimiter=delimiter)
            rows = []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise ValueError(
                        f"{path}, line {reader.line_num + has_names}: {len(row)} values; "
                        f"the first line has {len(names)}"
                    )
                rows.append(row)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not a text file in UTF-8 ({error})") from None
        except csv.Error as error:
            raise ValueError(f"{path}: {error}") from None
    return Table(path, names, [_column(cells) for cells in zip(*rows, strict=True)], typed=False)


def _all_numbers(file: Any, delimiter: str, width: int) -> np.ndarray | None:
    """The rest of a CSV file if it is a full matrix of numbers; None if not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no rows
        try:
            matrix = np.loadtxt(file, delimiter=delimiter, comments=None, quotechar='"', ndmin=2)
        except ValueError:
            return None
    return matrix if matrix.shape[1] == width and len(matrix) else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().lower() not in _MISSING


def _column(cells: Sequence[str]) -> np.ndarray:
    """Numbers with NaN for missing, or strings with None for missing."""
    values = [cell.strip() for cell in cells]
    missing = [value.lower() in _MISSING for value in values]
    try:
        return np.array(
            [np.nan if gone else float(value) for value, gone in zip(values, missing, strict=True)]
        )
    except ValueError:
        return np.array(
            [None if gone else value for value, gone in zip(values, missing, strict=True)], object
        )


def _read_npz(path: Path) -> Table:
    """Arrays ``X`` and others, or one array a column."""
    try:
        # Opened here: np.load leaves a damaged file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError, zlib.error):
        # NumPy's own words advise allow_pickle, which runs what the file says.
        raise ValueError(
            f"{path}: not a NumPy archive (.npz) of plain numbers and strings"
        ) from None
    X = arrays.pop("X", None)
    if X is not None and X.ndim != 2:
        raise ValueError(f"{path}: X must be 2-D (samples, features); got shape {X.shape}")
    if X is not None and X.shape[0] == 0:
        raise ValueError(f"{path}: there are no rows")
    if X is None:
        for name, array in arrays.items():
            if array.ndim != 1 or len(array) != len(next(iter(arrays.values()))):
                raise ValueError(
                    f"{path}: without an array X every array must be a column of the same "
                    f"length; {name!r} has shape {array.shape}"
                )
    return Table(path, list(arrays), list(arrays.values()), X)


def _read_parquet(path: Path) -> Table:
    """Columns of a Parquet file."""
    try:
        import pandas as pd

        frame = pd.read_parquet(path)
    except ImportError:
        raise ImportError(
            "reading Parquet needs pandas and pyarrow; install them with: "
            'pip install "fastnn-cpu[parquet]"'
        ) from None
    except OSError:
        raise
    except Exception as error:  # pyarrow has its own kinds
        raise ValueError(f"{path}: not a Parquet file ({_first_line(error)})") from None
    columns = []
    for _, series in frame.items():
        if pd.api.types.is_bool_dtype(series) and not series.hasnans:
            columns.append(series.to_numpy(bool))
        elif pd.api.types.is_integer_dtype(series) and not series.hasnans:
            columns.append(series.to_numpy(np.int64))
        elif pd.api.types.is_numeric_dtype(series):
            columns.append(series.to_numpy(np.float64, na_value=np.nan))
        else:
            values = series.astype(object)
            columns.append(values.where(series.notna(), None).to_numpy(object))
    return Table(path, [str(name) for name in frame.columns], columns)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
