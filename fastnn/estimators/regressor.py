"""``MLPRegressor``: scikit-learn's estimator on the compiled kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from fastnn.estimators.base import BaseMLP
from fastnn.estimators.checks import validate_parameters_once
from fastnn.estimators.lm import deviations
from fastnn.estimators.losses import LossSettings, check_not_negative
from fastnn.estimators.parameters import is_stochastic, store_parameters
from fastnn.estimators.scoring import ScoreMixin, check_score_arguments
from fastnn.network.custom import CustomLoss
from fastnn.network.prediction import point_prediction, regression_result


class MLPRegressor(LossSettings, ScoreMixin, RegressorMixin, BaseMLP):
    """Regressor: scikit-learn's ``MLPRegressor`` over compiled kernels.

    Parameters
    ----------
    loss : str or CustomLoss, default="squared_error"
        "squared_error" (half the squared error, averaged over the outputs), "poisson" (half the
        Poisson deviance; exponential outputs, non-negative targets), "absolute_error", "huber",
        "quantile", "gaussian" (mean and standard deviation, see ``predict``) or a
        :class:`fastnn.CustomLoss`; these are summed over the outputs.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate : various
        As for :class:`MLPClassifier`.
    learning_rate_init, power_t, max_iter, shuffle, random_state, tol, verbose, warm_start : various
        As for :class:`MLPClassifier`.
    momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2 : various
        As for :class:`MLPClassifier`.
    epsilon, n_iter_no_change, max_fun, backend, dtype, dropout, weight_decay, rho : various
        As for :class:`MLPClassifier`.
    scoring, warmup, clip_norm, clip_value, ema : various
        As for :class:`MLPClassifier`; the default score for early stopping is R^2.
    quantile : float in (0, 1) or several of them, default=0.5
        Quantile estimated by the loss "quantile"; several in increasing order.
    delta : float, default=1
        Error above which the loss "huber" is linear.
    beta : float, default=0.5
        Of the loss "gaussian", as for :class:`fastnn.Network`. The solver "lbfgs" uses 0, since it
        needs the exact gradient.
    regularization : {None, "bayesian"}
        "bayesian", with ``solver="lm"``: the L2 penalty is estimated and ``alpha`` ignored; see
        :class:`fastnn.LevenbergMarquardt`.

    Attributes
    ----------
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_scores_
    validation_loss_curve_, best_validation_score_, t_, n_iter_, n_features_in_
    feature_names_in_, n_layers_, n_outputs_, out_activation_
        As for :class:`MLPClassifier`; ``out_activation_`` is "identity", or "exp" for poisson.
    posterior_ : Posterior or None
        With ``regularization="bayesian"``; not part of model files.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(200, 5, random_state=0)
    >>> model = fastnn.MLPRegressor(hidden_layer_sizes=20, solver="lbfgs", random_state=0)
    >>> model.fit(X, y / y.std()).score(X, y / y.std()) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMLP._parameter_constraints,
        **LossSettings.LOSS_CONSTRAINTS,
        "loss": [*LossSettings.LOSS_CONSTRAINTS["loss"], CustomLoss],
        "regularization": [StrOptions({"bayesian"}), None],
    }
    _NEWER_PARAMETERS = (*BaseMLP._NEWER_PARAMETERS, "quantile", "delta", "beta", "regularization")

    def __init__(
        self,
        loss: str | CustomLoss = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        backend: str = "auto",
        dtype: Any = None,
        dropout: Any = 0.0,
        scoring: str | Callable | None = None,
        weight_decay: float = 0.01,
        rho: float = 0.9,
        warmup: int = 0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
        quantile: float | Sequence[float] = 0.5,
        delta: float = 1.0,
        beta: float = 0.5,
        regularization: str | None = None,
    ) -> None:
        store_parameters(self, locals())

    def _loss_name(self) -> str | CustomLoss:
        return self.loss

    def _loss_settings(self) -> dict[str, Any]:
        settings = super()._loss_settings()
        return settings | {"beta": 0.0} if self.solver == "lbfgs" else settings

    def _output_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """Validate samples and targets."""
        if self.regularization is not None and self.solver != "lm":
            raise ValueError(
                f"regularization={self.regularization!r} needs solver='lm'; got {self.solver!r}"
            )
        X, y = self._check_data(X, y, reset, y_numeric=True)
        check_not_negative(self.loss, y)
        return X, y

    def _validation_input(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        X, y = self._validate_input(X, y, False, reset=False)
        targets, n_outputs = self._encode(y)
        if n_outputs != self.n_outputs_:
            per_target = self._outputs_per_target()
            raise ValueError(
                f"validation_data has {n_outputs // per_target} outputs; the training has "
                f"{self.n_outputs_ // per_target}"
            )
        return X, targets

    def _encode(self, y: np.ndarray) -> tuple[np.ndarray, int]:
        targets = y[:, None] if y.ndim == 1 else y
        return targets, targets.shape[1] * self._outputs_per_target()

    def _weights(self, sample_weight: Any, y: Any, incremental: bool) -> Any:
        return sample_weight

    def _strata(self, targets: np.ndarray) -> None:
        return None

    def _labels(self, targets: np.ndarray) -> np.ndarray:
        return targets

    def _decide(self, outputs: np.ndarray) -> np.ndarray:
        """Convert outputs to one value per target."""
        if self._outputs_per_target() > 1:
            outputs = point_prediction(outputs, self._network().spec)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Predict values.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)
            Samples, one per row.
        return_std : bool, default=False
            Also return standard deviations in the units of the targets, including the noise: with
            the loss "gaussian", and with ``solver="lm", regularization="bayesian"``.

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)
            With several quantiles (n_samples, n_quantiles), or (n_samples, n_outputs,
            n_quantiles); quantiles are sorted.
        deviations : ndarray, of the same shape
            Standard deviations, with ``return_std``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X = np.linspace(-1, 1, 100)[:, None]
        >>> y = X[:, 0] + np.random.default_rng(0).normal(0, 0.1, 100)
        >>> model = fastnn.MLPRegressor("gaussian", (8,), solver="lbfgs", random_state=0)
        >>> mean, std = model.fit(X, y).predict(X, return_std=True)
        >>> bool(0.05 < std.mean() < 0.2)
        True
        """
        outputs = self._predict_outputs(X)
        if return_std and getattr(self, "posterior_", None) is not None:
            return self._decide(outputs), deviations(self, X)
        if outputs.shape[1] == 1 and not return_std:
            return outputs.ravel()
        return regression_result(outputs, self._network().spec, True, return_std)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Coefficient of determination R^2; with several quantiles that of the one nearest to 1/2.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)
            Samples, one per row.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Targets, one per sample.
        sample_weight : array-like, shape (n_samples,), optional
            Weight of each sample; default: 1.

        Returns
        -------
        float

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> x = np.linspace(-1, 1, 100)[:, None]
        >>> model = fastnn.MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", random_state=0)
        >>> model.fit(x, x[:, 0] ** 2).score(x, x[:, 0] ** 2) > 0.9
        True
        """
        if self.loss == "gaussian" or self._outputs_per_target() == 1:
            return super().score(X, y, sample_weight)
        check_score_arguments(y, sample_weight)
        return self._default_score(y, self._decide(self._predict_outputs(X)), sample_weight)

    @staticmethod
    def _default_score(y: np.ndarray, predicted: np.ndarray, weights: Any) -> float:
        return float(r2_score(y, predicted, sample_weight=weights))

    @available_if(is_stochastic)
    @validate_parameters_once
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train one epoch on the given samples.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)
            Samples, one per row.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Targets, one per sample.
        sample_weight : array-like, shape (n_samples,), optional
            Weight of each sample; default: 1.

        Returns
        -------
        self

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.MLPRegressor(hidden_layer_sizes=(8,), random_state=0)
        >>> for X, y in ([[[0.0], [1.0]], [0.0, 2.0]], [[[2.0]], [4.0]]):
        ...     model = model.partial_fit(X, y)
        >>> model.t_
        3
        """
        return self._fit(X, y, sample_weight, incremental=True)
