"""Which rows of a file a network was trained with, kept with the run and found again.

The model file has a digest of the data file and which of its rows were held out. The run folder has
a fingerprint of every row of training beside it (``rows.npz``), by which they are found in a file
that has changed: rows were added or removed, or are in another order.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.backends.numpy.random import mix
from fastnn.cli.runs import MODEL_FILE
from fastnn.datasets import BUILT_IN, write_atomically

if TYPE_CHECKING:
    from fastnn.datasets import Dataset

ROWS_FILE = "rows.npz"
_VERSION = 1  # of the fingerprints


class Known(NamedTuple):
    """What a model file says about the rows of its data.

    Attributes
    ----------
    sha256 : str
        Of the file.
    held_out : ndarray of bool, shape (rows,)
    """

    sha256: str
    held_out: np.ndarray


class RowsOfRun(NamedTuple):
    """What a run keeps about the rows of its data; nothing of built-in ones.

    Attributes
    ----------
    description : dict
        For the model file: ``rows`` with digest, number and held-out rows, as bits.
    trained : ndarray of uint64, shape (training rows,), or None
        Fingerprints.
    """

    description: dict[str, Any]
    trained: np.ndarray | None

    @classmethod
    def of(
        cls, dataset: Dataset, data: str, train_rows: np.ndarray, test_rows: np.ndarray
    ) -> RowsOfRun:
        """Those of a run that is about to begin; ``data`` is a built-in name or a path."""
        if data in BUILT_IN:
            return cls({}, None)
        mask = np.zeros(len(dataset.X), bool)
        mask[test_rows] = True
        packed = base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode("ascii")
        kept = {"sha256": digest(data), "samples": len(mask), "held_out": packed}
        return cls({"rows": kept}, np.sort(fingerprints(dataset)[train_rows]))

    def write(self, folder: Path) -> list[str]:
        """Write the fingerprints into a run's folder; returns the names of the files."""
        if self.trained is None:
            (folder / ROWS_FILE).unlink(missing_ok=True)  # of a run that was overwritten
            return []
        contents = io.BytesIO()
        np.savez(contents, version=_VERSION, trained=self.trained)
        write_atomically(folder / ROWS_FILE, contents.getvalue())
        return [ROWS_FILE]


def known_rows(training: Mapping[str, Any]) -> Known | None:
    """What a model file kept; None if it is of an earlier version, or makes no sense."""
    try:
        kept = training["rows"]
        n_rows = int(kept["samples"])
        if n_rows < 0:
            return None
        size = -(-n_rows // 8)
        # never more than is expected: the file may come from anywhere
        packed = zlib.decompressobj().decompress(base64.b64decode(kept["held_out"]), size + 1)
        if len(packed) != size:
            return None
        mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=n_rows).astype(bool)
        return Known(str(kept["sha256"]), mask)
    except (KeyError, TypeError, ValueError, zlib.error):
        return None


def digest(path: str) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rows_of_training(model: Path, dataset: Dataset) -> np.ndarray | None:
    """Which rows of some data the network was trained with.

    Parameters
    ----------
    model : Path
        The model file; the fingerprints lie next to it.
    dataset : Dataset

    Returns
    -------
    ndarray of bool, shape (rows,), or None
        None without fingerprints. Of rows that are equal in everything, as many are marked as
        training had.
    """
    path = model.parent / ROWS_FILE
    if model.name != MODEL_FILE or not path.is_file():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
            if int(kept["version"]) != _VERSION:
                return None
            trained = np.sort(np.asarray(kept["trained"], np.uint64))
    except Exception as error:  # whatever a damaged archive makes of itself
        raise ValueError(f"{path}: not the rows of a run ({type(error).__name__})") from None
    prints = fingerprints(dataset)
    order = np.argsort(prints, kind="stable")
    ordered = prints[order]
    # How many equal rows stand before each, and how many training had of it.
    before = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    had = np.searchsorted(trained, ordered, "right") - np.searchsorted(trained, ordered)
    found = np.empty(len(prints), bool)
    found[order] = before < had
    return found


def fingerprints(dataset: Dataset) -> np.ndarray:
    """A number for each row that hardly any other row shares, of features and target.

    Returns
    -------
    ndarray of uint64, shape (rows,)
    """
    total = _labels(dataset.y)
    for k in range(dataset.X.shape[1]):
        total = mix(total ^ _bits(dataset.X[:, k]))
    return total


def _bits(values: np.ndarray) -> np.ndarray:
    """Numbers as integers of 64 bits; the two zeros are one."""
    return (np.asarray(values, np.float64) + 0.0).view(np.uint64)


def _labels(y: np.ndarray) -> np.ndarray:
    """Targets as integers of 64 bits: a digest of a label's text, or the bits of a number."""
    if y.dtype.kind == "f":
        return _bits(y)
    labels, which = np.unique(y, return_inverse=True)
    digests = [hashlib.blake2b(str(label).encode(), digest_size=8).digest() for label in labels]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)[which]
