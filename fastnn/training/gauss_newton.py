"""An objective over all samples, its gradient and its Gauss-Newton matrix, in float64."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fastnn.backends import codes
from fastnn.backends.model import Model

LOSSES = ("squared_error", "huber", "poisson", "cross_entropy", "binary_cross_entropy")
_PIECE_BYTES = 1 << 21  # of rows of the Jacobian at a time: they stay in the cache


class Objective:
    """Mean loss and L2 over all samples, with gradient and Gauss-Newton matrix, in float64.

    Parameters
    ----------
    model : Model
        In float64, without dropout; its parameters are those of the latest call.
    x : ndarray of float64, shape (samples, features)
    targets : ndarray of float64, shape (samples, 1 or outputs)
    weights : ndarray of float64, shape (samples,) or (0,)

    Attributes
    ----------
    n_residuals : int
        Numbers that a regression fits: outputs of all samples whose weight is not zero.
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
        """Mean loss, without L2, and its gradient."""
        self.model.params[:] = params
        x, targets = self._columns
        loss = self.model.loss_and_grad(x, targets, self.weights, 0.0, self._grads)
        return float(loss), self._grads[0].copy()

    def curvature(self, params: np.ndarray) -> np.ndarray:
        """Gauss-Newton matrix of the mean loss: the lower triangle, overwritten by the next call.

        The sum over the samples of ``J.T h J`` with the second derivative h of the loss by the
        outputs, as ``R R.T`` with a row of R for each parameter.
        """
        from scipy.linalg import blas

        self.model.params[:] = params
        self._matrix.fill(0.0)
        for rows in self._pieces():
            # R is (n_params, n) in C order: its transpose is what BLAS takes without a copy
            self._matrix = blas.dsyrk(
                1.0, rows.T, beta=1.0, c=self._matrix, trans=1, lower=1, overwrite_c=1
            )
        return self._matrix

    def _pieces(self) -> Iterator[np.ndarray]:
        """Rows R of some samples after the other, ``(n_params, n)``."""
        for first in range(0, len(self.x), self._piece):
            part = slice(first, first + self._piece)
            x = self.x[part]
            vectors = self._vectors(x, part)
            shape = self.n_params, vectors.shape[1], len(x)
            rows = self._rows[: math.prod(shape)].reshape(shape)
            self.model.sample_gradients(x, vectors, rows)
            yield rows.reshape(self.n_params, -1)

    def _vectors(self, x: np.ndarray, part: slice) -> np.ndarray:
        """Columns of a root of the second derivatives by outputs, ``(samples or 1, n, outputs)``.

        For cross-entropy ``diag(p) - p p.T``, which is the sum over the classes r of the products
        of ``sqrt(p_r) (e_r - p)`` with itself.
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
