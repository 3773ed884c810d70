"""Levenberg-Marquardt for a network: what it can train, and its objective in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fastnn.backends.model import Model
from fastnn.memory import check_memory
from fastnn.training.optimizers import LevenbergMarquardt
from fastnn.training.second_order import LOSSES, MOST_PARAMS, LevenbergMarquardtSteps, Objective

if TYPE_CHECKING:
    from fastnn.network.network import Network


def check(net: Network, rule: LevenbergMarquardt, batch_size: int, samples: int) -> None:
    """Raise unless Levenberg-Marquardt can train a network with batches of this size."""
    spec, n = net.spec, net.n_params
    if n > MOST_PARAMS:
        raise ValueError(
            f"Levenberg-Marquardt solves as many equations as there are parameters in every step: "
            f"time grows with their cube, memory with their square. {MOST_PARAMS:,} is the most; "
            f"the network has {n:,}. Take Adam, or solver='lbfgs' of the estimators"
        )
    if spec.loss not in LOSSES:
        raise ValueError(
            f"Levenberg-Marquardt needs a loss with second derivatives: {', '.join(LOSSES)}; "
            f"got {spec.loss_name!r}"
        )
    if any(spec.dropout):
        raise ValueError("Levenberg-Marquardt cannot train with dropout, whose loss is random")
    if batch_size < samples:
        raise ValueError(
            f"Levenberg-Marquardt takes all samples in every step: leave batch_size out; "
            f"got {batch_size} of {samples:,}"
        )
    if rule.is_bayesian and spec.loss != "squared_error":
        raise ValueError(
            f"regularization='bayesian' needs loss='squared_error'; got {spec.loss_name!r}"
        )
    if rule.is_bayesian and spec.l2:
        raise ValueError(
            f"regularization='bayesian' estimates the strength of L2: l2 must be 0; got {spec.l2:g}"
        )
    check_memory(f"Levenberg-Marquardt with {n:,} parameters", 3 * 8 * n * n)


def double_model(net: Network) -> Model:
    """The network in float64, with the same parameters."""
    model = replace(net.spec, dtype=np.dtype(np.float64)).model(net.model.kernels)
    model.params[:] = net.params
    return model


def steps(
    net: Network, x: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> LevenbergMarquardtSteps:
    """What trains a network that has begun to be trained.

    Parameters
    ----------
    net : Network
    x : ndarray, shape (samples, features)
    targets : ndarray, shape (samples, 1 or outputs)
    weights : ndarray, shape (samples,) or (0,)
        As the user gave them, checked.
    """
    spec = replace(net.spec, dtype=np.dtype(np.float64))
    x, targets = net.scales.inputs(x, spec), net.scales.targets(targets, spec)
    weights = weights.astype(np.float64)
    objective = Objective(double_model(net), x, targets, weights)
    rule, moments = net.state.in_use, net.state.moments
    assert isinstance(rule, LevenbergMarquardt)
    return LevenbergMarquardtSteps(objective, rule, net.l2, net.params, moments[:, 0].tolist())
