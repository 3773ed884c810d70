"""Predictions for sparse samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.backends import codes
from fastnn.backends.tuning import tuning
from fastnn.network.prediction import Predictor
from fastnn.validation import check_finite, check_sparse


def is_sparse(X: Any) -> bool:
    """Whether X is a SciPy sparse matrix or array, determined without importing SciPy."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def as_rows(X: Any, n_features: int) -> Any:
    """Validate sparse samples, except for NaN and infinity, and convert them to CSR format."""
    if X.ndim != 2:
        raise ValueError(f"X must be 2-D (samples, features); got {X.ndim}-D")
    if X.shape[0] == 0:
        raise ValueError(f"X must have at least one sample; got shape {X.shape}")
    if X.shape[1] != n_features:
        raise ValueError(f"X has {X.shape[1]} features; the network expects {n_features}")
    if X.dtype.kind not in "fiub":
        raise ValueError(f"X must be real numbers; got dtype {X.dtype}")
    check_sparse("X", X)
    return X.tocsr()


def sparse_outputs(
    predictor: Predictor,
    X: Any,
    transform: bool,
    n_threads: int | None,
    inputs: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Return predictions, or net inputs of the output layer unless ``transform``.

    Parameters
    ----------
    predictor : Predictor
    X : sparse matrix or array in CSR format, shape (samples, features)
    transform : bool
    n_threads : int or None
        As for :class:`fastnn.network.prediction.Predictor`.
    inputs : callable, optional
        Function applied to dense samples before the network, such as standardisation. If given,
        or if X is not sparse enough, X is converted to dense arrays piece by piece. Otherwise
        SciPy multiplies X by the weights of the first layer.

    Returns
    -------
    ndarray, shape (samples, outputs)
    """
    model, limits = predictor.model, tuning()
    samples, features = X.shape
    units = model.plan.first_layer[1]
    predict_part: _SparsePredictor | _DensePredictor
    if inputs is None and X.nnz <= limits.sparse_product_density * samples * features:
        predict_part, width = _SparsePredictor(predictor), units
    else:
        predict_part, width = _DensePredictor(predictor, inputs), features
    step = max(1, limits.dense_bytes // (width * model.dtype.itemsize))
    parts = [
        predict_part(X[start : start + step], transform, n_threads)
        for start in range(0, samples, step)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class _DensePredictor:
    """Predict for rows converted to a dense array."""

    def __init__(
        self, predictor: Predictor, inputs: Callable[[np.ndarray], np.ndarray] | None
    ) -> None:
        self.predictor, self.inputs = predictor, inputs

    def __call__(self, X: Any, transform: bool, n_threads: int | None) -> np.ndarray:
        x = X.toarray()
        x = x.astype(self.predictor.model.dtype) if self.inputs is None else self.inputs(x)
        return self.predictor(x, transform, n_threads)


class _SparsePredictor:
    """Predict for sparse rows: SciPy multiplies the first layer, the kernels do the rest."""

    def __init__(self, predictor: Predictor) -> None:
        self.model, self.other_layers = predictor.model, None
        if len(self.model.weights) > 1:
            self.other_layers = Predictor(predictor.spec, self.model.without_first_layer())

    def __call__(self, X: Any, transform: bool, n_threads: int | None) -> np.ndarray:
        model = self.model
        with np.errstate(over="ignore"):  # an overflow is reported as infinity
            X = X.astype(model.dtype, copy=False)
        check_finite("X", X.data)
        z = X @ model.weights[0]
        z += model.biases[0]
        if self.other_layers is None:
            z = np.ascontiguousarray(z.T)
            if transform:
                model.transform(z)
            return np.ascontiguousarray(z.T)
        activation, alpha = model.plan.layers[0, codes.ACTIVATION], model.plan.constants[0]
        model.kernels.activation_forward(z, activation, alpha, z)
        return self.other_layers(z, transform, n_threads)
