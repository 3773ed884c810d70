"""``fastnn experiments``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastnn import backends
from fastnn.cli.options import BACKEND, Backend, option
from fastnn.experiments.runner import EXPERIMENTS, QUICK_SEEDS, SEEDS, choose, run


def command(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the report.", file_okay=False)
    ] = Path("experiments"),
    only: Annotated[
        str | None,
        option("--only", f"Some of: {', '.join(EXPERIMENTS)} (commas between them).", "all"),
    ] = None,
    backend: Annotated[Backend, option("--backend", BACKEND, metavar="NAME")] = Backend.auto,
    seeds: Annotated[
        int | None,
        option("--seeds", "Runs of each setting.", f"{SEEDS}; {QUICK_SEEDS} with --quick", min=1),
    ] = None,
    quick: Annotated[bool, option("--quick", "Few steps, to see that everything works.")] = False,
) -> None:
    """Run the course's experiments and write a report with figures."""
    names = choose(only)
    backends.load(backend.value)
    try:
        results = _behind_a_bar(out, names, backend.value, seeds, quick)
    except OSError as error:
        raise OSError(f"cannot write the report to {out}: {error.strerror or error}") from None
    figures = sum(len(result.pictures) for result in results.values())
    typer.echo(f"{len(results)} experiments, {figures} figures: {out / 'index.html'}")


def _behind_a_bar(
    out: Path, names: list[str], backend: str, seeds: int | None, quick: bool
) -> dict:
    """Run experiments behind a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(names[0], total=1.0)
        results = run(
            out,
            only=names,
            backend=backend,
            seeds=seeds,
            quick=quick,
            progress=lambda name, share: bar.update(
                task, description=name.replace("_", " "), completed=share
            ),
        )
        bar.update(task, completed=1.0, description="done")
    return results
