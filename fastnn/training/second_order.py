"""Levenberg-Marquardt: damped Gauss-Newton steps, and the run that they make."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.backends.model import Model
from fastnn.training.gauss_newton import Objective
from fastnn.training.optimizers import LevenbergMarquardt
from fastnn.training.posterior import Posterior
from fastnn.training.run import FitRun, batch_sizes
from fastnn.training.state import TrainingState
from fastnn.validation import all_finite

MOST_PARAMS = 3000
_LEAST_DAMPING = 1e-20
_THREADS_FROM = 500  # parameters from which on threads of BLAS pay


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
        self.alpha, self.beta = map(float, settings[1:] if rule.is_bayesian else (0.0, 0.0))
        self.n_effective = float(objective.n_params)
        self.stopped: str | None = None
        # of each parameter
        self.l2 = np.zeros(objective.n_params)
        for weights in objective.model.unflatten(self.l2)[0]:
            weights[...] = l2
        self.mean_loss, self._gradient = math.nan, np.empty(0)
        self.matrix: np.ndarray | None = None

    def compile(self) -> None:
        """Have the kernels compiled, where they have to be."""
        objective = self.objective
        Objective(objective.model, objective.x[:1], objective.targets[:1], np.empty(0)).curvature(
            self.params
        )
        objective.loss_and_gradient(self.params)

    def begin(self) -> None:
        """What is to be known before the first step."""
        self.mean_loss, self._gradient = self.objective.loss_and_gradient(self.params)
        if self.rule.is_bayesian:
            self._estimate_from_start()
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
        from scipy.linalg import lapack

        assert self.matrix is not None
        total = self.matrix.copy(order="F")
        np.einsum("ii->i", total)[:] += diagonal
        factor, failed = lapack.dpotrf(total, lower=1, overwrite_a=1, clean=0)
        return None if failed else factor

    def _solve(self) -> np.ndarray | None:
        """The damped step, to be subtracted."""
        from scipy.linalg import lapack

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
        from scipy.linalg import lapack

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


class Stepping:
    """What a run whose steps are those of :class:`LevenbergMarquardtSteps` has in place of kernels.

    Attributes
    ----------
    steps : LevenbergMarquardtSteps
    pending : tuple or None
        Losses of a chunk, place of a step in them, and its loss: what has to be written for the
        step to count.
    """

    steps: LevenbergMarquardtSteps
    model: Model
    state: Any
    stopped: str
    pending: tuple[np.ndarray, int, float] | None = None

    def blas_threads_for(self, n_threads: int | None) -> int | None:
        """Threads that pay."""
        return n_threads if self.model.plan.n_params >= _THREADS_FROM else 1

    def do_steps(self, losses: np.ndarray) -> int:
        """Do the next steps; fewer where there are no more, or the objective is not finite."""
        if not len(losses):
            self.steps.compile()
        elif self.steps.matrix is None:  # here, where threads of BLAS are limited
            self.steps.begin()
        for k in range(len(losses)):
            before = self.recorded()
            if not self.steps.step():
                if self.steps.stopped == "diverged":
                    losses[k] = np.inf
                return k
            self.pending = losses, k, before
            self.settle_step()
        return len(losses)

    def recorded(self) -> float:
        """The loss that the history has."""
        return self.steps.loss

    def settle_step(self) -> None:
        """Take over the pending step; Ctrl-C may come between any two lines, and has it redone."""
        if self.pending is None:
            return
        losses, k, before = self.pending
        self.model.params[:] = self.steps.params
        self.state.moments[:] = np.array(self.steps.settings)[:, None]
        losses[k] = before  # the step counts from now on
        self.pending = None

    def ended(self, losses: np.ndarray) -> bool:
        """Whether the steps came to an end of their own; the last loss is of none."""
        if self.steps.stopped in (None, "diverged"):
            return False
        if len(losses) > 1:
            self.after_chunk(losses[:-1])
        if self.stopped == "epochs":
            self.stopped = self.steps.stopped
        return True

    def after_chunk(self, losses: np.ndarray) -> None:
        """The run's."""
        raise NotImplementedError


class SecondOrderRun(Stepping, FitRun):
    """A ``fit`` by Levenberg-Marquardt.

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
        sizes = batch_sizes(len(steps.objective.x), len(steps.objective.x))
        super().__init__(model, state, epochs, sizes, [steps], **settings)
        self.blas_threads = self.blas_threads_for(n_threads)

    def train(self, rates: np.ndarray, losses: np.ndarray) -> int:
        """Do the next steps."""
        return self.do_steps(losses)

    def after_chunk(self, losses: np.ndarray) -> None:
        """As of any fit."""
        FitRun.after_chunk(self, losses)

    def interrupted(self) -> None:
        """Ctrl-C came."""
        self.settle_step()

    def diverged(self, losses: np.ndarray) -> None:
        """The steps have come to their end, or the objective was not finite from the start."""
        if not self.ended(losses):
            FitRun.diverged(self, losses)
