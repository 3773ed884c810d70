"""``fastnn cnn``: train, evaluate, predict, compare, export, board.

TensorFlow is imported inside the commands, not here, so that the help appears immediately.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastnn.cli.help import Command
from fastnn.cli.options import (
    DATA_DIR,
    DATA_DIR_DEFAULT,
    STYLE,
    Given,
    JsonFlag,
    ModelArgument,
    QuietFlag,
    choice,
    help_without_command,
    option,
    required,
    with_settings,
)
from fastnn.cli.output import (
    INTERRUPTED,
    csv_text,
    escape_control_characters,
    plain_rows,
    print_address,
    print_json,
    print_pairs,
    shortest_digits,
)
from fastnn.cli.runs import figure, run_folder, write_text
from fastnn.cnn import settings as choices
from fastnn.cnn.settings import ComparisonSettings, Settings
from fastnn.extras import is_installed

app = typer.Typer(name="cnn", **STYLE)

if TYPE_CHECKING:  # type checkers cannot evaluate the dynamically created enums

    class _Data(Enum): ...

    class _Format(Enum): ...

else:
    _Data = choice("Data", choices.DATA)
    _Format = choice("Format", ("keras", "onnx"))

_DataDirOption = Annotated[str | None, option("--data-dir", DATA_DIR, DATA_DIR_DEFAULT)]
# In earlier versions DATA was an option.
_OldDataOption = Annotated[_Data | None, typer.Option("--data", hidden=True)]


@app.callback(invoke_without_command=True)
def _root(ctx: typer.Context) -> None:
    """The convolutional network for MNIST, with TensorFlow."""
    help_without_command(ctx)


@app.command(cls=Command)
@with_settings(Settings, argument="data")
def train(
    given: Given,
    out: Annotated[
        Path | None, option("--out", "Folder for the results.", "runs/cnn-DATA-1, ...")
    ] = None,
    overwrite: Annotated[
        bool, option("--overwrite", "Write into --out even if it contains files.")
    ] = False,
    resume: Annotated[
        Path | None,
        option(
            "--resume",
            "Continue a run from its last checkpoint; --steps to train longer.",
            "a new run",
            metavar="RUN",
        ),
    ] = None,
    old_data: _OldDataOption = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Train the network and save it in a run folder.

    Ctrl-C ends the training and writes a checkpoint.
    """
    fields = _with_data(given.flags, old_data)
    silent = quiet or as_json
    if resume is not None:
        _only_resume(fields | {"out": out} | {"overwrite": overwrite})
        _starting_tensorflow(silent)
        from fastnn.cnn.training import resume as go_on
        from fastnn.datasets.writing import sole_writer

        with sole_writer(resume) if resume.is_dir() else contextlib.nullcontext():
            result = go_on(resume, steps=fields.get("steps"), quiet=silent)
    else:
        if "data_dir" in fields:
            fields["data_dir"] = str(Path(fields["data_dir"]).resolve())
        result = _train(Settings.check(fields), out, overwrite, silent)
    if as_json:
        print_json(result)
    elif quiet:
        print(result["folder"])
    else:
        print(f"folder: {result['folder']}")
    if result["stopped"] == "interrupted":
        if not silent:
            print(f"to continue: fastnn cnn train --resume {result['folder']}")
        raise typer.Exit(INTERRUPTED)


def _with_data(given: Mapping[str, Any], old: Enum | None) -> dict[str, Any]:
    """Return the given settings, with ``data`` from the old option if that was used."""
    return dict(given) | ({} if old is None else {"data": old.value})


def _starting_tensorflow(quiet: bool) -> None:
    """Print a note before TensorFlow is imported, which takes a while, unless it is missing."""
    if not quiet and "tensorflow" not in sys.modules and is_installed("tensorflow"):
        print("fastnn: starting TensorFlow", file=sys.stderr, flush=True)


def _only_resume(given: dict[str, Any]) -> None:
    """Raise if a setting is given whose value is fixed by the resumed run."""
    for name, value in given.items():
        if name != "steps" and value is not None and value is not False:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"--resume uses the settings of the run; leave out {flag}")


def _train(settings: Settings, out: Path | None, overwrite: bool, quiet: bool) -> dict[str, Any]:
    """Train in a new run folder."""
    settings.completed(1)  # raises for bad settings, before TensorFlow is imported
    _starting_tensorflow(quiet)
    from fastnn.cnn import data as images
    from fastnn.cnn.training import train as start

    loaded = images.load(settings.data, settings.data_dir)
    with run_folder(out, f"cnn-{settings.data}", overwrite) as folder:
        return start(settings, folder, images=loaded, quiet=quiet)


@app.command(cls=Command)
def board(
    run: Annotated[Path, required("RUN", "Run folder, or a folder with several runs.")],
    port: Annotated[
        int | None,
        option("--port", "Port of the server.", "the first free one from 6006", min=0, max=65535),
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Start TensorBoard with the summaries of runs; Ctrl-C stops it."""
    import threading

    from fastnn.cnn.board import start

    print_address("TensorBoard", start(run, port), as_json, quiet)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


@app.command(cls=Command)
def evaluate(
    model: ModelArgument,
    data: Annotated[
        _Data | None,
        typer.Argument(
            metavar="DATA", help="Data set of the images.", show_default="that of the training"
        ),
    ] = None,
    data_dir: _DataDirOption = None,
    old_data: _OldDataOption = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Accuracy on validation and test images."""
    _starting_tensorflow(quiet or as_json)
    data = data or old_data
    from fastnn.cnn import data as images
    from fastnn.cnn import runs

    path = runs.model_path(model)
    network = runs.load(path)
    name = data.value if data is not None else network.settings.data
    loaded = images.load(name, data_dir or network.settings.data_dir)
    result: dict[str, Any] = {"model": str(path), "data": name}
    for part in ("validation", "test"):
        result[f"{part}_accuracy"] = network.score(*getattr(loaded, part))
    if as_json:
        print_json(result)
        return
    if quiet:
        print(f"{result['test_accuracy']:.6g}")
        return
    print_pairs(
        [
            ("model", result["model"]),
            ("data", name),
            ("validation accuracy", f"{result['validation_accuracy']:.2%}"),
            ("test accuracy", f"{result['test_accuracy']:.2%}"),
        ]
    )
    sys.stdout.flush()


@app.command(cls=Command)
def predict(
    model: ModelArgument,
    files: Annotated[list[Path], required("IMAGE...", "PNG or JPEG files with one digit each.")],
    save_input: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the input of the network, 28 by 28 pixels, as PNG.",
            show_default="not written",
        ),
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Recognise digits in images of any size, dark on light or light on dark.

    The output is one line of CSV with probabilities for each IMAGE. Uneven lighting is corrected,
    with a note on standard error.
    """
    import numpy as np

    from fastnn.cnn import images, runs

    path = runs.model_path(model)
    notes: list[str] = []
    pictures = np.array([images.read(file, notes) for file in files])
    for note in [] if quiet or as_json else notes:
        print(f"fastnn: {escape_control_characters(note)}", file=sys.stderr)
    if save_input is not None:
        images.write(save_input, [file.stem for file in files], pictures)
    _starting_tensorflow(quiet or as_json)
    probabilities = runs.load(path).predict_proba(pictures)
    columns = {
        "image": [str(file) for file in files],
        "digit": probabilities.argmax(axis=1).tolist(),
        "probability": shortest_digits(probabilities.max(axis=1)).tolist(),
    }
    for k, column in enumerate(shortest_digits(probabilities).T):
        columns[f"probability_{k}"] = column.tolist()
    if as_json:
        print_json(columns)
        return
    for name, values in columns.items():
        if name.startswith("probability"):
            columns[name] = [f"{value:.4f}" for value in values]
    sys.stdout.write(csv_text(columns))
    sys.stdout.flush()


@app.command(cls=Command)
def export(
    model: ModelArgument,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Output file.", show_default="as --out"),
    ] = None,
    to: Annotated[
        _Format | None, option("--to", "Format: keras, onnx.", "by the extension of FILE")
    ] = None,
    out: Annotated[
        Path | None, option("--out", "Output file.", "beside the model, with its name")
    ] = None,
    overwrite: Annotated[bool, option("--overwrite", "Replace an existing file.")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Convert the network to Keras or ONNX."""
    from fastnn.cnn import runs

    if file is not None and out is not None:
        raise ValueError(f"give FILE or --out, not both; got FILE {file} and --out {out}")
    path, out = runs.model_path(model), file if out is None else out
    if out is None:
        if to is None:
            raise ValueError("name a FILE, or what to write: --to keras|onnx")
        out = path.with_suffix(f".{to.value}")
    elif to is not None and out.suffix.lower() != f".{to.value}":
        raise ValueError(f"{out}: the name must end in .{to.value} for --to {to.value}")
    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists already; choose another name or --overwrite")
    _starting_tensorflow(quiet or as_json)
    network = runs.load(path)
    from fastnn.cnn.export import export as write

    write(network, out)
    if as_json:
        print_json({"file": str(out), "to": out.suffix[1:].lower()})
    else:
        print(out if quiet else f"written: {out}")


@app.command(cls=Command)
@with_settings(ComparisonSettings, argument="data")
def compare(
    given: Given,
    seeds: Annotated[int, option("--seeds", "Number of runs of each combination.", min=1)] = 3,
    out: Annotated[Path, option("--out", "Folder for the runs.")] = Path("runs/cnn-compare"),
    old_data: _OldDataOption = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Train every combination of some settings with several seeds, and compare them.

    Values of a setting are separated by commas. Runs that exist in --out are not trained again, so
    that a comparison can be interrupted and extended.
    """
    from fastnn.cnn import compare as comparison

    fixed, varied = fixed_and_varied(_with_data(given.flags, old_data))
    comparison.grid(fixed, varied)  # raises for bad settings, before anything is written
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: not a folder")
    silent = quiet or as_json
    _starting_tensorflow(silent)
    cells = comparison.run(fixed, varied, seeds, out, lambda line: None if silent else print(line))
    columns = comparison.table(cells)
    write_text(out / comparison.TABLE_FILE, csv_text(columns))
    with figure(out / comparison.FIGURE_FILE, (8.0, 1.4 + 0.4 * len(cells))) as ax:
        comparison.draw(cells, ax)
    files = [comparison.TABLE_FILE, comparison.FIGURE_FILE]
    if as_json:
        _print_json_table(columns, out, files)
        return
    if quiet:
        print(out)
        return
    digits = {"mean": ".4f", "standard_error": ".4f", "seconds": ".1f"}
    texts = {
        name: ["-" if value != value else format(value, digits.get(name, "")) for value in values]
        for name, values in columns.items()
    }
    print("\n".join(plain_rows(texts)))
    print(f"folder: {out} ({', '.join(files)})")


def fixed_and_varied(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Split the given settings into those with one value and those with several."""
    fixed: dict[str, Any] = {"summaries": ComparisonSettings().summaries}
    varied = {}
    for name, value in given.items():
        if name in ComparisonSettings.ONE_VALUE:
            fixed[name] = value
            continue
        parts = [Settings.check({name: part.strip()}) for part in value.split(",")]
        values = list(dict.fromkeys(getattr(part, name) for part in parts))
        if len(values) > 1:
            varied[name] = values
        else:
            fixed[name] = values[0]
    return fixed, varied


def _print_json_table(columns: dict[str, list], out: Path, files: list[str]) -> None:
    """Print the table as a list of JSON objects; an unknown standard error becomes null."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for row in rows:
        if row["standard_error"] != row["standard_error"]:
            row["standard_error"] = None
    print_json({"table": rows, "folder": str(out), "files": files})
