"""What comes in is named where scikit-learn's checks, or Python, do not say what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastnn.validation import refuse_dates, refuse_masked

# Words of Python and of other libraries about a single value.
_UNNAMED = re.compile(r"not supported between|unhashable|float\(\) argument|ScalarType")

_OF_ONE_VALUE = ("setting an array element", "could not convert")


def refuse_unusable(name: str, value: Any, is_label: bool = False) -> None:
    """Raise for masked entries, and for dates unless they are labels."""
    refuse_masked(name, value)
    if not is_label:
        refuse_dates(name, value)


@contextmanager
def named(what: str) -> Iterator[None]:
    """Context in which errors of conversions say of what, as ValueError or TypeError."""
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
