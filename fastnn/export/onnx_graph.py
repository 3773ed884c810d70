"""ONNX graphs: nodes for the layers and outputs of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.backends import codes
from fastnn.export.plain import Layer, PlainNetwork
from fastnn.extras import require

# The operators used are the same in opset 17 and later ones; runtimes since 2022 support it.
OPSET, OPSET_OF_TEXT = 17, 3
IR_VERSION = 8
TEXT_DOMAIN = "ai.onnx.ml"


def make_outputs(plain: PlainNetwork, names: list[str], output_dtype: np.dtype) -> list[Any]:
    """Names, types and shapes of a graph's outputs.

    Parameters
    ----------
    plain : PlainNetwork
    names : list of str
        Name of the values, or names of labels and probabilities.
    output_dtype : numpy dtype
        Data type of the values.
    """
    onnx = require("onnx", "ONNX export")
    info, kind = onnx.helper.make_tensor_value_info, onnx.helper.np_dtype_to_tensor_dtype
    if plain.is_regression:
        return [info(names[0], kind(np.dtype(output_dtype)), ["samples", plain.n_outputs])]
    n_classes = plain.n_outputs if plain.output != "sigmoid" else max(plain.n_outputs, 2)
    label_type = onnx.TensorProto.INT64
    if plain.labels is not None and onnx_labels(plain.labels).dtype == object:
        label_type = onnx.TensorProto.STRING
    shape = ["samples", n_classes] if plain.is_multilabel else ["samples"]
    return [
        info(names[0], label_type, shape),
        info(names[1], kind(plain.dtype), ["samples", n_classes]),
    ]


def make_model(graph: Graph, inputs: list[Any], outputs: list[Any], doc: str = "") -> Any:
    """Create the model of a graph and check it."""
    onnx = require("onnx", "ONNX export")
    import fastnn

    tensors = [
        onnx.helper.make_tensor(
            name, onnx.TensorProto.STRING, array.shape, [text.encode() for text in array.flat]
        )
        if array.dtype == object
        else onnx.numpy_helper.from_array(array, name)
        for name, array in graph.constants.items()
    ]
    nodes = [
        onnx.helper.make_node(operator, inputs, outputs, name=outputs[0], **attributes)
        for operator, inputs, outputs, attributes in graph.nodes
    ]
    versions = [onnx.helper.make_opsetid("", OPSET)]
    if any("domain" in attributes for *_, attributes in graph.nodes):
        versions.append(onnx.helper.make_opsetid(TEXT_DOMAIN, OPSET_OF_TEXT))
    made = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "fastnn", inputs, outputs, tensors),
        producer_name="fastnn",
        producer_version=fastnn.__version__,
        ir_version=IR_VERSION,
        opset_imports=versions,
        doc_string=doc,
    )
    onnx.checker.check_model(made, full_check=True)
    return made


class Graph:
    """Nodes and constants of a graph, in order.

    Parameters
    ----------
    dtype : numpy dtype
        Data type of the layers.
    unique : callable, optional
        Takes a proposed name and returns a unique one.
    output_dtype : numpy dtype, optional
        Data type of input and predicted values; default: ``dtype``.
    """

    def __init__(
        self,
        dtype: np.dtype,
        unique: Callable[[str], str] | None = None,
        output_dtype: np.dtype | None = None,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.output_dtype = self.dtype if output_dtype is None else output_dtype
        self.nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        self.constants: dict[str, np.ndarray] = {}
        self.unique = unique or (lambda name: f"{name}_{len(self.nodes) + len(self.constants)}")

    def add(self, operator: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return the name of the output.

        A ``domain`` is passed as an attribute.
        """
        out = out or self.unique(operator.lower())
        self.nodes.append((operator, list(inputs), [out], attributes))
        return out

    def constant(self, name: str, value: Any, dtype: Any = None) -> str:
        """Add a constant; real numbers are cast to ``dtype``, by default that of the graph."""
        array = np.asarray(value)
        name = self.unique(name)
        real = self.dtype if dtype is None else dtype
        self.constants[name] = array.astype(real) if array.dtype.kind == "f" else array
        return name

    def cast(self, x: str, dtype: Any, out: str | None = None) -> str:
        """Add a cast of ``x`` to another dtype."""
        onnx = require("onnx", "ONNX export")
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", x, out=out, to=int(kind))


def add_network(graph: Graph, plain: PlainNetwork, x: str, outputs: list[str]) -> None:
    """Add the network from ``x`` to ``[values]`` or ``[label, probabilities]``."""
    if plain.is_regression:
        values(graph, plain, x, outputs[0])
        return
    label, probabilities = outputs
    z, p = _scores(graph, plain, x, probabilities)
    if plain.output == "softmax":
        index = graph.add("ArgMax", p, axis=1, keepdims=0)
    else:
        positive = graph.add("Greater", z, graph.constant("zero", 0.0))
        if plain.is_multilabel:
            graph.cast(positive, np.int64, out=label)
            return
        column = graph.constant("column", np.array([-1]))
        index = graph.add("Reshape", graph.cast(positive, np.int64), column)
    name_classes(graph, plain, index, label)


def name_classes(graph: Graph, plain: PlainNetwork, index: str, label: str) -> None:
    """Add the lookup of labels by their positions."""
    assert plain.labels is not None  # multilabel has none
    labels = graph.constant("classes", onnx_labels(plain.labels))
    graph.add("Gather", labels, index, out=label, axis=0)


def values(graph: Graph, plain: PlainNetwork, x: str, out: str | None = None) -> str:
    """Add the predicted values of a regression, in the dtype ``graph.output_dtype``."""
    same, scaled = graph.output_dtype == graph.dtype, plain.target_shift is not None
    exp = plain.output == "exp"
    x = _net_inputs(graph, plain, x, out if same and not scaled and not exp else None)
    if exp:
        x = graph.add("Exp", x, out=out if same and not scaled else None)
    if not same:
        x = graph.cast(x, graph.output_dtype, out=None if scaled else out)
    if scaled:
        scale = graph.constant("target_scale", plain.target_scale, graph.output_dtype)
        shift = graph.constant("target_shift", plain.target_shift, graph.output_dtype)
        x = graph.add("Add", graph.add("Div", x, scale), shift, out=out)
    return x


def probabilities(graph: Graph, plain: PlainNetwork, x: str, out: str | None = None) -> str:
    """Add the probabilities of the classes."""
    return _scores(graph, plain, x, out)[1]


def _scores(graph: Graph, plain: PlainNetwork, x: str, out: str | None) -> tuple[str, str]:
    """Add the net inputs of the last layer, and the probabilities."""
    z = _net_inputs(graph, plain, x)
    if plain.output == "softmax":
        return z, graph.add("Softmax", z, out=out, axis=1)
    if plain.is_multilabel:
        return z, graph.add("Sigmoid", z, out=out)
    p = graph.add("Sigmoid", z)
    other = graph.add("Sub", graph.constant("one", 1.0), p)
    return z, graph.add("Concat", other, p, out=out, axis=1)


def _net_inputs(graph: Graph, plain: PlainNetwork, x: str, out: str | None = None) -> str:
    """Add the network up to the net inputs of the last layer."""
    if plain.input_shift is not None:
        x = _standardized(graph, plain, x)
    elif graph.output_dtype != graph.dtype:
        x = graph.cast(x, graph.dtype)
    for layer in plain.layers:
        w, b = graph.constant("weights", layer.weights), graph.constant("biases", layer.biases)
        x = graph.add("Gemm", x, w, b, out=out if layer is plain.layers[-1] else None)
        x = _activation(graph, layer, x)
    return x


def _standardized(graph: Graph, plain: PlainNetwork, x: str) -> str:
    """Add shift, scale and clip in the dtype of the input, then a cast to that of the graph."""
    output_dtype, shift, scale = graph.output_dtype, plain.input_shift, plain.input_scale
    assert shift is not None
    assert scale is not None
    x = graph.add("Sub", x, graph.constant("input_shift", shift, output_dtype))
    # Subtract the rounding error of the means in float32, if it matters in the result.
    rest = shift - shift.astype(output_dtype)
    if (np.abs(rest * scale) > np.finfo(output_dtype).eps).any():
        x = graph.add("Sub", x, graph.constant("input_shift_rest", rest, output_dtype))
    x = graph.add("Mul", x, graph.constant("input_scale", scale, output_dtype))
    if plain.smooth_clip is not None:
        x = clipped(graph, x, plain.smooth_clip)
    return x if output_dtype == graph.dtype else graph.cast(x, graph.dtype)


def clipped(graph: Graph, x: str, bound: float) -> str:
    """Add ``z / sqrt(1 + (z / bound)^2)``, in the dtype ``graph.output_dtype``."""
    # beyond a billion bounds the result equals the bound, and squares might overflow
    low, high = (
        graph.constant(f"far_{k}", bound * 1e9 * (2 * k - 1), graph.output_dtype) for k in (0, 1)
    )
    x = graph.add("Clip", x, low, high)
    ratio = graph.add("Div", x, graph.constant("bound", bound, graph.output_dtype))
    square = graph.add("Mul", ratio, ratio)
    square = graph.add("Add", square, graph.constant("one", 1.0, graph.output_dtype))
    return graph.add("Div", x, graph.add("Sqrt", square))


def _activation(graph: Graph, layer: Layer, z: str) -> str:
    """Add the activation of a layer."""
    name = layer.activation
    if name == "identity":
        return z
    simple = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu"}
    if name in simple:
        return graph.add(simple[name], z)
    if name == "silu":
        return graph.add("Mul", z, graph.add("Sigmoid", z))
    if name == "gelu":
        # z (1 + erf(z / sqrt 2)) / 2
        double = graph.dtype == np.float64
        t = graph.add("Mul", z, graph.constant("sqrt_half", np.sqrt(0.5)))
        t = graph.add("Erf", graph.cast(t, np.float32) if double else t)
        t = graph.cast(t, np.float64) if double else t
        t = graph.add("Add", t, graph.constant("one", 1.0))
        return graph.add("Mul", graph.add("Mul", z, graph.constant("half", 0.5)), t)
    if name in ("softplus", "mish"):
        t = _softplus(graph, z)
        return t if name == "softplus" else graph.add("Mul", z, graph.add("Tanh", t))
    if graph.dtype == np.float32:
        if name == "selu":
            ratio = codes.SELU_SCALE_ALPHA / codes.SELU_SCALE
            return graph.add("Selu", z, alpha=ratio, gamma=codes.SELU_SCALE)
        return graph.add("Elu" if name == "elu" else "LeakyRelu", z, alpha=layer.alpha)
    positive = graph.add("Relu", z)
    negative = graph.add("Sub", z, positive)  # min(z, 0)
    if name in ("elu", "selu"):
        negative = graph.add("Sub", graph.add("Exp", negative), graph.constant("one", 1.0))
    alpha = graph.constant("alpha", codes.SELU_SCALE_ALPHA if name == "selu" else layer.alpha)
    if name == "selu":
        positive = graph.add("Mul", positive, graph.constant("scale", codes.SELU_SCALE))
    return graph.add("Add", positive, graph.add("Mul", negative, alpha))


def _softplus(graph: Graph, z: str) -> str:
    """Add ``log(1 + exp(z))``; onnxruntime supports the operator in float32 only."""
    if graph.dtype == np.float32:
        return graph.add("Softplus", z)
    # max(z, 0) + log(1 + exp(-|z|))
    t = graph.add("Exp", graph.add("Neg", graph.add("Abs", z)))
    t = graph.add("Log", graph.add("Add", t, graph.constant("one", 1.0)))
    return graph.add("Add", graph.add("Relu", z), t)


def onnx_labels(labels: np.ndarray) -> np.ndarray:
    """Convert labels to types of ONNX: int64, or text as an object array.

    Raises
    ------
    ValueError
        If the labels are neither whole numbers of int64 nor text.
    """
    values = labels.tolist()
    if all(isinstance(value, str) for value in values):
        return np.array(values, object)
    if all(isinstance(value, bool | int | float) and value == int(value) for value in values):
        if max(values) >= 2**63:
            raise ValueError(f"labels must be in int64 for ONNX; got {max(values)}; use texts")
        return np.array([int(value) for value in values], np.int64)
    raise ValueError(f"labels must be whole numbers or text for ONNX; got {labels.dtype}")
