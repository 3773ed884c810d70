"""State that a training run carries from call to call, and snapshots to restore."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fastnn.backends.interface import Rule
from fastnn.backends.plan import aligned_zeros
from fastnn.training.optimizers import Optimizer, optimizer_from_dict

_NONE = np.empty(0)


class Record(NamedTuple):
    """Steps that a run has done, derived from the losses that the kernels have written.

    Ctrl-C may interrupt Python anywhere, also between a chunk of steps and the line that would
    count them. Steps are therefore not counted: before a chunk its losses are set to NaN, and a
    step is done if its loss is finite.

    Attributes
    ----------
    updates : int
        Updates done before the chunk.
    epochs : int
        Epochs trained before the run.
    steps : int
        Steps of the run done before the chunk.
    batches : int
        Steps per epoch.
    losses : ndarray of float64
        Losses of the chunk.
    """

    updates: int = 0
    epochs: int = 0
    steps: int = 0
    batches: int = 1
    losses: np.ndarray = _NONE

    @property
    def done(self) -> int:
        """Number of completed steps of the chunk: those before the first non-finite loss."""
        losses = self.losses
        count = len(losses)
        if not count or math.isfinite(losses[-1]):  # they are written in order
            return count
        return int(np.isfinite(losses).argmin())


@dataclass
class TrainingState:
    """Optimizer, moments and counters of a training; the methods take the parameters.

    Attributes
    ----------
    seed : int
        Seed of the order of the samples and of dropout.
    optimizer : Optimizer or None
        None before the first training.
    rule : Rule or None
        The optimizer in the form the kernels take.
    moments : ndarray, shape (optimizer.n_moments, n_params)
        Moments of the update rule; with ``ema``, the last row is the average of the parameters.
    left : ndarray, shape (n_params,), or None
        Copy of the average with which the last training replaced the parameters. The parameters
        themselves are then in the last row of ``moments``.
    record : Record
    averaged : bool
        Whether parameters and average are exchanged: the parameter vector contains the average,
        and the last row of ``moments`` the parameters.
    exchange : tuple or None
        Pending exchange of parameters and average, completed by :meth:`settle`.
    counter : ndarray of int64, shape (1,), or None
        Number of updates, shared with compiled code that reads and increments it; -1 if
        ``moments`` is no longer the array that this code references. See
        :meth:`fastnn.Network.numba_tape`.
    """

    seed: int = 0
    optimizer: Optimizer | None = None
    rule: Rule | None = None
    moments: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    left: np.ndarray | None = None
    record: Record = field(default_factory=Record)
    averaged: bool = False
    exchange: tuple[np.ndarray, np.ndarray, bool] | None = None
    counter: np.ndarray | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__.setdefault("averaged", self.left is not None)  # pickled by fastnn 0.1

    # --- counters -------------------------------------------------------------------

    def _counts(self) -> tuple[int, int]:
        """Return the numbers of updates and of epochs."""
        before, epochs, steps, batches, _ = record = self.record
        done = record.done
        updates = before + done
        if self.counter is not None:
            updates = max(updates, int(self.counter[0]))
        return updates, epochs + (steps + done) // batches

    @property
    def updates(self) -> int:
        """Number of updates done with these moments."""
        return self._counts()[0]

    @property
    def steps(self) -> int:
        """Number of steps done in the run."""
        return self.record.steps + self.record.done

    @property
    def epochs(self) -> int:
        """Epochs trained over all calls; the random streams continue from this number."""
        return self._counts()[1]

    @epochs.setter
    def epochs(self, epochs: int) -> None:
        self.record = Record(self.updates, epochs)

    def start_run(self, batches: int, epochs: int | None = None, steps: int = 0) -> None:
        """Start a run with ``batches`` steps per epoch; a resumed run starts at ``steps``."""
        updates, before = self._counts()
        self.record = Record(updates, before if epochs is None else epochs, steps, batches)

    def start_chunk(self, losses: np.ndarray) -> None:
        """Start a chunk of steps that write their losses to this array."""
        losses.fill(np.nan)
        updates, epochs, steps, batches, before = record = self.record
        done = record.done if len(before) else 0
        self.record = Record(updates + done, epochs, steps + done, batches, losses)

    def start_step(self, losses: np.ndarray) -> None:
        """Start a run of one step, which :meth:`end` adds to the counters."""
        losses[0] = np.nan
        self.record = Record(*self._counts(), 0, 1, losses)

    def count_update(self, updates: int) -> None:
        """Set the number of updates after one outside of a run."""
        record = self.record
        epochs = self.epochs if record.steps or len(record.losses) else record.epochs
        self.record = Record(updates, epochs)
        if self.counter is not None:
            self.show_count()

    def shared_counter(self) -> np.ndarray:
        """Return ``counter``, which is created at the first call."""
        if self.counter is None:
            self.counter = np.array([self.updates])
        return self.counter

    def show_count(self, valid: bool = True) -> None:
        """Write the number of updates to ``counter``; -1 unless the moments are still valid."""
        if self.counter is not None:
            self.counter[0] = self.record.updates if valid else -1
            self.counter = self.counter if valid else None

    def end_chunk(self) -> None:
        """Add the chunk to the counters and drop the reference to its losses."""
        record = self.record
        done = record.done
        self.record = Record(
            record.updates + done, record.epochs, record.steps + done, record.batches
        )

    # --- runs -----------------------------------------------------------------------

    def begin(self, optimizer: Optimizer, params: np.ndarray) -> None:
        """Begin a training, or continue the last one if the optimizer is equal.

        Training continues from the parameters, not from their average. If the user has changed
        the parameters since, parameters and average both continue from the changed values.
        """
        if not self.moments.flags.writeable:  # memory-mapped by joblib.load(mmap_mode="r")
            own = aligned_zeros(self.moments.shape, self.moments.dtype)
            own[:] = self.moments
            self.moments = own
        self.settle(params)
        if optimizer is not self.optimizer and optimizer != self.optimizer:
            self.optimizer = None  # so that an interrupt cannot leave an inconsistent state
            self.show_count(valid=False)
            self.left, self.averaged = None, False
            self.record = Record(0, self.epochs)
            self.moments = aligned_zeros((optimizer.n_moments, len(params)), params.dtype)
            self.rule = optimizer.for_kernels()
            self.optimizer = optimizer
        elif self.averaged and self.left is not None and not np.array_equal(params, self.left):
            self.moments[-1] = params
            self.averaged, self.left = False, None
        else:
            self.show_average(params, False)
            self.left = None

    def end(self, params: np.ndarray, best: np.ndarray | None = None) -> None:
        """End a training: set the parameters to ``best`` or to their average, if there is one.

        Idempotent, so that it can be repeated after Ctrl-C.
        """
        self.show_average(params, True)
        if best is not None:
            params[:] = best
        self.left = params.copy() if self.has_average else None
        self.record = Record(*self._counts())
        self.show_count()

    def to_dict(self, params: np.ndarray) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
        """Return what a model file stores of a training, which may be in progress.

        Parameters
        ----------
        params : ndarray, shape (n_params,)

        Returns
        -------
        fields : dict
            Plain data.
        moments : ndarray
            All moments in one vector.
        params : ndarray, shape (n_params,)
            Parameters to store: the average if there is one.
        """
        rule = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.in_use.to_dict().items()
        }
        self.settle(params)
        moments, shown = self.moments, params
        if self.has_average and not self.averaged:  # between two steps
            shown, moments = moments[-1].copy(), moments.copy()
            moments[-1] = params
        elif self.left is not None and not np.array_equal(params, self.left):
            moments = moments.copy()  # the average was changed by the user: see begin
            moments[-1] = params
        counters = {"updates": self.updates, "epochs": self.epochs, "seed": self.seed}
        return {"rule": rule, **counters}, moments.ravel(), shown

    def resume(self, fields: dict[str, Any], moments: np.ndarray, params: np.ndarray) -> None:
        """Restore the state that :meth:`to_dict` returned."""
        self.show_count(valid=False)
        self.optimizer = optimizer_from_dict(fields["rule"])
        self.rule = self.optimizer.for_kernels()
        self.moments = aligned_zeros((self.optimizer.n_moments, len(params)), params.dtype)
        self.moments[:] = moments.reshape(self.moments.shape)
        self.record = Record(fields["updates"], fields["epochs"])
        self.seed = fields["seed"]
        self.averaged = self.has_average
        self.left = params.copy() if self.averaged else None

    @property
    def in_use(self) -> Optimizer:
        """The optimizer; training must have begun."""
        assert self.optimizer is not None, "no training has begun"
        return self.optimizer

    @property
    def is_continued_without(self) -> bool:
        """Whether the network was trained before but the state of its optimizer was not kept."""
        return self.optimizer is None and self.epochs > 0

    @property
    def has_average(self) -> bool:
        """Whether there is an average of the parameters."""
        return bool(self.optimizer is not None and self.optimizer.ema and self.updates)

    def show_average(self, params: np.ndarray, shown: bool) -> None:
        """Exchange ``params`` and their average, if there is one and ``shown`` is not yet true.

        With ``shown=False`` the exchange is undone. Ctrl-C may come between any two lines, so the
        values are noted first, in one assignment; :meth:`settle` writes them and is idempotent.
        """
        self.settle(params)
        if self.averaged != shown and self.has_average:
            self.exchange = params.copy(), self.moments[-1].copy(), shown
            self.settle(params)

    def settle(self, params: np.ndarray) -> None:
        """Complete a pending exchange of parameters and average."""
        if self.exchange is not None:
            self.moments[-1], params[:], self.averaged = self.exchange
            self.exchange = None

    @contextmanager
    def average(self, params: np.ndarray) -> Iterator[None]:
        """Context in which ``params`` contains the average of the parameters."""
        self.show_average(params, True)
        try:
            yield
        finally:
            self.show_average(params, False)


class Snapshot:
    """Parameters, moments and counters of one step, restored if the training diverges.

    The memory is allocated once and overwritten each time, since new memory costs more than the
    copy.

    Parameters
    ----------
    params : ndarray, shape (n_params,)
    state : TrainingState
    with_moments : bool
        Whether to keep the moments. If not, restoring sets them to zero, which saves memory.
    """

    def __init__(self, params: np.ndarray, state: TrainingState, with_moments: bool) -> None:
        self.params, self.state = params, state
        self._params = np.empty_like(params)
        self._moments = np.empty_like(state.moments) if with_moments else None
        self._record = state.record
        self.due = 0.0

    @property
    def fits(self) -> bool:
        """Whether the moments still have the shape they had when the snapshot was made."""
        return self._moments is None or self._moments.shape == self.state.moments.shape

    @property
    def has_moments(self) -> bool:
        """Whether the snapshot contains the moments."""
        return self._moments is not None

    def take(self) -> None:
        """Save the current state; set ``due`` so that copying takes at most 2% of the time."""
        before = time.perf_counter()
        self._params[:] = self.params
        if self._moments is not None:
            self._moments[:] = self.state.moments
        self._record = self.state.record  # between two chunks: no losses are pending
        now = time.perf_counter()
        self.due = now + 50 * (now - before)

    def restore(self) -> None:
        """Go back to the step at which the snapshot was taken."""
        self.params[:] = self._params
        self.state.moments[:] = 0 if self._moments is None else self._moments
        record = self._record
        self.state.record = record._replace(updates=0) if self._moments is None else record
        self.state.show_count()
