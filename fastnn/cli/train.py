"""``fastnn train``: its options; ``training.py`` does the work.

Apart, so that the help imports neither NumPy nor the network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastnn.cli.options import JSON, QUIET, Given, option, with_settings
from fastnn.cli.output import INTERRUPTED, print_json, print_pairs
from fastnn.cli.resuming import CHECKPOINT_FILE, only_resume, run_to_resume
from fastnn.cli.settings import RUN, TrainSettings, merge, read_toml


@with_settings(TrainSettings, argument="data", environment=True)
def command(
    given: Given,
    config: Annotated[
        Path | None,
        option(
            "--config",
            "TOML file with settings, as a run writes it.",
            "none",
            panel=RUN,
            environment=True,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option("--out", "Folder for the results.", "runs/DATA-1, ...", panel=RUN, environment=True),
    ] = None,
    overwrite: Annotated[
        bool, option("--overwrite", "Write into --out even if it has files.", panel=RUN)
    ] = False,
    resume: Annotated[
        Path | None,
        option(
            "--resume",
            "Go on with a run from its last checkpoint; --epochs for more than it has.",
            "a new run",
            panel=RUN,
            metavar="RUN",
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        option(
            "--tensorboard",
            "Write summaries for TensorBoard, in a folder there named as the run's; NAME-2 if "
            "another run's are there.",
            "off",
            panel=RUN,
            metavar="DIR",
        ),
    ] = None,
    plots: Annotated[
        bool, option("--plots/--no-plots", "Whether to draw pictures.", panel=RUN)
    ] = True,
    as_json: Annotated[bool, option("--json", JSON, panel=RUN)] = False,
    quiet: Annotated[bool, option("--quiet", QUIET, panel=RUN)] = False,
) -> None:
    """Train a network and keep it, with its history, its settings and its pictures.

    Text, dates and missing values of a table become numbers, by rules that the model keeps
    (--column, --gaps, --preset). Without DATA: the course's example, two moons and a 2-3-2
    network. A setting comes from its option, else from the environment (FASTNN_EPOCHS, ...), else
    from --config, else it has a default that suits the data.

    Ctrl-C and SIGTERM end the training; model and checkpoint are written.
    """
    resumed = resume is not None
    if resume is not None:
        only_resume(given.flags, config=config, out=out, overwrite=overwrite)
        out, settings = run_to_resume(resume, given.flags)
    else:
        settings = merge(given.flags, given.environment, read_toml(config) if config else {})
    from fastnn.cli import training

    result, task, columns = training.train(
        settings,
        out=out,
        overwrite=overwrite or resumed,
        tensorboard=tensorboard,
        plots=plots,
        quiet=quiet or as_json,
        resumed=resumed,
    )
    if as_json:
        print_json(result)
    elif quiet:
        print(result["folder"])
    else:
        print_pairs(training.table(result, task, columns))
    if result["stopped"] == "interrupted":
        if not as_json and CHECKPOINT_FILE in result["files"]:
            print(f"go on with: fastnn train --resume {result['folder']}")
        raise typer.Exit(INTERRUPTED)
