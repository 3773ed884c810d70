"""Converters for skl2onnx, to convert pipelines of scikit-learn to ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.export.from_models import describe
from fastnn.export.onnx_graph import Graph, add_network, onnx_labels
from fastnn.export.plain import PlainNetwork
from fastnn.extras import require


def register_skl2onnx() -> None:
    """Register ``MLPClassifier`` and ``MLPRegressor`` with skl2onnx, to convert pipelines.

    Call this once, before ``skl2onnx.to_onnx`` or ``convert_sklearn``. The graph computes in the
    dtype of its input. Classifiers have skl2onnx's options ``zipmap``, ``nocl`` and
    ``output_class_labels``.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

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
    """Set types and shapes of the outputs."""
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    plain = describe(operator.raw_operator)
    rows = operator.inputs[0].get_first_dimension()
    real = type(_real_input(operator))
    if plain.is_regression:
        operator.outputs[0].set_type(real([rows, plain.n_outputs]))
        return
    columns = plain.n_outputs if plain.output == "softmax" else max(plain.n_outputs, 2)
    labels = _labels(operator, plain)
    text = labels is not None and onnx_labels(labels).dtype == object
    shape = [rows, columns] if plain.is_multilabel else [rows]
    operator.outputs[0].set_type((StringTensorType if text else Int64TensorType)(shape))
    operator.outputs[1].set_type(real([rows, columns]))


def _labels(operator: Any, plain: PlainNetwork) -> np.ndarray | None:
    """The labels, or with the option ``nocl`` their indices."""
    if plain.labels is None:
        return plain.classes
    options = operator.scope_inst.get_options(operator.raw_operator, {"nocl": False})
    return np.arange(len(plain.labels)) if options["nocl"] else plain.labels


def _real_input(operator: Any) -> Any:
    """Type in which the network computes: that of its input, or float32 for integers."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    own = operator.inputs[0].type
    return own if isinstance(own, FloatTensorType | DoubleTensorType) else FloatTensorType()


def _skl2onnx_convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of an estimator."""
    from dataclasses import replace

    from skl2onnx.common.data_types import DoubleTensorType

    onnx = require("onnx", "ONNX export")
    real = _real_input(operator)
    dtype = np.dtype("float64" if isinstance(real, DoubleTensorType) else "float32")
    plain = describe(operator.raw_operator).astype(dtype)
    plain = replace(plain, classes=_labels(operator, plain))
    graph = Graph(dtype, scope.get_unique_variable_name)
    x = operator.inputs[0].full_name
    if real is not operator.inputs[0].type:
        x = graph.cast(x, dtype)
    add_network(graph, plain, x, [output.full_name for output in operator.outputs])
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


# Opset that introduced the form of an operator used here, if it is not 13.
_VERSIONS = {"Relu": 14, "Add": 14, "Sub": 14, "Mul": 14, "Div": 14, "Reshape": 14} | {
    "LeakyRelu": 16,
    "Elu": 6,
    "Softplus": 1,
}
