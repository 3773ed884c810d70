"""A data set in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples and targets, with a test set or a source of new samples if available.

    Attributes
    ----------
    name : str
    X : ndarray, shape (samples, features)
    y : ndarray, shape (samples,)
    task : {"classification", "regression"}
    feature_names : tuple of str
    target_name : str
    X_test, y_test : ndarray or None
        The test set; None if the data have none.
    scale : float
        Divisor of the features before training; 255 for pixels stored as bytes.
    draw : callable or None
        For synthetic data: ``draw(n, seed)`` returns ``n`` new samples ``X, y``.
    notes : tuple of str
        Decisions made while reading a file: separator, names, columns and rows left out, ...
    decimal : {".", ","}
        Decimal sign of the file.

    Examples
    --------
    >>> import fastnn
    >>> data = fastnn.datasets.load("iris")
    >>> data
    Dataset('iris', X: 150 x 4 float64, classification, target 'target')
    >>> data.feature_names[0]
    'sepal length (cm)'
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
    notes: tuple[str, ...] = ()
    decimal: str = "."

    def __repr__(self) -> str:
        """Describe the data set in one line."""
        size = " x ".join(map(str, self.X.shape))
        text = f"{self.name!r}, X: {size} {self.X.dtype}, {self.task}"
        return f"Dataset({text}, target {self.target_name!r})"

    def inputs(self, X: np.ndarray, dtype: Any = np.float32) -> np.ndarray:
        """Convert features to the input of a network: floating point, divided by ``scale``.

        Parameters
        ----------
        X : ndarray, shape (samples, features)
            ``self.X``, ``self.X_test`` or rows of them.
        dtype : numpy dtype
            Floating-point dtype of the result.

        Returns
        -------
        ndarray of ``dtype``, same shape as ``X``

        Examples
        --------
        >>> import fastnn
        >>> data = fastnn.datasets.load("iris")
        >>> data.inputs(data.X[:2]).dtype
        dtype('float32')
        """
        return scaled(X, self.scale, dtype, self.feature_names)

    def check_range(self, dtype: Any) -> None:
        """Raise ValueError, naming the column, if a value is too large for ``dtype``.

        Examples
        --------
        >>> import dataclasses
        >>> import fastnn
        >>> data = fastnn.datasets.load("iris")
        >>> data.check_range("float32")
        >>> large = dataclasses.replace(data, X=1e39 * data.X)
        >>> large.check_range("float32")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: column 'sepal length (cm)' has 5.1e+39, too large for float32 ...
        """
        check_range(self.X, dtype, self.feature_names)
        if self.task == "regression":
            check_range(self.y[:, None], dtype, [self.target_name])


def scaled(
    X: np.ndarray, scale: float, dtype: Any, names: Sequence[str] | None = None
) -> np.ndarray:
    """Return ``X / scale`` in ``dtype``, with at most one copy.

    Raises
    ------
    ValueError
        If a value is too large for ``dtype``; the message names the column, from ``names``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.datasets import scaled
    >>> scaled(np.array([[0, 51, 255]], np.uint8), 255.0, np.float32)
    array([[0. , 0.2, 1. ]], dtype=float32)
    """
    dtype = np.dtype(dtype)
    check_range(X, dtype, names)
    if scale == 1.0:
        return np.asarray(X, dtype)
    X = np.array(X, dtype)
    X /= dtype.type(scale)
    return X


def check_range(X: np.ndarray, dtype: Any, names: Sequence[str] | None = None) -> None:
    """Raise if values would overflow in ``dtype``.

    Parameters
    ----------
    X : ndarray, shape (samples, columns)
        NaN and infinities are ignored.
    dtype : numpy dtype
        Dtype in which the values must be finite.
    names : sequence of str, optional
        Names of the columns, for the message.

    Raises
    ------
    ValueError
        If a value is too large; the message names the column.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.datasets import check_range
    >>> check_range(np.array([[1e30, 1.0]]), np.float32, ["mass", "charge"])
    >>> try:
    ...     check_range(np.array([[1e39, 1.0]]), np.float32, ["mass", "charge"])
    ... except ValueError as error:
    ...     print(str(error)[:23])
    column 'mass' has 1e+39
    """
    dtype = np.dtype(dtype)
    if X.dtype.kind != "f" or X.dtype.itemsize <= dtype.itemsize or not X.size:
        return
    largest = np.finfo(dtype).max
    if max(np.fmax.reduce(X, None), -np.fmin.reduce(X, None)) <= largest:
        return
    found = np.argwhere(np.isfinite(X) & (np.abs(X) > largest))
    if not len(found):  # only infinities, which are reported as such where they matter
        return
    row, k = found[0]
    column = repr(names[k]) if names is not None else str(k)
    raise ValueError(
        f"column {column} has {X[row, k]:g}, too large for {dtype} (at most {largest:.1e}); use "
        "float64 (--dtype float64) or rescale the column"
    )
