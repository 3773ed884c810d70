"""Implementation of ``fastnn search``: run the trials, build the model, write the run folder."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.backends import codes
from fastnn.cli import signals, tables
from fastnn.cli.data import held_out, part, task_text
from fastnn.cli.output import csv_text, note_rows, print_columns, print_pairs
from fastnn.cli.rows import RowsOfRun
from fastnn.cli.runs import MODEL_FILE, run_folder, write_text
from fastnn.cli.scores import check_defined, check_scoring, held_out_scores, score_rows, scored
from fastnn.cli.search_settings import DEFAULT_HIDDEN
from fastnn.cli.source import path_of, recorded
from fastnn.tables.fit_store import SearchFolder
from fastnn.training.checkpoints import digest

if TYPE_CHECKING:
    from fastnn.cli.search_settings import SearchSettings
    from fastnn.datasets import Dataset
    from fastnn.estimators.search import Model
    from fastnn.tables import Encoding

SHOWN = 10  # maximum number of trials in the printed table


def search(
    settings: SearchSettings,
    *,
    out: Path | None,
    overwrite: bool,
    quiet: bool,
    resumed: bool = False,
) -> tuple[dict[str, list], dict[str, Any], str]:
    """Run the search and write the run folder.

    Parameters
    ----------
    settings : SearchSettings
    out : Path or None
        The run folder; None creates a numbered one.
    overwrite : bool
        Whether ``out`` may contain files.
    quiet : bool
        Whether to show no progress.
    resumed : bool, default=False
        Whether to continue with the finished fits in ``out``.

    Returns
    -------
    table : dict of str to list
        The trials as columns, best first.
    result : dict
        The results, as ``--json`` prints them.
    task : str
        Description of the task.
    """
    dataset, train_rows, test_rows, encoding = tables.load(settings, data_seed=True)
    rows = train_rows, test_rows
    settings = settings.completed(encoding is not None)
    search_of = _tabular if settings.preset == "tabular" else _plain
    if search_of is _plain:
        _distributions(settings)  # raises for bad settings, before the folder is created
    check_scoring(settings.scoring)
    dataset.check_range(np.dtype(settings.dtype))
    rare = _check_classes(dataset, rows[0], settings)
    task = task_text(dataset, settings.task)
    settings = settings.model_copy(update={"data": recorded(settings.data)})
    kept = RowsOfRun.of(dataset, path_of(settings.data), *rows)
    with run_folder(out, f"{dataset.name}-search", overwrite or resumed) as folder:
        if not resumed:
            SearchFolder.remove(folder)
        found, table, result, fits = search_of(dataset, rows, settings, folder, quiet)
        result = {"data": settings.data, **result}
        if dataset.notes:
            result["notes"] = list(dataset.notes)
        if rare is not None:
            result["caution"] = rare
        if encoding is not None:
            result["columns"] = tables.describe(encoding)
        _write(folder, found, table, dataset, settings, result, kept, encoding)
        files = [MODEL_FILE, "search.csv", *kept.write(folder)]
        if result.get("stopped", "trials") == "trials":
            fits.finish()
    result["folder"], result["files"] = str(folder), files
    return table, result, task


def sizes(text: str) -> tuple[int, ...]:
    """Parse hidden layer sizes such as ``"16,16"``; ``"none"`` for no hidden layer."""
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
    """Parse names of activations separated by commas."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in codes.ACTIVATIONS]
    if unknown:
        raise ValueError(
            f"--activation must be of {', '.join(codes.ACTIVATIONS)}; got {unknown[0]!r}"
        )
    return names


def numbers(name: str, text: str, zero: bool) -> Any:
    """Parse ``LOW:HIGH`` as a log-uniform distribution, or comma-separated numbers as a list.

    ``zero`` tells whether 0 is allowed in the list.
    """
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


def _check_classes(dataset: Dataset, rows: np.ndarray, settings: SearchSettings) -> str | None:
    """Return a line of text about classes with fewer training samples than folds, or None.

    Raises
    ------
    ValueError
        If there is a single class; if all classes have fewer samples than folds; if some have
        and ``--scoring`` was given, since many scores are undefined for a fold without a class;
        or if ``--class-weight`` was given for a regression.
    """
    if dataset.task == "regression":
        if settings.class_weight is not None:
            raise ValueError("--class-weight is for classes; the task is regression")
        return None
    labels, counts = np.unique(dataset.y[rows], return_counts=True)
    if len(labels) < 2:
        raise ValueError(f"target {dataset.target_name!r} has a single class")
    least, few = int(counts.min()), int((counts < (settings.folds or 2)).sum())
    if not few:
        return None
    label, more = labels[counts.argmin()].item(), f" and {few - 1} more" if few > 1 else ""
    fewer = f"--folds {least}, or " if least > 1 else ""
    text = (
        f"class {label!r}{more}: {least} training sample{'s' if least > 1 else ''}, "
        f"{settings.folds} folds; {fewer}drop it or merge it"
    )
    if few == len(labels) or settings.scoring is not None:
        raise ValueError(text)
    return text


def _distributions(settings: SearchSettings) -> dict[str, Any]:
    """Search space of the preset plain."""
    assert settings.activation is not None
    assert settings.learning_rate is not None
    assert settings.l2 is not None
    return {
        "hidden_layer_sizes": [sizes(text) for text in settings.hidden or DEFAULT_HIDDEN],
        "activation": activations(settings.activation),
        "learning_rate_init": numbers("--learning-rate", settings.learning_rate, zero=False),
        "alpha": numbers("--l2", settings.l2, zero=True),
    }


def _model(task: str, settings: SearchSettings) -> Model:
    """Create the estimator whose parameters the trials vary."""
    from fastnn.estimators import MLPClassifier, MLPRegressor

    options: dict[str, Any] = {
        "solver": settings.optimizer,
        "max_iter": settings.epochs,
        "random_state": settings.seed,
        "backend": settings.backend,
        "dtype": settings.dtype,
    }
    model: Model = (
        MLPClassifier(class_weight=settings.class_weight, **options)
        if task == "classification"
        else MLPRegressor(**options)
    )
    model._validate_params()
    return model


Answer = tuple[Any, dict[str, list], dict[str, Any], SearchFolder]


def _tabular(
    dataset: Dataset,
    rows: tuple[np.ndarray, np.ndarray],
    settings: SearchSettings,
    folder: Path,
    quiet: bool,
) -> Answer:
    """Search with the preset tabular; return model, table of trials, results and stored fits."""
    from fastnn.cli import tabular_search

    score = settings.scoring or ("accuracy" if dataset.task == "classification" else "r2")
    check_defined(score, settings.scoring, dataset.task, dataset.y[rows[0]])
    problem = tabular_search.problem_of(dataset, rows[0], settings, score)
    done = tabular_search.run(problem, settings, folder, quiet=quiet)
    signals.hold()
    found = done.found
    table = tabular_search.table_of(found)
    result = {
        **_counts(dataset, rows[0], table),
        "scoring": score,
        "score": found.score,
        **_held_out_results(found.model, dataset, rows[1], np.dtype(np.float64), score),
        "class_weight": settings.class_weight,
        **tabular_search.result_of(done),
    }
    return found.model, table, result, done.kept


def _plain(
    dataset: Dataset,
    rows: tuple[np.ndarray, np.ndarray],
    settings: SearchSettings,
    folder: Path,
    quiet: bool,
) -> Answer:
    """Search with the preset plain and train the best settings; returns as :func:`_tabular`."""
    from fastnn.cli import tabular_search
    from fastnn.estimators.search import Search, cross_validate, fit_best, results
    from fastnn.tables.fit_store import ScoreFolder
    from fastnn.training.lines import counting_progress

    model, distributions = _model(dataset.task, settings), _distributions(settings)
    assert settings.folds is not None
    search = Search(
        str(settings.method),
        settings.trials,
        settings.folds,
        settings.scoring,
        settings.threads,
        settings.seed,
    )
    X, y = part(dataset, rows[0], np.dtype(model.dtype))
    score = search.score_name(dataset.task)
    check_defined(score, settings.scoring, dataset.task, y)
    fits = ScoreFolder(folder, tabular_search.fingerprint(settings, digest(X, y, rows[0])))
    bar = None if quiet else counting_progress("fit", search.n_fits)
    advance = bar.increment if bar is not None else lambda: None
    with bar if bar is not None else nullcontext(), tabular_search.resumable(folder, quiet):
        searched = cross_validate(model, distributions, X, y, search, advance, fits)
    signals.hold()
    table, best = results(searched)
    found = fit_best(model, best, X, y)
    result = {
        **_counts(dataset, rows[0], table),
        "scoring": score,
        "score": table["score"][0],
        **_held_out_results(found, dataset, rows[1], X.dtype, score),
        "class_weight": settings.class_weight,
        **{name: list(v) if isinstance(v, tuple) else v for name, v in best.items()},
    }
    return found, table, result, fits


def _counts(dataset: Dataset, rows: np.ndarray, table: dict[str, list]) -> dict[str, Any]:
    """Results of a search: task, and numbers of samples and trials."""
    return {
        "task": dataset.task,
        "samples": len(rows),
        "trials": len(table["rank"]),
        "failed": int(np.isnan(table["score"]).sum()),
    }


def _held_out_results(
    model: Any, dataset: Dataset, rows: np.ndarray, dtype: np.dtype, scoring: str
) -> dict[str, Any]:
    """Results of a search on the held-out samples.

    The score is None if it is undefined (for example, a class is missing).
    """
    X, y, name = held_out(dataset, rows, dtype)
    try:
        score = scored(model, scoring, X, y)
    except ValueError:
        score = None
    accuracy = None
    if len(X) and dataset.task == "classification":
        accuracy = float(model.score(X, y))
    return {
        "held_out": name,
        "held_out_score": score if score is not None and np.isfinite(score) else None,
        **held_out_scores(model, X, y, accuracy, "held_out_"),
    }


def _write(
    folder: Path,
    found: Model,
    table: dict[str, list],
    dataset: Dataset,
    settings: SearchSettings,
    result: dict[str, Any],
    kept: RowsOfRun,
    encoding: Encoding | None,
) -> None:
    """Write the model and the table of trials."""
    from fastnn import storage

    training = {
        "features": list(dataset.feature_names),
        "target": dataset.target_name,
        "scale": dataset.scale,
        "decimal": dataset.decimal,
        **kept.description,
        "settings": settings.model_dump(exclude_none=True),
        "results": {k: v for k, v in result.items() if isinstance(v, int | float | str)},
    }
    model: Any = found
    if encoding is not None:
        from fastnn.tables import TableModel

        training["features"] = encoding.used
        model = TableModel(encoding, found)
    storage.save(model, folder / MODEL_FILE, training=training)
    write_text(folder / "search.csv", csv_text(table))


def show(table: dict[str, list], result: dict[str, Any], task: str) -> None:
    """Print the best trials and the results of the chosen model."""
    texts = {
        name: [f"{v:.4g}" if isinstance(v, float) else str(v) for v in values[:SHOWN]]
        for name, values in table.items()
    }
    failed = f"; {result['failed']} diverged" if result["failed"] else ""
    print_columns(texts, ("hidden", "activation"), [])
    score, text = result["held_out_score"], "nothing was held out"
    if score is not None:
        text = f"{score:.4f} ({result['held_out']})"
    elif result["held_out"] != "none":
        text = f"- (not defined for the {result['held_out']}, as if a class is missing)"
    rows = [
        *note_rows(result),
        *tables.described_rows(result.get("columns")),
        ("task", task),
        ("trials", f"{result['trials']} on {result['samples']:,} training samples{failed}"),
        *_about_preset(result),
        ("score", _score_text(result)),
        ("held-out score", text),
        *score_rows(result, "held_out_"),
    ]
    if "caution" in result:
        rows.append(("caution", result["caution"]))
    if result.get("stopped", "trials") != "trials":
        rows.append(("", f"to continue: fastnn search --resume {result['folder']}"))
    if "held_out_majority_share" in result and result["scoring"] == "accuracy":
        rows.append(("hint", "--scoring balanced_accuracy, --class-weight balanced"))
    rows += [("folder", result["folder"]), ("files", ", ".join(result["files"]))]
    print_pairs(rows)


def _about_preset(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows that only the preset tabular has."""
    if "networks" not in result:
        return []
    trials = "the best trial" if result["members"] == 1 else f"{result['members']} trials"
    text = f"{result['networks']} networks, those of the folds of {trials}"
    if result["networks"] == 1:
        text = "one network with the best settings (--ensemble 0)"
    rows = [("preset", "tabular; else --preset plain"), ("model", text)]
    if "cluster" in result:
        rows.append(("cluster", result["cluster"]))
    if result["stopped"] != "trials":
        rows.append(("stopped", f"{result['stopped']}; only what was finished counts"))
    return rows


def _score_text(result: dict[str, Any]) -> str:
    """Name of the score; for an ensemble also its cross-validated value."""
    if result.get("networks", 1) == 1:
        return str(result["scoring"])
    return f"{result['scoring']}, {result['score']:.4f} of the folds by the ensemble"
