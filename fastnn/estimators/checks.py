"""Checks and error messages that name the argument where scikit-learn's do not."""

from __future__ import annotations

import functools
import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from fastnn.training.team import call_to_completion
from fastnn.validation import check_sparse, refuse_dates, refuse_masked, refuse_missing_labels

# Parts of messages of Python and other libraries about a single value.
_UNNAMED = re.compile(r"not supported between|unhashable|float\(\) argument|ScalarType")

_OF_ONE_VALUE = ("setting an array element", "could not convert")


def check_values(name: str, value: Any, is_label: bool = False) -> None:
    """Raise for masked entries, complex numbers, invalid sparse matrices, and dates as numbers."""
    if type(value) is np.ndarray and value.dtype.kind in "fiub":
        return
    refuse_masked(name, value)
    if type(value).__name__ == "LazyFrame":  # whose attributes warn
        raise ValueError(f"{name} is a lazy frame; {name}.collect() has the data")
    if getattr(getattr(value, "dtype", None), "kind", "") == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {value.dtype}")
    check_sparse(name, value)
    if is_label:
        check_labels(name, value)
    else:
        refuse_dates(name, value)


def _refuse_text_columns(name: str, frame: Any) -> None:
    """Raise if a column of a DataFrame has text that is no number; the message names it."""
    if not hasattr(frame, "columns"):
        return
    columns = [
        frame.iloc[:, k] if hasattr(frame, "iloc") else frame[name]
        for k, name in enumerate(frame.columns)
    ]
    for column in columns:
        if getattr(column.dtype, "kind", "O") != "O" or not hasattr(column, "to_list"):
            continue
        for value in column.to_list():
            if isinstance(value, str) and not _is_number(value):
                raise ValueError(
                    f"{name} has text in column {column.name!r} ({value!r}); encode it, for "
                    "example by fastnn.TableEncoder, or use TabularClassifier or TabularRegressor"
                )


def _is_number(text: str) -> bool:
    """Whether a text can be converted to a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_labels(name: str, labels: Any) -> None:
    """Raise for gaps and for labels that cannot be brought into an order.

    Only those kept as objects can be either without NumPy's knowing.
    """
    kind = getattr(getattr(labels, "dtype", None), "kind", "O")
    if hasattr(labels, "toarray") or kind != "O":
        return
    try:
        array = np.asarray(labels)
    except ValueError:  # rows of different lengths, which others refuse
        return
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype != object or array.ndim != 1:
        return
    refuse_missing_labels(name, array)
    try:
        np.unique(array)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in array})
        raise TypeError(
            f"{name} must be labels of one type that can be sorted, as numbers or texts; got "
            f"{' and '.join(kinds)}"
        ) from None


def plain_labels(y: Any) -> Any:
    """Labels in the dtype of NumPy that they have without gaps; anything else as it is.

    scikit-learn converts pandas' nullable integers and booleans to float64, in which large labels
    become equal, and refuses integers that are stored as objects.
    """
    dtype = getattr(y, "dtype", None)
    if isinstance(dtype, np.dtype):
        values = np.asarray(y)
        if dtype.kind != "O" or values.ndim != 1 or not len(values):
            return y
        kinds = set(map(type, values.tolist()))
        whole = kinds <= {bool, np.bool_} or (
            bool not in kinds and all(issubclass(kind, Integral) for kind in kinds)
        )
        plain = np.array(values.tolist()) if whole else values
        return plain if plain.dtype.kind in "iub" else y
    plain_dtype = getattr(dtype, "numpy_dtype", None)
    if plain_dtype is not None and plain_dtype.kind in "iub":
        return y if y.isna().any() else y.to_numpy(plain_dtype)
    return y


def check_classes(y: Any) -> None:
    """Raise ValueError unless targets are classes: 1-D, or 0 and 1 in several columns."""
    kind = type_of_target(y)
    if kind == "unknown" and y.dtype.kind == "O":
        raise ValueError(
            f"Unknown label type: y has objects of type {type(y.flat[0]).__name__}, not texts, "
            "whole numbers or booleans; y.astype(str) makes texts of them"
        )
    check_classification_targets(y)
    if kind == "multiclass-multioutput":
        raise ValueError(
            f"y must be 1-D labels, one per sample, or for multilabel a matrix of 0 and 1; got "
            f"shape {y.shape} with other numbers"
        )


def check_sum_of_weights(weights: Any, dtype: Any) -> None:
    """Raise if losses times weights would leave the range of ``dtype``; zero is allowed.

    Weights are not scaled, as they are for networks, because ``alpha`` is relative to their sum.
    """
    weights = np.asarray(weights)
    if weights.dtype.kind in "iuf" and weights.size and weights.min() < 0:
        raise ValueError(f"sample_weight must not be negative; the smallest is {weights.min():g}")
    limits = np.finfo(dtype)
    low, high = 1e8 * float(limits.smallest_normal), 1e-8 * float(limits.max)
    with np.errstate(over="ignore"):
        total = float(np.sum(weights, dtype=np.float64))
    if total and not low <= total <= high:
        raise ValueError(
            f"sample_weight (times class_weight) must have a sum between {low:.0e} and {high:.0e}; "
            f"got {total:.3g}; multiply all weights by a factor"
        )


def check_class_weight(weights: Any) -> None:
    """Raise ValueError unless factors of classes are numbers and not negative."""
    for label, weight in weights.items() if isinstance(weights, dict) else ():
        if not isinstance(weight, Real) or not 0 <= float(weight) < math.inf:
            raise ValueError(
                f"class_weight[{label!r}] must be a number in [0, inf); got {weight!r}"
            )


def validate_parameters_once(method: Callable) -> Callable:
    """Decorator of ``partial_fit``: scikit-learn's context of a fit, for the first call only.

    scikit-learn's own skips the validation of later calls too, but then takes 50 us.
    """
    first = _fit_context(prefer_skip_nested_validation=True)(method)

    @functools.wraps(method)
    def partial_fit(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        call = method if "coefs_" in estimator.__dict__ else first
        return call(estimator, *args, **kwargs)

    return partial_fit


def exclusive_fit(estimator: Any) -> threading.Lock:
    """Context of a fit; an error if the estimator is already being fitted.

    The context is the lock itself, so that Ctrl-C cannot come between acquiring and releasing it.
    """
    lock: threading.Lock = estimator.__dict__.setdefault("_fit_lock", threading.Lock())
    if lock.locked():
        raise RuntimeError(
            "this estimator is being fitted already, in another thread or around this callback; "
            "fit a clone of it (sklearn.base.clone)"
        )
    return lock


class RollbackOnError:
    """Context that sets attributes; after an error or Ctrl-C the earlier ones are put back.

    Only the attributes themselves: arrays that are changed in place stay changed. After
    :meth:`keep`, nothing is put back.

    Parameters
    ----------
    estimator : object
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator, self.before, self.kept = estimator, estimator.__dict__.copy(), False

    def __enter__(self) -> RollbackOnError:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None and not self.kept:
            call_to_completion(self._restore)

    def keep(self, kept: bool = True) -> None:
        """Keep the attributes whatever happens from now on."""
        self.kept = kept

    def _restore(self) -> None:
        self.estimator.__dict__ = self.before


@contextmanager
def name_in_errors(what: str, frame: Any = None) -> Iterator[None]:
    """Context in which conversion errors become ValueError or TypeError that name ``what``.

    If ``frame`` is a DataFrame with text, they name its column.
    """
    try:
        yield
    except (OverflowError, RuntimeError, ValueError) as error:
        if type(error).__name__ == "DuplicateError":  # of narwhals, by which scikit-learn reads
            said = " ".join(str(error).split())
            raise ValueError(f"X has columns of the same name: {said}") from None
        if isinstance(error, ValueError) and not str(error).startswith(_OF_ONE_VALUE):
            raise
        _refuse_text_columns("X", frame)
        raise ValueError(f"{what} cannot be converted to numbers: {error}") from None
    except TypeError as error:
        if not _UNNAMED.search(str(error)):
            raise
        raise TypeError(f"{what} has values of a wrong type or of several types: {error}") from None
