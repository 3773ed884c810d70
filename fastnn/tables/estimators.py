"""``TabularClassifier`` and ``TabularRegressor``: a table in, predictions out."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_y,
)

from fastnn.estimators.checks import check_class_weight, refuse_odd_labels
from fastnn.network import Network
from fastnn.tables.base import BaseTabular
from fastnn.validation import refuse_dates


class TabularClassifier(ClassifierMixin, BaseTabular):
    """Classifier of tables: RealMLP-TD-S, a multi-layer perceptron with tuned settings.

    Takes DataFrames with text, categories, dates and missing values, and needs no settings:
    three hidden layers of 256 units, trained as in Holzmüller, Grinsztajn, Steinwart, "Better by
    default" (2024).

    Parameters
    ----------
    n_epochs : int, default=256
        Passes over the data.
    n_members : int, default=1
        Networks whose probabilities are averaged. They differ in first weights and order of the
        samples, and are trained one per core.
    eval_metric : {"error", "cross_entropy"}, default="error"
        What decides which epoch is the best. With "cross_entropy" labels are not smoothed, which
        is better where probabilities or their order (AUC) count.
    calibrate : bool, default=True
        Fit one factor of the net inputs to the held-out rows (temperature scaling), so that
        probabilities are neither too sure nor too unsure.
    time_limit : float, optional
        Seconds for all members. Where there is not time for ``n_epochs``, a shorter training is
        planned; it then depends on the machine.
    validation_fraction : float, default=0.2
        Rows held out; 0 for none, which takes the last epoch.
    log_features : bool, default=True
        Positive numbers with a long tail get their logarithm as a further column, unless
        ``columns`` has their kind. False is RealMLP-TD-S as published.
    class_weight : dict, "balanced" or None
        Factor of a sample's weight by its class.
    columns : dict of str to str, optional
        Kinds of columns that are not to be guessed, by name: "number", "boolean", "category",
        "date" or "drop". Columns of arrays are called x0, x1, ...
    random_state : int, RandomState or None
        Held-out rows, first weights, order of the samples.
    n_threads : int, optional
        Most threads; default: all cores.
    backend : {"auto", "cython", "numba", "numpy"}, default="auto"
    dtype : {"float32", "float64"}, default="float32"

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
    network_ : Network
        The trained network of encoded columns, if there is one member.
    networks_ : list of Network
    encoding_ : fastnn.tables.Encoding
        From a table to the numbers that the networks take.
    feature_importances_ : ndarray, shape (n_features,)
        By permutation of the held-out rows.
    n_iter_ : int
        Epochs trained.
    best_iter_ : list of int
        Epoch (from 1) whose parameters were kept, of each member.
    loss_curves_, validation_curves_ : list of list of float
        Loss of each epoch, and ``eval_metric`` of the held-out rows after it, of each member.
    stopped_ : {"epochs", "time limit", "interrupted", "diverged"}
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If ``X`` had them.

    See Also
    --------
    MLPClassifier : Networks of any size, for numbers.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = fastnn.TabularClassifier(n_epochs=64, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseTabular._parameter_constraints,
        "eval_metric": [StrOptions({"error", "cross_entropy"})],
        "calibrate": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        *,
        n_epochs: int = 256,
        n_members: int = 1,
        eval_metric: str = "error",
        calibrate: bool = True,
        time_limit: float | None = None,
        validation_fraction: float = 0.2,
        log_features: bool = True,
        class_weight: Any = None,
        columns: dict[str, str] | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
        backend: str = "auto",
        dtype: Any = "float32",
    ) -> None:
        super().__init__(
            n_epochs=n_epochs,
            n_members=n_members,
            time_limit=time_limit,
            validation_fraction=validation_fraction,
            log_features=log_features,
            columns=columns,
            random_state=random_state,
            n_threads=n_threads,
            backend=backend,
            dtype=dtype,
        )
        self.eval_metric = eval_metric
        self.calibrate = calibrate
        self.class_weight = class_weight

    def _check_targets(self, y: Any, reset: bool) -> np.ndarray:
        """Class numbers; learns or compares the classes."""
        refuse_odd_labels("y" if reset else "y_val", y)
        y = _check_y(y, estimator=self)
        check_classification_targets(y)
        if reset:
            self.classes_ = np.unique(y)
            if len(self.classes_) < 2:
                raise ValueError(
                    f"y must have two classes or more; got one class, {y[:1].tolist()[0]!r}"
                )
        numbers = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        if (unknown := self.classes_[numbers] != y).any():
            raise ValueError(
                f"y_val has a label unknown to the training: {y[unknown][:1].tolist()[0]!r}"
            )
        return numbers[:, None]

    def _n_classes(self) -> int:
        return len(self.classes_)

    def _by_error(self) -> bool:
        return self.eval_metric == "error"

    def _smooths(self) -> bool:
        return self._by_error()

    def _weights(self, weights: np.ndarray | None, targets: np.ndarray) -> np.ndarray | None:
        """Weights of the samples times those of their classes."""
        if self.class_weight is None:
            return weights
        check_class_weight(self.class_weight)
        by_class = compute_sample_weight(self.class_weight, self.classes_[targets[:, 0]])
        return by_class if weights is None else weights * by_class

    def _strata(self, targets: np.ndarray, fewest: int) -> np.ndarray | None:
        """Classes whose shares a split keeps, where it can."""
        counts = np.bincount(targets[:, 0])
        counts = counts[counts > 0]
        return targets[:, 0] if counts.min() >= 2 and len(counts) <= fewest else None

    def _score_of(self, x: np.ndarray, targets: np.ndarray) -> float:
        return float((self._mean_of_members(x).argmax(axis=1) == targets[:, 0]).mean())

    def _describe(self, net: Network) -> None:
        """What the network's own predictions need."""
        net.classes_ = self.classes_

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : table with the columns of training
            Samples, one per row.

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return self._outputs(X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities.

        Parameters
        ----------
        X : table with the columns of training
            Samples, one per row.

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self._outputs(X))

    def predict(self, X: Any) -> np.ndarray:
        """Most probable classes.

        Parameters
        ----------
        X : table with the columns of training
            Samples, one per row.

        Returns
        -------
        ndarray, shape (n_samples,)
        """
        chosen = self._outputs(X).argmax(axis=1)  # which looks whether there was a fit
        return self.classes_[chosen]


class TabularRegressor(RegressorMixin, BaseTabular):
    """Regressor of tables: RealMLP-TD-S, a multi-layer perceptron with tuned settings.

    Parameters
    ----------
    n_epochs, n_members, time_limit, validation_fraction, log_features, columns
        As for :class:`TabularClassifier`; the best epoch is that of the least squared error.
    random_state, n_threads, backend, dtype
        As for :class:`TabularClassifier`.

    Attributes
    ----------
    network_, networks_, encoding_, feature_importances_, n_iter_, best_iter_, loss_curves_
    validation_curves_, stopped_, n_features_in_, feature_names_in_
        As for :class:`TabularClassifier`. Errors are those of standardised targets.

    See Also
    --------
    MLPRegressor : Networks of any size and with other losses, for numbers.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = fastnn.TabularRegressor(n_epochs=32, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.4
    True
    """

    def _check_targets(self, y: Any, reset: bool) -> np.ndarray:
        refuse_dates("y" if reset else "y_val", y)
        y = _check_y(y, multi_output=True, y_numeric=True, estimator=self)
        if y.ndim == 2 and y.shape[1] == 1:
            y = _check_y(y, y_numeric=True, estimator=self)  # with scikit-learn's warning
        targets = y.reshape(len(y), -1).astype(np.float64)
        if reset:
            self._targets_1d, self.n_outputs_ = y.ndim == 1, targets.shape[1]
        elif targets.shape[1] != self.n_outputs_:
            raise ValueError(f"y_val has {targets.shape[1]} outputs; y has {self.n_outputs_}")
        return targets

    def _n_classes(self) -> int:
        return 0

    def _by_error(self) -> bool:
        return True

    def _weights(self, weights: np.ndarray | None, targets: np.ndarray) -> np.ndarray | None:
        return weights

    def _strata(self, targets: np.ndarray, fewest: int) -> None:
        return None

    def _score_of(self, x: np.ndarray, targets: np.ndarray) -> float:
        return float(r2_score(targets, self._mean_of_members(x)))

    def _describe(self, net: Network) -> None:
        """What the network's own predictions need."""
        net.targets_1d = self._targets_1d

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Predict values.

        Parameters
        ----------
        X : table with the columns of training
            Samples, one per row.
        return_std : bool, default=False
            Return standard deviations among the members too, which tell how sure the mean is, not
            how large the noise.

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)
        deviations : ndarray, of the same shape
            With ``return_std``.

        Raises
        ------
        ValueError
            For deviations among less than two members.
        """
        if not return_std:
            return self._outputs(X)
        x = self._encoded(X)
        if len(self.networks_) < 2:
            raise ValueError("return_std needs several members to compare; set n_members=5")
        return self._averaged().predict(x, return_std=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
