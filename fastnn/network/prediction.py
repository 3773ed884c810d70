"""Predictions: forward by blocks, shared between threads; loss and score of checked data."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np

from fastnn.backends.model import Model
from fastnn.backends.tuning import tuning
from fastnn.memory import SMALL, check_memory
from fastnn.network.spec import NetworkSpec
from fastnn.training.blas import limited_blas
from fastnn.training.pool import is_worker, run_pieces
from fastnn.training.threads import default_threads
from fastnn.validation import check_finite


class Predictor:
    """Predictions of a model.

    Parameters
    ----------
    spec : NetworkSpec
    model : Model
        Its parameters are read at each call.
    """

    def __init__(self, spec: NetworkSpec, model: Model) -> None:
        self.spec, self.model, self.n_outputs = spec, model, spec.n_outputs
        # From this many samples on predictions may be shared between threads.
        self.shared_from = sys.maxsize
        if model.is_threaded:
            two_threads = -(-4 * tuning().waking_work // model.plan.n_params)
            self.shared_from = max(2 * model.plan.block, two_threads)
        # Fewer are one call of the kernels, whose result takes little memory.
        self.many_from = min(self.shared_from, SMALL // (spec.n_outputs * model.dtype.itemsize))

    def __call__(self, x: np.ndarray, transform: bool, n_threads: int | None) -> np.ndarray:
        """Predictions, or net inputs unless ``transform``.

        Parameters
        ----------
        x : ndarray, shape (samples, features)
            C-contiguous and of the model's dtype.
        transform : bool
        n_threads : int or None
            Most threads; None for :func:`fastnn.training.threads.default_threads`.

        Returns
        -------
        ndarray, shape (samples, outputs)

        Raises
        ------
        ValueError
            If ``x`` has NaN or infinities.
        """
        if len(x) >= self.many_from:
            return self._many(x, transform, n_threads)
        out = np.empty((len(x), self.n_outputs), self.model.dtype)
        if not self.model.forward(x, transform, out):
            check_finite("X", x)
        return out

    def _many(self, x: np.ndarray, transform: bool, n_threads: int | None) -> np.ndarray:
        """Many samples: there must be memory, and several threads may pay."""
        n_bytes = len(x) * self.n_outputs * self.model.dtype.itemsize
        check_memory(f"X with {len(x):,} rows, of {self.n_outputs:,} outputs each,", n_bytes)
        out = np.empty((len(x), self.n_outputs), self.model.dtype)

        def run(rows: slice) -> bool:
            return self.model.forward(x[rows], transform, out[rows])

        if not self.in_pieces(run, len(x), 1, n_threads):
            check_finite("X", x)
        return out

    def in_pieces(
        self, run: Callable[[slice], bool], samples: int, passes: int, n_threads: int | None
    ) -> bool:
        """Whether ``run`` gives True for all samples, by several threads where these are many.

        Each takes whole blocks, so that no bit depends on how many there are.

        Parameters
        ----------
        run : callable
            Takes some consecutive samples, a slice.
        samples : int
        passes : int
            Work for a sample, in passes through all layers.
        n_threads : int or None
            Most threads; None for :func:`fastnn.training.threads.default_threads`.
        """
        model, limits = self.model, tuning()
        if samples * passes < self.shared_from or samples < 2 * model.plan.block:
            return run(slice(0, samples))
        plan = model.plan
        most = 1 if is_worker() else n_threads or default_threads()
        work = samples * passes * plan.n_params
        threads = min(most, math.isqrt(work // limits.waking_work))
        blocks = samples // plan.block
        pieces = min(blocks, limits.pieces_per_thread * threads)
        edges = [k * blocks // pieces * plan.block for k in range(pieces)] + [samples]
        # For one thread too, which must find the same bits.
        with limited_blas(1) if model.uses_blas else nullcontext():
            if threads == 1:
                return run(slice(0, samples))
            return all(run_pieces(lambda k: run(slice(edges[k], edges[k + 1])), pieces, threads))

    def objective(
        self,
        x: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        l2: float,
        n_threads: int | None,
    ) -> float:
        """Mean loss and L2 of checked and scaled data."""
        return self.objective_of(self(x, False, n_threads), targets, weights, l2)

    def objective_of(
        self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, l2: float
    ) -> float:
        """The same from net inputs of the output layer, ``(samples, outputs)``."""
        loss = self.model.mean_loss(outputs.T.copy(), targets, weights)
        return loss + self.model.penalty(l2)

    def score(self, x: np.ndarray, targets: np.ndarray, n_threads: int | None) -> float:
        """Accuracy or mean R^2 on checked and scaled data, without going through labels."""
        z = self(x, self.spec.is_regression, n_threads)
        if self.spec.loss_name == "cross_entropy":
            return float(np.mean(z.argmax(axis=1) == targets[:, 0]))
        if self.spec.loss_name == "binary_cross_entropy":
            return float(np.mean(((z > 0) == (targets > 0.5)).all(axis=1)))
        residual = ((targets - z) ** 2).sum(axis=0, dtype=np.float64)
        spread = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = np.where(spread > 0, 1 - residual / spread, np.where(residual > 0, 0.0, 1.0))
        return float(r2.mean())
