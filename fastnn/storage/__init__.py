"""Model files: safetensors with the settings as JSON in the header.

Files are not trusted and nothing is unpickled: sizes are checked before memory is allocated, and
pydantic validates the settings before arrays are read. ``files.py`` reads and writes the files,
``models.py`` converts between their contents and models.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastnn.errors import ModelFormatError
from fastnn.storage.files import read_contents, read_description, write_contents
from fastnn.storage.models import FORMAT_OF_MODELS, build, contents_of
from fastnn.storage.schema import (
    FORMAT_VERSION,
    AnyDescription,
    Description,
    EnsembleDescription,
    EstimatorDescription,
)

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor
    from fastnn.network import Network
    from fastnn.network.ensemble import Ensemble
    from fastnn.tables import TableModel

__all__ = [
    "FORMAT_OF_MODELS",
    "FORMAT_VERSION",
    "AnyDescription",
    "Description",
    "EnsembleDescription",
    "EstimatorDescription",
    "ModelFormatError",
    "describe",
    "load",
    "save",
]


def save(
    model: Network | Ensemble | MLPClassifier | MLPRegressor | TableModel,
    path: str | os.PathLike,
    *,
    training: dict[str, Any] | None = None,
    include_optimizer: bool = False,
) -> None:
    """Write a model file, atomically.

    Parameters
    ----------
    model : Network, Ensemble, MLPClassifier, MLPRegressor or TableModel
        Estimators must be fitted. A RandomState (but not an int) and a function as ``scoring`` are
        not saved.
    path : path
        By convention with the extension ``.safetensors``.
    training : dict, optional
        Plain data (JSON) about the training, to be stored in the header.
    include_optimizer : bool, default=False
        Also save update rule, moments and counters, to continue the training from the file.

    Raises
    ------
    ModelFormatError
        If the parameters are not finite, the labels are neither numbers nor strings, or the model
        has a custom activation or loss.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> fastnn.storage.save(net, "net.safetensors", training={"features": ["x", "y"]})
    >>> fastnn.storage.describe("net.safetensors").training
    {'features': ['x', 'y']}
    """
    path = Path(path)
    write_contents(path, *contents_of(model, path, training, include_optimizer))


def load(
    path: str | os.PathLike, backend: str = "auto"
) -> Network | Ensemble | MLPClassifier | MLPRegressor | TableModel:
    """Load a model from a model file.

    Parameters
    ----------
    path : path
        Path of the model file.
    backend : {"auto", "cython", "numba", "numpy"}
        Backend of the loaded model.

    Returns
    -------
    Network, Ensemble, MLPClassifier, MLPRegressor or TableModel
        A model of the class that was saved.

    Raises
    ------
    ModelFormatError
        If the file is damaged, inconsistent or not a fastnn model file.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> net.save("net.safetensors")
    >>> fastnn.load("net.safetensors").predict([[0.0, 1.0]]) == net.predict([[0.0, 1.0]])
    array([ True])
    """
    return build(Path(path), *read_contents(Path(path)), backend)


def describe(path: str | os.PathLike) -> AnyDescription:
    """Read the description in the header of a model file, without reading arrays.

    Parameters
    ----------
    path : path
        Path of the model file.

    Returns
    -------
    Description, EstimatorDescription or EnsembleDescription

    Raises
    ------
    ModelFormatError
        If the file is damaged, inconsistent or not a fastnn model file.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> net.save("net.safetensors")
    >>> fastnn.storage.describe("net.safetensors").config.layer_sizes
    [2, 3, 2]
    """
    return read_description(Path(path))
