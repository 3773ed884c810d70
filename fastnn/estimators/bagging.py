"""Bagging: ensembles of networks fitted on resampled data, one network per core."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import joblib
import numpy as np
from sklearn.base import is_classifier
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn.estimators.checks import check_values, plain_labels
from fastnn.estimators.classifier import MLPClassifier
from fastnn.estimators.parallel import JoblibBackend
from fastnn.estimators.regressor import MLPRegressor
from fastnn.estimators.scoring import ScoreMixin
from fastnn.memory import check_memory
from fastnn.network.prediction import mixture

_MIN_BYTES = 4096  # minimum memory of an estimator and of the indices of its samples


def _threads(n_jobs: int) -> Any:
    """Context of :class:`JoblibBackend`, with the number of jobs used for ``n_jobs=None``."""
    return joblib.parallel_config(JoblibBackend(), n_jobs=n_jobs)


class _Bagging:
    """Mixin that fits one network per core."""

    estimator: Any
    n_estimators: int
    _default: ClassVar[type]

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> Any:
        """Fit the networks.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)
            Samples, one per row.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Targets, one per sample.
        sample_weight : array-like, shape (n_samples,), optional
            Relative probabilities with which the samples are drawn.
        **fit_params : dict
            Arguments of the ``fit`` of the networks, if scikit-learn's metadata routing is enabled.

        Returns
        -------
        self

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import make_moons
        >>> X, y = make_moons(100, noise=0.2, random_state=0)
        >>> one = fastnn.MLPClassifier((8,), solver="lbfgs", max_iter=1000)
        >>> model = fastnn.MLPBaggingClassifier(one, n_estimators=3, random_state=0).fit(X, y)
        >>> [len(rows) for rows in model.estimators_samples_]
        [100, 100, 100]
        """
        for name, value in (("X", X), ("y", y), ("sample_weight", sample_weight)):
            check_values(name, value, name == "y" and is_classifier(self))
        if isinstance(self.n_estimators, Integral):  # otherwise scikit-learn raises
            what = f"n_estimators={self.n_estimators:,}, an estimator each,"
            check_memory(what, int(self.n_estimators) * _MIN_BYTES)
        y = plain_labels(y) if is_classifier(self) else y
        with _threads(-1):
            fitted: Any = super()
            return fitted.fit(X, y, sample_weight, **fit_params)

    def _get_estimator(self) -> Any:
        return self._default() if self.estimator is None else self.estimator


class MLPBaggingClassifier(_Bagging, ScoreMixin, BaggingClassifier):
    """scikit-learn's ``BaggingClassifier`` of networks, fitted one per core.

    Each network is fitted on a random subset of samples (and features, if requested);
    probabilities are averaged. The networks do not depend on ``n_jobs``.

    Parameters
    ----------
    estimator : estimator, optional
        Default: :class:`MLPClassifier`. May be a pipeline that ends in such an estimator.
    n_estimators, max_samples, max_features, bootstrap, bootstrap_features : various
        As for ``BaggingClassifier``.
    oob_score, warm_start, random_state, verbose : various
        As for ``BaggingClassifier``.
    n_jobs : int, optional
        Number of networks fitted in parallel; default: one per core. If given, predictions use as
        many threads, and may differ by rounding.

    Attributes
    ----------
    estimators_, estimators_samples_, estimators_features_, classes_, n_classes_
    n_features_in_, feature_names_in_, oob_score_, oob_decision_function_
        As for ``BaggingClassifier``.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(300, noise=0.3, random_state=0)
    >>> one = fastnn.MLPClassifier((16, 16), solver="lbfgs", max_iter=1000)
    >>> model = fastnn.MLPBaggingClassifier(one, n_estimators=20, oob_score=True, random_state=0)
    >>> model.fit(X, y).oob_score_ > 0.9
    True
    """

    _default = MLPClassifier

    def predict_proba(self, X: Any, **params: Any) -> np.ndarray:
        """Return the mean of the networks' probabilities; see ``BaggingClassifier``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> from sklearn.datasets import make_moons
        >>> X, y = make_moons(100, noise=0.2, random_state=0)
        >>> one = fastnn.MLPClassifier((8,), solver="lbfgs", max_iter=1000)
        >>> model = fastnn.MLPBaggingClassifier(one, n_estimators=3, random_state=0).fit(X, y)
        >>> each = [net.predict_proba(X) for net in model.estimators_]
        >>> np.allclose(model.predict_proba(X), np.mean(each, axis=0))
        True
        """
        check_values("X", X)
        with _threads(1):
            return super().predict_proba(X, **params)

    def predict_log_proba(self, X: Any, **params: Any) -> np.ndarray:
        """Return the logarithm of the mean probabilities; see ``BaggingClassifier``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> from sklearn.datasets import make_moons
        >>> X, y = make_moons(100, noise=0.2, random_state=0)
        >>> one = fastnn.MLPClassifier((8,), solver="lbfgs", max_iter=1000)
        >>> model = fastnn.MLPBaggingClassifier(one, n_estimators=3, random_state=0).fit(X, y)
        >>> np.allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X))
        True
        """
        check_values("X", X)
        with _threads(1):
            return super().predict_log_proba(X, **params)


class MLPBaggingRegressor(_Bagging, BaggingRegressor):
    """scikit-learn's ``BaggingRegressor`` of networks, fitted one per core.

    Parameters and attributes are those of :class:`MLPBaggingClassifier`, with
    :class:`MLPRegressor` as the default estimator; predictions are averaged.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(200, 5, random_state=0)
    >>> one = fastnn.MLPRegressor(hidden_layer_sizes=20, solver="lbfgs", max_iter=1000)
    >>> model = fastnn.MLPBaggingRegressor(one, random_state=0).fit(X, y / y.std())
    >>> model.score(X, y / y.std()) > 0.95
    True
    """

    _default = MLPRegressor

    def predict(self, X: Any, *, return_std: bool = False, **params: Any) -> Any:
        """Return the mean of the networks' predictions; see ``BaggingRegressor``.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)
            Samples, one per row.
        return_std : bool, default=False
            Also return standard deviations. They are those of the networks' predictions, a measure
            of the uncertainty of the mean without the noise. With the loss "gaussian" they are
            those of the mixture of the networks, including the noise: its variance is the variance
            of the means plus the mean of the variances (Lakshminarayanan, Pritzel, Blundell 2017).
        **params : dict
            As for ``BaggingRegressor``.

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)
        deviations : ndarray, of the same shape
            Standard deviations, with ``return_std``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> x = np.linspace(-1, 1, 50)[:, None]
        >>> one = fastnn.MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", max_iter=1000)
        >>> model = fastnn.MLPBaggingRegressor(one, n_estimators=5, random_state=0)
        >>> model = model.fit(x, x[:, 0] ** 2)
        >>> mean, std = model.predict([[0.5], [3.0]], return_std=True)
        >>> bool(std[1] > std[0])  # less certain outside the range of the training data
        True
        """
        check_values("X", X)
        if not return_std:
            with _threads(1):
                return super().predict(X, **params)
        check_is_fitted(self)
        if len(self.estimators_) < 2 and not is_gaussian(self.estimators_[0]):
            raise ValueError("return_std needs several networks to compare; set n_estimators=10")
        options = {"accept_sparse": ["csr", "csc"], "dtype": None, "ensure_all_finite": False}
        X = validate_data(self, X, reset=False, **options)
        return mixture(
            member.predict(X[:, features], **({"return_std": True} if is_gaussian(member) else {}))
            for member, features in zip(self.estimators_, self.estimators_features_, strict=True)
        )


def is_gaussian(estimator: Any) -> bool:
    """Whether an estimator, or the last step of a pipeline, predicts standard deviations."""
    return loss_name_of(last_step(estimator)) == "gaussian"


def last_step(estimator: Any) -> Any:
    """The last step of a pipeline; any other estimator itself."""
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def loss_name_of(estimator: Any) -> Any:
    """The loss of an estimator or network."""
    return getattr(estimator, "loss_name", None) or getattr(estimator, "loss", None)
