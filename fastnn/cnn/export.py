"""Export of a trained network to Keras and ONNX files."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.cnn.data import SIDE
from fastnn.cnn.model import ACTIVATED, MAXOUT_PIECES, N_CLASSES, SHAPES, Network, activation_layer
from fastnn.cnn.runtime import keras
from fastnn.datasets import write_atomically
from fastnn.extras import require

SUFFIXES = (".keras", ".onnx")
OPSET = 17

_ONNX_ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "elu": ("Elu", {"alpha": 1.0}),
}


def check_path(path: Path) -> None:
    """Raise ValueError unless the file name ends in a supported suffix."""
    if path.suffix not in SUFFIXES or path.is_dir():
        raise ValueError(f"{path}: the file's name must end in {' or '.join(SUFFIXES)}")


def export(network: Network, path: str | os.PathLike) -> None:
    """Write a Keras or ONNX file atomically.

    Parameters
    ----------
    network : Network
    path : path
        Ends in ``.keras`` or ``.onnx``. The input of a Keras model has shape
        (images, 28, 28, 1), that of an ONNX model (images, 1, 28, 28); both take values from 0
        to 1 and return probabilities in float32.

    Raises
    ------
    ValueError
        If the suffix is another.
    ImportError
        If onnx is not installed.
    """
    path = Path(path)
    check_path(path)
    if path.suffix == ".onnx":
        contents = to_onnx(network).SerializeToString()
    else:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Keras's own, about NumPy
            to_keras(network).save(Path(folder) / "model.keras")
            contents = (Path(folder) / "model.keras").read_bytes()
    write_atomically(path, contents)


def to_keras(network: Network) -> keras.Model:
    """Convert the network to a Keras model, which can be trained further or saved.

    Parameters
    ----------
    network : Network

    Returns
    -------
    keras.Model
        Its input has shape (images, 28, 28, 1) and values from 0 to 1; its output is the
        probabilities.

    Notes
    -----
    For a network with maxout, import ``fastnn.cnn.model`` before loading the saved file: it
    registers the custom layer.
    """
    settings, weights = network.settings, network.get_weights()
    layers = keras.layers
    x = inputs = keras.Input((SIDE, SIDE, 1), name="images")
    for k in (1, 2):
        units = weights[f"conv{k}/biases"].size
        x = layers.Conv2D(units, 5, padding="same", name=f"conv{k}")(x)
        x = activation_layer(settings.activation, name=f"activation{k}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{k}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(weights["fc1/biases"].size, name="fc1")(x)
    x = activation_layer(settings.activation, name="activation3")(x)
    x = layers.Dropout(settings.dropout, name="dropout")(x)
    x = layers.Dense(N_CLASSES, name="fc2")(x)
    model = keras.Model(inputs, layers.Softmax(name="probabilities")(x), name="fastnn_cnn")
    for layer in SHAPES:
        model.get_layer(layer).set_weights(
            [weights[f"{layer}/weights"], weights[f"{layer}/biases"]]
        )
    return model


def to_onnx(network: Network) -> Any:
    """Convert the network to an ONNX model.

    Parameters
    ----------
    network : Network

    Returns
    -------
    onnx.ModelProto
        The input ``images`` has shape (images, 1, 28, 28) and values from 0 to 1; the output is
        ``probabilities``.
    """
    onnx = require("onnx", "ONNX export")
    helper = onnx.helper

    graph = _Graph(network)
    x = "images"
    for k in (1, 2):
        x = graph.layer(f"conv{k}", x)
        x = graph.node("MaxPool", [x], f"pool{k}", kernel_shape=[2, 2], strides=[2, 2])
    x = graph.node("Flatten", [x], "flatten")
    x = graph.layer("fc2", graph.layer("fc1", x))
    graph.node("Softmax", [x], "probabilities", axis=1)

    float32 = onnx.TensorProto.FLOAT
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "fastnn_cnn",
            [helper.make_tensor_value_info("images", float32, ["images", 1, SIDE, SIDE])],
            [helper.make_tensor_value_info("probabilities", float32, ["images", N_CLASSES])],
            graph.constants,
        ),
        opset_imports=opset,
        ir_version=helper.find_min_ir_version_for(opset),
        producer_name="fastnn",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """ONNX nodes and their constants, in order."""

    def __init__(self, network: Network) -> None:
        self.activation, self.weights = network.settings.activation, network.get_weights()
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, array: np.ndarray, name: str) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def layer(self, name: str, x: str) -> str:
        """Add a layer: product, biases and activation; return the name of its output."""
        weights, biases = _channels_first(self.weights, name)
        pieces = MAXOUT_PIECES if self.activation == "maxout" and name in ACTIVATED else 1
        found = []
        for k in range(pieces):  # the pieces of a unit are adjacent on the channel axis
            suffix = f"_{k}" if pieces > 1 else ""
            matrix = weights[..., k::pieces] if weights.ndim == 2 else weights[k::pieces]
            parts = [
                x,
                self.constant(matrix, f"{name}_weights{suffix}"),
                self.constant(biases[k::pieces], f"{name}_biases{suffix}"),
            ]
            sizes = {"kernel_shape": [5, 5], "pads": [2] * 4} if name.startswith("conv") else {}
            found.append(self.node("Conv" if sizes else "Gemm", parts, f"{name}{suffix}", **sizes))
        if name not in ACTIVATED:
            return found[0]
        if pieces > 1:
            return self.node("Max", found, f"{name}_{self.activation}")
        kind, attributes = _ONNX_ACTIVATIONS[self.activation]
        return self.node(kind, found, f"{name}_{self.activation}", **attributes)


def _channels_first(weights: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of a layer for inputs with the channels before height and width."""
    matrix, biases = weights[f"{name}/weights"], weights[f"{name}/biases"]
    if name.startswith("conv"):
        return matrix.transpose(3, 2, 0, 1), biases
    if name == "fc1":
        side, channels = SIDE // 4, SHAPES["conv2"][3]
        units = matrix.shape[1]
        matrix = matrix.reshape(side, side, channels, units).transpose(2, 0, 1, 3)
        matrix = matrix.reshape(-1, units)
    return matrix, biases
