"""The network: two convolutional layers with pooling, a dense layer and ten outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.cnn.data import SIDE
from fastnn.cnn.runtime import keras, tf
from fastnn.cnn.settings import Settings

N_CLASSES = 10
N_PARAMS = 3_274_634  # with every activation except maxout
MAXOUT_PIECES = 2
BIAS = 0.1

# Images per call of TensorFlow: the activations take about 0.2 MB per image.
PREDICT_BATCH = 500

# Shapes of the weights: (height, width, channels in, channels out) or (units in, units out). The
# last axis has the length of the bias vector.
SHAPES = {
    "conv1": (5, 5, 1, 32),
    "conv2": (5, 5, 32, 64),
    "fc1": (SIDE // 4 * SIDE // 4 * 64, 1024),
    "fc2": (1024, N_CLASSES),
}
ACTIVATED = ("conv1", "conv2", "fc1")


@keras.saving.register_keras_serializable("fastnn")
class Maxout(keras.layers.Layer):
    """Maximum of the ``pieces`` net inputs of each unit (Goodfellow et al., 2013).

    The pieces of a unit are adjacent on the last axis, which becomes shorter by the factor
    ``pieces``.

    Parameters
    ----------
    pieces : int, default=2
        Net inputs per unit.
    """

    def __init__(self, pieces: int = MAXOUT_PIECES, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pieces = pieces

    def call(self, inputs: Any) -> Any:
        """Maximum of each group of ``pieces`` neighbours on the last axis."""
        shape = keras.ops.shape(inputs)
        split = (*shape[:-1], shape[-1] // self.pieces, self.pieces)
        return keras.ops.max(keras.ops.reshape(inputs, split), axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Shape of the output: the input shape with the last axis divided by ``pieces``."""
        return (*input_shape[:-1], input_shape[-1] // self.pieces)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation by Keras."""
        return {**super().get_config(), "pieces": self.pieces}


def activation_layer(activation: str, **kwargs: Any) -> keras.layers.Layer:
    """Keras layer for an activation of the settings; ``kwargs`` are passed to the layer."""
    return (
        Maxout(**kwargs)
        if activation == "maxout"
        else keras.layers.Activation(activation, **kwargs)
    )


def shapes(activation: str) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameter arrays, by name.

    Parameters
    ----------
    activation : str

    Returns
    -------
    dict of str to tuple of int
        ``conv1/weights``, ``conv1/biases`` and so on, in the order of the layers.
    """
    found: dict[str, tuple[int, ...]] = {}
    for layer, (*fan_in, units) in SHAPES.items():
        if activation == "maxout" and layer in ACTIVATED:
            units *= MAXOUT_PIECES
        found[f"{layer}/weights"] = (*fan_in, units)
        found[f"{layer}/biases"] = (units,)
    return found


def _initializer(name: str, seed: int) -> keras.initializers.Initializer:
    if name == "truncated_normal":
        return keras.initializers.TruncatedNormal(stddev=0.1, seed=seed)
    return keras.initializers.get({"class_name": name, "config": {"seed": seed}})


class Network:
    """The convolutional network.

    conv 5x5x32, activation, pool 2x2; conv 5x5x64, activation, pool 2x2; dense 1,024,
    activation; dropout (in training only); dense 10.

    Parameters
    ----------
    settings : Settings, optional
        The network uses ``activation``, ``init``, ``dropout``, ``seed``, ``pool_first`` and
        ``precision``. Default: ``Settings()``.

    Attributes
    ----------
    params : dict of str to tf.Variable
        ``conv1/weights``, ``conv1/biases``, ..., ``fc2/biases``, in float32.
    settings : Settings
        The settings, all filled in.

    Examples
    --------
    >>> from fastnn.cnn import Network, Settings
    >>> Network(Settings()).n_params
    3274634
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings = (settings or Settings()).completed()
        self.params: dict[str, tf.Variable] = {}
        seeds = np.random.SeedSequence(settings.seed).generate_state(2 * len(SHAPES)) >> 1
        for seed, (name, shape) in zip(seeds, shapes(settings.activation).items(), strict=True):
            if name.endswith("weights"):
                value = _initializer(settings.init, int(seed))(shape)
            else:
                value = tf.fill(shape, BIAS)
            self.params[name] = tf.Variable(value, name=name)
        assert settings.activation == "maxout" or self.n_params == N_PARAMS
        self._activation = activation_layer(settings.activation, dtype=settings.precision)
        self._dtype = tf.as_dtype(settings.precision)
        self._probabilities = tf.function(
            lambda images: tf.nn.softmax(self.logits(images)),
            input_signature=[tf.TensorSpec((None, SIDE, SIDE, 1), tf.uint8)],
            autograph=False,
        )

    @property
    def n_params(self) -> int:
        """Number of weights and biases."""
        return sum(int(np.prod(variable.shape)) for variable in self.params.values())

    def get_weights(self) -> dict[str, np.ndarray]:
        """Copies of the parameter arrays, by name.

        Examples
        --------
        >>> from fastnn.cnn import Network
        >>> arrays = Network().get_weights()
        >>> arrays["conv1/weights"].shape, arrays["fc2/biases"].shape
        ((5, 5, 1, 32), (10,))
        """
        return {name: variable.numpy() for name, variable in self.params.items()}

    def set_weights(self, arrays: dict[str, np.ndarray]) -> None:
        """Set all parameters.

        Parameters
        ----------
        arrays : dict of str to ndarray
            An array for every parameter, as returned by :meth:`get_weights`.

        Examples
        --------
        >>> from fastnn.cnn import Network, Settings
        >>> first, second = Network(), Network(Settings(seed=1))
        >>> second.set_weights(first.get_weights())
        >>> bool((first.get_weights()["fc1/weights"] == second.get_weights()["fc1/weights"]).all())
        True
        """
        for name, variable in self.params.items():
            variable.assign(arrays[name])

    # --- computed inside tf.function ----------------------------------------------

    def _product(self, layer: str, inputs: tf.Tensor) -> tf.Tensor:
        """Net inputs of a layer before the biases are added."""
        weights = tf.cast(self.params[f"{layer}/weights"], self._dtype)
        if layer.startswith("conv"):
            return tf.nn.conv2d(inputs, weights, 1, "SAME")
        return tf.matmul(inputs, weights)

    def _biased(self, layer: str, product: tf.Tensor) -> tf.Tensor:
        return tf.nn.bias_add(product, tf.cast(self.params[f"{layer}/biases"], self._dtype))

    def logits(self, images: tf.Tensor, dropout_seed: Any = None) -> tf.Tensor:
        """Logits: net inputs of the output layer.

        Parameters
        ----------
        images : tf.Tensor of uint8, shape (images, 28, 28, 1)
            Grey levels of the pixels.
        dropout_seed : two integers, optional
            If given, dropout is applied after the dense layer; the mask depends on this seed
            alone.

        Returns
        -------
        tf.Tensor of float32, shape (images, 10)

        Examples
        --------
        >>> import tensorflow as tf
        >>> from fastnn.cnn import Network
        >>> Network().logits(tf.zeros((2, 28, 28, 1), tf.uint8)).shape
        TensorShape([2, 10])
        """
        x = tf.cast(images, self._dtype) / 255
        for layer in ("conv1", "conv2"):  # name scopes label TensorBoard's graph
            with tf.name_scope(layer):
                x = self._product(layer, x)
                if self.settings.pool_first:
                    x = self._activation(self._biased(layer, _pool(x)))
                else:
                    x = _pool(self._activation(self._biased(layer, x)))
        with tf.name_scope("fc1"):
            x = tf.reshape(x, (-1, SHAPES["fc1"][0]))
            x = self._activation(self._biased("fc1", self._product("fc1", x)))
        if dropout_seed is not None and self.settings.dropout:
            x = tf.nn.experimental.stateless_dropout(x, self.settings.dropout, dropout_seed)
        with tf.name_scope("fc2"):
            return tf.cast(self._biased("fc2", self._product("fc2", x)), tf.float32)

    def trace(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Intermediate results of all layers, without dropout.

        Parameters
        ----------
        images : tf.Tensor of uint8, shape (images, 28, 28, 1)
            Grey levels of the pixels.

        Returns
        -------
        dict of str to tf.Tensor
            ``net_inputs`` of conv1, conv2, fc1 and fc2 (before the activation), ``activations``
            of the first three, ``outputs`` of pool1 and pool2. A key is the layer and the
            quantity: ``conv1/net_inputs``.

        Examples
        --------
        >>> import tensorflow as tf
        >>> from fastnn.cnn import Network
        >>> Network().trace(tf.zeros((1, 28, 28, 1), tf.uint8))["pool2/outputs"].shape
        TensorShape([1, 7, 7, 64])
        """
        found = {}
        x = tf.cast(images, self._dtype) / 255
        for layer, pool in (("conv1", "pool1"), ("conv2", "pool2")):
            found[f"{layer}/net_inputs"] = self._biased(layer, self._product(layer, x))
            found[f"{layer}/activations"] = self._activation(found[f"{layer}/net_inputs"])
            x = found[f"{pool}/outputs"] = _pool(found[f"{layer}/activations"])
        x = tf.reshape(x, (-1, SHAPES["fc1"][0]))
        found["fc1/net_inputs"] = self._biased("fc1", self._product("fc1", x))
        x = found["fc1/activations"] = self._activation(found["fc1/net_inputs"])
        found["fc2/net_inputs"] = self._biased("fc2", self._product("fc2", x))
        return found

    # --- prediction ---------------------------------------------------------------

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the digits.

        Parameters
        ----------
        X : array-like, shape (28, 28), or (images, 28, 28), (images, 28, 28, 1), (images, 784)
            White on black; uint8, or floating point from 0 to 1.

        Returns
        -------
        ndarray of float32, shape (images, 10)

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn.cnn import Network
        >>> p = Network().predict_proba(np.zeros((3, 28, 28)))
        >>> p.shape
        (3, 10)
        >>> np.allclose(p.sum(axis=1), 1)
        True
        """
        images = as_bytes(X)
        parts = [
            self._probabilities(images[start : start + PREDICT_BATCH]).numpy()
            for start in range(0, len(images), PREDICT_BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, N_CLASSES), np.float32)

    def predict(self, X: Any) -> np.ndarray:
        """Predicted digits.

        Parameters
        ----------
        X : array-like
            As for :meth:`predict_proba`.

        Returns
        -------
        ndarray of int64, shape (images,)

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn.cnn import Network
        >>> Network().predict(np.zeros((3, 28, 28))).shape
        (3,)
        """
        return self.predict_proba(X).argmax(axis=1)

    def score(self, X: Any, y: Any) -> float:
        """Accuracy of the predictions.

        Parameters
        ----------
        X : array-like
            As for :meth:`predict_proba`.
        y : array-like of int, shape (images,)
            Digits.

        Returns
        -------
        float

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn.cnn import Network
        >>> images, net = np.zeros((3, 28, 28)), Network()
        >>> net.score(images, net.predict(images))
        1.0
        """
        predicted, y = self.predict(X), np.asarray(y)
        if y.shape != predicted.shape or not len(y):
            raise ValueError(f"y must have shape {predicted.shape}, and images; got {y.shape}")
        return float(np.mean(predicted == y))


def _pool(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.max_pool2d(x, 2, 2, "SAME")


def as_bytes(X: Any) -> np.ndarray:
    """Convert images to the network's input format.

    Parameters
    ----------
    X : array-like
        As for :meth:`Network.predict_proba`.

    Returns
    -------
    ndarray of uint8, shape (images, 28, 28, 1)

    Raises
    ------
    ValueError
        If the shape is another, or the values are neither uint8 nor floating point from 0 to 1.
    """
    X = np.asarray(X)
    if X.shape == (SIDE, SIDE):
        X = X[None]
    known = X.shape[1:] in ((SIDE, SIDE), (SIDE, SIDE, 1), (SIDE * SIDE,))
    if not known:
        raise ValueError(
            "images must have the shape (28, 28), (images, 28, 28), (images, 28, 28, 1) or "
            f"(images, 784); got {X.shape}"
        )
    if X.dtype != np.uint8:
        if X.dtype.kind != "f" or not ((X >= 0) & (X <= 1)).all():
            raise ValueError(
                f"images must be bytes (uint8) or real numbers from 0 to 1; got {X.dtype}"
                + (f" from {X.min()} to {X.max()}" if X.dtype.kind in "iuf" and X.size else "")
            )
        X = np.rint(X * 255).astype(np.uint8)
    return X.reshape(-1, SIDE, SIDE, 1)
