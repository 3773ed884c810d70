"""Settings for reading data files, shared by several commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from fastnn.fields import SettingsModel, setting

FILE = "File"  # panel of the help


def _texts(values: Any) -> Any:
    """Numbers in a list, as a TOML file may have them, as text."""
    if not isinstance(values, list):
        return values
    return [str(v) if isinstance(v, (int, float)) else v for v in values]


class FormatSettings(SettingsModel):
    """Layout of a text file; None means that it is detected."""

    header: bool | None = setting(
        "The first line of a text file contains the column names.",
        "detected",
        panel=FILE,
    )
    separator: str | None = setting(
        "Separator of a text file: a character, tab or blank.",
        "detected",
        panel=FILE,
        metavar="SIGN",
    )
    decimal: str | None = setting(
        "Decimal sign of a text file: . or ,", "detected", panel=FILE, metavar="SIGN"
    )
    encoding: str | None = setting(
        "Encoding of a text file, such as utf-8, latin-1, utf-16.",
        "detected: by byte-order mark, utf-8, or latin-1",
        panel=FILE,
        metavar="NAME",
    )


class FileSettings(FormatSettings):
    """Layout of a file, and which columns and rows of it are used for training."""

    ignore: list[str] | None = setting(
        "Column to leave out; can be repeated.", "none", panel=FILE, metavar="COLUMN"
    )
    keep_index: bool | None = setting(
        "Keep columns that only number or name the rows.", "off", panel=FILE
    )
    column: list[str] | None = setting(
        "Kind of a column: number, boolean, category, date or drop; can be repeated.",
        "detected from the values",
        panel=FILE,
        metavar="NAME=KIND",
    )
    missing: Annotated[list[str], BeforeValidator(_texts)] | None = setting(
        "Value that counts as missing, such as -999 or unknown, in all columns or in one; can be "
        "repeated.",
        "empty cells, NA, ? and the like",
        panel=FILE,
        metavar="VALUE|NAME=VALUE",
    )
    gaps: Literal["fill", "drop", "error"] | None = setting(
        "Missing values: fill (with the median, and add an indicator column), drop (leave out the "
        "rows), or error.",
        "fill",
        panel=FILE,
        metavar="NAME",
    )


def format_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Select the layout arguments of :func:`fastnn.datasets.load_features` from settings."""
    return {name: given.get(name) for name in FormatSettings.model_fields}


def file_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Select the file arguments of :func:`fastnn.datasets.load` from settings."""
    return {
        **format_of(given),
        "ignore": given.get("ignore") or (),
        "keep_index": bool(given.get("keep_index")),
        "gaps": "error" if given.get("gaps") == "error" else "drop",
    }
