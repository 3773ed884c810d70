"""Conformal prediction: intervals and sets with a given coverage, by cross-validation."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import joblib
import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    _fit_context,
    clone,
    is_classifier,
)
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils import _safe_indexing, check_random_state, column_or_1d, indexable
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from fastnn.estimators.bagging import is_gaussian, last_step, loss_name_of
from fastnn.estimators.base import ScoreMixin
from fastnn.estimators.checks import RollbackOnError, check_values, plain_labels
from fastnn.estimators.parallel import JoblibBackend
from fastnn.estimators.parameters import store_parameters
from fastnn.network import Network
from fastnn.validation import as_real

# Maximum number of elements processed at a time: samples to predict times held-out samples.
MAX_ELEMENTS = 4_000_000


class Fold(NamedTuple):
    """A model and the sorted scores of its held-out samples."""

    model: Any
    scores: np.ndarray


class _Conformal(MetaEstimatorMixin, BaseEstimator):
    """Base class of regressor and classifier: the folds and their models.

    Subclasses define ``_scores`` (nonconformity scores of held-out samples) and ``_targets``
    (validate the targets).
    """

    _parameter_constraints: ClassVar[dict] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "cv": ["cv_object", StrOptions({"prefit"})],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    estimator: Any
    cv: Any
    random_state: Any
    n_jobs: int | None

    # the parameters of the nested estimator may not have been validated
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model to all samples, and one model per fold to the other folds.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame}, shape (n_samples, n_features)
            Samples; with ``cv="prefit"`` those that were not used for training.
        y : array-like, shape (n_samples,)
            Targets, one per sample.
        sample_weight : array-like, shape (n_samples,), optional
            Weight of each sample in the fits; errors of held-out samples are not weighted.

        Returns
        -------
        self

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> x = np.linspace(0, 3, 200)[:, None]
        >>> y = np.sin(x[:, 0]) + np.random.default_rng(0).normal(0, 0.1, 200)
        >>> settings = {"solver": "lbfgs", "max_iter": 1000, "random_state": 0}
        >>> one = fastnn.MLPRegressor(hidden_layer_sizes=8, **settings)
        >>> model = fastnn.ConformalRegressor(one, cv=4, random_state=0).fit(x, y)
        >>> model.n_held_out_
        200
        """
        with RollbackOnError(self):
            self._fit(X, y, sample_weight)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        if isinstance(self.estimator, Network) and not isinstance(self.cv, str):
            raise ValueError(
                "estimator is a Network, which cannot be trained for each fold: train it and set "
                'cv="prefit", or take MLPRegressor or MLPClassifier'
            )
        check_values("y", y, is_classifier(self))
        X, y = indexable(X, plain_labels(y) if is_classifier(self) else y)
        y = self._targets(column_or_1d(y, warn=True))
        if sample_weight is not None:
            check_values("sample_weight", sample_weight)
            sample_weight = _check_sample_weight(sample_weight, np.empty((len(y), 1)))
        everything = np.arange(len(y))
        if isinstance(self.cv, str):
            whole, models, held_out = self.estimator, [self.estimator], [everything]
        else:
            splits = list(self._folds().split(X, y))
            held_out = [test for _, test in splits]
            tasks = [everything, *(train for train, _ in splits)]
            with joblib.parallel_config(JoblibBackend(), n_jobs=-1):
                whole, *models = joblib.Parallel(n_jobs=self.n_jobs)(
                    joblib.delayed(_fitted)(self.estimator, X, y, sample_weight, rows)
                    for rows in tasks
                )
        folds = [
            Fold(model, np.sort(self._scores(model, _safe_indexing(X, rows), y[rows])))
            for model, rows in zip(models, held_out, strict=True)
        ]
        fitted = {"estimator_": whole, "_folds_": folds}
        fitted["n_held_out_"] = sum(len(fold.scores) for fold in folds)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(whole, name):
                fitted[name] = getattr(whole, name)
        self.__dict__.update(fitted)

    def _folds(self) -> Any:
        """The splitter; for a number of folds it shuffles the samples."""
        if isinstance(self.cv, Integral):
            kind = StratifiedKFold if is_classifier(self) else KFold
            seed = check_random_state(self.random_state).randint(2**31 - 1)
            return kind(int(self.cv), shuffle=True, random_state=seed)
        return check_cv(self.cv)

    def _coverage(self, coverage: Any) -> float:
        return as_real("coverage", coverage, 0.0, 1.0, low_open=True)

    def predict(self, X: Any) -> np.ndarray:
        """Predictions of the model that was fitted to all samples.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame}, shape (n_samples, n_features)
            Samples, one per row.

        Returns
        -------
        ndarray

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> one = fastnn.MLPClassifier((8,), solver="lbfgs", max_iter=1000, random_state=0)
        >>> model = fastnn.ConformalClassifier(one, cv=3, random_state=0).fit(X, y)
        >>> model.predict(X[[0, 50, 100]])
        array([0, 1, 2])
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_folds_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import get_tags

        tags = super().__sklearn_tags__()
        if self.estimator is not None and hasattr(self.estimator, "__sklearn_tags__"):
            tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def _fitted(estimator: Any, X: Any, y: Any, sample_weight: Any, rows: np.ndarray) -> Any:
    """Fit a clone of an estimator to some samples."""
    given = {} if sample_weight is None else {"sample_weight": sample_weight[rows]}
    return clone(estimator).fit(_safe_indexing(X, rows), y[rows], **given)


class ConformalRegressor(RegressorMixin, _Conformal):
    """Prediction intervals for regression by cross-validation (CV+).

    Each sample is predicted by a model that was trained without its fold. The errors of these
    predictions determine the width of the intervals. This is valid for every model and noise
    distribution if new samples come from the same distribution as the training data: on average
    the coverage is ``coverage``, and at least ``2 coverage - 1`` is guaranteed (up to a term that
    vanishes with more samples); see Barber, Candès, Ramdas, Tibshirani, Predictive inference with
    the jackknife+ (2021).

    Parameters
    ----------
    estimator : estimator
        A regressor with one target: :class:`MLPRegressor`, :class:`TabularRegressor`, a pipeline,
        or any regressor of scikit-learn. All intervals have the same width, except for an
        ``MLPRegressor`` or :class:`Network` with the loss "gaussian" (or an ensemble or pipeline
        of these), where they are proportional to the predicted standard deviations, and with
        several quantiles, where the first and the last quantile are shifted by the errors (Romano,
        Patterson, Candès 2019).
    cv : int, splitter or "prefit", default=10
        Number of folds, of shuffled samples. With "prefit", ``estimator`` is already fitted (and
        may be a :class:`Network`), and ``fit`` takes samples that were not used for its training
        (split conformal).
    random_state : int, RandomState or None
        Seed or generator for shuffling the samples.
    n_jobs : int, optional
        Number of models fitted in parallel; default: one per core.

    Attributes
    ----------
    estimator_ : estimator
        The model fitted to all samples.
    n_held_out_ : int
        Number of held-out samples.
    n_features_in_, feature_names_in_
        Those of ``estimator_``.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(400, 3, noise=10, random_state=0)
    >>> one = fastnn.MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", max_iter=2000)
    >>> model = fastnn.ConformalRegressor(one, cv=5, random_state=0).fit(X[:300], y[:300])
    >>> low, high = model.predict_interval(X[300:], coverage=0.9)
    >>> bool(((low <= y[300:]) & (y[300:] <= high)).mean() > 0.8)
    True
    """

    def __init__(
        self,
        estimator: Any,
        *,
        cv: Any = 10,
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        store_parameters(self, locals())

    def _targets(self, y: np.ndarray) -> np.ndarray:
        if hasattr(self.estimator, "__sklearn_tags__") and is_classifier(self.estimator):
            raise ValueError(
                f"estimator must be a regressor; got {self.estimator!r}, a classifier "
                "(ConformalClassifier)"
            )
        return np.asarray(y, np.float64)

    def _scores(self, model: Any, X: Any, y: np.ndarray) -> np.ndarray:
        low, high, unit = _band(model, X)
        return np.maximum(low - y, y - high) / unit

    def predict_interval(self, X: Any, coverage: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Predict intervals that contain a given fraction of the targets.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame}, shape (n_samples, n_features)
            Samples, one per row.
        coverage : float, default=0.9
            Fraction of the targets inside their intervals, in (0, 1).

        Returns
        -------
        low, high : ndarray of float64, shape (n_samples,)
            Infinite if there are too few samples for the coverage: fewer than
            ``coverage / (1 - coverage)``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> x = np.linspace(0, 3, 200)[:, None]
        >>> y = np.sin(x[:, 0]) + np.random.default_rng(0).normal(0, 0.1, 200)
        >>> settings = {"solver": "lbfgs", "max_iter": 1000, "random_state": 0}
        >>> one = fastnn.MLPRegressor(hidden_layer_sizes=8, **settings)
        >>> model = fastnn.ConformalRegressor(one, cv=4, random_state=0).fit(x, y)
        >>> low, high = model.predict_interval(x, coverage=0.8)
        >>> bool(np.mean((low <= y) & (y <= high)) > 0.75)
        True
        """
        check_is_fitted(self)
        coverage = self._coverage(coverage)
        bands = [_band(fold.model, X) for fold in self._folds_]
        # rank counted from the outer end; rounded first, since 1 - coverage has rounding errors
        n = self.n_held_out_
        rank = math.floor(round((1 - coverage) * (n + 1), 9))
        n_samples = len(bands[0][0])
        low, high = np.full(n_samples, -np.inf), np.full(n_samples, np.inf)
        if rank < 1:
            return low, high
        step = max(1, MAX_ELEMENTS // n)
        for start in range(0, n_samples, step):
            rows = slice(start, start + step)
            ends = [
                _shift_band(fold.scores, *(each[rows, None] for each in band))
                for fold, band in zip(self._folds_, bands, strict=True)
            ]
            lows, highs = (np.concatenate(each, axis=1) for each in zip(*ends, strict=True))
            low[rows] = np.partition(lows, rank - 1, axis=1)[:, rank - 1]
            high[rows] = np.partition(highs, n - rank, axis=1)[:, n - rank]
        # if all errors are negative, as for quantiles far apart, the ends may be in wrong order
        return np.minimum(low, high), np.maximum(low, high)


def _shift_band(
    scores: np.ndarray, low: np.ndarray, high: np.ndarray, unit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move the ends of the intervals by each score."""
    return low - unit * scores, high + unit * scores


def _band(model: Any, X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The interval ends predicted by a model for each sample, and the unit of its errors."""
    if is_gaussian(model) or is_gaussian(getattr(model, "estimator", None)):
        mean, unit = (np.asarray(each, np.float64) for each in model.predict(X, return_std=True))
        # errors are divided by this, so it must not be zero
        return mean, mean, np.maximum(unit, np.finfo(np.float64).tiny)
    predicted = np.asarray(model.predict(X), np.float64)
    one = np.ones(len(predicted))
    if predicted.ndim == 1:
        return predicted, predicted, one
    if predicted.ndim == 2 and predicted.shape[1] == 1:
        return predicted[:, 0], predicted[:, 0], one
    if predicted.ndim != 2 or not _has_quantiles(model):
        raise ValueError(
            "intervals are for one target; the estimator predicts an array of shape "
            f"{predicted.shape}"
        )
    return predicted[:, 0], predicted[:, -1], one


def _has_quantiles(model: Any) -> bool:
    """Whether an estimator, or the last step of a pipeline, predicts several quantiles."""
    last = last_step(getattr(model, "estimator", model))
    return loss_name_of(last) == "quantile" and not isinstance(last.quantile, Real)


class ConformalClassifier(ScoreMixin, ClassifierMixin, _Conformal):
    """Prediction sets of classes with a given coverage (CV+).

    As :class:`ConformalRegressor`, with sets of classes instead of intervals (Romano, Sesia,
    Candès, Classification with valid and adaptive coverage, 2020).

    Parameters
    ----------
    estimator : estimator
        A classifier with ``predict_proba``: :class:`MLPClassifier`, :class:`TabularClassifier`, or
        any of scikit-learn.
    conformity_score : {"lac", "aps"}, default="lac"
        Score of a class; a set contains the classes with the lowest scores. "lac": one minus the
        probability of the class. It gives the smallest sets, which may be empty where the model is
        more certain than the coverage requires. "aps": the sum of the probabilities of all more
        probable classes and half the probability of the class. It gives larger sets for difficult
        samples and smaller sets for easy ones. (The paper uses a random part instead of half.)
    cv, random_state, n_jobs : various
        As for :class:`ConformalRegressor`; folds are stratified by class.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Class labels.
    estimator_, n_held_out_, n_features_in_, feature_names_in_
        As for :class:`ConformalRegressor`.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> one = fastnn.MLPClassifier((8,), solver="lbfgs", max_iter=1000, random_state=0)
    >>> model = fastnn.ConformalClassifier(one, cv=5, random_state=0).fit(X, y)
    >>> model.predict_set(X[:2], coverage=0.9)
    array([[ True, False, False],
           [ True, False, False]])
    """

    _parameter_constraints: ClassVar[dict] = {
        **_Conformal._parameter_constraints,
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "conformity_score": [StrOptions({"lac", "aps"})],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        conformity_score: str = "lac",
        cv: Any = 10,
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        store_parameters(self, locals())

    def _targets(self, y: np.ndarray) -> np.ndarray:
        check_classification_targets(y)
        if isinstance(self.cv, str):
            self.classes_ = np.asarray(self.estimator.classes_)
            if not np.isin(y, self.classes_).all():
                raise ValueError("y has labels that the estimator does not know")
        else:
            self.classes_ = np.unique(y)
        return y

    def _scores(self, model: Any, X: Any, y: np.ndarray) -> np.ndarray:
        each = self._class_scores(model, X)
        return each[np.arange(len(y)), np.searchsorted(self.classes_, y)]

    def _class_scores(self, model: Any, X: Any) -> np.ndarray:
        """Scores of all classes, (n_samples, n_classes)."""
        found = np.asarray(model.predict_proba(X), np.float64)
        # a class may be absent from the training samples of a fold
        p = np.zeros((len(found), len(self.classes_)))
        p[:, np.searchsorted(self.classes_, model.classes_)] = found
        if self.conformity_score == "lac":
            return 1 - p
        order = np.argsort(-p, axis=1, kind="stable")
        each = np.empty_like(p)
        sorted_ = np.take_along_axis(p, order, axis=1)
        np.put_along_axis(each, order, sorted_.cumsum(axis=1) - sorted_ / 2, axis=1)
        return each

    def predict_set(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Sets of classes that contain the true class for a given share of the samples.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame}, shape (n_samples, n_features)
            Samples, one per row.
        coverage : float, default=0.9
            Fraction of the sets that contain the true class, in (0, 1).

        Returns
        -------
        ndarray of bool, shape (n_samples, n_classes)
            Whether each class is in the set, in the order of ``classes_``.

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> one = fastnn.MLPClassifier((8,), solver="lbfgs", max_iter=1000, random_state=0)
        >>> model = fastnn.ConformalClassifier(one, cv=3, random_state=0).fit(X, y)
        >>> sets = model.predict_set(X, coverage=0.95)
        >>> bool(sets[range(150), y].mean() > 0.9)
        True
        """
        check_is_fitted(self)
        coverage = self._coverage(coverage)
        below: Any = 0
        for fold in self._folds_:
            each = self._class_scores(fold.model, X)
            below = below + np.searchsorted(fold.scores, each)
        return below < round(coverage * (self.n_held_out_ + 1), 9)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities with the model fitted to all samples.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame}, shape (n_samples, n_features)
            Samples, one per row.

        Returns
        -------
        ndarray, shape (n_samples, n_classes)

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> one = fastnn.MLPClassifier((8,), solver="lbfgs", max_iter=1000, random_state=0)
        >>> model = fastnn.ConformalClassifier(one, cv=3, random_state=0).fit(X, y)
        >>> model.predict_proba(X[[0, 50, 100]]).round().astype(int)
        array([[1, 0, 0],
               [0, 1, 0],
               [0, 0, 1]])
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)
