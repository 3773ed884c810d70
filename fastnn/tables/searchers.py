"""``TabularSearchClassifier`` and ``TabularSearchRegressor``: hyperparameter search."""

from __future__ import annotations

import os
import warnings
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

import fastnn
from fastnn.estimators.parameters import store_parameters
from fastnn.network.ensemble import Ensemble
from fastnn.tables.base import BaseTabular
from fastnn.tables.classifier import TabularClassifier
from fastnn.tables.fit_store import FitFolder, FitMemory, FitStore
from fastnn.tables.regressor import TabularRegressor
from fastnn.tables.search import Plan, SearchResult, search
from fastnn.tables.trials import Problem, folds_of

_CONSTRAINTS: dict[str, list] = {
    "n_trials": [Interval(Integral, 1, None, closed="left")],
    "n_epochs": [Interval(Integral, 1, None, closed="left")],
    "cv": [Interval(Integral, 2, None, closed="left"), HasMethods(["split"]), "array-like"],
    "method": [StrOptions({"halving", "random"})],
    "max_ensemble": [Interval(Integral, 1, None, closed="left")],
    "scoring": [StrOptions(set(get_scorer_names())), None],
    "time_limit": [Interval(Real, 0, None, closed="neither"), None],
    "log_features": ["boolean"],
    "missing_values": BaseTabular._parameter_constraints["missing_values"],
    "folder": [str, os.PathLike, None],
    "n_jobs": [Integral, None],
}


class _Search:
    """Mixin of both estimators: trains by a search instead of a single fit."""

    # Settings of the base class: no rows are held out before the cross-validation.
    validation_fraction = 0.0
    n_members = 1
    log_features = True
    _with_classes: ClassVar[bool]

    def fit(self: Any, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Learn the columns and search.

        Parameters
        ----------
        X : DataFrame, table, dict of columns or array-like, shape (n_samples, n_features)
            Rows, which may contain text, categories, dates and missing values.
        y : array-like, shape (n_samples,), or (n_samples, n_outputs) for a regression
            Targets, one per sample.
        sample_weight : array-like, shape (n_samples,), optional
            Sample weights for training; the scores are unweighted.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is invalid, if ``folder`` contains another search, or if no trial has a
            score.
        KeyboardInterrupt
            If the search is interrupted before a trial has a score. A later interrupt ends the
            search with the trials completed so far.

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, 2.0, 8.0, 9.0] * 10, "colour": ["red", "blue", None, "red"] * 10}
        >>> y = ["small", "small", "large", "large"] * 10
        >>> search = fastnn.TabularSearchClassifier(n_trials=2, n_epochs=8, cv=2, random_state=0)
        >>> search.fit(table, y).n_features_in_
        2
        """
        base: Any = super()
        return base.fit(X, y, sample_weight)

    def _train(
        self: Any,
        data: tuple,
        held_out: Any,
        rng: np.random.RandomState,
        checkpointing: Any = None,
    ) -> None:
        """Search with encoded rows; ``held_out`` and ``checkpointing`` are not used."""
        x, targets, weights = data
        seed = int(check_random_state(rng).randint(2**31 - 1))
        classes = self.classes_ if self._with_classes else None
        problem = Problem(
            x,
            targets,
            weights,
            classes,
            self._folds(targets, seed),
            self.scoring or ("accuracy" if self._with_classes else "r2"),
            seed=seed,
            backend=self.backend,
            dtype=np.dtype(self.dtype).name,
            targets_1d=True if self._with_classes else self._targets_1d,
        )
        plan = Plan(self.n_trials, self.n_epochs, self.method, self.max_ensemble, self.time_limit)
        found = search(problem, plan, self._store(problem, plan), self.n_jobs)
        if found.stopped == "interrupted":
            warnings.warn("Search interrupted by user.", stacklevel=5)
        self._take(found)

    def _folds(self: Any, targets: np.ndarray, seed: int) -> np.ndarray:
        """For each row, the index of the fold that holds it out."""
        if isinstance(self.cv, Integral):
            return folds_of(targets, int(self.cv), self._with_classes, seed)
        y = targets[:, 0] if targets.shape[1] == 1 else targets
        splits = [held for _, held in check_cv(self.cv).split(np.zeros((len(y), 1)), y)]
        if not np.array_equal(np.sort(np.concatenate(splits)), np.arange(len(y))):
            raise ValueError("cv must hold out each row once")
        folds = np.empty(len(y), np.int64)
        for k, held in enumerate(splits):
            folds[held] = k
        return folds

    def _store(self: Any, problem: Problem, plan: Plan) -> FitStore:
        """Storage of the finished fits."""
        if self.folder is None:
            return FitMemory()
        fingerprint = {
            "fastnn": fastnn.__version__,
            "plan": {name: getattr(plan, name) for name in ("trials", "epochs", "method")},
            "scoring": problem.scoring,
            "seed": problem.seed,
            "dtype": problem.dtype,
            "digest of the data": problem.digest(),
        }
        return FitFolder(Path(self.folder), fingerprint, self.backend)

    def _take(self: Any, found: SearchResult) -> None:
        """Set the fitted attributes from the result of a search."""
        assert isinstance(found.model, Ensemble)
        self.ensemble_, self.networks_ = found.model, found.model.networks
        self.stopped_ = found.stopped
        self.n_iter_ = max(net.n_epochs_ for net in self.networks_)
        trials = sorted(found.trials, key=lambda trial: trial.number)
        best = min(trials, key=lambda trial: trial.order)
        self.best_params_, self.best_score_ = dict(best.settings), best.score
        self.ensemble_score_ = found.score
        ranks = {trial.number: k for k, trial in enumerate(found.trials, 1)}
        self.cv_results_ = {
            "params": [dict(trial.settings) for trial in trials],
            "mean_test_score": np.array([trial.score for trial in trials]),
            "std_test_score": np.array([trial.deviation for trial in trials]),
            "mean_fit_time": np.array([trial.seconds for trial in trials]),
            "n_epochs": np.array([trial.epochs for trial in trials]),
            "weight": np.array([found.members.get(trial.number, 0.0) for trial in trials]),
            "rank_test_score": np.array([ranks[trial.number] for trial in trials]),
        }

    def _averaged(self) -> Ensemble:
        """The ensemble that the search selected."""
        return self.ensemble_


class TabularSearchClassifier(_Search, TabularClassifier):
    """Hyperparameter search for :class:`TabularClassifier` by cross-validation.

    Trials draw sizes, activation, learning rate, dropout and label smoothing from the search space
    of the paper; the first trial has the settings of :class:`TabularClassifier` itself. The result
    is an ensemble of the networks of all folds of some trials, selected greedily (Caruana and
    others, 2004).

    By default, fits run in threads, one per core. Within ``joblib.parallel_config``, they run on
    the backend chosen there, such as a Dask cluster. The result does not depend on the backend.

    Parameters
    ----------
    n_trials : int, default=20
        Number of settings to try.
    n_epochs : int, default=256
        Number of epochs of the last round.
    cv : int, splitter or iterable of splits, default=5
        Folds, each row held out once.
    method : {"halving", "random"}, default="halving"
        "halving": all trials with few epochs, the best third of them with three times as many,
        and so on; "random": all trials with all epochs.
    max_ensemble : int, default=5
        Maximum number of trials in the ensemble, each with ``cv`` networks.
    scoring : str, optional
        Name of a scikit-learn scorer; default: accuracy. With a scorer that uses probabilities,
        there is no label smoothing, and the best epoch has the smallest cross-entropy.
    calibrate, class_weight, log_features, columns, missing_values, backend, dtype
        As for :class:`TabularClassifier`.
    time_limit : float, optional
        Seconds after which the search ends with the completed trials; the result depends on the
        machine.
    folder : path, optional
        Folder for finished fits, which a search with the same data and arguments reuses.
    random_state : int, RandomState or None
        Determines the trials and all fits. Must be an int for a search to be resumed.
    n_jobs : int, optional
        Number of fits in parallel; default: one per core, or that of the joblib backend.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
    ensemble_ : Ensemble
        The ensemble; its inputs are the encoded columns.
    encoding_ : fastnn.tables.Encoding
    best_params_, best_score_ : dict, float
        Settings of the best trial, and its mean score over the folds.
    ensemble_score_ : float
        Score of the ensemble's out-of-fold predictions.
    cv_results_ : dict
        As for scikit-learn's searches; also ``n_epochs``, and the ``weight`` of each trial in the
        ensemble.
    stopped_ : {"trials", "time limit", "interrupted"}
        Why the search ended.
    n_features_in_, feature_names_in_
        As for :class:`TabularClassifier`.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> search = fastnn.TabularSearchClassifier(n_trials=3, n_epochs=20, cv=3, random_state=0)
    >>> search.fit(X, y).best_score_ > 0.8
    True
    """

    _with_classes = True
    _parameter_constraints: ClassVar[dict] = {
        **{
            name: TabularClassifier._parameter_constraints[name]
            for name in ("calibrate", "class_weight", "columns", "random_state", "backend", "dtype")
        },
        **_CONSTRAINTS,
    }

    def __init__(
        self,
        *,
        n_trials: int = 20,
        n_epochs: int = 256,
        cv: int = 5,
        method: str = "halving",
        max_ensemble: int = 5,
        scoring: str | None = None,
        calibrate: bool = True,
        class_weight: Any = None,
        time_limit: float | None = None,
        log_features: bool = True,
        columns: dict[str, str] | None = None,
        missing_values: Any = None,
        folder: str | os.PathLike | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        backend: str = "auto",
        dtype: Any = "float32",
    ) -> None:
        store_parameters(self, locals())


class TabularSearchRegressor(_Search, TabularRegressor):
    """Hyperparameter search for :class:`TabularRegressor` by cross-validation.

    Parameters
    ----------
    n_trials, n_epochs, cv, method, max_ensemble : various
        As for :class:`TabularSearchClassifier`.
    time_limit, log_features, columns, missing_values, folder, random_state : various
        As for :class:`TabularSearchClassifier`.
    n_jobs, backend, dtype : various
        As for :class:`TabularSearchClassifier`.
    scoring : str, optional
        Name of a scikit-learn scorer; default: R^2.

    Attributes
    ----------
    ensemble_, encoding_, best_params_, best_score_, ensemble_score_, cv_results_, stopped_
    n_features_in_, feature_names_in_
        As for :class:`TabularSearchClassifier`.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> search = fastnn.TabularSearchRegressor(n_trials=3, n_epochs=20, cv=3, random_state=0)
    >>> search.fit(X, y).best_score_ > 0.3
    True
    """

    # Settings of the base class; the search space is meant for the squared error only.
    loss, quantile, delta, beta = "squared_error", 0.5, 1.0, 0.5
    _with_classes = False
    _parameter_constraints: ClassVar[dict] = {
        **{
            name: TabularRegressor._parameter_constraints[name]
            for name in ("columns", "random_state", "backend", "dtype")
        },
        **_CONSTRAINTS,
    }

    def __init__(
        self,
        *,
        n_trials: int = 20,
        n_epochs: int = 256,
        cv: int = 5,
        method: str = "halving",
        max_ensemble: int = 5,
        scoring: str | None = None,
        time_limit: float | None = None,
        log_features: bool = True,
        columns: dict[str, str] | None = None,
        missing_values: Any = None,
        folder: str | os.PathLike | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        backend: str = "auto",
        dtype: Any = "float32",
    ) -> None:
        store_parameters(self, locals())
