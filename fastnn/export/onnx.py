"""Export of networks to ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastnn.export.from_models import describe
from fastnn.export.onnx_graph import Graph, add_network, make_model, make_outputs
from fastnn.export.onnx_table import table_to_onnx
from fastnn.export.plain import PlainNetwork
from fastnn.export.table import describe_table
from fastnn.extras import require
from fastnn.network import Network
from fastnn.validation import one_of

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor
    from fastnn.tables import TableModel
    from fastnn.tables.base import BaseTabular

_REAL = ("float32", "float64")


def to_onnx(
    model: Network | MLPClassifier | MLPRegressor | TableModel | BaseTabular | PlainNetwork,
    *,
    input_dtype: str | None = None,
) -> Any:
    """Convert a network to an ONNX model, for tables including the encoding of the columns.

    The input ``X`` is ``(samples, features)`` in the network's dtype, with any number of samples.
    As with skl2onnx, a classifier has the outputs ``label`` and ``probabilities``, ``(samples,
    classes)``, and a regression has ``variable``, ``(samples, outputs)``. For several outputs of
    binary_cross_entropy the labels are 0 and 1, ``(samples, outputs)``.

    A model of tables has an input ``(samples, 1)`` for each column that it uses, with the name of
    the column; the ``doc_string`` of an input describes it. Numbers are double, with NaN for a
    missing value. Categories are text, with "" for a missing value; unknown categories are
    allowed. Booleans are 1, 0 or NaN, or text if they were text in training. Dates are seconds
    since 1970-01-01 00:00 UTC. The caller must convert numbers and dates given as text. The
    outputs of an ensemble are the weighted mean over its members; without an encoding, its input
    is ``X``.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, Pipeline or PlainNetwork; TableModel, \
        TabularClassifier, TabularRegressor or a Pipeline that begins with a TableEncoder
        The model to export.
    input_dtype : {"float32", "float64"}, optional
        Data type of ``X``, and of the values of a regression; default: the network's, or "float64"
        for tables. Use "float64" for a float32 network that standardises if features are large
        compared with their spread, which float32 inputs would lose (at a timestamp of 1.7e9 the
        spacing is 128). The layers always have the network's dtype, and dates are float64.

    Returns
    -------
    onnx.ModelProto
        The checked model. In float64, elu, leaky_relu and softplus consist of simpler operators,
        because onnxruntime supports these in float32 only, and gelu is computed in float32.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If ONNX does not support the type of the labels.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> model = fastnn.export.to_onnx(net)
    >>> [node.op_type for node in model.graph.node]
    ['Gemm', 'Tanh', 'Gemm', 'Softmax', 'ArgMax', 'Gather']
    """
    onnx = require("onnx", "ONNX export")
    table = describe_table(model)
    if table is not None:
        return table_to_onnx(table, one_of("input_dtype", input_dtype or "float64", _REAL))
    plain = describe(cast(Any, model))
    wanted = plain.dtype.name if input_dtype is None else input_dtype
    output_dtype = np.dtype(one_of("input_dtype", wanted, _REAL))
    graph = Graph(plain.dtype, output_dtype=output_dtype)
    outputs = ["variable"] if plain.is_regression else ["label", "probabilities"]
    add_network(graph, plain, "X", outputs)
    given = onnx.helper.np_dtype_to_tensor_dtype(output_dtype)
    x = onnx.helper.make_tensor_value_info("X", given, ["samples", plain.sizes[0]])
    return make_model(graph, [x], make_outputs(plain, outputs, output_dtype))
