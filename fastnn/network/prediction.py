"""Prediction by blocks and threads; loss and score of validated data."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

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
        # Number of samples from which several threads may be used.
        self.parallel_from = sys.maxsize
        if model.is_threaded:
            two_threads = -(-4 * tuning().wake_thread_work // model.plan.n_params)
            self.parallel_from = max(2 * model.plan.block_size, two_threads)
        # Fewer samples are one call of the kernels, and their result needs little memory.
        few = SMALL // (spec.n_outputs * model.dtype.itemsize)
        self.checked_from = min(self.parallel_from, few)

    def __call__(self, x: np.ndarray, transform: bool, n_threads: int | None) -> np.ndarray:
        """Return predictions, or net inputs of the output layer unless ``transform``.

        Parameters
        ----------
        x : ndarray, shape (samples, features)
            C-contiguous and of the model's dtype.
        transform : bool
        n_threads : int or None
            Maximum number of threads; None for :func:`fastnn.training.threads.default_threads`.

        Returns
        -------
        ndarray, shape (samples, outputs)

        Raises
        ------
        ValueError
            If ``x`` contains NaN or infinity.
        """
        if len(x) >= self.checked_from:
            return self._predict_many(x, transform, n_threads)
        out = np.empty((len(x), self.n_outputs), self.model.dtype)
        if not self.model.forward(x, transform, out):
            check_finite("X", x)
        return out

    def _predict_many(self, x: np.ndarray, transform: bool, n_threads: int | None) -> np.ndarray:
        """Predict many samples: check the memory, and use several threads if that is faster."""
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
        """Call ``run`` for all samples, in several threads if there are many samples.

        The pieces are whole blocks, so that results do not depend on the number of threads, to
        the last bit.

        Parameters
        ----------
        run : callable
            Takes a slice of consecutive samples; returns a bool.
        samples : int
        passes : int
            Work per sample, in passes through all layers.
        n_threads : int or None
            Maximum number of threads; None for :func:`fastnn.training.threads.default_threads`.

        Returns
        -------
        bool
            Whether all calls of ``run`` returned True.
        """
        model, limits = self.model, tuning()
        if samples * passes < self.parallel_from or samples < 2 * model.plan.block_size:
            return run(slice(0, samples))
        plan = model.plan
        max_threads = 1 if is_worker() else n_threads or default_threads()
        work = samples * passes * plan.n_params
        threads = min(max_threads, math.isqrt(work // limits.wake_thread_work))
        blocks = samples // plan.block_size
        pieces = 1 if threads == 1 else limits.pieces_per_thread * threads
        pieces = max(pieces, work // limits.piece_work, samples // limits.piece_samples)
        pieces = min(blocks, pieces)
        bounds = [k * blocks // pieces * plan.block_size for k in range(pieces)] + [samples]
        # Also with one thread, so that its results are bit-identical.
        with limited_blas(1) if model.uses_blas else nullcontext():
            if pieces == 1:
                return run(slice(0, samples))
            return all(run_pieces(lambda k: run(slice(bounds[k], bounds[k + 1])), pieces, threads))

    def objective(
        self,
        x: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        l2: float,
        n_threads: int | None,
    ) -> float:
        """Mean loss plus L2 penalty of validated and scaled data."""
        return self.objective_of(self(x, False, n_threads), targets, weights, l2)

    def objective_of(
        self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, l2: float
    ) -> float:
        """Mean loss plus L2 penalty from net inputs of the output layer, (samples, outputs)."""
        loss = self.model.mean_loss(outputs.T.copy(), targets, weights)
        return loss + self.model.penalty(l2)

    def score(self, x: np.ndarray, targets: np.ndarray, n_threads: int | None) -> float:
        """Accuracy, or R^2 averaged over the targets, of validated and scaled data."""
        z = self(x, self.spec.is_regression, n_threads)
        if self.spec.is_regression:
            z = point_prediction(z, self.spec)
        if self.spec.loss_name == "cross_entropy":
            return float(np.mean(z.argmax(axis=1) == targets[:, 0]))
        if self.spec.loss_name == "binary_cross_entropy":
            return float(np.mean(((z > 0) == (targets > 0.5)).all(axis=1)))
        residual = ((targets - z) ** 2).sum(axis=0, dtype=np.float64)
        spread = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = np.where(spread > 0, 1 - residual / spread, np.where(residual > 0, 0.0, 1.0))
        return float(r2.mean())


# --- losses with several outputs per target -------------------------------------------


def point_prediction(outputs: np.ndarray, spec: NetworkSpec) -> np.ndarray:
    """One value per target: the mean of a Gaussian, the quantile nearest to 1/2 of several.

    Parameters
    ----------
    outputs : ndarray, shape (samples, outputs)
    spec : NetworkSpec

    Returns
    -------
    ndarray, shape (samples, targets)
    """
    if spec.loss == "gaussian":
        return outputs[:, ::2]
    if spec.outputs_per_target > 1:
        nearest = int(np.abs(np.subtract(spec.quantile, 0.5)).argmin())
        return quantiles(outputs, spec)[:, :, nearest]
    return outputs


def quantiles(outputs: np.ndarray, spec: NetworkSpec) -> np.ndarray:
    """Sort the quantiles of each target, since the outputs of a network may cross.

    Sorting never increases the loss. Source: Chernozhukov, Fernandez-Val, Galichon, Quantile and
    probability curves without crossing (2010).

    Parameters
    ----------
    outputs : ndarray, shape (samples, outputs)
    spec : NetworkSpec

    Returns
    -------
    ndarray, shape (samples, targets, quantiles)
    """
    return np.sort(outputs.reshape(len(outputs), spec.n_targets, -1), axis=2)


def standard_deviations(outputs: np.ndarray) -> np.ndarray:
    """Standard deviations from the outputs of the loss gaussian, ``(samples, targets)``."""
    with np.errstate(over="ignore"):
        return np.exp(0.5 * outputs[:, 1::2])


def regression_result(
    outputs: np.ndarray, spec: NetworkSpec, targets_1d: bool, return_std: bool = False
) -> Any:
    """Convert outputs to the result of ``predict`` of a regression.

    Parameters
    ----------
    outputs : ndarray, shape (samples, outputs)
        In the units of the targets.
    spec : NetworkSpec
    targets_1d : bool
        Whether predictions of a single target are a vector.
    return_std : bool
        Whether to return the standard deviations, too.

    Raises
    ------
    ValueError
        With ``return_std``, if the loss is not gaussian.
    """
    if return_std and spec.loss != "gaussian":
        raise ValueError(
            'return_std needs loss="gaussian", whose outputs have a deviation, a training by '
            'Levenberg-Marquardt with regularization="bayesian", or an ensemble '
            f"(MLPBaggingRegressor); the loss is {spec.loss_name}"
        )
    flat = targets_1d and spec.n_targets == 1
    if spec.outputs_per_target == 1:
        return outputs[:, 0] if flat else outputs
    if spec.loss == "quantile":
        sorted_ = quantiles(outputs, spec)
        return sorted_[:, 0] if flat else sorted_
    results = [point_prediction(outputs, spec)]
    if return_std:
        results.append(standard_deviations(outputs))
    results = [result[:, 0] if flat else result for result in results]
    return tuple(results) if return_std else results[0]


def mixture(predictions: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of a mixture of predictions, by the law of total variance.

    Parameters
    ----------
    predictions : iterable of ndarray or of (ndarray, ndarray)
        Means, or means and standard deviations.

    Returns
    -------
    mean, deviation : ndarray
    """
    pairs = [each if isinstance(each, tuple) else (each, 0.0) for each in predictions]
    means = np.stack([np.asarray(mean, np.float64) for mean, _ in pairs])
    within = sum(np.square(deviation) for _, deviation in pairs) / len(pairs)
    return means.mean(axis=0), np.sqrt(means.var(axis=0) + within)
