"""The four files of MNIST: found in a folder or downloaded, and verified."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fastnn.datasets.dataset import Dataset
from fastnn.datasets.writing import private_folder, write_atomically
from fastnn.extras import require

# SHA-256 and size of the uncompressed contents: mirrors compress them differently.
MNIST_FILES = {
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        47040016,
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        60008,
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        7840016,
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        10008,
    ),
}
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://systemds.apache.org/assets/datasets/mnist/",
)


def cache_dir() -> Path:
    """Return the folder in which downloaded data are stored.

    Examples
    --------
    >>> from fastnn.datasets import cache_dir
    >>> cache_dir().is_absolute()
    True
    """
    import platformdirs

    return Path(platformdirs.user_cache_dir("fastnn"))


def load_mnist(data_dir: str | os.PathLike | None, task: str | None) -> Dataset:
    """Load 60,000 training and 10,000 test images of 28 by 28 bytes."""
    given = data_dir or os.environ.get("FASTNN_DATA_DIR")
    folders = [*([Path(given).expanduser()] if given else []), cache_dir()]
    parts = [contents_of(name, folders) for name in MNIST_FILES]
    X, y, X_test, y_test = (
        np.frombuffer(part, np.uint8, offset=16).reshape(-1, 784)
        if k % 2 == 0
        else np.frombuffer(part, np.uint8, offset=8).astype(np.int64)
        for k, part in enumerate(parts)
    )
    features = tuple(f"pixel{k}" for k in range(784))
    return Dataset(
        "mnist", X, y, task or "classification", features, "digit", X_test, y_test, 255.0
    )


def contents_of(name: str, folders: Sequence[Path]) -> bytes:
    """Contents of one of the four files, from the first folder that has it or from a mirror.

    The last folder is the cache, where a damaged file is downloaded again.
    """
    cache = folders[-1]
    for folder in folders:
        for path in _candidates(folder, name):
            if path.is_file():
                contents = checked(path.read_bytes(), name)
                if contents is not None:
                    return contents
                if folder is not cache:
                    raise ValueError(f"{path} is damaged: its contents are not MNIST's {name}")
    require("pooch", f"{name} is not in {' or '.join(map(str, folders))}; downloading it")
    reasons = []
    for mirror in MNIST_MIRRORS:
        try:
            raw = download(f"{mirror}{name}.gz")
        except Exception as error:  # pooch and requests raise many types of exceptions
            reasons.append(f"{mirror.split('/')[2]}: {type(error).__name__}")
            continue
        contents = checked(raw, name)
        if contents is None:
            reasons.append(f"{mirror.split('/')[2]}: wrong contents")
            continue
        write_atomically(private_folder(cache) / f"{name}.gz", raw)
        return contents
    raise FileNotFoundError(
        f"MNIST's {name}.gz is not in {' or '.join(map(str, folders))} and could not be "
        f"downloaded ({'; '.join(reasons)}): copy the four files (train- and t10k-, "
        "images-idx3-ubyte and labels-idx1-ubyte, gzipped or not, also written with a dot as in "
        "images.idx3-ubyte) into a folder and name it "
        "with --data-dir or FASTNN_DATA_DIR"
    )


def _candidates(folder: Path, name: str) -> Iterator[Path]:
    """Yield the paths below a folder at which archives and other packages store a file."""
    dotted = name.replace("-idx", ".idx")
    for place in (folder, folder / "raw", folder / "MNIST" / "raw"):  # as in torchvision
        for file in (name, dotted):
            yield place / file
            yield place / f"{file}.gz"
            yield place / file / file  # an unpacked archive with one folder per file


def checked(raw: bytes, name: str) -> bytes | None:
    """Return the contents, decompressed if gzipped; None if they are not those of ``name``."""
    digest, size = MNIST_FILES[name]
    if raw[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
                raw = file.read(size + 1)  # limits the decompressed size
        except (OSError, EOFError, ValueError, zlib.error):
            return None
    if len(raw) != size or hashlib.sha256(raw).hexdigest() != digest:
        return None
    return raw


def download(url: str) -> bytes:
    """Download a file and return its contents, which the caller verifies."""
    pooch = require("pooch", "downloading MNIST")
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        with tempfile.TemporaryDirectory() as folder:
            downloader = pooch.HTTPDownloader(timeout=20)
            path = pooch.retrieve(url, None, "file", folder, downloader=downloader)
            return Path(path).read_bytes()
    finally:
        logger.setLevel(level)
