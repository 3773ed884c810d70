"""Reading and writing of tables in parts, from files or standard input.

A part contains the cells as in the file, to be written with additional columns, and the same cells
as columns for the encoding. Delimited text is decoded and split as for training.
"""

from __future__ import annotations

import csv
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from fastnn.datasets.delimited import checked_rows, column_of, is_unnamed
from fastnn.datasets.layout import Format, Layout, find_layout
from fastnn.datasets.reading import TEXT, arrow_column, read, suffix_of
from fastnn.datasets.table import Table
from fastnn.datasets.text import decoded, open_unpacked
from fastnn.datasets.writing import Replacement
from fastnn.extras import require

STANDARD = "-"  # standard input or output
HEAD = 8 << 20  # bytes at the start from which encoding, separator and names are determined
_ONE_BYTE = ("utf-8", "utf8", "utf-8-sig", "cp1252", "latin-1", "latin1", "iso-8859-1", "ascii")


class Part(NamedTuple):
    """Some consecutive rows of a table.

    Attributes
    ----------
    table : Table
        The rows as columns.
    rows : sequence of sequence of object
        The same rows with their cells as in the file.
    done : int
        Number of bytes or rows of the file read so far.
    """

    table: Table
    rows: Sequence[Sequence[Any]]
    done: int


@dataclass
class Stream:
    """A table that is read in parts.

    Attributes
    ----------
    names : list of str
    separator : str
        Separator of delimited text; a comma for other formats.
    notes : list of str
        Decisions made while reading.
    total : int or None
        Size of the file in bytes (delimited text) or rows; None for standard input.
    unit : {"bytes", "rows"}
        Unit of ``total`` and of ``Part.done``.
    parts : callable
        ``parts(n)`` iterates over the table, with up to ``n`` rows per part.
    close : callable
        Closes the file.
    """

    names: list[str]
    parts: Callable[[int], Iterator[Part]]
    separator: str = ","
    notes: list[str] = field(default_factory=list)
    total: int | None = None
    unit: str = "rows"
    close: Callable[[], object] = lambda: None


def open_stream(source: str, wanted: Format) -> Stream:
    """Open a table for reading in parts.

    Parameters
    ----------
    source : str
        Path of a file, or "-" for delimited text on standard input.
    wanted : Format
        Format specified by the user.

    Returns
    -------
    Stream

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a table.
    """
    if source == STANDARD:
        return _of_text(sys.stdin.buffer, Path("standard input"), wanted, None)
    path = Path(source)
    suffix = suffix_of(path)
    if suffix in TEXT and path.exists() and path.suffix.lower() != ".zip":
        file = open_unpacked(path)
        try:
            return _of_text(file, path, wanted, path.stat().st_size)
        except BaseException:
            file.close()
            raise
    if suffix == ".parquet" and path.exists():
        return _of_parquet(path)
    return _of_table(read(path, wanted))


def _of_table(table: Table) -> Stream:
    """Stream of a table in memory."""
    if table.X is not None:
        names = [f"x{k}" for k in range(table.X.shape[1])]
        columns = list(table.X.T)
    else:
        names, columns = table.names, table.columns
    n = len(columns[0])

    def parts(size: int) -> Iterator[Part]:
        for start in range(0, n, size):
            some = [column[start : start + size] for column in columns]
            rows = list(zip(*(column.tolist() for column in some), strict=True))
            part = Table(table.path, names, some, typed=table.typed, decimal=table.decimal)
            yield Part(part, rows, start + len(rows))

    return Stream(names, parts, notes=table.notes, total=n)


def _of_text(file: IO[bytes], path: Path, wanted: Format, size: int | None) -> Stream:
    """Stream of delimited text; its format is determined from the first ``HEAD`` bytes."""
    try:
        head = file.read(HEAD)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise ValueError(f"{path}: damaged: cannot be unpacked ({error})") from None
    rest: IO[bytes] | None = file if len(head) == HEAD else None
    wide = wanted.encoding is not None and wanted.encoding.lower() not in _ONE_BYTE
    if rest is not None and (wide or b"\0" in head):  # not splittable at b"\n": read all
        head, rest = head + rest.read(), None
    if rest is not None:
        end = head.rfind(b"\n") + 1
        left, head = head[end:], head[:end]
        if not head:
            raise ValueError(f"{path}: no line ends in {HEAD >> 20} MB: not a table of text")
    text, encoding, notes = decoded(head, path, wanted.encoding)
    more: Iterable[str] = ()
    if rest is not None:
        more = _lines(rest, left, encoding, path)
    layout = find_layout(text, wanted, path)
    names = list(layout.names)
    sample = [row for row in layout.sample if len(row) == len(names)]
    while len(names) > 1 and is_unnamed(names[-1]) and all(not row[-1] for row in sample):
        names.pop()  # empty column, due to a separator at the end of each line
        sample = [row[:-1] for row in sample]
    notes += layout.notes
    separator = "\t" if layout.separator == " " else layout.separator

    def parts(n_rows: int) -> Iterator[Part]:
        return _text_parts(layout, names, path, more, n_rows, _position(file))

    close = file.close if size is not None else Stream.close
    return Stream(names, parts, separator, notes, size, "bytes", close)


def _position(file: IO[bytes]) -> Callable[[], int]:
    """Function that returns the number of bytes read from the file, compressed bytes if it is.

    For a file that is not seekable, the function returns 0.
    """
    inner: Any = file
    while hasattr(inner, "fileobj") or hasattr(inner, "_fp"):
        inner = getattr(inner, "fileobj", None) or inner._fp
    return inner.tell if inner.seekable() else lambda: 0


def _lines(file: IO[bytes], left: bytes, encoding: str, path: Path) -> Iterator[str]:
    """Decode the further lines of a text; ``left`` is the start of the first of them."""
    encoding = "utf-8" if encoding.startswith("utf-8") else encoding
    first = left + file.readline()
    try:
        for line in chain([first], file):
            yield line.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not text in {encoding} ({error.reason}) after the first "
            f"{HEAD >> 20} MB; name the encoding with --encoding (encoding=)"
        ) from None
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path}: damaged: cannot be unpacked ({error})") from None


def _text_parts(
    layout: Layout,
    names: list[str],
    path: Path,
    more: Iterable[str],
    n_rows: int,
    position: Callable[[], int],
) -> Iterator[Part]:
    rows = (row[: len(names)] for _, row in checked_rows(layout, path, more))
    found = False
    while some := list(islice(rows, n_rows)):
        found = True
        columns = [
            column_of(np.array([*column, None], object)[:-1], layout.decimal)
            for column in zip(*some, strict=True)
        ]
        table = Table(path, names, columns, typed=False, decimal=layout.decimal)
        yield Part(table, some, position())
    if not found:
        raise ValueError(f"{path}: there are no rows")


def _of_parquet(path: Path) -> Stream:
    pq = require("pyarrow.parquet", "reading Parquet")
    try:
        file = pq.ParquetFile(path)
    except OSError:
        raise
    except Exception as error:  # pyarrow raises its own exception classes
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"{path}: not a Parquet file ({first})") from None
    from pyarrow import chunked_array

    names = list(file.schema_arrow.names)

    def parts(n_rows: int) -> Iterator[Part]:
        done = 0
        for batch in file.iter_batches(batch_size=n_rows):
            done += len(batch)
            columns = [arrow_column(chunked_array([column])) for column in batch.columns]
            rows = _ArrowRows(batch)
            yield Part(Table(path, names, columns), rows, done)

    return Stream(names, parts, total=file.metadata.num_rows, close=file.close)


class _ArrowRows(Sequence):
    """Rows of a pyarrow batch, converted on access."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch)

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __iter__(self) -> Iterator[Any]:
        return zip(*(column.to_pylist() for column in self.batch.columns), strict=True)


# Extensions of other formats: a file of delimited text must not have such a name.
_NOT_WRITTEN = {".arrow", ".bz2", ".feather", ".h5", ".json", ".npy", ".npz", ".ods", ".pkl"}
_NOT_WRITTEN |= {".xls", ".xlsx", ".xz", ".zip", ".zst"}


class Writer:
    """Context manager that writes rows with additional columns; a file is written atomically.

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

    def __enter__(self) -> Writer:
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
            extra = zip(*more.values(), strict=True)
            rows = (
                [_cell(value) for value in chain(row, others)]
                for row, others in zip(part.rows, extra, strict=True)
            )
            self._csv.writerows(rows)

    def _write_parquet(self, part: Part, more: dict[str, list[Any]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if isinstance(part.rows, _ArrowRows):
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


def _cell(value: Any) -> Any:
    """A value as written: an empty string for None and NaN, dates with times in ISO 8601."""
    if value is None or value != value:
        return ""
    return value.isoformat(" ") if hasattr(value, "hour") else value
