"""Settings as pydantic models: fields with their help, errors of one line, TOML.

A field is declared once: its type, bounds, default and help text. The command line makes an
option of it (``fastnn/cli/options.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import fastnn

if TYPE_CHECKING:
    from typing import Self


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
            raise ValueError(where + explain(error)) from None

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


def explain(error: ValidationError) -> str:
    """One line that names the setting, what is wrong and what came."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function"))
    if first["type"] == "extra_forbidden":
        return f"there is no setting {where!r}"
    text = first["msg"].removeprefix("Value error, ")
    return f"{where}: {text} (got {first['input']!r})" if where else text
