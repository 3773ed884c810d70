"""Base class of ``MLPClassifier`` and ``MLPRegressor``: parameters, training, model files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastnn.estimators.callbacks import Callbacks, CallbackSupportMixin
from fastnn.estimators.checkpoints import CheckpointOptions
from fastnn.estimators.checks import (
    RollbackOnError,
    check_sum_of_weights,
    check_values,
    exclusive_fit,
    name_in_errors,
)
from fastnn.estimators.lbfgs import fit_lbfgs
from fastnn.estimators.network_cache import NetworkMixin
from fastnn.estimators.parameters import CONSTRAINTS, layer_units
from fastnn.estimators.plain_data import is_plain_matrix, is_plain_vector, values_of_frame
from fastnn.estimators.solvers import FULL_BATCH, NOT_FINITE, Data, n_threads
from fastnn.estimators.stochastic import fit_stochastic, samples_per_step
from fastnn.network import Network
from fastnn.network.scales import warn_lost_spread
from fastnn.network.sparse import sparse_outputs
from fastnn.network.unscaled import MIN_STEPS, warn_unscaled
from fastnn.training.run import exclusive_training
from fastnn.training.schedules import SCHEDULES
from fastnn.validation import all_finite


class BaseMLP(CallbackSupportMixin, NetworkMixin, BaseEstimator):
    """Base class of classifier and regressor.

    Subclasses define ``_validate_input`` and ``_validation_input`` (validate the data),
    ``_encode`` (targets for the kernels), ``_weights``, ``_strata``, ``_labels`` (targets as the
    user gave them), ``_decide`` (predictions from outputs), ``_default_score``, ``_loss_name``,
    ``_loss_settings`` (arguments of the network that belong to the loss) and
    ``_output_activation``.
    """

    # Parameters that are absent in files of format 1.
    _NEWER_PARAMETERS: ClassVar[tuple] = ("clip_norm", "clip_value", "ema")

    _parameter_constraints: ClassVar[dict] = CONSTRAINTS

    # Fitted attributes; None without validation, or before the first epoch.
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    best_validation_score_: float | None
    best_loss_: float | None
    _best_params: np.ndarray | None
    _generator: np.random.RandomState | None

    # --- fitting ------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: tuple | None = None,
        checkpoint: str | os.PathLike | None = None,
        checkpoint_every: int | timedelta | None = None,
        resume: bool | str | os.PathLike = False,
    ) -> Self:
        """Train the model.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)
            Samples, one per row.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Class labels, a matrix of 0 and 1 for multilabel, or real values for a regressor.
        sample_weight : array-like, shape (n_samples,), optional
            Weight of each sample; default: 1.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            Validation data for scores after every epoch and for early stopping.
        checkpoint, checkpoint_every, resume : various
            As for :meth:`fastnn.Network.fit`, for all solvers except "lbfgs", with "lm" in float64.
            Checkpoints are written at ends of epochs. To continue, data and parameters must be the
            same, except that ``max_iter`` may be larger unless the learning rate depends on it;
            ``random_state`` is taken from the checkpoint.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is invalid, the trained parameters are not finite, or a checkpoint is of
            another training.
        ModelFormatError
            If a checkpoint is damaged, or cannot contain a label.
        OSError
            If a checkpoint cannot be read or written.

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = fastnn.MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
        >>> model.n_features_in_
        4
        """
        checkpointing = CheckpointOptions.of(self, checkpoint, checkpoint_every, resume)
        return self._fit(X, y, sample_weight, validation_data, checkpointing=checkpointing)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_data: tuple | None = None,
        incremental: bool = False,
        checkpointing: CheckpointOptions | None = None,
    ) -> BaseMLP:
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        with exclusive_fit(self), RollbackOnError(self) as attributes:  # until training begins
            net, data, weights, lost = self._prepare(X, y, sample_weight, incremental)
            initial_params = net.params.copy()
            context = self._callback_context(X, y, weights, incremental)
            try:
                with exclusive_training(net.model):
                    if self.solver == "lbfgs":
                        fit_lbfgs(self, net, data, context, attributes)
                    else:
                        fit_stochastic(
                            self,
                            net,
                            data,
                            validation_data,
                            incremental,
                            context,
                            checkpointing,
                            attributes,
                        )
                if context is not None:
                    context.end()
                if not all_finite(net.params):
                    raise ValueError(NOT_FINITE)
                if not (incremental or lost or scipy.sparse.issparse(data.x)):
                    self._warn_unscaled(net, data, X)
            except BaseException:
                if not all_finite(net.params):  # useless for predictions and further training
                    net.params[:] = initial_params
                    self.__dict__.pop("_optimizer", None)
                raise
        return self

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool
    ) -> tuple[Network, Data, Any, bool]:
        """Validate the arguments of a fit and set the attributes of a first one.

        Returns
        -------
        net : Network
        data : Data
        sample_weight : ndarray or None
            Validated.
        lost : bool
            Whether a warning was given that the spread of the data is lost by rounding.
        """
        hidden = layer_units(self.hidden_layer_sizes)
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        for name, value in (("X", X), ("y", y), ("sample_weight", sample_weight)):
            check_values(name, value, name == "y" and isinstance(self, ClassifierMixin))
        with name_in_errors("X or y", X):
            X, y = self._validate_input(X, y, incremental, reset=first)
        if sample_weight is not None:
            with name_in_errors("sample_weight"):
                sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        weights = self._weights(sample_weight, y, incremental)
        targets, self.n_outputs_ = self._encode(y)
        self._generator = None
        if first:
            dtype = X.dtype if self.dtype is None else np.dtype(self.dtype)
            self._initialize([X.shape[1], *hidden, self.n_outputs_], dtype)
        elif (kept := [w.shape[1] for w in self.coefs_[:-1]]) != hidden:
            warnings.warn(
                f"hidden_layer_sizes={self.hidden_layer_sizes} is ignored: training continues "
                f"with the network of {tuple(kept)}",
                stacklevel=5,
            )
        if weights is not None:
            check_sum_of_weights(weights, self.coefs_[0].dtype)
        net = self._network()
        net.n_threads = n_threads()
        data = self._data(X, targets, weights, net.dtype)
        lost = False
        if not scipy.sparse.issparse(X):
            advice = "Subtract the mean first (StandardScaler), or use dtype='float64'."
            lost = warn_lost_spread("X", X, data.x, advice, stacklevel=5)
            if net.is_regression:
                lost |= warn_lost_spread("y", targets, data.targets, advice, stacklevel=5)
        return net, data, sample_weight, lost

    @property
    def _random_state(self) -> np.random.RandomState:
        """Random generator of the latest fit, created when it is needed.

        Seeding takes as long as the rest of a small ``partial_fit``.
        """
        if self._generator is None:
            self._generator = check_random_state(self.random_state)
        return self._generator

    def _warn_unscaled(self, net: Network, data: Data, given: Any) -> None:
        """Warn if training came to nothing, and the scale of the data is the likely cause."""
        steps = self.n_iter_ * -(-len(data) // samples_per_step(self, len(data)))
        if self.n_iter_ == self.max_iter and self.solver not in FULL_BATCH and steps < MIN_STEPS:
            return
        advice = (
            "make_pipeline(StandardScaler(), model)",
            "TransformedTargetRegressor(model, transformer=StandardScaler())",
        )
        names = getattr(given, "columns", None)
        data_of = data.x, data.targets, data.weights
        warn_unscaled(net.predictor, *data_of, names, advice, stacklevel=6)

    def _check_data(self, X: Any, y: Any, reset: bool, **options: Any) -> tuple[Any, Any]:
        """Validate data as scikit-learn does; convert a single column of targets to a vector."""
        plain = not reset and is_plain_matrix(self, X) and is_plain_vector(y) and len(y) == len(X)
        if plain and all_finite(X) and (y.dtype.kind != "f" or all_finite(y)):
            return X, y
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
            **options,
        )
        return X, _one_column(y)

    def _data(self, X: Any, targets: np.ndarray, weights: Any, dtype: np.dtype) -> Data:
        """Convert validated arrays to the form the solvers take."""
        if scipy.sparse.issparse(X):
            X = scipy.sparse.csr_array(X).astype(dtype, copy=False)
            if not X.has_canonical_format:  # sum duplicate entries, in a copy
                X = X.copy()
                X.sum_duplicates()
        else:
            X = np.ascontiguousarray(X, dtype)
        weights = np.empty(0, dtype) if weights is None else np.asarray(weights, dtype)
        with np.errstate(over="ignore"):  # an overflow shows up as a loss that is not finite
            return Data(X, np.ascontiguousarray(targets, dtype), weights)

    @property
    def _depends_on_max_iter(self) -> bool:
        """Whether the learning rate of an epoch depends on the total number of epochs."""
        return self.learning_rate in SCHEDULES

    # --- callbacks --------------------------------------------------------------------

    def _callback_context(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool
    ) -> Callbacks | None:
        """The context of scikit-learn's callbacks, or None if there are none."""
        if incremental or not getattr(self, "_skl_callbacks", None):
            return None
        return Callbacks(self, X, y, sample_weight)

    # --- prediction -------------------------------------------------------------------

    def _outputs(self, net: Network, X: Any, transform: bool) -> np.ndarray:
        """Predictions or net inputs for validated samples, (samples, outputs)."""
        if not scipy.sparse.issparse(X):
            return net.predictor(np.ascontiguousarray(X, net.dtype), transform, net.n_threads)
        return sparse_outputs(net.predictor, X.tocsr(), transform, net.n_threads)

    def _predict_outputs(self, X: Any) -> np.ndarray:
        """Validate samples and predict the outputs."""
        plain = X if is_plain_matrix(self, X) else values_of_frame(self, X)
        if plain is not None:
            net = self._network()
            if plain.dtype != net.dtype:
                with np.errstate(over="ignore"):  # an overflow is reported as infinity
                    plain = plain.astype(net.dtype)
            try:
                return net.predictor(np.ascontiguousarray(plain), True, net.n_threads)
            except ValueError:  # NaN or infinity: raise scikit-learn's message below
                pass
        check_is_fitted(self)
        check_values("X", X)
        with name_in_errors("X", X):
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
            X = X.astype(np.float64) if X.dtype == object else X
        with np.errstate(over="ignore", invalid="ignore"):
            return self._outputs(self._network(), X, True)

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels or values.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)
            Samples, one per row.

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = fastnn.MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
        >>> model.predict(X[[0, 50, 100]])
        array([0, 1, 2])
        """
        return self._decide(self._predict_outputs(X))

    # --- compiled code and files ------------------------------------------------------

    def numba_predict(self, output: str = "proba") -> Callable:
        """Return a Numba function that predicts one sample, for use in compiled code.

        See :meth:`fastnn.Network.numba_predict`; ``out`` has ``n_outputs_`` elements.

        Examples
        --------
        >>> import numba, numpy as np, fastnn
        >>> x = np.linspace(-1, 1, 50)[:, None]
        >>> model = fastnn.MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", random_state=0)
        >>> predict = model.fit(x, x[:, 0]).numba_predict()
        >>> @numba.njit
        ... def largest(predict, rows):
        ...     best, out = -np.inf, np.empty(1)
        ...     for k in range(len(rows)):
        ...         predict(rows[k], out)
        ...         best = max(best, out[0])
        ...     return best
        >>> round(largest(predict, np.ascontiguousarray(x)), 1)
        1.0
        """
        check_is_fitted(self)
        return self._network().numba_predict(output)

    def cfunc(self, signature: str = "predict", output: str = "proba") -> Any:
        """Return a C function that predicts one sample; see :meth:`fastnn.Network.cfunc`.

        Examples
        --------
        >>> import numpy as np, scipy, fastnn
        >>> x = np.linspace(0, 1, 50)[:, None]
        >>> model = fastnn.MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", random_state=0)
        >>> f = model.fit(x, x[:, 0]).cfunc("integrand")
        >>> integral, error = scipy.integrate.quad(scipy.LowLevelCallable(f.ctypes), 0, 1)
        >>> round(integral, 1)
        0.5
        """
        check_is_fitted(self)
        return self._network().cfunc(signature, output)

    def save(self, path: str | os.PathLike, *, include_optimizer: bool = False) -> None:
        """Write a model file, which :func:`fastnn.load` reads.

        Parameters
        ----------
        path : path
            By convention with the extension ``.safetensors``.
        include_optimizer : bool, default=False
            Also save the moments and counters of the update rule, to continue with
            ``partial_fit``.

        Raises
        ------
        ModelFormatError
            If a label or parameter cannot be saved.
        NotFittedError
            If the estimator is not fitted.

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = fastnn.MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
        >>> model.save("iris.safetensors")
        >>> bool((fastnn.load("iris.safetensors").predict(X) == model.predict(X)).all())
        True
        """
        from fastnn.storage import save

        save(self, path, include_optimizer=include_optimizer)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _one_column(y: Any) -> Any:
    """Convert a single column to a vector, with scikit-learn's warning."""
    if y.ndim == 2 and y.shape[1] == 1 and not scipy.sparse.issparse(y):
        return column_or_1d(y, warn=True)
    return y
