"""Search for layer sizes, activation, learning rate and L2 by cross-validation."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import joblib
import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import get_scorer
from sklearn.model_selection import HalvingRandomSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from fastnn.estimators.classifier import MLPClassifier
from fastnn.estimators.parallel import JoblibBackend
from fastnn.estimators.regressor import MLPRegressor
from fastnn.training.checkpoints import digest
from fastnn.training.pool import check_stopped

Model = MLPClassifier | MLPRegressor


@dataclass(frozen=True)
class Search:
    """Settings of a search.

    Attributes
    ----------
    method : {"random", "halving"}
        "halving": many trials on few samples; the best continue with more samples.
    trials, folds : int
    scoring : str or None
        Name of a scorer of scikit-learn; default: accuracy or R^2.
    jobs : int or None
        Number of fits at the same time; default: one per core.
    seed : int
    """

    method: str
    trials: int
    folds: int
    scoring: str | None
    jobs: int | None
    seed: int

    @property
    def n_fits(self) -> int | None:
        """Number of fits; None for halving, which determines it itself."""
        return self.trials * self.folds if self.method == "random" else None

    def score_name(self, task: str) -> str:
        """Name of the score."""
        return self.scoring or ("accuracy" if task == "classification" else "r2")

    def scorer(self, task: str) -> Any:
        """The score as a function of estimator, data and targets."""
        return get_scorer(self.score_name(task))


class Scores(Protocol):
    """Storage of the scores of finished fits."""

    def get(self, key: str) -> tuple[float, float] | None:
        """Return score and seconds, or None if not stored."""

    def put(self, key: str, score: float, seconds: float) -> None:
        """Store score and seconds."""


class _DeferredEstimator(BaseEstimator):
    """An estimator whose fit is deferred to the scorer, which may already know the score.

    Parameters
    ----------
    estimator : estimator
    """

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    def fit(self, X: np.ndarray, y: np.ndarray) -> _DeferredEstimator:
        self.data_ = X, y
        return self

    def key(self, X: np.ndarray, y: np.ndarray) -> str:
        """Digest of the settings, the training samples and the validation samples."""
        parameters = self.estimator.get_params().items()
        settings = {k: v for k, v in parameters if not hasattr(v, "get_params") and k != "steps"}
        text = np.frombuffer(json.dumps(settings, default=repr, sort_keys=True).encode(), np.uint8)
        return digest(text, *self.data_, X, y)

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.estimator)


class _Scorer:
    """Fits and scores a :class:`_DeferredEstimator` unless its score is stored; counts the fits.

    Attributes
    ----------
    seconds : list of (dict, int, float)
        Settings, number of samples and seconds of each fit.
    """

    def __init__(self, scorer: Any, advance: Callable[[], None], kept: Scores | None) -> None:
        self.scorer, self.advance, self.kept = scorer, advance, kept
        self.seconds: list[tuple[dict[str, Any], int, float]] = []

    def __call__(self, deferred: _DeferredEstimator, X: np.ndarray, y: np.ndarray) -> float:
        key = deferred.key(X, y) if self.kept is not None else ""
        score_and_seconds = None if self.kept is None else self.kept.get(key)
        if score_and_seconds is None:
            started = time.perf_counter()
            try:
                estimator = clone(deferred.estimator).fit(*deferred.data_)
            except UserWarning:  # "Training interrupted": see the filters in cross_validate
                raise KeyboardInterrupt from None
            check_stopped()
            seconds = time.perf_counter() - started
            score_and_seconds = float(self.scorer(estimator, X, y)), seconds
            if self.kept is not None and np.isfinite(score_and_seconds[0]):
                self.kept.put(key, *score_and_seconds)
        self.seconds.append((deferred.get_params(), len(deferred.data_[0]), score_and_seconds[1]))
        self.advance()
        return score_and_seconds[0]

    def seconds_of(self, settings: dict[str, Any], samples: int | None) -> float:
        """Mean time of the fits with these settings, in the round with ``samples`` if given.

        A fit uses at least half of the samples of its round, and each round has three times as
        many samples as the previous one, so the number of samples identifies the round.
        """
        durations = [
            seconds
            for params, n, seconds in self.seconds
            if (samples is None or samples / 2 <= n <= samples)
            and settings.items() <= params.items()
        ]
        return float(np.mean(durations)) if durations else 0.0


def cross_validate(
    model: Model,
    distributions: dict[str, Any],
    X: np.ndarray,
    y: np.ndarray,
    search: Search,
    advance: Callable[[], None] = lambda: None,
    kept: Scores | None = None,
) -> RandomizedSearchCV | HalvingRandomSearchCV:
    """Cross-validate settings drawn from distributions, with standardised features.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
        Model with the parameters that are not searched.
    distributions : dict
        List of values, or a distribution of SciPy, by name of a parameter.
    X, y : ndarray
    search : Search
    advance : callable, optional
        Called after every fit.
    kept : Scores, optional
        Stored scores of finished fits, which are not repeated.
    """
    prefix = f"{type(model).__name__.lower()}__"
    estimator = make_pipeline(StandardScaler(), model)
    task = "classification"
    if isinstance(model, MLPRegressor):
        task, prefix = "regression", f"regressor__{prefix}"
        estimator = TransformedTargetRegressor(estimator, transformer=StandardScaler())
    estimator, prefix = _DeferredEstimator(estimator), f"estimator__{prefix}"
    drawn = {f"{prefix}{name}": values for name, values in distributions.items()}
    settings = {
        "scoring": _Scorer(search.scorer(task), advance, kept),
        "cv": search.folds,
        "n_jobs": -1 if search.jobs is None else search.jobs,
        "refit": False,
        "random_state": search.seed,
    }
    if search.method == "random":
        searched = RandomizedSearchCV(estimator, drawn, n_iter=search.trials, **settings)
    else:
        searched = HalvingRandomSearchCV(
            estimator, drawn, n_candidates=search.trials, min_resources="exhaust", **settings
        )
    with joblib.parallel_config(JoblibBackend()), warnings.catch_warnings():
        # a trial may need more epochs, or diverge; its score shows that
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FitFailedWarning)
        # an interrupted fit must not be scored
        warnings.filterwarnings("error", "Training interrupted", UserWarning)
        warnings.filterwarnings("ignore", "The least populated class")
        warnings.filterwarnings("ignore", "Scoring failed")
        warnings.filterwarnings("ignore", "One or more of the test scores are non-finite")
        return searched.fit(X, y)


def results(searched: Any) -> tuple[dict[str, list], dict[str, Any]]:
    """Return the trials as columns, best first, and the parameters of the best trial."""
    cv_results = searched.cv_results_
    scores = np.asarray(cv_results["mean_test_score"], float)
    if np.isnan(scores).all():
        raise ValueError(
            "every trial diverged or has no score; try a lower learning rate or another score"
        )
    # the last round of halving has seen the most samples
    rounds = np.asarray(cv_results.get("iter", np.zeros(len(scores), int)))
    order = sorted(
        range(len(scores)),
        key=lambda k: (-rounds[k], np.isnan(scores[k]), -np.nan_to_num(scores[k])),
    )
    settings = [
        {name.rpartition("__")[2]: value for name, value in cv_results["params"][k].items()}
        for k in order
    ]
    table: dict[str, list] = {
        "rank": list(range(1, len(order) + 1)),
        "score": [float(scores[k]) for k in order],
        "deviation": [float(cv_results["std_test_score"][k]) for k in order],
    }
    if "n_resources" in cv_results:
        table["samples"] = [int(cv_results["n_resources"][k]) for k in order]
    table["hidden"] = [",".join(map(str, s["hidden_layer_sizes"])) or "none" for s in settings]
    table["activation"] = [str(s["activation"]) for s in settings]
    table["learning_rate"] = [float(s["learning_rate_init"]) for s in settings]
    table["l2"] = [float(s["alpha"]) for s in settings]
    samples = cv_results.get("n_resources", [None] * len(scores))
    table["seconds"] = [
        searched.scoring.seconds_of(cv_results["params"][k], samples[k]) for k in order
    ]
    best = {
        "hidden_layer_sizes": tuple(settings[0]["hidden_layer_sizes"]),
        "activation": table["activation"][0],
        "learning_rate_init": table["learning_rate"][0],
        "alpha": table["l2"][0],
    }
    return table, best


# Largest tolerated rounding error, in standard deviations, if means are folded into the weights.
MAX_ROUNDING = 1e-3


def fit_best(model: Model, best: dict[str, Any], X: np.ndarray, y: np.ndarray) -> Model:
    """Train the best settings on all samples; fold the scaling into the first and last layer."""
    scaler = StandardScaler().fit(X)
    _warn_of_large_means(model, scaler)
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


def _warn_of_large_means(model: Model, scaler: StandardScaler) -> None:
    """Warn if float32 loses the spread of a column when its mean is folded into the biases."""
    if np.dtype(model.dtype) != np.float32:
        return
    rounding = np.abs(scaler.mean_ / scaler.scale_) * np.finfo(np.float32).eps
    if rounding.max() > MAX_ROUNDING:
        warnings.warn(
            f"column {int(rounding.argmax())} is so large against its spread that float32 loses "
            "its digits; dtype float64 keeps them",
            stacklevel=3,
        )
