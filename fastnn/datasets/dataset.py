"""A data set in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and targets, and where held-out ones come from.

    Attributes
    ----------
    name : str
    X : ndarray, shape (samples, features)
    y : ndarray, shape (samples,)
    task : {"classification", "regression"}
    feature_names : tuple of str
    target_name : str
    X_test, y_test : ndarray or None
        The test set, where the data have one.
    scale : float
        What a network should divide the features by; 255 for pixels kept as bytes.
    draw : callable or None
        ``draw(n, seed)`` gives ``n`` fresh samples ``X, y`` of synthetic data.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    task: str
    feature_names: tuple[str, ...]
    target_name: str
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    scale: float = 1.0
    draw: Callable[[int, int], tuple[np.ndarray, np.ndarray]] | None = None

    def inputs(self, X: np.ndarray, dtype: Any = np.float32) -> np.ndarray:
        """Features as a network takes them: of a real type, divided by ``scale``.

        Parameters
        ----------
        X : ndarray
            ``self.X``, ``self.X_test`` or rows of them.
        dtype : numpy dtype

        Returns
        -------
        ndarray
        """
        return scaled(X, self.scale, dtype)


def scaled(X: np.ndarray, scale: float, dtype: Any) -> np.ndarray:
    """``X / scale`` in ``dtype``, with one copy at most."""
    if scale == 1.0:
        return np.asarray(X, dtype)
    X = np.array(X, dtype)
    X /= np.dtype(dtype).type(scale)
    return X
