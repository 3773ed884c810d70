"""``fastnn search``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fastnn import datasets
from fastnn.backends import codes
from fastnn.cli.data import HELD_OUT, held_out, part, split
from fastnn.cli.options import (
    BACKEND,
    DATA,
    DATA_DIR,
    DATA_DIR_DEFAULT,
    TARGET,
    TARGET_DEFAULT,
    TASK,
    Backend,
    Dtype,
    JsonFlag,
    Task,
    choice,
    option,
)
from fastnn.cli.output import csv_text, print_columns, print_json
from fastnn.cli.runs import MODEL_FILE, run_folder, write_text

if TYPE_CHECKING:
    from fastnn.datasets import Dataset
    from fastnn.estimators.search import Model, Search

DEFAULT_HIDDEN = ("8", "32", "128", "16,16", "64,64", "16,16,16", "64,64,64")
SHOWN = 10  # trials in the table that is printed

Method = choice("Method", ["random", "halving"])


def command(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA)] = "moons",
    target: Annotated[str | None, option("--target", TARGET, TARGET_DEFAULT)] = None,
    task: Annotated[
        Task | None,
        option("--task", TASK, "by the target's values", metavar="NAME"),
    ] = None,
    data_dir: Annotated[str | None, option("--data-dir", DATA_DIR, DATA_DIR_DEFAULT)] = None,
    test: Annotated[
        float,
        option("--test", "Share of the samples held out to the end.", min=0.0, max=0.99),
    ] = HELD_OUT,
    method: Annotated[
        Method,
        option("--method", "random; or halving: many trials on few samples, the best go on."),
    ] = Method.random,
    trials: Annotated[int, option("--trials", "Settings to try.", min=1)] = 20,
    folds: Annotated[int, option("--folds", "Parts of the cross-validation.", min=2)] = 3,
    hidden: Annotated[
        list[str] | None,
        option(
            "--hidden",
            "Hidden layers to try, as 8 or 16,16 or none; repeat for more.",
            "; ".join(DEFAULT_HIDDEN),
            metavar="SIZES",
        ),
    ] = None,
    activation: Annotated[
        str,
        option(
            "--activation",
            f"Activations to try, with commas between: {', '.join(codes.ACTIVATIONS)}.",
            metavar="NAMES",
        ),
    ] = "relu,tanh,silu",
    learning_rate: Annotated[
        str,
        option(
            "--learning-rate",
            "LOW:HIGH, on a logarithmic scale; or numbers with commas between.",
        ),
    ] = "1e-4:1e-1",
    l2: Annotated[
        str, option("--l2", "L2 penalty (alpha of the estimator), as for --learning-rate.")
    ] = "1e-6:1",
    solver: Annotated[str, option("--solver", "Update rule of all trials, or lbfgs.")] = "adam",
    epochs: Annotated[int, option("--epochs", "Most epochs of a trial.", min=1)] = 200,
    scoring: Annotated[
        str | None,
        option("--scoring", "Score, by its name in scikit-learn.", "accuracy; r2 for regression"),
    ] = None,
    jobs: Annotated[int | None, option("--jobs", "Fits at a time.", "one per core", min=1)] = None,
    seed: Annotated[int, option("--seed", "Seed of everything random.", min=0)] = 0,
    backend: Annotated[Backend, option("--backend", BACKEND, metavar="NAME")] = Backend.auto,
    dtype: Annotated[
        Dtype, option("--dtype", "Precision of parameters and training.")
    ] = Dtype.float64,
    out: Annotated[
        Path | None, option("--out", "Folder for the results.", "runs/DATA-search-1, ...")
    ] = None,
    overwrite: Annotated[
        bool, option("--overwrite", "Write into --out even if it has files.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Search for the best network for some data, by cross-validation.

    Features (and the values of a regression) are standardised in every trial. The best settings
    are trained again on all samples that are not held out; the model file takes features as they
    are, its first layer does the standardising.
    """
    dataset = datasets.load(
        data, target=target, task=task.value if task else None, data_dir=data_dir, seed=seed
    )
    distributions = {
        "hidden_layer_sizes": [sizes(text) for text in hidden or DEFAULT_HIDDEN],
        "activation": activations(activation),
        "learning_rate_init": numbers("--learning-rate", learning_rate, zero=False),
        "alpha": numbers("--l2", l2, zero=True),
    }
    _check_score(scoring)
    from fastnn.estimators.search import Search

    search = Search(method.value, trials, folds, scoring, jobs, seed)
    model = _model(
        dataset.task,
        solver=solver,
        max_iter=epochs,
        random_state=seed,
        backend=backend.value,
        dtype=dtype.value,
    )
    rows = split(dataset, test, seed)
    with run_folder(out, f"{dataset.name}-search", overwrite) as folder:
        found, table, result = _search(model, distributions, dataset, rows, search, as_json)
        result = {"data": data, **result}
        settings = {"data": data, "test": test, "seed": seed}
        _write(folder, found, table, dataset, settings, result)
    result["folder"], result["files"] = str(folder), [MODEL_FILE, "search.csv"]
    if as_json:
        print_json(result)
    else:
        _print(table, result)


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


def _model(task: str, **parameters: Any) -> Model:
    """The estimator that all trials start from."""
    from fastnn.estimators import MLPClassifier, MLPRegressor

    model = (MLPClassifier if task == "classification" else MLPRegressor)(**parameters)
    model._validate_params()
    return model


def _search(
    model: Model,
    distributions: dict[str, Any],
    dataset: Dataset,
    rows: tuple[np.ndarray, np.ndarray],
    search: Search,
    quiet: bool,
) -> tuple[Model, dict[str, list], dict[str, Any]]:
    """The best model trained, the table of trials, and what they came to."""
    from fastnn.estimators.search import cross_validate, fit_best, results
    from fastnn.training.bars import CountingBar

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
    settings: dict[str, Any],
    result: dict[str, Any],
) -> None:
    """Write the model and the table of trials."""
    from fastnn import storage

    training = {
        "features": list(dataset.feature_names),
        "target": dataset.target_name,
        "scale": dataset.scale,
        "settings": settings,
        "results": {k: v for k, v in result.items() if isinstance(v, int | float | str)},
    }
    storage.save(found, folder / MODEL_FILE, training=training)
    write_text(folder / "search.csv", csv_text(table))


def _print(table: dict[str, list], result: dict[str, Any]) -> None:
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
