"""Training data in the form the kernels take, together with the scratch memory of a call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import ModuleType
from typing import NamedTuple

import numpy as np

from fastnn.backends import codes
from fastnn.backends.interface import Chunk, Data, Memory, Team
from fastnn.backends.model import Model
from fastnn.backends.plan import batch_matrices
from fastnn.backends.tuning import tuning
from fastnn.training.forks import delay_forks
from fastnn.training.pool import is_worker, run_pieces
from fastnn.training.state import TrainingState
from fastnn.training.team import run_in_worker, run_team
from fastnn.training.threads import default_threads

PART_BYTES = 1 << 18  # size of the pieces that are compressed at a time, so that they fit the cache
_NO_INDICES, _NO_INDPTR = np.empty(0, np.int32), np.empty(0, np.int64)


class CsrRows(NamedTuple):
    """Sparse samples (CSR) in the form the kernels take.

    Attributes
    ----------
    values : ndarray, shape (1, stored)
    indices : ndarray of int32, shape (stored,)
    indptr : ndarray of int64, shape (samples + 1,)
    """

    values: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray

    def select(self, part: slice) -> CsrRows:
        """Return the consecutive rows ``part``, as views."""
        return CsrRows(self.values, self.indices, self.indptr[part.start : part.stop + 1])

    @classmethod
    def from_dense(
        cls, x: np.ndarray, kernels: ModuleType, n_threads: int | None = None
    ) -> CsrRows:
        """Compress the rows of a dense matrix.

        Parameters
        ----------
        x : ndarray, shape (samples, features)
        kernels : module
            The backend.
        n_threads : int, optional
        """
        bounds = [*range(0, len(x), max(1, PART_BYTES // x[0].nbytes)), len(x)]
        indptr = np.zeros(len(x) + 1, np.int64)

        def count(k: int) -> None:
            part = slice(bounds[k], bounds[k + 1])
            # NumPy counts booleans several times as fast as numbers
            indptr[1:][part] = np.count_nonzero(x[part] != 0, axis=1)

        def compress(k: int) -> None:
            kernels.compress(x, bounds[k], bounds[k + 1], indptr, indices, values[0])

        n_threads = 1 if is_worker() else n_threads or default_threads()
        run_pieces(count, len(bounds) - 1, n_threads)
        np.cumsum(indptr, out=indptr)
        values, indices = np.empty((1, indptr[-1]), x.dtype), np.empty(indptr[-1], np.int32)
        run_pieces(compress, len(bounds) - 1, n_threads)
        return cls(values, indices, indptr)


def prefers_sparse(x: np.ndarray, model: Model) -> bool:
    """Whether the data are sparse enough for CSR rows to be faster, judged by 1,000 samples."""
    density = tuning().density(*model.plan.first_layer) if model.is_threaded else 0.0
    if density == 0.0:
        return False
    sample = x[:: -(-len(x) // 1000)]
    return bool(np.count_nonzero(sample) <= density * sample.size)


class Batches:
    """Consecutive batches of equal size, with their plan, scratch memory and number of threads.

    Parameters
    ----------
    model : Model
    batch_size : int
    sparse : bool
        Whether the samples are passed as :class:`CsrRows`.
    n_threads : int or None
        Maximum number of threads; None for :func:`fastnn.training.threads.default_threads`. Fewer
        are used if a step has too little work for all of them.
    share_memory_with : Batches, optional
        Another instance with the same ``batch_size`` whose scratch memory is shared.
    """

    def __init__(
        self,
        model: Model,
        batch_size: int,
        sparse: bool = False,
        n_threads: int | None = None,
        share_memory_with: Batches | None = None,
    ) -> None:
        self.model, self.batch_size = model, batch_size
        self.plan = model.batch_plan(batch_size, sparse)
        self.n_threads = self.plan.useful_threads(batch_size) if model.is_threaded else 1
        if self.n_threads > 1:
            self.n_threads = min(n_threads or default_threads(), self.n_threads)
        if share_memory_with is None:
            self.grads, self.work = model.training_memory(self.plan, self.n_threads, sparse)
        else:
            self.grads, self.work = share_memory_with.grads, share_memory_with.work
        self.single_thread = Team(0, 1, np.zeros(codes.SYNC_SIZE, np.int64))

    def fill(
        self,
        x: np.ndarray | CsrRows,
        targets: np.ndarray,
        weights: np.ndarray,
        shuffled: bool = False,
        order: np.ndarray | None = None,
    ) -> None:
        """Set the samples to train on.

        Parameters
        ----------
        x : ndarray of shape (samples, features), or Rows
        targets : ndarray, shape (samples, 1 or outputs)
        weights : ndarray, shape (samples,) or (0,)
        shuffled : bool
            Whether the kernels draw a new order of the samples in every epoch.
        order : ndarray of int64, optional
            Row numbers of one epoch, batch after batch. The array is not copied: changes made to
            it later take effect at the next call of :meth:`train`.
        """
        samples, size = len(targets), self.batch_size
        sampling = codes.SHUFFLED if shuffled else codes.CONSECUTIVE
        if order is not None:
            sampling = codes.GIVEN_ORDER
        else:
            order = np.empty(samples if shuffled else 0, np.int64)
        consecutive = sampling == codes.CONSECUTIVE
        indices, indptr = _NO_INDICES, _NO_INDPTR
        if isinstance(x, CsrRows):
            x, indices, indptr = x
        elif consecutive:
            x = batch_matrices(x, size)
        targets = batch_matrices(targets, size) if consecutive else np.ascontiguousarray(targets)
        self.data = Data(x, indices, indptr, targets, weights, size, sampling)
        self.memory = Memory(self.grads, order, self.work)

    def train(
        self,
        state: TrainingState,
        rates: np.ndarray,
        first_step: int,
        losses: np.ndarray,
        l2: float = 0.0,
        seed: int | None = None,
        pool: ThreadPoolExecutor | None = None,
        n_threads: int = 1,
    ) -> int:
        """Do a chunk of training steps.

        Parameters
        ----------
        state : TrainingState
        rates : ndarray of float64, shape (steps,)
            Learning rates.
        first_step : int
            Number of the first step, from which epoch and batch follow.
        losses : ndarray of float64, shape (steps,)
            Output: the objective of each batch before its step.
        l2 : float
        seed : int, optional
            Defaults to ``state.seed``.
        pool : ThreadPoolExecutor, optional
            Pool with at least ``n_threads - 1`` idle threads. The NumPy backend runs in one of
            them, so that Ctrl-C cannot interrupt it within a step.
        n_threads : int
            Maximum number of threads; ``self.n_threads`` is a further bound.

        Returns
        -------
        int
            Number of steps done: all, or those before the first loss that is not finite.
        """
        model = self.model
        net = self.plan.net(model.loss, l2)
        chunk = Chunk(rates, first_step, state.updates, state.seed if seed is None else seed)
        n_threads = min(n_threads, self.n_threads)
        if n_threads == 1 and model.is_threaded and not model.uses_blas:
            team, memory, moments = self.single_thread, self.memory, state.moments
            return model.kernels.train(
                net, self.data, state.rule, chunk, team, model.params, moments, memory, losses
            )
        sync = np.zeros(codes.SYNC_SIZE, np.int64)

        def run(thread: int) -> int:
            with delay_forks() if model.uses_blas or not model.is_threaded else nullcontext():
                return model.kernels.train(
                    net,
                    self.data,
                    state.rule,
                    chunk,
                    Team(thread, n_threads, sync),
                    model.params,
                    state.moments,
                    self.memory,
                    losses,
                )

        # An overflow shows up in the loss, so NumPy's warning is redundant.
        with np.errstate(over="ignore", invalid="ignore"):
            if not model.is_threaded and pool is not None:
                return run_in_worker(run, pool, sync)
            return run(0) if n_threads == 1 else run_team(run, n_threads, pool, sync)
