"""Reading NPZ archives of NumPy arrays."""

from __future__ import annotations

import errno
import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from fastnn.datasets.table import Table


def read_npz(path: Path) -> Table:
    """Read an archive that contains ``X`` and target columns, or one array per column.

    The shapes are checked before decompression, since a small file may decompress to a huge one.
    """
    with open(path, "rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise ValueError(
                f"{path}: one array (.npy), not an archive; write one with np.savez(path, X=X, y=y)"
            )
        file.seek(0)
        try:
            with zipfile.ZipFile(file) as archive:
                members = [_name(path, info) for info in archive.infolist()]
                shapes = {name: _shape(path, archive, name) for name in members}
                _check_shapes(path, shapes)
                # next to X, arrays of other lengths, such as names, are not columns
                rows = shapes.get("X", next(iter(shapes.values()), ()))[:1]
                wanted = [name for name, shape in shapes.items() if shape[:1] == rows]
                arrays = {name: _array(archive, name) for name in wanted}
        except Exception as error:  # zipfile raises many types of exceptions for damaged files
            if str(error).startswith(f"{path}: "):
                raise
            # None and EINVAL come from seeks to invalid positions; others are disk errors
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise
            # Not NumPy's message, which suggests allow_pickle: that executes code from the file.
            raise ValueError(
                f"{path}: not a NumPy archive (.npz) of plain numbers and strings"
            ) from None
    X = arrays.pop("X", None)
    return Table(path, list(arrays), list(arrays.values()), X)


def _name(path: Path, info: zipfile.ZipInfo) -> str:
    """Name of the array that a member of the archive contains."""
    if info.flag_bits & 1:
        raise ValueError(f"{path}: {info.filename!r} is encrypted")
    if not info.filename.endswith(".npy"):
        raise ValueError(
            f"{path}: {info.filename!r} is not an array; an archive that np.savez writes has "
            "arrays (.npy) only"
        )
    return info.filename.removesuffix(".npy")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read shape, Fortran order and dtype."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _shape(path: Path, archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """Shape of an array; raises if the size of its data does not match."""
    with archive.open(f"{name}.npy") as file:
        shape, _, dtype = _header(file)
        if min(shape, default=0) < 0 or dtype.hasobject:
            raise ValueError("no array of plain numbers or strings")
        needed, there = math.prod(shape) * dtype.itemsize, archive.getinfo(f"{name}.npy").file_size
        if file.tell() + needed != there:
            raise ValueError(
                f"{path}: {name!r} is declared with shape {shape}, {needed:,} bytes; there are "
                f"{there - file.tell():,}"
            )
        return shape


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _check_shapes(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise unless ``X`` is a matrix, and ``y`` (if any) of its length; or all are columns."""
    if "X" not in shapes:
        rows = next(iter(shapes.values()), ())
        for name, shape in shapes.items():
            if len(shape) != 1 or shape != rows:
                raise ValueError(
                    f"{path}: without an array X every array must be a column of the same "
                    f"length; {name!r} has shape {shape}"
                )
        return
    shape = shapes["X"]
    if len(shape) != 2:
        raise ValueError(f"{path}: X must be 2-D (samples, features); got shape {shape}")
    if shape[0] == 0:
        raise ValueError(f"{path}: there are no rows")
    if "y" in shapes and shapes["y"][:1] != shape[:1]:
        n_targets = shapes["y"][0] if shapes["y"] else "none"
        raise ValueError(f"{path}: X has {shape[0]} rows, 'y' has {n_targets}")
