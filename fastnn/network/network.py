"""The class ``Network``: settings, parameters and checks of arguments.

Training, prediction and derivatives are implemented in the other modules of this folder.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np

from fastnn import backends
from fastnn.memory import check_memory
from fastnn.network.custom import CustomActivation, CustomLoss
from fastnn.network.derivatives import Differentiable
from fastnn.network.initializers import as_random_state, initialize
from fastnn.network.portable import Portable
from fastnn.network.prediction import Predictor
from fastnn.network.predictive import Predictive
from fastnn.network.scales import Scales
from fastnn.network.spec import NetworkSpec, shortened
from fastnn.network.step import Stepper
from fastnn.network.tape import Stepwise
from fastnn.network.trainable import Trainable
from fastnn.training.posterior import Posterior
from fastnn.training.state import TrainingState
from fastnn.validation import as_integer

_FLOAT64 = np.dtype(np.float64)


def _read_only(path: str, description: str) -> property:
    """A read-only attribute of the network's spec, model or state."""
    return property(attrgetter(path), doc=description)


class Network(Predictive, Portable, Differentiable, Stepwise, Trainable):
    """A dense neural network with any number of layers.

    Parameters
    ----------
    layer_sizes : sequence of int
        Number of inputs, number of units of each hidden layer, and number of outputs: at least
        two numbers.
    activation : str or sequence of str, default="tanh"
        One activation for all hidden layers, or one for each: identity, tanh, sigmoid, relu,
        leaky_relu, elu, softplus, silu, gelu, selu or mish, or a :class:`fastnn.CustomActivation`.
    alpha : float, optional
        Slope of leaky_relu for negative values (default 0.01), alpha of elu (default 1).
    loss : str, default="cross_entropy"
        Also determines the activation of the outputs. For classification: cross_entropy (softmax)
        and binary_cross_entropy (sigmoid; several outputs are multilabel). For regression:
        squared_error (with the factor 1/2), absolute_error, huber, quantile, poisson (half the
        Poisson deviance; exponential outputs), gaussian (negative log-likelihood without its
        constant; two outputs per target: mean and logarithm of the variance), or a
        :class:`fastnn.CustomLoss`. The loss of a sample is the sum over the outputs.
    label_smoothing : float, default=0
        For classification: share of each target that is distributed equally among all classes.
    quantile : float or sequence of float, default=0.5
        Quantile estimated by the loss "quantile", in (0, 1), or several in increasing order, with
        one output for each quantile of each target. Predictions are sorted, so that quantiles do
        not cross.
    delta : float, default=1
        Error above which "huber" is linear.
    beta : float, default=0.5
        For "gaussian": the gradient (not the loss) is multiplied by the variance to the power of
        beta. With 0 the mean is learned slowly where the variance is large; with 1 it has the
        gradient of squared_error.
    l2 : float, default=0
        Penalty ``l2 / 2`` times the sum of the squared weights, without biases.
    dropout : float or sequence of float, default=0
        Dropout rate of all hidden layers or of each.
    initializer : str, default="auto"
        lecun_normal, glorot_uniform, glorot_normal, he_normal, he_uniform or nguyen_widrow.
        "auto" is he_normal for relu and similar activations, otherwise lecun_normal. Biases are
        zero, except with nguyen_widrow, which distributes the hidden units over inputs between -1
        and 1; with few features :class:`fastnn.LevenbergMarquardt` then needs far fewer steps.
    standardize : bool, default=False
        The first ``fit`` computes mean and standard deviation of the features, for regression
        (except poisson) also of the targets. Every call applies them, in float64 before the
        conversion to ``dtype``. Predictions of a regression are then float64. Losses, and
        ``delta`` of huber, refer to the standardised targets.
    smooth_clip : float, optional
        With ``standardize``: limit standardised features smoothly to ``smooth_clip`` standard
        deviations by ``z / sqrt(1 + (z / smooth_clip)**2)``, so that a value far outside the
        training range does not dominate the prediction. 3 is usual.
    backend : {"auto", "cython", "numba", "numpy"}
        "auto" chooses the fastest one available (that supports custom functions, if there are
        any).
    dtype : {"float32", "float64"}
        Data type of parameters and computations.
    random_state : int, numpy.random.RandomState or None
        Determines initial weights, shuffling, dropout and held-out samples.
    n_threads : int, optional
        Maximum number of threads for training and prediction, including BLAS. Default: all cores
        available to the process, or OMP_NUM_THREADS if smaller; small steps use one thread.

    Attributes
    ----------
    params : ndarray, shape (n_params,)
        All parameters; ``weights`` and ``biases`` are views of it.
    weights : list of ndarray, each (fan_in, fan_out)
        Weights of each layer.
    biases : list of ndarray, each (fan_out,)
        Biases of each layer.
    classes_ : ndarray or None
        Class labels in the order of the outputs, known after ``fit``.
    feature_names : list of str or None
        Names of the columns, if the network was trained with a data frame, or by ``fastnn train``
        with a file that has names. Columns of data frames are then found by name; arrays are taken
        by position.
    n_epochs_ : int
        Number of epochs trained so far, over all calls of ``fit``.
    posterior_ : Posterior or None
        Result of Bayesian regularisation in the latest ``fit``; not part of model files.

    Notes
    -----
    Attributes used by the modules of this package: ``spec``
    (:class:`fastnn.network.spec.NetworkSpec`) has the settings, ``model``
    (:class:`fastnn.backends.model.Model`) the parameters and plans in the form the kernels take,
    ``state`` (:class:`fastnn.training.state.TrainingState`) the state kept between trainings,
    ``scales`` (:class:`fastnn.network.scales.Scales`) the standardisation. ``predictor``
    (:class:`fastnn.network.prediction.Predictor`) predicts from validated samples, and
    ``targets_1d`` tells whether real targets were given as a vector.

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

    layer_sizes = _read_only("spec.layer_sizes", "Numbers of inputs, hidden units and outputs.")
    activations = _read_only("spec.activation", "Activation of each hidden layer.")
    alpha = _read_only("spec.alpha", "Slope of leaky_relu, or alpha of elu; None for the defaults.")
    loss_name = _read_only("spec.loss_name", "Name of the loss.")
    label_smoothing = _read_only(
        "spec.label_smoothing", "Share of each target given to all classes."
    )
    quantile = _read_only("spec.quantile", 'Quantile of the loss "quantile": a number or a tuple.')
    delta = _read_only("spec.delta", 'Error above which "huber" is linear.')
    beta = _read_only("spec.beta", 'Exponent of the variance in the gradient of "gaussian".')
    dropout = _read_only("spec.dropout", "Dropout rate of each hidden layer.")
    initializer = _read_only("spec.initializer", "Name of the initializer.")
    standardize = _read_only("spec.standardize", "Whether features and targets are standardised.")
    smooth_clip = _read_only("spec.smooth_clip", "Bound of the standardised features, or None.")
    dtype = _read_only("spec.dtype", "dtype of the parameters.")
    is_regression = _read_only("spec.is_regression", "Whether the loss is one for regression.")
    n_features = _read_only("spec.n_features", "Number of inputs.")
    n_outputs = _read_only("spec.n_outputs", "Number of outputs.")
    n_params = _read_only("model.plan.n_params", "Number of weights and biases.")
    weights = _read_only("model.weights", "Weights of each layer, views of ``params``.")
    biases = _read_only("model.biases", "Biases of each layer, views of ``params``.")
    backend = _read_only("model.kernels.NAME", "Name of the backend.")

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str | CustomActivation | Sequence[str | CustomActivation] = "tanh",
        alpha: float | None = None,
        loss: str | CustomLoss = "cross_entropy",
        label_smoothing: float = 0.0,
        quantile: float | Sequence[float] = 0.5,
        delta: float = 1.0,
        beta: float = 0.5,
        l2: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        initializer: str = "auto",
        standardize: bool = False,
        smooth_clip: float | None = None,
        backend: str = "auto",
        dtype: Any = "float32",
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
    ) -> None:
        # single values or any sequences; the spec converts them to tuples
        given: Any = {"layer_sizes": layer_sizes, "activation": activation, "dropout": dropout}
        given["quantile"] = quantile
        self.spec = NetworkSpec(
            **given,
            alpha=alpha,
            loss=loss,
            label_smoothing=label_smoothing,
            delta=delta,
            beta=beta,
            l2=l2,
            initializer=initializer,
            standardize=standardize,
            smooth_clip=smooth_clip,
            dtype=dtype,
        )
        self.n_threads = None if n_threads is None else as_integer("n_threads", n_threads, 1)
        self._reset(backend)
        rng = as_random_state(random_state)
        activations = [*self.spec.activation, "identity"]
        # standardised features are assumed to be uniform
        half_range = math.sqrt(3) if self.spec.standardize else 1.0
        scheme = self.spec.initializer
        initialize(self.weights, self.biases, activations, scheme, rng, half_range)
        # Drawn after the weights, so that this draw does not change them.
        self.state.seed = int(rng.randint(2**31 - 1))

    @classmethod
    def _from_spec(cls, spec: NetworkSpec, backend: str) -> Network:
        """Return a network with zero parameters; drawing initial weights would take memory."""
        net = cls.__new__(cls)
        net.spec, net.n_threads = spec, None
        net._reset(backend)
        return net

    def _reset(self, backend: str) -> None:
        """Set the state of an untrained network, with zero parameters."""
        if backend == "auto" and self.spec.custom:
            backend = backends.default_for_custom_functions()
        self._set_backend(backend)
        self.params[:] = 0.0
        self.state = TrainingState()
        self.classes_: np.ndarray | None = None
        self.targets_1d = True
        self.scales = Scales()
        self.posterior_: Posterior | None = None
        self.feature_names: list[str] | None = None

    def _set_backend(self, backend: str) -> None:
        """Create the objects that depend on the backend."""
        spec = self.spec
        n_bytes = spec.shapes["params"][0] * spec.dtype.itemsize
        check_memory(f"layer_sizes={shortened(spec.layer_sizes)}", n_bytes)
        self.model = spec.model(backends.load(backend))
        self.predictor = Predictor(spec, self.model)
        self.stepper: Stepper | None = None

    # --- attributes -----------------------------------------------------------

    @property
    def params(self) -> np.ndarray:
        """All parameters as one flat vector."""
        return self.model.params

    @params.setter
    def params(self, values: np.ndarray) -> None:
        given = np.asarray(values)
        if given.shape not in ((), self.model.params.shape):
            raise ValueError(f"params must have shape ({self.n_params},); got {given.shape}")
        self.model.params[:] = given

    @property
    def l2(self) -> float:
        """Factor of the L2 penalty; may be changed between trainings."""
        return self.spec.l2

    @l2.setter
    def l2(self, l2: float) -> None:
        self.spec = replace(self.spec, l2=l2)

    @property
    def n_epochs_(self) -> int:
        """Epochs trained so far, over all calls of ``fit``."""
        return self.state.epochs

    @n_epochs_.setter
    def n_epochs_(self, epochs: int) -> None:
        self.state.epochs = epochs

    def unflatten(self, vector: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return views of a flat vector, such as a gradient, as weights and biases.

        Parameters
        ----------
        vector : ndarray, shape (n_params,)
            In the layout of ``params``.

        Returns
        -------
        weights : list of ndarray, each (fan_in, fan_out)
        biases : list of ndarray, each (fan_out,)

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> weights, biases = net.unflatten(net.params)
        >>> [layer.shape for layer in biases]
        [(3,), (2,)]
        """
        return self.model.unflatten(vector)

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
        state = self.__dict__ | {"backend": self.backend, "params": self.params}
        # recreated on loading: addresses of custom functions are valid in one process only
        del state["model"], state["predictor"], state["stepper"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        backend, params = state.pop("backend"), state.pop("params")
        # files of earlier versions do not have all attributes
        self.__dict__.update({"posterior_": None, "feature_names": None} | state)
        self._set_backend(backend)
        self.params = params

    def __deepcopy__(self, memo: dict) -> Network:
        other = object.__new__(type(self))
        other.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return other
