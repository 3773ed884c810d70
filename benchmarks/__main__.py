"""The table of jobs and the map over widths and batches: ``python -m benchmarks``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.charts import draw
from benchmarks.contenders import CONTENDERS, choose
from benchmarks.contenders.base import Contender
from benchmarks.jobs import JOBS, Job, choose_jobs, map_jobs
from benchmarks.measuring import map_cells, measure, steps_of_work
from benchmarks.outputs import write_json
from benchmarks.tables import show

PEERS = ", ".join(c.name for c in CONTENDERS.values() if c.peer)
BACKENDS = ", ".join(c.name for c in CONTENDERS.values() if not c.peer)


def command(
    jobs: Annotated[str, typer.Option(help=f"Jobs, comma-separated: {', '.join(JOBS)}.")] = "all",
    peers: Annotated[
        str | None,
        typer.Option(
            help=f"Peers, comma-separated, all or none: {PEERS}. Default: the strongest few."
        ),
    ] = None,
    backend_names: Annotated[
        str | None,
        typer.Option("--backends", help=f"Backends, comma-separated, all or none: {BACKENDS}."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Timing of each contender at each job.")
    ] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="Turns it is divided into.")] = 5,
    sweep: Annotated[
        bool,
        typer.Option("--map", help="Which is fastest by width and batch, instead of the jobs."),
    ] = False,
    layers: Annotated[
        str, typer.Option(help="Numbers of hidden layers of --map, comma-separated.")
    ] = "2",
    widths: Annotated[
        str | None, typer.Option(help="Widths of --map, comma-separated (default 2 to 2048).")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="FASTNN_DATA_DIR", help="Folder of MNIST's files.")
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write everything as JSON; - for the output."),
    ] = None,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the chart (png, svg, pdf).")
    ] = None,
) -> None:
    """Time the backends against each other and the peers that are installed."""
    try:
        contenders = [*choose(backend_names, peer=False), *choose(peers, peer=True)]
        chosen = map_jobs(layers, widths) if sweep else choose_jobs(jobs)
        if not contenders:
            raise ValueError("there is nothing to time: give backends or peers")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    for path in (json_file if json_file != "-" else None, plot_file):
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise typer.BadParameter(f"no such directory: {Path(path).parent}")
    run = _measure_with_bar(
        chosen, contenders, seconds, rounds, str(data_dir) if data_dir is not None else None
    )
    if sweep:
        run["map"] = map_cells(run)
    if json_file == "-":
        print(json.dumps(run, indent=1))
    else:
        show(run)
        if json_file is not None:
            write_json(Path(json_file), run)
    if plot_file is not None:
        draw(run).savefig(plot_file, dpi=150)


def _measure_with_bar(
    jobs: Sequence[Job],
    contenders: Sequence[Contender],
    seconds: float,
    rounds: int,
    data_dir: str | None,
) -> dict[str, Any]:
    """Measure with a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=steps_of_work(jobs, contenders, rounds))
        return measure(
            jobs,
            contenders,
            seconds=seconds,
            rounds=rounds,
            data_dir=data_dir,
            advance=lambda text: bar.update(task, advance=1, description=text),
        )


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(command)
    app(prog_name="python -m benchmarks")
