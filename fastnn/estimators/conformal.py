"""Conformal prediction: intervals and sets with a given coverage, by cross-validation."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, is_classifier
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from fastnn.estimators.bagging import is_gaussian, last_step, loss_name_of
from fastnn.estimators.conformal_base import BaseConformal
from fastnn.estimators.parameters import store_parameters
from fastnn.estimators.scoring import ScoreMixin

# Maximum number of elements processed at a time: samples to predict times held-out samples.
MAX_ELEMENTS = 4_000_000


class ConformalRegressor(RegressorMixin, BaseConformal):
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


class ConformalClassifier(ScoreMixin, ClassifierMixin, BaseConformal):
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
        **BaseConformal._parameter_constraints,
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
