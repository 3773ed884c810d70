"""Validation of arguments; errors name the argument, the value and what was expected."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.memory import check_memory

_SMALL = 1 << 16  # elements
BLAS_ELEMENTS = 8192  # of a scalar product that OpenBLAS computes in one thread (at most 10,000)
_WEIGHTS_EXPONENT = 40  # of two; beyond it float32 may not have the sum
_GAPS = ("NoneType", "NAType", "NaTType")

LONG = 120  # characters of a value above which messages show its type only
# Names of losses and activations in Keras, PyTorch and scikit-learn.
_ELSEWHERE = {
    "linear": "identity",
    "logistic": "sigmoid",
    "swish": "silu",
    "leakyrelu": "leaky_relu",
    "leaky-relu": "leaky_relu",
    "mse": "squared_error",
    "mean_squared_error": "squared_error",
    "mae": "absolute_error",
    "mean_absolute_error": "absolute_error",
    "categorical_crossentropy": "cross_entropy",
    "sparse_categorical_crossentropy": "cross_entropy",
    "log_loss": "cross_entropy",
    "binary_crossentropy": "binary_cross_entropy",
    "pinball": "quantile",
}


def as_integer(name: str, value: Any, low: int) -> int:
    """Convert to an int that is at least ``low``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(
            f"{name} must be a whole number of at least {low}; got {value!r}"
        ) from None
    if number < low or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number of at least {low}; got {value!r}")
    return number


def as_bool(name: str, value: Any) -> bool:
    """``value`` as bool; a text such as "no" would count as true."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise ValueError(f"{name} must be True or False; got {value!r}")


def as_real(
    name: str, value: Any, low: float, high: float = math.inf, *, low_open: bool = False
) -> float:
    """Convert to a float with ``low <= value < high``, or ``low < value`` with ``low_open``."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number < high or (low_open and number == low):
        bracket = "(" if low_open else "["
        raise ValueError(f"{name} must be a number in {bracket}{low:g}, {high:g}); got {value!r}")
    return number


def one_of(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return ``value`` if it is one of the allowed names."""
    if not isinstance(value, str) or value not in allowed:
        hint = also_called(value, allowed)
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}{hint}")
    return value


def first_few(values: list[Any]) -> str:
    """List the first values, for a message."""
    return ", ".join(map(repr, values[:5])) + (", ..." if len(values) > 5 else "")


def also_called(value: Any, allowed: Sequence[str]) -> str:
    """Hint at the end of a message if an allowed choice has another name in other libraries."""
    name = _ELSEWHERE.get(str(value).lower())
    return f", which is called {name} here" if name in allowed else ""


def as_matrix(
    name: str, value: Any, n_columns: int | None, dtype: np.dtype | None, finite: bool = True
) -> np.ndarray:
    """Convert to a C-contiguous, finite matrix of ``dtype``.

    Parameters
    ----------
    name : str
        Name of the argument in error messages.
    value : array-like, shape (samples, n_columns)
        Lists, frames, read-only or strided arrays of any real number type.
    n_columns : int or None
        None allows any width.
    dtype : numpy dtype or None
        None keeps the type and memory layout of real numbers.
    finite : bool
        Whether to check for NaN and infinity.

    Returns
    -------
    ndarray, shape (samples, n_columns)
        ``value`` itself if no conversion is needed.
    """
    # Fast path: the checks below take longer than the prediction of a small network.
    if (
        type(value) is np.ndarray
        and value.ndim == 2
        and value.shape[1] == n_columns
        and value.shape[0]
        and value.flags.c_contiguous
    ):
        given = value.dtype
        same = given is dtype or (given.kind == "f" if dtype is None else given == dtype)
        if same or (given.kind == "f" and value.size <= _SMALL):
            if not same:
                with np.errstate(over="ignore"):
                    value = value.astype(dtype)
            if finite:
                check_finite(name, value)
            return value
    array = as_array(name, value)
    if array.dtype.kind not in "fiub":
        array = _as_numbers(name, array, dtype)
    _check_shape(name, array, n_columns)
    if dtype is not None:
        if array.dtype != dtype or not array.flags.c_contiguous:
            check_memory(f"a copy of {name} as {dtype}", array.size * dtype.itemsize)
        with np.errstate(over="ignore"):  # an overflow is reported as infinity
            array = np.ascontiguousarray(array, dtype)
    if finite:
        check_finite(name, array)
    return array


def as_array(name: str, value: Any) -> np.ndarray:
    """Convert to an array of any type; raise for masked entries and sparse matrices."""
    refuse_masked(name, value)
    if hasattr(value, "toarray"):
        raise ValueError(
            f"{name} is a sparse matrix; an array is needed: {name}.toarray(). MLPClassifier and "
            "MLPRegressor train with sparse samples too"
        )
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of different lengths, tensors
        raise ValueError(f"{name} is not an array: {error}") from None


def refuse_masked(name: str, value: Any) -> None:
    """Raise if a masked array has masked entries, whose values are not valid data."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"{name} has {int(np.ma.count_masked(value)):,} masked entries; fill them "
            f"({name}.filled(value)) or leave these samples out"
        )


def check_sparse(name: str, value: Any) -> None:
    """Raise for a sparse matrix whose index arrays do not fit its shape or each other.

    SciPy does not check them fully; with others, compiled code would access other memory.
    """
    kind = getattr(value, "format", "")
    if not hasattr(value, "tocsr") or getattr(value, "ndim", 0) != 2:
        return
    wrong = f"{name} is not a valid sparse matrix: "
    if kind == "coo":
        for axis, (coords, length) in enumerate(
            zip((value.row, value.col), value.shape, strict=True)
        ):
            if len(coords) != len(value.data):
                raise ValueError(f"{wrong}{len(coords)} coordinates, {len(value.data)} values")
            _check_indices(f"{wrong}{('row', 'column')[axis]} indices", coords, length)
    elif kind in ("csr", "csc", "bsr"):
        block = getattr(value, "blocksize", (1, 1))
        rows, columns = (length // size for length, size in zip(value.shape, block, strict=True))
        starts, indices = value.indptr, value.indices
        if kind == "csc":
            rows, columns = columns, rows
        stored = min(len(indices), len(value.data))
        if len(starts) != rows + 1 or starts[0] != 0 or starts[-1] > stored:
            raise ValueError(
                f"{wrong}indptr must have {rows + 1} numbers from 0 to at most {stored}; got "
                f"{len(starts)} from {starts[0]} to {starts[-1]}"
            )
        if (starts[1:] < starts[:-1]).any():
            raise ValueError(f"{wrong}indptr must not decrease")
        _check_indices(f"{wrong}indices", indices[: starts[-1]], columns)
    elif kind == "lil":
        lengths = [
            (len(row), len(values)) for row, values in zip(value.rows, value.data, strict=True)
        ]
        if any(one != other for one, other in lengths):
            raise ValueError(f"{wrong}rows with different numbers of indices and values")
        found = [column for row in value.rows for column in row]
        _check_indices(f"{wrong}column indices", np.asarray(found, np.int64), value.shape[1])


def _check_indices(name: str, indices: np.ndarray, length: int) -> None:
    """Raise unless all indices are in [0, length)."""
    if len(indices) and not 0 <= indices.min() <= indices.max() < length:
        raise ValueError(f"{name} must be in [0, {length}); got {indices.min()} to {indices.max()}")


def refuse_dates(name: str, value: Any) -> None:
    """Raise if an array or a column of a frame has dates or durations.

    Converted to numbers they would count from 1970 in a unit that depends on the dtype.
    """
    dtypes = getattr(value, "dtypes", None)
    if dtypes is None or not hasattr(dtypes, "__iter__"):
        dtypes = [getattr(value, "dtype", None)]
    for dtype in dtypes:
        if getattr(dtype, "kind", "") in ("M", "m") or str(dtype).startswith(("Date", "Duration")):
            raise ValueError(
                f"{name} has dates ({dtype}); make numbers of them first, such as days since the "
                "first one"
            )


def refuse_missing_labels(name: str, labels: np.ndarray) -> None:
    """Raise if there are gaps among labels that are kept as objects."""
    for row, label in enumerate(labels):
        if type(label).__name__ in _GAPS or (isinstance(label, float) and label != label):
            raise ValueError(
                f"{name} has missing values, {label!r} in row {row} (counted from 0); leave these "
                "samples out"
            )


def _check_shape(name: str, array: np.ndarray, n_columns: int | None) -> None:
    """Raise unless ``array`` is (samples, n_columns) with at least one sample."""
    if array.ndim != 2:
        hint = "; use reshape(1, -1) for one sample" if array.ndim == 1 else ""
        raise ValueError(f"{name} must be 2-D (samples, features); got {array.ndim}-D{hint}")
    if array.shape[0] == 0:
        raise ValueError(f"{name} must have at least one sample; got shape {array.shape}")
    if n_columns is not None and array.shape[1] != n_columns:
        raise ValueError(f"{name} has {array.shape[1]} features; the network expects {n_columns}")


def all_finite(array: np.ndarray) -> bool:
    """Whether an array contains neither NaN nor infinity."""
    # A sum is finite only if all elements are, and needs no temporary array. Sums of finite
    # elements may overflow, which is checked below. Neither function warns of it. BLAS is faster
    # for few elements; for many it wakes threads, which busy-wait on the cores that training needs.
    if array.flags.c_contiguous and array.dtype.char in "fd":
        few = array.size <= BLAS_ELEMENTS
        total = np.vdot(array, array) if few else np.einsum("i->", array.reshape(-1))
        if math.isfinite(total):
            return True
    if array.size <= _SMALL:
        return bool(np.isfinite(array).all())
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def check_finite(name: str, array: np.ndarray) -> None:
    """Raise if an array contains NaN or infinity."""
    if not all_finite(array):
        what = "NaN" if np.isnan(array).any() else f"infinity or values beyond {array.dtype}"
        raise ValueError(f"{name} contains {what}")


def as_weights(name: str, value: Any, n_samples: int, dtype: np.dtype) -> np.ndarray:
    """Validate sample weights; None gives an empty array, which means equal weights."""
    if value is None:
        return np.empty(0, dtype)
    weights = as_array(name, value)
    if weights.dtype.kind not in "fiub":
        weights = _as_numbers(name, weights, dtype)
    if weights.shape != (n_samples,):
        raise ValueError(f"{name} must have shape ({n_samples},); got {weights.shape}")
    weights = weights.astype(np.float64)
    check_finite(name, weights)
    if (weights < 0).any():
        raise ValueError(f"{name} must not be negative; the smallest is {weights.min():g}")
    if not weights.any():
        raise ValueError(f"{name} must not be zero everywhere")
    # Losses are divided by the sum: a common factor counts only where numbers end.
    exponent = int(np.frexp(weights.max())[1])
    if abs(exponent) > _WEIGHTS_EXPONENT:
        weights = np.ldexp(weights, -exponent)
    return np.ascontiguousarray(weights, dtype)


def _as_numbers(name: str, array: np.ndarray, dtype: np.dtype | None) -> np.ndarray:
    """Convert numbers stored as objects, as in mixed frames, to ``dtype`` or float64.

    The error names the place of the first value that is not a number.
    """
    if array.dtype == object:
        try:
            return array.astype(np.float64 if dtype is None else dtype)
        except OverflowError:
            raise ValueError(f"{name} contains whole numbers beyond float64") from None
        except (TypeError, ValueError):
            if any(type(value).__name__ == "NAType" for value in array.flat):
                raise ValueError(f"{name} contains NaN (missing values, pandas.NA)") from None
        for place, value in np.ndenumerate(array):
            try:
                np.array(value, np.float64)
            except (TypeError, ValueError):
                where = f" in row {place[0]}" if place else ""
                where += f", column {place[1]}" if len(place) == 2 else ""
                where += " (counted from 0)" if place else ""
                text = repr(value)
                text = text if len(text) <= LONG else f"a value of type {type(value).__name__}"
                raise ValueError(f"{name} must be numbers; got {text}{where}") from None
    raise ValueError(f"{name} must be numbers; got dtype {array.dtype}")
