"""``TabularRegressor``: values of tables, with the losses of a regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import _check_y

from fastnn.estimators.checks import check_values
from fastnn.estimators.losses import LossSettings, check_not_negative
from fastnn.estimators.parameters import store_parameters
from fastnn.estimators.scoring import check_score_arguments
from fastnn.network import Network
from fastnn.tables.base import BaseTabular


class TabularRegressor(LossSettings, RegressorMixin, BaseTabular):
    """Regressor for tables: RealMLP-TD-S, a multilayer perceptron with tuned settings.

    Parameters
    ----------
    loss : str, default="squared_error"
        "squared_error", "absolute_error", "huber", "poisson" (targets not negative), "gaussian" (a
        mean and a deviation, see ``predict``) or "quantile", as for :class:`MLPRegressor`. The
        recipe was tuned with "squared_error".
    n_epochs, n_members, time_limit, validation_fraction, log_features, columns, missing_values
        As for :class:`TabularClassifier`; the best epoch has the smallest squared error, or with
        another loss the smallest loss.
    calibrate : bool, default=True
        Calibrate the uncertainty on the held-out rows: with the loss "gaussian" by a factor for
        the standard deviations of each target, with "quantile" by a shift of each quantile.
    quantile : float in (0, 1) or several of them, default=0.5
        Levels of the loss "quantile", in ascending order.
    delta : float, default=1
        Threshold of the loss "huber" between squared and absolute errors, in standard deviations
        of the targets.
    beta : float, default=0.5
        Exponent of the loss "gaussian", as for :class:`fastnn.Network`.
    random_state, n_threads, backend, dtype
        As for :class:`TabularClassifier`.

    Attributes
    ----------
    network_, networks_, encoding_, feature_importances_, n_iter_, best_iter_, loss_curves_
    validation_curves_, stopped_, n_features_in_, feature_names_in_
        As for :class:`TabularClassifier`. Errors and losses refer to standardised targets.

    See Also
    --------
    MLPRegressor : Networks of any size and with other losses, for numeric features.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = fastnn.TabularRegressor(n_epochs=32, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.4
    True
    >>> model = fastnn.TabularRegressor(loss="gaussian", n_epochs=32, random_state=0).fit(X, y)
    >>> mean, deviation = model.predict(X, return_std=True)
    >>> deviation.shape
    (442,)
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseTabular._parameter_constraints,
        **LossSettings.LOSS_CONSTRAINTS,
    }

    def __init__(
        self,
        *,
        loss: str = "squared_error",
        n_epochs: int = 256,
        n_members: int = 1,
        time_limit: float | None = None,
        validation_fraction: float = 0.2,
        calibrate: bool = True,
        log_features: bool = True,
        columns: dict[str, str] | None = None,
        missing_values: Any = None,
        quantile: float | Sequence[float] = 0.5,
        delta: float = 1.0,
        beta: float = 0.5,
        random_state: Any = None,
        n_threads: int | None = None,
        backend: str = "auto",
        dtype: Any = "float32",
    ) -> None:
        store_parameters(self, locals())

    def _check_targets(self, y: Any, reset: bool) -> np.ndarray:
        check_values("y" if reset else "y_val", y)
        y = _check_y(y, multi_output=True, y_numeric=True, estimator=self)
        if y.ndim == 2 and y.shape[1] == 1:
            y = _check_y(y, y_numeric=True, estimator=self)  # issues scikit-learn's warning
        targets = y.reshape(len(y), -1).astype(np.float64)
        check_not_negative(self.loss, targets, "y" if reset else "y_val")
        if reset:
            self._targets_1d, self.n_outputs_ = y.ndim == 1, targets.shape[1]
        elif targets.shape[1] != self.n_outputs_:
            raise ValueError(f"y_val has {targets.shape[1]} outputs; y has {self.n_outputs_}")
        return targets

    def _n_classes(self) -> int:
        return 0

    def _by_error(self) -> bool:
        return self.loss == "squared_error"

    def _loss_of_network(self) -> dict[str, Any]:
        return {"loss": self.loss, **self._loss_settings()}

    def _weights(self, weights: np.ndarray | None, targets: np.ndarray) -> np.ndarray | None:
        return weights

    def _strata(self, targets: np.ndarray, fewest: int) -> None:
        return None

    def _score_of(self, x: np.ndarray, targets: np.ndarray) -> float:
        return float(r2_score(targets, self._averaged().predict_point(x)))

    def _describe(self, net: Network) -> None:
        """Set the attribute that the network's predictions need."""
        net.targets_1d = self._targets_1d

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Predict values.

        Parameters
        ----------
        X : table with the columns of training
            Samples, one per row.
        return_std : bool, default=False
            Also return standard deviations, in the units of the targets. With the loss "gaussian"
            they include the noise; with several members they are those of the mixture. With other
            losses they are the standard deviations among the members: the uncertainty of the mean,
            without the noise.

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)
            With several quantiles the shape is (n_samples, n_quantiles) or (n_samples, n_outputs,
            n_quantiles), and the quantiles are sorted.
        deviations : ndarray, of the same shape
            Only with ``return_std``.

        Raises
        ------
        ValueError
            If ``return_std`` is set, the loss is not "gaussian", and there is only one member.

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, 2.0, 8.0, 9.0] * 10, "colour": ["red", "blue", None, "red"] * 10}
        >>> y = [1.2, 2.1, 7.9, 9.2] * 10
        >>> model = fastnn.TabularRegressor(n_epochs=16, n_members=2, random_state=0).fit(table, y)
        >>> mean, std = model.predict({"colour": ["blue"], "size": [5.0]}, return_std=True)
        >>> mean.shape, std.shape
        ((1,), (1,))
        """
        if not return_std:
            return self._outputs(X)
        x = self._encoded(X)
        if len(self.networks_) < 2 and self.networks_[0].loss_name != "gaussian":
            raise ValueError(
                "return_std needs several members to compare (n_members=5), or loss='gaussian', "
                f"which has deviations of its own; the loss is {self.networks_[0].loss_name}"
            )
        return self._averaged().predict(x, return_std=True)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Coefficient of determination R^2; with several quantiles, of the one nearest to 1/2.

        Parameters
        ----------
        X : table with the columns of training
            Samples, one per row.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Targets, one per sample.
        sample_weight : array-like, shape (n_samples,), optional
            Weight of each sample; default: all equal.

        Returns
        -------
        float

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> model = fastnn.TabularRegressor(n_epochs=16, random_state=0).fit(X, y)
        >>> model.score(X, y) > 0.3
        True
        """
        check_score_arguments(y, sample_weight)
        predicted = self._averaged().predict_point(self._encoded(X))
        return float(r2_score(y, predicted, sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
