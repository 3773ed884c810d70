"""Data that need no validation but of their values.

scikit-learn's validation of a row takes ten times as long as its prediction by a small network, of
a row of a DataFrame forty times.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def is_plain_vector(y: Any) -> bool:
    """Whether targets are a vector of numbers."""
    return type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iuf"


def is_plain_matrix(estimator: Any, X: Any) -> bool:
    """Whether samples are an array with the features that a fitted estimator expects."""
    fitted = estimator.__dict__
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype in (np.float64, np.float32)
        and "coefs_" in fitted
        and "feature_names_in_" not in fitted
        and X.shape[1] == fitted["n_features_in_"]
        and len(X) > 0
    )


def values_of_frame(estimator: Any, X: Any) -> np.ndarray | None:
    """Values of a DataFrame with the columns of training and only numbers; otherwise None."""
    fitted, pandas = estimator.__dict__, sys.modules.get("pandas")
    names = fitted.get("feature_names_in_")
    if pandas is None or names is None or type(X) is not pandas.DataFrame or len(X) == 0:
        return None
    if "coefs_" not in fitted or not np.array_equal(X.columns.to_numpy(), names):
        return None
    values = X.to_numpy()
    return values if values.dtype.kind in "fiu" and values.dtype.itemsize <= 8 else None
