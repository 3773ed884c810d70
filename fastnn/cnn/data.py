"""Training, validation and test images of 28 by 28 bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastnn import datasets

SIDE = 28
N_VALIDATION = 5000  # the first training images of MNIST


@dataclass(frozen=True, eq=False)
class Images:
    """Images and labels of the training, validation and test sets.

    Attributes
    ----------
    name : str
    train, validation, test : tuple of ndarray
        Images (uint8, shape (images, 28, 28, 1)) and labels (int32, shape (images,)).
    """

    name: str
    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def load(name: str, data_dir: str | None = None) -> Images:
    """Load training, validation and test images.

    Parameters
    ----------
    name : {"mnist", "digits"}
    data_dir : str, optional
        Folder with the MNIST files; default as for :func:`fastnn.datasets.load`.

    Returns
    -------
    Images

    Raises
    ------
    OSError, ValueError
        If the files are absent and cannot be downloaded, or are damaged.
    """
    if name == "mnist":
        data = datasets.load("mnist", data_dir=data_dir)
        X, y, n = data.X, data.y, N_VALIDATION
        assert data.X_test is not None
        assert data.y_test is not None
        test_part = _part(data.X_test, data.y_test)
        return Images(name, _part(X[n:], y[n:]), _part(X[:n], y[:n]), test_part)
    data = datasets.load("digits")
    X = enlarged(data.X.reshape(-1, 8, 8))
    rest, test = datasets.train_test_split(data.y, 0.2, 0, stratify=True)
    train, validation = datasets.train_test_split(data.y[rest], 0.125, 0, stratify=True)
    parts = (rest[train], rest[validation], test)
    return Images(name, *(_part(X[rows], data.y[rows]) for rows in parts))


def _part(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return X.reshape(-1, SIDE, SIDE, 1), y.astype(np.int32)


def enlarged(images: np.ndarray) -> np.ndarray:
    """Images of 8 by 8 values from 0 to 16 as 28 by 28 bytes, interpolated bilinearly."""
    # Position of each new pixel centre in old pixels, and the weights of the old pixels.
    at = np.clip((np.arange(SIDE) + 0.5) * 8 / SIDE - 0.5, 0, 7)
    shares = np.maximum(1 - np.abs(at[:, None] - np.arange(8)), 0)
    return np.rint(shares @ images @ shares.T * (255 / 16)).astype(np.uint8)
