"""Writing of tables in parts, with additional columns, to files or standard output."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.datasets.writing import Replacement
from fastnn.extras import require
from fastnn.tables.streams import ArrowRows, Part

# Extensions of other formats: a file of delimited text must not have such a name.
_NOT_WRITTEN = {".arrow", ".bz2", ".feather", ".h5", ".json", ".npy", ".npz", ".ods", ".pkl"}
_NOT_WRITTEN |= {".xls", ".xlsm", ".xlsx", ".xz", ".zip", ".zst"}
_NOT_WRITTEN |= {".html", ".jsonl", ".ndjson", ".onnx", ".pt", ".safetensors", ".toml"}


class TableWriter:
    """Context manager that writes rows with additional columns; a file is written atomically.

    In delimited text, additional numbers have the decimal sign of the table.

    Parameters
    ----------
    out : Path or None
        None: standard output. A name that ends in ``.parquet`` is written as Parquet, any other as
        delimited text: with tabs if it ends in ``.tsv``, compressed if it ends in ``.gz``.
    names : sequence of str
        Names of all columns, including the additional ones.
    separator : str
    measured : sequence of str
        Columns that are written to Parquet as real numbers even if the first ones are integral.

    Raises
    ------
    ValueError
        If ``out`` is a folder or has the extension of another format.
    NotADirectoryError
        If the parent of ``out`` is a file.
    """

    def __init__(
        self,
        out: Path | None,
        names: Sequence[str],
        separator: str = ",",
        measured: Sequence[str] = (),
    ) -> None:
        self.out = out
        self.measured = set(measured)
        self.names = list(names)
        self._parquet = out is not None and out.suffix.lower() == ".parquet"
        self._new: Replacement | None = None
        self._file: Any = None
        self._files = ExitStack()
        self._schema: Any = None
        if out is not None:
            if out.is_dir():
                raise ValueError(f"--out {out}: is a folder")
            if out.suffix.lower() in _NOT_WRITTEN:
                raise ValueError(
                    f"--out {out}: the name must end in .csv, .tsv, .csv.gz or .parquet"
                )
            self._new = Replacement(out)
        if self._parquet:
            require("pyarrow.parquet", "writing Parquet")
            return
        if out is not None and out.name.lower().endswith((".tsv", ".tsv.gz")):
            separator = "\t"
        text: Any = sys.stdout
        if self._new is not None:
            with self._new.named_errors():
                packed: Any = self._files.enter_context(self._new.open())
            if self.out is not None and self.out.suffix.lower() == ".gz":
                import gzip

                packed = gzip.GzipFile(self.out.stem, "wb", fileobj=packed)
            text = self._files.enter_context(io.TextIOWrapper(packed, encoding="utf-8", newline=""))
        self._csv = csv.writer(text, delimiter=separator, lineterminator="\n")
        self._csv.writerow(self.names)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if self._new is None:
            if kind is None:
                sys.stdout.flush()
            return
        failed = True
        try:
            with self._new.named_errors():
                self._files.close()  # what is left is written here
            failed = kind is not None
        finally:
            self._new.end(failed)

    def write(self, part: Part, more: dict[str, list[Any]]) -> None:
        """Write some rows.

        Parameters
        ----------
        part : Part
        more : dict of str to list
            Additional columns.

        Raises
        ------
        ValueError
            In Parquet, if the type of a column differs from that in the first part.
        """
        with nullcontext() if self._new is None else self._new.named_errors():
            if self._parquet:
                self._write_parquet(part, more)
                return
            extra, decimal = zip(*more.values(), strict=True), part.table.decimal
            rows = (
                [_cell(value, decimal) for value in chain(row, others)]
                for row, others in zip(part.rows, extra, strict=True)
            )
            self._csv.writerows(rows)

    def _write_parquet(self, part: Part, more: dict[str, list[Any]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if isinstance(part.rows, ArrowRows):
            columns = list(part.rows.batch.columns)
        else:
            pairs = zip(part.table.names, part.table.columns, strict=True)
            columns = [
                pa.array(column if name in self.measured else whole(column), from_pandas=True)
                for name, column in pairs
            ]
        columns += [pa.array(values) for values in more.values()]
        table = pa.table(columns, names=self.names)
        if self._file is None:
            assert self._new is not None  # standard output takes no Parquet
            self._schema = table.schema
            self._file = pq.ParquetWriter(self._new.written, self._schema)
            self._files.callback(self._file.close)
        try:
            self._file.write_table(table.cast(self._schema))
        except (pa.ArrowInvalid, ValueError) as error:
            first = str(error).split("\n")[0]
            raise ValueError(
                f"--out {self.out}: a column has another type further down ({first}); "
                "write CSV instead"
            ) from None


def whole(column: np.ndarray) -> np.ndarray:
    """Convert a column of integral numbers to integers, with None if missing; return others as is.

    The result is an object array if values are missing, otherwise int64.
    """
    if column.dtype.kind != "f":
        return column
    gaps = np.isnan(column)
    there = column[~gaps]
    if not (np.array_equal(there, np.floor(there)) and (np.abs(there) < 2.0**53).all()):
        return column
    found = np.full(len(column), None, object)
    found[~gaps] = there.astype(np.int64).tolist()
    return found if gaps.any() else column.astype(np.int64)


def _cell(value: Any, decimal: str) -> Any:
    """A value as written: an empty string for None and NaN, dates with times in ISO 8601.

    Numbers have the decimal sign of the table, since its other columns keep theirs.
    """
    if value is None or value != value:
        return ""
    if decimal == "," and isinstance(value, float):
        return str(value).replace(".", ",")
    return value.isoformat(" ") if hasattr(value, "hour") else value
