"""``fastnn search``: its options; ``searching.py`` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from fastnn.backends import BACKENDS, codes
from fastnn.cli import options
from fastnn.cli.files import FileSettings
from fastnn.cli.options import Given, JsonFlag, QuietFlag, option, with_settings
from fastnn.cli.output import print_json
from fastnn.cli.settings import HELD_OUT, ColumnName, Rate
from fastnn.fields import OneOf, setting
from fastnn.training.optimizers import OPTIMIZERS

DEFAULT_HIDDEN = ("8", "32", "128", "16,16", "64,64", "16,16,16", "64,64,64")


class SearchSettings(FileSettings):
    """What ``fastnn search`` can be told; the fields are the options of the command."""

    heading: ClassVar[str] = "settings of a search"

    data: str = setting(options.DATA, default="moons")
    target: ColumnName | None = setting(options.TARGET, options.TARGET_DEFAULT)
    task: Literal["classification", "regression"] | None = setting(
        options.TASK, options.TASK_DEFAULT, metavar="NAME"
    )
    data_dir: str | None = setting(options.DATA_DIR, options.DATA_DIR_DEFAULT)
    test: Rate = setting("Share of the samples held out to the end.", default=HELD_OUT)
    method: Literal["random", "halving"] = setting(
        "random; or halving: many trials on few samples, the best go on.", default="random"
    )
    trials: int = setting("Settings to try.", default=20, ge=1)
    folds: int = setting("Parts of the cross-validation.", default=3, ge=2)
    hidden: list[str] | None = setting(
        "Hidden layers to try, as 8 or 16,16 or none; repeat for more.",
        "; ".join(DEFAULT_HIDDEN),
        metavar="SIZES",
    )
    activation: str = setting(
        f"Activations to try, with commas between: {', '.join(codes.ACTIVATIONS)}.",
        default="relu,tanh,silu",
        metavar="NAMES",
    )
    learning_rate: str = setting(
        "LOW:HIGH, on a logarithmic scale; or numbers with commas between.", default="1e-4:1e-1"
    )
    l2: str = setting(
        "L2 penalty (alpha of the estimator), as for --learning-rate.", default="1e-6:1"
    )
    optimizer: Annotated[str, OneOf((*OPTIMIZERS, "lbfgs"))] = setting(
        f"Update rule of all trials: {', '.join(OPTIMIZERS)}, lbfgs.",
        default="adam",
        metavar="NAME",
    )
    epochs: int = setting("Most epochs of a trial.", default=200, ge=1)
    scoring: str | None = setting(
        "Score, by its name in scikit-learn.", "accuracy; r2 for regression"
    )
    class_weight: Literal["balanced"] | None = setting(
        options.CLASS_WEIGHT, "all samples weigh alike"
    )
    threads: int | None = setting("Most threads to use; a fit has one of them.", "all cores", ge=1)
    seed: int = setting("Seed of everything random.", default=0, ge=0, lt=2**32)
    backend: Annotated[str, OneOf(("auto", *BACKENDS))] = setting(
        options.BACKEND, default="auto", metavar="NAME"
    )
    dtype: Literal["float32", "float64"] = setting(
        "Precision of parameters and training.", default="float64"
    )


@with_settings(SearchSettings, argument="data")
def command(
    given: Given,
    out: Annotated[
        Path | None, option("--out", "Folder for the results.", "runs/DATA-search-1, ...")
    ] = None,
    overwrite: Annotated[
        bool, option("--overwrite", "Write into --out even if it has files.")
    ] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Search for the best network for some data, by cross-validation.

    Features (and the values of a regression) are standardised in every trial. The best settings
    are trained again on all samples that are not held out; the model file takes features as they
    are, its first layer does the standardising.
    """
    settings = SearchSettings.check(given.flags)
    from fastnn.cli import searching

    table, result, task = searching.search(
        settings, out=out, overwrite=overwrite, quiet=quiet or as_json
    )
    if as_json:
        print_json(result)
    elif quiet:
        print(result["folder"])
    else:
        searching.show(table, result, task)
