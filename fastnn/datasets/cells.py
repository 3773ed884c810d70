"""What the cells of a text file stand for: numbers, truth values, dates, gaps."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from datetime import datetime

# How files write that a value is not there: among words, and among numbers, where a sign alone
# stands for no class.
GAPS = frozenset(
    {"", "na", "n/a", "n.a.", "#n/a", "nan", "<na>", "nat", "null", "none", "?", "missing"}
)
NUMBER_GAPS = GAPS | {"-", "--", "---", ".", "..", "...", "*", "nr", "nd", "n.d.", "nil"}

TRUTH = (("true", "false"), ("yes", "no"), ("t", "f"), ("y", "n"), ("on", "off"))

_SYMBOLS = "$€£¥"
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII
)


def _number_pattern(point: str, thousands: str) -> re.Pattern[str]:
    groups = rf"(?P<whole>\d{{1,3}}(?:[{thousands}]\d{{3}})+|\d+)"
    return re.compile(
        rf"(?P<open>\()?(?P<sign>[-+\u2212])?\s?(?P<before>[{_SYMBOLS}])?\s?(?P<sign2>[-+\u2212])?"
        rf"(?:{groups}(?:{point}(?P<part>\d*))?|{point}(?P<only>\d+))(?P<power>[eE][-+]?\d+)?"
        rf"\s?(?P<unit>[%{_SYMBOLS}])?(?P<close>\))?",
        re.ASCII,
    )


_NUMBERS = {
    ".": _number_pattern(r"\.", ",'\u00a0\u202f "),
    ",": _number_pattern(",", ".'\u00a0\u202f "),
}


class Parsed(NamedTuple):
    """A column of texts as numbers.

    Attributes
    ----------
    values : ndarray of float64
        NaN for gaps; empty if there is a bad cell.
    how : str or None
        In which way, if not as plain numbers.
    bad : int or None
        The first cell that is nothing of the kind.
    words : bool
        Whether ``bad`` is one of many: the column is one of words.
    usual : str or None
        A cell that is unlike ``bad``, if there is.
    """

    values: np.ndarray
    how: str | None = None
    bad: int | None = None
    words: bool = False
    usual: str | None = None


def is_gap(cell: str) -> bool:
    """Whether a cell stands for nothing, among numbers."""
    return cell.lower() in NUMBER_GAPS


def kind(cell: str) -> str:
    """What a single cell looks like: gap, number, truth, date or text."""
    if is_gap(cell):
        return "gap"
    if parse_number(cell, ".") is not None or parse_number(cell, ",") is not None:
        return "number"
    if any(cell.lower() in pair for pair in TRUTH):
        return "truth"
    return "date" if is_date(cell) else "text"


def is_date(cell: str) -> bool:
    """Whether a cell looks like a date, with or without a time, as ISO 8601 writes them."""
    return _DATE.fullmatch(cell) is not None


def moment(cell: str) -> datetime | None:
    """A date as a time of UTC; None if it is none, as the 31st of February."""
    from datetime import UTC, datetime

    if not is_date(cell):
        return None
    try:
        found = datetime.fromisoformat(cell)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def plain_number(cell: str) -> float | None:
    """A number as Python writes it; not 1_000, which Python reads too."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def parse_number(cell: str, decimal: str) -> tuple[float, str] | None:
    """A number with thousands separators, a sign of currency or percent; and that sign."""
    if decimal == "." or not ({".", ","} & set(cell)):
        value = plain_number(cell)
        if value is not None:
            return value, ""
    found = _NUMBERS[decimal].fullmatch(cell)
    if found is None:
        return None
    part = found.groupdict(default="")
    symbols = part["before"] + part["unit"]
    signs = part["sign"] + part["sign2"] + ("-" if part["open"] else "")
    if len(symbols) > 1 or len(signs) > 1 or bool(part["open"]) != bool(part["close"]):
        return None
    whole = re.sub(r"\D", "", part["whole"])
    value = float(f"{whole or '0'}.{part['part'] or part['only'] or '0'}{part['power']}")
    return -value if signs in ("-", "\u2212") else value, symbols


def decimal_sign(cells: Iterable[str], separator: str) -> str | None:
    """The decimal sign that cells show; None if they show none or both.

    A comma in ``1,5`` is one; in ``1,234`` it may separate thousands, unless a semicolon or a tab
    separates the cells, as it does where commas are decimal signs.
    """
    commas = points = doubtful = 0
    for cell in cells:
        if "," in cell:
            if parse_number(cell, ".") is None:
                commas += parse_number(cell, ",") is not None
            else:
                doubtful += "." not in cell and cell.count(",") == 1
                points += "." in cell
        elif "." in cell and parse_number(cell, ".") is not None:
            points += parse_number(cell, ",") is None
    if commas and points:
        return None
    if commas or (doubtful and not points and separator != ","):
        return ","
    return "." if points else None


def parse(column: Sequence[str | None], decimal: str = ".") -> Parsed:
    """A column of texts as numbers, in whichever way all of them can be read.

    Parameters
    ----------
    column : sequence of str or None
        Stripped cells; None is a gap.
    decimal : {".", ","}

    Returns
    -------
    Parsed
    """
    # In the order of the column, so that messages do not depend on hashes.
    different = {cell: 0 for cell in dict.fromkeys(column) if cell is not None and not is_gap(cell)}
    for way in (_truth, _numbers, _dates):
        table, how = way(different.keys(), decimal)
        if len(table) == len(different):
            return Parsed(_filled(column, table), how)
        if table and 2 * len(table) >= len(different):  # what is left is the exception
            break
    else:
        table = {}
    bad = next(k for k, cell in enumerate(column) if cell in different and cell not in table)
    return Parsed(np.empty(0), None, bad, not table, next(iter(table), None))


def _filled(column: Sequence[str | None], table: dict[str, float]) -> np.ndarray:
    """The numbers of cells; NaN where there is none."""
    nan = float("nan")
    return np.fromiter(
        [nan if cell is None else table.get(cell, nan) for cell in column], np.float64, len(column)
    )


def _truth(cells: Collection[str], decimal: str) -> tuple[dict[str, float], str | None]:
    """Yes as 1, no as 0."""
    if len(cells) > 16:  # more than there are ways to write two words
        return {}, None
    tables = [
        {cell: 1.0 - pair.index(cell.lower()) for cell in cells if cell.lower() in pair}
        for pair in TRUTH
    ]
    table = max(tables, key=len)
    shown = sorted(table, key=lambda cell: -table[cell])
    if len(set(table.values())) == 2:
        return table, f"{shown[0]}/{shown[-1]} read as 1/0"
    return table, f"{shown[0]} read as {table[shown[0]]:.0f}" if shown else None


def _numbers(cells: Collection[str], decimal: str) -> tuple[dict[str, float], str | None]:
    """Numbers; of several signs of currency or percent those with the most frequent one."""
    if decimal == "." and not any("_" in cell for cell in cells):
        try:
            return dict(zip(cells, map(float, cells), strict=True)), None
        except ValueError:
            pass
    by_symbol: dict[str, dict[str, float]] = {}
    for cell in cells:
        found = parse_number(cell, decimal)
        if found is not None:
            by_symbol.setdefault(found[1], {})[cell] = found[0]
    if not by_symbol:
        return {}, None
    table = max(by_symbol.values(), key=len)
    shown = max((cell for cell in table if plain_number(cell) is None), default=None, key=len)
    return table, None if shown is None else f"{shown!r} read as {table[shown]:.15g}"


def _dates(cells: Collection[str], decimal: str) -> tuple[dict[str, float], str | None]:
    """Days since 1970-01-01 (UTC where a zone is given)."""
    from datetime import UTC, datetime

    start, table = datetime(1970, 1, 1, tzinfo=UTC), {}
    for cell in cells:
        found = moment(cell)
        if found is not None:
            table[cell] = (found - start).total_seconds() / 86400
    return table, "dates read as days since 1970-01-01" if table else None
