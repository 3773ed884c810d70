"""Numbers in the cells of a text file: signs, currencies, units, times and durations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

_SYMBOLS = "[$€£¥₹₽₩₺₪₫₴₦฿₱₸]"
_BEFORE = rf"(?:US|CA|C|AU|A|NZ|HK|S|R)\$|Rs\.?|{_SYMBOLS}"


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
