"""Layout of the help texts: two columns that fit any width, without colour in a pipe.

Typer's own tables truncate words in a narrow terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable
from enum import Enum
from itertools import pairwise
from typing import Any

from typer.core import TyperCommand, TyperGroup

WIDEST = 100  # maximum characters per line; longer lines are hard to read
FIRST_COLUMN = 0.36  # maximum share of the width; longer names get a separate line
TYPES = {"str": "TEXT", "int": "INTEGER", "float": "NUMBER", "path": "PATH"}
OPTIONS = "Options"

# Options that had other names in earlier versions.
OLD_NAMES = {"--init": "--initializer", "--solver": "--optimizer", "--jobs": "--threads"}

EXIT_CODES = (
    ("0", "Success."),
    ("1", "An error in fastnn itself, with a traceback: please report it."),
    ("2", "Bad input; one line on standard error says what was expected."),
    ("130", "Interrupted by Ctrl-C; results so far are saved."),
    ("143", "Terminated by SIGTERM; results so far are saved."),
)


class Command(TyperCommand):
    """Command with this help layout, which also accepts the options of earlier versions."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, including those of earlier versions."""
        known = {name for param in self.params for name in param.opts}
        given = []
        for arg in args:
            name, equals, value = arg.partition("=")
            if name == "--json" and equals:  # --json FILE
                given += [name, value]
            elif name not in known and OLD_NAMES.get(name) in known:
                given.append(OLD_NAMES[name] + equals + value)
            else:
                given.append(arg)
        self._refuse_swallowed(given)
        rest: list[str] = super().parse_args(ctx, given)
        return rest

    def _refuse_swallowed(self, args: list[str]) -> None:
        """Raise if an option that needs a value is followed by an option.

        The parser would take the second option as the value: ``--out --overwrite`` would write to
        a folder named ``--overwrite``.
        """
        options = [param for param in self.params if param.param_type_name == "option"]
        valued = {name for param in options if not _is_flag(param) for name in param.opts}
        for name, following in pairwise([*args, ""]):
            if name == "--":
                return
            if name in valued and following.startswith("--") and len(following) > 2:
                raise ValueError(
                    f"{name} needs a value; got {following} ({name}={following} if that is it)"
                )

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write(_help_of(self, ctx, {}))


def _is_flag(param: Any) -> bool:
    """Whether an option takes no value."""
    return bool(param.is_flag or getattr(param, "count", False))


class Group(TyperGroup):
    """Command group with this help layout."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        rows = [(name, _paragraphs(part.help)[0]) for name, part in self.commands.items()]
        sections = {"Commands": rows}
        if ctx.parent is None:
            sections["Exit codes"] = list(EXIT_CODES)
        formatter.write(_help_of(self, ctx, sections))


def _help_of(command: TyperCommand | TyperGroup, ctx: Any, more: dict[str, list]) -> str:
    """Help text: usage, description, one section of options per panel, then ``more``."""
    width = max(min(shutil.get_terminal_size().columns, WIDEST) - 1, 24)
    lines = [*_wrapped(f"Usage: {ctx.command_path} {_usage(command, ctx)}", width, hanging=2), ""]
    for paragraph in _paragraphs(command.help):
        lines += [*_wrapped(paragraph, width), ""]
    for title, rows in (_sections(command, ctx) | more).items():
        lines += [bold(title), *_two_columns(rows, width), ""]
    return "\n".join(lines[:-1]) + "\n"


def _usage(command: TyperCommand | TyperGroup, ctx: Any) -> str:
    """Usage after the command's name, without the hidden arguments of earlier versions."""
    if isinstance(command, TyperGroup):
        return " ".join(command.collect_usage_pieces(ctx))
    shown = [param for param in command.get_params(ctx) if not getattr(param, "hidden", False)]
    names = [
        _name(param, ctx) if param.required else f"[{_name(param, ctx)}]"
        for param in shown
        if param.param_type_name == "argument"
    ]
    return " ".join(["[OPTIONS]", *names])


def _paragraphs(text: str | None) -> list[str]:
    return [" ".join(part.split()) for part in (text or "").split("\n\n")]


def _sections(command: TyperCommand | TyperGroup, ctx: Any) -> dict[str, list[tuple[str, str]]]:
    """Names and help texts of arguments and options, grouped by panel."""
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], OPTIONS: []}
    parameters: list[Any] = command.get_params(ctx)
    for param in parameters:
        if param.hidden:
            continue
        kind = "Arguments" if param.param_type_name == "argument" else OPTIONS
        row = (_name(param, ctx), f"{param.help or ''} {_default(param)}".strip())
        sections.setdefault(param.rich_help_panel or kind, []).append(row)
    if len(sections[OPTIONS]) == 1:  # only --help: put the section last
        sections[OPTIONS] = sections.pop(OPTIONS)
    return {title: rows for title, rows in sections.items() if rows}


def _name(param: Any, ctx: Any) -> str:
    """Name of an argument, or names of an option with its metavar."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    names = ", ".join(sorted(param.opts, key=len))
    if param.secondary_opts:
        return f"--[no-]{param.opts[0][2:]}"
    if param.is_flag:
        return names
    describe = getattr(param, "display_type_rich", None) or param.make_metavar  # Typer < 0.29
    kind = str(describe(ctx)).strip("<>[]").lower().removesuffix(" range")
    return f"{names} {param.metavar or TYPES.get(kind, kind)}"


def _default(param: Any) -> str:
    """Default of an option in brackets; empty if there is none to show."""
    if param.required:
        return "[required]"
    value = param.default
    if isinstance(param.show_default, str):
        text = param.show_default
    elif value is None or not param.show_default:
        return ""
    elif isinstance(value, bool):
        if not param.secondary_opts:
            return ""
        text = "on" if value else "off"
    elif isinstance(value, float):
        text = f"{value:g}"
    else:
        text = str(value.value if isinstance(value, Enum) else value)
    return f"[default: {text}]"


def _two_columns(rows: Iterable[tuple[str, str]], width: int) -> list[str]:
    """Lines with names on the left, wrapped texts on the right; long names get a separate line."""
    rows = list(rows)
    widest = max(8, int(FIRST_COLUMN * width))
    column = max((len(name) for name, _ in rows if len(name) <= widest), default=widest) + 4
    lines = []
    for name, text in rows:
        body, bracket, default = text.partition("[default: ")
        wrapped = _wrapped(body.strip(), width - column)
        if bracket:  # append the default to the last line if it fits
            default = bracket + default
            if wrapped and len(wrapped[-1]) + 1 + len(default) <= width - column:
                wrapped[-1] += " " + default
            else:
                wrapped += _wrapped(default, width - column)
        lead = f"  {name}"
        if len(lead) + 2 > column or not wrapped:
            lines += _wrapped(name, width, indent=2)
            lead = ""
        for line in wrapped:
            lines.append(f"{lead:<{column}}{line}")
            lead = ""
    return lines


def _wrapped(text: str, width: int, indent: int = 0, hanging: int = 0) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_on_hyphens=False,
    )


def bold(title: str) -> str:
    """Return a heading, bold on a terminal unless NO_COLOR is set."""
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return title if plain or not sys.stdout.isatty() else f"\x1b[1m{title}\x1b[0m"
