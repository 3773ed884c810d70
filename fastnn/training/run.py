"""The training loop: chunks of compiled steps, with checks in Python between the chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from fastnn.backends import codes
from fastnn.backends.model import Model
from fastnn.backends.tuning import tuning
from fastnn.errors import DivergenceError
from fastnn.training.batches import Batches
from fastnn.training.blas import limited_blas
from fastnn.training.checkpoints import Checkpoints, RunPosition
from fastnn.training.history import BestEpoch, EarlyStopping, History, Progress
from fastnn.training.pool import check_stopped
from fastnn.training.state import Snapshot, TrainingState
from fastnn.training.team import ThreadTuner, receives_signals, started_threads
from fastnn.validation import all_finite


def exclusive_training(model: Model) -> AbstractContextManager:
    """Context of a training run; an error if the model is already being trained.

    The context is the lock itself, so that Ctrl-C cannot come between acquiring and releasing it.
    """
    if model.training_lock.locked():
        raise RuntimeError(
            "this network is being trained already, in another thread or around this callback; "
            "train a copy of it (copy.deepcopy)"
        )
    return model.training_lock


class Run:
    """A training run of some epochs: base class of the runs of networks and of estimators.

    Subclasses override the maximum length of a chunk (:meth:`max_steps`), its learning rates
    (:meth:`rates`), the training itself (:meth:`train`), what happens before and after a chunk
    (:meth:`before_chunk`, :meth:`after_chunk`), and the reaction to a loss that is not finite
    (:meth:`diverged`).

    Parameters
    ----------
    model : Model
        Its parameters are trained in place.
    state : TrainingState
        Its optimizer must be set.
    epochs : int
    sizes : ndarray of float64, shape (batches per epoch,)
        Number of samples of each batch of an epoch.
    parts : sequence of Batches
        Batches of an epoch. Their data must be set before they are trained.
    l2 : float
    n_threads : int or None
        Maximum number of BLAS threads, for the NumPy backend.
    checkpoints : Checkpoints or None
    position : RunPosition or None
        Position in a checkpoint from which to resume; model and state must already be restored.

    Attributes
    ----------
    total : int
        Number of steps requested.
    stopped : str
        Why training ended: "epochs", "early stopping", "callback" or "interrupted".
    unit : int
        The number of steps of a chunk is a multiple of this, unless a limit cuts it.
    """

    def __init__(
        self,
        model: Model,
        state: TrainingState,
        epochs: int,
        sizes: np.ndarray,
        parts: Sequence[Batches],
        l2: float = 0.0,
        n_threads: int | None = None,
        checkpoints: Checkpoints | None = None,
        position: RunPosition | None = None,
    ) -> None:
        self.model, self.state, self.parts, self.l2 = model, state, parts, l2
        self.sizes, self.batches, self.unit = sizes, len(sizes), 1
        if position is None:
            position = RunPosition(state.epochs, 0, len(sizes))
        self.total, self.first_epoch = epochs * len(sizes), position.first_epoch
        state.start_run(len(sizes), position.first_epoch, position.steps)
        self.checkpoints, self.start = checkpoints, position
        self.started = time.perf_counter() - position.seconds
        self.stopped = "epochs"
        self.pool: ThreadPoolExecutor | None = None
        self.n_threads = 1  # of the next chunk
        # Compiled backends use their own threads, so BLAS gets one; NumPy relies on BLAS threads.
        if model.is_threaded:
            self.blas_threads = 1 if model.uses_blas else None
        else:
            self.blas_threads = n_threads

    def execute(self) -> None:
        """Train until all steps are done or something, such as Ctrl-C, stops the run."""
        max_threads = max([part.n_threads for part in self.parts])
        team, length = ThreadTuner(max_threads), 1
        blas = nullcontext() if self.blas_threads is None else limited_blas(self.blas_threads)
        helpers = max_threads - 1 if self.model.is_threaded else int(receives_signals())
        threads = started_threads(helpers) if helpers else nullcontext()
        with blas, threads as self.pool:
            try:
                self.begin()
                while self.stopped == "epochs" and (left := self.total - self.step) > 0:
                    count = min(length * self.unit, left, self._max_chunk_steps())
                    self.n_threads = team.choose()
                    if self.n_threads != team.threads:  # a probe, which may be several times slower
                        count = min(count, max(1, length // 4) * self.unit)
                    seconds = self._chunk(count)
                    self.save_due_checkpoint()
                    team.report(self.n_threads, seconds, count)
                    length = next_length(length, count / self.unit, seconds)
            except KeyboardInterrupt:
                self.stopped = "interrupted"
                self.state.settle(self.model.params)
                self.interrupted()
            self.finished()

    def _max_chunk_steps(self) -> int:
        """Steps until a check in Python or a checkpoint is due."""
        max_threads, checkpoints = self.max_steps(), self.checkpoints
        until = checkpoints and checkpoints.max_steps(self.step, self.batches)
        return min(max_threads, until) if until else max_threads

    def save_due_checkpoint(self) -> None:
        """Write a checkpoint if it is due."""
        if self.checkpoints is not None and self.checkpoints.is_due(self.step, self.batches):
            self.checkpoints.save(self.position())

    def _chunk(self, count: int) -> float:
        """Train ``count`` steps and process their losses; return the training time in seconds."""
        self.before_chunk()
        losses, rates = self.new_losses(count), self.rates(count)
        self.state.start_chunk(losses)
        before = time.perf_counter()
        done = self.train(rates, losses)
        seconds = time.perf_counter() - before
        self.state.end_chunk()
        if done < count:
            self.diverged(losses[: done + 1])
        else:
            self.after_chunk(losses)
        check_stopped()
        return seconds

    @property
    def step(self) -> int:
        """Number of steps done."""
        return self.state.steps

    # --- methods that subclasses may override ---------------------------------------

    def begin(self) -> None:
        """Called before the first chunk."""

    def position(self) -> RunPosition:
        """Position of this run, for a checkpoint."""
        raise NotImplementedError

    def max_steps(self) -> int:
        """Maximum number of steps until the next check in Python."""
        return self.total

    def rates(self, count: int) -> np.ndarray:
        """Learning rates of the next steps."""
        return np.full(count, self.state.in_use.learning_rate)

    def train(self, rates: np.ndarray, losses: np.ndarray) -> int:
        """Do the next steps; return their number, which is smaller if a loss is not finite."""
        (batches,) = self.parts
        first = self.first_epoch * self.batches + self.step
        return batches.train(
            self.state, rates, first, losses, self.l2, pool=self.pool, n_threads=self.n_threads
        )

    def before_chunk(self) -> None:
        """Called before each chunk."""

    def new_losses(self, count: int) -> np.ndarray:
        """Return the array for the losses of the next ``count`` steps."""
        return np.empty(count)

    def after_chunk(self, losses: np.ndarray) -> None:
        """Called after each complete chunk, with the losses of its steps."""

    def diverged(self, losses: np.ndarray) -> None:
        """Called if a chunk stopped early: the last loss is not finite and its step not done."""
        raise NotImplementedError

    def interrupted(self) -> None:
        """Called after Ctrl-C, in a chunk or in any of these methods."""

    def finished(self) -> None:
        """Called after the last chunk, whatever ended the run."""


def next_length(length: int, count: float, seconds: float) -> int:
    """Length of the next chunk, so that it takes ``chunk_seconds``, in any unit.

    Parameters
    ----------
    length : int
        Length of the last chunk if nothing had shortened it; the next one has at most 8 times this.
    count : float
        Length of the last chunk.
    seconds : float
        Time of the last chunk.
    """
    aim = int(count * tuning().chunk_seconds / max(seconds, 1e-9))
    return max(1, min(aim, 8 * length))


class Validation:
    """Loss and score on held-out data after every epoch, with early stopping.

    Parameters
    ----------
    measure : callable
        Takes no arguments and returns loss and score of the current parameters.
    stopping : EarlyStopping or None
    """

    def __init__(
        self, measure: Callable[[], tuple[float, float]], stopping: EarlyStopping | None
    ) -> None:
        self.measure, self.stopping = measure, stopping
        self.values: list[tuple[float, float]] = []
        self.best = BestEpoch()

    def after_epoch(self, epoch: int, params: np.ndarray) -> bool:
        """Record an epoch (counted from 0); return whether training should stop."""
        # a diverging network may overflow here before the training loss does
        with np.errstate(over="ignore", invalid="ignore"):
            loss, score = self.measure()
        # Update the best first: after Ctrl-C between the two, the epoch is measured again.
        if self.stopping is not None and loss < self.best.loss - self.stopping.min_delta:
            self.best = BestEpoch(loss, epoch, params.copy())
        self.values.append((loss, score))
        return self.is_over

    @property
    def is_over(self) -> bool:
        """Whether the loss has not improved for ``patience`` epochs."""
        stopping, epoch = self.stopping, len(self.values) - 1
        return stopping is not None and epoch - self.best.epoch >= stopping.patience


class FitRun(Run):
    """The run of one call of ``fit``, with progress, callbacks, validation and history.

    Parameters
    ----------
    model, state, epochs, sizes, parts, l2, n_threads
        As for :class:`Run`.
    progress : Progress
        Object passed to the callbacks.
    callbacks : sequence of callables
    validation : Validation or None
    """

    def __init__(
        self,
        *arguments: Any,
        progress: Progress,
        callbacks: Sequence[Callable[[Progress], bool | None]] = (),
        validation: Validation | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.progress, self.callbacks, self.validation = progress, callbacks, validation
        # Save memory: the moments of a large network are not kept, except for an average (ema).
        large = self.model.plan.header[codes.SPLIT_UNITS] and not self.state.in_use.ema
        self.snapshot = Snapshot(self.model.params, self.state, with_moments=not large)
        self.losses: list[np.ndarray] = [self.start.losses]
        if validation is not None and self.start.validation is not None:
            validation.values = [(loss, score) for loss, score in self.start.validation.tolist()]
            validation.best = self.start.best
        before = time.perf_counter()
        if self.model.kernels.NAME == "numba":
            self.train(np.empty(0), np.empty(0))  # no steps: only compiles the kernels
        self.compile_seconds = time.perf_counter() - before
        self.started += self.compile_seconds

    def begin(self) -> None:
        """In a resumed run, validate the last epoch if missing, and check whether to stop."""
        validation = self.validation
        if validation is None or self.step == 0:
            return
        if self.step % self.batches == 0 and len(validation.values) < self.step // self.batches:
            self._validate()
        if validation.is_over or self.start.is_over:
            self.stopped = "early stopping"

    def position(self) -> RunPosition:
        """Position of this run, for a checkpoint."""
        validation = self.validation
        return RunPosition(
            self.first_epoch,
            self.step,
            self.batches,
            time.perf_counter() - self.started,
            validation is not None and validation.is_over,
            np.concatenate(self.losses)[: self.step],
            None if validation is None else np.array(validation.values).reshape(-1, 2),
            BestEpoch() if validation is None else validation.best,
        )

    def max_steps(self) -> int:
        """With validation, the steps up to the end of the epoch."""
        return self.total if self.validation is None else self.batches - self.step % self.batches

    def before_chunk(self) -> None:
        """Take a snapshot if one is due, after checking that the parameters are finite."""
        if time.perf_counter() >= self.snapshot.due:
            self._check_finite()
            self.snapshot.take()

    def new_losses(self, count: int) -> np.ndarray:
        """Return the array for the losses of the next steps, which the history keeps."""
        self.losses.append(np.empty(count))
        return self.losses[-1]

    def after_chunk(self, losses: np.ndarray) -> None:
        """Show progress, validate at the end of an epoch, call the callbacks."""
        progress, step = self.progress, self.step
        progress.step, progress.epoch = step, step // self.batches
        progress.loss = float(losses[-1])
        progress.seconds = time.perf_counter() - self.started
        if self.validation is not None and step % self.batches == 0 and self._validate():
            self.stopped = "early stopping"
        for callback in self.callbacks:
            if callback(progress):
                self.stopped = "callback"

    def _validate(self) -> bool:
        """Validate the epoch that has ended; return whether training should stop."""
        assert self.validation is not None
        params, progress = self.model.params, self.progress
        with self.state.average(params):
            stop = self.validation.after_epoch(self.step // self.batches - 1, params)
        progress.validation_loss, progress.validation_score = self.validation.values[-1]
        return stop

    def _is_finite(self, final: bool = False) -> bool:
        """Whether parameters and moments are finite.

        If the snapshots have no moments (large networks), those are checked only if ``final``.
        """
        moments = self.state.moments
        check_moments = moments.size > 0 and (final or self.snapshot.has_moments)
        return all_finite(self.model.params) and (not check_moments or all_finite(moments))

    def _check_finite(self, final: bool = False) -> None:
        """Detect parameters or moments that are not finite although the losses are.

        Parameters can be infinite behind a saturating activation. Moments can overflow, such as a
        sum of squares in float32; the parameters would then no longer change.
        """
        if not self._is_finite(final):
            self.diverged(np.array([np.inf]))

    def diverged(self, losses: np.ndarray) -> None:
        """Raise DivergenceError, after restoring the last snapshot if values are not finite."""
        failed = self.step + 1
        if not self._is_finite(final=True):
            self.snapshot.restore()
        raise DivergenceError(failed, float(losses[-1]), self.state.in_use.learning_rate)

    def finished(self) -> None:
        """Check parameters and moments a last time, and write the last checkpoint."""
        self._check_finite(final=True)
        self.done = self.step
        self.seconds = time.perf_counter() - self.started
        if self.checkpoints is not None:
            self.checkpoints.save(self.position())

    def history(self) -> History:
        """Return the history: losses per epoch, batches weighted by size as in scikit-learn."""
        losses = np.concatenate(self.losses)[: self.done]
        epochs = len(losses) // self.batches
        each = losses[: epochs * self.batches].reshape(epochs, self.batches)
        validation = self.validation
        weights = self.sizes / self.sizes.sum()
        values = np.empty((0, 2))
        if validation:
            values = np.array(validation.values, np.float64).reshape(-1, 2)
        if validation and len(values) < epochs:  # Ctrl-C came before the last validation
            values = np.concatenate([values, np.full((epochs - len(values), 2), np.nan)])
        best = BestEpoch() if validation is None else validation.best
        return History(
            # the rounding of a matrix product would depend on the number of epochs
            loss=(each * weights).sum(axis=1) if self.batches > 1 else each[:, 0],
            validation_loss=values[:, 0].copy() if validation else None,
            validation_score=values[:, 1].copy() if validation else None,
            seconds=self.seconds,
            steps=len(losses),
            stopped=self.stopped,
            best_epoch=best.epoch if best.params is not None else None,
            compile_seconds=self.compile_seconds,
        )


def batch_sizes(samples: int, batch_size: int) -> np.ndarray:
    """Number of samples of each batch of an epoch."""
    sizes = np.full(-(-samples // batch_size), batch_size, np.float64)
    sizes[-1] = samples - (len(sizes) - 1) * batch_size
    return sizes
