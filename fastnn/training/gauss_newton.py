"""Objective over all samples, with its gradient and Gauss-Newton matrix, in float64."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fastnn.backends import codes
from fastnn.backends.model import Model

LOSSES = ("squared_error", "huber", "poisson", "cross_entropy", "binary_cross_entropy")
_PIECE_BYTES = 1 << 21  # size of a piece of the Jacobian, so that it fits the cache


class Objective:
    """Mean loss over all samples, with gradient and Gauss-Newton matrix, in float64.

    Parameters
    ----------
    model : Model
        In float64, without dropout. Every call overwrites its parameters.
    x : ndarray of float64, shape (samples, features)
    targets : ndarray of float64, shape (samples, 1 or outputs)
    weights : ndarray of float64, shape (samples,) or (0,)

    Attributes
    ----------
    n_residuals : int
        Number of residuals of a regression: outputs of all samples with non-zero weight.
    """

    def __init__(
        self, model: Model, x: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> None:
        self.model, self.x, self.targets, self.weights = model, x, targets, weights
        self._columns = np.ascontiguousarray(x.T), np.ascontiguousarray(targets.T)
        self._grads = model.plan.gradient_groups(model.dtype)
        total = float(weights.sum()) if len(weights) else float(len(x))
        self.scale = 1.0 / total if total > 0 else 0.0
        self.n_outputs = int(model.plan.layers[-1, codes.FAN_OUT])
        counted = int(np.count_nonzero(weights)) if len(weights) else len(x)
        self.n_residuals = counted * self.n_outputs
        self.n_params = model.plan.n_params
        vectors = 1 if model.loss == codes.CROSS_ENTROPY and self.n_outputs == 2 else self.n_outputs
        fitting = _PIECE_BYTES // (8 * self.n_params * vectors) // 64 * 64
        self._piece = min(max(fitting, 128), len(x))
        self._rows = np.empty(self.n_params * vectors * self._piece)
        self._matrix = np.zeros((self.n_params, self.n_params), order="F")

    def loss_and_gradient(self, params: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean loss, without the L2 penalty, and its gradient."""
        self.model.params[:] = params
        x, targets = self._columns
        loss = self.model.loss_and_grad(x, targets, self.weights, 0.0, self._grads)
        return float(loss), self._grads[0].copy()

    def curvature(self, params: np.ndarray) -> np.ndarray:
        """Gauss-Newton matrix of the mean loss; only the lower triangle is set.

        The matrix is the sum over the samples of ``J.T h J``, where h is the Hessian of the loss
        with respect to the outputs. It is computed as ``R R.T``, with one row of R per parameter.
        The next call overwrites the returned array.
        """
        from scipy.linalg import blas

        self.model.params[:] = params
        self._matrix.fill(0.0)
        for rows in self._pieces():
            # R is (n_params, n) in C order, so BLAS takes its transpose without a copy
            self._matrix = blas.dsyrk(
                1.0, rows.T, beta=1.0, c=self._matrix, trans=1, lower=1, overwrite_c=1
            )
        return self._matrix

    def _pieces(self) -> Iterator[np.ndarray]:
        """Yield R, ``(n_params, n)``, for one piece of the samples after the other."""
        for first in range(0, len(self.x), self._piece):
            part = slice(first, first + self._piece)
            x = self.x[part]
            vectors = self._vectors(x, part)
            shape = self.n_params, vectors.shape[1], len(x)
            rows = self._rows[: math.prod(shape)].reshape(shape)
            self.model.sample_gradients(x, vectors, rows)
            yield rows.reshape(self.n_params, -1)

    def _vectors(self, x: np.ndarray, part: slice) -> np.ndarray:
        """Columns of a square root of the loss's Hessian h, ``(samples or 1, n, outputs)``.

        h is the Hessian with respect to the outputs. For cross-entropy it is
        ``diag(p) - p p.T``, the sum over the classes r of the outer products of
        ``sqrt(p_r) (e_r - p)`` with itself.
        """
        model, eye = self.model, np.eye(self.n_outputs)
        if model.loss == codes.SQUARED_ERROR:
            roots = eye[None]
        else:
            z = np.empty((len(x), self.n_outputs))
            model.forward(x, False, z)
            if model.loss == codes.HUBER:
                distance = np.abs(z - self.targets[part])
                delta = float(model.plan.constants[-1])
                factors = np.minimum(1.0, delta / np.maximum(distance, delta))
            else:
                p = np.ascontiguousarray(z.T)
                model.transform(p)
                p = p.T
                factors = p * (1.0 - p) if model.loss == codes.BINARY_CROSS_ENTROPY else p
            if model.loss != codes.CROSS_ENTROPY:
                roots = np.sqrt(factors)[:, :, None] * eye
            elif self.n_outputs == 2:
                roots = np.sqrt(p[:, :1] * p[:, 1:])[:, :, None] * np.array([1.0, -1.0])
            else:
                roots = np.sqrt(p)[:, :, None] * (eye - p[:, None, :])
        weights = self.weights[part, None, None] if len(self.weights) else 1.0
        return np.ascontiguousarray(roots * np.sqrt(weights * self.scale))
