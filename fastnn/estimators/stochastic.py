"""Training by epochs: the set-up of :class:`EpochRun` from the arguments of ``fit``."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import _check_sample_weight

from fastnn.estimators.callbacks import Callbacks
from fastnn.estimators.checkpoints import CheckpointOptions, restore_checkpoint
from fastnn.estimators.checks import RollbackOnError, check_values, name_in_errors
from fastnn.estimators.epochs import EpochRun
from fastnn.estimators.lm import SecondOrderEpochs, check_lm
from fastnn.estimators.solvers import Data, SolverState, make_optimizer
from fastnn.network import Network
from fastnn.network.fitting import warn_lost_moments
from fastnn.training.team import call_to_completion

if TYPE_CHECKING:
    from fastnn.estimators.base import BaseMLP


def fit_stochastic(
    estimator: BaseMLP,
    net: Network,
    data: Data,
    validation_data: tuple | None,
    incremental: bool,
    context: Callbacks | None,
    checkpointing: CheckpointOptions | None,
    attributes: RollbackOnError,
) -> None:
    """Train by epochs until the loss or the validation score no longer improves."""
    if estimator.solver == "lm":
        check_lm(estimator, net, checkpointing is not None)
    if not hasattr(estimator, "loss_curve_"):
        _start_records(estimator)
    given = _convert_validation_data(estimator, data, validation_data)
    checkpoints, random = (
        (None, None) if checkpointing is None else checkpointing.begin(estimator, data, given)
    )
    if not incremental or not hasattr(estimator, "_optimizer"):
        optimizer = make_optimizer(estimator.solver, estimator.get_params(deep=False))
        # the attribute name is scikit-learn's, whose tests read the learning rate from it
        estimator._optimizer = SolverState(learning_rate=optimizer.learning_rate)
        if any(net.dropout):
            estimator._optimizer.seed = int(estimator._random_state.randint(2**31 - 1))
    else:
        assert estimator._optimizer.optimizer is not None
        optimizer = estimator._optimizer.optimizer
    state = estimator._optimizer
    if incremental and estimator.t_ and state.optimizer is None and optimizer.n_moments:
        warn_lost_moments(estimator.t_, "samples", estimator.solver)
    data, held_out = (data, given) if given is not None else _hold_out(estimator, data)
    if held_out is not None and estimator.validation_scores_ is None:
        estimator.validation_scores_, estimator.validation_loss_curve_ = [], []
        estimator.best_validation_score_ = -np.inf
    if estimator.early_stopping:
        estimator._best_params = net.params.copy()
    estimator.n_iter_ = 0
    kept = None if checkpointing is None else checkpointing.kept
    if kept is not None:
        restore_checkpoint(estimator, kept)
        state = estimator._optimizer
    full_batch = estimator.solver == "lm"
    batch_size = len(data) if full_batch else _batch_size(estimator, len(data))
    epochs = 1 if incremental else estimator.max_iter
    try:
        state.begin(optimizer, net.params)
        run = (SecondOrderEpochs if full_batch else EpochRun)(
            estimator,
            net,
            state,
            data,
            held_out,
            batch_size,
            epochs,
            context,
            checkpoints=checkpoints,
            position=None if kept is None else kept.position,
            random=random,
        )
        attributes.keep()
        run.execute()
        if run.stopped == "interrupted" and run.step == 0:
            attributes.keep(False)
            raise KeyboardInterrupt
    except BaseException:
        call_to_completion(partial(state.end, net.params))
        raise
    best = estimator._best_params if estimator.early_stopping else None
    call_to_completion(partial(state.end, net.params, best))
    if isinstance(run, SecondOrderEpochs):
        run.store_posterior()
    _warn_of_end(estimator, run.stopped, incremental)


def _warn_of_end(estimator: BaseMLP, stopped: str, incremental: bool) -> None:
    """Warn if the training ended otherwise than by convergence."""
    if stopped == "diverged":
        warnings.warn(
            f"The loss of epoch {estimator.n_iter_} is not finite; the parameters with the best "
            "validation score are kept. A smaller learning_rate_init or scaled data may help.",
            ConvergenceWarning,
            stacklevel=6,
        )
    elif stopped == "interrupted":
        warnings.warn("Training interrupted by user.", stacklevel=6)
    elif stopped == "epochs" and not incremental:
        name = "Levenberg-Marquardt" if estimator.solver == "lm" else "Stochastic Optimizer"
        warnings.warn(
            f"{name}: Maximum iterations ({estimator.max_iter}) "
            "reached and the optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=6,
        )


def _start_records(estimator: BaseMLP) -> None:
    """Set attributes for a first fit by epochs."""
    estimator.loss_curve_ = []
    estimator._no_improvement_count = 0
    estimator.validation_loss_curve_ = None
    estimator.validation_scores_ = None
    estimator.best_validation_score_ = None
    estimator.best_loss_ = None if estimator.early_stopping else np.inf


def _batch_size(estimator: BaseMLP, samples: int) -> int:
    """Number of samples per step."""
    if estimator.batch_size != "auto" and estimator.batch_size > samples:
        warnings.warn(
            f"batch_size={estimator.batch_size} is larger than the {samples} samples; "
            "it is clipped",
            stacklevel=6,
        )
    return samples_per_step(estimator, samples)


def samples_per_step(estimator: BaseMLP, samples: int) -> int:
    """The same, without a warning."""
    return min(200 if estimator.batch_size == "auto" else int(estimator.batch_size), samples)


def _convert_validation_data(
    estimator: BaseMLP, data: Data, validation_data: tuple | None
) -> Data | None:
    """Validate the user's validation data and convert it to the form the solvers take."""
    if validation_data is None:
        return None
    if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
        raise ValueError(
            "validation_data must be (X, y) or (X, y, sample_weight); "
            f"got {type(validation_data).__name__}"
        )
    X, y, *rest = validation_data
    for k, value in enumerate(validation_data):
        check_values(f"validation_data[{k}]", value, k == 1 and is_classifier(estimator))
    with name_in_errors("validation_data"):
        X, targets = estimator._validation_input(X, y)
    weights = None
    if rest:
        with name_in_errors("validation_data[2]"):
            weights = _check_sample_weight(rest[0], X, ensure_non_negative=True)
    return estimator._data(X, targets, weights, data.targets.dtype)


def _hold_out(estimator: BaseMLP, data: Data) -> tuple[Data, Data | None]:
    """Split the data into training and validation data, for early stopping."""
    if not estimator.early_stopping:
        return data, None
    if not estimator.validation_fraction:
        raise ValueError(
            "early_stopping=True needs validation_fraction > 0 or validation_data; got 0"
        )
    kept, held = train_test_split(
        np.arange(len(data)),
        random_state=estimator._random_state,
        test_size=estimator.validation_fraction,
        stratify=estimator._strata(data.targets),
    )
    if len(held) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' "
            "or the size of your dataset."
        )
    return data.take(kept), data.take(held)
