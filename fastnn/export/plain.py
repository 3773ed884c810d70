"""A trained network as a list of layers: what every export reads and every import gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.backends import codes
from fastnn.network import Network
from fastnn.network.spec import DEFAULT_ALPHA

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor

# What a loss makes of the last layer's net inputs.
OUTPUTS = dict.fromkeys(codes.LOSSES, "identity") | {
    "cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
    "poisson": "exp",
}
# The loss of a model that does not say what it was trained with.
USUAL_LOSSES = {"identity": "squared_error"} | {
    output: loss for loss, output in OUTPUTS.items() if output != "identity"
}

# Of standardised numbers, that a conversion to float32 before the shift may make.
LARGEST_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class Layer:
    """A dense layer, ``activation(x @ weights + biases)``.

    Attributes
    ----------
    weights : ndarray, shape (fan_in, fan_out)
    biases : ndarray, shape (fan_out,)
    activation : str
        The last layer has "identity".
    alpha : float
        Of leaky_relu and elu, else 0.
    dropout : float
        Rate behind the layer in training.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.export import Layer
    >>> Layer(np.ones((2, 3)), np.zeros(3), "relu").weights.shape
    (2, 3)
    """

    weights: np.ndarray
    biases: np.ndarray
    activation: str = "identity"
    alpha: float = 0.0
    dropout: float = 0.0


@dataclass(frozen=True, eq=False)
class PlainNetwork:
    """A trained network without the means to train it.

    Attributes
    ----------
    layers : tuple of Layer
    loss : str
        What it was trained with; it fixes ``output``.
    classes : ndarray or None
        Labels in the order of the probabilities; None stands for 0, 1, 2, ..., and for
        several sigmoids, which are labels of their own.
    input_shift, input_scale : ndarray of float64, shape (features,), or None
        The first layer gets ``z = (x - input_shift) * input_scale``.
    target_shift, target_scale : ndarray of float64, shape (outputs,), or None
        Predictions are ``z / target_scale + target_shift``.
    smooth_clip : float or None
        Then the first layer gets ``z / sqrt(1 + (z / smooth_clip)**2)``.
    targets_1d : bool
        Whether a single output is predicted as a vector.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> from fastnn.export import describe
    >>> [(layer.weights.shape, layer.activation) for layer in describe(net).layers]
    [((2, 3), 'tanh'), ((3, 2), 'identity')]
    """

    layers: tuple[Layer, ...]
    loss: str
    classes: np.ndarray | None = None
    input_shift: np.ndarray | None = None
    input_scale: np.ndarray | None = None
    target_shift: np.ndarray | None = None
    target_scale: np.ndarray | None = None
    targets_1d: bool = True
    smooth_clip: float | None = None

    @property
    def dtype(self) -> np.dtype:
        """Of weights and biases."""
        return self.layers[0].weights.dtype

    @property
    def sizes(self) -> list[int]:
        """Inputs, units of the hidden layers, outputs."""
        return [self.layers[0].weights.shape[0], *(len(layer.biases) for layer in self.layers)]

    @property
    def n_outputs(self) -> int:
        """Outputs of the last layer."""
        return len(self.layers[-1].biases)

    @property
    def output(self) -> str:
        """What becomes of the last net inputs: softmax, sigmoid, exp or identity."""
        return OUTPUTS[self.loss]

    @property
    def is_regression(self) -> bool:
        """Whether it predicts values."""
        return self.loss in codes.REGRESSION

    @property
    def is_multilabel(self) -> bool:
        """Whether every output is a label of its own."""
        return self.output == "sigmoid" and self.n_outputs > 1

    @property
    def labels(self) -> np.ndarray | None:
        """Labels in the order of the probabilities; None for values and for multilabel."""
        if self.is_regression or self.is_multilabel:
            return None
        return np.arange(max(self.n_outputs, 2)) if self.classes is None else self.classes

    def astype(self, dtype: Any) -> PlainNetwork:
        """The same with weights and biases of another dtype.

        Parameters
        ----------
        dtype : {"float32", "float64"}

        Returns
        -------
        PlainNetwork

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> from fastnn.export import describe
        >>> describe(net).astype("float64").layers[0].weights.dtype
        dtype('float64')
        """
        layers = [
            replace(
                layer,
                weights=np.asarray(layer.weights, dtype),
                biases=np.asarray(layer.biases, dtype),
            )
            for layer in self.layers
        ]
        return replace(self, layers=tuple(layers))

    def divided(self, scale: float) -> PlainNetwork:
        """The network that takes ``x`` where this one takes ``x / scale``.

        Parameters
        ----------
        scale : float
            What the features are divided by.

        Returns
        -------
        PlainNetwork

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> from fastnn.export import describe
        >>> pixels = describe(net).divided(255.0)  # takes 0 to 255, where net takes 0 to 1
        >>> pixels.to_network().predict([[0, 255]]) == net.predict([[0.0, 1.0]])
        array([ True])
        """
        if scale == 1.0:
            return self
        shift = np.zeros(self.sizes[0]) if self.input_shift is None else self.input_shift
        own = np.ones(self.sizes[0]) if self.input_scale is None else self.input_scale
        return replace(
            self,
            input_shift=np.asarray(shift, np.float64) * scale,
            input_scale=np.asarray(own, np.float64) / scale,
        )

    def folded(self) -> PlainNetwork:
        """The same function without shifts and scales: they go into the first and last layer.

        Where a mean is so large against its deviation that float32 would lose the digits which
        subtracting it first keeps, the result is float64.

        Returns
        -------
        PlainNetwork

        Raises
        ------
        ValueError
            If features are clipped, which no layer can express.

        Examples
        --------
        >>> import fastnn
        >>> from fastnn.export import describe
        >>> net = fastnn.Network([2, 3, 2], standardize=True, random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> describe(net).folded().input_shift is None
        True
        """
        if self.smooth_clip is not None:
            raise ValueError(
                "layers alone cannot express smooth_clip; exports to C, ONNX, PyTorch and Keras, "
                "numba_predict and cfunc can"
            )
        layers, dtype = list(self.layers), self.dtype
        if self.input_shift is not None and self.input_scale is not None:
            w = layers[0].weights.astype(np.float64) * self.input_scale[:, None]
            b = layers[0].biases - self.input_shift @ w
            layers[0] = replace(layers[0], weights=w, biases=b)
        if self.target_shift is not None:
            last, scale = layers[-1], self.target_scale
            b = last.biases / scale + self.target_shift
            layers[-1] = replace(last, weights=last.weights / scale, biases=b)
        if self.needs_double:
            dtype = np.dtype(np.float64)
        nothing: dict[str, Any] = dict.fromkeys(_SCALES)
        return replace(self, layers=tuple(layers), **nothing).astype(dtype)

    def split(self) -> tuple[PlainNetwork | None, PlainNetwork]:
        """What clips features, if anything does, and the rest folded.

        Returns
        -------
        front : PlainNetwork or None
            This network, for its shift, scale and clip of the features.
        rest : PlainNetwork
            What follows, without shifts and scales.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> from fastnn.export import describe
        >>> clipping, rest = describe(net).split()
        >>> clipping is None
        True
        """
        if self.smooth_clip is None:
            return None, self.folded()
        rest = replace(self, input_shift=None, input_scale=None, smooth_clip=None)
        return self, rest.folded()

    @property
    def needs_double(self) -> bool:
        """Whether float32 numbers as large as the means are too coarse for the deviations."""
        ratio = 0.0
        for kind in ("input", "target"):
            shift, scale = getattr(self, f"{kind}_shift"), getattr(self, f"{kind}_scale")
            if shift is not None:
                ratio = max(ratio, float(np.abs(shift * scale).max()))
        return bool(ratio * np.finfo(np.float32).eps > LARGEST_ROUNDING)

    def to_network(self, backend: str = "auto") -> Network:
        """Network with these parameters.

        Parameters
        ----------
        backend : {"auto", "cython", "numba", "numpy"}

        Returns
        -------
        Network

        Raises
        ------
        ValueError
            If layers differ in ``alpha``, or a parameter is not finite.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> from fastnn.export import describe
        >>> describe(net).to_network().predict([[0.0, 1.0]]) == net.predict([[0.0, 1.0]])
        array([ True])
        """
        hidden = self.layers[:-1]
        own = [layer for layer in hidden if layer.activation in DEFAULT_ALPHA]
        alpha = None
        if any(layer.alpha != DEFAULT_ALPHA[layer.activation] for layer in own):
            alpha = own[0].alpha
            if any(layer.alpha != alpha for layer in own):
                raise ValueError(
                    "a Network has one alpha for all layers; got "
                    + ", ".join(f"{layer.activation} {layer.alpha:g}" for layer in own)
                )
        classes = None
        if self.classes is not None:
            classes = {"dtype": self.classes.dtype.str, "values": self.classes.tolist()}
        config = {
            "layer_sizes": self.sizes,
            "activation": [layer.activation for layer in hidden],
            "alpha": alpha,
            "loss": self.loss,
            "dropout": [layer.dropout for layer in hidden],
            "standardize": self.input_shift is not None or self.target_shift is not None,
            "smooth_clip": self.smooth_clip,
            "dtype": self.dtype.name,
            "classes": classes,
            "targets_1d": self.targets_1d,
            "n_epochs": 0,
            "seed": 0,
        }
        flat = [part.ravel() for layer in self.layers for part in (layer.weights, layer.biases)]
        arrays = {"params": np.concatenate(flat)}
        for name in _SCALES:
            if getattr(self, name) is not None:
                arrays[name] = np.asarray(getattr(self, name), np.float64)
        return Network.from_config(config, arrays, backend)


_SCALES = ("input_shift", "input_scale", "target_shift", "target_scale")


def describe(model: Network | MLPClassifier | MLPRegressor | PlainNetwork) -> PlainNetwork:
    """A trained model as a list of layers.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, Pipeline or PlainNetwork
        An estimator must be fitted. Of the loss gaussian the outputs are mean and logarithm of
        the variance, of several quantiles these, not sorted. A pipeline of scikit-learn may have
        StandardScaler, MinMaxScaler, MaxAbsScaler and RobustScaler before its estimator, and a
        TransformedTargetRegressor one of these for the targets.

    Returns
    -------
    PlainNetwork
        Its arrays are copies.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        If a parameter is not finite, or a step of a pipeline is not linear.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> from fastnn.export import describe
    >>> len(describe(net).layers)
    2
    """
    if isinstance(model, PlainNetwork):
        return model
    classes = None
    if isinstance(model, Network):
        net, classes = model, model.classes_
    else:
        from fastnn.estimators import MLPClassifier, MLPRegressor
        from fastnn.export.pipeline import describe_pipeline, is_pipeline

        if is_pipeline(model):
            return describe_pipeline(model)
        if type(model).__name__ == "Ensemble":
            raise TypeError(
                "an ensemble is several networks, which ONNX and C average; other exports have "
                "one: give one of its networks"
            )
        if hasattr(model, "encoding") or hasattr(model, "encoding_"):
            own = "_" if hasattr(model, "encoding_") else ""
            raise TypeError(
                "this export takes numbers, not tables; ONNX and C take tables. Export "
                f"model.network{own}, and give the result model.encoding{own}.transform(table)"
            )
        if not isinstance(model, MLPClassifier | MLPRegressor):
            raise TypeError(
                "model must be a Network, MLPClassifier or MLPRegressor, or a pipeline that ends "
                "in one of these; "
                f"got {type(model).__name__}"
            )
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(model)
        net = model._network()
        if isinstance(model, MLPClassifier) and not (
            net.loss_name == "binary_cross_entropy" and net.n_outputs > 1
        ):
            classes = model.classes_
            if len(classes) == 1:  # fitted to one class, it knows no other
                classes = np.repeat(classes, 2)
    for name, array in net.arrays().items():
        if not np.isfinite(array).all():
            raise ValueError(f"not exported, {name} is not finite")
    layers = []
    names = [*net.activations, "identity"]
    for activation in names:
        if not isinstance(activation, str):
            raise ValueError(f"not exported, only built-in activations can be; got {activation!r}")
    for k, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        dropout = net.dropout[k] if k < len(net.dropout) else 0.0
        layers.append(Layer(w.copy(), b.copy(), names[k], net.spec.alphas[k], dropout))
    # of a custom loss, which is code, the outputs are what counts; so they are of those that have
    # several for a target, which are exported as they are
    named = net.loss_name in OUTPUTS and net.spec.outputs_per_target == 1
    return PlainNetwork(
        tuple(layers),
        net.loss_name if named else USUAL_LOSSES["identity"],
        classes,
        targets_1d=net.targets_1d,
        smooth_clip=net.smooth_clip if net.scales.input_shift is not None else None,
        **{name: net.arrays().get(name) for name in _SCALES},
    )
