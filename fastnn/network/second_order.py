"""Levenberg-Marquardt for a network: its requirements, and the objective in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fastnn.backends.model import Model
from fastnn.memory import check_memory
from fastnn.training.gauss_newton import LOSSES, Objective
from fastnn.training.optimizers import LevenbergMarquardt
from fastnn.training.second_order import MAX_PARAMS, LevenbergMarquardtSteps

if TYPE_CHECKING:
    from fastnn.network.network import Network
    from fastnn.training.posterior import Posterior
    from fastnn.training.state import TrainingState


def check(net: Network, rule: LevenbergMarquardt, batch_size: int, samples: int) -> None:
    """Raise unless Levenberg-Marquardt can train a network with batches of this size."""
    spec, n = net.spec, net.n_params
    if n > MAX_PARAMS:
        raise ValueError(
            f"Levenberg-Marquardt solves as many equations as there are parameters in every step: "
            f"time grows with their cube, memory with their square. {MAX_PARAMS:,} is the most; "
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


def check_checkpoint(dtype: np.dtype) -> None:
    """Raise unless checkpoints store the float64 parameters of Levenberg-Marquardt exactly."""
    if dtype != np.float64:
        raise ValueError(
            "checkpoints of Levenberg-Marquardt, which computes in float64, need dtype='float64'; "
            f"got {dtype.name!r}"
        )


def double_model(net: Network) -> Model:
    """Return the model of a network in float64, with a copy of its parameters."""
    model = replace(net.spec, dtype=np.dtype(np.float64)).model(net.model.kernels)
    model.params[:] = net.params
    return model


def steps(
    net: Network,
    state: TrainingState,
    l2: float,
    x: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
) -> LevenbergMarquardtSteps:
    """Create the steps that train a network.

    Parameters
    ----------
    net : Network
    state : TrainingState
        The training must have begun.
    l2 : float
    x : ndarray, shape (samples, features)
    targets : ndarray, shape (samples, 1 or outputs)
    weights : ndarray, shape (samples,) or (0,)
        Validated data, not yet standardised.
    """
    spec = replace(net.spec, dtype=np.dtype(np.float64))
    x, targets = net.scales.inputs(x, spec), net.scales.targets(targets, spec)
    objective = Objective(double_model(net), x, targets, weights.astype(np.float64))
    rule = state.in_use
    assert isinstance(rule, LevenbergMarquardt)
    return LevenbergMarquardtSteps(objective, rule, l2, net.params, state.moments[:, 0].tolist())


def standard_deviations(net: Network, posterior: Posterior | None, x: np.ndarray) -> np.ndarray:
    """Standard deviations of predictions, including the noise, in the units of the targets.

    Computed by the delta method.

    Parameters
    ----------
    net : Network
    posterior : Posterior or None
    x : ndarray, shape (samples, features)
        Inputs of the first layer.

    Returns
    -------
    ndarray of float64, shape (samples, outputs)

    Raises
    ------
    ValueError
        If there is no posterior, or if the parameters have changed since it was computed.
    """
    if posterior is None or not np.array_equal(posterior.params, net.params):
        since = "" if posterior is None else "; the parameters have changed since"
        raise ValueError(
            "return_std=True needs a training by Levenberg-Marquardt with "
            f"regularization='bayesian'{since}"
        )
    model, units = double_model(net), np.eye(net.n_outputs)[None]
    std = np.empty((len(x), net.n_outputs))
    step = max(1, (1 << 22) // (8 * net.n_params * net.n_outputs))
    for first in range(0, len(x), step):
        part = np.ascontiguousarray(x[first : first + step], np.float64)
        rows = np.empty((net.n_params, net.n_outputs, len(part)))
        model.sample_gradients(part, units, rows)
        variance = posterior.variance(rows.reshape(net.n_params, -1)) + 1.0 / posterior.beta
        std[first : first + step] = np.sqrt(variance).reshape(net.n_outputs, -1).T
    scale = net.scales.target_scale
    return std if scale is None else std / scale
