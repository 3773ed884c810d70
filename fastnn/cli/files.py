"""Options that say how a file is to be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fastnn.fields import SettingsModel, setting

FILE = "File"  # panel of the help


class FormatSettings(SettingsModel):
    """How a text file is laid out; None leaves it to be found."""

    header: bool | None = setting(
        "Whether the first line of a text file has the columns' names.",
        "by comparing it with the next lines",
        panel=FILE,
    )
    separator: str | None = setting(
        "Between the values of a text file: a character, tab or blank.",
        "the one that splits the lines best",
        panel=FILE,
        metavar="SIGN",
    )
    decimal: str | None = setting(
        "Decimal sign of a text file: . or ,", "by the values", panel=FILE, metavar="SIGN"
    )
    encoding: str | None = setting(
        "Encoding of a text file, as utf-8, latin-1, utf-16.",
        "utf-8, else latin-1; by its mark",
        panel=FILE,
        metavar="NAME",
    )


class FileSettings(FormatSettings):
    """How a file becomes data to train with."""

    ignore: list[str] | None = setting(
        "A column to leave out; repeat for more.", "none", panel=FILE, metavar="COLUMN"
    )
    keep_index: bool | None = setting(
        "Whether to keep columns that only count or name the rows.", "off", panel=FILE
    )
    column: list[str] | None = setting(
        "What a column is, as NAME=category: number, boolean, category, date or drop; repeat for "
        "more.",
        "by its values",
        panel=FILE,
        metavar="NAME=KIND",
    )
    gaps: Literal["fill", "drop", "error"] | None = setting(
        "What to do about missing values: fill them (the median, and a column that says where), "
        "drop their rows, or error.",
        "fill",
        panel=FILE,
        metavar="NAME",
    )


def format_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of :func:`fastnn.datasets.load_features` out of settings by name."""
    return {name: given.get(name) for name in FormatSettings.model_fields}


def file_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of :func:`fastnn.datasets.load` out of settings by name."""
    return {
        **format_of(given),
        "ignore": given.get("ignore") or (),
        "keep_index": bool(given.get("keep_index")),
        "gaps": "error" if given.get("gaps") == "error" else "drop",
    }
