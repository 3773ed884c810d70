"""Shared by the solvers of the estimators: data, update rules, number of threads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.training.optimizers import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    LevenbergMarquardt,
    Optimizer,
    RMSprop,
)
from fastnn.training.schedules import SCHEDULES
from fastnn.training.state import TrainingState
from fastnn.training.threads import default_threads

if TYPE_CHECKING:
    from fastnn.estimators.base import BaseMLP

FULL_BATCH = ("lbfgs", "lm")
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may"
    " contain large values and need to be preprocessed."
)


@dataclass
class Data:
    """Samples in the form the solvers take.

    Attributes
    ----------
    x : ndarray or scipy.sparse CSR, shape (samples, features)
    targets : ndarray, shape (samples, 1 or outputs)
        Class indices for cross_entropy, otherwise one column per target.
    weights : ndarray, shape (samples,) or (0,)
        Sample weights; empty for equal weights.
    """

    x: Any
    targets: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return self.x.shape[0]

    def take(self, rows: np.ndarray | slice) -> Data:
        """Select some of the samples."""
        weights = self.weights[rows] if len(self.weights) else self.weights
        return Data(self.x[rows], self.targets[rows], weights)


@dataclass
class SolverState(TrainingState):
    """State that a stochastic solver keeps between calls of ``partial_fit``.

    Attributes
    ----------
    learning_rate : float
        Learning rate of the next epoch, before schedule and warmup.
    """

    learning_rate: float = 0.0


def check_full_batch(estimator: BaseMLP, dropout: tuple[float, ...]) -> None:
    """Raise if a full-batch solver is given parameters that only stochastic solvers support."""
    solver = estimator.solver
    if any(dropout):
        raise ValueError(f"dropout needs a stochastic solver; solver is {solver!r}")
    for name in ("clip_norm", "clip_value", "ema"):
        if getattr(estimator, name) is not None:
            raise ValueError(f"{name} needs a stochastic solver; solver is {solver!r}")
    if estimator.learning_rate in SCHEDULES or estimator.warmup:
        raise ValueError(
            f"learning_rate={estimator.learning_rate!r} and warmup={estimator.warmup} need a "
            f"stochastic solver; solver is {solver!r}"
        )


def make_optimizer(solver: str, parameters: dict[str, Any]) -> Optimizer:
    """Create the optimizer from the parameters of an estimator."""
    if solver == "lm":
        return LevenbergMarquardt(
            min_gradient=1e-3 * float(parameters["tol"]),
            regularization=parameters.get("regularization"),
        )
    rate, epsilon = float(parameters["learning_rate_init"]), float(parameters["epsilon"])
    beta_1, beta_2 = float(parameters["beta_1"]), float(parameters["beta_2"])
    given = {name: parameters[name] for name in ("clip_norm", "clip_value", "ema")}
    rest = {name: None if value is None else float(value) for name, value in given.items()}
    if solver == "sgd":
        # scikit-learn allows momentum=1; SGD requires less, so use the next smaller number
        momentum = min(float(parameters["momentum"]), float(np.nextafter(1.0, 0.0)))
        return SGD(rate, momentum, bool(parameters["nesterovs_momentum"]), **rest)
    if solver == "adam":
        return Adam(rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, **rest)
    if solver == "adamw":
        decay = float(parameters["weight_decay"])
        return AdamW(
            rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, weight_decay=decay, **rest
        )
    if solver == "adagrad":
        return AdaGrad(rate, epsilon, **rest)
    return RMSprop(rate, float(parameters["rho"]), epsilon, **rest)


def n_threads() -> int:
    """Number of threads that training may use, considering other workers of joblib."""
    import joblib

    # joblib limits its processes by OMP_NUM_THREADS, but not its threads
    nested = joblib.parallel.get_active_backend()[0].nesting_level
    if nested and not os.environ.get("OMP_NUM_THREADS"):
        return 1
    # not joblib.cpu_count(), which reads files in each call, longer than a step of a small network
    limit = os.environ.get("LOKY_MAX_CPU_COUNT", "")
    return max(1, min(default_threads(), int(limit))) if limit.isdigit() else default_threads()
