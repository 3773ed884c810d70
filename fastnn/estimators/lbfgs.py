"""Full-batch training with SciPy's L-BFGS."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.optimize
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from fastnn.backends.tuning import tuning
from fastnn.estimators.checks import RollbackOnError
from fastnn.estimators.solvers import Data, check_full_batch
from fastnn.network import Network
from fastnn.training.pool import check_stopped

if TYPE_CHECKING:
    from fastnn.estimators.base import BaseMLP
    from fastnn.estimators.callbacks import Callbacks


def fit_lbfgs(
    estimator: BaseMLP,
    net: Network,
    data: Data,
    context: Callbacks | None,
    attributes: RollbackOnError,
) -> None:
    """Fit an estimator, in float64 for any dtype of its parameters."""
    check_full_batch(estimator, net.dropout)
    double_net = net
    if net.dtype != np.float64:
        double_net = estimator._new_network("float64")
        double_net.params[:] = net.params
        data = estimator._data(data.x, data.targets, data.weights, double_net.dtype)

    def after_iteration(iteration: int, loss: float) -> bool:
        estimator.n_iter_, estimator.loss_ = iteration, loss
        if estimator.verbose:
            print(f"Iteration {iteration}, loss = {loss:.8f}")
        if context is None:
            return False
        net.params[:] = double_net.params
        return context.iteration()

    needs_callback = context is not None or estimator.verbose
    estimator.n_iter_, estimator.loss_ = 0, float("nan")
    attributes.keep()
    result = lbfgs(
        double_net,
        data,
        float(estimator.alpha),
        tol=estimator.tol,
        max_iter=estimator.max_iter,
        max_fun=estimator.max_fun,
        callback=after_iteration if needs_callback else None,
    )
    if result.interrupted and result.iterations == 0:
        attributes.keep(False)
        raise KeyboardInterrupt
    net.params[:] = double_net.params
    estimator.n_iter_, estimator.loss_ = result.iterations, result.loss
    stopped = context is not None and context.stopped
    if result.interrupted:
        warnings.warn("Training interrupted by user.", stacklevel=5)
        return
    if not result.converged and not stopped:
        warnings.warn(
            f"lbfgs failed to converge after {result.iterations} iteration(s): "
            f"{result.message}. Increase the number of iterations (max_iter), the number of "
            "evaluations (max_fun), or scale the data.",
            ConvergenceWarning,
            stacklevel=5,
        )


@dataclass
class LbfgsResult:
    """Result of L-BFGS.

    Attributes
    ----------
    loss : float
    iterations : int
    converged : bool
    message : str
        SciPy's reason for termination.
    interrupted : bool
        Whether Ctrl-C ended the optimisation; the other attributes are then those of the last
        complete iteration.
    """

    loss: float
    iterations: int
    converged: bool
    message: str
    interrupted: bool = False


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
    """Minimise the loss over all samples with SciPy's L-BFGS-B; updates ``network``.

    Parameters
    ----------
    network : Network
        In float64, since line searches need the precision.
    data : Data
    alpha : float
    tol : float
        Stop when no entry of the gradient exceeds this in absolute value.
    max_iter, max_fun : int
        Maximum number of iterations and of function evaluations.
    callback : callable, optional
        Called with iteration and loss after every iteration, when the network has the current
        parameters. A true result stops the optimisation.

    Returns
    -------
    LbfgsResult
    """
    function = _Objective(network, data, alpha)
    # Replaced in one assignment, so that an interrupt cannot mix values of two iterations.
    latest: tuple[int, float, np.ndarray] = 0, float("nan"), network.params.copy()

    def after_iteration(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        nonlocal latest
        state = intermediate_result
        latest = latest[0] + 1, float(state.fun), np.array(state.x)
        check_stopped()
        if callback is not None:
            iteration, loss, network.params[:] = latest
            if callback(iteration, loss):
                raise StopIteration

    try:
        with np.errstate(over="ignore", invalid="ignore"):
            result = scipy.optimize.minimize(
                function,
                network.params.copy(),
                method="L-BFGS-B",
                jac=True,
                callback=after_iteration,
                options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
            )
    except KeyboardInterrupt:
        iteration, loss, network.params[:] = latest
        return LbfgsResult(loss, iteration, False, "interrupted", interrupted=True)
    network.params[:] = result.x
    return LbfgsResult(
        float(result.fun), min(int(result.nit), max_iter), result.status == 0, str(result.message)
    )


class _Objective:
    """Loss and gradient over all samples as a function of the parameters."""

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
        parts = [data.take(slice(start, start + step)) for start in range(0, samples, step)]
        self.parts = [
            (
                # a single part is converted to dense once
                _to_columns(part.x) if len(parts) == 1 else part.x,
                np.ascontiguousarray(part.targets.T),
                part.weights,
                float(part.weights.sum(dtype=np.float64)) if weighted else float(len(part)),
            )
            for part in parts
        ]
        # L2 factor of each parameter; biases have none
        self.decay = np.zeros(network.n_params)
        for factors in network.unflatten(self.decay)[0]:
            factors[...] = self.l2

    def __call__(self, params: np.ndarray) -> tuple[float, np.ndarray]:
        net = self.network
        net.params[:] = params
        loss, gradient = 0.0, np.zeros(net.n_params)
        for x, targets, weights, share in self.parts:
            if len(self.parts) > 1:
                x = _to_columns(x)
            # without L2, which is added below
            loss += share * net.model.loss_and_grad(x, targets, weights, 0.0, self.grads)
            gradient += share * self.grads[0]
        scale = 1.0 / self.total if self.total > 0 else 0.0
        decay = self.decay * params
        gradient *= scale
        gradient += decay
        return loss * scale / self.outputs + 0.5 * float(decay @ params), gradient


def _to_columns(x: Any) -> np.ndarray:
    """Samples in the form the kernel takes, (features, samples)."""
    return np.ascontiguousarray((x.toarray() if scipy.sparse.issparse(x) else x).T)
