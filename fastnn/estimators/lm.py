"""Levenberg-Marquardt with scikit-learn's conventions: ``solver="lm"``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn.estimators.epochs import EpochRun, Part
from fastnn.estimators.solvers import Data, check_full_batch, make_optimizer
from fastnn.network import Network
from fastnn.network.second_order import check, check_checkpoint, standard_deviations, steps
from fastnn.training.optimizers import LevenbergMarquardt
from fastnn.training.second_order import Stepping

if TYPE_CHECKING:
    from fastnn.estimators.base import BaseMLP


def check_lm(estimator: BaseMLP, net: Network, keeps: bool) -> None:
    """Raise unless an estimator's parameters go with Levenberg-Marquardt.

    Parameters
    ----------
    estimator : BaseMLP
    net : Network
    keeps : bool
        Whether there are to be checkpoints.
    """
    check_full_batch(estimator, net.dropout)
    rule = make_optimizer("lm", estimator.get_params(deep=False))
    assert isinstance(rule, LevenbergMarquardt)
    check(net, rule, 1, 1)
    if keeps:
        check_checkpoint(net.dtype)


class SecondOrderEpochs(Stepping, EpochRun):
    """A training of an estimator by Levenberg-Marquardt; an epoch is a step.

    Parameters are those of :class:`EpochRun`.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.blas_threads = self.blas_threads_for(self.network.n_threads)

    def _make_parts(self, data: Data, batch_size: int) -> list[Part]:
        """All samples, with what trains on them; ``state`` is not set yet."""
        state, total = self.estimator._optimizer, float(len(data))
        if len(data.weights):
            total = float(data.weights.sum(dtype=np.float64))
        self.l2_of_all = self.alpha / total if total > 0 else 0.0
        x = data.x.toarray() if scipy.sparse.issparse(data.x) else data.x
        targets, weights = data.targets, data.weights
        self.steps = steps(self.network, state, self.l2_of_all, x, targets, weights)
        all_samples: Any = self.steps
        return [Part(slice(0, len(data)), all_samples, 1)]

    def train(self, rates: np.ndarray, losses: np.ndarray) -> int:
        """Do the next steps."""
        return self.do_steps(losses)

    def recorded(self) -> float:
        """The objective, or for several outputs its mean over these with all of the penalty."""
        if not self.losses_by_step:
            return self.steps.loss
        penalty = self.steps.loss - self.steps.mean_loss
        return self.steps.mean_loss / self.network.n_outputs + penalty

    def after_chunk(self, losses: np.ndarray) -> None:
        """As of any training."""
        EpochRun.after_chunk(self, losses)

    def interrupted(self) -> None:
        """Ctrl-C came."""
        self.settle_step()
        super().interrupted()

    def diverged(self, losses: np.ndarray) -> None:
        """The steps have come to their end, or the objective was not finite from the start."""
        if not self.ended(losses):
            EpochRun.diverged(self, losses)

    def _no_improvement(self) -> bool:
        """Only validation ends it: the gradient tells when the loss does not fall any more."""
        if self.estimator.early_stopping:
            return super()._no_improvement()
        self.estimator._no_improvement_count = 0
        return False

    def leave_posterior(self) -> None:
        """Have the estimator keep what Bayesian regularisation found."""
        rule, params = self.steps.rule, self.network.params
        self.estimator.posterior_ = self.steps.posterior(params) if rule.is_bayesian else None


def deviations(estimator: BaseMLP, X: Any) -> np.ndarray:
    """Standard deviations of a regressor's predictions."""
    check_is_fitted(estimator)
    X = validate_data(estimator, X, accept_sparse=["csr", "csc"], reset=False)
    x = X.toarray() if scipy.sparse.issparse(X) else X
    std = standard_deviations(estimator._network(), getattr(estimator, "posterior_", None), x)
    return estimator._decide(std)
