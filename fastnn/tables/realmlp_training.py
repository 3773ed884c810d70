"""Training of RealMLP-TD-S: a run with the paper's schedule, validation and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.errors import DivergenceError
from fastnn.memory import check_memory
from fastnn.network import Network
from fastnn.tables.checkpoints import CheckpointOptions, fingerprint_of
from fastnn.tables.realmlp import Samples, rule_of
from fastnn.training.batches import Batches, CsrRows, prefers_sparse
from fastnn.training.checkpoints import RunPosition
from fastnn.training.history import BestEpoch
from fastnn.training.optimizers import Adam
from fastnn.training.run import Run
from fastnn.training.schedules import SCHEDULES
from fastnn.training.state import TrainingState

BATCH_SIZE = 256
RATE = {"classification": 0.04, "regression": 0.07}
BETA_1, BETA_2, EPSILON = 0.9, 0.95, 1e-8


@dataclass
class Record:
    """Record of a training run.

    Attributes
    ----------
    losses : list of float
        For each epoch, the mean loss of its batches, each evaluated before its update.
    errors : list of float
        Error on the held-out samples after each epoch.
    best_epoch : int
        Epoch whose parameters were kept, counted from 0.
    stopped : str
        Why the training ended: "epochs", "time limit", "interrupted" or "diverged".
    """

    losses: list[float]
    errors: list[float]
    best_epoch: int
    stopped: str


def train(
    net: Network,
    data: Samples,
    held_out: Samples | None,
    epochs: int,
    *,
    rate: float | None = None,
    by_error: bool = True,
    time_limit: float | None = None,
    after_epoch: Callable[[list[float]], object] | None = None,
    checkpointing: CheckpointOptions | None = None,
) -> Record:
    """Train a network created by :func:`fastnn.tables.realmlp.new_network`.

    Parameters
    ----------
    net : Network
        Afterwards has the parameters of the best epoch.
    data : Samples
    held_out : Samples or None
        Samples for choosing the best epoch, the last one in case of ties. None: the last epoch is
        used.
    epochs : int
    rate : float, optional
        Base learning rate; default: that of :data:`RATE`.
    by_error : bool
        Whether the best epoch has the smallest error (the fraction of wrong classes, or the mean
        squared error) rather than the smallest loss.
    time_limit : float, optional
        Limit in seconds; if necessary, fewer epochs are trained.
    after_epoch : callable, optional
        Called after each epoch with the losses of all epochs so far.
    checkpointing : CheckpointOptions, optional
        Where checkpoints are written, and whether to resume from one.

    Returns
    -------
    Record

    Raises
    ------
    DivergenceError
        If the loss is not finite before the first epoch ends.
    ValueError
        If the checkpoint belongs to another training.
    """
    task = "regression" if net.is_regression else "classification"
    # In the kernels, the squared error has the factor 1/2 and is summed over the outputs; in the
    # paper, it is averaged. Adam is invariant to this factor except for its epsilon.
    epsilon = EPSILON * net.n_outputs / 2 if net.loss_name == "squared_error" else EPSILON
    optimizer = Adam(rate or RATE[task], BETA_1, BETA_2, epsilon)
    state, kept, writer = TrainingState(net.state.seed), None, None
    if checkpointing is not None:
        settings = {"n_epochs": epochs, "optimizer": optimizer.to_dict(), "by_error": by_error}
        fingerprint = fingerprint_of(net, data, held_out, **settings)
        kept, writer = (
            checkpointing.kept(net, fingerprint, epochs),
            checkpointing.writer(net, fingerprint),
        )
    if kept is not None:
        net.params, state = kept.model.params, kept.model.state
    state.begin(optimizer, net.params)
    size = min(BATCH_SIZE, len(data.x))
    sparse = prefers_sparse(data.x, net.model)
    state.rule = rule_of(net, optimizer, size, sparse)
    if kept is not None:
        state.rule.front[:] = kept.position.front
    batches = Batches(net.model, size, sparse, net.n_threads)
    rows = CsrRows.from_dense(data.x, net.model.kernels, net.n_threads) if sparse else data.x
    batches.fill(rows, data.targets, data.weights, shuffled=True)
    checkpoints = {"checkpoints": writer, "position": None if kept is None else kept.position}
    run = RealMLPRun(net, state, epochs, batches, held_out, by_error, time_limit, **checkpoints)
    run.after_epoch = after_epoch
    usual, net.state = net.state, state  # a checkpoint contains the network with this state
    try:
        run.execute()
    finally:
        net.state = usual
    net.n_epochs_ = len(run.losses)
    return Record(run.losses, run.errors, run.best.epoch, run.stopped)


class RealMLPRun(Run):
    """Training run of one network.

    Parameters
    ----------
    net, state, epochs, batches, held_out, by_error, time_limit
        See :func:`train`.
    **checkpoints
        As for :class:`Run`.
    """

    def __init__(
        self,
        net: Network,
        state: TrainingState,
        epochs: int,
        batches: Batches,
        held_out: Samples | None,
        by_error: bool,
        time_limit: float | None,
        **checkpoints: Any,
    ) -> None:
        self.net, self.held_out, self.by_error = net, held_out, by_error
        samples, size = len(batches.data.targets), batches.batch_size
        # The kernels shuffle all samples and would process the remaining ones of an epoch as a
        # smaller batch; that step is skipped.
        self.of_kernels = -(-samples // size)
        sizes = np.full(samples // size, size, np.float64)
        checkpoints["n_threads"] = net.n_threads
        super().__init__(net.model, state, epochs, sizes, [batches], **checkpoints)
        start = self.start
        steps = f"n_epochs={epochs:,}, {self.total:,} steps, a loss each,"
        check_memory(steps, 8 * self.total)
        self.errors: list[float] = []
        self.best = BestEpoch(math.inf, -1, net.params.copy())
        # The losses of all steps are kept, so that the mean of an epoch does not depend on chunks.
        self.step_losses = np.empty(self.total)
        self.step_losses[: len(start.losses)] = start.losses
        done = 0 if start.best.params is None else start.best.epoch + 1
        if start.best.params is not None:
            self.best = start.best
        if start.validation is not None:
            self.errors = start.validation[:, 1].tolist()
            done = len(self.errors)
        self.losses = [self._mean_loss(epoch) for epoch in range(done)]
        self.after_epoch: Callable[[list[float]], object] | None = None
        self.asked, self.time_limit, self.started = self.total, time_limit, time.perf_counter()

    def max_steps(self) -> int:
        """Number of steps up to the end of the epoch."""
        return self.batches - self.step % self.batches

    def rates(self, count: int) -> np.ndarray:
        """Learning rates of the next steps, by the fraction of all steps done before each."""
        steps = np.arange(self.step, self.step + count)
        return super().rates(count) * SCHEDULES["coslog4"](steps / self.total)

    def train(self, rates: np.ndarray, losses: np.ndarray) -> int:
        """Perform the next steps; return the number of steps done."""
        epoch, batch = divmod(self.step, self.batches)
        first = epoch * self.of_kernels + batch
        (part,) = self.parts
        return part.train(
            self.state, rates, first, losses, pool=self.pool, n_threads=self.n_threads
        )

    def begin(self) -> None:
        """In a resumed run, evaluate the last epoch if its checkpoint was written before that."""
        if self.step % self.batches == 0 and len(self.losses) < self.step // self.batches:
            self._end_epoch()

    def position(self) -> RunPosition:
        """Position of this run, for a checkpoint."""
        best, validation = self.best, None
        if self.held_out is not None:
            both = zip(self.losses, self.errors, strict=False)
            validation = np.array([*both], np.float64).reshape(-1, 2)
        assert self.state.rule is not None
        return RunPosition(
            self.first_epoch,
            self.step,
            self.batches,
            time.perf_counter() - self.started,
            losses=self.step_losses[: self.step].copy(),
            validation=validation,
            best=BestEpoch() if best.epoch < 0 else best,
            front=self.state.rule.front.copy(),
        )

    def save_due_checkpoint(self) -> None:
        """Write a checkpoint if it is due, unless the run stopped early."""
        if self.stopped == "epochs":
            super().save_due_checkpoint()

    def new_losses(self, count: int) -> np.ndarray:
        """Return the part of ``step_losses`` for the next steps."""
        return self.step_losses[self.step : self.step + count]

    def _mean_loss(self, epoch: int) -> float:
        """Mean loss of the batches of an epoch."""
        return float(self.step_losses[epoch * self.batches :][: self.batches].mean())

    def after_chunk(self, losses: np.ndarray) -> None:
        """After an epoch, evaluate the held-out samples and check the time limit."""
        if self.step % self.batches == 0:
            self._end_epoch()

    def _end_epoch(self) -> None:
        """Evaluate an epoch and record it.

        The best epoch is updated before ``errors`` and ``losses``, so that after an interrupt
        between the two a resumed run evaluates the epoch again.
        """
        epoch = self.step // self.batches - 1
        loss = self._mean_loss(epoch)
        if self.held_out is None:
            self._record_best(epoch, loss)
        else:
            error = self._error(self.held_out)
            if not error > self.best.loss:
                self._record_best(epoch, error)
            self.errors.append(error)
        self.losses.append(loss)
        if self.after_epoch is not None:
            self.after_epoch(self.losses)
        if self.time_limit is not None:
            self._apply_time_limit(self.time_limit)

    def _record_best(self, epoch: int, error: float) -> None:
        """Record the epoch as the best so far if its error is finite."""
        if math.isfinite(error):
            self.best = BestEpoch(error, epoch, self.net.params.copy())

    def _error(self, held_out: Samples) -> float:
        """Fraction of wrong classes, mean squared error, or loss."""
        net = self.net
        # If the training is about to diverge, these predictions may overflow first.
        with np.errstate(over="ignore", invalid="ignore"):
            z = net.predictor(held_out.x, False, net.n_threads)
            if not self.by_error:
                return net.model.mean_loss(z.T.copy(), held_out.targets, held_out.weights)
            if net.is_regression:
                wrong = np.square(z - held_out.targets, dtype=np.float64).mean(axis=1)
            else:
                wrong = z.argmax(axis=1) != held_out.targets[:, 0]
        if not len(held_out.weights):
            return float(wrong.mean())
        return float(np.average(wrong, weights=held_out.weights))

    def _apply_time_limit(self, limit: float) -> None:
        """Stop if the time limit has passed; plan the number of epochs that fits the limit.

        The plan is made after the first epoch and updated during the first fifth of the time.
        """
        done, seconds = len(self.losses), time.perf_counter() - self.started
        if seconds >= limit and self.step < self.total:
            self.stopped = "time limit"
        elif seconds <= 0.2 * limit or done == 1:
            possible = max(done, int(0.95 * limit * done / seconds))
            self.total = min(self.asked, possible * self.batches)

    def diverged(self, losses: np.ndarray) -> None:
        """Stop; raise DivergenceError if no epoch was completed."""
        if self.best.epoch < 0:
            rate = self.state.in_use.learning_rate
            raise DivergenceError(self.step + 1, float(losses[-1]), rate)
        self.stopped = "diverged"

    def interrupted(self) -> None:
        """Raise KeyboardInterrupt if no epoch was completed: there are no parameters to keep."""
        if self.best.epoch < 0:
            raise KeyboardInterrupt

    def finished(self) -> None:
        """Write the last checkpoint and set the parameters of the best epoch."""
        if self.stopped == "epochs" and self.total < self.asked:
            self.stopped = "time limit"
        if self.checkpoints is not None and self.stopped in ("epochs", "interrupted"):
            self.checkpoints.save(self.position())
        assert self.best.params is not None  # set by __init__
        self.net.params = self.best.params
