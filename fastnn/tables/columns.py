"""Conversion of tables of any library to columns of a common form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from numbers import Real
from typing import Any
from unicodedata import normalize

import numpy as np

from fastnn.datasets import cells
from fastnn.datasets.table import Table

_NONE = np.array(None, object)
_TEXTS = {str, type(None)}


@dataclass(frozen=True, eq=False)
class Column:
    """One column.

    Attributes
    ----------
    name : str
    values : ndarray, shape (rows,)
        float64, datetime64[us], or object with stripped strings. Missing values are NaN, NaT or
        None.
    hint : {"boolean", "category"} or None
        Kind according to the column's type in the table; booleans are stored as 1.0 and 0.0.
    decimal : {".", ","}
        Decimal separator in strings.
    missing : tuple of str
        Values that the user declared as missing; gaps stand in their place.
    taken : ndarray of bool, shape (rows,), or None
        Mask of the rows with such a value.
    """

    name: str
    values: np.ndarray
    hint: str | None = None
    decimal: str = "."
    missing: tuple[str, ...] = ()
    taken: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Column:
        """The column with the given rows."""
        taken = None if self.taken is None else self.taken[rows]
        return replace(self, values=self.values[rows], taken=taken)

    @property
    def gaps(self) -> np.ndarray:
        """Mask of the rows without a value."""
        if self.values.dtype.kind == "O":
            return np.equal(self.values, _NONE)
        return np.isnan(self.values) if self.values.dtype.kind == "f" else np.isnat(self.values)


def columns_of(X: Any) -> list[Column]:
    """Convert a table to columns.

    Parameters
    ----------
    X : DataFrame of pandas or polars, table of pyarrow, dict of columns, 2-D array or list of rows
        Rows may be dicts. Or a :class:`fastnn.datasets.table.Table`. Columns of an array are called
        x0, x1, ...

    Returns
    -------
    list of Column

    Raises
    ------
    ValueError
        If ``X`` is not a table, or two columns have the same name.
    """
    X = without_records(X)
    if _library(X) in ("pandas", "polars") and not _is_frame(X):
        raise ValueError(
            f"X must be a table; got a {type(X).__name__} of {_library(X)}"
            f"{'; its to_frame() is a table of one column' if hasattr(X, 'to_frame') else ''}"
        )
    if isinstance(X, Table):
        columns = _of_file(X)
    elif isinstance(X, Mapping):
        _check_keys(X)
        columns = [as_column(str(name), values) for name, values in X.items()]
    elif _library(X) == "pandas":
        columns = [as_column(str(name), series) for name, series in X.items()]
    elif _library(X) == "polars":
        columns = [as_column(name, X.get_column(name)) for name in X.columns]
    elif _library(X) == "pyarrow":
        pairs = zip(X.schema.names, X.columns, strict=True)
        columns = [as_column(name, values) for name, values in pairs]
    elif hasattr(X, "__dataframe__"):  # other libraries, by the interchange protocol
        from fastnn.extras import require

        frame = require("pandas", "a table of another library", "parquet")
        return columns_of(frame.api.interchange.from_dataframe(X))
    else:
        columns = _of_array(X)
    columns = [_as_in_files(column, isinstance(X, Table)) for column in columns]
    _check(columns)
    return columns


def _as_in_files(column: Column, of_file: bool) -> Column:
    """Treat texts alike in all tables: composed characters, missing values, decimal sign."""
    name = normalize("NFC", column.name)
    if column.values.dtype.kind != "O":
        return replace(column, name=name)
    texts = column.values.tolist()
    meanings = {text: _meaning(text) for text in dict.fromkeys(texts)}
    decimal = column.decimal if of_file else cells.own_decimal_sign(meanings.values(), ".")
    values = _objects([meanings[text] for text in texts])
    return Column(name, values, column.hint, decimal)


def _meaning(text: str | None) -> str | None:
    return None if text is None or text.lower() in cells.GAPS else normalize("NFC", text)


def without_records(X: Any) -> Any:
    """Records (a list of dicts, a structured array) as a dict of columns; lazy frames collected.

    Anything else is returned as it is.
    """
    if isinstance(X, np.ndarray) and X.dtype.names and X.ndim == 1:
        return {name: X[name] for name in X.dtype.names}
    if _library(X) == "polars" and hasattr(X, "collect"):
        return X.collect()
    if not isinstance(X, list) or not X or not all(isinstance(row, Mapping) for row in X):
        return X
    return {name: [row.get(name) for row in X] for name in dict.fromkeys(chain(*X))}


def as_column(name: str, values: Any) -> Column:
    """Convert a column of any library, or a sequence."""
    library = _library(values)
    if library == "pandas":
        return _of_pandas(name, values)
    if library == "polars":
        return _of_polars(name, values)
    if library == "pyarrow":
        return _of_arrow(name, values)
    if isinstance(values, Mapping):  # of row labels to values, as of DataFrame.to_dict
        values = list(values.values())
    if isinstance(values, (str, bytes, Set)) or not hasattr(values, "__len__"):
        raise ValueError(
            f"column {name!r} must be a sequence of values; got {values!r} (one row: [{values!r}])"
        )
    array = values
    if not isinstance(values, np.ndarray):
        array = np.empty(len(values), object)
        array[:] = list(values)
    if array.ndim != 1:
        raise ValueError(f"column {name!r} must be 1-D; got shape {array.shape}")
    return _of_numpy(name, array)


def label(value: Any) -> str:
    """Name of the category of a value; integral numbers are written without decimal point."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    return str(value).strip()


def as_texts(column: Column) -> np.ndarray:
    """A column as an object array of category names, with None for missing values."""
    values = column.values
    if values.dtype.kind == "O":
        return values
    texts = np.full(len(values), None, object)
    there = ~column.gaps
    if values.dtype.kind == "M":
        texts[there] = [str(v) for v in values[there].astype("datetime64[s]").astype(str)]
        return texts
    different, which = np.unique(values[there], return_inverse=True)
    names = map(bool, different) if column.hint == "boolean" else different
    texts[there] = np.array([*map(label, names), None], object)[which]
    return texts


def _library(value: Any) -> str:
    """Library of a value's class; for a subclass, such as GeoDataFrame, that of the base class."""
    libraries = [kind.__module__.split(".")[0] for kind in type(value).__mro__]
    return next((name for name in libraries if name in ("pandas", "polars")), libraries[0])


def _check_keys(X: Mapping) -> None:
    """Raise if columns are mappings of different row labels to values."""
    labels = {str(name): list(column) for name, column in X.items() if isinstance(column, Mapping)}
    first = next(iter(labels), "")
    for name, rows in labels.items():
        if rows != labels[first]:
            raise ValueError(f"columns {first!r} and {name!r} have different row labels")


def _is_frame(value: Any) -> bool:
    return any(kind.__name__ == "DataFrame" for kind in type(value).__mro__)


def _check(columns: Sequence[Column]) -> None:
    if not columns:
        raise ValueError("X has no columns")
    names = [column.name for column in columns]
    for k, name in enumerate(names):
        if name in names[:k]:
            raise ValueError(f"X has two columns that are called {name!r}")
    for column in columns:
        if len(column) != len(columns[0]):
            raise ValueError(
                f"columns of different lengths: {columns[0].name!r} has {len(columns[0])} rows, "
                f"{column.name!r} has {len(column)}"
            )


def _of_file(table: Table) -> list[Column]:
    if table.X is not None:
        return _of_array(table.X)
    pairs = zip(table.names, table.columns, strict=True)
    found = []
    for name, values in pairs:
        if values.ndim != 1:
            raise ValueError(f"{table.path}: column {name!r} must be 1-D; got {values.shape}")
        column = _of_numpy(name, values)
        decimal = table.decimal_of(name) if column.values.dtype.kind == "O" else "."
        hint = table.hints.get(name, column.hint)
        values = as_texts(column) if hint == "category" else column.values
        found.append(Column(name, values, hint, decimal))
    return found


def _of_array(X: Any) -> list[Column]:
    if not isinstance(X, np.ndarray):
        if hasattr(X, "toarray"):
            raise ValueError("X is a sparse matrix; tables are dense, see X.toarray()")
        if isinstance(X, Sequence) and not isinstance(X, (str, bytes)):
            X = np.array(X, object)
        elif hasattr(X, "__array__"):  # a tensor
            X = np.asarray(X)
        else:
            raise ValueError(f"X must be a table; got {type(X).__name__}")
    if X.ndim != 2:
        raise ValueError(f"X must be 2-D (rows, columns); got shape {X.shape}")
    return [_of_numpy(f"x{k}", X[:, k]) for k in range(X.shape[1])]


def _of_numpy(name: str, values: np.ndarray) -> Column:
    kind = values.dtype.kind
    if isinstance(values, np.ma.MaskedArray):
        mask, values = np.ma.getmaskarray(values), values.data
        if kind in "mM":  # not as objects: dates in nanoseconds would become int
            values = np.where(mask, np.array("NaT", values.dtype), values)
        else:  # not filled(None), which uses NumPy's default fill value "?"
            values, kind = np.where(mask, _NONE, values.astype(object)), "O"
    if kind in "fiu":
        return Column(name, values.astype(np.float64))
    if kind == "b":
        return Column(name, values.astype(np.float64), "boolean")
    if kind == "M":
        return Column(name, values.astype("datetime64[us]"))
    if kind == "m":
        return Column(name, values / np.timedelta64(1, "D"))
    if kind in "USO":
        return _of_objects(name, values.tolist())
    raise ValueError(f"column {name!r} has dtype {values.dtype}, which is no number, text or date")


def _of_objects(name: str, values: list[Any]) -> Column:
    """Convert Python objects: all numbers, all booleans or all dates; otherwise strings."""
    kinds = set(map(type, values))
    if not kinds <= _TEXTS:
        values = [None if is_missing(value) else value for value in values]
        kinds = set(map(type, values))
    kinds.discard(type(None))
    if kinds <= {str}:
        return Column(name, _objects([v if v is None else v.strip() or None for v in values]))
    if kinds <= {bool, np.bool_}:
        return Column(name, _floats(values), "boolean")
    if all(issubclass(kind, (Real, Decimal, np.number)) for kind in kinds):
        return Column(name, _floats(values))
    if all(issubclass(kind, (date, np.datetime64)) for kind in kinds):
        moments = [_as_datetime(value) for value in values]
        return Column(name, np.array(moments, "datetime64[us]"))
    if all(issubclass(kind, (timedelta, np.timedelta64)) for kind in kinds):
        lengths = [
            None if v is None else np.timedelta64(v) / np.timedelta64(1, "D") for v in values
        ]
        return Column(name, _floats(lengths))
    if kinds & {list, dict, tuple, set, np.ndarray}:
        raise ValueError(f"column {name!r} has a {next(iter(kinds)).__name__} in its cells")
    texts = [
        None if v is None else (_decoded(name, v) if isinstance(v, bytes) else label(v))
        for v in values
    ]
    return Column(name, _objects([text or None for text in texts]))


def _decoded(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError(f"column {name!r} has bytes that are not UTF-8: {value!r}") from None


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN of any type, NaT or pandas.NA."""
    if value is None:
        return True
    if isinstance(value, (str, bool)):
        return False
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, (float, np.floating)):
        return math.isnan(value)
    return isinstance(value, (np.datetime64, np.timedelta64)) and bool(np.isnat(value))


def _as_datetime(value: Any) -> Any:
    """A date as datetime64[us]; times with a time zone are converted to UTC."""
    if value is None:
        return np.datetime64("NaT")
    if isinstance(value, datetime) and value.tzinfo is not None:
        from datetime import UTC

        value = value.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(value).astype("datetime64[us]")


def _floats(values: list[Any]) -> np.ndarray:
    return np.array([np.nan if value is None else float(value) for value in values], np.float64)


def _objects(values: list[Any]) -> np.ndarray:
    return np.array([*values, None], object)[:-1]


def _of_pandas(name: str, series: Any) -> Column:
    import pandas as pd
    from pandas.api import types

    dtype = series.dtype
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow as pa

        return _of_arrow(name, pa.array(series))
    if isinstance(series, pd.Index):
        series = series.to_series()
    if str(dtype) == "category":
        different = as_texts(_of_pandas(name, series.cat.categories.to_series()))
        texts = np.array([*different, None], object)  # a missing value has the code -1
        return Column(name, texts[series.cat.codes.to_numpy()], "category")
    if types.is_bool_dtype(dtype):
        return Column(name, series.to_numpy(np.float64, na_value=np.nan), "boolean")
    if types.is_datetime64_any_dtype(dtype) or str(dtype).startswith("period"):
        if str(dtype).startswith("period"):
            series = series.dt.to_timestamp()
        if getattr(series.dt, "tz", None) is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return Column(name, series.to_numpy("datetime64[us]"))
    if types.is_timedelta64_dtype(dtype):
        return Column(name, series.to_numpy() / np.timedelta64(1, "D"))
    if types.is_complex_dtype(dtype):
        return _of_numpy(name, series.to_numpy())  # raises
    if types.is_numeric_dtype(dtype):
        return Column(name, series.to_numpy(np.float64, na_value=np.nan))
    if isinstance(dtype, pd.StringDtype):
        return _of_objects(name, series.to_numpy(object, na_value=None).tolist())
    return _of_objects(name, series.to_numpy(object).tolist())


def _of_polars(name: str, series: Any) -> Column:
    import polars as pl

    kind = series.dtype
    if kind == pl.Boolean:
        return Column(name, series.cast(pl.Float64).to_numpy().astype(np.float64), "boolean")
    if kind.is_numeric():
        return Column(name, series.cast(pl.Float64).to_numpy().astype(np.float64))
    if kind == pl.Datetime and kind.time_zone is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if kind in (pl.Date, pl.Datetime):
        return Column(name, series.cast(pl.Datetime("us")).to_numpy().astype("datetime64[us]"))
    if kind == pl.Duration:
        return Column(name, series.to_numpy() / np.timedelta64(1, "D"))
    if kind in (pl.Categorical, pl.Enum):
        return Column(name, _of_objects(name, series.cast(pl.String).to_list()).values, "category")
    return _of_objects(name, series.to_list())


def _of_arrow(name: str, values: Any) -> Column:
    import pyarrow as pa

    kind = values.type
    if pa.types.is_dictionary(kind):
        plain = _of_arrow(name, values.cast(kind.value_type))
        return Column(name, as_texts(plain), "category")
    if pa.types.is_boolean(kind):
        return Column(name, _floats(values.to_pylist()), "boolean")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if pa.types.is_decimal(kind):  # the direct conversion rounds twice
            values = values.cast(pa.string())
        numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return Column(name, np.asarray(numbers, np.float64))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moments = values.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
        return Column(name, np.asarray(moments).astype("datetime64[us]"))
    return _of_objects(name, values.to_pylist())
