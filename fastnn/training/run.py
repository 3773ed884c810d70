"""The loop of every training: chunks of compiled steps, between which Python looks."""

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
from fastnn.training.checkpoints import Checkpoints, Point
from fastnn.training.history import Best, EarlyStopping, History, Progress
from fastnn.training.pool import check_stopped
from fastnn.training.state import Snapshot, TrainingState
from fastnn.training.team import TeamSize, receives_signals, started_threads
from fastnn.validation import all_finite


def alone(model: Model) -> AbstractContextManager:
    """Context of a training; an error where the model is in another, which it would spoil.

    What is in it is a lock alone, so that Ctrl-C cannot come between taking and giving it back.
    """
    if model.in_training.locked():
        raise RuntimeError(
            "this network is being trained already, in another thread or around this callback; "
            "train a copy of it (copy.deepcopy)"
        )
    return model.in_training


class Run:
    """A training of some epochs; ``fit`` of a network, and the base of the estimators' runs.

    A subclass changes how long a chunk may be (:meth:`most_steps`), its learning rates
    (:meth:`rates`), what trains it (:meth:`train`), what happens before and after it
    (:meth:`before_chunk`, :meth:`after_chunk`), and what a loss that is not finite means
    (:meth:`diverged`).

    Parameters
    ----------
    model : Model
        Its parameters are trained in place.
    state : TrainingState
        With an optimizer.
    epochs : int
    sizes : ndarray of float64, shape (batches per epoch,)
        Samples of each batch of an epoch.
    parts : sequence of Batches
        What an epoch trains on, with data at the latest when they are trained.
    l2 : float
    n_threads : int or None
        Most threads of BLAS, for the NumPy backend.
    checkpoints : Checkpoints or None
    point : Point or None
        Of a checkpoint, whose run this goes on with; model and state are those of it already.

    Attributes
    ----------
    total : int
        Steps asked for.
    stopped : str
        Why it ended: "epochs", "early stopping", "callback" or "interrupted".
    unit : int
        Chunks grow by so many steps.
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
        point: Point | None = None,
    ) -> None:
        self.model, self.state, self.parts, self.l2 = model, state, parts, l2
        self.sizes, self.batches, self.unit = sizes, len(sizes), 1
        if point is None:
            point = Point(state.epochs, 0, len(sizes))
        self.total, self.first_epoch = epochs * len(sizes), point.first_epoch
        state.start_run(len(sizes), point.first_epoch, point.steps)
        self.checkpoints, self.start = checkpoints, point
        self.started = time.perf_counter() - point.seconds
        self.stopped = "epochs"
        self.pool: ThreadPoolExecutor | None = None
        self.n_threads = 1  # of the next chunk
        # BLAS starts no threads beside ours; with NumPy all of its own do the work.
        if model.is_threaded:
            self.blas_threads = 1 if model.uses_blas else None
        else:
            self.blas_threads = n_threads

    def go(self) -> None:
        """Train to the end, or until something stops it; Ctrl-C is one such thing."""
        most = max([part.n_threads for part in self.parts])
        team, length, chunk_seconds = TeamSize(most), 1, tuning().chunk_seconds
        blas = nullcontext() if self.blas_threads is None else limited_blas(self.blas_threads)
        helpers = most - 1 if self.model.is_threaded else int(receives_signals())
        threads = started_threads(helpers) if helpers else nullcontext()
        with blas, threads as self.pool:
            try:
                self.begin()
                while self.stopped == "epochs" and (left := self.total - self.step) > 0:
                    count = min(length * self.unit, left, self._most_steps())
                    self.n_threads = team.choose()
                    seconds = self._chunk(count)
                    self.look_at_checkpoints()
                    team.report(self.n_threads, seconds, count)
                    aim = int(count / self.unit * chunk_seconds / max(seconds, 1e-9))
                    length = max(1, min(aim, 8 * length))
            except KeyboardInterrupt:
                self.stopped = "interrupted"
                self.state.settle(self.model.params)
                self.interrupted()
            self.finished()

    def _most_steps(self) -> int:
        """Steps until Python has to look, or a checkpoint is due."""
        most, checkpoints = self.most_steps(), self.checkpoints
        until = checkpoints and checkpoints.most_steps(self.step, self.batches)
        return min(most, until) if until else most

    def look_at_checkpoints(self) -> None:
        """Write a checkpoint if it is due."""
        if self.checkpoints is not None and self.checkpoints.is_due(self.step, self.batches):
            self.checkpoints.save(self.point())

    def _chunk(self, count: int) -> float:
        """Train some steps and look at them; returns the seconds of the training."""
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
        """Steps done."""
        return self.state.steps

    # --- what subclasses may change -----------------------------------------------

    def begin(self) -> None:
        """Before the first chunk."""

    def point(self) -> Point:
        """Where this run is, for a checkpoint."""
        raise NotImplementedError

    def most_steps(self) -> int:
        """Steps until Python has to look."""
        return self.total

    def rates(self, count: int) -> np.ndarray:
        """Learning rates of the next steps."""
        return np.full(count, self.state.in_use.learning_rate)

    def train(self, rates: np.ndarray, losses: np.ndarray) -> int:
        """Do the next steps; fewer than asked for before a loss that is not finite."""
        (batches,) = self.parts
        first = self.first_epoch * self.batches + self.step
        return batches.train(
            self.state, rates, first, losses, self.l2, pool=self.pool, n_threads=self.n_threads
        )

    def before_chunk(self) -> None:
        """Before the steps of a chunk."""

    def new_losses(self, count: int) -> np.ndarray:
        """Where the losses of the next steps will be."""
        return np.empty(count)

    def after_chunk(self, losses: np.ndarray) -> None:
        """After the steps of a chunk, with their losses."""

    def diverged(self, losses: np.ndarray) -> None:
        """The last of the losses is not finite; the step before is the last one done."""
        raise NotImplementedError

    def interrupted(self) -> None:
        """Ctrl-C came, in a chunk or in any of these functions."""

    def finished(self) -> None:
        """After the last chunk, however it came to be the last."""


class Validation:
    """Loss and score on held-out data after every epoch, and when they stop a training.

    Parameters
    ----------
    measure : callable
        Gives loss and score of the parameters as they are.
    stopping : EarlyStopping or None
    """

    def __init__(
        self, measure: Callable[[], tuple[float, float]], stopping: EarlyStopping | None
    ) -> None:
        self.measure, self.stopping = measure, stopping
        self.values: list[tuple[float, float]] = []
        self.best = Best()

    def after_epoch(self, epoch: int, params: np.ndarray) -> bool:
        """Record an epoch (counted from 0); whether training should stop."""
        # a network about to diverge may overflow here first
        with np.errstate(over="ignore", invalid="ignore"):
            loss, score = self.measure()
        # The best first: Ctrl-C between the two has the epoch measured again.
        if self.stopping is not None and loss < self.best.loss - self.stopping.min_delta:
            self.best = Best(loss, epoch, params.copy())
        self.values.append((loss, score))
        return self.is_over

    @property
    def is_over(self) -> bool:
        """Whether the loss has not fallen for too long."""
        stopping, epoch = self.stopping, len(self.values) - 1
        return stopping is not None and epoch - self.best.epoch >= stopping.patience


class FitRun(Run):
    """The training of one call of ``fit``: progress, callbacks, validation, history.

    Parameters
    ----------
    model, state, epochs, sizes, parts, l2, n_threads
        As for :class:`Run`.
    progress : Progress
        For the callbacks.
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
        # Moments of a large network would take as much memory again; an average is needed.
        large = self.model.plan.header[codes.SHARED] and not self.state.in_use.ema
        self.snapshot = Snapshot(self.model.params, self.state, with_moments=not large)
        self.losses: list[np.ndarray] = [self.start.losses]
        if validation is not None and self.start.validation is not None:
            validation.values = [(loss, score) for loss, score in self.start.validation.tolist()]
            validation.best = self.start.best
        before = time.perf_counter()
        self.train(np.empty(0), np.empty(0))  # no step: compiles what has to be compiled
        self.compile_seconds = time.perf_counter() - before
        self.started += self.compile_seconds

    def begin(self) -> None:
        """Of a resumed run: what came too late for the checkpoint, and whether it is over."""
        validation = self.validation
        if validation is None or self.step == 0:
            return
        if self.step % self.batches == 0 and len(validation.values) < self.step // self.batches:
            self._validate()
        if validation.is_over or self.start.is_over:
            self.stopped = "early stopping"

    def point(self) -> Point:
        """Where this run is."""
        validation = self.validation
        return Point(
            self.first_epoch,
            self.step,
            self.batches,
            time.perf_counter() - self.started,
            validation is not None and validation.is_over,
            np.concatenate(self.losses)[: self.step],
            None if validation is None else np.array(validation.values).reshape(-1, 2),
            Best() if validation is None else validation.best,
        )

    def most_steps(self) -> int:
        """Up to the end of the epoch if there is something to validate."""
        return self.total if self.validation is None else self.batches - self.step % self.batches

    def before_chunk(self) -> None:
        """Take a snapshot now and then, of finite parameters."""
        if time.perf_counter() >= self.snapshot.due:
            self._check_finite()
            self.snapshot.take()

    def new_losses(self, count: int) -> np.ndarray:
        """Those of the history."""
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
        """Validate the epoch that has ended; whether training should stop."""
        assert self.validation is not None
        params, progress = self.model.params, self.progress
        with self.state.average(params):
            stop = self.validation.after_epoch(self.step // self.batches - 1, params)
        progress.validation_loss, progress.validation_score = self.validation.values[-1]
        return stop

    def _is_finite(self, final: bool = False) -> bool:
        """Whether parameters are, and moments: of a large network, which take longer, ``final``."""
        moments = self.state.moments
        look = moments.size > 0 and (final or self.snapshot.has_moments)
        return all_finite(self.model.params) and (not look or all_finite(moments))

    def _check_finite(self, final: bool = False) -> None:
        """Notice numbers that are not finite though the losses are.

        Parameters behind a function that saturates; moments, such as a sum of squares beyond
        float32, whose parameters would not move any more.
        """
        if not self._is_finite(final):
            self.diverged(np.array([np.inf]))

    def diverged(self, losses: np.ndarray) -> None:
        """Raise; parameters that are not finite go back to the last snapshot, with all else."""
        failed = self.step + 1
        if not self._is_finite(final=True):
            self.snapshot.restore()
        raise DivergenceError(failed, float(losses[-1]), self.state.in_use.learning_rate)

    def finished(self) -> None:
        """A last look at parameters and moments, and a last checkpoint."""
        self._check_finite(final=True)
        self.done = self.step
        self.seconds = time.perf_counter() - self.started
        if self.checkpoints is not None:
            self.checkpoints.save(self.point())

    def history(self) -> History:
        """Steps become epochs; batches count by their size, as in scikit-learn."""
        losses = np.concatenate(self.losses)[: self.done]
        epochs = len(losses) // self.batches
        each = losses[: epochs * self.batches].reshape(epochs, self.batches)
        validation = self.validation
        values = np.array(validation.values if validation else [], np.float64).reshape(-1, 2)
        if validation and len(values) < epochs:  # Ctrl-C came before the last was validated
            values = np.concatenate([values, np.full((epochs - len(values), 2), np.nan)])
        best = Best() if validation is None else validation.best
        return History(
            loss=each @ (self.sizes / self.sizes.sum()) if self.batches > 1 else each[:, 0],
            validation_loss=values[:, 0].copy() if validation else None,
            validation_score=values[:, 1].copy() if validation else None,
            seconds=self.seconds,
            steps=len(losses),
            stopped=self.stopped,
            best_epoch=best.epoch if best.params is not None else None,
            compile_seconds=self.compile_seconds,
        )


def batch_sizes(samples: int, batch_size: int) -> np.ndarray:
    """Samples of each batch of an epoch."""
    sizes = np.full(-(-samples // batch_size), batch_size, np.float64)
    sizes[-1] = samples - (len(sizes) - 1) * batch_size
    return sizes
