"""Model files: safetensors with the settings as JSON in the header.

Files are not trusted and nothing is unpickled: sizes are checked before memory is allocated, and
pydantic validates the settings before arrays are read.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from pydantic import ValidationError

import fastnn
from fastnn.datasets import write_atomically
from fastnn.errors import ModelFormatError
from fastnn.network import Network
from fastnn.network.spec import shortened
from fastnn.storage.schema import (
    FORMAT_VERSION,
    MAX_FILE_BYTES,
    TABLE,
    AnyDescription,
    Description,
    EnsembleDescription,
    Entry,
    arrays_of,
    checked_description,
)
from fastnn.validation import all_finite

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor
    from fastnn.network.ensemble import Ensemble
    from fastnn.tables import Encoding, TableModel

METADATA_KEY = "fastnn"
MAX_HEADER_BYTES = 16 * 2**20  # enough for more than 100,000 class names
MAX_CONTAINERS = 300_000  # lists and objects in the header, which need 30 times their text

RUN_ARRAYS = ("losses", "validation", "best_params", "front")  # of checkpoints

FORMAT_OF_MODELS = 3
_MAY_BE_INFINITE = ("validation",)
_SAFETENSORS_NAMES = {"float32": "F32", "float64": "F64"}


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


def contents_of(
    model: Network | Ensemble | MLPClassifier | MLPRegressor | TableModel,
    path: Path,
    training: dict[str, Any] | None,
    include_optimizer: bool,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Contents of a model file: plain data, and arrays, which may share memory with the model."""
    encoding: Encoding | None = getattr(model, "encoding", None)
    model = model if encoding is None else cast(Any, model).network
    network: Any = model
    own: dict[str, Any]
    if type(model).__name__ == "Ensemble":
        return _contents_of_ensemble(network, encoding, path, training)
    if isinstance(model, Network):
        own = {}
    else:
        from fastnn.estimators.fields import fields_of

        own = fields_of(network)  # raises if it is not fitted
        network = network._network()
    state = network.state if own == {} else getattr(model, "_optimizer", None)
    try:
        config = network.get_config()
    except ValueError as error:  # custom functions
        raise ModelFormatError(f"{path}: not written, {error}") from None
    arrays = network.arrays()
    if encoding is not None:
        own["table"], tables = encoding.to_state()
        arrays |= {f"{TABLE}{name}": array for name, array in tables.items()}
    if include_optimizer and state is not None and state.optimizer is not None:
        kept, moments, arrays["params"] = state.to_dict(network.params)
        own["training_state"] = {**kept, "learning_rate": getattr(state, "learning_rate", None)}
        if len(moments):
            arrays["moments"] = moments
    return {
        "format_version": FORMAT_OF_MODELS,
        "kind": type(model).__name__,
        "fastnn_version": fastnn.__version__,
        "config": config,
        "training": training or {},
        **own,
    }, arrays


def _contents_of_ensemble(
    ensemble: Ensemble, encoding: Encoding | None, path: Path, training: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Contents of the file of an ensemble; names of arrays begin with the number of the network."""
    members: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for k, (net, weight) in enumerate(zip(ensemble.networks, ensemble.weights, strict=True)):
        fields, own = contents_of(net, path, None, False)
        members.append({"config": fields["config"], "weight": float(weight)})
        arrays |= {f"{k}.{name}": array for name, array in own.items()}
    table: dict[str, Any] = {}
    if encoding is not None:
        table["table"], tables = encoding.to_state()
        arrays |= {f"{TABLE}{name}": array for name, array in tables.items()}
    return {
        "format_version": FORMAT_VERSION,
        "kind": "Ensemble",
        "fastnn_version": fastnn.__version__,
        "members": members,
        "training": training or {},
        **table,
    }, arrays


def write_contents(path: Path, fields: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Validate the result of :func:`contents_of` and write it."""
    import safetensors.numpy

    for name, array in arrays.items():
        if name not in _MAY_BE_INFINITE and not all_finite(array):
            raise ModelFormatError(f"{path}: not written, {name} is not finite")
    try:
        description = checked_description(fields)
        # absent fields are left out, since earlier versions do not know them
        text = description.model_dump_json(exclude={"table", "run"} - fields.keys())
    except ValueError as error:
        why = _explain_labels(error) or _explain(error)
        raise ModelFormatError(f"{path}: not written, {why}") from None
    # the header contains the text as a JSON string, and the names of the arrays
    length = len(json.dumps(text)) + 1000
    if length > MAX_HEADER_BYTES:
        raise ModelFormatError(
            f"{path}: not written, settings and curves take {length:,} bytes; a file may have "
            f"{MAX_HEADER_BYTES:,} of them"
        )
    data = safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        {METADATA_KEY: text},
    )
    write_atomically(path, data)


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


def read_contents(
    path: Path,
) -> tuple[AnyDescription, dict[str, np.ndarray]]:
    """Read and validate the contents of a file."""
    with _open(path) as file:
        description, size = _read_header(path, file)
        file.seek(0)
        return description, _read_arrays(path, file.read(size))


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
    path = Path(path)
    with _open(path) as file:
        return _read_header(path, file)[0]


def _open(path: Path) -> BinaryIO:
    """Open the file for reading, with a clear error for a folder."""
    if path.is_dir():
        raise IsADirectoryError(
            f"{path} is a folder; the model of a run is the file model.safetensors in it"
        )
    return open(path, "rb")


def _read_arrays(path: Path, data: bytes) -> dict[str, np.ndarray]:
    """Parse and validate the arrays in the bytes of a file.

    Peak memory is twice the size of the file: its bytes and the arrays.
    """
    import safetensors.numpy

    try:
        arrays = safetensors.numpy.load(data)
    except Exception as error:  # safetensors has its own exception types
        raise ModelFormatError(f"{path}: {_explain(error)}") from None
    for name, array in arrays.items():
        if name not in _MAY_BE_INFINITE and not all_finite(array):
            raise ModelFormatError(f"{path}: {name} is not finite")
        if name.endswith("scale") and not (array > 0).all():
            raise ModelFormatError(f"{path}: {name} is not positive")
    return arrays


def build(
    path: Path,
    description: AnyDescription,
    arrays: dict[str, np.ndarray],
    backend: str,
) -> Network | Ensemble | MLPClassifier | MLPRegressor | TableModel:
    """Build the model; an unavailable backend raises an error that does not blame the file."""
    from fastnn import backends

    backends.load(backend)
    if isinstance(description, EnsembleDescription):
        try:
            return _build_ensemble(description, arrays, backend)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelFormatError(f"{path}: {_explain(error)}") from None
    fields = description.model_dump()
    for name in RUN_ARRAYS:
        arrays.pop(name, None)
    try:
        kept, moments = fields["training_state"], arrays.pop("moments", np.empty(0))
        tables = {k.removeprefix(TABLE): arrays.pop(k) for k in [*arrays] if k.startswith(TABLE)}
        network = Network.from_config(fields["config"], arrays, backend=backend)
        arrays.clear()  # release memory, which an estimator needs
        if isinstance(description, Description):
            if kept is not None:
                network.state.resume(kept, moments, network.params)
            if description.table is not None:
                from fastnn.tables import Encoding, TableModel

                return TableModel(Encoding.from_state(description.table, tables), network)
            return network
        from fastnn import estimators
        from fastnn.estimators.fields import from_fields, resume

        model = from_fields(getattr(estimators, description.kind), fields, network, backend)
        if kept is not None:
            resume(model, kept, moments)
        if description.table is not None:
            from fastnn.tables import Encoding, TableModel

            return TableModel(Encoding.from_state(description.table, tables), model)
        return model
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFormatError(f"{path}: {_explain(error)}") from None


def _build_ensemble(
    description: EnsembleDescription, arrays: dict[str, np.ndarray], backend: str
) -> Ensemble | TableModel:
    """Build the ensemble; each array is released once its network has a copy."""
    from fastnn.network.ensemble import Ensemble

    tables = {k.removeprefix(TABLE): arrays.pop(k) for k in [*arrays] if k.startswith(TABLE)}
    by_member: dict[str, dict[str, np.ndarray]] = {}
    for name in [*arrays]:
        number, _, rest = name.partition(".")
        by_member.setdefault(number, {})[rest] = arrays.pop(name)
    networks = [
        Network.from_config(member.config.model_dump(), by_member.pop(str(k)), backend=backend)
        for k, member in enumerate(description.members)
    ]
    ensemble = Ensemble(networks, [member.weight for member in description.members])
    if description.table is None:
        return ensemble
    from fastnn.tables import Encoding, TableModel

    return TableModel(Encoding.from_state(description.table, tables), ensemble)


def _read_header(path: Path, file: Any) -> tuple[AnyDescription, int]:
    """Read and validate the description; also return the size of the file."""

    def fail(reason: str) -> ModelFormatError:
        return ModelFormatError(f"{path}: {reason}")

    size = os.fstat(file.fileno()).st_size
    if size > MAX_FILE_BYTES:
        raise fail(f"{size:,} bytes are more than a model may have ({MAX_FILE_BYTES:,})")
    start = file.read(8)
    if len(start) < 8:
        raise fail("not a model file (shorter than a header)")
    (length,) = struct.unpack("<Q", start)
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise fail(f"not a model file (a header of {length:,} bytes in {size:,})")
    try:
        header = _parse(file.read(length))
    except (ValueError, RecursionError) as error:
        raise fail(f"not a model file ({_explain(error)})") from None
    metadata = header.pop("__metadata__", None)
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and "fastnn.cnn" in metadata:
        raise fail("a convolutional network: use fastnn cnn, or fastnn.cnn.load")
    if not isinstance(text, str):
        raise fail("a safetensors file, but not one of fastnn")
    try:
        fields = _parse(text)
        version = fields.get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise fail(
                f"written in format {version}, by a newer fastnn; "
                f"this one reads up to {FORMAT_VERSION}"
            )
        description = checked_description(fields)
        entries = {name: Entry.model_validate(entry) for name, entry in header.items()}
    except ModelFormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise fail(_explain(error)) from None

    config = description.config
    needed = arrays_of(description, entries)
    if set(entries) != set(needed):
        raise fail(f"has the arrays {', '.join(sorted(entries)) or 'none'}, not the network's")
    expected = 8 + length
    for name, entry in entries.items():
        dtype, size_needed = needed[name]
        if entry.dtype != _SAFETENSORS_NAMES[dtype] or tuple(entry.shape) != (size_needed,):
            raise fail(
                f"{name} is {entry.dtype} of shape {tuple(entry.shape)}; the layer sizes "
                f"{shortened(config.layer_sizes)} need {dtype} of shape ({size_needed},)"
            )
        expected += size_needed * np.dtype(dtype).itemsize
    if size != expected:
        raise fail(f"has {size:,} bytes instead of {expected:,}")
    return description, size


def _parse(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object; NaN, infinity and repeated keys are errors."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise ValueError("a key is there twice")
        return fields

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    tokens = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(map(text.count, tokens)) > MAX_CONTAINERS:  # type: ignore[arg-type]
        raise ValueError(f"the header has more than {MAX_CONTAINERS:,} lists and objects")
    fields = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    if not isinstance(fields, dict):
        raise ValueError("the header is no JSON object")
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate, which could not be written to a file
        raise ValueError("text that is not Unicode") from None
    return fields


def _explain_labels(error: Exception) -> str | None:
    """What to do about labels that a file cannot have, such as dates; None for other faults."""
    first = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
    if first is None or not {"classes", "labels"} & set(first["loc"]):
        return None
    what = first["input"]
    if first["loc"][-1] == "dtype":
        what = f"dtype {np.dtype(what)}"
    elif "values" in first["loc"]:
        what = f"type {type(what).__name__}"
    else:
        return None
    return f"labels of {what} cannot be kept; train with numbers or texts, as y.astype(str)"


def _explain(error: Exception) -> str:
    """Describe an error in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else first["msg"]
    return str(error).strip().split("\n")[0] or type(error).__name__
