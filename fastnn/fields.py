"""Settings as pydantic models: fields with help texts, one-line errors, TOML.

A field is declared once, with its type, bounds, default and help text. The command line generates
an option from it (``fastnn/cli/options.py``).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import core_schema

import fastnn

if TYPE_CHECKING:
    from typing import Self, TypeAlias

    # A field that is None until the settings are completed, and a value afterwards. Its users read
    # completed settings, so type checkers need not require a check for None (as in typeshed).
    MaybeNone: TypeAlias = Any
else:
    MaybeNone = None


class OneOf:
    """A string that must be one of several: ``Annotated[str, OneOf(names)]``.

    Like ``Literal``, but for computed names, which a type checker cannot read.

    Parameters
    ----------
    values : iterable of str
    """

    def __init__(self, values: Iterable[str]) -> None:
        self.values = tuple(values)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.literal_schema(list(self.values))


class Help(NamedTuple):
    """What the help shows for a field, besides its text.

    Attributes
    ----------
    default : object
        Default shown in the help: a value, or a description if it depends on other settings.
    panel : str or None
        Heading of the help under which the field is listed.
    metavar : str or None
        Placeholder of the value; None for its type.
    flag : str or None
        Name of the option; None for the name of the field.
    """

    default: Any
    panel: str | None
    metavar: str | None
    flag: str | None = None


def setting(
    text: str,
    shown: Any = None,
    *,
    default: Any = None,
    panel: str | None = None,
    metavar: str | None = None,
    flag: str | None = None,
    **bounds: Any,
) -> Any:
    """Declare a field with its help.

    Parameters
    ----------
    text : str
        Help text, in full sentences.
    shown : object, optional
        Default shown in the help; by default ``default`` itself.
    default : object, optional
        Value of the field if it is not given; None if it is completed later.
    panel, metavar, flag : str, optional
        See :class:`Help`.
    **bounds
        Arguments ``ge``, ``gt``, ``le``, ``lt`` of :func:`pydantic.Field`.
    """
    about = Help(default if shown is None else shown, panel, metavar, flag)
    return Field(default, description=text, json_schema_extra=about._asdict(), **bounds)


class SettingsModel(BaseModel):
    """Settings of a run: immutable; unknown fields, infinity and NaN are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    heading: ClassVar[str] = "settings of a run"

    @classmethod
    def check(cls, fields: Mapping[str, Any], where: str = "") -> Self:
        """Validate plain values and return the settings.

        Raises
        ------
        ValueError
            If a value is not allowed; the message is one line and starts with ``where``.

        Examples
        --------
        >>> from fastnn.cnn import Settings
        >>> Settings.check({"preset": "fast", "seed": 3}).seed
        3
        >>> Settings.check({"seed": -1}, where="settings.toml: ")
        Traceback (most recent call last):
        ValueError: settings.toml: seed must be at least 0; got -1
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ValueError(where + explain(error, cls.model_fields)) from None

    def to_toml(self) -> str:
        """Return the settings as the text of a TOML file.

        Examples
        --------
        >>> from fastnn.cnn import Settings
        >>> print(Settings(preset="fast", seed=3).to_toml())  # doctest: +ELLIPSIS
        # fastnn ...
        """
        lines = [f"# fastnn {fastnn.__version__}: {self.heading}"]
        for name, value in self.model_dump(exclude_none=True).items():
            # JSON of strings, numbers, booleans and lists of them is also valid TOML.
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=True)}")
        return "\n".join(lines) + "\n"


def help_of(model: type[BaseModel], name: str) -> Help | None:
    """The help of a field; None if it was declared without help."""
    about = model.model_fields[name].json_schema_extra
    return Help(**cast(dict[str, Any], about)) if isinstance(about, dict) else None


NUMBERED = r"\.\d+$"  # index of a list item at the end of a location

# Patterns of pydantic's messages, and their replacements.
_WORDS = (
    (r"^Input should be a valid integer.*", "must be a whole number"),
    (r"^Input should be a valid number.*", "must be a number"),
    (r"^Input should be a finite number.*", "must be a finite number"),
    (r"^Input should be a valid boolean.*", "must be true or false"),
    (r"^Input should be a valid string.*", "must be a text"),
    (r"^Input should be a valid (\w+).*", r"must be a \1"),
    (r"^Input should be greater than or equal to ", "must be at least "),
    (r"^Input should be less than or equal to ", "must be at most "),
    (r"^Input should be greater than ", "must be above "),
    (r"^Input should be less than ", "must be below "),
    (r"^Input should be ", "must be "),
    (r"^Field required$", "is missing"),
    (r"^('.*?') is not one of (.*?)\.?$", r"must be one of \2; got \1"),
)


def in_words(text: str) -> str:
    """Rephrase a message of pydantic so that it continues a sentence about the field."""
    for pattern, words in _WORDS:
        changed, found = re.subn(pattern, words, text)
        if found:
            return changed
    return text


def explain(
    error: ValidationError,
    names: Collection[str] = (),
    called: Callable[[str], str] | None = None,
) -> str:
    """Return one line with the setting, the error and the value given.

    Parameters
    ----------
    error : ValidationError
    names : collection of str
        Names of all settings, to suggest one for a misspelt name.
    called : callable, optional
        Maps the name of a setting to the name shown to the user; default: no change.
    """
    first = error.errors(include_url=False)[0]
    loc = [str(part) for part in first["loc"] if not str(part).startswith("function")]
    if loc and called is not None:
        loc[0] = called(loc[0])
    where = ".".join(loc)
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, names, 1)
        return f"there is no setting {where!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    text = first["msg"].removeprefix("Value error, ")
    if not where:
        return text
    words = in_words(text)
    if words == text:  # from a validator of this package
        return f"{where}: {text} (got {first['input']!r})"
    return f"{re.sub(NUMBERED, '', where)} {words}; got {first['input']!r}"
