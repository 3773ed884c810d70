"""Levenberg-Marquardt: the objective's Gauss-Newton matrix, damped steps, and their run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.linalg import blas, lapack

from fastnn.backends import codes
from fastnn.backends.model import Model
from fastnn.training.optimizers import LevenbergMarquardt
from fastnn.training.posterior import Posterior
from fastnn.training.run import FitRun, batch_sizes
from fastnn.training.state import TrainingState
from fastnn.validation import all_finite

LOSSES = ("squared_error", "huber", "poisson", "cross_entropy", "binary_cross_entropy")
MOST_PARAMS = 3000
_LEAST_DAMPING = 1e-20
_PIECE_BYTES = 1 << 21  # of rows of the Jacobian at a time: they stay in the cache
_THREADS_FROM = 500  # parameters from which on threads of BLAS pay


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
        """Columns of a root of the second derivatives by the outputs, ``(samples or 1, n, outputs)``.

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


class LevenbergMarquardtSteps:
    """Damped Gauss-Newton steps from some parameters on.

    Parameters
    ----------
    objective : Objective
    rule : LevenbergMarquardt
    l2 : float
        On weights; with Bayesian regularisation it is estimated, and of all parameters.
    params : ndarray, shape (n_params,)
        Where to begin.
    settings : sequence of float
        Damping, and if Bayesian the precisions alpha and beta, of a training that goes on; zeros
        for one that begins.

    Attributes
    ----------
    params : ndarray of float64, shape (n_params,)
    loss : float
        Objective there; with Bayesian regularisation the mean loss alone.
    damping, alpha, beta : float
    n_effective : float
        With Bayesian regularisation.
    stopped : str or None
        Why there are no more steps: "gradient", "damping", "goal" or "diverged".
    """

    n_threads = 1  # beside which those of BLAS work

    def __init__(
        self,
        objective: Objective,
        rule: LevenbergMarquardt,
        l2: float,
        params: np.ndarray,
        settings: Any,
    ) -> None:
        self.objective, self.rule = objective, rule
        self.params = np.array(params, np.float64)
        self.damping = float(settings[0]) or rule.damping
        self.alpha, self.beta = (float(value) for value in settings[1:]) if settings[1:] else (0, 0)
        self.n_effective = float(objective.n_params)
        self.stopped: str | None = None
        # of each parameter
        self.l2 = np.zeros(objective.n_params)
        for weights in objective.model.unflatten(self.l2)[0]:
            weights[...] = l2
        self.mean_loss, self._gradient = objective.loss_and_gradient(self.params)
        if rule.is_bayesian:
            self._estimate_from_start()
        self.matrix: np.ndarray | None = None
        self._linearise()

    @property
    def loss(self) -> float:
        """What the history has."""
        return self.mean_loss + (0.0 if self.rule.is_bayesian else self._penalty(self.params))

    @property
    def settings(self) -> tuple[float, ...]:
        """What a training that goes on begins with, which then estimates as was done here."""
        return (self.damping, *self._before)[: self.rule.n_moments]

    def _penalty(self, params: np.ndarray) -> float:
        return 0.5 * float(self.l2 * params @ params)

    def _linearise(self) -> None:
        """The Gauss-Newton matrix here, and whether there is anything to do."""
        rule, self._before = self.rule, (self.alpha, self.beta)
        if not (math.isfinite(self.mean_loss) and all_finite(self._gradient)):
            self.stopped = "diverged"
            return
        self.matrix = self.objective.curvature(self.params)
        if rule.is_bayesian:
            self._estimate()
        self.gradient = self._gradient + self.l2 * self.params
        if self.loss <= rule.goal:
            self.stopped = "goal"
        elif float(np.abs(self.gradient).max()) <= rule.min_gradient:
            self.stopped = "gradient"

    def step(self) -> bool:
        """A step that lowers the objective; whether there was one."""
        if self.stopped:
            return False
        rule, before = self.rule, self.mean_loss + self._penalty(self.params)
        while True:
            change = self._solve()
            if change is not None:
                trial = self.params - change
                mean_loss, gradient = self.objective.loss_and_gradient(trial)
                if mean_loss + self._penalty(trial) < before:
                    break
            self.damping *= rule.increase
            if self.damping > rule.max_damping:
                self.damping, self.stopped = rule.max_damping, "damping"
                return False
        self.params, self.mean_loss, self._gradient = trial, mean_loss, gradient
        self.damping = max(self.damping * rule.decrease, _LEAST_DAMPING)
        self._linearise()
        return True

    def _factor(self, diagonal: np.ndarray | float) -> np.ndarray | None:
        """Cholesky factor of the matrix with a diagonal added; None if it is not positive."""
        assert self.matrix is not None
        total = self.matrix.copy(order="F")
        np.einsum("ii->i", total)[:] += diagonal
        factor, failed = lapack.dpotrf(total, lower=1, overwrite_a=1, clean=0)
        return None if failed else factor

    def _solve(self) -> np.ndarray | None:
        """The damped step, to be subtracted."""
        factor = self._factor(self.damping + self.l2)
        if factor is None:
            return None
        change, _ = lapack.dpotrs(factor, self.gradient, lower=1)
        return change if all_finite(change) else None

    # --- Bayesian regularisation ----------------------------------------------------

    def _estimate_from_start(self) -> None:
        """Precisions to begin with, as if all parameters were determined."""
        n, residuals = self.objective.n_params, self.objective.n_residuals
        if not self.beta:
            self._set_precisions(n, max(residuals - n, 1))
        self._set_l2()

    def _set_precisions(self, n_effective: float, left: float) -> None:
        """From halves of the summed squares: what they are expected to be."""
        squares = 0.5 * float(self.params @ self.params)
        samples = self.objective.n_residuals / self.objective.n_outputs
        errors = self.mean_loss * samples
        tiny = np.finfo(float).tiny
        self.alpha = n_effective / max(2.0 * squares, tiny)
        self.beta = left / max(2.0 * errors, tiny)

    def _set_l2(self) -> None:
        samples = self.objective.n_residuals / self.objective.n_outputs
        self.l2[:] = self.alpha / (self.beta * samples)

    def _estimate(self) -> None:
        """Precisions again, with the number of parameters that the data determine."""
        n, l2 = self.objective.n_params, float(self.l2[0])
        factor = self._factor(l2)
        if factor is None:
            return
        inverse, failed = lapack.dpotri(factor, lower=1, overwrite_c=1)
        if failed:
            return
        self.n_effective = min(max(n - l2 * float(np.trace(inverse)), 0.0), float(n))
        left = self.objective.n_residuals - self.n_effective
        if left > 0:
            self._set_precisions(self.n_effective, left)
            self._set_l2()

    def posterior(self, params: np.ndarray) -> Posterior:
        """At some parameters, of the network's dtype perhaps."""
        self.params = np.array(params, np.float64)
        self.matrix = self.objective.curvature(self.params)
        factor = self._factor(self.l2)
        if factor is None:  # rounding only
            factor = self._factor(self.l2 + np.finfo(float).eps * np.trace(self.matrix))
        assert factor is not None
        samples = self.objective.n_residuals / self.objective.n_outputs
        factor = np.tril(factor) * math.sqrt(self.beta * samples)
        return Posterior(self.alpha, self.beta, self.n_effective, params.copy(), factor)


class SecondOrderRun(FitRun):
    """A ``fit`` by Levenberg-Marquardt: each step is one of :class:`LevenbergMarquardtSteps`.

    Parameters
    ----------
    model : Model
    state : TrainingState
    epochs : int
    steps : LevenbergMarquardtSteps
    n_threads : int or None
        Most threads of BLAS.
    settings
        As for :class:`FitRun`.
    """

    def __init__(
        self,
        model: Model,
        state: TrainingState,
        epochs: int,
        steps: LevenbergMarquardtSteps,
        n_threads: int | None,
        **settings: Any,
    ) -> None:
        self.steps = steps
        self.pending: tuple[np.ndarray, int, float] | None = None
        sizes = batch_sizes(len(steps.objective.x), len(steps.objective.x))
        super().__init__(model, state, epochs, sizes, [steps], **settings)
        self.blas_threads = n_threads if model.plan.n_params >= _THREADS_FROM else 1

    def train(self, rates: np.ndarray, losses: np.ndarray) -> int:
        """Do the next steps; fewer where there are no more."""
        for k in range(len(losses)):
            before = self.steps.loss
            if not self.steps.step():
                if self.steps.stopped == "diverged":
                    losses[k] = np.inf
                return k
            self.pending = losses, k, before
            self._write()
        return len(losses)

    def _write(self) -> None:
        """Take over the pending step; Ctrl-C may come between any two lines, and has it redone."""
        if self.pending is None:
            return
        losses, k, before = self.pending
        self.model.params[:] = self.steps.params
        self.state.moments[:] = np.array(self.steps.settings)[:, None]
        losses[k] = before  # the step counts from now on
        self.pending = None

    def interrupted(self) -> None:
        self._write()

    def diverged(self, losses: np.ndarray) -> None:
        """The steps have come to their end, or the objective was not finite from the start."""
        if self.steps.stopped == "diverged":
            super().diverged(losses)
        if len(losses) > 1:
            self.after_chunk(losses[:-1])
        if self.stopped == "epochs":
            self.stopped = self.steps.stopped or "damping"
