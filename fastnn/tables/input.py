"""What ``fit`` and ``predict`` of the estimators for tables are given, as columns and weights."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastnn.tables.baselines import copies_of_target
from fastnn.tables.columns import Column, columns_of, without_records
from fastnn.tables.doubts import doubts
from fastnn.tables.encoding import Encoding
from fastnn.tables.missing import by_column, declare, unmatched
from fastnn.validation import refuse_masked


class TableInput:
    """Converts the arguments of an estimator for tables to columns, and warns of doubtful ones."""

    _warns_of_copies = True  # False in the command line, which makes this check before encoding

    columns: dict[str, str] | None
    missing_values: Any
    encoding_: Encoding

    def _n_classes(self) -> int:
        """Number of classes; 0 for a regression."""
        raise NotImplementedError

    def _read(self, X: Any, reset: bool) -> list[Column]:
        """Convert ``X`` to columns; check their names and their number."""
        X = without_records(X)
        is_dict = isinstance(X, dict) and not scipy.sparse.issparse(X)  # dok_matrix is a dict
        if not is_dict and not hasattr(X, "columns") and not hasattr(X, "__dataframe__"):
            if isinstance(X, (str, bytes)) or not (
                hasattr(X, "__len__") or hasattr(X, "__array__")
            ):
                raise ValueError(f"X must be a table; got {type(X).__name__}")
            array = X if isinstance(getattr(X, "dtype", None), np.dtype) else np.asarray(X)
            if array.dtype.kind not in "USO":
                options: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
                return columns_of(validate_data(self, X, reset=reset, **options))
            X = np.asarray(X, object)
        columns = columns_of(X)
        if is_dict:  # validate_data does not accept a dict
            if reset:
                self.feature_names_in_ = np.array([column.name for column in columns], object)
                self.n_features_in_ = len(columns)
        else:
            validate_data(self, X, reset=reset, skip_check_array=True)
        if not len(columns[0]):
            raise ValueError(
                f"Found array with 0 sample(s) (shape=(0, {len(columns)})) while a minimum of 1 "
                f"is required by {type(self).__name__}."
            )
        return columns

    def _declared(self, columns: list[Column]) -> list[Column]:
        """Training columns with gaps for ``missing_values``; warn of values that do not occur."""
        given = by_column(self.missing_values, [column.name for column in columns])
        for text in unmatched(columns, given):
            warnings.warn(f"missing_values: no column has the value {text!r}", stacklevel=5)
        return declare(columns, given)

    def _rows(
        self, columns: list[Column], y: Any, sample_weight: Any
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Rows of nonzero weight (None if all are), and their weights (None if all are equal)."""
        n = len(columns[0])
        if y is None:
            name = type(self).__name__
            raise ValueError(f"{name} requires y to be passed, but the target y is None")
        refuse_masked("y", y)
        if sample_weight is None:
            return None, None
        refuse_masked("sample_weight", sample_weight)
        weights = _check_sample_weight(sample_weight, np.empty((n, 1)), ensure_non_negative=True)
        rows = np.flatnonzero(weights)
        if not len(rows):
            raise ValueError("sample_weight is 0 for all samples")
        weights = weights[rows]
        if (weights == weights[0]).all():
            weights = None
        return (None if len(rows) == n else rows), weights

    def _warn_of_copies(self, columns: list[Column], targets: np.ndarray) -> None:
        """Warn of columns that are copies of the target, unless there is only one column."""
        used = [column for column in columns if column.name in set(self.encoding_.used)]
        if self._warns_of_copies:
            given = set(self.columns or ())
            for text in doubts([column for column in used if column.name not in given]):
                if text.startswith("caution: "):
                    warnings.warn(text.removeprefix("caution: "), stacklevel=5)
        if not self._warns_of_copies or len(used) < 2 or targets.shape[1] > 1:
            return
        task = "classification" if self._n_classes() else "regression"
        for name in copies_of_target(used, targets[:, 0], task):
            warnings.warn(
                f"column {name!r} determines the target (leakage); is it known when "
                f"predicting? columns={{{name!r}: 'drop'}} leaves it out",
                stacklevel=5,
            )
