"""A trained network as a list of layers: the common form of all exports and imports."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastnn.backends import codes
from fastnn.network import Network
from fastnn.network.spec import DEFAULT_ALPHA

# Activation of the output layer for each loss.
OUTPUTS = dict.fromkeys(codes.LOSSES, "identity") | {
    "cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
    "poisson": "exp",
}
# Default loss of a model whose training loss is unknown, by activation of the output layer.
DEFAULT_LOSSES = {"identity": "squared_error"} | {
    output: loss for loss, output in OUTPUTS.items() if output != "identity"
}

# Largest tolerated rounding error, in standard deviations, of a cast to float32 before the shift.
MAX_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class Layer:
    """A dense layer, ``activation(x @ weights + biases)``.

    Attributes
    ----------
    weights : ndarray, shape (fan_in, fan_out)
    biases : ndarray, shape (fan_out,)
    activation : str
        Name of the activation; "identity" for the last layer.
    alpha : float
        Constant of leaky_relu and elu, otherwise 0.
    dropout : float
        Dropout rate after the layer in training.

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
    """A trained network without the state of its training.

    Attributes
    ----------
    layers : tuple of Layer
    loss : str
        Loss of the training, which determines ``output``.
    classes : ndarray or None
        Labels in the order of the probabilities. None means 0, 1, 2, ..., or multilabel, where
        each sigmoid is a separate label.
    input_shift, input_scale : ndarray of float64, shape (features,), or None
        The input of the first layer is ``z = (x - input_shift) * input_scale``.
    target_shift, target_scale : ndarray of float64, shape (outputs,), or None
        Predictions are ``z / target_scale + target_shift``.
    smooth_clip : float or None
        If given, the input of the first layer is ``z / sqrt(1 + (z / smooth_clip)**2)``.
    targets_1d : bool
        Whether predictions of a single output are a vector.

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
        """Data type of weights and biases."""
        return self.layers[0].weights.dtype

    @property
    def sizes(self) -> list[int]:
        """Numbers of inputs, of units of the hidden layers, and of outputs."""
        return [self.layers[0].weights.shape[0], *(len(layer.biases) for layer in self.layers)]

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the last layer."""
        return len(self.layers[-1].biases)

    @property
    def output(self) -> str:
        """Activation of the output layer: softmax, sigmoid, exp or identity."""
        return OUTPUTS[self.loss]

    @property
    def is_regression(self) -> bool:
        """Whether the network predicts real values."""
        return self.loss in codes.REGRESSION

    @property
    def is_multilabel(self) -> bool:
        """Whether every output is a separate label."""
        return self.output == "sigmoid" and self.n_outputs > 1

    @property
    def labels(self) -> np.ndarray | None:
        """Labels in the order of the probabilities; None for values and for multilabel."""
        if self.is_regression or self.is_multilabel:
            return None
        return np.arange(max(self.n_outputs, 2)) if self.classes is None else self.classes

    def astype(self, dtype: Any) -> PlainNetwork:
        """Return a network with weights and biases of another dtype.

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
        """Return a network that divides the features by ``scale`` first.

        Parameters
        ----------
        scale : float
            Divisor of the features.

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
        """Return an equivalent network, with the scales folded into the first and last layer.

        If a mean is so large compared with the standard deviation that float32 would lose the
        digits that are kept by subtracting it first, the result is float64.

        Returns
        -------
        PlainNetwork

        Raises
        ------
        ValueError
            If features are clipped, which a dense layer cannot express.

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
        nothing: dict[str, Any] = dict.fromkeys(SCALES)
        return replace(self, layers=tuple(layers), **nothing).astype(dtype)

    def split(self) -> tuple[PlainNetwork | None, PlainNetwork]:
        """Split off the clipping of features, if any, and fold the scales of the rest.

        Returns
        -------
        front : PlainNetwork or None
            This network, for its shift, scale and clip of the features; None without clipping.
        rest : PlainNetwork
            The layers that follow, without shifts and scales.

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
        """Whether float32 at the magnitude of the means is too coarse for the deviations."""
        ratio = 0.0
        for kind in ("input", "target"):
            shift, scale = getattr(self, f"{kind}_shift"), getattr(self, f"{kind}_scale")
            if shift is not None:
                ratio = max(ratio, float(np.abs(shift * scale).max()))
        return bool(ratio * np.finfo(np.float32).eps > MAX_ROUNDING)

    def to_network(self, backend: str = "auto") -> Network:
        """Create a network with these parameters.

        Parameters
        ----------
        backend : {"auto", "cython", "numba", "numpy"}
            Backend of the network.

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
        for name in SCALES:
            if getattr(self, name) is not None:
                arrays[name] = np.asarray(getattr(self, name), np.float64)
        return Network.from_config(config, arrays, backend)


SCALES = ("input_shift", "input_scale", "target_shift", "target_scale")
