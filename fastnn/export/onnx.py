"""ONNX graphs, and the converters for skl2onnx."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.backends import codes
from fastnn.export.plain import Layer, PlainNetwork, describe
from fastnn.extras import require
from fastnn.network import Network
from fastnn.validation import one_of

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor

# All operators below are in opset 17 as in later ones; runtimes since 2022 read it.
OPSET = 17
IR_VERSION = 8


def to_onnx(
    model: Network | MLPClassifier | MLPRegressor | PlainNetwork,
    *,
    input_dtype: str | None = None,
) -> Any:
    """ONNX model of Gemm and activations.

    The input ``X`` is ``(samples, features)`` of the network's dtype, with any number of
    samples. As skl2onnx has it, a classifier gives ``label`` and ``probabilities``, ``(samples,
    classes)``, and a regression ``variable``, ``(samples, outputs)``. Several outputs of
    binary_cross_entropy give labels of 0 and 1, ``(samples, outputs)``.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, Pipeline or PlainNetwork
        What is exported.
    input_dtype : {"float32", "float64"}, optional
        Of ``X``, and of the values of a regression; default: the network's. Numbers that are
        large against their spread have lost it in float32 before the graph gets them (a timestamp
        of 1.7e9 has steps of 128): of a float32 network that standardises, "float64" keeps it.
        The layers have the network's dtype in any case.

    Returns
    -------
    onnx.ModelProto
        Checked. In float64 elu, leaky_relu and softplus consist of simpler operators, because
        onnxruntime has these in float32 only, and gelu goes through float32, with its precision.

    Raises
    ------
    ImportError
        Without onnx.
    ValueError
        If the labels are of a type that ONNX lacks.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> model = fastnn.export.to_onnx(net)  # doctest: +SKIP
    >>> [node.op_type for node in model.graph.node]  # doctest: +SKIP
    ['Gemm', 'Relu', 'Gemm', 'Softmax']
    """
    onnx = require("onnx", "ONNX export")
    import fastnn

    plain = describe(model)
    wanted = plain.dtype.name if input_dtype is None else input_dtype
    outside = np.dtype(one_of("input_dtype", wanted, ("float32", "float64")))
    graph = _Graph(plain.dtype, outside=outside)
    real = onnx.helper.np_dtype_to_tensor_dtype(plain.dtype)
    given = onnx.helper.np_dtype_to_tensor_dtype(outside)
    info = onnx.helper.make_tensor_value_info
    n_classes = plain.n_outputs if plain.output != "sigmoid" else max(plain.n_outputs, 2)
    if plain.is_regression:
        _build(graph, plain, "X", ["variable"])
        outputs = [info("variable", given, ["samples", plain.n_outputs])]
    else:
        _build(graph, plain, "X", ["label", "probabilities"])
        labels = plain.labels
        kind = onnx.TensorProto.INT64
        if labels is not None and _onnx_labels(labels).dtype == object:
            kind = onnx.TensorProto.STRING
        shape = ["samples", n_classes] if plain.is_multilabel else ["samples"]
        outputs = [
            info("label", kind, shape),
            info("probabilities", real, ["samples", n_classes]),
        ]
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
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            nodes, "fastnn", [info("X", given, ["samples", plain.sizes[0]])], outputs, tensors
        ),
        producer_name="fastnn",
        producer_version=fastnn.__version__,
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    )
    onnx.checker.check_model(made, full_check=True)
    return made


class _Graph:
    """Nodes and constants in their order.

    Parameters
    ----------
    dtype : numpy dtype
    unique : callable, optional
        A name that nobody else has, from a proposal.
    outside : numpy dtype, optional
        Of input and predicted values; default: ``dtype``.
    """

    def __init__(
        self,
        dtype: np.dtype,
        unique: Callable[[str], str] | None = None,
        outside: np.dtype | None = None,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.outside = self.dtype if outside is None else outside
        self.nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        self.constants: dict[str, np.ndarray] = {}
        self.unique = unique or (lambda name: f"{name}_{len(self.nodes) + len(self.constants)}")

    def add(self, operator: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """A node with one output; returns its name."""
        out = out or self.unique(operator.lower())
        self.nodes.append((operator, list(inputs), [out], attributes))
        return out

    def constant(self, name: str, value: Any, dtype: Any = None) -> str:
        """A constant of the graph's dtype (or another), or of its own if integers or text."""
        array = np.asarray(value)
        name = self.unique(name)
        real = self.dtype if dtype is None else dtype
        self.constants[name] = array.astype(real) if array.dtype.kind == "f" else array
        return name

    def cast(self, x: str, dtype: Any, out: str | None = None) -> str:
        """``x`` as another type."""
        onnx = require("onnx", "ONNX export")
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", x, out=out, to=int(kind))


def _build(graph: _Graph, plain: PlainNetwork, x: str, outputs: list[str]) -> None:
    """The network from ``x`` to ``[values]`` or ``[label, probabilities]``."""
    if plain.input_shift is not None:
        x = _standardized(graph, plain, x)
    elif graph.outside != graph.dtype:
        x = graph.cast(x, graph.dtype)
    same = graph.outside == graph.dtype
    for k, layer in enumerate(plain.layers):
        last = k == len(plain.layers) - 1
        out = None
        if last and same and plain.output == "identity" and plain.target_shift is None:
            out = outputs[0]
        w = graph.constant("weights", layer.weights)
        x = graph.add("Gemm", x, w, graph.constant("biases", layer.biases), out=out)
        x = _activation(graph, layer, x)
    if plain.output in ("exp", "identity"):
        if plain.output == "exp":
            x = graph.add("Exp", x, out=outputs[0] if same else None)
        scaled = plain.target_shift is not None
        if not same:
            x = graph.cast(x, graph.outside, out=None if scaled else outputs[0])
        if scaled:
            scale = graph.constant("target_scale", plain.target_scale, graph.outside)
            shift = graph.constant("target_shift", plain.target_shift, graph.outside)
            graph.add("Add", graph.add("Div", x, scale), shift, out=outputs[0])
        return
    label, probabilities = outputs
    if plain.output == "softmax":
        graph.add("Softmax", x, out=probabilities, axis=1)
        index = graph.add("ArgMax", x, axis=1, keepdims=0)
    else:
        several = plain.n_outputs > 1
        p = graph.add("Sigmoid", x, out=probabilities if several else None)
        positive = graph.add("Greater", x, graph.constant("zero", 0.0))
        if several:
            graph.cast(positive, np.int64, out=label)
            return
        other = graph.add("Sub", graph.constant("one", 1.0), p)
        graph.add("Concat", other, p, out=probabilities, axis=1)
        column = graph.constant("column", np.array([-1]))
        index = graph.add("Reshape", graph.cast(positive, np.int64), column)
    assert plain.labels is not None  # multilabel has returned
    labels = graph.constant("classes", _onnx_labels(plain.labels))
    graph.add("Gather", labels, index, out=label, axis=0)


def _standardized(graph: _Graph, plain: PlainNetwork, x: str) -> str:
    """Shift, scale and clip, in the input's dtype; then the graph's."""
    outside, shift, scale = graph.outside, plain.input_shift, plain.input_scale
    assert shift is not None
    assert scale is not None
    x = graph.add("Sub", x, graph.constant("input_shift", shift, outside))
    # What float32 has rounded off the means, where it is more than rounding of the result.
    rest = shift - shift.astype(outside)
    if (np.abs(rest * scale) > np.finfo(outside).eps).any():
        x = graph.add("Sub", x, graph.constant("input_shift_rest", rest, outside))
    x = graph.add("Mul", x, graph.constant("input_scale", scale, outside))
    if plain.smooth_clip is not None:
        # z / sqrt(1 + (z / bound)^2); beyond a billion bounds it is one, and squares might overflow
        far = plain.smooth_clip * 1e9
        low, high = (graph.constant(f"far_{k}", far * (2 * k - 1), outside) for k in range(2))
        x = graph.add("Clip", x, low, high)
        ratio = graph.add("Div", x, graph.constant("bound", plain.smooth_clip, outside))
        square = graph.add("Mul", ratio, ratio)
        square = graph.add("Add", square, graph.constant("one", 1.0, outside))
        x = graph.add("Div", x, graph.add("Sqrt", square))
    return x if outside == graph.dtype else graph.cast(x, graph.dtype)


def _activation(graph: _Graph, layer: Layer, z: str) -> str:
    """The activation of a layer."""
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


def _softplus(graph: _Graph, z: str) -> str:
    """``log(1 + exp(z))``; onnxruntime has the operator in float32 only."""
    if graph.dtype == np.float32:
        return graph.add("Softplus", z)
    # max(z, 0) + log(1 + exp(-|z|))
    t = graph.add("Exp", graph.add("Neg", graph.add("Abs", z)))
    t = graph.add("Log", graph.add("Add", t, graph.constant("one", 1.0)))
    return graph.add("Add", graph.add("Relu", z), t)


def _onnx_labels(labels: np.ndarray) -> np.ndarray:
    """Labels as ONNX keeps them: int64, or text as objects.

    Raises
    ------
    ValueError
        If they are neither.
    """
    values = labels.tolist()
    if all(isinstance(value, str) for value in values):
        return np.array(values, object)
    if all(isinstance(value, bool | int | float) and value == int(value) for value in values):
        return np.array([int(value) for value in values], np.int64)
    raise ValueError(f"labels must be whole numbers or text for ONNX; got {labels.dtype}")


# --- skl2onnx -------------------------------------------------------------------------


def register_skl2onnx() -> None:
    """Teach skl2onnx ``MLPClassifier`` and ``MLPRegressor``, so that pipelines convert.

    Call it once, before ``skl2onnx.to_onnx`` or ``convert_sklearn``. The graph computes in the
    dtype of its input. The options of a classifier are skl2onnx's ``zipmap``, ``nocl`` and
    ``output_class_labels``.

    Raises
    ------
    ImportError
        Without skl2onnx.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import fastnn, skl2onnx
    >>> fastnn.export.register_skl2onnx()
    >>> X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    >>> mlp = fastnn.MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", tol=0.01)
    >>> model = make_pipeline(StandardScaler(), mlp)
    >>> onnx_model = skl2onnx.to_onnx(model.fit(X, X[:, 0]), X[:1])
    >>> [output.name for output in onnx_model.graph.output]
    ['variable']
    """
    skl2onnx = require("skl2onnx", "conversion of pipelines")
    from fastnn.estimators import MLPClassifier, MLPRegressor

    options = {
        "zipmap": [True, False, "columns"],
        "nocl": [True, False],
        "output_class_labels": [True, False],
    }
    for estimator, name, own in (
        (MLPClassifier, "FastnnMLPClassifier", options),
        (MLPRegressor, "FastnnMLPRegressor", {}),
    ):
        skl2onnx.update_registered_converter(
            estimator, name, _skl2onnx_shapes, _skl2onnx_convert, overwrite=True, options=own
        )


def _skl2onnx_shapes(operator: Any) -> None:
    """Types and shapes of the outputs."""
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    plain = describe(operator.raw_operator)
    rows = operator.inputs[0].get_first_dimension()
    real = type(_real_input(operator))
    if plain.is_regression:
        operator.outputs[0].set_type(real([rows, plain.n_outputs]))
        return
    columns = plain.n_outputs if plain.output == "softmax" else max(plain.n_outputs, 2)
    labels = _labels(operator, plain)
    text = labels is not None and _onnx_labels(labels).dtype == object
    shape = [rows, columns] if plain.is_multilabel else [rows]
    operator.outputs[0].set_type((StringTensorType if text else Int64TensorType)(shape))
    operator.outputs[1].set_type(real([rows, columns]))


def _labels(operator: Any, plain: PlainNetwork) -> np.ndarray | None:
    """The labels, or with the option ``nocl`` their numbers."""
    if plain.labels is None:
        return plain.classes
    options = operator.scope_inst.get_options(operator.raw_operator, {"nocl": False})
    return np.arange(len(plain.labels)) if options["nocl"] else plain.labels


def _real_input(operator: Any) -> Any:
    """Type that the network computes in: that of its input, or float32 for integers."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    own = operator.inputs[0].type
    return own if isinstance(own, FloatTensorType | DoubleTensorType) else FloatTensorType()


def _skl2onnx_convert(scope: Any, operator: Any, container: Any) -> None:
    """The nodes of an estimator."""
    from dataclasses import replace

    from skl2onnx.common.data_types import DoubleTensorType

    onnx = require("onnx", "ONNX export")
    real = _real_input(operator)
    dtype = np.dtype("float64" if isinstance(real, DoubleTensorType) else "float32")
    plain = describe(operator.raw_operator).astype(dtype)
    plain = replace(plain, classes=_labels(operator, plain))
    graph = _Graph(dtype, scope.get_unique_variable_name)
    x = operator.inputs[0].full_name
    if real is not operator.inputs[0].type:
        x = graph.cast(x, dtype)
    _build(graph, plain, x, [output.full_name for output in operator.outputs])
    for name, array in graph.constants.items():
        text = array.dtype == object
        kind = (
            onnx.TensorProto.STRING if text else onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        )
        values = [value.encode() for value in array.flat] if text else array.ravel()
        container.add_initializer(name, kind, list(array.shape), values)
    for kind, inputs, outputs, attributes in graph.nodes:
        container.add_node(
            kind,
            inputs,
            outputs,
            name=scope.get_unique_operator_name(kind),
            op_version=_VERSIONS.get(kind, 13),
            **attributes,
        )


# Opset in which an operator got the form used here, where that is not 13.
_VERSIONS = {"Relu": 14, "Add": 14, "Sub": 14, "Mul": 14, "Div": 14, "Reshape": 14} | {
    "LeakyRelu": 16,
    "Elu": 6,
    "Softplus": 1,
}
