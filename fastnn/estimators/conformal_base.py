"""Base class of the conformal estimators: the folds, their models and held-out scores."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import joblib
import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, _fit_context, clone, is_classifier
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils import _safe_indexing, check_random_state, column_or_1d, indexable
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from fastnn.estimators.checks import RollbackOnError, check_values, plain_labels
from fastnn.estimators.parallel import JoblibBackend
from fastnn.network import Network
from fastnn.validation import as_real


class Fold(NamedTuple):
    """A model and the sorted scores of its held-out samples."""

    model: Any
    scores: np.ndarray


class BaseConformal(MetaEstimatorMixin, BaseEstimator):
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
