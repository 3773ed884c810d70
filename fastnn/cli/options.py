"""Options shared by several commands, options generated from settings fields, command style."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Union,
    cast,
    get_args,
    get_origin,
)

import typer

from fastnn.backends import BACKENDS
from fastnn.cli.help import Group

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


# Arguments of ``typer.Typer`` for all commands.
STYLE: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "cls": Group,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def help_without_command(ctx: typer.Context) -> None:
    """Print the help and exit if no subcommand was given."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit


SHORT = {"--out": "-o", "--quiet": "-q"}  # one-letter forms, the same in all commands


def choice(name: str, values: Sequence[str]) -> type[Enum]:
    """Create the enum of an option's choices."""
    return cast(type[Enum], Enum(name, {value: value for value in values}, type=str))


def environment_name(name: str) -> str:
    """Name of the environment variable of an option."""
    return f"FASTNN_{name.upper()}"


def option(
    flag: str,
    text: str,
    shown: str | bool = True,
    *,
    panel: str | None = None,
    environment: bool = False,
    **rest: Any,
) -> Any:
    """Create an option.

    Parameters
    ----------
    flag : str
        Name of the option, such as "--out".
    text : str
        Help text: sentences.
    shown : str or bool, default=True
        Default in the help: a description of it, or True for the value itself.
    panel : str, optional
        Panel of the help.
    environment : bool, default=False
        Whether the option can also be set by an environment variable.
    **rest
        Passed to :func:`typer.Option`.
    """
    name = flag.removeprefix("--").replace("-", "_")
    return typer.Option(
        *((flag, SHORT[flag]) if flag in SHORT else (flag,)),
        help=text,
        show_default=shown,
        rich_help_panel=panel,
        envvar=environment_name(name) if environment else None,
        show_envvar=False,
        **rest,
    )


def required(metavar: str, text: str) -> Any:
    """Create an argument without a default."""
    completion = data_names if metavar == "DATA" else None
    return typer.Argument(metavar=metavar, help=text, show_default=False, autocompletion=completion)


# --- options shared by several commands -------------------------------------------

if TYPE_CHECKING:  # stub: type checkers cannot evaluate the dynamically created enum

    class Backend(Enum):
        """Names of the backends."""

        auto = "auto"

else:
    Backend = choice("Backend", ["auto", *BACKENDS])

BACKEND = f"Implementation of the kernels: auto (the fastest available), {', '.join(BACKENDS)}."


def data_names(incomplete: str) -> list[str]:
    """Completions of a data argument: built-in data sets, and files whose names begin alike.

    Empty if no data set matches; the shell then completes names of files itself.
    """
    from glob import escape, glob

    from fastnn.datasets.builtin import BUILT_IN

    names = [name for name in BUILT_IN if name.startswith(incomplete)]
    return [*names, *sorted(glob(f"{escape(incomplete)}*"))] if names else []


DATA = (
    "Built-in data set (moons, iris, ...) or a file: .csv, .tsv, .txt, .dat, .npz, .parquet, ...; "
    "- for standard input."
)
TARGET = "Name or position of the target column."
TARGET_DEFAULT = "required for files"
TASK = "What to predict: classification (a class) or regression (a number)."
TASK_DEFAULT = "determined from the target"
CLASS_WEIGHT = "balanced: all classes have the same total weight."
DATA_DIR = "Folder with the MNIST files."
DATA_DIR_DEFAULT = "FASTNN_DATA_DIR, or the cache folder, downloaded if absent"

ModelArgument = Annotated[Path, required("MODEL", "Model file or run folder.")]
TrainedDataArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help=DATA,
        show_default="the training data set",
        autocompletion=data_names,
    ),
]
TargetOption = Annotated[str | None, option("--target", TARGET, "as in training", environment=True)]
DataDirOption = Annotated[
    str | None, option("--data-dir", DATA_DIR, DATA_DIR_DEFAULT, environment=True)
]
BackendOption = Annotated[Backend, option("--backend", BACKEND, environment=True, metavar="NAME")]
JSON = "Print one JSON object and nothing else."
QUIET = "No progress and no notes; print only the location of the result, or its score."
JsonFlag = Annotated[bool, option("--json", JSON)]
QuietFlag = Annotated[bool, option("--quiet", QUIET)]


# --- options made from fields -----------------------------------------------------


class Given(NamedTuple):
    """Settings that were given, by source: the command line or the environment."""

    flags: dict[str, Any]
    environment: dict[str, Any]


def with_settings(
    model: type[BaseModel], *, argument: str | None = None, environment: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add an option to a command for each field of a settings class.

    The fields that the class declares itself come first, then the inherited ones.

    Parameters
    ----------
    model : type
        Settings class; a field becomes an option if it has a help text
        (:func:`fastnn.fields.setting`).
    argument : str, optional
        Field that becomes a positional argument instead.
    environment : bool, default=False
        Whether the options can also be set by environment variables.

    Returns
    -------
    callable
        Decorator of functions ``command(given, ...)``: ``given`` is a :class:`Given`; the
        other parameters are additional options.
    """
    settings = _parameters(model, argument, environment)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(ctx: typer.Context, **values: Any) -> None:
            own = {name: value for name, value in values.items() if name not in settings}
            given = _given(ctx, settings)
            _check(model, given, argument)
            command(given, **own)

        first, *others = inspect.signature(command, eval_str=True).parameters.values()
        context = first.replace(name="ctx", annotation=typer.Context)
        parameters = [context, *settings.values(), *others]
        signature = inspect.Signature(
            [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in parameters]
        )
        cast(Any, run).__signature__ = signature
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _flag(model: type[BaseModel], name: str) -> str:
    """Name of the option of a field."""
    from fastnn.fields import help_of

    about = help_of(model, name)
    return "--" + ((about and about.flag) or name.replace("_", "-"))


def _check(model: type[BaseModel], given: Given, argument: str | None) -> None:
    """Raise ValueError if a value is not allowed; the message names the option or variable.

    Consistency between settings is checked later, when all sources have been merged.
    """
    from pydantic import ValidationError

    from fastnn.fields import explain

    def option_name(name: str) -> str:
        return name.upper() if name == argument else _flag(model, name)

    for values, called in ((given.flags, option_name), (given.environment, environment_name)):
        try:
            model.model_validate(values)
        except ValidationError as error:
            if error.errors()[0]["loc"]:
                raise ValueError(explain(error, called=called)) from None


def _parameters(
    model: type[BaseModel], argument: str | None, environment: bool
) -> dict[str, inspect.Parameter]:
    """Create the parameters of a command for the fields of ``model``."""
    from fastnn.fields import help_of

    parameters = {}
    # Fields of the class itself first, then the inherited ones that several commands share.
    names = sorted(model.model_fields, key=lambda name: name not in model.__annotations__)
    for name in names:
        field, about = model.model_fields[name], help_of(model, name)
        if about is None:
            continue
        kind = _kind(name, field)
        default: Any = about.default
        shown: Any = True
        if isinstance(default, str) and default not in (field.default, *_values(kind)):
            default, shown = None, default  # a description, not a value
        elif default is not None:
            default = kind(default)
        common: dict[str, Any] = {
            "help": field.description,
            "show_default": shown,
            "envvar": environment_name(name) if environment else None,
            "show_envvar": False,
            "rich_help_panel": about.panel,
            "metavar": about.metavar,
        }
        if name == argument:
            del common["envvar"], common["rich_help_panel"]
            common |= {"metavar": name.upper(), "autocompletion": data_names}
            info: Any = typer.Argument(**common)
        else:
            flag = _flag(model, name)
            info = typer.Option(f"{flag}/--no-{flag[2:]}" if kind is bool else flag, **common)
        parameters[name] = inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind | None, info],
        )
    return parameters


def _kind(name: str, field: FieldInfo) -> type:
    """Type of a field on the command line.

    The option of a list of strings can be repeated. Other lists are passed as a single string,
    which the field's validator splits.
    """
    from fastnn.fields import OneOf

    kind: Any = field.annotation
    notes = list(field.metadata)
    while get_origin(kind) in (Annotated, Union, types.UnionType):  # X | None, Annotated[X, ...]
        if get_origin(kind) is Annotated:
            notes += get_args(kind)[1:]
        kind = get_args(kind)[0]
    values = [note.values for note in notes if isinstance(note, OneOf)]
    if get_origin(kind) is Literal:
        values = [get_args(kind)]
    if values:
        return choice(name.title().replace("_", ""), values[0])
    return str if get_origin(kind) is list and kind != list[str] else kind


def _values(kind: type) -> list[str]:
    return (
        [member.value for member in kind]
        if isinstance(kind, type) and issubclass(kind, Enum)
        else []
    )


# Environment variables that do not correspond to an option.
_OTHER_VARIABLES = ("FASTNN_DATA_DIR", "FASTNN_REQUIRE_EXTENSION")


def _check_environment(ctx: typer.Context) -> None:
    """Warn about environment variables ``FASTNN_*`` that are not a setting."""
    known = {str(param.envvar) for param in ctx.command.params if getattr(param, "envvar", None)}
    known |= set(_OTHER_VARIABLES)
    short = {name.removeprefix("FASTNN_"): name for name in known}
    for name in sorted(os.environ):
        if not name.startswith("FASTNN_") or name in known:
            continue
        near = difflib.get_close_matches(name.removeprefix("FASTNN_"), short, 1)
        meant = f"; did you mean {short[near[0]]}?" if near else ""
        warnings.warn(f"{name}: there is no such setting{meant}", stacklevel=2)


def _given(ctx: typer.Context, names: Mapping[str, Any]) -> Given:
    """Collect the settings given on the command line and in the environment."""
    given = Given({}, {})
    if any(getattr(param, "envvar", None) for param in ctx.command.params if param.name in names):
        _check_environment(ctx)
    for name in names:
        value, source = ctx.params[name], ctx.get_parameter_source(name)
        if value is None or source is None or source.name.startswith("DEFAULT"):
            continue
        level = given.environment if source.name == "ENVIRONMENT" else given.flags
        level[name] = value.value if isinstance(value, Enum) else value
    return given
