"""``fastnn experiments``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from fastnn import backends
from fastnn.cli.options import BACKEND, Backend, JsonFlag, QuietFlag, option
from fastnn.cli.output import print_json
from fastnn.cli.resuming import only_resume
from fastnn.experiments.runner import (
    EXPERIMENTS,
    QUICK_SEEDS,
    SEEDS,
    STATE_FILE,
    choose,
    read_state,
    run,
)
from fastnn.training.lines import ProgressLines, may_be_terminal

DEFAULT = Path("experiments")


def command(
    out: Annotated[
        Path,
        option("--out", "Folder for the report.", file_okay=False, metavar="PATH"),
    ] = DEFAULT,
    only: Annotated[
        str | None,
        option("--only", f"Experiments, separated by commas: {', '.join(EXPERIMENTS)}.", "all"),
    ] = None,
    backend: Annotated[Backend, option("--backend", BACKEND, metavar="NAME")] = Backend.auto,
    seeds: Annotated[
        int | None,
        option("--seeds", "Runs of each setting.", f"{SEEDS}; {QUICK_SEEDS} with --quick", min=1),
    ] = None,
    quick: Annotated[bool, option("--quick", "Only a few steps, as a test.")] = False,
    resume: Annotated[
        Path | None,
        option(
            "--resume",
            "Continue interrupted experiments in the folder of their report.",
            "a new report",
            metavar="FOLDER",
        ),
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Run the course's experiments and write a report with figures.

    Ctrl-C and SIGTERM stop them; finished trainings are kept for --resume.
    """
    kernels = backend.value
    if resume is not None:
        given: dict[str, Any] = {
            "out": out != DEFAULT,
            "only": only,
            "seeds": seeds,
            "quick": quick,
        }
        only_resume({}, backend=kernels != "auto", **given)
        state, out = read_state(resume), resume
        names, kernels = choose(state["only"]), str(state["backend"])
        seeds, quick = int(state["seeds"]), bool(state["quick"])
    else:
        names = choose(only)
    backends.load(kernels)
    try:
        told = contextlib.nullcontext(_nothing) if quiet or as_json else _progress()
        with told as tell:
            results = run(
                out,
                only=names,
                backend=kernels,
                seeds=seeds,
                quick=quick,
                progress=tell,
                resume=resume is not None,
            )
    except KeyboardInterrupt:
        if not (quiet or as_json) and (out / STATE_FILE).exists():
            sys.stderr.write(f"fastnn: to continue: fastnn experiments --resume {out}\n")
        raise
    except OSError as error:
        raise OSError(f"cannot write the report to {out}: {error.strerror or error}") from None
    figures, report = sum(len(result.pictures) for result in results.values()), out / "index.html"
    if as_json:
        print_json({"report": str(report), "experiments": list(results), "figures": figures})
    else:
        text = f"{len(results)} experiments, {figures} figures: {report}"
        typer.echo(report if quiet else text)


def _nothing(name: str, share: float) -> None:
    """Progress callback that prints nothing."""


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """Context manager that yields a progress callback ``(name, share)``, for standard error."""
    if not may_be_terminal():
        with ProgressLines("experiments", 100, percent=True) as lines:
            yield lambda name, share: lines.set_completed(
                int(100 * share), f", {name.replace('_', ' ')}"
            )
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda name, share: bar.update(
            task, description=name.replace("_", " "), completed=share
        )
        bar.update(task, completed=1.0, description="done")
