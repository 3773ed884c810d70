"""Layout of a text file: separator, comment lines, column names, decimal sign."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from fastnn.datasets import cells

SAMPLE = 200  # lines from which the layout is detected
CELLS = 10_000  # maximum number of cells examined, but at least those of ten lines
MIN_CODE_DIGITS = 4  # minimum number of digits of a code with leading zeros; 07 may be an hour
SEPARATORS = {"tab": "\t", "\\t": "\t", "blank": " ", "blanks": " ", "space": " "}
_NAMES = {"\t": "tabs", " ": "blanks", ",": "commas", ";": "semicolons", "|": "bars"}
COMMENTS = ("#", "%", "//")
_COMMENT = re.compile(r"^[ \t]*(?:#|%|//).*$", re.MULTILINE)


@dataclass(frozen=True)
class Format:
    """Layout of a text file as the user gives it; None means that it is detected.

    Attributes
    ----------
    header : bool or None
        Whether the first line contains the column names.
    separator : str or None
        One character, or "tab" or "blank" (any number of blanks).
    decimal : {".", ",", None}
        Decimal sign.
    encoding : str or None
    usual_decimal : {".", ",", None}
        Decimal sign of the training file, for a file whose cells show none.
    texts : frozenset of str
        Columns that are read as text if a number has leading zeros.
    trained : bool
        Whether a model exists already, so that options of training are not suggested.
    """

    header: bool | None = None
    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    usual_decimal: str | None = None
    texts: frozenset[str] = frozenset()
    trained: bool = False

    def __post_init__(self) -> None:
        separator = self.separator
        if separator is not None:
            separator = SEPARATORS.get(separator.lower(), separator)
            if len(separator) != 1 or separator in '"\n\r' or separator.isalnum():
                raise ValueError(
                    f"separator must be one character as ; or |, tab or blank; "
                    f"got {self.separator!r}"
                )
            object.__setattr__(self, "separator", separator)
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"decimal must be . or ,; got {self.decimal!r}")
        if self.decimal == "," == separator:
            raise ValueError("separator and decimal must differ; both are ','")


@dataclass(frozen=True)
class Layout:
    """Layout of a text file as detected.

    Attributes
    ----------
    text : str
        Text of the file; lines that are not rows are emptied, which keeps the line numbers.
    separator : str
    names : list of str
        Column names; an unnamed column is "Unnamed: 0", ...
    decimal : str
        Decimal sign.
    sample : list of list of str
        Cells of the first rows.
    notes : list of str
        Decisions, for the user.
    """

    text: str
    separator: str
    names: list[str]
    decimal: str
    sample: list[list[str]]
    notes: list[str]


def find_layout(text: str, wanted: Format, path: Path) -> Layout:
    """Detect the layout of a text.

    Parameters
    ----------
    text : str
    wanted : Format
        Layout given by the user, which is not detected.
    path : Path
        The file, for messages.

    Returns
    -------
    Layout

    Raises
    ------
    ValueError
        If there are no rows, or the names do not match the rows.
    """
    notes: list[str] = []
    text, declared = _without_declaration(text)
    separator = wanted.separator or declared or _separator(_first_lines(text, comments=False))
    text, comment = _without_comments(text, separator)
    first_lines = _first_lines(text, comments=True)
    sample = split_rows(first_lines, separator)
    if not sample:
        raise ValueError(f"{path}: there are no rows; the file is empty or has comments only")
    first, *rows = sample
    header = wanted.header
    names_above = None
    if header is None:
        header = first_line_has_names(first, rows)
        if not header and comment is not None:
            above = next(iter(split_rows([comment[1]], separator)), [])
            if len(above) == len(first) and first_line_has_names(above, [first, *rows]):
                names_above = above
    if header:
        names, line = first, _line_number(text)
        text = _blank_first_line(text, separator)
        how = f"names in line {line} (--no-header if they are values)"
    else:
        rows = [first, *rows]
        names = [str(k) for k in range(len(first))]
        how = "no line of names, columns are 0, 1, ... (--header if line 1 has them)"
    if names_above is not None and comment is not None:
        names, how = names_above, f"names in the comment of line {comment[0]}"
    unclosed = sum(line.count('"') for line in first_lines) % 2 == 1
    names = _fitted(names, rows, separator, path, unclosed)
    decimal = wanted.decimal
    if decimal is None:
        flat = [cell for row in rows for cell in row]
        decimal = cells.decimal_sign(flat, "," if wanted.usual_decimal else separator)
        decimal = decimal or wanted.usual_decimal or "."
    parts = [_NAMES.get(separator, repr(separator)) + " between the values", how]
    if decimal == ",":
        parts.insert(1, "decimal commas (--decimal . if they separate thousands)")
    if wanted.separator is None and declared is None and len(names) == 1:
        parts[0] = "a single column (name the separator with --separator)"
    notes.append(f"{path.name}: " + ", ".join(parts))
    if not wanted.trained:
        notes += _codes_read_as_numbers(names, rows, wanted.texts)
    return Layout(text, separator, names, decimal, rows, notes)


def _codes_read_as_numbers(
    names: Sequence[str], rows: Sequence[Sequence[str]], texts: Collection[str]
) -> list[str]:
    """Notes about columns of digits with leading zeros, such as postal codes."""
    notes = []
    complete = [row for row in rows if len(row) == len(names)]
    for name, column in zip(names, zip(*complete, strict=True), strict=False):
        if name in texts:
            continue
        cells_there = [cell for cell in column if cell]
        widths = set(map(len, cells_there))
        if (
            len(widths) == 1
            and min(widths) >= MIN_CODE_DIGITS
            and all(map(str.isdecimal, cells_there))
        ):
            example = next((cell for cell in cells_there if cell[0] == "0" < max(cell)), None)
            if example is not None:
                notes.append(
                    f"column {name!r}: {example} is read as {int(example)}, without the zeros "
                    f"(--column {name}=category takes the values as categories)"
                )
    return notes


def split_rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Split lines into stripped cells; blank lines are left out."""
    if separator == " ":
        lines = [line.replace("\t", " ").strip(" ") for line in lines]
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in reader if any(row) or len(row) > 1]


def _first_lines(text: str, *, comments: bool) -> list[str]:
    """First :data:`SAMPLE` non-blank lines, with or without those that look like comments."""
    lines: list[str] = []
    position = 0
    while len(lines) < SAMPLE and position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        line = text[position:end]
        if line.strip() and (comments or not _COMMENT.match(line)):
            lines.append(line)
        position = end + 1
    if position < len(text) and sum(line.count('"') for line in lines) % 2:
        lines.pop()  # a quoted cell with line breaks may be cut off
    return lines


def _without_declaration(text: str) -> tuple[str, str | None]:
    """Empty a first line such as ``sep=;``, which spreadsheets write; return its separator too."""
    found = re.match(r'\s*"?sep=(.)"?[ \t]*(?=\n|$)', text, re.IGNORECASE)
    if found is None:
        return text, None
    return "\n" * text.count("\n", 0, found.end()) + text[found.end() :], found[1]


def _separator(lines: Sequence[str]) -> str:
    """Detect the separator.

    The criteria are, in this order: at least 90% of the lines have the same number of cells, and
    the first line as many names (:func:`_fitted`); the former alone; the share of cells that are
    not text (numbers, dates, ...); the share of lines with the same number of cells. On a tie the
    separator that is less likely to be part of a cell is chosen.
    """

    def merit(separator: str) -> tuple[bool, bool, float, float]:
        rows = split_rows(lines, separator)
        names = len(rows[0]) if rows else 0
        rows = rows[1:] or rows
        width, times = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
        if width < 2:
            return False, False, 0.0, 0.0
        flat = [cell for row in rows[: max(10, CELLS // width)] for cell in row]
        something = sum(cells.kind(cell) != "text" for cell in flat) / len(flat)
        share = times / len(rows)
        uniform = share >= 0.9
        return uniform and abs(names - width) <= 1, uniform, round(something, 3), share

    merits = {separator: merit(separator) for separator in "\t;|, "}
    best = max(merits, key=lambda separator: merits[separator])
    return best if merits[best][3] else ","


def _without_comments(text: str, separator: str) -> tuple[str, tuple[int, str] | None]:
    """Empty the comment lines of a text.

    A line within the table that has as many cells as a row is a row whose first cell begins with a
    comment sign.

    Returns
    -------
    text : str
    comment : (int, str) or None
        Line number and text, without the sign, of the last comment above the rows.
    """
    if not any(mark in text for mark in COMMENTS) or not _COMMENT.search(text):
        return text, None
    lines = _first_lines(text, comments=False)
    width = max(map(len, split_rows(lines[-1:], separator)), default=0)
    start = text.find(lines[0]) if lines else len(text)
    last: tuple[int, str] | None = None

    def emptied(match: re.Match[str]) -> str:
        nonlocal last
        bare = match[0].strip().lstrip("#%/").strip()
        rows = split_rows([match[0].strip()], separator)
        if match.start() > start and width > 1 and rows and len(rows[0]) == width:
            return match[0]
        if match.start() < start:
            if match[0].strip().lstrip("#%/").startswith(separator) and separator != " ":
                bare = match[0].strip()  # a line of names whose first column is "#"
            last = text.count("\n", 0, match.start()) + 1, bare
        return ""

    emptied_text = _COMMENT.sub(emptied, text)
    return emptied_text, last if last is not None and last[1] else None


def first_line_has_names(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a line contains the column names, judged by comparison with the next rows.

    Parameters
    ----------
    first : sequence of str
        Cells of the line.
    rows : sequence of sequence of str
        The rows that follow.

    Returns
    -------
    bool
        Each cell of the line is compared with its column. A text above numbers, dates or
        booleans is a name. A cell of the same kind as numbers or dates below it is a value, as is a
        text that occurs again below it, or a boolean above booleans of the same pair. True if
        there are at least as many names as values. Numbers that count the columns, such as
        0, 1, 2, ... or years, are names.
    """
    if not rows:
        return any(cells.kind(cell) in ("text", "boolean") for cell in first)
    if _counts(first) and 2 * sum(_counts(row, anywhere=True) for row in rows) <= len(rows):
        return True
    names = values = 0
    rows = rows[: max(10, CELLS // len(first))]
    for k, cell in enumerate(first):
        column = [row[k] for row in rows if k < len(row)]
        kinds = Counter(cells.kind(other) for other in column)
        del kinds["gap"]
        if not kinds or cell.lower() in cells.GAPS or cell in ("-", "."):
            continue
        usual = kinds.most_common(1)[0][0]
        if usual == "text":
            values += cell in column
        elif usual == "boolean":
            words = {other.lower() for other in column}
            words |= {word for pair in cells.BOOLEANS if words & set(pair) for word in pair}
            same = cell.lower() in words
            names, values = names + (not same), values + same
        else:
            same = cells.kind(cell) == usual
            names, values = names + (not same), values + same
    if names or values:
        return names >= values
    return len(set(first)) == len(first)


def _counts(row: Sequence[str], anywhere: bool = False) -> bool:
    """Whether the numbers in a line are consecutive, as column names may be.

    They must start with 0 or a year from 1900 to 2100, unless ``anywhere``.
    """
    numbers = [int(cell) for cell in row if re.fullmatch("[0-9]{1,9}", cell)]
    if len(numbers) < 3 or any(cells.kind(cell) == "date" for cell in row):
        return False
    if len(numbers) < sum(cells.kind(cell) == "number" for cell in row):
        return False
    start = numbers[0]
    return (anywhere or start == 0 or 1900 <= start <= 2100) and numbers == list(
        range(start, start + len(numbers))
    )


def _line_number(text: str) -> int:
    """Number of the first non-blank line."""
    return text.count("\n", 0, len(text) - len(text.lstrip("\n \t"))) + 1


def _blank_first_line(text: str, separator: str) -> str:
    """Empty the line of names, which has several lines if quoted names contain line breaks."""
    start = text.rfind("\n", 0, len(text) - len(text.lstrip("\n \t"))) + 1
    reader = csv.reader(io.StringIO(text[start : start + (1 << 20)]), delimiter=separator)
    next(reader)
    end = start
    for _ in range(reader.line_num):
        end = text.find("\n", end) + 1 or len(text)
    return "\n" * text.count("\n", 0, end) + text[end:]


def _fitted(
    names: list[str], rows: Sequence[Sequence[str]], separator: str, path: Path, unclosed: bool
) -> list[str]:
    """Match the number of names to that of the cells in a row.

    They may differ by one if the lines end with a separator, or if the first column, which names
    the rows, has no name.
    """
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else len(names)
    last_empty = all(not row[-1] for row in rows if len(row) == width)
    if width == len(names) + 1:
        names = [*names, ""] if last_empty else ["", *names]
    elif width == len(names) - 1 and not names[-1]:
        names = names[:-1]
    elif width != len(names):
        why = "a quotation mark is not closed" if unclosed else "remove lines above the table"
        raise ValueError(
            f"{path}: the line of names has {len(names)} values, the next ones have {width}, with "
            f"{_NAMES.get(separator, repr(separator))} between them: {why}, or name the separator "
            "with --separator (separator=)"
        )
    for k, name in enumerate(names):
        names[k] = normalize("NFC", name)
        if not name:  # pandas uses the same names
            unnamed = f"Unnamed: {k}"
            names[k] = f"{unnamed}.1" if unnamed in names else unnamed
    return names
