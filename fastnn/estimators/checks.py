"""Checks and error messages that name the argument where scikit-learn's do not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastnn.validation import refuse_dates, refuse_masked

# Parts of messages of Python and other libraries about a single value.
_UNNAMED = re.compile(r"not supported between|unhashable|float\(\) argument|ScalarType")

_OF_ONE_VALUE = ("setting an array element", "could not convert")


def refuse_unusable(name: str, value: Any, is_label: bool = False) -> None:
    """Raise for masked entries, and for dates unless they are labels."""
    refuse_masked(name, value)
    if not is_label:
        refuse_dates(name, value)


@contextmanager
def named(what: str) -> Iterator[None]:
    """Context in which conversion errors become ValueError or TypeError that name ``what``."""
    try:
        yield
    except (OverflowError, RuntimeError, ValueError) as error:
        if isinstance(error, ValueError) and not str(error).startswith(_OF_ONE_VALUE):
            raise
        raise ValueError(f"{what} cannot be converted to numbers: {error}") from None
    except TypeError as error:
        if not _UNNAMED.search(str(error)):
            raise
        raise TypeError(f"{what} has values of a wrong type or of several types: {error}") from None
