"""Implementation of ``fastnn search`` with the preset tabular."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import fastnn
from fastnn.cli.clusters import cluster
from fastnn.cli.search_settings import MAY_CHANGE
from fastnn.tables.fit_store import FitFolder
from fastnn.tables.search import Plan, SearchResult, search
from fastnn.tables.trials import Problem, folds_of

if TYPE_CHECKING:
    from fastnn.cli.search_settings import SearchSettings
    from fastnn.datasets import Dataset


class CompletedSearch(NamedTuple):
    """Outcome of a search.

    Attributes
    ----------
    found : SearchResult
    kept : FitFolder
        Stored fits, to be removed once the model is written.
    cluster : str or None
        Description of the cluster; None if the search ran on this machine.
    """

    found: SearchResult
    kept: FitFolder
    cluster: str | None


def problem_of(dataset: Dataset, rows: np.ndarray, settings: SearchSettings, score: str) -> Problem:
    """Create the problem, which all fits share, from the training rows."""
    assert settings.folds is not None
    assert settings.dtype is not None
    x, y = np.asarray(dataset.inputs(dataset.X[rows], np.dtype(np.float64))), dataset.y[rows]
    classes, weights = None, None
    targets: np.ndarray
    if dataset.task == "classification":
        classes, numbers = np.unique(y, return_inverse=True)
        targets = numbers.reshape(-1, 1)
        if settings.class_weight is not None:
            from sklearn.utils.class_weight import compute_sample_weight

            weights = compute_sample_weight(settings.class_weight, y)
    else:
        targets = np.asarray(y, np.float64).reshape(-1, 1)
    folds = folds_of(targets, settings.folds, classes is not None, settings.seed)
    return Problem(
        x,
        targets,
        weights,
        classes,
        folds,
        score,
        seed=settings.seed,
        backend=settings.backend,
        dtype=settings.dtype,
    )


def run(
    problem: Problem, settings: SearchSettings, folder: Path, *, quiet: bool
) -> CompletedSearch:
    """Run the search with progress, storing the fits in the folder.

    Raises
    ------
    KeyboardInterrupt
        If interrupted before the first trial is finished.
    """
    from fastnn.training.lines import counting_progress

    assert settings.epochs is not None
    assert settings.ensemble is not None
    plan = Plan(
        settings.trials,
        settings.epochs,
        str(settings.method),
        settings.ensemble,
        settings.time_limit,
    )
    with cluster(settings.cluster) as where:
        kept = FitFolder(folder, fingerprint(settings, problem.digest()), settings.backend)
        bar = None if quiet else counting_progress("fit", plan.n_fits(problem.n_folds))
        advance = bar.set_completed if bar is not None else lambda done: None
        with bar if bar is not None else nullcontext(), resumable(folder, quiet):
            found = search(problem, plan, kept, settings.threads, advance)
    return CompletedSearch(found, kept, where)


def resume_hint(folder: Path) -> str:
    """Message on how to continue an interrupted search."""
    return f"to continue: fastnn search --resume {folder}"


@contextmanager
def resumable(folder: Path, quiet: bool) -> Iterator[None]:
    """Context manager that prints after Ctrl-C how to continue the search."""
    try:
        yield
    except KeyboardInterrupt:
        if not quiet:
            sys.stderr.write(f"fastnn: {resume_hint(folder)}\n")
        raise


def fingerprint(settings: SearchSettings, digest: str) -> dict[str, Any]:
    """Everything that the results of a search depend on; compared when it is resumed."""
    own = settings.model_dump(exclude_none=True, exclude=set(MAY_CHANGE))
    return {"fastnn": fastnn.__version__, "settings": own, "digest of the data": digest}


def table_of(found: SearchResult) -> dict[str, list]:
    """The trials as columns, best first."""
    trials = found.trials
    return {
        "rank": list(range(1, len(trials) + 1)),
        "score": [trial.score for trial in trials],
        "deviation": [trial.deviation for trial in trials],
        "epochs": [trial.epochs for trial in trials],
        "hidden": [",".join(map(str, t.settings["hidden_layer_sizes"])) for t in trials],
        "activation": [trial.settings["activation"] for trial in trials],
        "learning_rate": [trial.settings["learning_rate"] for trial in trials],
        "dropout": [trial.settings["dropout"] for trial in trials],
        "smoothing": [trial.settings["label_smoothing"] for trial in trials],
        "weight": [found.members.get(trial.number, 0.0) for trial in trials],
        "seconds": [trial.seconds for trial in trials],
    }


def result_of(done: CompletedSearch) -> dict[str, Any]:
    """Results of a search other than its scores."""
    found = done.found
    result: dict[str, Any] = {
        "preset": "tabular",
        "stopped": found.stopped,
        "networks": len(getattr(found.model, "networks", [found.model])),
        "members": len(found.members),
        **found.trials[0].settings,
    }
    if done.cluster is not None:
        result["cluster"] = done.cluster
    return result
