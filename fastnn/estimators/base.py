"""What ``MLPClassifier`` and ``MLPRegressor`` share: parameters, training, model files."""

from __future__ import annotations

import copy
import os
import time
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastnn.backends import BACKENDS, codes
from fastnn.estimators.solvers import (
    Data,
    Epochs,
    SolverState,
    lbfgs,
    make_optimizer,
    n_threads,
)
from fastnn.network.custom import CustomActivation
from fastnn.network.network import SLICE_SECONDS, Network
from fastnn.training.schedules import SCHEDULES
from fastnn.training.threads import check_stopped

STOCHASTIC_SOLVERS = ("sgd", "adam", "adamw", "adagrad", "rmsprop")

# scikit-learn's names of our activations.
_OUR_NAMES = {"logistic": "sigmoid"}
_ACTIVATIONS = {*codes.ACTIVATIONS, *_OUR_NAMES}

# Attributes, without their underscore, that have an entry for each epoch.
_CURVES = ("loss_curve", "validation_scores", "validation_loss_curve")

_NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may"
    " contain large values and need to be preprocessed."
)

# Sparse samples that are made dense at a time for a prediction.
_PREDICT_BYTES = 16 * 1024 * 1024


def is_stochastic(estimator: BaseMLP) -> bool:
    """Whether there is a ``partial_fit``; the error says why not."""
    if estimator.solver not in STOCHASTIC_SOLVERS:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic."
        )
    return True


class BaseMLP(CallbackSupportMixin, BaseEstimator):
    """What classifier and regressor share.

    Each of them has its own ``_validate_input`` and ``_validation_input`` (what came in, checked),
    ``_encode`` (targets for the kernels), ``_weights``, ``_strata``, ``_labels`` (targets as the
    user gave them), ``_decide`` (predictions from outputs), ``_default_score``, ``_loss_name``,
    ``_loss_settings`` (arguments of the network that go with it) and ``_output_activation``.
    """

    # Parameters that files of format 1 do not have.
    _LATER: ClassVar[tuple] = ("clip_norm", "clip_value", "ema")

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(_ACTIVATIONS), CustomActivation, list, tuple, np.ndarray],
        "solver": [StrOptions({"lbfgs", *STOCHASTIC_SOLVERS})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", *SCHEDULES})],
        "warmup": [Interval(Integral, 0, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "backend": [StrOptions({"auto", *BACKENDS})],
        "dtype": [
            StrOptions({"float32", "float64"}),
            Options(type, {np.float32, np.float64}),
            None,
        ],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple, np.ndarray],
        "scoring": [StrOptions({"loss", *get_scorer_names()}), callable, None],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "rho": [Interval(Real, 0, 1, closed="left")],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "clip_value": [Interval(Real, 0, None, closed="neither"), None],
        "ema": [Interval(Real, 0, 1, closed="neither"), None],
    }

    # --- the network ------------------------------------------------------------

    def _hidden_activations(self) -> list[str | CustomActivation]:
        """Our name of each hidden layer's activation."""
        n_hidden = len(self.coefs_) - 1
        return [_OUR_NAMES.get(name, name) for name in _each(self.activation, n_hidden)]

    def _network(self) -> Network:
        """The network that has ``coefs_`` and ``intercepts_`` as views of its parameters.

        Made anew when these were exchanged, as by unpickling or by hand.
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
        """A network of the shapes of ``coefs_``; its parameters mean nothing."""
        sizes = [self.coefs_[0].shape[0], *(w.shape[1] for w in self.coefs_)]
        dropout = self.dropout
        if not isinstance(dropout, Real):
            dropout = [float(rate) for rate in dropout]
        return Network(
            sizes,
            activation=self._hidden_activations(),
            loss=self._loss_name(),
            **self._loss_settings(),
            dropout=dropout,
            backend=self.backend,
            dtype=dtype,
            random_state=0,
        )

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        # what can be made again, with views that a copy would cut off
        return {name: value for name, value in state.items() if name != "_made"}

    # --- fitting ------------------------------------------------------------------

    def _initialize(self, layer_units: list[int], dtype: np.dtype) -> None:
        """Attributes of a first fit; weights as scikit-learn draws them (Glorot, Bengio 2010)."""
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(layer_units)
        self.out_activation_ = self._output_activation()
        n_hidden = len(layer_units) - 2
        names = _each(self.activation, n_hidden)
        names.append(names[-1] if names else _each(self.activation, 1)[0])
        self.coefs_, self.intercepts_ = [], []
        for fan_in, fan_out, name in zip(layer_units[:-1], layer_units[1:], names, strict=True):
            factor = 2.0 if _OUR_NAMES.get(name, name) == "sigmoid" else 6.0
            bound = np.sqrt(factor / (fan_in + fan_out))
            w = self._random_state.uniform(-bound, bound, (fan_in, fan_out))
            b = self._random_state.uniform(-bound, bound, fan_out)
            self.coefs_.append(w.astype(dtype, copy=False))
            self.intercepts_.append(b.astype(dtype, copy=False))
        for name in ("loss_curve_", "_optimizer", "best_loss_"):
            self.__dict__.pop(name, None)

    def _start_records(self) -> None:
        """Attributes of a first fit by epochs."""
        self.loss_curve_ = []
        self._no_improvement_count = 0
        self.validation_loss_curve_ = None
        self.validation_scores_ = None
        self.best_validation_score_ = None
        self.best_loss_ = None if self.early_stopping else np.inf

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_data: tuple | None = None,
        incremental: bool = False,
    ) -> BaseMLP:
        hidden = np.atleast_1d(np.asarray(self.hidden_layer_sizes)).tolist()
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        given_X, given_y = X, y
        X, y = self._validate_input(X, y, incremental, reset=first)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        weights = self._weights(sample_weight, y, incremental)
        targets, self.n_outputs_ = self._encode(y)
        self._random_state = check_random_state(self.random_state)
        if first:
            dtype = X.dtype if self.dtype is None else np.dtype(self.dtype)
            self._initialize([X.shape[1], *hidden, self.n_outputs_], dtype)
        net = self._network()
        net.n_threads = n_threads()
        data = self._data(X, targets, weights, net.dtype)

        context = self._callback_context(given_X, given_y, sample_weight, incremental)
        if self.solver == "lbfgs":
            self._fit_lbfgs(net, data, context)
        else:
            self._fit_stochastic(net, data, validation_data, incremental, context)
        if context is not None:
            context.end()
        if not np.isfinite(net.params).all():
            raise ValueError(_NOT_FINITE)
        return self

    def _data(self, X: Any, targets: np.ndarray, weights: Any, dtype: np.dtype) -> Data:
        """Checked arrays as the solvers take them."""
        if scipy.sparse.issparse(X):
            X = scipy.sparse.csr_array(X).astype(dtype, copy=False)
        else:
            X = np.ascontiguousarray(X, dtype)
        weights = np.empty(0, dtype) if weights is None else np.asarray(weights, dtype)
        with np.errstate(over="ignore"):  # shows as a loss that is not finite
            return Data(X, np.ascontiguousarray(targets, dtype), weights)

    def _fit_lbfgs(self, net: Network, data: Data, context: _Callbacks | None) -> None:
        """Full-batch L-BFGS, in float64 whatever the dtype of the parameters."""
        if any(net.dropout):
            raise ValueError("dropout needs a stochastic solver; solver is 'lbfgs'")
        for name in ("clip_norm", "clip_value", "ema"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} needs a stochastic solver; solver is 'lbfgs'")
        if self.learning_rate in SCHEDULES or self.warmup:
            raise ValueError(
                f"learning_rate={self.learning_rate!r} and warmup={self.warmup} need a stochastic "
                "solver; solver is 'lbfgs'"
            )
        wide = net
        if net.dtype != np.float64:
            wide = self._new_network("float64")
            wide.params[:] = net.params
            data = self._data(data.x, data.targets, data.weights, wide.dtype)

        def after(iteration: int, loss: float) -> bool:
            self.n_iter_, self.loss_ = iteration, loss
            if self.verbose:
                print(f"Iteration {iteration}, loss = {loss:.8f}")
            if context is None:
                return False
            net.params[:] = wide.params
            return context.iteration()

        watched = context is not None or self.verbose
        result = lbfgs(
            wide,
            data,
            float(self.alpha),
            tol=self.tol,
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            callback=after if watched else None,
        )
        net.params[:] = wide.params
        self.n_iter_, self.loss_ = result.iterations, result.loss
        stopped = context is not None and context.stopped
        if not result.converged and not stopped:
            warnings.warn(
                f"lbfgs failed to converge after {result.iterations} iteration(s): "
                f"{result.message}. Increase the number of iterations (max_iter), the number of "
                "evaluations (max_fun), or scale the data.",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _fit_stochastic(
        self,
        net: Network,
        data: Data,
        validation_data: tuple | None,
        incremental: bool,
        context: _Callbacks | None,
    ) -> None:
        """Epoch after epoch, until the loss or the validation score no longer gets better."""
        if not hasattr(self, "loss_curve_"):
            self._start_records()
        if not incremental or not hasattr(self, "_optimizer"):
            optimizer = make_optimizer(self.solver, self.get_params(deep=False))
            moments = np.zeros((optimizer.n_moments, net.n_params), net.dtype)
            self._optimizer = SolverState(optimizer, moments, optimizer.learning_rate)
            if any(net.dropout):
                self._optimizer.seed = int(self._random_state.randint(2**31 - 1))
        state = self._optimizer
        data, held_out = self._hold_out(data, validation_data)
        if held_out is not None and self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
            self.best_validation_score_ = -np.inf
        if self.early_stopping:
            self._best_params = net.params.copy()

        samples = len(data)
        batch_size = min(200, samples)
        if self.batch_size != "auto":
            if self.batch_size > samples:
                warnings.warn(
                    f"batch_size={self.batch_size} is larger than the {samples} samples; "
                    "it is clipped",
                    stacklevel=5,
                )
            batch_size = int(min(self.batch_size, samples))
        epochs = Epochs(
            net, state, data, batch_size, float(self.alpha), self.shuffle, self._random_state
        )
        net._resume(state.left)
        state.left = None
        # Where nobody watches and the data stay in place, a call does several epochs.
        single = held_out is not None or context is not None or not epochs.many_at_once
        most = 1 if incremental else self.max_iter
        self.n_iter_, length, stopped = 0, 1, False
        try:
            with epochs.ready():
                while self.n_iter_ < most and not stopped:
                    count = 1
                    if not single:  # no more than cannot run past a stop
                        sure = self.n_iter_no_change + 1 - self._no_improvement_count
                        count = int(max(1, min(length, most - self.n_iter_, sure)))
                    rates = self._rates(state, count, epochs.batches, samples)
                    if context is not None:
                        context.begin_iteration()
                    before = time.perf_counter()
                    losses = epochs.run(rates)
                    seconds = max(time.perf_counter() - before, 1e-9)
                    length = max(1, min(int(count * SLICE_SECONDS / seconds), 8 * length))
                    check_stopped()
                    for loss in losses:
                        stopped = self._end_epoch(float(loss), net, held_out, samples)
                    if len(losses) < count:
                        self._diverged(net, samples)
                        break
                    if context is not None:
                        with net._with_average():
                            stopped |= context.end_iteration()
                else:
                    if not stopped and not incremental:
                        warnings.warn(
                            f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) "
                            "reached and the optimization hasn't converged yet.",
                            ConvergenceWarning,
                            stacklevel=5,
                        )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=5)
        state.left = net._leave(self._best_params if self.early_stopping else None)

    def _rates(self, state: SolverState, epochs: int, batches: int, samples: int) -> np.ndarray:
        """Learning rates of the steps of the next epochs, (epochs, batches)."""
        rates = np.full((epochs, batches), state.learning_rate)
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            seen = self.t_ + samples * np.arange(1, epochs)
            rates[1:] = (self.learning_rate_init / (seen + 1) ** self.power_t)[:, None]
        steps = np.arange(state.epochs * batches, (state.epochs + epochs) * batches)
        steps = steps.reshape(epochs, batches)
        if self.learning_rate in SCHEDULES:
            rates *= SCHEDULES[self.learning_rate](steps / (self.max_iter * batches))
        if self.warmup:
            rates *= np.minimum((steps + 1) / (self.warmup * batches), 1.0)
        return rates

    def _end_epoch(self, loss: float, net: Network, held_out: Data | None, samples: int) -> bool:
        """Record an epoch; whether training stops."""
        state = self._optimizer
        self.n_iter_ += 1
        self.loss_ = loss
        self.t_ += samples
        self.loss_curve_.append(loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        if held_out is not None:
            with net._with_average():
                self._validate_epoch(net, held_out)
        if self.early_stopping:
            score = self.validation_scores_[-1]
            worse = score < self.best_validation_score_ + self.tol
            if score > self.best_validation_score_:
                with net._with_average():
                    self._best_params = net.params.copy()
        else:
            worse = loss > self.best_loss_ - self.tol
            self.best_loss_ = min(loss, self.best_loss_)
        if held_out is not None and self.validation_scores_[-1] > self.best_validation_score_:
            self.best_validation_score_ = self.validation_scores_[-1]
        self._no_improvement_count = self._no_improvement_count + 1 if worse else 0
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            state.learning_rate = self.learning_rate_init / (self.t_ + 1) ** self.power_t
        if self._no_improvement_count <= self.n_iter_no_change:
            return False
        return self._no_improvement(state)

    def _no_improvement(self, state: SolverState) -> bool:
        """Whether to stop, or to go on with a smaller learning rate."""
        what = "Validation score" if self.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={self.tol:f} "
            f"for {self.n_iter_no_change} consecutive epochs."
        )
        if self.solver != "sgd" or self.learning_rate != "adaptive":
            ending = " Stopping."
        elif state.learning_rate <= 1e-6:
            ending = " Learning rate too small. Stopping."
        else:
            state.learning_rate /= 5.0
            self._no_improvement_count = 0
            ending = f" Setting learning rate to {state.learning_rate:f}"
        if self.verbose:
            print(message + ending)
        return ending.endswith("Stopping.")

    def _diverged(self, net: Network, samples: int) -> None:
        """A loss was not finite: an error, or with early stopping the best parameters."""
        if not self.early_stopping:
            raise ValueError(_NOT_FINITE)
        self.n_iter_ += 1
        self.loss_ = float("nan")
        self.t_ += samples
        self.loss_curve_.append(self.loss_)
        self.validation_scores_.append(float("nan"))
        self.validation_loss_curve_.append(float("nan"))
        warnings.warn(
            f"The loss of epoch {self.n_iter_} is not finite; the parameters with the best "
            "validation score are kept. A smaller learning_rate_init or scaled data may help.",
            ConvergenceWarning,
            stacklevel=6,
        )

    # --- validation -----------------------------------------------------------------

    def _hold_out(self, data: Data, validation_data: tuple | None) -> tuple[Data, Data | None]:
        """What to train and what to validate with."""
        if validation_data is not None:
            if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
                raise ValueError(
                    "validation_data must be (X, y) or (X, y, sample_weight); "
                    f"got {type(validation_data).__name__}"
                )
            X, y, *weights = validation_data
            X, targets = self._validation_input(X, y)
            weights = _check_sample_weight(weights[0], X) if weights else None
            dtype = data.targets.dtype
            return data, self._data(X, targets, weights, dtype)
        if not self.early_stopping:
            return data, None
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

    def _validate_epoch(self, net: Network, held_out: Data) -> None:
        """Append loss and score on held-out samples."""
        # A network about to diverge may overflow here first.
        with np.errstate(over="ignore", invalid="ignore"):
            z = np.ascontiguousarray(self._outputs(net, held_out.x, False).T)
            weights = held_out.weights
            total = float(weights.sum(dtype=np.float64)) if len(weights) else float(len(held_out))
            p = z.copy()
            loss = net._kernels.output_loss(
                z,
                np.ascontiguousarray(held_out.targets.T),
                weights,
                net._loss_code,
                net._plan.constants[-1],
                1.0 / total,
                np.empty_like(z),
            )
            net._kernels.output_transform(net._loss_code, p)
            loss = float(loss) / total
            if net.loss_name == "squared_error":
                loss /= net.n_outputs
            self.validation_loss_curve_.append(loss)
            given = weights if len(weights) else None
            if self.scoring is None:
                predicted = self._decide(p.T)
                score = float("nan")
                if np.isfinite(p).all():
                    score = self._default_score(self._labels(held_out.targets), predicted, given)
            elif self.scoring == "loss":
                score = -loss
            else:
                scorer = get_scorer(self.scoring)
                # the rows held out no longer have names
                view = copy.copy(self)
                view.__dict__.pop("feature_names_in_", None)
                arguments = {} if given is None else {"sample_weight": given}
                score = float(scorer(view, held_out.x, self._labels(held_out.targets), **arguments))
        self.validation_scores_.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")

    # --- callbacks --------------------------------------------------------------------

    def _callback_context(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool
    ) -> _Callbacks | None:
        """The callbacks of scikit-learn, if there are any."""
        if incremental or not getattr(self, "_skl_callbacks", None):
            return None
        return _Callbacks(self, X, y, sample_weight)

    # --- predicting -------------------------------------------------------------------

    def _outputs(self, net: Network, X: Any, transform: bool) -> np.ndarray:
        """Predictions or net inputs of checked samples, (samples, outputs)."""
        if not scipy.sparse.issparse(X):
            return net._forward(np.ascontiguousarray(X, net.dtype), transform)
        X = scipy.sparse.csr_array(X)
        step = max(1, _PREDICT_BYTES // (X.shape[1] * net.dtype.itemsize))
        parts = [
            net._forward(X[start : start + step].toarray().astype(net.dtype), transform)
            for start in range(0, X.shape[0], step)
        ]
        return np.concatenate(parts)

    def _predicted(self, X: Any) -> np.ndarray:
        """Predictions of the outputs for what a user gave."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        with np.errstate(over="ignore", invalid="ignore"):
            return self._outputs(self._network(), X, True)

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels or values.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._decide(self._predicted(X))

    # --- keeping ----------------------------------------------------------------------

    def _fields(self) -> dict[str, Any]:
        """What a model file keeps beside the network, as plain data."""
        check_is_fitted(self)
        parameters = {
            name: _plain(value)
            for name, value in self.get_params(deep=False).items()
            if name != "backend"
        }
        if not isinstance(parameters["random_state"], int):
            parameters["random_state"] = None
        if parameters["n_iter_no_change"] == np.inf:
            parameters["n_iter_no_change"] = None
        if callable(parameters["scoring"]):
            parameters["scoring"] = None
        if isinstance(parameters.get("class_weight"), dict):
            items = parameters["class_weight"].items()
            parameters["class_weight"] = [[_plain(key), _plain(value)] for key, value in items]
        names = getattr(self, "feature_names_in_", None)
        fitted = {
            "n_iter": int(self.n_iter_),
            "t": int(self.t_),
            "loss": _number(self.loss_),
            "best_loss": _number(getattr(self, "best_loss_", None)),
            "best_validation_score": _number(getattr(self, "best_validation_score_", None)),
            "no_improvement_count": int(getattr(self, "_no_improvement_count", 0)),
            "feature_names": None if names is None else names.tolist(),
            "target_type": None,
            "labels": None,
        }
        for name in _CURVES:
            curve = getattr(self, f"{name}_", None)
            fitted[name] = None if curve is None else [_number(value) for value in curve]
        if hasattr(self, "classes_"):
            fitted["target_type"] = self._label_binarizer.y_type_
            fitted["labels"] = {
                "dtype": self.classes_.dtype.str,
                "values": self.classes_.tolist(),
            }
        return {"parameters": parameters, "fitted": fitted}

    @classmethod
    def _from_fields(cls, fields: dict[str, Any], network: Network, backend: str) -> BaseMLP:
        """The estimator of :meth:`_fields`.

        Raises
        ------
        ValueError
            If the parameters are not the class's or do not fit the network.
        """
        parameters, fitted = dict(fields["parameters"]), fields["fitted"]
        unknown = set(parameters) - (set(cls._get_param_names()) - {"backend"})
        # those that came later have their defaults
        missing = set(cls._get_param_names()) - {"backend", *cls._LATER} - set(parameters)
        if unknown | missing:
            named = ", ".join(sorted(unknown | missing))
            raise ValueError(f"parameters unknown or missing: {named}")
        for name in ("hidden_layer_sizes", "activation", "dropout"):
            if isinstance(parameters[name], list):
                parameters[name] = tuple(parameters[name])
        if parameters["n_iter_no_change"] is None:
            parameters["n_iter_no_change"] = np.inf
        if isinstance(parameters.get("class_weight"), list):
            parameters["class_weight"] = dict(parameters["class_weight"])
        self = cls(backend=backend, **parameters)
        self._validate_params()
        if fitted["labels"] is not None:
            self.classes_ = np.array(fitted["labels"]["values"], fitted["labels"]["dtype"])
            multilabel = fitted["target_type"] == "multilabel-indicator"
            self._label_binarizer = LabelBinarizer().fit(
                np.eye(len(self.classes_), dtype=int) if multilabel else self.classes_
            )
        self.out_activation_ = self._output_activation()
        self.coefs_, self.intercepts_ = network.weights, network.biases
        self.n_layers_, self.n_outputs_ = len(network.layer_sizes), network.n_outputs
        self.n_features_in_ = network.n_features
        if fitted["feature_names"] is not None:
            self.feature_names_in_ = np.array(fitted["feature_names"], object)
        self.n_iter_, self.t_ = fitted["n_iter"], fitted["t"]
        self.loss_ = float("nan") if fitted["loss"] is None else fitted["loss"]
        if fitted["loss_curve"] is not None:
            for name in _CURVES:
                values = fitted[name]
                if values is not None:
                    values = [float("nan") if value is None else value for value in values]
                setattr(self, f"{name}_", values)
            self.best_loss_ = fitted["best_loss"]
            self.best_validation_score_ = fitted["best_validation_score"]
            self._no_improvement_count = fitted["no_improvement_count"]
        hidden = list(network.layer_sizes[1:-1])
        if np.atleast_1d(np.asarray(self.hidden_layer_sizes)).tolist() != hidden:
            raise ValueError(f"hidden_layer_sizes are not those of the network, {hidden}")
        made, kept = self._network().get_config(), network.get_config()
        for name in ("activation", "alpha", "dropout", "loss", *self._loss_settings()):
            if made[name] != kept[name]:
                raise ValueError(f"{name} is not that of the network, {kept[name]}")
        return self

    def numba_predict(self, output: str = "proba") -> Callable:
        """Prediction of one sample for code compiled by Numba.

        As :meth:`fastnn.Network.numba_predict`; ``out`` has ``n_outputs_`` numbers.
        """
        check_is_fitted(self)
        return self._network().numba_predict(output)

    def cfunc(self, signature: str = "predict", output: str = "proba") -> Any:
        """Prediction of one sample as a C function: :meth:`fastnn.Network.cfunc`."""
        check_is_fitted(self)
        return self._network().cfunc(signature, output)

    def save(self, path: str | os.PathLike) -> None:
        """Write a model file; :func:`fastnn.load` reads it.

        Parameters
        ----------
        path : path
            Ends in ``.safetensors`` by custom.

        Raises
        ------
        ModelFormatError
            If a label or parameter cannot be kept.
        NotFittedError
            Before ``fit``.
        """
        from fastnn.storage import save

        save(self, path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class _Callbacks:
    """The contexts of scikit-learn's callbacks: one for ``fit``, one below for each epoch."""

    def __init__(self, estimator: BaseMLP, X: Any, y: Any, sample_weight: Any) -> None:
        self.estimator = estimator
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.context = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        self.context.call_on_fit_task_begin(**self.arguments)
        self.part: Any = None
        self.stopped = False

    def _attributes(self) -> dict[str, Any]:
        """What a copy of the estimator needs to predict as of now."""
        return {
            "coefs_": [w.copy() for w in self.estimator.coefs_],
            "intercepts_": [b.copy() for b in self.estimator.intercepts_],
        }

    def begin_iteration(self) -> None:
        """Before an epoch."""
        self.part = self.context.subcontext(task_name="epoch")
        self.part.call_on_fit_task_begin(**self.arguments)

    def end_iteration(self) -> bool:
        """After an epoch; whether a callback wants to stop."""
        self.stopped |= bool(
            self.part.call_on_fit_task_end(
                **self.arguments, reconstruction_attributes=self._attributes
            )
        )
        return self.stopped

    def iteration(self) -> bool:
        """An iteration of L-BFGS, which is heard of when it is over."""
        self.begin_iteration()
        return self.end_iteration()

    def end(self) -> None:
        """After ``fit``."""
        self.context.call_on_fit_task_end(
            **self.arguments, reconstruction_attributes=self._attributes
        )


def keep(estimator: BaseMLP, arguments: dict[str, Any]) -> None:
    """Every argument of ``__init__`` as an attribute, untouched."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def _plain(value: Any) -> Any:
    """A parameter as JSON has it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, type):
        return np.dtype(value).name
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    return value


def _number(value: float | None) -> float | None:
    """A number as JSON has it: None for what is not finite."""
    return float(value) if value is not None and np.isfinite(value) else None


def _each(activation: Any, n_hidden: int) -> list[str | CustomActivation]:
    """One activation for each hidden layer."""
    if isinstance(activation, str | CustomActivation):
        return [activation] * n_hidden
    names = list(activation)
    known = [isinstance(name, CustomActivation) or name in _ACTIVATIONS for name in names]
    if len(names) != n_hidden or not all(known):
        raise ValueError(
            f"activation must be one of {', '.join(sorted(_ACTIVATIONS))}, or a sequence of "
            f"{n_hidden}, one for each hidden layer; got {activation!r}"
        )
    return names


def one_column(y: Any) -> Any:
    """A column as a vector, with scikit-learn's warning."""
    if y.ndim == 2 and y.shape[1] == 1 and not scipy.sparse.issparse(y):
        return column_or_1d(y, warn=True)
    return y
