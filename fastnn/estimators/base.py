"""Base class of ``MLPClassifier`` and ``MLPRegressor``: parameters, training, model files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastnn.estimators.callbacks import Callbacks, CallbackSupportMixin
from fastnn.estimators.checkpoints import Keeping, take_up
from fastnn.estimators.checks import AllOrNothing, named, refuse_unusable
from fastnn.estimators.epochs import EpochRun
from fastnn.estimators.lbfgs import fit_lbfgs
from fastnn.estimators.lm import SecondOrderEpochs, check_lm
from fastnn.estimators.parameters import CONSTRAINTS, OUR_NAMES, each_activation, layer_units
from fastnn.estimators.solvers import (
    FULL_BATCH,
    NOT_FINITE,
    Data,
    SolverState,
    make_optimizer,
    n_threads,
)
from fastnn.memory import check_memory
from fastnn.network import Network
from fastnn.network.custom import CustomActivation
from fastnn.network.fitting import warn_forgotten
from fastnn.network.scales import warn_lost_spread
from fastnn.network.sparse import sparse_outputs
from fastnn.network.spec import NetworkSpec
from fastnn.network.unscaled import FEWEST_STEPS, warn_unscaled
from fastnn.training.run import alone
from fastnn.training.schedules import SCHEDULES
from fastnn.training.team import to_the_end
from fastnn.validation import all_finite


def _our_name(activation: str | CustomActivation) -> str | CustomActivation:
    """Convert scikit-learn's name of an activation to the name in this package."""
    return OUR_NAMES.get(activation, activation) if isinstance(activation, str) else activation


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
        """
        refuse_unusable("y", y, is_classifier(self))
        refuse_unusable("sample_weight", sample_weight)
        with named("y"):
            scored: float = super().score(X, y, sample_weight)  # type: ignore[misc] # of the next class
            return scored


class BaseMLP(CallbackSupportMixin, BaseEstimator):
    """Base class of classifier and regressor.

    Subclasses define ``_validate_input`` and ``_validation_input`` (validate the data),
    ``_encode`` (targets for the kernels), ``_weights``, ``_strata``, ``_labels`` (targets as the
    user gave them), ``_decide`` (predictions from outputs), ``_default_score``, ``_loss_name``,
    ``_loss_settings`` (arguments of the network that belong to the loss) and
    ``_output_activation``.
    """

    # Parameters that are absent in files of format 1.
    _LATER: ClassVar[tuple] = ("clip_norm", "clip_value", "ema")

    _parameter_constraints: ClassVar[dict] = CONSTRAINTS

    # Fitted attributes; None without validation, or before the first epoch.
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    best_validation_score_: float | None
    best_loss_: float | None

    # --- the network ------------------------------------------------------------

    def _hidden_activations(self) -> list[str | CustomActivation]:
        """Name in this package of each hidden layer's activation."""
        n_hidden = len(self.coefs_) - 1
        return [_our_name(name) for name in each_activation(self.activation, n_hidden)]

    def _network(self) -> Network:
        """The network of which ``coefs_`` and ``intercepts_`` are views of the parameters.

        Recreated if these were replaced, as by unpickling or by the user.
        """
        key = (
            self._hidden_activations(),
            repr(self.dropout),
            self.backend,
            self._loss_name(),
            repr(self._loss_settings()),
        )
        known = self.__dict__.get("_made")
        if known is not None:
            net, known_key = known
            parts = zip([*self.coefs_, *self.intercepts_], [*net.weights, *net.biases], strict=True)
            if known_key == key and all(mine is its for mine, its in parts):
                return net
        dtype = np.result_type(*self.coefs_, *self.intercepts_)
        net = self._new_network("float32" if dtype == np.float32 else "float64")
        for mine, its in zip(
            [*self.coefs_, *self.intercepts_], [*net.weights, *net.biases], strict=True
        ):
            its[...] = mine
        self.coefs_, self.intercepts_ = net.weights, net.biases
        self._made = (net, key)
        return net

    def _new_network(self, dtype: str) -> Network:
        """Create a network with the shapes of ``coefs_`` and arbitrary parameters."""
        sizes = [self.coefs_[0].shape[0], *(w.shape[1] for w in self.coefs_)]
        dropout = self.dropout
        if not isinstance(dropout, Real):
            dropout = [float(rate) for rate in dropout]
        # sequences or single values; the spec converts them to tuples
        settings: dict[str, Any] = {
            "layer_sizes": sizes,
            "activation": self._hidden_activations(),
            "loss": self._loss_name(),
            "dropout": dropout,
            "dtype": dtype,
            **self._loss_settings(),
        }
        return Network._blank(NetworkSpec(**settings), self.backend)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        # the network is recreated on demand; in a copy its views would be separate arrays
        return {name: value for name, value in state.items() if name != "_made"}

    # --- fitting ------------------------------------------------------------------

    def _initialize(self, layer_units: list[int], dtype: np.dtype) -> None:
        """Set attributes for a first fit; draw weights as scikit-learn (Glorot, Bengio 2010)."""
        n_params = sum((m + 1) * n for m, n in pairwise(layer_units))
        check_memory(f"hidden_layer_sizes={self.hidden_layer_sizes}", 8 * n_params)
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(layer_units)
        self.out_activation_ = self._output_activation()
        n_hidden = len(layer_units) - 2
        names = each_activation(self.activation, n_hidden)
        names.append(names[-1] if names else each_activation(self.activation, 1)[0])
        self.coefs_, self.intercepts_ = [], []
        for fan_in, fan_out, name in zip(layer_units[:-1], layer_units[1:], names, strict=True):
            factor = 2.0 if _our_name(name) == "sigmoid" else 6.0
            bound = np.sqrt(factor / (fan_in + fan_out))
            w = self._random_state.uniform(-bound, bound, (fan_in, fan_out))
            b = self._random_state.uniform(-bound, bound, fan_out)
            self.coefs_.append(w.astype(dtype, copy=False))
            self.intercepts_.append(b.astype(dtype, copy=False))
        for name in ("loss_curve_", "_optimizer", "best_loss_"):
            self.__dict__.pop(name, None)

    def _start_records(self) -> None:
        """Set attributes for a first fit by epochs."""
        self.loss_curve_ = []
        self._no_improvement_count = 0
        self.validation_loss_curve_ = None
        self.validation_scores_ = None
        self.best_validation_score_ = None
        self.best_loss_ = None if self.early_stopping else np.inf

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
        keeping = Keeping.of(self, checkpoint, checkpoint_every, resume)
        return self._fit(X, y, sample_weight, validation_data, keeping=keeping)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_data: tuple | None = None,
        incremental: bool = False,
        keeping: Keeping | None = None,
    ) -> BaseMLP:
        hidden = layer_units(self.hidden_layer_sizes)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        given_X, given_y = X, y
        with AllOrNothing(self):  # until the training begins
            for name, value in (("X", X), ("y", y), ("sample_weight", sample_weight)):
                refuse_unusable(name, value, name == "y" and is_classifier(self))
            with named("X or y"):
                X, y = self._validate_input(X, y, incremental, reset=first)
            if sample_weight is not None:
                with named("sample_weight"):
                    sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
            weights = self._weights(sample_weight, y, incremental)
            targets, self.n_outputs_ = self._encode(y)
            self._random_state = check_random_state(self.random_state)
            if first:
                dtype = X.dtype if self.dtype is None else np.dtype(self.dtype)
                self._initialize([X.shape[1], *hidden, self.n_outputs_], dtype)
            elif (kept := [w.shape[1] for w in self.coefs_[:-1]]) != hidden:
                warnings.warn(
                    f"hidden_layer_sizes={self.hidden_layer_sizes} is ignored: training continues "
                    f"with the network of {tuple(kept)}",
                    stacklevel=4,
                )
        net = self._network()
        net.n_threads = n_threads()
        before = net.params.copy()
        data = self._data(X, targets, weights, net.dtype)
        dense, lost = not scipy.sparse.issparse(X), False
        if dense:
            advice = "Subtract the mean first (StandardScaler), or use dtype='float64'."
            lost = warn_lost_spread("X", X, data.x, advice)
            if net.is_regression:
                lost |= warn_lost_spread("y", targets, data.targets, advice)

        context = self._callback_context(given_X, given_y, sample_weight, incremental)
        try:
            with alone(net.model):
                if self.solver == "lbfgs":
                    fit_lbfgs(self, net, data, context)
                else:
                    self._fit_stochastic(net, data, validation_data, incremental, context, keeping)
            if context is not None:
                context.end()
            if not all_finite(net.params):
                raise ValueError(NOT_FINITE)
            if dense and not (incremental or lost):  # which was warned of
                self._warn_unscaled(net, data, given_X)
        except BaseException:
            if not all_finite(net.params):  # useless for predictions and further training
                net.params[:] = before
                self.__dict__.pop("_optimizer", None)
            raise
        return self

    def _warn_unscaled(self, net: Network, data: Data, given: Any) -> None:
        """Warn if training came to nothing, and the scale of the data is the likely cause."""
        steps = self.n_iter_ * -(-len(data) // self._samples_per_step(len(data)))
        if self.n_iter_ == self.max_iter and self.solver not in FULL_BATCH and steps < FEWEST_STEPS:
            return
        advice = (
            "make_pipeline(StandardScaler(), model)",
            "TransformedTargetRegressor(model, transformer=StandardScaler())",
        )
        names = getattr(given, "columns", None)
        data_of = data.x, data.targets, data.weights
        warn_unscaled(net.predictor, *data_of, names, advice, stacklevel=6)

    def _checked(self, X: Any, y: Any, reset: bool, **options: Any) -> tuple[Any, Any]:
        """Validate data as scikit-learn does; convert a single column of targets to a vector."""
        plain = not reset and self._is_plain(X) and is_plain_vector(y) and len(y) == len(X)
        if plain and np.isfinite(X).all() and np.isfinite(y).all():
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

    def _fit_stochastic(
        self,
        net: Network,
        data: Data,
        validation_data: tuple | None,
        incremental: bool,
        context: Callbacks | None,
        keeping: Keeping | None,
    ) -> None:
        """Train by epochs until the loss or the validation score no longer improves."""
        if self.solver == "lm":
            check_lm(self, net, keeping is not None)
        if not hasattr(self, "loss_curve_"):
            self._start_records()
        given = self._given(data, validation_data)
        checkpoints, random = (None, None) if keeping is None else keeping.begin(self, data, given)
        if not incremental or not hasattr(self, "_optimizer"):
            optimizer = make_optimizer(self.solver, self.get_params(deep=False))
            # the attribute name is scikit-learn's, whose tests read the learning rate from it
            self._optimizer = SolverState(learning_rate=optimizer.learning_rate)
            if any(net.dropout):
                self._optimizer.seed = int(self._random_state.randint(2**31 - 1))
        else:
            assert self._optimizer.optimizer is not None
            optimizer = self._optimizer.optimizer
        if incremental and self.t_ and self._optimizer.optimizer is None and optimizer.n_moments:
            warn_forgotten(self.t_, "samples", self.solver)
        data, held_out = (data, given) if given is not None else self._hold_out(data)
        if held_out is not None and self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
            self.best_validation_score_ = -np.inf
        if self.early_stopping:
            self._best_params: np.ndarray | None = net.params.copy()
        self.n_iter_ = 0
        kept = None if keeping is None else keeping.kept
        if kept is not None:
            take_up(self, kept)
        whole = self.solver == "lm"
        batch_size = len(data) if whole else self._batch_size(len(data))
        epochs = 1 if incremental else self.max_iter
        try:
            self._optimizer.begin(optimizer, net.params)
            run = (SecondOrderEpochs if whole else EpochRun)(
                self,
                net,
                self._optimizer,
                data,
                held_out,
                batch_size,
                epochs,
                context,
                checkpoints=checkpoints,
                point=None if kept is None else kept.point,
                random=random,
            )
            run.go()
        except BaseException:
            to_the_end(partial(self._optimizer.end, net.params))
            raise
        best = self._best_params if self.early_stopping else None
        to_the_end(partial(self._optimizer.end, net.params, best))
        if isinstance(run, SecondOrderEpochs):
            run.leave_posterior()
        if run.stopped == "diverged":
            warnings.warn(
                f"The loss of epoch {self.n_iter_} is not finite; the parameters with the best "
                "validation score are kept. A smaller learning_rate_init or scaled data may help.",
                ConvergenceWarning,
                stacklevel=5,
            )
        elif run.stopped == "interrupted":
            warnings.warn("Training interrupted by user.", stacklevel=5)
        elif run.stopped == "epochs" and not incremental:
            warnings.warn(
                f"{'Levenberg-Marquardt' if whole else 'Stochastic Optimizer'}: "
                f"Maximum iterations ({self.max_iter}) "
                "reached and the optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )

    @property
    def _depends_on_max_iter(self) -> bool:
        """Whether the learning rate of an epoch depends on the total number of epochs."""
        return self.learning_rate in SCHEDULES

    def _batch_size(self, samples: int) -> int:
        """Number of samples per step."""
        if self.batch_size != "auto" and self.batch_size > samples:
            warnings.warn(
                f"batch_size={self.batch_size} is larger than the {samples} samples; it is clipped",
                stacklevel=6,
            )
        return self._samples_per_step(samples)

    def _samples_per_step(self, samples: int) -> int:
        """The same, without a warning."""
        return min(200 if self.batch_size == "auto" else int(self.batch_size), samples)

    # --- validation -----------------------------------------------------------------

    def _given(self, data: Data, validation_data: tuple | None) -> Data | None:
        """Validate the user's validation data and convert it to the form the solvers take."""
        if validation_data is None:
            return None
        if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
            raise ValueError(
                "validation_data must be (X, y) or (X, y, sample_weight); "
                f"got {type(validation_data).__name__}"
            )
        X, y, *rest = validation_data
        for k, value in enumerate(validation_data):
            refuse_unusable(f"validation_data[{k}]", value, k == 1 and is_classifier(self))
        with named("validation_data"):
            X, targets = self._validation_input(X, y)
        weights = None
        if rest:
            with named("validation_data[2]"):
                weights = _check_sample_weight(rest[0], X, ensure_non_negative=True)
        return self._data(X, targets, weights, data.targets.dtype)

    def _hold_out(self, data: Data) -> tuple[Data, Data | None]:
        """Split the data into training and validation data, for early stopping."""
        if not self.early_stopping:
            return data, None
        if not self.validation_fraction:
            raise ValueError(
                "early_stopping=True needs validation_fraction > 0 or validation_data; got 0"
            )
        kept, held = train_test_split(
            np.arange(len(data)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._strata(data.targets),
        )
        if len(held) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        return data.take(kept), data.take(held)

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

    def _is_plain(self, X: Any) -> bool:
        """Whether nothing but the values of the samples has to be validated.

        scikit-learn's validation takes ten times as long as the prediction of a small network.
        """
        return (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype in (np.float64, np.float32)
            and "coefs_" in self.__dict__
            and "feature_names_in_" not in self.__dict__
            and X.shape[1] == self.n_features_in_
            and len(X) > 0
        )

    def _predicted(self, X: Any) -> np.ndarray:
        """Validate samples and predict the outputs."""
        if self._is_plain(X):
            net = self._network()
            try:
                return net.predictor(np.ascontiguousarray(X, net.dtype), True, net.n_threads)
            except ValueError:  # NaN or infinity: raise scikit-learn's message below
                pass
        check_is_fitted(self)
        refuse_unusable("X", X)
        with named("X"):
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
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
        """
        return self._decide(self._predicted(X))

    # --- compiled code and files ------------------------------------------------------

    def numba_predict(self, output: str = "proba") -> Callable:
        """Return a Numba function that predicts one sample, for use in compiled code.

        See :meth:`fastnn.Network.numba_predict`; ``out`` has ``n_outputs_`` elements.
        """
        check_is_fitted(self)
        return self._network().numba_predict(output)

    def cfunc(self, signature: str = "predict", output: str = "proba") -> Any:
        """Return a C function that predicts one sample; see :meth:`fastnn.Network.cfunc`."""
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


def is_plain_vector(y: Any) -> bool:
    """Whether targets are a vector of numbers, which needs no validation but of its values."""
    return type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iuf"


def _one_column(y: Any) -> Any:
    """Convert a single column to a vector, with scikit-learn's warning."""
    if y.ndim == 2 and y.shape[1] == 1 and not scipy.sparse.issparse(y):
        return column_or_1d(y, warn=True)
    return y
