"""What ``fastnn search`` does: settings drawn and cross-validated, the best one trained."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import datasets
from fastnn.backends import codes
from fastnn.cli.data import held_out, part, split
from fastnn.cli.output import csv_text, print_columns
from fastnn.cli.runs import MODEL_FILE, run_folder, write_text
from fastnn.cli.search import DEFAULT_HIDDEN

if TYPE_CHECKING:
    from fastnn.cli.search import SearchSettings
    from fastnn.datasets import Dataset
    from fastnn.estimators.search import Model

SHOWN = 10  # trials in the table that is printed


def search(
    settings: SearchSettings, *, out: Path | None, overwrite: bool, quiet: bool
) -> tuple[dict[str, list], dict[str, Any]]:
    """Search as the settings say and write the run's folder.

    Parameters
    ----------
    settings : SearchSettings
    out : Path or None
        The run's folder; None takes a numbered one.
    overwrite : bool
        Whether ``out`` may have files.
    quiet : bool
        No progress bar.

    Returns
    -------
    table : dict of str to list
        The trials as columns, best first.
    result : dict
        What they came to, as ``--json`` prints it.
    """
    dataset = datasets.load(
        settings.data,
        target=settings.target,
        task=settings.task,
        data_dir=settings.data_dir,
        seed=settings.seed,
    )
    distributions = {
        "hidden_layer_sizes": [sizes(text) for text in settings.hidden or DEFAULT_HIDDEN],
        "activation": activations(settings.activation),
        "learning_rate_init": numbers("--learning-rate", settings.learning_rate, zero=False),
        "alpha": numbers("--l2", settings.l2, zero=True),
    }
    _check_score(settings.scoring)
    model = _model(dataset.task, settings)
    rows = split(dataset, settings.test, settings.seed)
    with run_folder(out, f"{dataset.name}-search", overwrite) as folder:
        found, table, result = _search(model, distributions, dataset, rows, settings, quiet)
        result = {"data": settings.data, **result}
        _write(folder, found, table, dataset, settings, result)
    result["folder"], result["files"] = str(folder), [MODEL_FILE, "search.csv"]
    return table, result


def sizes(text: str) -> tuple[int, ...]:
    """``"16,16"`` as numbers of units; ``"none"`` for no hidden layer."""
    if text.strip() == "none":
        return ()
    try:
        units = tuple(int(part) for part in text.split(","))
    except ValueError:
        units = (0,)
    if min(units) < 1:
        raise ValueError(f"--hidden must be units as 8 or 16,16, or none; got {text!r}")
    return units


def activations(text: str) -> list[str]:
    """Names with commas between."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in codes.ACTIVATIONS]
    if unknown:
        raise ValueError(
            f"--activation must be of {', '.join(codes.ACTIVATIONS)}; got {unknown[0]!r}"
        )
    return names


def numbers(name: str, text: str, zero: bool) -> Any:
    """``LOW:HIGH`` as a log-uniform distribution, numbers as a list."""
    parts = text.split(":")
    try:
        given = [float(part) for part in (parts if len(parts) == 2 else text.split(","))]
    except ValueError:
        given = [float("nan")]
    least = 0.0 if zero and len(parts) != 2 else np.nextafter(0.0, 1.0)
    good = all(least <= number < np.inf for number in given)
    if not good or (len(parts) == 2 and not given[0] < given[1]):
        raise ValueError(f"{name} must be LOW:HIGH with 0 < LOW < HIGH, or numbers; got {text!r}")
    if len(parts) != 2:
        return given
    import scipy.stats

    return scipy.stats.loguniform(*given)


def _check_score(scoring: str | None) -> None:
    from sklearn.metrics import get_scorer_names

    if scoring is not None and scoring not in get_scorer_names():
        raise ValueError(f"--scoring must be a score of scikit-learn; got {scoring!r}")


def _model(task: str, settings: SearchSettings) -> Model:
    """The estimator that all trials start from."""
    from fastnn.estimators import MLPClassifier, MLPRegressor

    model = (MLPClassifier if task == "classification" else MLPRegressor)(
        solver=settings.solver,
        max_iter=settings.epochs,
        random_state=settings.seed,
        backend=settings.backend,
        dtype=settings.dtype,
    )
    model._validate_params()
    return model


def _search(
    model: Model,
    distributions: dict[str, Any],
    dataset: Dataset,
    rows: tuple[np.ndarray, np.ndarray],
    settings: SearchSettings,
    quiet: bool,
) -> tuple[Model, dict[str, list], dict[str, Any]]:
    """The best model trained, the table of trials, and what they came to."""
    from fastnn.estimators.search import Search, cross_validate, fit_best, results
    from fastnn.training.bars import CountingBar

    search = Search(
        settings.method,
        settings.trials,
        settings.folds,
        settings.scoring,
        settings.jobs,
        settings.seed,
    )
    X, y = part(dataset, rows[0], np.dtype(model.dtype))
    bar = None if quiet else CountingBar.on_terminal("fit", search.n_fits)
    advance = bar.one_more if bar is not None else lambda: None
    with bar if bar is not None else nullcontext():
        searched = cross_validate(model, distributions, X, y, search, advance)
    table, best = results(searched)
    found = fit_best(model, best, X, y)
    fresh_X, fresh_y, held_out_name = held_out(dataset, rows[1], X.dtype)
    score = None
    if len(fresh_X):
        score = float(search.scorer(dataset.task)(found, fresh_X, fresh_y))
    result = {
        "task": dataset.task,
        "samples": len(X),
        "trials": len(table["rank"]),
        "failed": int(np.isnan(table["score"]).sum()),
        "scoring": search.score_name(dataset.task),
        "score": table["score"][0],
        "held_out": held_out_name,
        "held_out_score": score,
        **{name: list(v) if isinstance(v, tuple) else v for name, v in best.items()},
    }
    return found, table, result


def _write(
    folder: Path,
    found: Model,
    table: dict[str, list],
    dataset: Dataset,
    settings: SearchSettings,
    result: dict[str, Any],
) -> None:
    """Write the model and the table of trials."""
    from fastnn import storage

    training = {
        "features": list(dataset.feature_names),
        "target": dataset.target_name,
        "scale": dataset.scale,
        "settings": settings.model_dump(exclude_none=True),
        "results": {k: v for k, v in result.items() if isinstance(v, int | float | str)},
    }
    storage.save(found, folder / MODEL_FILE, training=training)
    write_text(folder / "search.csv", csv_text(table))


def show(table: dict[str, list], result: dict[str, Any]) -> None:
    """The best trials and what became of the best."""
    texts = {
        name: [f"{v:.4g}" if isinstance(v, float) else str(v) for v in values[:SHOWN]]
        for name, values in table.items()
    }
    score = result["held_out_score"]
    lines = [
        f"{result['trials']} trials on {result['samples']:,} samples, "
        f"score {result['scoring']}"
        + (f"; {result['failed']} diverged" if result["failed"] else ""),
        "held-out score of the best: "
        + ("nothing was held out" if score is None else f"{score:.4f}"),
        f"folder: {result['folder']} ({', '.join(result['files'])})",
    ]
    print_columns(texts, ("hidden", "activation"), lines)
