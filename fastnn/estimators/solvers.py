"""What the estimators train with: epochs of compiled steps, and L-BFGS.

The conventions are those of scikit-learn's multi-layer perceptron, so that its loss curves are
reproduced: the L2 factor of a batch is ``alpha`` divided by the batch's summed sample weights, the
loss of an epoch is the mean of its batches' losses by their sizes, and the squared error is halved
and averaged, not summed, over the outputs (though its gradient is that of the sum).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse

from fastnn.backends.plan import batch_matrices
from fastnn.network.network import (
    Network,
    _Run,
    _sparse_density,
    _sparse_pays,
)
from fastnn.training.optimizers import SGD, AdaGrad, Adam, AdamW, Optimizer, RMSprop
from fastnn.training.threads import check_stopped, default_threads, helpers

# Rows that are gathered, or made dense, at a time: they should stay in the cache.
PART_BYTES = 4 * 1024 * 1024

# Sparse rows that L-BFGS makes dense at a time.
LBFGS_PART_BYTES = 64 * 1024 * 1024


@dataclass
class Data:
    """Samples as the solvers take them.

    Attributes
    ----------
    x : ndarray or scipy.sparse CSR, shape (samples, features)
    targets : ndarray, shape (samples, 1 or outputs)
        Class indices for cross_entropy, else one column an output.
    weights : ndarray, shape (samples,) or (0,)
        Empty for all ones.
    """

    x: Any
    targets: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return self.x.shape[0]

    def take(self, rows: np.ndarray | slice) -> Data:
        """Some of the samples."""
        weights = self.weights[rows] if len(self.weights) else self.weights
        return Data(self.x[rows], self.targets[rows], weights)


@dataclass
class SolverState:
    """What an update rule carries from one call of ``partial_fit`` to the next.

    Attributes
    ----------
    optimizer : Optimizer
    moments : ndarray, shape (optimizer.n_moments, n_params)
    learning_rate : float
        Of the next epoch.
    updates : int
        Steps done.
    epochs : int
        Epochs done; with ``seed`` the origin of the dropout masks.
    seed : int
    left : ndarray, shape (n_params,), or None
        The average that the network was left with; the last moments are its parameters.
    """

    optimizer: Optimizer
    moments: np.ndarray
    learning_rate: float
    updates: int = 0
    epochs: int = 0
    seed: int = 0
    left: np.ndarray | None = None


def make_optimizer(solver: str, parameters: dict[str, Any]) -> Optimizer:
    """The update rule of an estimator's parameters."""
    rate, epsilon = float(parameters["learning_rate_init"]), float(parameters["epsilon"])
    betas = {"beta_1": float(parameters["beta_1"]), "beta_2": float(parameters["beta_2"])}
    given = {name: parameters[name] for name in ("clip_norm", "clip_value", "ema")}
    rest = {name: None if value is None else float(value) for name, value in given.items()}
    if solver == "sgd":
        # scikit-learn allows a momentum of one, which is not worth a second check
        momentum = min(float(parameters["momentum"]), float(np.nextafter(1.0, 0.0)))
        return SGD(rate, momentum, bool(parameters["nesterovs_momentum"]), **rest)
    if solver == "adam":
        return Adam(rate, **betas, epsilon=epsilon, **rest)
    if solver == "adamw":
        decay = float(parameters["weight_decay"])
        return AdamW(rate, **betas, epsilon=epsilon, weight_decay=decay, **rest)
    if solver == "adagrad":
        return AdaGrad(rate, epsilon, **rest)
    return RMSprop(rate, float(parameters["rho"]), epsilon, **rest)


def n_threads() -> int:
    """Threads that training may use: the cores, shared with the other workers of joblib."""
    import joblib

    # joblib's processes get their share of the cores by OMP_NUM_THREADS, its threads do not
    nested = joblib.parallel.get_active_backend()[0].nesting_level
    if nested and not os.environ.get("OMP_NUM_THREADS"):
        return 1
    return min(joblib.cpu_count(), default_threads())


class _Part(_Run):
    """Consecutive batches of an epoch, of one size and with one L2 factor."""

    def __init__(
        self,
        network: Network,
        start: int,
        stop: int,
        batch_size: int,
        alpha: float,
        wants_sparse: bool,
        scratch: dict[int, Any],
    ) -> None:
        # Not _Run's own: the data come later, once an epoch where they are shuffled.
        self.network, self.start, self.samples = network, start, stop - start
        self.batch_size, self.alpha = batch_size, alpha
        self.batches = -(-self.samples // batch_size)
        self.shuffled = False
        self.first_step = 0
        self.rule = network._optimizer.for_kernels()
        self.order = np.empty(0, np.int64)
        plan = self.plan = network._batch_plan(batch_size=batch_size, sparse=wants_sparse)
        self.most_threads = network.n_threads
        self.n_threads = self._choose_threads(plan)
        self.sparse = wants_sparse
        if batch_size not in scratch:
            scratch[batch_size] = (
                plan.workspace(network.dtype, self.n_threads, self.sparse),
                plan.gradient_groups(network.dtype),
            )
        self.work, self.grads = scratch[batch_size]

    def fill(self, data: Data, order: np.ndarray | None) -> None:
        """Take the samples of the part, in the epoch's order."""
        rows = slice(self.start, self.start + self.samples)
        part = data.take(rows if order is None else order[rows])
        self.indices, self.indptr = np.empty(0, np.int32), np.empty(0, np.int64)
        if self.sparse:
            self.x = part.x.data[None]
            self.indices = part.x.indices.astype(np.int32, copy=False)
            self.indptr = part.x.indptr.astype(np.int64)
        else:
            x = part.x.toarray() if scipy.sparse.issparse(part.x) else part.x
            self.x = batch_matrices(x, self.batch_size)
        self.targets = batch_matrices(part.targets, self.batch_size)
        self.weights = part.weights
        total = float(self.batch_size)
        if len(self.weights) and self.alpha:  # then there is one batch
            total = float(self.weights.sum(dtype=np.float64))
        self.l2 = self.alpha / total if total > 0 else 0.0


class Epochs:
    """Epochs of compiled steps.

    Parameters
    ----------
    network : Network
        Its parameters are trained in place.
    state : SolverState
    data : Data
    batch_size : int
        At most the number of samples.
    alpha : float
        L2 factor of a batch times its summed weights.
    shuffle : bool
    rng : RandomState
        Gives the orders, as scikit-learn draws them.
    """

    def __init__(
        self,
        network: Network,
        state: SolverState,
        data: Data,
        batch_size: int,
        alpha: float,
        shuffle: bool,
        rng: np.random.RandomState,
    ) -> None:
        self.network, self.state, self.rng = network, state, rng
        samples = len(data)
        self.batches = -(-samples // batch_size)
        self.sizes = np.full(self.batches, batch_size, np.float64)
        self.sizes[-1] = samples - (self.batches - 1) * batch_size
        # The order within one full batch changes nothing but rounding.
        self.order = np.arange(samples) if shuffle and self.batches > 1 else None

        network._optimizer, network._moments = state.optimizer, state.moments
        network._updates = state.updates
        sparse = network.backend != "numpy" and _pays_sparse(data.x, network)
        if sparse and not scipy.sparse.issparse(data.x):
            data = Data(scipy.sparse.csr_array(data.x), data.targets, data.weights)
        self.data = data
        dense_from_sparse = scipy.sparse.issparse(data.x) and not sparse
        refill = self.order is not None or dense_from_sparse

        bounds = _bounds(network, data, batch_size, alpha, refill)
        scratch: dict[int, Any] = {}
        self.parts = [
            _Part(network, start, stop, size, alpha, sparse, scratch)
            for start, stop, size in bounds
        ]
        # Data that lie in place are taken once.
        self.in_place = self.order is None and (not dense_from_sparse or len(self.parts) == 1)
        if self.in_place:
            for part in self.parts:
                part.fill(data, None)
        self.losses_by_step = (
            network.loss_name == "squared_error" and network.n_outputs > 1 and alpha > 0
        )
        self.pool: ThreadPoolExecutor | None = None

    @property
    def many_at_once(self) -> bool:
        """Whether one call of the kernel can go through several epochs."""
        return self.in_place and len(self.parts) == 1 and not self.losses_by_step

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Context in which :meth:`run` may be called: threads are there."""
        threads = max(part.n_threads for part in self.parts)
        workers = helpers(threads - 1) if threads > 1 else nullcontext()
        with self.parts[0]._limited_blas(self.network._training_plan), workers as self.pool:
            try:
                yield
            finally:
                self.pool = None

    def run(self, rates: np.ndarray) -> np.ndarray:
        """Train for some epochs.

        Parameters
        ----------
        rates : ndarray of float64, shape (epochs, batches)
            Learning rate of each step.

        Returns
        -------
        ndarray of float64, shape (finished,)
            Loss of each epoch. Fewer than asked for if a loss was not finite: the step of that
            batch was not done.
        """
        losses = np.full(rates.shape, np.nan)
        if self.many_at_once:
            part = self.parts[0]
            self._train(part, 0, losses.reshape(-1), rates.reshape(-1))
            self.state.epochs += len(rates)
        else:
            for epoch in range(len(rates)):
                if self.order is not None:
                    drawn = np.arange(len(self.order))
                    self.rng.shuffle(drawn)
                    self.order = self.order[drawn]
                column = 0
                for index, part in enumerate(self.parts):
                    if not self.in_place:
                        part.fill(self.data, self.order)
                    columns = slice(column, column + part.batches)
                    if not self._train(part, index, losses[epoch, columns], rates[epoch, columns]):
                        break
                    column += part.batches
                self.state.epochs += 1
                if not np.isfinite(losses[epoch]).all():
                    break
        self.state.updates = self.network._updates
        means = losses @ (self.sizes / self.sizes.sum())
        if self.network.loss_name == "squared_error" and not self.losses_by_step:
            means /= self.network.n_outputs
        finite = np.isfinite(means)
        return means[: len(means) if finite.all() else int(finite.argmin())]

    def _train(self, part: _Part, index: int, losses: np.ndarray, rates: np.ndarray) -> bool:
        """Steps of one part; whether all were done."""
        net = self.network
        net.l2, net._seed = part.l2, (self.state.seed + index) % 2**31
        step = self.state.epochs * part.batches
        if not self.losses_by_step:
            done = part._train(step, len(losses), losses, self.pool, rates)
            losses[done:] = np.nan
            return done == len(losses)
        for i in range(len(losses)):
            one, penalty = losses[i : i + 1], net._penalty()
            if not part._train(step + i, 1, one, self.pool, rates[i : i + 1]):
                losses[i:] = np.nan
                return False
            one[0] = (one[0] - penalty) / net.n_outputs + penalty
        return True


def _pays_sparse(x: Any, network: Network) -> bool:
    """Whether the first layer should read sparse rows."""
    plan = network._training_plan
    if not scipy.sparse.issparse(x):
        return _sparse_pays(x, plan)
    density = _sparse_density(plan)
    return density > 0 and x.nnz <= density * x.shape[0] * x.shape[1]


def _bounds(
    network: Network, data: Data, batch_size: int, alpha: float, refill: bool
) -> list[tuple[int, int, int]]:
    """Parts of an epoch: first sample, behind the last, batch size."""
    samples = len(data)
    whole = samples - samples % batch_size
    step = max(whole, 1)
    if len(data.weights) and alpha > 0:  # each batch has its own L2 factor
        step = batch_size
    elif refill:
        bytes_a_batch = batch_size * data.x.shape[1] * network.dtype.itemsize
        step = max(1, PART_BYTES // bytes_a_batch) * batch_size
    bounds = [(start, min(start + step, whole), batch_size) for start in range(0, whole, step)]
    if whole < samples:
        bounds.append((whole, samples, samples - whole))
    return bounds


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
        network.l2 = alpha / self.total if self.total > 0 else 0.0
        plan = network._plan
        self.work = plan.workspace(network.dtype)
        self.grads = plan.gradient_groups(network.dtype)
        self.outputs = network.n_outputs if network.loss_name == "squared_error" else 1
        step = samples
        if scipy.sparse.issparse(data.x):
            step = max(1, LBFGS_PART_BYTES // (data.x.shape[1] * network.dtype.itemsize))
        self.parts = [data.take(slice(start, start + step)) for start in range(0, samples, step)]
        self.dense = [_columns(self.parts[0].x)] if len(self.parts) == 1 else None

    def __call__(self, params: np.ndarray) -> tuple[float, np.ndarray]:
        net = self.network
        net.params[:] = params
        loss, gradient = 0.0, np.zeros(net.n_params)
        for index, part in enumerate(self.parts):
            weights = part.weights
            share = float(weights.sum(dtype=np.float64)) if len(weights) else float(len(part))
            loss += share * net._kernels.loss_and_grad(
                net._plan.net(net._loss_code),
                self.dense[index] if self.dense else _columns(part.x),
                np.ascontiguousarray(part.targets.T),
                weights,
                0,
                0,
                net.params,
                self.work,
                self.grads,
            )
            gradient += share * self.grads[0]
        scale = 1.0 / self.total if self.total > 0 else 0.0
        gradient *= scale
        weights_of_gradient, _ = net.unflatten(gradient)
        for dw, w in zip(weights_of_gradient, net.weights, strict=True):
            dw += net.l2 * w
        return loss * scale / self.outputs + net._penalty(), gradient


def _columns(x: Any) -> np.ndarray:
    """Samples as the kernel takes them, (features, samples)."""
    return np.ascontiguousarray((x.toarray() if scipy.sparse.issparse(x) else x).T)
