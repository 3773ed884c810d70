"""Conversion of networks to Keras models and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.export.collector import LayerCollector
from fastnn.export.from_models import describe
from fastnn.export.plain import PlainNetwork
from fastnn.extras import require
from fastnn.network import Network

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor

# Keras's names of the activations without a constant.
_KERAS_NAMES = {
    "identity": "linear",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "relu": "relu",
    "softplus": "softplus",
    "silu": "silu",
    "gelu": "gelu",
    "selu": "selu",
    "mish": "mish",
    "softmax": "softmax",
    "exp": "exponential",
}
_FASTNN_NAMES = {theirs: ours for ours, theirs in _KERAS_NAMES.items()}


def _keras() -> Any:
    return require("keras", "Keras export")


def to_keras(
    model: Network | MLPClassifier | MLPRegressor | PlainNetwork, *, logits: bool = False
) -> Any:
    """Convert a network to a ``keras.Sequential`` with the same predictions, not compiled.

    The outputs are those of :meth:`Network.predict_proba` (for one sigmoid, the probability of the
    second class), or the values of a regression, ``(samples, outputs)``. The scales of a network
    that standardises are folded into its first and last layer; if a mean is so large that float32
    would lose the spread of a feature, the model is float64. With ``smooth_clip`` the result is a
    ``keras.Model`` that takes float64, standardises and clips before the layers. Call a float64
    model directly, or set ``keras.config.set_floatx("float64")`` before calling its ``predict``,
    which casts arrays to ``floatx`` first.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, Pipeline or PlainNetwork
        The model to export.
    logits : bool, default=False
        Whether to omit softmax or sigmoid, for losses with ``from_logits=True``.

    Returns
    -------
    keras.Sequential or keras.Model
        In the network's dtype, unless stated above (but TensorFlow uses float32 constants for gelu
        and leaky_relu). It runs on the configured backend of Keras (``KERAS_BACKEND``); JAX
        supports float64 only if ``jax_enable_x64`` is set.

    Raises
    ------
    ImportError
        If Keras or its backend is not installed.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> model = fastnn.export.to_keras(net)
    >>> model.output_shape
    (None, 2)
    """
    keras, (clipping, plain) = _keras(), describe(model).split()
    dtype = plain.dtype.name
    layers = keras.layers
    stack: list[Any] = []
    for k, layer in enumerate(plain.layers):
        last = k == len(plain.layers) - 1
        name = plain.output if last and not logits else layer.activation
        stack.append(
            layers.Dense(len(layer.biases), activation=_KERAS_NAMES.get(name), dtype=dtype)
        )
        if name == "leaky_relu":
            stack.append(layers.LeakyReLU(negative_slope=layer.alpha, dtype=dtype))
        elif name == "elu":
            stack.append(layers.ELU(alpha=layer.alpha, dtype=dtype))
        if layer.dropout:
            stack.append(layers.Dropout(layer.dropout, dtype=dtype))
    if clipping is None:
        new_map = keras.Sequential([keras.Input((plain.sizes[0],), dtype=dtype), *stack])
    else:
        x = inputs = keras.Input((plain.sizes[0],), dtype="float64")
        for layer in [*_clipped(keras, clipping), *stack]:
            x = layer(x)
        new_map = keras.Model(inputs, x)
    dense = [layer for layer in new_map.layers if isinstance(layer, layers.Dense)]
    for theirs, ours in zip(dense, plain.layers, strict=True):
        theirs.set_weights([ours.weights, ours.biases])
    return new_map


def _clipped(keras: Any, plain: PlainNetwork) -> list[Any]:
    """Layers for the standardised features with their smooth clip, in float64."""
    ops, bound = keras.ops, plain.smooth_clip
    assert plain.input_shift is not None
    assert plain.input_scale is not None
    assert bound is not None
    # Normalization would keep mean and variance in float32.
    scaling = keras.layers.EinsumDense(
        "ab,b->ab", (plain.sizes[0],), bias_axes="b", dtype="float64", trainable=False
    )
    scaling.build((None, plain.sizes[0]))
    scaling.set_weights([plain.input_scale, -plain.input_shift * plain.input_scale])
    far = 1e9 * bound  # the result equals the bound there; squares of larger values may overflow

    def clipped(z: Any) -> Any:
        z = ops.clip(z, -far, far)
        return z / ops.sqrt(1.0 + ops.square(z / bound))

    return [scaling, clipped]


def from_keras(
    model: Any,
    *,
    loss: str | None = None,
    classes: Sequence | None = None,
    backend: str = "auto",
) -> Network:
    """Create a network with the weights and predictions of a Keras model.

    Parameters
    ----------
    model : keras.Sequential or keras.Model
        A chain of Dense, Activation, ReLU, LeakyReLU, ELU, Softmax, Dropout, Flatten,
        BatchNormalization, Normalization and Rescaling. The last three, which are linear in
        prediction, are folded into the dense layers or become the scales of the network.
    loss : str, optional
        Default: chosen by the last layer. Required if the model returns logits.
    classes : array-like of label, optional
        Labels in the order of the outputs, ascending.
    backend : {"auto", "cython", "numba", "numpy"}
        Backend of the network.

    Returns
    -------
    Network

    Raises
    ------
    ImportError
        If Keras is not installed.
    ValueError
        If a layer is not supported; the message names it.

    Examples
    --------
    >>> import keras
    >>> from fastnn.export import from_keras
    >>> layers = [keras.Input((2,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(1)]
    >>> from_keras(keras.Sequential(layers), loss="squared_error").layer_sizes
    (2, 3, 1)
    """
    keras = _keras()
    layers, collector = keras.layers, LayerCollector(loss)
    for part in _chain(keras, model):
        where = f"layer {part.name} ({type(part).__name__})"
        if isinstance(part, layers.Dense):
            weights, *bias = part.get_weights()
            collector.dense(where, weights, bias[0] if bias else None)
            collector.activation(where, *_function(keras, where, part.activation))
        elif isinstance(part, layers.LeakyReLU):
            collector.activation(where, "leaky_relu", float(part.negative_slope))
        elif isinstance(part, layers.ELU):
            collector.activation(where, "elu", float(part.alpha))
        elif isinstance(part, layers.ReLU):
            if part.max_value is not None or part.negative_slope or part.threshold:
                raise ValueError(f"{where}: only the plain ReLU is supported")
            collector.activation(where, "relu")
        elif isinstance(part, layers.Softmax):
            collector.activation(where, "softmax")
        elif isinstance(part, layers.Activation):
            collector.activation(where, *_function(keras, where, part.activation))
        elif isinstance(part, layers.Dropout):
            collector.dropout(where, part.rate)
        elif isinstance(part, layers.Normalization):
            _normalization(collector, where, part)
        elif isinstance(part, layers.BatchNormalization):
            _batch_normalization(collector, where, part)
        elif isinstance(part, layers.Rescaling):
            collector.affine(where, part.scale, part.offset)
        elif not (isinstance(part, layers.Flatten) and not collector.layers):
            raise ValueError(
                f"{where} is not supported; known are Dense, Activation, ReLU, LeakyReLU, ELU, "
                "Softmax, Dropout, Flatten, BatchNormalization, Normalization and Rescaling"
            )
    return collector.network(classes, backend)


def _chain(keras: Any, model: Any) -> list[Any]:
    """Layers of a model in order; raise unless they are a chain."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a Keras model; got {type(model).__name__}")
    if not isinstance(model, keras.Sequential):
        chained = [
            layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)
        ]
        ends = [model.inputs[0], *(layer.output for layer in chained)]
        one = len(model.inputs) == len(model.outputs) == 1 and ends[-1] is model.outputs[0]
        if not one or any(
            layer.input is not before for layer, before in zip(chained, ends, strict=False)
        ):
            raise ValueError("the model is not a chain of layers from one input to one output")
        return _flat(keras, chained)
    return _flat(keras, model.layers)


def _flat(keras: Any, layers: Sequence[Any]) -> list[Any]:
    """Replace nested models by their layers."""
    flat = []
    for layer in layers:
        flat += _chain(keras, layer) if isinstance(layer, keras.Model) else [layer]
    return [layer for layer in flat if not isinstance(layer, keras.layers.InputLayer)]


def _function(keras: Any, where: str, function: Any) -> tuple[str, float]:
    """Name in this package, and alpha, of an activation function."""
    activations = keras.activations
    name = getattr(function, "__name__", type(function).__name__)
    if function is activations.leaky_relu:
        return "leaky_relu", 0.2  # Keras's default
    if function is activations.elu:
        return "elu", 1.0
    if name in _FASTNN_NAMES and function is getattr(activations, name):
        return _FASTNN_NAMES[name], 0.0
    raise ValueError(
        f"{where}: the activation {name} is not supported; "
        f"known are {', '.join([*_FASTNN_NAMES, 'leaky_relu', 'elu'])}"
    )


def _normalization(collector: LayerCollector, where: str, layer: Any) -> None:
    """Add the map of a Normalization layer."""
    mean = np.asarray(layer.mean, np.float64).ravel()
    # Keras divides by the standard deviation, but at least by its epsilon.
    deviation = np.maximum(np.sqrt(np.asarray(layer.variance, np.float64)), 1e-7).ravel()
    if layer.invert:
        collector.affine(where, deviation, mean)
    else:
        collector.affine(where, 1 / deviation, -mean / deviation)


def _batch_normalization(collector: LayerCollector, where: str, layer: Any) -> None:
    """Add the map of a BatchNormalization layer in prediction, with its moving averages."""
    if layer.axis not in (-1, 1):
        raise ValueError(f"{where}: axis must be the last one; got {layer.axis}")
    mean, variance = (
        np.asarray(array, np.float64) for array in (layer.moving_mean, layer.moving_variance)
    )
    factor = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        factor = factor * np.asarray(layer.gamma, np.float64)
    offset = -mean * factor
    if layer.center:
        offset = offset + np.asarray(layer.beta, np.float64)
    collector.affine(where, factor, offset)
