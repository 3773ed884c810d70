"""Export networks to other libraries and languages, and import networks from them.

| file | contents |
|---|---|
| ``plain.py`` | ``PlainNetwork``: a trained network as a list of layers, used by all exports |
| ``from_models.py``, ``pipeline.py`` | conversion of trained models and pipelines to it |
| ``table.py`` | ``PlainTable``: the encoding of a table and the networks after it |
| ``onnx.py``, ``onnx_table.py`` | ONNX graphs of networks, and of the encoding of columns |
| ``skl2onnx_converters.py`` | converters for skl2onnx |
| ``c.py``, ``c_*.py`` | one C99 file |
| ``keras.py``, ``torch.py``, ``sklearn.py`` | conversion to and from models of these libraries |
| ``collector.py`` | converts the layers of another library's model to a network |
| ``compiled.py``, ``compiled_*.py`` | Numba and C callables |
| ``files.py`` | ``write`` a file of any format |

Other libraries are imported when a function needs them.

Examples
--------
>>> import fastnn
>>> from fastnn import export
>>> net = fastnn.Network([2, 3, 1], loss="squared_error", random_state=0)
>>> module = export.to_torch(net)
>>> export.from_torch(module).layer_sizes
(2, 3, 1)
>>> print(export.to_c(net, "tiny").splitlines()[-1])
#endif
"""

from fastnn.export.c import to_c
from fastnn.export.files import TARGETS, write
from fastnn.export.from_models import describe
from fastnn.export.keras import from_keras, to_keras
from fastnn.export.onnx import to_onnx
from fastnn.export.plain import Layer, PlainNetwork
from fastnn.export.skl2onnx_converters import register_skl2onnx
from fastnn.export.sklearn import from_sklearn, to_sklearn
from fastnn.export.torch import from_torch, to_torch

__all__ = [
    "TARGETS",
    "Layer",
    "PlainNetwork",
    "describe",
    "from_keras",
    "from_sklearn",
    "from_torch",
    "register_skl2onnx",
    "to_c",
    "to_keras",
    "to_onnx",
    "to_sklearn",
    "to_torch",
    "write",
]
