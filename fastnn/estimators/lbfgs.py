"""Full-batch training by SciPy's L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse

from fastnn.backends.tuning import tuning
from fastnn.estimators.solvers import Data
from fastnn.network import Network
from fastnn.training.pool import check_stopped


@dataclass
class LbfgsResult:
    """What L-BFGS found.

    Attributes
    ----------
    loss : float
    iterations : int
    converged : bool
    message : str
        SciPy's reason for the end.
    """

    loss: float
    iterations: int
    converged: bool
    message: str


def lbfgs(
    network: Network,
    data: Data,
    alpha: float,
    *,
    tol: float,
    max_iter: int,
    max_fun: int,
    callback: Callable[[int, float], bool] | None,
) -> LbfgsResult:
    """Minimise the loss over all samples by SciPy's L-BFGS-B; ``network`` gets the result.

    Parameters
    ----------
    network : Network
        In float64: line searches need the digits.
    data : Data
    alpha : float
    tol : float
        Largest entry of the gradient at which to end.
    max_iter, max_fun : int
        Most iterations and evaluations.
    callback : callable, optional
        Gets iteration and loss after every iteration; the network holds its parameters. A true
        result ends.

    Returns
    -------
    LbfgsResult
    """
    function = _Objective(network, data, alpha)
    iterations = 0

    def after(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        nonlocal iterations
        check_stopped()
        iterations += 1
        if callback is not None:
            network.params[:] = intermediate_result.x
            if callback(iterations, float(intermediate_result.fun)):
                raise StopIteration

    with np.errstate(over="ignore", invalid="ignore"):
        result = scipy.optimize.minimize(
            function,
            network.params.copy(),
            method="L-BFGS-B",
            jac=True,
            callback=after,
            options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
        )
    network.params[:] = result.x
    return LbfgsResult(
        float(result.fun), min(int(result.nit), max_iter), result.status == 0, str(result.message)
    )


class _Objective:
    """Loss and gradient over all samples, as functions of the parameters."""

    def __init__(self, network: Network, data: Data, alpha: float) -> None:
        self.network = network
        samples = len(data)
        weighted = len(data.weights) > 0
        self.total = float(data.weights.sum(dtype=np.float64)) if weighted else float(samples)
        self.l2 = alpha / self.total if self.total > 0 else 0.0
        self.grads = network.model.plan.gradient_groups(network.dtype)
        self.outputs = network.n_outputs if network.loss_name == "squared_error" else 1
        step = samples
        if scipy.sparse.issparse(data.x):
            step = max(1, tuning().lbfgs_dense_bytes // (data.x.shape[1] * network.dtype.itemsize))
        self.parts = [data.take(slice(start, start + step)) for start in range(0, samples, step)]
        self.dense = [_columns(self.parts[0].x)] if len(self.parts) == 1 else None

    def __call__(self, params: np.ndarray) -> tuple[float, np.ndarray]:
        net = self.network
        net.params[:] = params
        loss, gradient = 0.0, np.zeros(net.n_params)
        for index, part in enumerate(self.parts):
            weights = part.weights
            share = float(weights.sum(dtype=np.float64)) if len(weights) else float(len(part))
            x = self.dense[index] if self.dense else _columns(part.x)
            targets = np.ascontiguousarray(part.targets.T)
            # without L2, which is added once
            loss += share * net.model.loss_and_grad(x, targets, weights, 0.0, self.grads)
            gradient += share * self.grads[0]
        scale = 1.0 / self.total if self.total > 0 else 0.0
        gradient *= scale
        weights_of_gradient, _ = net.unflatten(gradient)
        for dw, w in zip(weights_of_gradient, net.weights, strict=True):
            dw += self.l2 * w
        return loss * scale / self.outputs + net.model.penalty(self.l2), gradient


def _columns(x: Any) -> np.ndarray:
    """Samples as the kernel takes them, (features, samples)."""
    return np.ascontiguousarray((x.toarray() if scipy.sparse.issparse(x) else x).T)
