"""Single training steps with batches of the user, with memory kept from call to call."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.backends import codes
from fastnn.errors import DivergenceError
from fastnn.network import fitting
from fastnn.network.features import by_name, names_of
from fastnn.network.inputs import encode_targets
from fastnn.training.batches import Batches
from fastnn.training.optimizers import Optimizer
from fastnn.training.run import exclusive_training
from fastnn.training.state import Snapshot
from fastnn.training.team import call_to_completion
from fastnn.validation import all_finite, as_matrix, as_weights

if TYPE_CHECKING:
    from fastnn.network.network import Network

FEW_LABELS = 256  # up to this many labels are looked up one by one; beyond, NumPy is faster


class Stepper:
    """Training steps of a network with batches of a fixed size.

    Parameters
    ----------
    net : Network
    batch_size : int

    Attributes
    ----------
    is_direct : bool
        Whether a step is a single call of the kernels, possible with one thread and if no limit
        of BLAS threads has to be set. Otherwise a step is an equivalent epoch of
        :meth:`fastnn.Network.fit`.
    """

    def __init__(self, net: Network, batch_size: int) -> None:
        model, self.net, self.batch_size = net.model, net, batch_size
        self.n_threads = net.n_threads
        self.batches = Batches(model, batch_size, n_threads=net.n_threads)
        limits_blas = model.uses_blas if model.is_threaded else net.n_threads is not None
        self.is_direct = self.batches.n_threads == 1 and not limits_blas
        if self.is_direct:
            columns = net.spec.n_targets if net.spec.has_target_columns else 1
            x, targets = (np.zeros((batch_size, n), net.dtype) for n in (net.n_features, columns))
            self.batches.fill(x, targets, np.empty(0, net.dtype))
            self.data, self.params = self.batches.data, model.params
            self.losses, self.rates = np.empty(1), np.empty(1)
            self.index_of: dict[Any, int] = {}
            self.snapshot: Snapshot | None = None

    def __call__(self, X: Any, y: Any, optimizer: Optimizer, sample_weight: Any) -> float:
        """Validate the batch and do the step; return the objective before it."""
        net = self.net
        if not self.is_direct:
            job = fitting.check_job(
                net, X, y, optimizer=optimizer, epochs=1, sample_weight=sample_weight
            )
            return float(fitting.train(net, job).loss[0])
        spec, state = net.spec, net.state
        if type(X) is not np.ndarray:
            X = by_name("X", X, net.feature_names)
        x = as_matrix("X", X, spec.layer_sizes[0], spec.input_dtype)
        weights = as_weights("sample_weight", sample_weight, self.batch_size, net.dtype)
        targets = self._targets(y)
        fitting.warn_rounded(net, X, x, y, targets.T)
        if state.is_continued_without and optimizer.n_moments:
            fitting.warn_lost_moments(net.n_epochs_, "epochs", optimizer.name)
        if net.feature_names is None and type(X) is not np.ndarray:
            net.feature_names = names_of(X)
        data = self.data
        data.x[...] = (net.scales.inputs(x, spec) if spec.standardize else x).T
        data.targets[...] = targets
        self.batches.data = data._replace(sample_weight=weights) if len(weights) else data
        with exclusive_training(net.model):
            try:
                state.begin(optimizer, self.params)
                self._step()
            finally:
                call_to_completion(partial(state.end, self.params))
        return float(self.losses[0])

    def _targets(self, y: Any) -> np.ndarray:
        """The targets in the form the kernels take, transposed."""
        net, index_of = self.net, self.index_of
        if index_of and type(y) is np.ndarray and y.shape == (self.batch_size,):
            found = [index_of.get(label, -1) for label in y.tolist()]
            if min(found) >= 0:
                return np.array(found, net.dtype)
        matrix, classes, is_1d = encode_targets(net.spec, y, self.batch_size, net.classes_)
        net.classes_ = classes
        if is_1d is not None:
            net.targets_1d = is_1d
        elif self.batch_size <= FEW_LABELS and net.spec.loss_name == "cross_entropy":
            assert classes is not None  # always set for a classification
            self.index_of = {label: k for k, label in enumerate(classes.tolist())}
        return (net.scales.targets(matrix, net.spec) if net.spec.standardize else matrix).T

    def _step(self) -> None:
        """Do the step; on divergence raise, with parameters and state restored."""
        net, state, params, losses = self.net, self.net.state, self.params, self.losses
        snapshot = self.snapshot
        if snapshot is None or snapshot.state is not state or not snapshot.fits:
            large = net.model.plan.header[codes.SPLIT_UNITS] and not state.in_use.ema
            self.snapshot = snapshot = Snapshot(params, state, with_moments=not large)
        if time.perf_counter() >= snapshot.due and all_finite(params):
            snapshot.take()
        self.rates[0] = state.in_use.learning_rate
        state.start_step(losses)
        done = self.batches.train(state, self.rates, state.record.epochs, losses, net.l2)
        is_finite = all_finite(params)
        if done and is_finite:
            return
        if not is_finite:
            snapshot.restore()
        loss = float(losses[0]) if not done else float("inf")
        raise DivergenceError(1, loss, state.in_use.learning_rate)
