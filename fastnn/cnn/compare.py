"""Comparison of settings over several seeds, with a test of significance."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.cnn import runs
from fastnn.cnn.settings import Settings

# Significance level of Welch's t-test against the best cell; a larger p-value is no evidence of a
# difference.
SIGNIFICANT = 0.05

TABLE_FILE = "comparison.csv"
FIGURE_FILE = "comparison.png"


@dataclass(frozen=True)
class Cell:
    """One combination of settings and the results of its runs.

    Attributes
    ----------
    varied : dict
        The settings that differ between cells.
    accuracies : list of float
        Test accuracy, one per seed.
    seconds : list of float
        Training time, one per seed.
    """

    varied: dict[str, Any]
    accuracies: list[float]
    seconds: list[float]

    @property
    def name(self) -> str:
        """Name of the cell, from the varied settings."""
        return name_of(self.varied)

    @property
    def mean(self) -> float:
        """Mean test accuracy."""
        return float(np.mean(self.accuracies))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over the seeds; NaN for a single seed."""
        n = len(self.accuracies)
        return float(np.std(self.accuracies, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")

    def verdict(self, best: Cell) -> str:
        """Comparison with the best cell, in words."""
        if self is best:
            return "best"
        if min(len(self.accuracies), len(best.accuracies)) < 2:
            return "one seed: cannot tell"
        if self.standard_error == best.standard_error == 0:
            return "same" if self.mean == best.mean else "lower"
        from scipy.stats import ttest_ind

        p = ttest_ind(self.accuracies, best.accuracies, equal_var=False).pvalue
        return "lower" if p < SIGNIFICANT else "within noise of the best"


def name_of(varied: dict[str, Any]) -> str:
    """Name of a combination, such as ``activation=tanh,init=he_normal``; also a folder name."""
    return ",".join(f"{name}={value}" for name, value in varied.items()) or "all"


def grid(fixed: dict[str, Any], varied: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All combinations of the varied settings, validated together with the fixed ones.

    Parameters
    ----------
    fixed : dict
        Settings of all runs.
    varied : dict of str to sequence
        Values to combine.

    Returns
    -------
    list of dict
        The varied settings of each combination; the last varied setting changes fastest.
    """
    combinations = [
        dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())
    ]
    for combination in combinations:
        Settings.check(fixed | combination).completed(1)
    return combinations


def run(
    fixed: dict[str, Any],
    varied: Mapping[str, Sequence[Any]],
    seeds: int,
    folder: Path,
    say: Callable[[str], None],
) -> list[Cell]:
    """Train all runs of a comparison that are not finished yet.

    Parameters
    ----------
    fixed : dict
        Settings of all runs.
    varied : dict of str to sequence
        Values to combine.
    seeds : int
        Runs of each combination, with the seeds 0, 1, ...
    folder : Path
        Run folders are ``SETTINGS/seed-K`` in it. Finished runs are reused, interrupted ones are
        resumed.
    say : callable
        Called with one line per run.

    Returns
    -------
    list of Cell
        The best first.

    Raises
    ------
    ValueError
        If a run in the folder has other settings.
    KeyboardInterrupt
        After Ctrl-C; the interrupted run has a checkpoint.
    """
    from fastnn.cnn import data

    combinations = grid(fixed, varied)
    first = Settings.check(fixed)
    images = data.load(first.data, first.data_dir)
    cells = []
    n_runs = len(combinations) * seeds
    for k, combination in enumerate(combinations):
        results = []
        for seed in range(seeds):
            settings = Settings.check(fixed | combination | {"seed": seed})
            settings = settings.completed(len(images.train[0]))
            where = folder / name_of(combination) / f"seed-{seed}"
            result = _one(settings, where, images)
            say(
                f"run {k * seeds + seed + 1} of {n_runs}: {name_of(combination)}, seed {seed}: "
                f"test accuracy {result['test_accuracy']:g}, {result['seconds']:.1f} seconds"
            )
            results.append(result)
        accuracies = [float(result["test_accuracy"]) for result in results]
        cells.append(Cell(combination, accuracies, [float(r["seconds"]) for r in results]))
    cells.sort(key=lambda cell: -cell.mean)
    return cells


def _one(settings: Settings, folder: Path, images: Any) -> dict[str, Any]:
    """The result of one run: read if finished, else resumed or trained."""
    from fastnn.cnn import training

    for name in (runs.MODEL_FILE, runs.CHECKPOINT_FILE):
        if (folder / name).is_file():
            description = runs.read(folder / name)[0]
            _check_same(settings, description.settings, folder)
            if name == runs.MODEL_FILE:
                return description.results
            result = training.resume(folder, images=images, quiet=True)
            break
    else:
        result = training.train(settings, folder, images=images, quiet=True)
    if result["stopped"] == "interrupted":
        raise KeyboardInterrupt
    # A finished run is not resumed, and the optimizer's moments are two thirds of the checkpoint.
    (folder / runs.CHECKPOINT_FILE).unlink(missing_ok=True)
    return result


def _check_same(settings: Settings, found: Settings, folder: Path) -> None:
    """Raise ValueError if the run in a folder has other settings."""
    ignored = {"data_dir", "summaries", "preset"}
    for name, value in settings.model_dump(exclude=ignored).items():
        there = getattr(found, name)
        if there != value:
            raise ValueError(
                f"{folder}: there is a run with {name} {there} instead of {value}; "
                "choose another --out"
            )


def table(cells: list[Cell]) -> dict[str, list]:
    """The cells as columns.

    Parameters
    ----------
    cells : list of Cell
        The best first.

    Returns
    -------
    dict of str to list
    """
    columns: dict[str, list] = {
        name: [cell.varied[name] for cell in cells] for name in cells[0].varied
    }
    columns["seeds"] = [len(cell.accuracies) for cell in cells]
    columns["mean"] = [cell.mean for cell in cells]
    columns["standard_error"] = [cell.standard_error for cell in cells]
    columns["seconds"] = [float(np.mean(cell.seconds)) for cell in cells]
    columns["verdict"] = [cell.verdict(cells[0]) for cell in cells]
    return columns


def draw(cells: list[Cell], ax: Any) -> None:
    """Draw each run as a dot, and mean and standard error of each cell.

    Parameters
    ----------
    cells : list of Cell
        The best first; drawn from top to bottom.
    ax : matplotlib Axes
    """
    from fastnn.plots import COLORS

    for k, cell in enumerate(cells):
        ax.plot(cell.accuracies, [k] * len(cell.accuracies), "o", color=COLORS[4], ms=5, alpha=0.7)
        error = cell.standard_error
        ax.errorbar(
            cell.mean, k, xerr=None if np.isnan(error) else error,
            fmt="D", color=COLORS[0], ms=6, capsize=4,
        )  # fmt: skip
    ax.set_yticks(range(len(cells)), [cell.name for cell in cells])
    ax.invert_yaxis()
    ax.margins(y=0.1)
    ax.set_xlabel("test accuracy: runs (dots), mean and standard error")
    ax.grid(axis="x", alpha=0.3)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
