"""The network: owns the parameters, checks what comes in, calls the kernels."""

from __future__ import annotations

import copy
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import backends
from fastnn.backends import codes
from fastnn.backends.interface import Chunk, Data, Memory, Team
from fastnn.backends.plan import (
    MAX_FROZEN_UNITS,
    SYNC_SIZE,
    Plan,
    aligned_empty,
    aligned_zeros,
    batch_matrices,
    make_plan,
)
from fastnn.errors import DivergenceError
from fastnn.network.custom import CustomActivation, CustomLoss
from fastnn.training.blas import limited_blas
from fastnn.training.history import Best, EarlyStopping, History, Progress
from fastnn.training.optimizers import Optimizer, get_optimizer
from fastnn.training.threads import check_stopped, default_threads, helpers, is_worker, run_pieces
from fastnn.validation import as_integer, as_matrix, as_real, as_weights, check_finite, one_of

if TYPE_CHECKING:
    from fastnn.export.compiled import CFunction

INITIALIZERS = (
    "auto",
    "lecun_normal",
    "glorot_uniform",
    "glorot_normal",
    "he_normal",
    "he_uniform",
)
_RELU_FAMILY = frozenset({"relu", "leaky_relu", "elu", "softplus", "silu", "gelu"})
_ACTIVATIONS = tuple(codes.ACTIVATIONS)
_DEFAULT_ALPHA = {"leaky_relu": 0.01, "elu": 1.0}

# Python gets control back after about this long, for progress, Ctrl-C and stopping.
SLICE_SECONDS = 0.04

# Waking a thread for predictions costs the time of about so many multiply-adds of a small network
# (60 to 90 us): work / n + n * WAKING is least with the root of work / WAKING threads. Each takes
# several pieces, for when a core is busy.
WAKING = 1_000_000
PIECES_PER_THREAD = 4

# Data with at most this share of numbers that are not zero go through the first layer as sparse
# rows (measured, see benchmarks/README.md), if it is wide enough for loops along its units.
SPARSE_DENSITY = 0.3
SPARSE_DENSITY_WIDE = 0.45
SPARSE_FEATURES = 64
SPARSE_UNITS = 16
SPARSE_UNITS_WIDE = 64


class Network:
    """A dense n-layer network.

    Parameters
    ----------
    layer_sizes : sequence of int
        Numbers of inputs, of units of each hidden layer, and of outputs: at least
        two numbers.
    activation : str or sequence of str, default="tanh"
        One for all hidden layers or one for each: identity, tanh, sigmoid, relu,
        leaky_relu, elu, softplus, silu or gelu, or a :class:`fastnn.CustomActivation`.
    alpha : float, optional
        Slope of leaky_relu (default 0.01), alpha of elu (default 1).
    loss : str, default="cross_entropy"
        Fixes the outputs too. Of classification: cross_entropy (softmax) and
        binary_cross_entropy (sigmoid; several outputs are multilabel). Of regression:
        squared_error (with the factor 1/2), absolute_error, huber, quantile, and
        poisson (half the Poisson deviance; the outputs are exponentials), or a
        :class:`fastnn.CustomLoss`. The loss of a sample is summed over the outputs.
    label_smoothing : float, default=0
        Of classification: this share of every target's 1 goes to all classes (to both,
        for binary_cross_entropy) alike.
    quantile : float, default=0.5
        What the loss "quantile" estimates, in (0, 1).
    delta : float, default=1
        Where "huber" goes over from squares to absolute values.
    l2 : float, default=0
        Adds ``l2 / 2`` times the sum of the squared weights, biases left out.
    dropout : float or sequence of float, default=0
        Rate behind all hidden layers or behind each.
    initializer : str, default="auto"
        lecun_normal, glorot_uniform, glorot_normal, he_normal or he_uniform.
        "auto" takes he_normal for layers of the relu family, else lecun_normal.
        Biases start at zero.
    standardize : bool, default=False
        The first ``fit`` learns mean and standard deviation of the features, and
        of the targets of regression (except poisson's); every call then applies them.
        Losses, and huber's ``delta``, are those of the standardised targets.
    backend : {"auto", "cython", "numba", "numpy"}
        "auto" takes the fastest that is there (of those that can call custom functions,
        where there are any).
    dtype : {"float32", "float64"}
    random_state : int, numpy.random.RandomState or None
        Initial weights, shuffling and dropout.
    n_threads : int, optional
        Most threads for training and predicting, those of BLAS too; default: all cores that
        the process may use, or what OMP_NUM_THREADS says if that is less, where the work is
        worth it.

    Attributes
    ----------
    params : ndarray, shape (n_params,)
        All parameters; ``weights`` and ``biases`` are views of it.
    weights : list of ndarray, each (fan_in, fan_out)
    biases : list of ndarray, each (fan_out,)
    classes_ : ndarray or None
        Labels in the order of the outputs, known after ``fit``.
    n_epochs_ : int
        Epochs trained so far, over all calls of ``fit``.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> import fastnn
    >>> X, y = make_moons(200, noise=0.2, random_state=0)
    >>> net = fastnn.Network([2, 3, 2], l2=5e-5, dtype="float64", random_state=0)
    >>> history = net.fit(X, y, optimizer=fastnn.SGD(learning_rate=2.0), epochs=1000)
    >>> bool(net.score(X, y) > 0.95)
    True
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str | CustomActivation | Sequence[str | CustomActivation] = "tanh",
        alpha: float | None = None,
        loss: str | CustomLoss = "cross_entropy",
        label_smoothing: float = 0.0,
        quantile: float = 0.5,
        delta: float = 1.0,
        l2: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        initializer: str = "auto",
        standardize: bool = False,
        backend: str = "auto",
        dtype: Any = "float32",
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
    ) -> None:
        try:
            sizes = [as_integer("layer_sizes", size, 1) for size in layer_sizes]
        except TypeError:
            raise ValueError(
                f"layer_sizes must be a sequence of whole numbers; got {layer_sizes!r}"
            ) from None
        if len(sizes) < 2:
            raise ValueError(f"layer_sizes needs inputs and outputs; got {sizes}")
        n_hidden = len(sizes) - 2
        self.layer_sizes = tuple(sizes)
        self._custom_loss = loss if isinstance(loss, CustomLoss) else None
        if self._custom_loss is None:
            self.loss_name = one_of("loss", loss, tuple(codes.LOSSES))
        else:
            self.loss_name = self._custom_loss.name
        if loss == "cross_entropy" and sizes[-1] < 2:
            raise ValueError(
                "cross_entropy needs at least two outputs; "
                "use binary_cross_entropy for one (layer_sizes ends in 1)"
            )
        self.label_smoothing = as_real("label_smoothing", label_smoothing, 0.0, 1.0)
        if self.label_smoothing and self.is_regression:
            raise ValueError(
                f"label_smoothing needs a loss of classification; this one is {self.loss_name}"
            )
        self.quantile = as_real("quantile", quantile, 0.0, 1.0)
        self.delta = as_real("delta", delta, 0.0)
        for name, value in (("quantile", self.quantile), ("delta", self.delta)):
            if value == 0.0:
                raise ValueError(f"{name} must be greater than 0; got 0")
        self.activations = _one_a_layer("activation", activation, n_hidden, _activation)
        self.alpha = None if alpha is None else as_real("alpha", alpha, 0.0)
        self.l2 = as_real("l2", l2, 0.0)
        self.dropout = _one_a_layer(
            "dropout", dropout, n_hidden, lambda name, value: as_real(name, value, 0.0, 1.0)
        )
        self.initializer = one_of("initializer", initializer, INITIALIZERS)
        self.standardize = bool(standardize)
        try:
            self.dtype = np.dtype(dtype)
        except TypeError:
            self.dtype = np.dtype(object)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64; got {dtype!r}")
        self.n_threads = None if n_threads is None else as_integer("n_threads", n_threads, 1)
        if backend == "auto" and self._custom:
            backend = next(name for name in backends.available() if name != "cython")
        self._kernels = backends.load(backend)

        self._make_plans()
        self.params = aligned_empty((self._plan.n_params,), self.dtype)
        self._make_views()
        rng = _random_state(random_state)
        self._initialize(rng)
        # Drawn behind the weights, so that these are what the seed alone would give.
        self._seed = int(rng.randint(2**31 - 1))

        self.classes_: np.ndarray | None = None
        self.n_epochs_ = 0
        self._targets_1d = True
        self._input_shift: np.ndarray | None = None
        self._input_scale: np.ndarray | None = None
        self._target_shift: np.ndarray | None = None
        self._target_scale: np.ndarray | None = None
        self._optimizer: Optimizer | None = None
        self._moments = np.empty((0, 0), self.dtype)
        self._left: np.ndarray | None = None
        self._updates = 0

    # --- making ---------------------------------------------------------------

    def _make_plans(self) -> None:
        """Plans for training and, without dropout, for everything else."""
        names = [*self.activations, "identity"]
        n_targets = 1 if self.loss_name == "cross_entropy" else self.layer_sizes[-1]
        alphas = [
            _DEFAULT_ALPHA.get(name, 0.0) if self.alpha is None else self.alpha for name in names
        ]
        of_loss = {"huber": self.delta, "quantile": self.quantile}
        alphas[-1] = of_loss.get(self.loss_name, self.label_smoothing)
        pairs = [*self.activations, self._custom_loss]
        for k, pair in enumerate(pairs):
            if not isinstance(pair, str) and pair is not None:
                alphas[k] = pair.for_kernels(self.backend, self.dtype)
        activations = [codes.ACTIVATIONS.get(name, codes.CUSTOM_ACTIVATION) for name in names]
        self._make_plan = partial(
            make_plan,
            list(self.layer_sizes),
            activations,
            alphas,
            n_targets=n_targets,
            itemsize=self.dtype.itemsize,
            kernels=self._kernels,
        )
        # For batches of some size; kept, since a call of a few steps would notice the making.
        self._batch_plan = lru_cache(maxsize=8)(partial(self._make_plan, self.dropout))
        self._plan = self._make_plan([])
        self._training_plan = self._make_plan(self.dropout) if any(self.dropout) else self._plan
        self._loss_code = codes.LOSSES.get(self.loss_name, codes.CUSTOM_LOSS)
        self._scratch = threading.local()
        # From this many samples on predictions are shared out; BLAS has threads of its own.
        self._shared_from = sys.maxsize
        if self.backend != "numpy":
            fewest = -(-4 * WAKING // self._plan.n_params)  # two threads
            self._shared_from = max(2 * self._plan.block, fewest)

    def _make_views(self) -> None:
        """``weights`` and ``biases`` as views of ``params``."""
        self.weights, self.biases = self.unflatten(self.params)

    def unflatten(self, vector: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Views of a flat vector, such as a gradient, as weights and biases.

        Parameters
        ----------
        vector : ndarray, shape (n_params,)

        Returns
        -------
        weights : list of ndarray, each (fan_in, fan_out)
        biases : list of ndarray, each (fan_out,)
        """
        weights, biases = [], []
        for row in self._plan.dense_rows():
            start, middle = row[codes.WEIGHTS], row[codes.BIASES]
            weights.append(vector[start:middle].reshape(row[codes.FAN_IN], row[codes.FAN_OUT]))
            biases.append(vector[middle : middle + row[codes.FAN_OUT]])
        return weights, biases

    @property
    def _has_average(self) -> bool:
        return bool(self._optimizer is not None and self._optimizer.ema and self._updates)

    def _swap_average(self) -> None:
        """Exchange the parameters and their average, where the update rule keeps one."""
        if self._has_average:
            average = self._moments[-1].copy()
            self._moments[-1] = self.params
            self.params[:] = average

    @contextmanager
    def _with_average(self) -> Iterator[None]:
        """Context in which ``params`` are their average."""
        self._swap_average()
        try:
            yield
        finally:
            self._swap_average()

    def _leave(self, best: np.ndarray | None = None) -> np.ndarray | None:
        """End of a training: the parameters become their average, or ``best``.

        Returns
        -------
        ndarray, shape (n_params,), or None
            What :meth:`_resume` needs; None where there is no average.
        """
        self._swap_average()
        if best is not None:
            self.params[:] = best
        return self.params.copy() if self._has_average else None

    def _resume(self, left: np.ndarray | None) -> None:
        """Training goes on from the parameters themselves, not from their average.

        Where somebody has changed them since, both go on from what they are now.
        """
        if left is not None and np.array_equal(self.params, left):
            self._swap_average()
        elif left is not None:
            self._moments[-1] = self.params

    def _initialize(self, rng: np.random.RandomState) -> None:
        """Draw the weights layer by layer in float64; biases are zero.

        Sources: LeCun et al., Efficient BackProp (1998); Glorot and Bengio (2010);
        He et al. (2015).
        """
        self.params[:] = 0.0
        for w, activation in zip(self.weights, [*self.activations, "identity"], strict=True):
            fan_in, fan_out = w.shape
            kind = self.initializer
            if kind == "auto":
                kind = "he_normal" if activation in _RELU_FAMILY else "lecun_normal"
            fan = {  # the weights' variance is 1 / fan
                "lecun": fan_in,
                "he": fan_in / 2,
                "glorot": (fan_in + fan_out) / 2,
            }[kind.split("_")[0]]
            if kind.endswith("normal"):
                w[:] = rng.randn(fan_in, fan_out) / np.sqrt(fan)
            else:
                bound = np.sqrt(3 / fan)
                w[:] = rng.uniform(-bound, bound, (fan_in, fan_out))

    # --- what it is -----------------------------------------------------------

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return self._kernels.NAME

    @property
    def is_regression(self) -> bool:
        """Whether the loss is one of real targets."""
        return self._custom_loss is not None or self.loss_name in codes.REGRESSION

    @property
    def _custom(self) -> list[CustomActivation | CustomLoss]:
        """The user's own functions, each once."""
        pairs = [*self.activations, self._custom_loss]
        return list(dict.fromkeys(p for p in pairs if isinstance(p, CustomActivation | CustomLoss)))

    @property
    def n_params(self) -> int:
        """Number of weights and biases."""
        return self._plan.n_params

    @property
    def n_features(self) -> int:
        """Number of inputs."""
        return self.layer_sizes[0]

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return self.layer_sizes[-1]

    def __repr__(self) -> str:
        activation = (
            repr(self.activations[0])
            if len(set(self.activations)) == 1
            else repr(list(self.activations))
        )
        return (
            f"Network({list(self.layer_sizes)}, activation={activation}, "
            f"loss={self.loss_name!r}, l2={self.l2:g}, backend={self.backend!r}, "
            f"dtype={self.dtype.name!r})"
        )

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_kernels"] = self.backend
        # the plans are made again: addresses of the user's functions hold in one process
        made = ("_make_plan", "_batch_plan", "_plan", "_training_plan", "weights", "biases")
        for name in ("_scratch", *made):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._kernels = backends.load(state["_kernels"])
        self._make_plans()
        params = aligned_empty(self.params.shape, self.dtype)
        params[:] = self.params
        self.params = params
        self._make_views()

    def __deepcopy__(self, memo: dict) -> Network:
        other = object.__new__(type(self))
        other.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return other

    # --- what comes in --------------------------------------------------------

    def _inputs(self, X: Any, finite: bool = True) -> np.ndarray:
        """Samples as the kernels take them, standardised where asked for.

        ``finite=False`` leaves the search for NaN to :meth:`_forward`.
        """
        x = as_matrix("X", X, self.layer_sizes[0], self.dtype, finite)
        if self._input_shift is not None:
            x = (x - self._input_shift) * self._input_scale
        return x

    def _learn_scales(self, x: np.ndarray, targets: np.ndarray) -> None:
        """Mean and standard deviation of the features (and real targets)."""
        self._input_shift, self._input_scale = _shift_and_scale(x)
        if self._custom_loss is not None or self.loss_name in codes.SCALED_TARGETS:
            self._target_shift, self._target_scale = _shift_and_scale(targets)

    def _targets(self, y: Any, n_samples: int, name: str = "y", learn: bool = False) -> np.ndarray:
        """Targets as the kernels take them, (samples, 1 or outputs)."""
        array = np.asarray(y)
        if array.shape[:1] != (n_samples,):
            raise ValueError(f"{name} has shape {array.shape}; X has {n_samples} samples")
        if self.is_regression or (self.loss_name == "binary_cross_entropy" and self.n_outputs > 1):
            flat = array.ndim == 1
            matrix = as_matrix(name, array[:, None] if flat else array, None, self.dtype)
            if matrix.shape[1] != self.n_outputs:
                raise ValueError(
                    f"{name} has {matrix.shape[1]} columns; the network has "
                    f"{self.n_outputs} outputs"
                )
            if (
                self.loss_name == "binary_cross_entropy"
                and not ((matrix >= 0) & (matrix <= 1)).all()
            ):
                raise ValueError(f"{name} must lie in [0, 1] for binary_cross_entropy")
            if self.loss_name == "poisson" and (matrix < 0).any():
                raise ValueError(f"{name} must not be negative for poisson; got {matrix.min():g}")
            if learn:
                self._targets_1d = flat
            return matrix
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1:
            raise ValueError(f"{name} must be 1-D labels; got shape {array.shape}")
        return self._class_indices(array, name, learn)

    def _class_indices(self, labels: np.ndarray, name: str, learn: bool) -> np.ndarray:
        """Labels as class indices in the network's dtype, (samples, 1)."""
        if labels.dtype.kind == "f":
            check_finite(name, labels)
            if (labels != np.floor(labels)).any():
                raise ValueError(f"{name} must be class labels; got real numbers")
        try:
            present = np.unique(labels)
        except TypeError:
            raise ValueError(
                f"{name} must be labels of one type, all numbers or all strings"
            ) from None
        classes = self.classes_
        if classes is None:
            n_classes = max(self.n_outputs, 2)
            if learn and len(present) < 2:
                raise ValueError(
                    f"{name} has a single class, {present.tolist()[0]!r}; at least two are needed"
                )
            if len(present) == n_classes:
                classes = present
            elif (
                len(present) < n_classes
                and present.dtype.kind in "iub"
                and present[0] >= 0
                and present[-1] < n_classes
            ):
                classes = np.arange(n_classes)
            else:
                raise ValueError(
                    f"{name} has {len(present)} classes; the network tells {n_classes} apart"
                )
            if learn:
                self.classes_ = classes
        positions = np.searchsorted(classes, labels).clip(0, len(classes) - 1)
        unknown = classes[positions] != labels
        if unknown.any():
            raise ValueError(f"{name} has a label unknown to the network: {labels[unknown][0]!r}")
        return positions.astype(self.dtype)[:, None]

    # --- using ----------------------------------------------------------------

    def _work(self, plan: Plan) -> np.ndarray:
        """Scratch memory of this Python thread."""
        name = "training" if plan is self._training_plan and plan is not self._plan else "work"
        work = getattr(self._scratch, name, None)
        if work is None:
            work = plan.workspace(self.dtype)
            setattr(self._scratch, name, work)
        return work

    def _forward(self, x: np.ndarray, transform: bool) -> np.ndarray:
        """Predictions or net inputs, (samples, outputs)."""
        out = np.empty((x.shape[0], self.layer_sizes[-1]), self.dtype)
        if x.shape[0] < self._shared_from:
            finite = self._forward_rows(x, transform, out)
        else:
            finite = self._forward_shared(x, transform, out)
        if not finite:
            check_finite("X", x)
        return out

    def _forward_rows(self, x: np.ndarray, transform: bool, out: np.ndarray) -> bool:
        """Into ``out``; whether x is finite."""
        net = self._plan.net(self._loss_code)
        return self._kernels.forward(net, x, transform, self.params, self._work(self._plan), out)

    def _forward_shared(self, x: np.ndarray, transform: bool, out: np.ndarray) -> bool:
        """The same by several threads: whole blocks each, so that no bit depends on how many."""
        plan, samples = self._plan, len(x)
        most = 1 if is_worker() else self.n_threads or default_threads()
        threads = min(most, math.isqrt(samples * plan.n_params // WAKING))
        blocks = samples // plan.block
        pieces = min(blocks, PIECES_PER_THREAD * threads)
        edges = [k * blocks // pieces * plan.block for k in range(pieces)] + [samples]

        def run(k: int) -> bool:
            part = slice(edges[k], edges[k + 1])
            return self._forward_rows(x[part], transform, out[part])

        with self._limited_blas(plan):  # for one thread too, which must find the same bits
            if threads == 1:
                return self._forward_rows(x, transform, out)
            return all(run_pieces(run, pieces, threads))

    def _limited_blas(self, plan: Plan) -> Any:
        """Context in which BLAS starts no threads beside ours."""
        return limited_blas(1) if plan.layers[:, codes.BLAS].any() else nullcontext()

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array-like, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples, classes)
            For several outputs of binary_cross_entropy, of each label being there.

        Raises
        ------
        ValueError
            If the loss is one of regression.
        """
        if self.is_regression:
            raise ValueError(
                f"predict_proba needs a loss of classification; this one is {self.loss_name}"
            )
        p = self._forward(self._inputs(X, finite=False), True)
        if self.loss_name == "binary_cross_entropy" and self.layer_sizes[-1] == 1:
            return np.hstack([1 - p, p])
        return p

    def predict(self, X: Any) -> np.ndarray:
        """Most probable labels, or the values of a regression.

        Parameters
        ----------
        X : array-like, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples,) or (samples, outputs)
        """
        regression = self.is_regression
        z = self._forward(self._inputs(X, finite=False), regression)
        if regression:
            if self._target_shift is not None:
                z = z / self._target_scale + self._target_shift
            return z[:, 0] if self._targets_1d and self.n_outputs == 1 else z
        if self.loss_name == "binary_cross_entropy":
            chosen = (z > 0).astype(np.int64)
            if self.n_outputs > 1:
                return chosen
            chosen = chosen[:, 0]
        else:
            chosen = z.argmax(axis=1)
        return chosen if self.classes_ is None else self.classes_[chosen]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, or the coefficient of determination R^2 of a regression.

        Parameters
        ----------
        X : array-like, shape (samples, features)
        y : array-like, shape (samples,) or (samples, outputs)
        sample_weight : array-like, shape (samples,), optional

        Returns
        -------
        float
        """
        predicted, y = self.predict(X), np.asarray(y)
        if y.shape[:1] != predicted.shape[:1]:
            raise ValueError(f"y has shape {y.shape}; X has {len(predicted)} samples")
        weights = as_weights("sample_weight", sample_weight, len(y), np.dtype(np.float64))
        if self.is_regression:
            from sklearn.metrics import r2_score

            return float(r2_score(y, predicted, sample_weight=weights if len(weights) else None))
        right = y.reshape(predicted.shape) == predicted
        if right.ndim == 2:  # multilabel: a sample is right when all its labels are
            right = right.all(axis=1)
        return float(np.average(right, weights=weights if len(weights) else None))

    def _scaled_targets(self, targets: np.ndarray) -> np.ndarray:
        if self._target_shift is None:
            return targets
        return (targets - self._target_shift) * self._target_scale

    def _objective(self, x: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
        """Objective on data that have been checked."""
        logits = self._forward(x, False).T.copy()
        total = float(weights.sum(dtype=np.float64)) if len(weights) else x.shape[0]
        data_loss = self._kernels.output_loss(
            logits,
            np.ascontiguousarray(targets.T),
            weights,
            self._loss_code,
            self._plan.constants[-1],
            1.0 / total,
            logits,
        )
        return float(data_loss) / total + self._penalty()

    def _penalty(self) -> float:
        return 0.5 * self.l2 * sum(float(np.vdot(w, w)) for w in self.weights) if self.l2 else 0.0

    def loss(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Objective: mean loss plus ``l2 / 2`` times the sum of the squared weights.

        Parameters
        ----------
        X : array-like, shape (samples, features)
        y : array-like, shape (samples,) or (samples, outputs)
        sample_weight : array-like, shape (samples,), optional
            For a weighted mean.

        Returns
        -------
        float
        """
        x = self._inputs(X)
        targets = self._scaled_targets(self._targets(y, len(x)))
        return self._objective(
            x, targets, as_weights("sample_weight", sample_weight, len(x), self.dtype)
        )

    def gradients(self, X: Any, y: Any, sample_weight: Any = None) -> np.ndarray:
        """Gradient of :meth:`loss` (no dropout).

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`loss`.

        Returns
        -------
        ndarray, shape (n_params,)
            In the layout of ``params``; :meth:`unflatten` gives it by layer.
        """
        x = self._inputs(X)
        targets = self._scaled_targets(self._targets(y, len(x)))
        grads = self._plan.gradient_groups(self.dtype)
        self._kernels.loss_and_grad(
            self._plan.net(self._loss_code, self.l2),
            np.ascontiguousarray(x.T),
            np.ascontiguousarray(targets.T),
            as_weights("sample_weight", sample_weight, len(x), self.dtype),
            0,
            0,
            self.params,
            self._work(self._plan),
            grads,
        )
        return grads[0].copy()

    # --- training -------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        optimizer: Optimizer | str | None = None,
        epochs: int = 100,
        batch_size: int | None = None,
        shuffle: bool = True,
        sample_weight: Any = None,
        validation_data: tuple[Any, Any] | None = None,
        validation_fraction: float = 0.0,
        early_stopping: bool | EarlyStopping | None = None,
        callbacks: Sequence[Callable[[Progress], bool | None]] = (),
        verbose: bool = False,
    ) -> History:
        """Train; calling it again goes on from where it was.

        Parameters
        ----------
        X : array-like, shape (samples, features)
        y : array-like, shape (samples,) or (samples, outputs)
            Labels (integers or strings), 0/1 columns for multilabel, or numbers.
        optimizer : Optimizer or str, optional
            Update rule; default :class:`fastnn.Adam`. An equal one goes on with its
            moments, another starts with new ones.
        epochs : int, default=100
            Passes over the data.
        batch_size : int, optional
            Samples a step; the last batch of an epoch takes what is left. Default:
            all (full-batch training).
        shuffle : bool, default=True
            New order of the samples every epoch.
        sample_weight : array-like, shape (samples,), optional
            Not negative; the loss is the weighted mean.
        validation_data : tuple (X, y), optional
            Loss and score on it are recorded after every epoch.
        validation_fraction : float, default=0
            Share of the samples set aside for that, drawn from ``random_state``.
        early_stopping : bool or EarlyStopping, optional
            Stop when the validation loss no longer falls; restores the best
            parameters. Needs validation data.
        callbacks : sequence of callables
            Called between slices of training (every 30 ms or so, or every epoch
            with validation) with a :class:`fastnn.Progress`; a true result stops.
        verbose : bool, default=False
            Progress bar, where the output is a terminal.

        Returns
        -------
        History

        Raises
        ------
        ValueError
            On bad arguments, before anything changed.
        DivergenceError
            If the loss is not finite; the last finite parameters are kept (with ``ema`` their
            average). A network of more than a mebibyte may go back some slices of training and
            then starts its update rule anew, since keeping moments would take as much memory again.
        """
        job = self._job(
            X,
            y,
            optimizer,
            epochs,
            batch_size,
            shuffle,
            sample_weight,
            validation_data,
            validation_fraction,
            early_stopping,
            callbacks,
        )
        bar = _progress_bar(job.epochs) if verbose else None
        with bar if bar is not None else nullcontext():
            return self._train(job, [bar.callback] if bar is not None else [])

    def _job(
        self,
        X: Any,
        y: Any,
        optimizer: Optimizer | str | None = None,
        epochs: int = 100,
        batch_size: int | None = None,
        shuffle: bool = True,
        sample_weight: Any = None,
        validation_data: tuple[Any, Any] | None = None,
        validation_fraction: float = 0.0,
        early_stopping: bool | EarlyStopping | None = None,
        callbacks: Sequence[Callable[[Progress], bool | None]] = (),
    ) -> _Job:
        """The arguments of :meth:`fit`, checked; learns the classes, nothing else."""
        optimizer = get_optimizer(optimizer)
        epochs = as_integer("epochs", epochs, 1)
        x = as_matrix("X", X, self.layer_sizes[0], self.dtype)
        classes, targets_1d = self.classes_, self._targets_1d
        try:
            targets = self._targets(y, len(x), learn=True)
            weights = as_weights("sample_weight", sample_weight, len(x), self.dtype)
            x, targets, weights, held_out = self._split(
                x, targets, weights, validation_data, validation_fraction
            )
            if batch_size is not None:
                batch_size = min(as_integer("batch_size", batch_size, 1), len(x))
            stopping = EarlyStopping() if early_stopping is True else early_stopping or None
            if stopping is not None and not isinstance(stopping, EarlyStopping):
                raise ValueError(
                    f"early_stopping must be a bool or EarlyStopping; got {stopping!r}"
                )
            if stopping is not None and held_out is None:
                raise ValueError("early_stopping needs validation_data or validation_fraction")
            if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
                raise ValueError(f"callbacks must be a sequence of callables; got {callbacks!r}")
        except BaseException:
            self.classes_, self._targets_1d = classes, targets_1d
            raise
        return _Job(
            x,
            targets,
            weights,
            held_out,
            optimizer,
            epochs,
            batch_size,
            bool(shuffle),
            stopping,
            callbacks,
        )

    def _check_fit(self, X: Any, y: Any, **arguments: Any) -> int:
        """Raise what :meth:`fit` would, changing nothing; returns about how long it will take."""
        classes, targets_1d = self.classes_, self._targets_1d
        try:
            job = self._job(X, y, **arguments)
        finally:
            self.classes_, self._targets_1d = classes, targets_1d
        return job.epochs * len(job.x) * self.n_params

    def _train(
        self,
        job: _Job,
        callbacks: Sequence[Callable[[Progress], bool | None]] = (),
        n_threads: int | None = None,
    ) -> History:
        """Train as has been checked, with more callbacks, on at most so many threads."""
        x, targets, held_out = job.x, job.targets, job.held_out
        if self.standardize and self._input_shift is None:
            self._learn_scales(x, targets)
        if self._input_shift is not None:
            x = (x - self._input_shift) * self._input_scale
            if held_out is not None:
                held_out = ((held_out[0] - self._input_shift) * self._input_scale, *held_out[1:])
        targets = self._scaled_targets(targets)
        if held_out is not None:
            held_out = (held_out[0], self._scaled_targets(held_out[1]))

        if job.optimizer != self._optimizer:
            self._optimizer, self._updates = job.optimizer, 0
            self._moments = aligned_zeros((job.optimizer.n_moments, self.n_params), self.dtype)
        else:
            self._resume(self._left)
        self._left = None
        run = _Run(
            self,
            x,
            targets,
            job.weights,
            held_out,
            job.epochs,
            job.batch_size,
            job.shuffle,
            n_threads,
        )
        try:
            return run.go(job.stopping, [*job.callbacks, *callbacks])
        except BaseException:  # a DivergenceError, or one of a callback
            self._left = self._leave()
            raise

    def _split(
        self,
        x: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        validation_data: tuple[Any, Any] | None,
        validation_fraction: float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
        """Training data, weights and what is held out."""
        fraction = as_real("validation_fraction", validation_fraction, 0.0, 1.0)
        if validation_data is not None:
            if fraction:
                raise ValueError("give validation_data or validation_fraction, not both")
            try:
                X_val, y_val = validation_data
            except (TypeError, ValueError):
                raise ValueError("validation_data must be a pair (X, y)") from None
            x_val = as_matrix("validation_data[0]", X_val, self.layer_sizes[0], self.dtype)
            return (
                x,
                targets,
                weights,
                (x_val, self._targets(y_val, len(x_val), "validation_data[1]")),
            )
        if not fraction:
            return x, targets, weights, None
        n_held = int(np.ceil(fraction * len(x)))
        if n_held >= len(x):
            raise ValueError(
                f"validation_fraction={fraction:g} leaves no training samples of {len(x)}"
            )
        order = np.random.RandomState(self._seed).permutation(len(x))
        held, kept = order[:n_held], np.sort(order[n_held:])
        return (
            x[kept],
            targets[kept],
            weights[kept] if len(weights) else weights,
            (x[held], targets[held]),
        )

    def _score_checked(self, x: np.ndarray, targets: np.ndarray) -> float:
        """Score on checked and scaled data, without going through labels."""
        z = self._forward(x, self.is_regression)
        if self.loss_name == "cross_entropy":
            return float(np.mean(z.argmax(axis=1) == targets[:, 0]))
        if self.loss_name == "binary_cross_entropy":
            return float(np.mean(((z > 0) == (targets > 0.5)).all(axis=1)))
        residual = ((targets - z) ** 2).sum(axis=0, dtype=np.float64)
        spread = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = np.where(spread > 0, 1 - residual / spread, np.where(residual > 0, 0.0, 1.0))
        return float(r2.mean())

    # --- compiled code ----------------------------------------------------------

    def _freezable(self, output: str) -> None:
        one_of("output", output, ("proba", "logits"))
        for pair in self.activations:
            if isinstance(pair, CustomActivation):
                raise ValueError(f"compiled calls take built-in activations; got {pair!r}")
        if max(self.layer_sizes) > MAX_FROZEN_UNITS:
            raise ValueError(
                f"compiled calls take layers of up to {MAX_FROZEN_UNITS} units; "
                f"layer_sizes is {list(self.layer_sizes)}"
            )

    def numba_predict(self, output: str = "proba") -> Callable:
        """Prediction of one sample as a Numba function, for other compiled code.

        The weights are copied: later training does not change the function. A call
        needs neither the GIL nor memory, and may stand in ``prange``. Numba's
        ``cache=True`` is refused, with a warning, for functions that call it.

        Parameters
        ----------
        output : {"proba", "logits"}, default="proba"
            What ``out`` gets. "proba": probabilities, one an output (a single output
            of binary_cross_entropy: that of the second class), or for regression the
            values of :meth:`predict`, in the targets' units. "logits": the last layer's net inputs.

        Returns
        -------
        function
            ``predict(x, out)``: x (features,) is read, out (outputs,) written, both
            C-contiguous and of the network's dtype. A wrong dtype or layout is an error
            when the caller is compiled, a wrong length a ValueError. NaN is not an
            error: it comes out again.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> predict, out = net.numba_predict(), np.empty(2, np.float32)
        >>> predict(np.ones(2, np.float32), out)
        >>> bool(np.allclose(out, net.predict_proba([[1, 1]])))
        True
        """
        self._freezable(output)
        from fastnn.export.compiled import numba_predict

        return numba_predict(self, output)

    def cfunc(self, signature: str = "predict", output: str = "proba") -> CFunction:
        """Prediction of one sample as a C function.

        Parameters
        ----------
        signature : {"predict", "integrand"}, default="predict"
            "predict": ``void (const T *x, T *out)`` with T the network's dtype; lengths
            are the caller's business.
            "integrand": ``double (int n, double *x)`` as SciPy's ``quad`` and ``nquad``
            take it, for a network with one output; NaN if n is not the number of
            features.
        output : {"proba", "logits"}, default="proba"
            As for :meth:`numba_predict`.

        Returns
        -------
        fastnn.export.compiled.CFunction
            ``address``, and ``ctypes`` for ``scipy.LowLevelCallable(f.ctypes)``: good as
            long as one of the two objects lives. The weights in it are a copy. Cython
            code takes it through ``fastnn.cython_kernels``.
        """
        self._freezable(output)
        one_of("signature", signature, ("predict", "integrand"))
        if signature == "integrand" and self.n_outputs != 1:
            raise ValueError(
                f"signature 'integrand' needs a network with one output; "
                f"this one has {self.n_outputs}"
            )
        from fastnn.export.compiled import cfunc

        return cfunc(self, signature, output)

    # --- keeping --------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """All settings as plain data (JSON); with :meth:`arrays` it makes the network anew.

        Raises
        ------
        ValueError
            If there are custom functions, which are no data.
        """
        if self._custom:
            raise ValueError(
                f"{self._custom[0]!r} is code and cannot be kept as data: pickle the network, or "
                "keep arrays() and make the network again"
            )
        classes = None
        if self.classes_ is not None:
            classes = {"dtype": self.classes_.dtype.str, "values": self.classes_.tolist()}
        return {
            "layer_sizes": list(self.layer_sizes),
            "activation": list(self.activations),
            "alpha": self.alpha,
            "loss": self.loss_name,
            "label_smoothing": self.label_smoothing,
            "quantile": self.quantile,
            "delta": self.delta,
            "l2": self.l2,
            "dropout": list(self.dropout),
            "initializer": self.initializer,
            "standardize": self.standardize,
            "dtype": self.dtype.name,
            "classes": classes,
            "targets_1d": self._targets_1d,
            "n_epochs": self.n_epochs_,
            "seed": self._seed,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name: ``params`` and, once learned, shifts and scales."""
        named = {
            "params": self.params,
            "input_shift": self._input_shift,
            "input_scale": self._input_scale,
            "target_shift": self._target_shift,
            "target_scale": self._target_scale,
        }
        return {name: array for name, array in named.items() if array is not None}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], arrays: dict[str, np.ndarray], backend: str = "auto"
    ) -> Network:
        """Network from :meth:`get_config` and :meth:`arrays`.

        Raises
        ------
        ValueError
            If the arrays do not fit the settings.
        """
        own = ("classes", "targets_1d", "n_epochs", "seed")
        settings = {name: value for name, value in config.items() if name not in own}
        net = cls(settings.pop("layer_sizes"), backend=backend, random_state=0, **settings)
        shapes = {
            "params": (net.n_params,),
            "input_shift": (net.n_features,),
            "input_scale": (net.n_features,),
            "target_shift": (net.n_outputs,),
            "target_scale": (net.n_outputs,),
        }
        for name, array in arrays.items():
            if name not in shapes:
                raise ValueError(f"unknown array {name!r}")
            if array.shape != shapes[name] or array.dtype != net.dtype:
                raise ValueError(
                    f"{name} must be {net.dtype.name} of shape {shapes[name]}; "
                    f"got {array.dtype} of shape {array.shape}"
                )
            check_finite(name, array)
            if name != "params":
                setattr(net, f"_{name}", array.copy())
        net.params[:] = arrays["params"]
        if config["classes"] is not None:
            net.classes_ = np.array(config["classes"]["values"], config["classes"]["dtype"])
        net._targets_1d = bool(config["targets_1d"])
        net.n_epochs_ = int(config["n_epochs"])
        net._seed = int(config["seed"])
        return net

    def save(self, path: str | os.PathLike) -> None:
        """Write a model file; see :func:`fastnn.storage.save`."""
        from fastnn.storage import save

        save(self, path)


@dataclass(frozen=True)
class _Job:
    """The arguments of a call of ``fit``, checked, not yet standardised."""

    x: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    held_out: tuple[np.ndarray, np.ndarray] | None
    optimizer: Optimizer
    epochs: int
    batch_size: int | None
    shuffle: bool
    stopping: EarlyStopping | None
    callbacks: Sequence[Callable[[Progress], bool | None]]


class _Run:
    """One call of ``fit``: slices of compiled training and what happens between them."""

    active = 0  # threads of the next slice; 0 for ``n_threads``

    def __init__(
        self,
        network: Network,
        x: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        held_out: tuple[np.ndarray, np.ndarray] | None,
        epochs: int,
        batch_size: int | None,
        shuffle: bool,
        n_threads: int | None = None,
    ) -> None:
        self.network, self.held_out, self.epochs = network, held_out, epochs
        self.samples = len(x)
        self.batch_size = self.samples if batch_size is None else batch_size
        self.batches = -(-self.samples // self.batch_size)
        # The order within one full batch changes nothing but rounding.
        self.shuffled = bool(shuffle) and self.batches > 1
        sparse = network.backend != "numpy" and _sparse_pays(x, network._training_plan)
        plan = self.plan = network._batch_plan(batch_size=self.batch_size, sparse=sparse)
        self.indices, self.indptr = np.empty(0, np.int32), np.empty(0, np.int64)
        self.most_threads = n_threads or network.n_threads
        self.n_threads = self._choose_threads(plan, n_threads)
        if sparse:
            self.x, self.indices, self.indptr = _compressed(x, network.dtype)
        else:
            self.x = x if self.shuffled else batch_matrices(x, self.batch_size)
        self.targets = (
            np.ascontiguousarray(targets)
            if self.shuffled
            else batch_matrices(targets, self.batch_size)
        )
        self.weights = weights
        self.order = np.empty(self.samples if self.shuffled else 0, np.int64)
        self.work = plan.workspace(network.dtype, self.n_threads, sparse)
        self.grads = plan.gradient_groups(network.dtype)
        self.first_step = network.n_epochs_ * self.batches
        self.rule = network._optimizer.for_kernels()

    def _choose_threads(self, plan: Plan, most: int | None = None) -> int:
        """Threads that share a batch's work; more than one only where a step has enough of it."""
        if self.network.backend == "numpy":
            return 1
        return min(
            most or self.network.n_threads or default_threads(), plan.threads(self.batch_size)
        )

    def _limited_blas(self, plan: Plan) -> Any:
        """Context in which BLAS starts no threads beside ours."""
        if self.network.backend == "numpy":  # BLAS does all products, with what threads it has
            most = self.most_threads
            return limited_blas(most) if most else nullcontext()
        return self.network._limited_blas(plan)

    def _train(
        self,
        step: int,
        n_steps: int,
        losses: np.ndarray,
        pool: ThreadPoolExecutor | None,
        rates: np.ndarray | None = None,
    ) -> int:
        """Run a slice, at the optimiser's learning rate or one a step; returns the steps done."""
        net, plan = self.network, self.plan
        if rates is None:
            rates = np.full(n_steps, net._optimizer.learning_rate)
        sync = np.zeros(SYNC_SIZE, np.int64)
        threads = self.active or self.n_threads

        kernel_net = plan.net(net._loss_code, net.l2)
        data = Data(
            self.x,
            self.indices,
            self.indptr,
            self.targets,
            self.weights,
            self.batch_size,
            self.shuffled,
        )
        chunk = Chunk(rates, self.first_step + step, net._updates, net._seed)
        memory = Memory(self.grads, self.order, self.work)

        def run(thread: int) -> int:
            return net._kernels.train(
                kernel_net,
                data,
                self.rule,
                chunk,
                Team(thread, threads, sync),
                net.params,
                net._moments,
                memory,
                losses,
            )

        others = [pool.submit(run, thread) for thread in range(1, threads)] if pool else []
        # An overflow shows in the loss; NumPy's warning would add nothing.
        with np.errstate(over="ignore", invalid="ignore"):
            done = run(0)
        for other in others:
            other.result()
        net._updates += done
        return done

    def go(
        self, stopping: EarlyStopping | None, callbacks: Sequence[Callable[[Progress], bool | None]]
    ) -> History:
        """Train to the end, or until something stops it."""
        net, total = self.network, self.epochs * self.batches
        losses = np.empty(total)
        validation: list[tuple[float, float]] = []
        progress = Progress(net, self.epochs, total)
        best, stopped, step, length = Best(), "epochs", 0, 1
        kept, team = _Kept(net), _Team(self.n_threads)
        started = time.perf_counter()
        self._train(0, 0, losses[:0], None)  # no step: what has to be compiled is compiled now
        compile_seconds = time.perf_counter() - started
        started += compile_seconds
        workers = helpers(self.n_threads - 1) if self.n_threads > 1 else nullcontext()
        with self._limited_blas(self.plan), workers as pool:
            try:
                while step < total and stopped == "epochs":
                    count = min(length, total - step)
                    if self.held_out is not None:  # up to the end of the epoch
                        count = min(count, self.batches - step % self.batches)
                    before = time.perf_counter()
                    if before >= kept.due:
                        self._check_finite(kept, losses, step, pool)
                        kept.take(step)
                    part = losses[step : step + count]
                    self.active = team.choose()
                    done = self._train(step, count, part, pool)
                    if done < count:
                        self._diverge(kept, losses, step + done, pool)
                    step += count
                    seconds = time.perf_counter() - before
                    team.report(self.active, seconds, count)
                    aim = int(count * SLICE_SECONDS / max(seconds, 1e-9))
                    length = max(1, min(aim, 8 * length))

                    progress.step, progress.epoch = step, step // self.batches
                    progress.loss = float(part[-1])
                    progress.seconds = time.perf_counter() - started
                    if self.held_out is not None and step % self.batches == 0:
                        # a network about to diverge may overflow here first
                        with np.errstate(over="ignore", invalid="ignore"), net._with_average():
                            value = net._objective(*self.held_out, np.empty(0, net.dtype))
                            score = net._score_checked(*self.held_out)
                            better = stopping is not None and value < best.loss - stopping.min_delta
                            params = net.params.copy() if better else None
                        validation.append((value, score))
                        progress.validation_loss, progress.validation_score = value, score
                        if stopping is not None:
                            epoch = progress.epoch - 1
                            if better:
                                best = Best(value, epoch, params)
                            elif epoch - best.epoch >= stopping.patience:
                                stopped = "early stopping"
                    check_stopped()
                    for callback in callbacks:
                        if callback(progress):
                            stopped = "callback"
            except KeyboardInterrupt:
                stopped = "interrupted"
            finally:
                net.n_epochs_ += step // self.batches
            self._check_finite(kept, losses, step, pool)
        net._left = net._leave(best.params)
        seconds = time.perf_counter() - started
        history = self._history(losses[:step], validation, stopped, best, seconds)
        return replace(history, compile_seconds=compile_seconds)

    def _check_finite(
        self, kept: _Kept, losses: np.ndarray, step: int, pool: ThreadPoolExecutor | None
    ) -> None:
        """Notice parameters that are not finite though the losses are."""
        if not _all_finite(self.network.params):
            self._diverge(kept, losses, step, pool)

    def _diverge(
        self, kept: _Kept, losses: np.ndarray, done: int, pool: ThreadPoolExecutor | None
    ) -> None:
        """Redo the steps since ``kept`` up to the last finite parameters, then raise."""
        net = self.network
        loss = float(losses[done]) if done < len(losses) else float("inf")
        if kept.moments is None:
            kept.start_anew()
        else:
            kept.restore()
            one, before = np.empty(1), _Kept(net)
            for k in range(kept.step, done):
                before.take(k)
                self._train(k, 1, one, pool)
                if not _all_finite(net.params):
                    before.restore()
                    break
        raise DivergenceError(done + 1, loss, net._optimizer.learning_rate)

    def _history(
        self,
        losses: np.ndarray,
        validation: list[tuple[float, float]],
        stopped: str,
        best: Best,
        seconds: float,
    ) -> History:
        """Steps become epochs; batches count by their size, as in scikit-learn."""
        epochs = len(losses) // self.batches
        each = losses[: epochs * self.batches].reshape(epochs, self.batches)
        sizes = np.full(self.batches, self.batch_size, np.float64)
        sizes[-1] = self.samples - (self.batches - 1) * self.batch_size
        values = np.array(validation, np.float64).reshape(-1, 2)
        recorded = self.held_out is not None
        return History(
            loss=each @ (sizes / self.samples) if self.batches > 1 else each[:, 0].copy(),
            validation_loss=values[:, 0].copy() if recorded else None,
            validation_score=values[:, 1].copy() if recorded else None,
            seconds=seconds,
            steps=len(losses),
            stopped=stopped,
            best_epoch=best.epoch if best.params is not None else None,
        )


class _Team:
    """How many threads take part in a slice: all, or one where that was faster of late.

    Another program may have taken a core, and then threads that wait for each other are slower
    than one alone. The number changes no bit of the result.
    """

    # Slices before the other number is tried: in a new run, after a change, and at most. Each time
    # nothing changes it takes twice as many. A run's first slices tell little, since memory is
    # touched for the first time, and a short run should not spend part of itself on trying.
    PROBE_FIRST, PROBE_SOON, PROBE_LATEST = 8, 2, 32

    def __init__(self, most: int) -> None:
        self.most = self.threads = most
        self.last = float("inf")  # seconds a step of the latest slice with ``threads``
        self.until_probe = self.pause = self.PROBE_FIRST

    def choose(self) -> int:
        """Threads of the next slice."""
        if self.most == 1 or self.until_probe > 0:
            return self.threads
        return 1 if self.threads > 1 else self.most

    def report(self, threads: int, seconds: float, steps: int) -> None:
        """Time of a slice; too short ones tell nothing."""
        if self.most == 1 or seconds < SLICE_SECONDS / 4:
            return
        if threads == self.threads:
            self.last = seconds / steps
            self.until_probe -= 1
            return
        self.pause = min(2 * self.pause, self.PROBE_LATEST)
        if seconds / steps < self.last:
            self.threads, self.last = threads, seconds / steps
            self.pause = self.PROBE_SOON
        self.until_probe = self.pause


class _Kept:
    """Parameters and moments that a run which diverges can go back to.

    The memory is written anew each time, since fresh memory costs more than the copy. Of a large
    network the moments are left out, unless an average is among them.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        large = network._training_plan.header[codes.SHARED] and not network._optimizer.ema
        self.params = np.empty_like(network.params)
        self.moments = None if large else np.empty_like(network._moments)
        self.updates = self.step = 0
        self.due = 0.0

    def take(self, step: int) -> None:
        """Keep what is; ``due`` again so late that copying takes 2% of the time at most."""
        before = time.perf_counter()
        self.params[:] = self.network.params
        if self.moments is not None:
            self.moments[:] = self.network._moments
        self.updates, self.step = self.network._updates, step
        now = time.perf_counter()
        self.due = now + 50 * (now - before)

    def restore(self) -> None:
        """Go back."""
        self.network.params[:] = self.params
        self.network._moments[:] = self.moments
        self.network._updates = self.updates

    def start_anew(self) -> None:
        """Go back without moments, where the parameters are not finite; the rule forgets all."""
        if not _all_finite(self.network.params):
            self.network.params[:] = self.params
        self.network._moments[:] = 0
        self.network._updates = 0


def _all_finite(numbers: np.ndarray) -> bool:
    """Whether there is neither NaN nor infinity, without an array of answers."""
    return bool(np.isfinite(numbers.min()) and np.isfinite(numbers.max()))


def _one_a_layer(
    name: str, value: Any, n_hidden: int, check: Callable[[str, Any], Any]
) -> tuple[Any, ...]:
    """One value for all hidden layers, or one for each, checked, as a tuple."""
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        return (check(name, value),) * n_hidden
    if len(value) != n_hidden:
        raise ValueError(
            f"{name} must be one value or one for each of {n_hidden} hidden layers; "
            f"got {len(value)}"
        )
    return tuple(check(name, item) for item in value)


def _activation(name: str, value: Any) -> str | CustomActivation:
    """An activation's name, or the user's own."""
    if isinstance(value, CustomActivation):
        return value
    return one_of(name, value, _ACTIVATIONS)


def _sparse_density(plan: Plan) -> float:
    """Largest share of numbers that are not zero at which the first layer reads sparse rows."""
    first = plan.layers[0]
    if first[codes.FAN_IN] < SPARSE_FEATURES or first[codes.FAN_OUT] < SPARSE_UNITS:
        return 0.0
    return SPARSE_DENSITY if first[codes.FAN_OUT] < SPARSE_UNITS_WIDE else SPARSE_DENSITY_WIDE


def _sparse_pays(x: np.ndarray, plan: Plan) -> bool:
    """Whether enough of the data is zero, by a look at a thousand samples."""
    density = _sparse_density(plan)
    if density == 0:
        return False
    some = x[:: -(-len(x) // 1000)]
    return np.count_nonzero(some) <= density * some.size


def _compressed(x: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows without their zeros: numbers ``(1, stored)``, their columns, where each row begins."""
    samples, features = x.shape
    indptr = np.zeros(samples + 1, np.int64)
    stored = np.count_nonzero(x)
    values, columns = np.empty((1, stored), dtype), np.empty(stored, np.int32)
    column_of = np.tile(np.arange(features, dtype=np.int32), min(samples, 256))
    end = 0
    for first in range(0, samples, 256):  # a part at a time stays in the cache
        part = x[first : first + 256]
        is_stored = part != 0  # NumPy finds True several times as fast as a number
        indptr[first + 1 : first + 1 + len(part)] = np.count_nonzero(is_stored, axis=1)
        places = np.flatnonzero(is_stored)
        begin, end = end, end + len(places)
        columns[begin:end] = column_of[places]
        values[0, begin:end] = part.reshape(-1)[places]
    return values, columns, np.cumsum(indptr)


def _shift_and_scale(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and 1 / standard deviation of the columns (1 where a column is constant)."""
    mean = matrix.mean(axis=0, dtype=np.float64)
    deviation = matrix.std(axis=0, dtype=np.float64)
    # A constant column's computed deviation is rounding, not zero.
    constant = deviation <= 10 * np.finfo(matrix.dtype).eps * np.maximum(np.abs(mean), 1e-30)
    scale = 1.0 / np.where(constant, 1.0, deviation)
    return mean.astype(matrix.dtype), scale.astype(matrix.dtype)


def _random_state(random_state: Any) -> np.random.RandomState:
    """As scikit-learn's check_random_state, without importing scikit-learn."""
    if random_state is None:
        return np.random.mtrand._rand
    if isinstance(random_state, np.random.RandomState):
        return random_state
    try:
        return np.random.RandomState(random_state)
    except (TypeError, ValueError):
        raise ValueError(
            f"random_state must be None, an int in [0, 2**32 - 1] or a RandomState; "
            f"got {random_state!r}"
        ) from None


def _progress_bar(epochs: int) -> Any:
    """Progress bar on a terminal; None elsewhere."""
    from fastnn.training.bars import TrainingBar

    return TrainingBar.on_terminal(epochs)
