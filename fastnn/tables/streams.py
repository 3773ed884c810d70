"""Reading of tables in parts, from files or standard input.

A part contains the cells as in the file, to be written with additional columns, and the same cells
as columns for the encoding. Delimited text is decoded and split as for training.
"""

from __future__ import annotations

import lzma
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from fastnn.datasets.delimited import checked_rows, column_of, is_unnamed
from fastnn.datasets.layout import Format, Layout, find_layout
from fastnn.datasets.reading import TEXT, arrow_column, read, suffix_of, without_pandas_types
from fastnn.datasets.table import Table
from fastnn.datasets.text import decoded, open_unpacked
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
            batch = without_pandas_types(batch)
            columns = [arrow_column(chunked_array([column])) for column in batch.columns]
            rows = ArrowRows(batch)
            yield Part(Table(path, names, columns), rows, done)

    return Stream(names, parts, total=file.metadata.num_rows, close=file.close)


class ArrowRows(Sequence):
    """Rows of a pyarrow batch, converted on access."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch)

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __iter__(self) -> Iterator[Any]:
        return zip(*(column.to_pylist() for column in self.batch.columns), strict=True)
