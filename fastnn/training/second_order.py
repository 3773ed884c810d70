"""Levenberg-Marquardt: damped Gauss-Newton steps, and the training run of such steps."""

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

MAX_PARAMS = 3000
_MIN_DAMPING = 1e-20
_MIN_THREADED_PARAMS = (
    500  # number of parameters from which several BLAS threads are faster than one
)


class LevenbergMarquardtSteps:
    """Damped Gauss-Newton steps from given parameters.

    Parameters
    ----------
    objective : Objective
    rule : LevenbergMarquardt
    l2 : float
        L2 penalty of the weights. With Bayesian regularisation the penalty is estimated instead
        and applies to all parameters.
    params : ndarray, shape (n_params,)
        Initial parameters.
    settings : sequence of float
        Damping and, if Bayesian, the precisions alpha and beta of a run that continues; zeros for
        a new run.

    Attributes
    ----------
    params : ndarray of float64, shape (n_params,)
        Current parameters.
    loss : float
        Objective at ``params``; with Bayesian regularisation the mean loss without the penalty.
    damping, alpha, beta : float
    n_effective : float
        Effective number of parameters, with Bayesian regularisation.
    stopped : str or None
        Why there are no more steps: "gradient", "damping", "goal" or "diverged".
    """

    n_threads = 1  # of the training loop; BLAS has its own threads

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
        # L2 penalty of each parameter; biases have none
        self.l2 = np.zeros(objective.n_params)
        for weights in objective.model.unflatten(self.l2)[0]:
            weights[...] = l2
        self.mean_loss, self._gradient = math.nan, np.empty(0)
        self.matrix: np.ndarray | None = None

    def compile(self) -> None:
        """Compile the kernels, if the backend compiles at the first call."""
        objective = self.objective
        Objective(objective.model, objective.x[:1], objective.targets[:1], np.empty(0)).curvature(
            self.params
        )
        objective.loss_and_gradient(self.params)

    def begin(self) -> None:
        """Compute what the first step needs."""
        self.mean_loss, self._gradient = self.objective.loss_and_gradient(self.params)
        if self.rule.is_bayesian:
            self._estimate_from_start()
        self._linearise()

    @property
    def loss(self) -> float:
        """The loss recorded in the history."""
        return self.mean_loss + (0.0 if self.rule.is_bayesian else self._penalty(self.params))

    @property
    def settings(self) -> tuple[float, ...]:
        """Values from which a run can continue: damping, and if Bayesian the precisions.

        The precisions are those before the last estimate, which the continued run repeats.
        """
        return (self.damping, *self._before)[: self.rule.n_moments]

    def _penalty(self, params: np.ndarray) -> float:
        return 0.5 * float(self.l2 * params @ params)

    def _linearise(self) -> None:
        """Compute the Gauss-Newton matrix at the current parameters and check whether to stop."""
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
        """Do a step that lowers the objective; return whether one was found."""
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
        self.damping = max(self.damping * rule.decrease, _MIN_DAMPING)
        self._linearise()
        return True

    def _factor(self, diagonal: np.ndarray | float) -> np.ndarray | None:
        """Cholesky factor of the matrix plus a diagonal; None if not positive definite."""
        from scipy.linalg import lapack

        assert self.matrix is not None
        total = self.matrix.copy(order="F")
        np.einsum("ii->i", total)[:] += diagonal
        factor, failed = lapack.dpotrf(total, lower=1, overwrite_a=1, clean=0)
        return None if failed else factor

    def _solve(self) -> np.ndarray | None:
        """Solve for the damped step, to be subtracted; None if that fails."""
        from scipy.linalg import lapack

        factor = self._factor(self.damping + self.l2)
        if factor is None:
            return None
        change, _ = lapack.dpotrs(factor, self.gradient, lower=1)
        return change if all_finite(change) else None

    # --- Bayesian regularisation ----------------------------------------------------

    def _estimate_from_start(self) -> None:
        """Initial precisions, as if the data determined all parameters."""
        n, residuals = self.objective.n_params, self.objective.n_residuals
        if not self.beta:
            self._set_precisions(n, max(residuals - n, 1))
        self._set_l2()

    def _set_precisions(self, n_effective: float, left: float) -> None:
        """Set alpha and beta from the sums of squared parameters and residuals.

        ``left`` is the number of residuals minus ``n_effective``.
        """
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
        """Re-estimate the effective number of parameters and the precisions."""
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
        """Return the posterior at ``params``, which may be in the dtype of the network."""
        self.params = np.array(params, np.float64)
        self.matrix = self.objective.curvature(self.params)
        factor = self._factor(self.l2)
        if factor is None:  # only because of rounding
            factor = self._factor(self.l2 + np.finfo(float).eps * np.trace(self.matrix))
        assert factor is not None
        samples = self.objective.n_residuals / self.objective.n_outputs
        factor = np.tril(factor) * math.sqrt(self.beta * samples)
        return Posterior(self.alpha, self.beta, self.n_effective, params.copy(), factor)


class SecondOrderSteps:
    """Mixin of runs that train with :class:`LevenbergMarquardtSteps` instead of kernels.

    Attributes
    ----------
    steps : LevenbergMarquardtSteps
    pending : tuple or None
        A finished step that is not yet recorded: the losses of its chunk, its index in them, and
        its loss.
    """

    steps: LevenbergMarquardtSteps
    model: Model
    state: Any
    stopped: str
    pending: tuple[np.ndarray, int, float] | None = None

    def blas_threads_for(self, n_threads: int | None) -> int | None:
        """Number of BLAS threads to use: one for small networks."""
        return n_threads if self.model.plan.n_params >= _MIN_THREADED_PARAMS else 1

    def run_steps(self, losses: np.ndarray) -> int:
        """Do the next steps; return their number, smaller if the steps end or diverge."""
        if not len(losses):
            self.steps.compile()
        elif self.steps.matrix is None:  # called here because BLAS threads are limited here
            self.steps.begin()
        for k in range(len(losses)):
            before = self.loss_to_record()
            if not self.steps.step():
                if self.steps.stopped == "diverged":
                    losses[k] = np.inf
                return k
            self.pending = losses, k, before
            self.record_pending_step()
        return len(losses)

    def loss_to_record(self) -> float:
        """The loss to record for the next step."""
        return self.steps.loss

    def record_pending_step(self) -> None:
        """Record the pending step; may be repeated if Ctrl-C came between any two lines."""
        if self.pending is None:
            return
        losses, k, before = self.pending
        self.model.params[:] = self.steps.params
        self.state.moments[:] = np.array(self.steps.settings)[:, None]
        losses[k] = before  # from here on the step counts as done
        self.pending = None

    def has_ended(self, losses: np.ndarray) -> bool:
        """Whether the steps ended by one of their criteria; the last loss belongs to no step."""
        if self.steps.stopped in (None, "diverged"):
            return False
        if len(losses) > 1:
            self.after_chunk(losses[:-1])
        if self.stopped == "epochs":
            self.stopped = self.steps.stopped
        return True

    def after_chunk(self, losses: np.ndarray) -> None:
        """Implemented by the run."""
        raise NotImplementedError


class SecondOrderRun(SecondOrderSteps, FitRun):
    """The run of a ``fit`` by Levenberg-Marquardt.

    Parameters
    ----------
    model : Model
    state : TrainingState
    epochs : int
    steps : LevenbergMarquardtSteps
    n_threads : int or None
        Maximum number of BLAS threads.
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
        return self.run_steps(losses)

    def after_chunk(self, losses: np.ndarray) -> None:
        """As in :class:`FitRun`."""
        FitRun.after_chunk(self, losses)

    def interrupted(self) -> None:
        """Record a pending step after Ctrl-C."""
        self.record_pending_step()

    def diverged(self, losses: np.ndarray) -> None:
        """End the run if the steps have ended; raise if the objective is not finite."""
        if not self.has_ended(losses):
            FitRun.diverged(self, losses)
