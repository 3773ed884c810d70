"""Recording which rows of a file a network was trained with, and finding these rows again.

The model file contains a digest of the data file and a mask of the held-out rows. The run folder
also contains a fingerprint of every training row (``rows.npz``). The fingerprints identify the
training rows in a file that has changed: rows added, removed or reordered.
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
_VERSION = 1  # version of the fingerprints


class KnownRows(NamedTuple):
    """Information in a model file about the rows of its data.

    Attributes
    ----------
    sha256 : str
        Digest of the data file.
    held_out : ndarray of bool, shape (rows,)
        Mask of the held-out rows.
    """

    sha256: str
    held_out: np.ndarray


class RowsOfRun(NamedTuple):
    """Information that a run stores about the rows of its data; empty for built-in data.

    Attributes
    ----------
    description : dict
        Entry for the model file: ``rows``, with the digest of the data file, the number of rows,
        and the mask of the held-out rows (packed bits, zlib, base64).
    trained : ndarray of uint64, shape (training rows,), or None
        Sorted fingerprints of the training rows.
    """

    description: dict[str, Any]
    trained: np.ndarray | None

    @classmethod
    def of(
        cls, dataset: Dataset, data: str, train_rows: np.ndarray, test_rows: np.ndarray
    ) -> RowsOfRun:
        """Create the information for a new run; ``data`` is a built-in name or a path."""
        if data in BUILT_IN:
            return cls({}, None)
        mask = np.zeros(len(dataset.X), bool)
        mask[test_rows] = True
        packed = base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode("ascii")
        kept = {"sha256": digest(data), "samples": len(mask), "held_out": packed}
        return cls({"rows": kept}, np.sort(fingerprints(dataset)[train_rows]))

    def write(self, folder: Path) -> list[str]:
        """Write the fingerprints into the run folder; return the names of the files written."""
        if self.trained is None:
            (folder / ROWS_FILE).unlink(missing_ok=True)  # left by an overwritten run
            return []
        contents = io.BytesIO()
        np.savez(contents, version=_VERSION, trained=self.trained)
        write_atomically(folder / ROWS_FILE, contents.getvalue())
        return [ROWS_FILE]


def known_rows(training: Mapping[str, Any]) -> KnownRows | None:
    """Read the information from a model file; None if it is absent or invalid.

    Model files of earlier versions do not contain it.
    """
    try:
        kept = training["rows"]
        n_rows = int(kept["samples"])
        if n_rows < 0:
            return None
        size = -(-n_rows // 8)
        # limit the decompressed size: the file may come from an untrusted source
        packed = zlib.decompressobj().decompress(base64.b64decode(kept["held_out"]), size + 1)
        if len(packed) != size:
            return None
        mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=n_rows).astype(bool)
        return KnownRows(str(kept["sha256"]), mask)
    except (KeyError, TypeError, ValueError, zlib.error):
        return None


def digest(path: str) -> str:
    """Return the SHA-256 of a file as a hexadecimal string."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rows_of_training(model: Path, dataset: Dataset) -> np.ndarray | None:
    """Return the mask of the rows that the network was trained with.

    Parameters
    ----------
    model : Path
        The model file; the fingerprints are in the same folder.
    dataset : Dataset

    Returns
    -------
    ndarray of bool, shape (rows,), or None
        None if there are no fingerprints. Of several identical rows, as many are marked as the
        training data contained.
    """
    path = model.parent / ROWS_FILE
    if model.name != MODEL_FILE or not path.is_file():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
            if int(kept["version"]) != _VERSION:
                return None
            trained = np.sort(np.asarray(kept["trained"], np.uint64))
    except Exception as error:  # a damaged archive can raise many types of exceptions
        raise ValueError(f"{path}: not the rows of a run ({type(error).__name__})") from None
    prints = fingerprints(dataset)
    order = np.argsort(prints, kind="stable")
    ordered = prints[order]
    # For each row: the number of equal rows before it, and their number in the training data.
    before = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    had = np.searchsorted(trained, ordered, "right") - np.searchsorted(trained, ordered)
    found = np.empty(len(prints), bool)
    found[order] = before < had
    return found


def fingerprints(dataset: Dataset) -> np.ndarray:
    """Compute a 64-bit hash of the features and the target of each row.

    Returns
    -------
    ndarray of uint64, shape (rows,)
    """
    total = _labels(dataset.y)
    for k in range(dataset.X.shape[1]):
        total = mix(total ^ _bits(dataset.X[:, k]))
    return total


def _bits(values: np.ndarray) -> np.ndarray:
    """Bit patterns of float64 values; -0.0 and 0.0 have the same one."""
    return (np.asarray(values, np.float64) + 0.0).view(np.uint64)


def _labels(y: np.ndarray) -> np.ndarray:
    """Targets as 64-bit integers: a hash of the label, or the bits of a float."""
    if y.dtype.kind == "f":
        return _bits(y)
    labels, which = np.unique(y, return_inverse=True)
    digests = [hashlib.blake2b(str(label).encode(), digest_size=8).digest() for label in labels]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)[which]
