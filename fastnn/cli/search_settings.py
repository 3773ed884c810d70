"""Settings of ``fastnn search``: the fields, their validation and the defaults of the presets."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from fastnn.backends import BACKENDS, codes
from fastnn.cli import options
from fastnn.cli.defaults import HELD_OUT
from fastnn.cli.field_types import ColumnName, Rate
from fastnn.cli.files import FileSettings
from fastnn.fields import OneOf, setting
from fastnn.training.optimizers import OPTIMIZERS

DEFAULT_HIDDEN = ("8", "32", "128", "16,16", "64,64", "16,16,16", "64,64,64")

# Defaults of the presets.
PLAIN: dict[str, Any] = {
    "preset": "plain",
    "method": "random",
    "folds": 3,
    "hidden": list(DEFAULT_HIDDEN),
    "activation": "relu,tanh,silu",
    "learning_rate": "1e-4:1e-1",
    "l2": "1e-6:1",
    "optimizer": "adam",
    "epochs": 200,
    "dtype": "float64",
}
TABULAR: dict[str, Any] = {
    "preset": "tabular",
    "method": "halving",
    "folds": 5,
    "ensemble": 5,
    "epochs": 256,
    "dtype": "float32",
}
# Settings that only one of the presets has.
OF_PLAIN = ("hidden", "activation", "learning_rate", "l2", "optimizer")
OF_TABULAR = ("ensemble", "time_limit", "cluster")

# Settings that may change when a search is resumed: the results do not depend on them.
MAY_CHANGE = ("time_limit", "cluster", "threads")


class SearchSettings(FileSettings):
    """Settings of ``fastnn search``; the fields are the options of the command."""

    heading: ClassVar[str] = "settings of a search"

    data: str = setting(options.DATA, default="moons")
    target: ColumnName | None = setting(options.TARGET, options.TARGET_DEFAULT)
    task: Literal["classification", "regression"] | None = setting(
        options.TASK, options.TASK_DEFAULT, metavar="NAME"
    )
    data_dir: str | None = setting(options.DATA_DIR, options.DATA_DIR_DEFAULT)
    test: Rate = setting("Share of the samples held out for the final score.", default=HELD_OUT)
    preset: Literal["plain", "tabular"] | None = setting(
        "tabular: the published search space of the network of TabularClassifier, and an ensemble "
        "of the best trials; plain: the search space of the options below.",
        "tabular for tables with text, dates or gaps, unless options such as --hidden are given; "
        "otherwise plain",
        metavar="NAME",
    )
    method: Literal["random", "halving"] | None = setting(
        "random, or successive halving: all trials with few samples (--preset tabular: few "
        "epochs), the best with more.",
        f"{PLAIN['method']}; {TABULAR['method']} with --preset tabular",
    )
    trials: int = setting("Number of settings to try.", default=20, ge=1)
    folds: int | None = setting(
        "Number of folds of the cross-validation.",
        f"{PLAIN['folds']}; {TABULAR['folds']} with --preset tabular",
        ge=2,
    )
    ensemble: int | None = setting(
        "Maximum number of trials in the ensemble of --preset tabular, with one network per fold; "
        "0: a single network trained with the best settings.",
        TABULAR["ensemble"],
        ge=0,
    )
    time_limit: float | None = setting(
        "Seconds after which --preset tabular uses the finished fits.", "none", gt=0
    )
    cluster: str | None = setting(
        "Train on a Dask cluster (--preset tabular), given by its scheduler tcp://HOST:8786.",
        "this machine",
        metavar="ADDRESS",
    )
    hidden: list[str] | None = setting(
        "Hidden layers to try: 8, 16,16 or none; can be repeated.",
        "; ".join(PLAIN["hidden"]),
        metavar="SIZES",
    )
    activation: str | None = setting(
        f"Activations to try, separated by commas: {', '.join(codes.ACTIVATIONS)}.",
        PLAIN["activation"],
        metavar="NAMES",
    )
    learning_rate: str | None = setting(
        "LOW:HIGH on a logarithmic scale, or numbers separated by commas.", PLAIN["learning_rate"]
    )
    l2: str | None = setting(
        "L2 penalty (alpha of the estimator), as for --learning-rate.", PLAIN["l2"]
    )
    optimizer: Annotated[str, OneOf((*OPTIMIZERS, "lbfgs"))] | None = setting(
        f"Update rule of all trials: {', '.join(OPTIMIZERS)}, lbfgs.",
        PLAIN["optimizer"],
        metavar="NAME",
    )
    epochs: int | None = setting(
        "Maximum number of epochs of a trial.",
        f"{PLAIN['epochs']}; {TABULAR['epochs']} with --preset tabular",
        ge=1,
    )
    scoring: str | None = setting("Score, a name of scikit-learn.", "accuracy; r2 for regression")
    class_weight: Literal["balanced"] | None = setting(
        options.CLASS_WEIGHT, "all samples have the same weight"
    )
    threads: int | None = setting(
        "Maximum number of threads; each fit uses one.", "all cores", ge=1
    )
    seed: int = setting("Seed of all random numbers.", default=0, ge=0, lt=2**32)
    backend: Annotated[str, OneOf(("auto", *BACKENDS))] = setting(
        options.BACKEND, default="auto", metavar="NAME"
    )
    dtype: Literal["float32", "float64"] | None = setting(
        "Precision of parameters and training.",
        f"{PLAIN['dtype']}; {TABULAR['dtype']} with --preset tabular",
    )

    def completed(self, encoded: bool) -> SearchSettings:
        """Choose the preset and fill in its defaults.

        Parameters
        ----------
        encoded : bool
            Whether the features are the encoded columns of a table.

        Raises
        ------
        ValueError
            If a given setting does not belong to the preset.
        """
        given = self.model_dump(exclude_none=True)
        of_plain = [name for name in OF_PLAIN if name in given]
        tabular = self.preset == "tabular" or (
            self.preset is None and (encoded or "cluster" in given) and not of_plain
        )
        if tabular and of_plain:
            raise ValueError(
                f"--{of_plain[0].replace('_', '-')} does not go with the preset tabular; "
                "add --preset plain"
            )
        of_tabular = [name for name in OF_TABULAR if name in given]
        if not tabular and of_tabular:
            raise ValueError(
                f"--{of_tabular[0].replace('_', '-')} is for the preset tabular (--preset tabular)"
            )
        return SearchSettings.check((TABULAR if tabular else PLAIN) | given)
