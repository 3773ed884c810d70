"""Interpretation of the cells of a text file: numbers, truth values, dates, missing values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from datetime import datetime

# Notations of a missing value, in lower case: in any column, and in numeric columns, where signs
# such as "-" cannot be the name of a class.
GAPS = frozenset(
    {"", "na", "n/a", "n.a.", "#n/a", "nan", "<na>", "nat", "null", "none", "?", "missing", "\\n"}
    | {"(null)", "#na", "#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!"}  # spreadsheets
)
NUMBER_GAPS = GAPS | {"-", "--", "---", ".", "..", "...", "*", "nr", "nd", "n.d.", "nil"}

TRUTH = (("true", "false"), ("yes", "no"), ("t", "f"), ("y", "n"), ("on", "off"))

_SYMBOLS = "[$€£¥₹₽₩₺₪₫₴₦฿₱₸]"
_BEFORE = rf"(?:US|CA|C|AU|A|NZ|HK|S|R)\$|Rs\.?|{_SYMBOLS}"
_DATE = re.compile(
    r"(?:1[89]|2[01])\d\d-(?:0[1-9]|1[0-2])|"
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?(?:Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)


def _number_pattern(point: str, thousands: str) -> re.Pattern[str]:
    # The first group of digits is no 0: 0,126 has a decimal comma. Indian groups: 1,23,456.
    groups = rf"[1-9]\d{{0,2}}(?:[{thousands}]\d{{3}})+|[1-9]\d?(?:,\d\d)+,\d{{3}}|\d+"
    if point == ",":
        groups = groups.replace(",\\d", "[.]\\d")
    return re.compile(
        rf"(?P<open>\()?(?P<sign>[-+\u2212])?\s?(?P<before>{_BEFORE})?\s?(?P<sign2>[-+\u2212])?"
        rf"(?:(?P<whole>{groups})(?:{point}(?P<part>[-\u2013]{{1,2}}|\d*))?|{point}(?P<only>\d+))"
        rf"(?P<power>[eE][-+]?\d+)?(?P<after>-)?\s?(?P<unit>%|{_SYMBOLS})?(?P<close>\))?",
        re.ASCII,
    )


_NUMBERS = {
    ".": _number_pattern(r"\.", ",'\u2019\u00a0\u202f\u2009 "),
    ",": _number_pattern(",", ".'\u2019\u00a0\u202f\u2009 "),
}


# A unit behind a number, or the code of a currency before it; times and durations.
_UNIT = re.compile(
    r"(?P<number>[^a-z]*?\d[.,]?)\s?"
    r"(?P<unit>\u00b0?[^\W\d_]{1,8}[\u00b2\u00b323]?(?:/\d{0,4}[^\W\d_]{1,4}[\u00b2\u00b323]?)?|\u00b0)",
    re.IGNORECASE,
)
_CURRENCY = re.compile(
    r"(?P<unit>AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|INR|JPY|NOK|NZD|PLN|SEK|USD)\s(?P<number>\S+)"
)
_TIME = re.compile(
    r"(?P<hours>\d{1,3}):(?P<minutes>[0-5]\d)(?::(?P<seconds>[0-5]\d(?:\.\d+)?))?"
    r"(?:\s?(?P<half>[ap])\.?m\.?)?",
    re.ASCII | re.IGNORECASE,
)
_HOURS = re.compile(
    r"(?P<hours>\d+)\s?h\s?(?P<minutes>\d{1,2})\s?m(?:in)?", re.ASCII | re.IGNORECASE
)
_DURATION = re.compile(  # of pandas: -1 days +23:59:00; of Python: 1 day, 2:03:04
    r"(-?\d+) days?(?:,? \+?(\d\d?):(\d\d):(\d\d(?:\.\d+)?))?", re.ASCII
)
# Multipliers of numbers, and units that are converted to each other: base unit, size.
MULTIPLIERS = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "mn": 1e6, "bn": 1e9, "Mio": 1e6, "Mrd": 1e9}
MULTIPLIERS |= {"thousand": 1e3, "million": 1e6, "billion": 1e9}
_SIZES = {
    **{unit: ("g", size) for unit, size in {"mg": 1e-3, "g": 1.0, "kg": 1e3}.items()},
    **{unit: ("m", size) for unit, size in {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3}.items()},
    **{unit: ("l", size) for unit, size in {"ml": 1e-3, "mL": 1e-3, "l": 1.0, "L": 1.0}.items()},
    **{
        unit: ("s", size) for unit, size in {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}.items()
    },
    **{unit: ("B", size) for unit, size in {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}.items()},
}
TIME = ":"  # the "unit" of times such as 13:30, which are read as hours


class Parsed(NamedTuple):
    """A column of strings converted to numbers.

    Attributes
    ----------
    values : ndarray of float64
        NaN for missing values; empty if a cell could not be converted.
    how : str or None
        Description of the conversion; None for plain numbers.
    bad : int or None
        Index of the first cell that could not be converted.
    words : bool
        Whether most different cells could not be converted, so that the column is text.
    usual : str or None
        An example of a cell that could be converted, if ``bad`` is an exception.
    """

    values: np.ndarray
    how: str | None = None
    bad: int | None = None
    words: bool = False
    usual: str | None = None


def is_missing(cell: str) -> bool:
    """Whether a cell means a missing value in a numeric column."""
    return cell.lower() in NUMBER_GAPS


def kind(cell: str) -> str:
    """Kind of a single cell: "gap", "number", "truth", "date" or "text"."""
    if is_missing(cell):
        return "gap"
    if parse_number(cell, ".") is not None or parse_number(cell, ",") is not None:
        return "number"
    if any(cell.lower() in pair for pair in TRUTH):
        return "truth"
    return "date" if is_date(cell) else "text"


def is_date(cell: str) -> bool:
    """Whether a cell has the form of an ISO 8601 date, with or without a time."""
    return _DATE.fullmatch(cell) is not None


def parse_date(cell: str) -> datetime | None:
    """Parse an ISO 8601 date as an aware datetime, in UTC if it names no time zone.

    Returns None for anything else, including impossible dates such as 31 February.
    """
    from datetime import UTC, datetime

    if not is_date(cell):
        return None
    try:
        found = datetime.fromisoformat(cell if len(cell) > 7 else f"{cell}-01")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def plain_number(cell: str) -> float | None:
    """Parse a number in Python's notation, except for underscores as in 1_000; None if invalid."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def parse_number(cell: str, decimal: str) -> tuple[float, str] | None:
    """Parse a number that may have thousands separators and a currency or percent sign.

    Returns
    -------
    (float, str) or None
        The number and the sign ("" if there is none); None if the cell is not a number. The
        number is not divided by 100 for a percent sign.
    """
    if decimal == "." or not ({".", ","} & set(cell)):
        value = plain_number(cell)
        if value is not None:
            return value, ""
    found = _NUMBERS[decimal].fullmatch(cell)
    if found is None:
        return _days(cell) if "day" in cell else None
    part = found.groupdict(default="")
    signs = part["sign"] + part["sign2"] + part["after"] + ("-" if part["open"] else "")
    if part["before"] and part["unit"]:
        return None
    if len(signs) > 1 or bool(part["open"]) != bool(part["close"]):
        return None
    whole = re.sub(r"\D", "", part["whole"])
    fraction = part["part"].strip("-\u2013") or part["only"] or "0"  # 5,- is 5
    value = float(f"{whole or '0'}.{fraction}{part['power']}")
    return -value if signs in ("-", "\u2212") else value, part["before"] + part["unit"]


def _days(cell: str) -> tuple[float, str] | None:
    """Parse a duration as pandas and Python write it, in days."""
    found = _DURATION.fullmatch(cell)
    if found is None:
        return None
    days, hours, minutes, seconds = map(float, found.groups("0"))
    microseconds = round(1e6 * (86400 * days + 3600 * hours + 60 * minutes + seconds))
    return microseconds / 86400e6, "days"  # rounded once, as columns of time differences


def parse_quantity(cell: str, decimal: str) -> tuple[float, str] | None:
    """Parse a number as :func:`parse_number`, with a unit, or a time in hours.

    Returns
    -------
    (float, str) or None
        The number and its sign or unit, as in "12 kg", "EUR 12", "2h 30m" (unit "h") or "13:30"
        (unit :data:`TIME`); None if the cell is none of them.
    """
    found = parse_number(cell, decimal)
    if found is not None:
        return found
    time = _TIME.fullmatch(cell) or _HOURS.fullmatch(cell)
    if time is not None:
        parts = time.groupdict()
        hours, half = int(parts["hours"]), parts.get("half")
        if half and not 1 <= hours <= 12:
            return None
        if half:
            hours = hours % 12 + (12 if half.lower() == "p" else 0)
        seconds = 60 * int(parts["minutes"]) + float(parts.get("seconds") or 0)
        return hours + seconds / 3600, TIME if ":" in cell else "h"
    quantity = _CURRENCY.fullmatch(cell) or _UNIT.fullmatch(cell)
    if quantity is None:
        return None
    found, unit = parse_number(quantity["number"].rstrip(), decimal), quantity["unit"]
    if found is None:
        return None
    apart = cell[quantity.end("number") :][:1].isspace()
    if unit in MULTIPLIERS and (len(unit) > 1 or not apart):  # 300 K are kelvins
        return found[0], f"{found[1]}*{unit}"
    return None if found[1] else (found[0], unit)


def _measure(unit: str) -> tuple[str, float]:
    """The base unit of a unit, and its size in base units; "$*M" is 1e6 "$", "$*" is "$"."""
    base, times, word = unit.partition("*")
    return (base, MULTIPLIERS.get(word, 1.0)) if times else _SIZES.get(unit, (unit, 1.0))


def in_unit(value: float, unit: str, wanted: str) -> float | None:
    """Convert a value in one unit to another one; None if they do not measure the same.

    A number without a unit has the wanted one.
    """
    if unit == "" or unit.replace("*", "") == wanted:  # "k" is a unit in files of early versions
        return value
    (base, size), (wanted_base, wanted_size) = _measure(unit), _measure(wanted)
    if base != wanted_base and not (base == "" and "*" in unit):
        return None
    return value * (size / wanted_size)


def prevailing_unit(units: Mapping[str, int]) -> str:
    """The unit in which to express numbers, given the frequencies of their units ("" is none).

    The most frequent unit of the most frequent kind; a currency sign, if any, and "*" if a tenth of
    the numbers have multipliers as in "1.5M".
    """
    kinds: Counter[str] = Counter()
    for unit, count in units.items():
        kinds[_measure(unit)[0]] += count
    if 10 * sum(count for unit, count in units.items() if "*" in unit) >= sum(units.values()):
        return max(kinds, key=lambda kind: (kind != "", kinds[kind])) + "*"
    kind = max(kinds, key=lambda kind: kinds[kind])
    return max((unit for unit in units if _measure(unit)[0] == kind), key=lambda unit: units[unit])


def same_but_case(words: Iterable[str]) -> str | None:
    """Description of two words that differ in upper and lower case only; None if none do."""
    first: dict[str, str] = {}
    for word in words:
        other = first.setdefault(word.lower(), word)
        if other != word:
            return f"{other!r} and {word!r} differ in case only"
    return None


def decimal_sign(cells: Iterable[str], separator: str) -> str | None:
    """Detect the decimal sign from cells; None if they show neither sign or both.

    A comma as in ``1,5`` is a decimal sign. In ``1,234`` it may separate thousands; it is taken as
    a decimal sign only if the cells are not separated by commas and no cell has a decimal point.
    """
    commas = points = doubtful = 0
    for cell in cells:
        if "," in cell or "." in cell:
            with_point = parse_number(cell, ".") is not None
            with_comma = parse_number(cell, ",") is not None
            points += with_point and (not with_comma or cell.count(",") > 1)
            commas += with_comma and not with_point
            doubtful += with_point and with_comma and "," in cell
    if commas and points:
        return None
    if commas or (doubtful and not points and separator != ","):
        return ","
    return "." if points else None


def own_decimal_sign(column: Iterable[str | None], otherwise: str) -> str:
    """Decimal sign that the cells of one column show; ``otherwise`` if they show none or both."""
    some = islice((cell for cell in dict.fromkeys(column) if isinstance(cell, str)), 1000)
    return decimal_sign(some, ",") or otherwise


def parse(column: Sequence[str | None], decimal: str = ".", units: bool = False) -> Parsed:
    """Convert a column of strings to numbers, if all can be read as the same kind.

    The kinds are truth values, numbers and dates.

    Parameters
    ----------
    column : sequence of str or None
        Stripped cells; None is a missing value.
    decimal : {".", ","}
        Decimal sign.
    units : bool
        Whether numbers may have units (:func:`parse_quantity`).

    Returns
    -------
    Parsed
    """
    # Keep the order of the column, so that messages do not depend on hash values.
    different = {
        cell: 0 for cell in dict.fromkeys(column) if cell is not None and not is_missing(cell)
    }
    for way in (_truth, _numbers, _dates):
        table, how = way(different.keys(), decimal, units)
        if len(table) == len(different):
            return Parsed(_filled(column, table), how)
        if table and 2 * len(table) >= len(different):  # the remaining cells are exceptions
            break
    else:
        table = {}
    bad = next(k for k, cell in enumerate(column) if cell in different and cell not in table)
    return Parsed(np.empty(0), None, bad, not table, next(iter(table), None))


def _filled(column: Sequence[str | None], table: dict[str, float]) -> np.ndarray:
    """Look up the number of each cell; NaN if ``table`` does not have it."""
    nan = float("nan")
    return np.fromiter(
        [nan if cell is None else table.get(cell, nan) for cell in column], np.float64, len(column)
    )


def _truth(
    cells: Collection[str], decimal: str, units: bool
) -> tuple[dict[str, float], str | None]:
    """Map truth values to 1 and 0, with a description; other cells are left out."""
    if len(cells) > 16:  # more than the upper and lower case spellings of two words
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


def _numbers(
    cells: Collection[str], decimal: str, units: bool
) -> tuple[dict[str, float], str | None]:
    """Map cells to numbers, with a description; other cells are left out.

    If there are several signs, only the cells with the most frequent one are included. Units are
    converted to each other.
    """
    if decimal == "." and not any("_" in cell for cell in cells):
        try:
            return dict(zip(cells, map(float, cells), strict=True)), None
        except ValueError:
            pass
    parse_one = parse_quantity if units else parse_number
    found = {cell: pair for cell in cells if (pair := parse_one(cell, decimal)) is not None}
    if not found:
        return {}, None
    counts = Counter(unit for _, unit in found.values())
    if units:
        wanted = prevailing_unit(counts)
        values = {cell: in_unit(*pair, wanted) for cell, pair in found.items()}
        table = {cell: value for cell, value in values.items() if value is not None}
    else:
        usual = counts.most_common(1)[0][0]
        table = {cell: value for cell, (value, unit) in found.items() if unit == usual}
    shown = max((cell for cell in table if plain_number(cell) is None), default=None, key=len)
    return table, None if shown is None else f"{shown!r} read as {table[shown]:.15g}"


def _dates(
    cells: Collection[str], decimal: str, units: bool
) -> tuple[dict[str, float], str | None]:
    """Map dates to days since 1970-01-01 00:00 UTC, with a description; other cells are left out.

    Dates without a time zone are taken as UTC.
    """
    from datetime import UTC, datetime

    start, table = datetime(1970, 1, 1, tzinfo=UTC), {}
    for cell in cells:
        found = parse_date(cell)
        if found is not None:
            table[cell] = (found - start).total_seconds() / 86400
    return table, "dates read as days since 1970-01-01" if table else None
