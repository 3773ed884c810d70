"""The table of commands, each imported only when it is called, and ``main``."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import typer

import fastnn
from fastnn.cli.help import Command, Group
from fastnn.cli.options import STYLE, help_without_command
from fastnn.cli.output import (
    BAD_INPUT,
    INTERRUPTED,
    discard_output,
    escape_control_characters,
    open_streams,
)
from fastnn.cli.signals import Signals, handled
from fastnn.errors import DivergenceError
from fastnn.extras import why_missing

_OF_WRITING = (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT)


class LazyCommand(NamedTuple):
    """A command not yet imported: its module and the first paragraph of its help.

    The module has a function ``command``, or an ``app`` with subcommands.
    """

    module: str
    help: str


COMMANDS = {
    "train": LazyCommand(
        "fastnn.cli.train",
        "Train a network and save it with its history, settings and plots.",
    ),
    "predict": LazyCommand(
        "fastnn.cli.predict", "Predictions of a model, one line of CSV for each row of DATA."
    ),
    "evaluate": LazyCommand("fastnn.cli.evaluate", "Loss and score of a model."),
    "plot": LazyCommand(
        "fastnn.cli.plot",
        "Plot a decision boundary (two features), or predictions against targets.",
    ),
    "play": LazyCommand(
        "fastnn.cli.play",
        "Open an interactive page that retrains a small network with every change of a slider.",
    ),
    "info": LazyCommand(
        "fastnn.cli.info",
        "Describe the installation (versions, backends, BLAS), or a model file.",
    ),
    "search": LazyCommand("fastnn.cli.search", "Hyperparameter search by cross-validation."),
    "experiments": LazyCommand(
        "fastnn.cli.experiments", "Run the course's experiments and write a report with figures."
    ),
    "bench": LazyCommand(
        "fastnn.bench",
        "Compare the speed of the installed backends and scikit-learn.",
    ),
    "cnn": LazyCommand("fastnn.cli.cnn", "The convolutional network for MNIST, with TensorFlow."),
    "export": LazyCommand(
        "fastnn.cli.export",
        "Convert a model to ONNX, C99, Keras, PyTorch (state_dict) or scikit-learn (skops).",
    ),
}


class _Commands(Group):
    """Command group of :data:`COMMANDS`; the help lists the commands without importing them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: Command(name, help=late.help) for name, late in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that the first argument names."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load(str(command.name)), rest


def load(name: str) -> Any:
    """Import a command of :data:`COMMANDS`."""
    module = importlib.import_module(COMMANDS[name].module)
    own = getattr(module, "app", None)
    if own is None:
        own = typer.Typer(**STYLE)
        own.command(name, cls=Command)(module.command)
    return typer.main.get_command(own)


app = typer.Typer(name="fastnn", **STYLE | {"cls": _Commands})


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Fast training of small dense neural networks on a CPU."""
    if version:
        typer.echo(f"fastnn {fastnn.__version__}")
        raise typer.Exit
    help_without_command(ctx)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; the default is ``sys.argv[1:]``.

    Returns
    -------
    int
        0, 2 for bad input (one line on standard error), 130 after Ctrl-C, 143 after SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with open_streams(), warnings.catch_warnings(), handled() as signals:
        warnings.showwarning = _show_warning
        code = _run(arguments, signals)
        signals.active = False  # after errors, too
        return signals.exit_code(code)


def _run(arguments: list[str], signals: Signals) -> int:
    """Run the command; turn an error into one line on standard error and an exit code."""
    try:
        signals.begin()
        if "_FASTNN_COMPLETE" in os.environ:  # set by a shell's completion; Typer replies and exits
            from typer.completion import completion_init

            completion_init()
        code = app(arguments, prog_name="fastnn", standalone_mode=False)
        signals.active = False
    except KeyboardInterrupt:
        return _print_error("interrupted", INTERRUPTED)
    except SystemExit as error:  # raised by Typer
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        discard_output()
        return 0
    except OSError as error:
        return _print_error(_system_error(error), BAD_INPUT)
    except UnicodeEncodeError as error:
        sign = error.object[error.start]
        return _print_error(
            f"standard output cannot take {sign!r}, its encoding is {error.encoding}; write to a "
            "file (--out), or set PYTHONIOENCODING=utf-8",
            BAD_INPUT,
        )
    except ModuleNotFoundError as error:
        return _print_error(why_missing(error) or str(error), BAD_INPUT)
    except (ValueError, ImportError, DivergenceError) as error:
        return _print_error(str(error) or type(error).__name__, BAD_INPUT)
    except MemoryError:
        return _print_error("not enough memory", BAD_INPUT)
    except Exception as error:
        # Errors of Typer: it bundles its own Click, so there is no public class to catch.
        if not hasattr(error, "format_message"):
            if type(error).__name__ == "Abort":
                return _print_error("interrupted", INTERRUPTED)
            raise
        return _print_error(_usage_error(error), BAD_INPUT)
    if code == INTERRUPTED:  # Typer converts Ctrl-C to this exit code
        return _print_error("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _system_error(error: OSError) -> str:
    """Message for an error of the system, which our own files have the name in."""
    name = error.filename
    if name is None and error.errno in _OF_WRITING:
        discard_output()  # otherwise Python tries again when it exits
        name = "standard output"
    return f"{name}: {error.strerror}" if name and error.strerror else error.strerror or str(error)


def _usage_error(error: Any) -> str:
    """Message for an error in the command line or in an environment variable."""
    context, param = getattr(error, "ctx", None), getattr(error, "param", None)
    text = str(error.format_message()).replace("Value error, ", "")
    if param is not None and text.startswith("Invalid value for"):
        from fastnn.fields import in_words

        name = max(param.opts, key=len) if param.param_type_name == "option" else param.metavar
        source = context.get_parameter_source(param.name) if context is not None else None
        if source is not None and source.name == "ENVIRONMENT":
            name = param.envvar
        said = str(error.message).removeprefix("Value error, ")
        words = in_words(said)
        if words == said:
            return f"{name}: {said}"
        details: list[Any] = getattr(error.__cause__, "errors", list)()
        got = f"; got {details[0]['input']!r}" if details and "; got" not in words else ""
        return f"{name} {words}{got}"
    if text.endswith("?"):
        return text
    if text.startswith(("Missing", "No such", "Got unexpected")) and context is not None:
        text = f"{text.rstrip('.')}; see {context.command_path} --help"
    return text.removeprefix("Invalid value: ")  # errors raised without a parameter have it


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Write a warning as one line to standard error."""
    _print_line(f"warning: {message}")


def _print_error(message: str, code: int) -> int:
    """Write one line to standard error and return ``code``."""
    _print_line(message)
    return code


def _print_line(message: str) -> None:
    """Write one line to standard error, if that can be written."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"fastnn: {escape_control_characters(' '.join(message.split()))}\n")
