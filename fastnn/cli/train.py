"""``fastnn train``: its options; ``training.py`` does the work.

The modules are separate so that the help imports neither NumPy nor the network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastnn.cli.config import merge, read_toml
from fastnn.cli.options import JSON, QUIET, Given, option, with_settings
from fastnn.cli.output import INTERRUPTED, print_json, print_pairs
from fastnn.cli.resuming import CHECKPOINT_FILE, only_resume, run_to_resume
from fastnn.cli.settings import RUN, TrainSettings


@with_settings(TrainSettings, argument="data", environment=True)
def command(
    given: Given,
    config: Annotated[
        Path | None,
        option(
            "--config",
            "TOML file with settings, such as the settings.toml of a run.",
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
        bool, option("--overwrite", "Write into --out even if it contains files.", panel=RUN)
    ] = False,
    resume: Annotated[
        Path | None,
        option(
            "--resume",
            "Continue a run from its last checkpoint; --epochs to train longer.",
            "a new run",
            panel=RUN,
            metavar="RUN",
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        option(
            "--tensorboard",
            "Write summaries for TensorBoard into a subfolder with the name of the run.",
            "off",
            panel=RUN,
            metavar="DIR",
        ),
    ] = None,
    plots: Annotated[bool, option("--plots/--no-plots", "Draw plots.", panel=RUN)] = True,
    as_json: Annotated[bool, option("--json", JSON, panel=RUN)] = False,
    quiet: Annotated[bool, option("--quiet", QUIET, panel=RUN)] = False,
) -> None:
    """Train a network and save it with its history, settings and plots.

    Text, dates and missing values of a table are encoded as numbers (--column, --gaps, --missing,
    --preset); the encoding is part of the model. Without DATA: the course's example, two moons and
    a 2-3-2 network. Settings are taken from options, the environment (FASTNN_EPOCHS, ...),
    --config, and defaults that depend on the data, in this order.

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
            print(f"to continue: fastnn train --resume {result['folder']}")
        raise typer.Exit(INTERRUPTED)
