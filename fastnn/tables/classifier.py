"""``TabularClassifier``: labels, class weights and probabilities of tables."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_y

from fastnn.estimators.checks import (
    check_class_weight,
    check_classes,
    check_labels,
    plain_labels,
)
from fastnn.estimators.parameters import store_parameters
from fastnn.estimators.scoring import ScoreMixin
from fastnn.network import Network
from fastnn.tables import realmlp
from fastnn.tables.base import BaseTabular


class TabularClassifier(ScoreMixin, ClassifierMixin, BaseTabular):
    """Classifier for tables: RealMLP-TD-S, a multilayer perceptron with tuned settings.

    Takes DataFrames with text, categories, dates and missing values, and needs no settings:
    three hidden layers of 256 units, trained as in Holzmüller, Grinsztajn, Steinwart, "Better by
    default" (2024).

    Parameters
    ----------
    n_epochs : int, default=256
        Passes over the data.
    n_members : int, default=1
        Number of networks to average. They have different initial weights and sample orders, and
        are trained one per core.
    eval_metric : {"error", "cross_entropy"}, default="error"
        Criterion for the best epoch. With "cross_entropy" there is no label smoothing, which is
        better if probabilities or their ranking (AUC) matter.
    calibrate : bool, default=True
        Calibrate probabilities on the held-out rows by temperature scaling.
    time_limit : float, optional
        Limit in seconds for training all members. If necessary, fewer than ``n_epochs`` epochs are
        trained; the result then depends on the machine.
    validation_fraction : float, default=0.2
        Share of held-out rows; with 0 the last epoch is used.
    log_features : bool, default=True
        Add the logarithm of positive numbers with a long tail as a further column, unless
        ``columns`` specifies their kind. False is RealMLP-TD-S as published.
    class_weight : dict, "balanced" or None
        Factors of the sample weights by class.
    columns : dict of str to str, optional
        Kinds of columns by name, instead of detecting them: "number", "boolean", "category",
        "date" or "drop". Columns of arrays are called x0, x1, ...
    missing_values : number, str, list of them, or dict by column name, optional
        Values that count as missing, such as -999, ``[-999, "unknown"]`` or ``{"age": [0, 999]}``,
        when training and later. Numbers and dates are compared as such: ``"-999,0"`` is -999.
        Targets are not compared.
    random_state : int, RandomState or None
        Determines held-out rows, initial weights and sample order.
    n_threads : int, optional
        Maximum number of threads; default: all cores.
    backend : {"auto", "cython", "numba", "numpy"}, default="auto"
    dtype : {"float32", "float64"}, default="float32"

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
    network_ : Network
        The trained network, if there is one member; its inputs are the encoded columns.
    networks_ : list of Network
        The networks of all members.
    encoding_ : fastnn.tables.Encoding
        Encoding of the columns of a table.
    feature_importances_ : ndarray, shape (n_features,)
        Permutation importances on the held-out rows.
    n_iter_ : int
        Number of epochs trained, the largest of all members.
    best_iter_ : list of int
        Selected epoch (from 1) of each member.
    loss_curves_, validation_curves_ : list of list of float
        For each member: the loss of each epoch, and ``eval_metric`` of the held-out rows after it.
    stopped_ : {"epochs", "time limit", "interrupted", "diverged"}
        Why the training ended.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Column names, if ``X`` has them.

    See Also
    --------
    MLPClassifier : Networks of any size, for numeric features.

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
        missing_values: Any = None,
        random_state: Any = None,
        n_threads: int | None = None,
        backend: str = "auto",
        dtype: Any = "float32",
    ) -> None:
        store_parameters(self, locals())

    def _check_targets(self, y: Any, reset: bool) -> np.ndarray:
        """Convert labels to class indices; with ``reset``, learn the classes."""
        check_labels("y" if reset else "y_val", y)
        y = _check_y(plain_labels(y), estimator=self)
        check_classes(y)
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

    def _loss_of_network(self) -> dict[str, Any]:
        smoothing = realmlp.LABEL_SMOOTHING if self._by_error() else 0.0
        return {"loss": "cross_entropy", "label_smoothing": smoothing}

    def _weights(self, weights: np.ndarray | None, targets: np.ndarray) -> np.ndarray | None:
        """Sample weights times class weights."""
        if self.class_weight is None:
            return weights
        check_class_weight(self.class_weight)
        by_class = compute_sample_weight(self.class_weight, self.classes_[targets[:, 0]])
        return by_class if weights is None else weights * by_class

    def _strata(self, targets: np.ndarray, fewest: int) -> np.ndarray | None:
        """Class indices for a stratified split; None if it is not possible."""
        counts = np.bincount(targets[:, 0])
        counts = counts[counts > 0]
        return targets[:, 0] if counts.min() >= 2 and len(counts) <= fewest else None

    def _score_of(self, x: np.ndarray, targets: np.ndarray) -> float:
        return float((self._mean_of_members(x).argmax(axis=1) == targets[:, 0]).mean())

    def _describe(self, net: Network) -> None:
        """Set the attributes that the network's predictions need."""
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

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, 2.0, 8.0, 9.0] * 10, "colour": ["red", "blue", None, "red"] * 10}
        >>> y = ["small", "small", "large", "large"] * 10
        >>> model = fastnn.TabularClassifier(n_epochs=16, random_state=0).fit(table, y)
        >>> model.classes_.tolist()
        ['large', 'small']
        >>> p = model.predict_proba({"colour": ["blue", "blue"], "size": [1.5, 8.5]})
        >>> bool(p[0, 1] > 0.5 > p[1, 1])
        True
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

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> table = {"size": [1.0, 2.0, 8.0, 9.0] * 10, "colour": ["red", "blue", None, "red"] * 10}
        >>> y = ["small", "small", "large", "large"] * 10
        >>> model = fastnn.TabularClassifier(n_epochs=16, random_state=0).fit(table, y)
        >>> np.allclose(np.exp(model.predict_log_proba(table)), model.predict_proba(table))
        True
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

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, 2.0, 8.0, 9.0] * 10, "colour": ["red", "blue", None, "red"] * 10}
        >>> y = ["small", "small", "large", "large"] * 10
        >>> model = fastnn.TabularClassifier(n_epochs=16, random_state=0).fit(table, y)
        >>> model.predict({"colour": ["blue", "blue"], "size": [1.5, 8.5]}).tolist()
        ['small', 'large']
        """
        chosen = self._outputs(X).argmax(axis=1)  # first, since it checks that fit was called
        return self.classes_[chosen]
