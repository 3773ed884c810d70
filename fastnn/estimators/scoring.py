"""``score`` of the estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from fastnn.estimators.checks import (
    check_sum_of_weights,
    check_values,
    name_in_errors,
    plain_labels,
)


def check_score_arguments(y: Any, sample_weight: Any, is_label: bool = False) -> None:
    """Raise for targets and weights that no score can be computed from."""
    check_values("y", y, is_label)
    check_values("sample_weight", sample_weight)
    if sample_weight is not None:
        check_sum_of_weights(sample_weight, np.float64)


class ScoreMixin:
    """``score`` of scikit-learn's mixin (the next base class), with checks of the arguments."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, or for a regression the coefficient of determination R^2.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Targets, one per sample.
        sample_weight : array-like, shape (n_samples,), optional
            Weight of each sample; default: 1.

        Returns
        -------
        float

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = fastnn.MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
        >>> model.score(X, y) > 0.9
        True
        """
        is_label = isinstance(self, ClassifierMixin)
        check_score_arguments(y, sample_weight, is_label)
        y = plain_labels(y) if is_label else y
        with name_in_errors("y"):
            result: float = super().score(X, y, sample_weight)  # type: ignore[misc] # of the next class
            return result
