"""The command ``fastnn search``: sizes, activation, learning rate and L2 by cross-validation."""

from __future__ import annotations

import sys
import warnings
from contextlib import nullcontext
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import joblib
import numpy as np
import scipy.stats
import typer
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import HalvingRandomSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnn.backends import BACKENDS, codes
from fastnn.datasets import Dataset
from fastnn.estimators import JoblibBackend, MLPClassifier, MLPRegressor

DEFAULT_HIDDEN = ("8", "32", "128", "16,16", "64,64", "16,16,16", "64,64,64")

Task = Enum("Task", {"classification": "classification", "regression": "regression"}, type=str)
Method = Enum("Method", {"random": "random", "halving": "halving"}, type=str)
Backend = Enum("Backend", {name: name for name in ("auto", *BACKENDS)}, type=str)
Dtype = Enum("Dtype", {"float32": "float32", "float64": "float64"}, type=str)


def command(
    data: Annotated[
        str, typer.Argument(help="Built-in name (moons, iris, ...) or a data file, as for train.")
    ] = "moons",
    target: Annotated[
        str | None, typer.Option(help="Column of the targets, by name or position.")
    ] = None,
    task: Annotated[Task | None, typer.Option(help="Default: by the target's values.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Folder with the files of mnist.")] = None,
    test: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Share of the samples held out to the end.")
    ] = 0.2,
    method: Annotated[
        Method,
        typer.Option(help="random; or halving: many trials on few samples, the best go on."),
    ] = Method.random,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try.")] = 20,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the cross-validation.")] = 3,
    hidden: Annotated[
        list[str] | None,
        typer.Option(help="Hidden layers to try, as 8 or 16,16 or none; repeat for more."),
    ] = None,
    activation: Annotated[
        str, typer.Option(help="Activations to try, with commas between.")
    ] = "relu,tanh,silu",
    learning_rate: Annotated[
        str, typer.Option(help="LOW:HIGH, on a logarithmic scale; or numbers with commas between.")
    ] = "1e-4:1e-1",
    l2: Annotated[
        str, typer.Option(help="alpha of the estimator, given like the learning rate.")
    ] = "1e-6:1",
    solver: Annotated[str, typer.Option(help="Update rule of all trials, or lbfgs.")] = "adam",
    epochs: Annotated[int, typer.Option(min=1, help="Most epochs of a trial.")] = 200,
    scoring: Annotated[
        str | None, typer.Option(help="Score of scikit-learn; default: accuracy or R^2.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Fits at a time; default: one a core.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    backend: Annotated[Backend, typer.Option(help="Default: the fastest there is.")] = Backend.auto,
    dtype: Annotated[Dtype, typer.Option(help="Of parameters and training.")] = Dtype.float64,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default: runs/NAME-search-1, ...")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Into a folder in use.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Search for the best network for some data, by cross-validation.

    Features (and the values of a regression) are standardised in every trial. The best settings
    are trained again on all samples that are not held out; the model file takes features as they
    are, its first layer does the standardising.
    """
    from fastnn import cli, datasets, storage

    dataset = datasets.load(
        data, target=target, task=task.value if task else None, data_dir=data_dir, seed=seed
    )
    distributions = {
        "hidden_layer_sizes": [_sizes(text) for text in hidden or DEFAULT_HIDDEN],
        "activation": _names(activation),
        "learning_rate_init": _range("--learning-rate", learning_rate, zero=False),
        "alpha": _range("--l2", l2, zero=True),
    }
    if scoring is not None and scoring not in get_scorer_names():
        raise ValueError(f"--scoring must be a score of scikit-learn; got {scoring!r}")
    model = _model(dataset, solver, epochs, seed, backend.value, dtype.value)
    train_rows, test_rows = cli._split(dataset, test, seed)
    X, y = cli._part(dataset, train_rows, np.dtype(dtype.value))

    with cli._run_folder(out, f"{dataset.name}-search", overwrite) as folder:
        searched = _search(
            model, distributions, X, y, method.value, trials, folds, scoring, jobs, seed, as_json
        )
        table, best = _results(searched)
        best_model = _fit_best(model, best, X, y)
        fresh_X, fresh_y, held_out_name = cli._held_out(dataset, test_rows, X.dtype)
        held_out = None
        if len(fresh_X):
            held_out = float(_scorer(scoring, dataset.task)(best_model, fresh_X, fresh_y))
        score = scoring or ("accuracy" if dataset.task == "classification" else "r2")
        result = {
            "data": data,
            "task": dataset.task,
            "samples": len(X),
            "trials": len(table["rank"]),
            "failed": int(np.isnan(table["score"]).sum()),
            "scoring": score,
            "score": table["score"][0],
            "held_out": held_out_name,
            "held_out_score": held_out,
            **{name: list(v) if isinstance(v, tuple) else v for name, v in best.items()},
        }
        training = {
            "features": list(dataset.feature_names),
            "target": dataset.target_name,
            "scale": dataset.scale,
            "settings": {"data": data, "test": test, "seed": seed},
            "results": {k: v for k, v in result.items() if isinstance(v, int | float | str)},
        }
        storage.save(best_model, folder / cli.MODEL_FILE, training=training)
        cli._write_text(folder / "search.csv", cli._csv_text(table))
    result["folder"], result["files"] = str(folder), [cli.MODEL_FILE, "search.csv"]
    if as_json:
        cli._print_json(result)
    else:
        _print_results(table, result)


def _sizes(text: str) -> tuple[int, ...]:
    """``"16,16"`` as numbers of units; ``"none"`` for no hidden layer."""
    if text.strip() == "none":
        return ()
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise ValueError(f"--hidden must be units as 8 or 16,16, or none; got {text!r}")
    return sizes


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in codes.ACTIVATIONS]
    if unknown:
        raise ValueError(
            f"--activation must be of {', '.join(codes.ACTIVATIONS)}; got {unknown[0]!r}"
        )
    return names


def _range(name: str, text: str, zero: bool) -> Any:
    """``LOW:HIGH`` as a log-uniform distribution, numbers as a list."""
    parts = text.split(":")
    try:
        numbers = [float(part) for part in (parts if len(parts) == 2 else text.split(","))]
    except ValueError:
        numbers = [float("nan")]
    least = 0.0 if zero and len(parts) != 2 else np.nextafter(0.0, 1.0)
    good = all(least <= number < np.inf for number in numbers)
    if not good or (len(parts) == 2 and not numbers[0] < numbers[1]):
        raise ValueError(f"{name} must be LOW:HIGH with 0 < LOW < HIGH, or numbers; got {text!r}")
    return scipy.stats.loguniform(*numbers) if len(parts) == 2 else numbers


def _model(
    dataset: Dataset, solver: str, epochs: int, seed: int, backend: str, dtype: str
) -> MLPClassifier | MLPRegressor:
    """The estimator that all trials start from."""
    cls = MLPClassifier if dataset.task == "classification" else MLPRegressor
    model = cls(solver=solver, max_iter=epochs, random_state=seed, backend=backend, dtype=dtype)
    model._validate_params()
    return model


def _scorer(scoring: str | None, task: str) -> Any:
    return get_scorer(scoring or ("accuracy" if task == "classification" else "r2"))


class _Counting:
    """A scorer that moves a progress bar: it is called once a fit."""

    def __init__(self, scorer: Any, advance: Any) -> None:
        self.scorer, self.advance = scorer, advance

    def __call__(self, estimator: Any, X: np.ndarray, y: np.ndarray) -> float:
        score = self.scorer(estimator, X, y)
        self.advance()
        return score


def _search(
    model: MLPClassifier | MLPRegressor,
    distributions: dict[str, Any],
    X: np.ndarray,
    y: np.ndarray,
    method: str,
    trials: int,
    folds: int,
    scoring: str | None,
    jobs: int | None,
    seed: int,
    quiet: bool,
) -> RandomizedSearchCV | HalvingRandomSearchCV:
    """Cross-validate settings drawn from the distributions."""
    from fastnn.training.bars import CountingBar

    prefix = f"{type(model).__name__.lower()}__"
    estimator = make_pipeline(StandardScaler(), model)
    task = "classification"
    if isinstance(model, MLPRegressor):
        task, prefix = "regression", f"regressor__{prefix}"
        estimator = TransformedTargetRegressor(estimator, transformer=StandardScaler())
    drawn = {f"{prefix}{name}": values for name, values in distributions.items()}
    # halving decides by itself how many fits there are
    total = trials * folds if method == "random" else None
    bar = None if quiet else CountingBar.on_terminal("fit", total)
    advance = bar.one_more if bar is not None else lambda: None
    settings = {
        "scoring": _Counting(_scorer(scoring, task), advance),
        "cv": folds,
        "n_jobs": -1 if jobs is None else jobs,
        "refit": False,
        "random_state": seed,
    }
    if method == "random":
        search = RandomizedSearchCV(estimator, drawn, n_iter=trials, **settings)
    else:
        search = HalvingRandomSearchCV(
            estimator, drawn, n_candidates=trials, min_resources="exhaust", **settings
        )
    with (
        bar if bar is not None else nullcontext(),
        joblib.parallel_config(JoblibBackend()),
        warnings.catch_warnings(),
    ):
        # a trial may need more epochs, or diverge: its score tells
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FitFailedWarning)
        warnings.filterwarnings("ignore", "Training interrupted")  # the command says so
        warnings.filterwarnings("ignore", "One or more of the test scores are non-finite")
        return search.fit(X, y)


def _results(search: Any) -> tuple[dict[str, list], dict[str, Any]]:
    """The trials as columns, best first, and the settings of the best."""
    found = search.cv_results_
    scores = np.asarray(found["mean_test_score"], float)
    if np.isnan(scores).all():
        raise ValueError("every trial diverged; try a lower --learning-rate")
    # the last round of halving has seen the most samples
    rounds = np.asarray(found.get("iter", np.zeros(len(scores), int)))
    order = sorted(
        range(len(scores)),
        key=lambda k: (-rounds[k], np.isnan(scores[k]), -np.nan_to_num(scores[k])),
    )
    settings = [
        {name.rpartition("__")[2]: value for name, value in found["params"][k].items()}
        for k in order
    ]
    table: dict[str, list] = {
        "rank": list(range(1, len(order) + 1)),
        "score": [float(scores[k]) for k in order],
        "deviation": [float(found["std_test_score"][k]) for k in order],
    }
    if "n_resources" in found:
        table["samples"] = [int(found["n_resources"][k]) for k in order]
    table["hidden"] = [",".join(map(str, s["hidden_layer_sizes"])) or "none" for s in settings]
    table["activation"] = [str(s["activation"]) for s in settings]
    table["learning_rate"] = [float(s["learning_rate_init"]) for s in settings]
    table["l2"] = [float(s["alpha"]) for s in settings]
    table["seconds"] = [float(found["mean_fit_time"][k]) for k in order]
    best = {
        "hidden_layer_sizes": tuple(settings[0]["hidden_layer_sizes"]),
        "activation": table["activation"][0],
        "learning_rate_init": table["learning_rate"][0],
        "alpha": table["l2"][0],
    }
    return table, best


def _fit_best(
    model: MLPClassifier | MLPRegressor, best: dict[str, Any], X: np.ndarray, y: np.ndarray
) -> MLPClassifier | MLPRegressor:
    """The best settings trained on all samples; standardising goes into the outer layers."""
    scaler = StandardScaler().fit(X)
    model = clone(model).set_params(**best)
    shift, scale = 0.0, 1.0
    if isinstance(model, MLPRegressor):
        shift, scale = float(np.mean(y)), float(np.std(y)) or 1.0
        y = (y - shift) / scale
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(X), y)
    w, b = model.coefs_[0], model.intercepts_[0]
    w /= scaler.scale_[:, None]
    b -= scaler.mean_ @ w
    model.coefs_[-1][...] *= scale
    model.intercepts_[-1][...] = model.intercepts_[-1] * scale + shift
    return model


def _print_results(table: dict[str, list], result: dict[str, Any]) -> None:
    """The ten best trials and what became of the best."""
    from rich.console import Console
    from rich.table import Table

    shown = {name: values[:10] for name, values in table.items()}
    texts = {
        name: [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        for name, values in shown.items()
    }
    held_out = result["held_out_score"]
    lines = [
        f"{result['trials']} trials on {result['samples']:,} samples, "
        f"score {result['scoring']}"
        + (f"; {result['failed']} diverged" if result["failed"] else ""),
        "held-out score of the best: "
        + ("nothing was held out" if held_out is None else f"{held_out:.4f}"),
        f"folder: {result['folder']} ({', '.join(result['files'])})",
    ]
    console = Console(highlight=False)
    if console.is_terminal:
        grid = Table()
        for name in texts:
            grid.add_column(name, justify="left" if name in ("hidden", "activation") else "right")
        for row in zip(*texts.values(), strict=True):
            grid.add_row(*row)
        console.print(grid)
    else:  # a pipe or a file
        widths = [max(len(name), *map(len, values)) for name, values in texts.items()]
        rows = [tuple(texts), *zip(*texts.values(), strict=True)]
        padded = (map(str.ljust, row, widths) for row in rows)
        lines = [*("  ".join(row).rstrip() for row in padded), *lines]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
