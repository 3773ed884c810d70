"""Exports as files."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastnn.datasets import write_atomically
from fastnn.export.c import to_c
from fastnn.export.keras import to_keras
from fastnn.export.onnx import to_onnx
from fastnn.export.plain import PlainNetwork, describe
from fastnn.export.sklearn import to_sklearn
from fastnn.export.torch import to_torch
from fastnn.extras import require
from fastnn.validation import one_of

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor
    from fastnn.network import Network

# Endings of the files; the first is the default.
TARGETS = {
    "onnx": (".onnx",),
    "c": (".c", ".h"),
    "keras": (".keras",),
    "torch": (".pt", ".pth", ".safetensors"),
    "sklearn": (".skops",),
}


def write(
    model: Network | MLPClassifier | MLPRegressor | PlainNetwork,
    path: str | os.PathLike,
    to: str | None = None,
    *,
    overwrite: bool = False,
    jacobian: bool = False,
) -> str:
    """Write an export; the file is there in full or not at all.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, Pipeline or PlainNetwork
        What is exported.
    path : path
        ``.onnx``; ``.c`` or ``.h``, whose stem begins the names in it; ``.keras``; ``.pt``,
        ``.pth`` or ``.safetensors`` (the ``state_dict`` of :func:`to_torch`, nothing to be
        unpickled); ``.skops`` (the estimator of :func:`to_sklearn`; unlike a pickle or joblib's
        file it is safe to open).
    to : {"onnx", "c", "keras", "torch", "sklearn"}, optional
        Default: by the ending.
    overwrite : bool, default=False
        Write over a file that exists.
    jacobian : bool, default=False
        Of C: functions for the derivatives too, as in :func:`to_c`.

    Returns
    -------
    str
        What was written, in words.

    Raises
    ------
    FileExistsError
        If there is a file and ``overwrite`` is false.
    ImportError
        If the export needs a library that is missing.
    ValueError
        If the export cannot express the model, or the ending does not fit.
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
    if to is None:
        found = [target for target, endings in TARGETS.items() if path.suffix in endings]
        if not found:
            known = ", ".join(ending for endings in TARGETS.values() for ending in endings)
            raise ValueError(f"{path}: the name must end in one of {known}")
        to = found[0]
    to = one_of("to", to, tuple(TARGETS))
    if path.suffix not in TARGETS[to]:
        raise ValueError(f"{path}: the name must end in {' or '.join(TARGETS[to])}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} is there already; choose another name or overwrite it")
    if jacobian and to != "c":
        raise ValueError(f"jacobian=True is for C; got {path.name}")
    plain = describe(model)
    if to == "onnx":
        dtype = "float64" if plain.needs_double else plain.dtype.name
        contents = to_onnx(plain, input_dtype=dtype).SerializeToString()
        what = f"ONNX, input X {dtype}{_why(plain)}"
    elif to == "c":
        name = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
        name = name if name[:1].isalpha() else f"model_{name.lstrip('_')}"
        contents, what = (
            to_c(plain, name, jacobian=jacobian).encode(),
            f"C99, names begin with {name}_",
        )
        if _why(plain):
            what += f"; for large numbers call {name}_predict_double{_why(plain)}"
    elif to == "keras":
        contents, what = _keras_bytes(plain), "Keras, keras.models.load_model reads it"
    elif to == "torch":
        contents, what = _torch_bytes(plain, path.suffix)
    else:
        skops = require("skops.io", "scikit-learn export")
        contents, what = skops.dumps(to_sklearn(model)), "scikit-learn, skops.io.load reads it"
    write_atomically(path, contents)
    return what


def _why(plain: PlainNetwork) -> str:
    """Why an interface is double though the network is not."""
    rounds = plain.dtype == np.float32 and plain.needs_double
    return " (float32 is too coarse for features or targets so large)" if rounds else ""


def _keras_bytes(plain: PlainNetwork) -> bytes:
    """The file that Keras would write."""
    model = to_keras(plain)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        return file.read_bytes()


def _torch_bytes(plain: PlainNetwork, suffix: str) -> tuple[bytes, str]:
    """Tensors only, and the module that they belong to."""
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
