"""Levenberg-Marquardt with scikit-learn's conventions: ``solver="lm"``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn.estimators.epoch_parts import Part
from fastnn.estimators.epochs import EpochRun
from fastnn.estimators.solvers import Data, check_full_batch, make_optimizer
from fastnn.network import Network
from fastnn.network.second_order import check, check_checkpoint, standard_deviations, steps
from fastnn.training.optimizers import LevenbergMarquardt
from fastnn.training.second_order import SecondOrderSteps

if TYPE_CHECKING:
    from fastnn.estimators.base import BaseMLP


def check_lm(estimator: BaseMLP, net: Network, keeps: bool) -> None:
    """Raise unless the parameters of an estimator are compatible with Levenberg-Marquardt.

    Parameters
    ----------
    estimator : BaseMLP
    net : Network
    keeps : bool
        Whether checkpoints are to be written.
    """
    check_full_batch(estimator, net.dropout)
    rule = make_optimizer("lm", estimator.get_params(deep=False))
    assert isinstance(rule, LevenbergMarquardt)
    check(net, rule, 1, 1)
    if keeps:
        check_checkpoint(net.dtype)


class SecondOrderEpochs(SecondOrderSteps, EpochRun):
    """The training of an estimator by Levenberg-Marquardt; one epoch is one step.

    The parameters are those of :class:`EpochRun`.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.blas_threads = self.blas_threads_for(self.network.n_threads)

    def _make_parts(self, data: Data, batch_size: int) -> list[Part]:
        """One part with all samples and the steps; called before ``self.state`` is set."""
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
        return self.run_steps(losses)

    def loss_to_record(self) -> float:
        """The objective; for several outputs, the mean loss over the outputs plus the penalty."""
        if not self.losses_by_step:
            return self.steps.loss
        penalty = self.steps.loss - self.steps.mean_loss
        return self.steps.mean_loss / self.network.n_outputs + penalty

    def after_chunk(self, losses: np.ndarray) -> None:
        """As in :class:`EpochRun`."""
        EpochRun.after_chunk(self, losses)

    def interrupted(self) -> None:
        """Record a pending step after Ctrl-C."""
        self.record_pending_step()
        super().interrupted()

    def diverged(self, losses: np.ndarray) -> None:
        """End the run if the steps have ended; otherwise the objective is not finite."""
        if not self.has_ended(losses):
            EpochRun.diverged(self, losses)

    def _handle_no_improvement(self) -> bool:
        """Stop only if the validation score does not improve; the loss has its own criterion."""
        if self.estimator.early_stopping:
            return super()._handle_no_improvement()
        self.estimator._no_improvement_count = 0
        return False

    def store_posterior(self) -> None:
        """Set the estimator's ``posterior_``, the result of Bayesian regularisation."""
        rule, params = self.steps.rule, self.network.params
        self.estimator.posterior_ = self.steps.posterior(params) if rule.is_bayesian else None


def deviations(estimator: BaseMLP, X: Any) -> np.ndarray:
    """Standard deviations of a regressor's predictions, including the noise."""
    check_is_fitted(estimator)
    X = validate_data(estimator, X, accept_sparse=["csr", "csc"], reset=False)
    x = X.toarray() if scipy.sparse.issparse(X) else X
    std = standard_deviations(estimator._network(), getattr(estimator, "posterior_", None), x)
    return estimator._decide(std)
