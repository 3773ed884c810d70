"""Types of the settings of several commands: ranges of numbers, and values given as text."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from fastnn.backends import codes
from fastnn.fields import OneOf


def _split(value: Any) -> Any:
    """Convert ``"8,8"`` to a list, ``"none"`` to an empty list, a number to ``[number]``.

    Other values are returned unchanged.
    """
    if isinstance(value, str):
        value = value.strip()
        if not value:
            raise ValueError("name at least one, or none")
        return [] if value == "none" else [item.strip() for item in value.split(",")]
    return [value] if isinstance(value, (int, float)) else value


def number_or_text(value: Any) -> Any:
    """Convert an integer, such as a column position in a TOML file, to a string."""
    return str(value) if isinstance(value, int) else value


Units = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Quantile = Annotated[float, Field(gt=0, lt=1)]
ColumnName = Annotated[str, BeforeValidator(number_or_text)]
Activation = Annotated[str, OneOf(codes.ACTIVATIONS)]
CommaSeparated = BeforeValidator(_split)
