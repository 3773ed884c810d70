"""Settings as pydantic models: fields with their help, errors of one line, TOML.

A field is declared once: its type, bounds, default and help text. The command line makes an
option of it (``fastnn/cli/options.py``).
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

    # A field that is None until the settings are completed, and a value from then on. Those who use
    # it read completed settings, so that a type checker need not ask for None (as in typeshed).
    MaybeNone: TypeAlias = Any
else:
    MaybeNone = None


class OneOf:
    """A text that is one of several: ``Annotated[str, OneOf(names)]``.

    It is what ``Literal`` is, of names that are computed, which a type checker cannot read.

    Parameters
    ----------
    values : iterable of str
    """

    def __init__(self, values: Iterable[str]) -> None:
        self.values = tuple(values)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.literal_schema(list(self.values))


class Help(NamedTuple):
    """What the help says about a field, besides its text.

    Attributes
    ----------
    default : object
        What holds if the field is not given: a value, or text where it depends on other things.
    panel : str or None
        Under which heading of the help.
    metavar : str or None
        What stands for the value, if not its type.
    flag : str or None
        The option's name, if not the field's.
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
    """A field with its help.

    Parameters
    ----------
    text : str
        Help text: sentences.
    shown : object, optional
        What the help shows as the default; the default itself if absent.
    default : object, optional
        Value of the field if it is not given; None leaves it to be completed later.
    panel, metavar, flag : str, optional
        See :class:`Help`.
    **bounds
        ``ge``, ``gt``, ``le``, ``lt`` of :func:`pydantic.Field`.
    """
    about = Help(default if shown is None else shown, panel, metavar, flag)
    return Field(default, description=text, json_schema_extra=about._asdict(), **bounds)


class SettingsModel(BaseModel):
    """Settings of a run: immutable, without unknown fields, infinities and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    heading: ClassVar[str] = "settings of a run"

    @classmethod
    def check(cls, fields: Mapping[str, Any], where: str = "") -> Self:
        """Settings out of plain values.

        Raises
        ------
        ValueError
            If a value is not allowed: one line, after ``where``.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ValueError(where + explain(error, cls.model_fields)) from None

    def to_toml(self) -> str:
        """The settings as a TOML file."""
        lines = [f"# fastnn {fastnn.__version__}: {self.heading}"]
        for name, value in self.model_dump(exclude_none=True).items():
            # What JSON writes for strings, numbers, booleans and lists of them is TOML too.
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=True)}")
        return "\n".join(lines) + "\n"


def help_of(model: type[BaseModel], name: str) -> Help | None:
    """The help of a field; None if it was declared without."""
    about = model.model_fields[name].json_schema_extra
    return Help(**cast(dict[str, Any], about)) if isinstance(about, dict) else None


NUMBERED = r"\.\d+$"  # an entry of a list

# What pydantic says, and how it is said here.
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
    """A message of pydantic, without its name, as the end of a sentence."""
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
    """One line that names the setting, what is wrong and what came.

    Parameters
    ----------
    error : ValidationError
    names : collection of str
        Settings that there are, for those that are misspelt.
    called : callable, optional
        What a user calls a setting, by its name; default: its name.
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
    if words == text:  # of our own checks
        return f"{where}: {text} (got {first['input']!r})"
    return f"{re.sub(NUMBERED, '', where)} {words}; got {first['input']!r}"
