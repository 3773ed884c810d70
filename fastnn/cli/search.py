"""``fastnn search``: its options; ``searching.py`` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastnn.cli.options import Given, JsonFlag, QuietFlag, option, with_settings
from fastnn.cli.output import INTERRUPTED, print_json
from fastnn.cli.resuming import search_to_resume
from fastnn.cli.search_settings import SearchSettings


@with_settings(SearchSettings, argument="data")
def command(
    given: Given,
    out: Annotated[
        Path | None, option("--out", "Folder for the results.", "runs/DATA-search-1, ...")
    ] = None,
    overwrite: Annotated[
        bool, option("--overwrite", "Write into --out even if it contains files.")
    ] = False,
    resume: Annotated[
        Path | None,
        option("--resume", "Continue an interrupted search.", "a new search", metavar="RUN"),
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Hyperparameter search by cross-validation.

    With --preset tabular the result is an ensemble of the networks of the folds. With --preset
    plain a network with the best settings is trained on all samples that are not held out;
    standardisation is part of its first layer.

    Ctrl-C and SIGTERM stop the search; finished fits are kept for --resume.
    """
    if resume is not None:
        out, settings = search_to_resume(resume, given.flags, out=out, overwrite=overwrite)
    else:
        settings = SearchSettings.check(given.flags)
    from fastnn.cli import searching

    table, result, task = searching.search(
        settings,
        out=out,
        overwrite=overwrite,
        quiet=quiet or as_json,
        resumed=resume is not None,
    )
    if as_json:
        print_json(result)
    elif quiet:
        print(result["folder"])
    else:
        searching.show(table, result, task)
    if result.get("stopped") == "interrupted":
        raise typer.Exit(INTERRUPTED)
