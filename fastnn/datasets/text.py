"""Text of a file: decompression and decoding."""

from __future__ import annotations

import codecs
import importlib
import io
import re
import zipfile
from pathlib import Path
from typing import IO

PACKED = (".gz", ".bz2", ".xz", ".zip")

# First bytes of files that are not text tables, and what they are.
_OTHERS = (
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet; save the sheet as CSV"),
    (b"PAR1", "a Parquet file; let its name end in .parquet"),
    (b"\x93NUMPY", "a NumPy array; save it with numpy.savez"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite", "a database"),
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PACKERS = ((b"\x1f\x8b", "gzip"), (b"BZh", "bz2"), (b"\xfd7zXZ", "lzma"))
_OPTION = "name another with --encoding (encoding=)"


def read_text(path: Path, encoding: str | None) -> tuple[str, list[str]]:
    r"""Read the text of a file, with ``\n`` as line ends.

    Parameters
    ----------
    path : Path
        The file may be compressed with gzip, bzip2 or xz, or be the only file in a ZIP archive.
    encoding : str, optional
        Default: by byte-order mark, else UTF-16 if nearly every other byte is zero, else UTF-8,
        else Windows-1252, else Latin-1.

    Returns
    -------
    text : str
    notes : list of str
        The encoding, if it was guessed.

    Raises
    ------
    ValueError
        If the file is not text, or not in this encoding.
    """
    text, _, notes = decoded(_unpacked(path.read_bytes(), path), path, encoding)
    return text, notes


def decoded(raw: bytes, path: Path, encoding: str | None) -> tuple[str, str, list[str]]:
    """Decode bytes; return the text, its encoding, and a note if the encoding was guessed.

    Parameters and errors are those of :func:`read_text`.
    """
    notes: list[str] = []
    for start, what in _OTHERS:
        if raw.startswith(start):
            raise ValueError(f"{path}: is {what}")
    try:
        if encoding is None:
            encoding, text, notes = _guess(raw, path)
        else:
            text = raw.decode(encoding)
    except LookupError:
        raise ValueError(f"encoding: there is no {encoding!r} (utf-8, latin-1, utf-16)") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: not text in {error.encoding} ({error.reason}); {_OPTION}"
        ) from None
    if "\0" in text:
        raise ValueError(f"{path}: not a text file, or not in {encoding}; {_OPTION}")
    text = text.removeprefix("\ufeff")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text[:200].lstrip()[:1] == "<" and ">" in text:
        raise ValueError(f"{path}: is a page of HTML or XML, not a table")
    if re.match(r"\s*(\{\s*\"|\[\s*[\[{])", text[:200]):
        raise ValueError(f"{path}: is JSON; of a list of records pandas.read_json makes a table")
    return text, encoding, notes


def open_unpacked(path: Path) -> IO[bytes]:
    """Open a file for reading in parts; gzip, bzip2 and xz are decompressed."""
    with open(path, "rb") as file:
        start = file.read(6)
    for mark, module in _PACKERS:
        if start.startswith(mark):
            return importlib.import_module(module).open(path, "rb")
    return open(path, "rb")


def _unpacked(raw: bytes, path: Path) -> bytes:
    """Decompress the contents of a file if they are compressed."""
    if raw.startswith(b"PK\x03\x04"):
        return _out_of_zip(raw, path)
    for start, module in _PACKERS:
        if raw.startswith(start):
            try:
                return importlib.import_module(module).decompress(raw)
            except Exception as error:  # the modules raise different types
                raise ValueError(f"{path}: damaged: cannot be unpacked ({error})") from None
    return raw


def _out_of_zip(raw: bytes, path: Path) -> bytes:
    """Contents of the only file in a ZIP archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = [n for n in archive.namelist() if not n.startswith("__MACOSX/")]
            sheet = "[Content_Types].xml" in names or "mimetype" in names
            contents = archive.read(names[0]) if len(names) == 1 and not sheet else b""
    except Exception as error:  # zipfile raises many types of exceptions for damaged files
        raise ValueError(f"{path}: damaged: cannot be unpacked ({error})") from None
    if sheet:
        raise ValueError(
            f"{path}: is a spreadsheet; save the sheet as CSV, or let its name end in .xlsx"
        )
    if len(names) != 1:
        raise ValueError(f"{path}: is a ZIP archive of {len(names)} files; unpack it and name one")
    return contents


def _guess(raw: bytes, path: Path) -> tuple[str, str, list[str]]:
    """Guess the encoding; return it, the text, and a note if it is uncertain."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return encoding, raw.decode(encoding), []
    head = raw[:4096]
    if b"\0" in head:
        # UTF-16 without a byte-order mark: most characters have one zero byte.
        even, odd = head[::2].count(0), head[1::2].count(0)
        if max(even, odd) > 0.8 * len(head) / 2 and min(even, odd) == 0:
            encoding = "utf-16-le" if odd > even else "utf-16-be"
            return (
                encoding,
                raw.decode(encoding),
                [f"{path.name} is read as UTF-16 without a mark; {_OPTION}"],
            )
        raise ValueError(f"{path}: not a text file (it has zero bytes); {_OPTION}")
    try:
        return "utf-8", raw.decode("utf-8"), []
    except UnicodeDecodeError as error:
        bad = error.start
    if set(raw) & {*range(9), *range(14, 27), 127}:
        raise ValueError(f"{path}: not a text file (byte {bad + 1} is not UTF-8); {_OPTION}")
    line = raw.count(b"\n", 0, bad) + 1
    try:
        encoding, name, text = "cp1252", "Windows-1252 (Latin-1)", raw.decode("cp1252")
    except UnicodeDecodeError:
        encoding, name, text = "latin-1", "Latin-1", raw.decode("latin-1")
    note = f"{path.name} is read as {name}, as line {line} is not UTF-8; {_OPTION}"
    return encoding, text, [note]
