"""Write exports to files."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastnn.datasets import write_atomically
from fastnn.export.c import to_c
from fastnn.export.from_models import describe
from fastnn.export.keras import to_keras
from fastnn.export.onnx import to_onnx
from fastnn.export.plain import PlainNetwork
from fastnn.export.sklearn import to_sklearn
from fastnn.export.table import describe_table
from fastnn.export.torch import to_torch
from fastnn.extras import require
from fastnn.validation import one_of

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor
    from fastnn.network import Network
    from fastnn.tables import TableModel
    from fastnn.tables.base import BaseTabular

# File name extensions of each format; the first is the default.
TARGETS = {
    "onnx": (".onnx",),
    "c": (".c", ".h"),
    "keras": (".keras",),
    "torch": (".pt", ".pth", ".safetensors"),
    "sklearn": (".skops",),
}


def write(
    model: Network | MLPClassifier | MLPRegressor | TableModel | BaseTabular | PlainNetwork,
    path: str | os.PathLike,
    to: str | None = None,
    *,
    overwrite: bool = False,
    jacobian: bool = False,
) -> str:
    """Write an export to a file, atomically: it is written completely or not at all.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, Pipeline or PlainNetwork; TableModel, \
        TabularClassifier, TabularRegressor or a Pipeline that begins with a TableEncoder
        The model to export; models of tables as ONNX or C only.
    path : path
        ``.onnx``; ``.c`` or ``.h``, whose stem is the prefix of the names in it; ``.keras``;
        ``.pt``, ``.pth`` or ``.safetensors`` (the ``state_dict`` of :func:`to_torch`, loadable
        without unpickling objects); ``.skops`` (the estimator of :func:`to_sklearn`; unlike a
        pickle or a joblib file it is safe to open).
    to : {"onnx", "c", "keras", "torch", "sklearn"}, optional
        Format; default: by the extension of ``path``.
    overwrite : bool, default=False
        Whether to replace an existing file.
    jacobian : bool, default=False
        For C: whether to add the functions for the derivatives, as in :func:`to_c`.

    Returns
    -------
    str
        Description of what was written.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    ImportError
        If a required library is not installed.
    ValueError
        If the format cannot represent the model, or the extension does not match the format.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> from fastnn.export import write
    >>> write(net, "model.c")
    'C99, names begin with model_'
    """
    path = Path(path)
    to = target_of(path) if to is None else to
    to = one_of("to", to, tuple(TARGETS))
    if path.suffix not in TARGETS[to]:
        raise ValueError(f"{path}: the name must end in {' or '.join(TARGETS[to])}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists already; choose another name or overwrite=True (--overwrite)"
        )
    if jacobian and to != "c":
        raise ValueError(f"jacobian=True is for C; got {path.name}")
    if describe_table(model) is not None and to in ("onnx", "c"):
        contents, what = _table_bytes(model, to, path.stem, jacobian)
        write_atomically(path, contents)
        return what
    network = cast(Any, model)
    plain = describe(network)
    if to == "onnx":
        dtype = "float64" if plain.needs_double else plain.dtype.name
        contents = to_onnx(plain, input_dtype=dtype).SerializeToString()
        what = f"ONNX, input X {dtype}{_why(plain)}"
    elif to == "c":
        name = _name_in_c(path.stem)
        contents = to_c(plain, name, jacobian=jacobian).encode()
        what = f"C99, names begin with {name}_"
        if _why(plain):
            what += f"; for large numbers call {name}_predict_double{_why(plain)}"
    elif to == "keras":
        contents, what = _keras_bytes(plain), "Keras, keras.models.load_model reads it"
    elif to == "torch":
        contents, what = _torch_bytes(plain, path.suffix)
    else:
        skops = require("skops.io", "scikit-learn export")
        contents, what = skops.dumps(to_sklearn(network)), "scikit-learn, skops.io.load reads it"
    write_atomically(path, contents)
    return what


def target_of(path: Path) -> str:
    """The format for the extension of a file; ValueError if it is unknown."""
    for target, endings in TARGETS.items():
        if path.suffix in endings:
            return target
    known = ", ".join(ending for endings in TARGETS.values() for ending in endings)
    raise ValueError(f"{path}: the name must end in one of {known}")


def _table_bytes(model: Any, to: str, stem: str, jacobian: bool) -> tuple[bytes, str]:
    """Contents and description of the export of a model of tables or an ensemble."""
    numbers = getattr(describe_table(model), "encoding", None) is None  # ensemble without encoding
    if to == "onnx":
        each = "input X float64" if numbers else "an input for each column, (samples, 1)"
        return to_onnx(model).SerializeToString(), f"ONNX, {each}"
    name = _name_in_c(stem)
    what = f"C99, names begin with {name}_"
    if not numbers:
        what = f"C99, {name}_predict takes numbers and codes of categories as the file's head says"
    return to_c(model, name, jacobian=jacobian).encode(), what


def _name_in_c(stem: str) -> str:
    """Prefix of all names in a C file."""
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    return name if name[:1].isalpha() else f"model_{name.lstrip('_')}"


def _why(plain: PlainNetwork) -> str:
    """The reason, as text, why an interface is double although the network is float32."""
    rounds = plain.dtype == np.float32 and plain.needs_double
    return " (float32 is too coarse for features or targets so large)" if rounds else ""


def _keras_bytes(plain: PlainNetwork) -> bytes:
    """Contents of the file that Keras writes."""
    model = to_keras(plain)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        return file.read_bytes()


def _torch_bytes(plain: PlainNetwork, suffix: str) -> tuple[bytes, str]:
    """Contents of the file with the ``state_dict``, and a description of its module."""
    module = to_torch(plain)
    what = f"state_dict of {' '.join(repr(module).split())}"
    if suffix == ".safetensors":
        import safetensors.torch

        return safetensors.torch.save(module.state_dict()), what
    import io

    import torch

    contents = io.BytesIO()
    torch.save(module.state_dict(), contents)
    return contents.getvalue(), what
