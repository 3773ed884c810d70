"""Bytes of model files: writing, and reading with checks of header and arrays."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import ValidationError

from fastnn.datasets import write_atomically
from fastnn.errors import ModelFormatError
from fastnn.network.spec import shortened
from fastnn.storage.arrays import Entry, arrays_of
from fastnn.storage.schema import FORMAT_VERSION, AnyDescription, checked_description
from fastnn.storage.schema_config import MAX_FILE_BYTES
from fastnn.validation import all_finite

METADATA_KEY = "fastnn"
MAX_HEADER_BYTES = 16 * 2**20  # enough for more than 100,000 class names
MAX_CONTAINERS = 300_000  # lists and objects in the header, which need 30 times their text

_MAY_BE_INFINITE = ("validation",)
_SAFETENSORS_NAMES = {"float32": "F32", "float64": "F64"}


def write_contents(path: Path, fields: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Validate the contents of a model file and write it."""
    import safetensors.numpy

    for name, array in arrays.items():
        if name not in _MAY_BE_INFINITE and not all_finite(array):
            raise ModelFormatError(f"{path}: not written, {name} is not finite")
    try:
        description = checked_description(fields)
        # absent fields are left out, since earlier versions do not know them
        text = description.model_dump_json(exclude={"table", "run"} - fields.keys())
    except ValueError as error:
        why = _explain_labels(error) or explain(error)
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


def read_contents(
    path: Path,
) -> tuple[AnyDescription, dict[str, np.ndarray]]:
    """Read and validate the contents of a file."""
    with _open(path) as file:
        description, size = _read_header(path, file)
        file.seek(0)
        return description, _read_arrays(path, file.read(size))


def read_description(path: Path) -> AnyDescription:
    """Read and validate the description in the header of a file, without reading arrays."""
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
        raise ModelFormatError(f"{path}: {explain(error)}") from None
    for name, array in arrays.items():
        if name not in _MAY_BE_INFINITE and not all_finite(array):
            raise ModelFormatError(f"{path}: {name} is not finite")
        if name.endswith("scale") and not (array > 0).all():
            raise ModelFormatError(f"{path}: {name} is not positive")
    return arrays


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
    if start.isascii() and start.decode().isprintable():
        raise fail("not a model file, but text")
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise fail(f"not a model file (a header of {length:,} bytes in {size:,})")
    try:
        header = _parse(file.read(length))
    except (ValueError, RecursionError) as error:
        raise fail(f"not a model file ({explain(error)})") from None
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
        raise fail(explain(error)) from None

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
            raise ValueError("a key occurs twice")
        return fields

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    tokens = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(map(text.count, tokens)) > MAX_CONTAINERS:  # type: ignore[arg-type]
        raise ValueError(f"the header has more than {MAX_CONTAINERS:,} lists and objects")
    fields = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    if not isinstance(fields, dict):
        raise ValueError("the header is not a JSON object")
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
    return f"labels of {what} cannot be stored; train with numbers or texts, as y.astype(str)"


def explain(error: Exception) -> str:
    """Describe an error in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else first["msg"]
    return str(error).strip().split("\n")[0] or type(error).__name__
