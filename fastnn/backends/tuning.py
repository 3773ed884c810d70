"""The thresholds that choose between ways of computing: one value, each number with its reason.

None of them changes what is computed, only how: results agree to rounding. Tests reach a way of
computing by ``with tuned(shared_bytes=0): ...``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from fastnn.backends.codes import BLAS_WIDTH

# Fields that something is divided by, or counted down from.
_DIVIDE = frozenset(
    {"blas_blocks", "work_per_thread", "waking_work", "pieces_per_thread", "shared_units"}
    | {"piece_work", "piece_samples"}
    | {"probe_first", "probe_after_change", "probe_latest"}
)


@dataclass(frozen=True)
class Tuning:
    """Thresholds of plans, training and prediction.

    Parameters
    ----------
    block_bytes : int
        Scratch memory of a block of samples, which leaves room for the weights in the first-level
        cache (32 to 48 KiB) and lets the rest live in the second.
    min_block, max_block : int
        Fewest and most samples of a block, multiples of 64.
    min_shared_block, max_blas_block, blas_blocks : int
        Packed and BLAS products copy a layer's weights for each block, so that larger blocks are
        better; but a batch should have ``blas_blocks`` of them for its threads. Measured with
        batches of 1,024 and widths of 256 to 2,048: up to a sixth less time.
    blas_width : int
        Layers at least this wide on both sides may use packed or BLAS products; from how many
        weights on they do is the backend's ``BLAS_WEIGHTS``.
    shared_bytes : int
        With more bytes of parameters than the second-level cache holds, threads split the units
        of a layer, not the samples: each reads its part of the weights once for all samples of a
        block.
    shared_units : int
        Fewest units of a thread then.
    shared_samples : int
        Threads also split the units where a batch has at most so many samples, hardly more than
        one block, and there is work for two threads. Measured with widths of 96 to 480 and batches
        of 4 to 128: up to half of the time saved; from 96 samples on, which make two blocks,
        nothing.
    second_thread_work, work_per_thread : int
        A second thread pays once a step has so much work, and each further one with so much more:
        counted as parameters times samples. Where threads split units they meet more often: not
        below ``work_per_thread``.
    update_samples : int
        An update costs about as much as so many samples.
    waking_work : int
        Waking a thread for a prediction costs the time of about so many multiply-adds of a small
        network (60 to 90 us): ``work / n + n * waking_work`` is least with
        ``sqrt(work / waking_work)`` threads.
    pieces_per_thread : int
        Pieces of a prediction that threads take one after the other, for when a core is busy.
    piece_work, piece_samples : int
        Most multiply-adds and samples of such a piece, about 0.05 s: Ctrl-C waits for its end.
    sparse_density, sparse_density_wide : float
        Data with at most this share of nonzero numbers go through the first layer as sparse
        rows; the latter from ``sparse_units_wide`` units on. Measured by ``benchmarks.cliffs``.
    sparse_features, sparse_units, sparse_units_wide : int
        Fewest features and units of the first layer for that: its loops run along the units.
    chunk_seconds : float
        Python gets control back after about so long, for progress, Ctrl-C and stopping: short
        enough to feel immediate, long enough that a chunk's fixed cost (20 us) does not show.
    probe_first, probe_after_change, probe_latest : int
        Chunks before one is made with the other number of threads (all, or one) to see which is
        faster: in a new run, after a change, and at most; each time nothing changes it takes twice
        as many. A run's first chunks tell little, since memory is touched for the first time.
        Measured on 2 cores, one of them busy with another program: 12 to 45% less time;
        where nothing else runs, a chunk in 32 made with one thread costs 3% at the most.
    sparse_product_density : float
        Predictions for samples in CSR format with at most this share of stored numbers take
        SciPy's product for the first layer. Measured with 1,000 to 20,000 features: half of the
        time with a tenth stored, a fiftieth with 0.3%.
    dense_bytes, lbfgs_dense_bytes : int
        Sparse samples that predictions and L-BFGS make dense at a time.
    """

    block_bytes: int = 64 * 1024
    min_block: int = 64
    max_block: int = 512
    min_shared_block: int = 128
    max_blas_block: int = 256
    blas_blocks: int = 8
    blas_width: int = BLAS_WIDTH
    shared_bytes: int = 1024 * 1024
    shared_units: int = 48
    shared_samples: int = 96
    second_thread_work: int = 200_000
    work_per_thread: int = 1_000_000
    update_samples: int = 8
    waking_work: int = 1_000_000
    pieces_per_thread: int = 4
    piece_work: int = 500_000_000
    piece_samples: int = 1_000_000
    sparse_density: float = 0.3
    sparse_density_wide: float = 0.45
    sparse_features: int = 64
    sparse_units: int = 16
    sparse_units_wide: int = 64
    chunk_seconds: float = 0.04
    probe_first: int = 8
    probe_after_change: int = 2
    probe_latest: int = 32
    sparse_product_density: float = 0.1
    dense_bytes: int = 16 * 1024 * 1024
    lbfgs_dense_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check(field.name, getattr(self, field.name))
        if self.min_block > self.max_block:
            raise ValueError(
                f"min_block must be at most max_block, {self.max_block}; got {self.min_block}"
            )

    @staticmethod
    def _check(name: str, value: Any) -> None:
        """Raise unless a field has a value that plans and kernels can work with."""
        if isinstance(getattr(Tuning, name), float):
            if (
                isinstance(value, bool)
                or not isinstance(value, Real)
                or not 0 <= float(value) < math.inf
            ):
                raise ValueError(f"{name} must be a finite number of at least 0; got {value!r}")
            return
        # blocks end where the 64 bits of a non-zero mask do
        multiple = 64 if name.endswith("_block") else 1
        low = multiple if name.endswith("_block") or name in _DIVIDE else 0
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or value < low or value % multiple:
            kind = "multiple of 64" if multiple > 1 else "whole number"
            raise ValueError(f"{name} must be a {kind} of at least {low}; got {value!r}")

    def step_work(self, n_params: int, batch_size: int) -> int:
        """Work of a training step, in the unit of ``work_per_thread``."""
        return n_params * (batch_size + self.update_samples)

    def wanted_threads(self, n_params: int, batch_size: int) -> int:
        """How many threads a training step has enough work for."""
        work = self.step_work(n_params, batch_size)
        return max(1 + (work >= self.second_thread_work), 1 + work // self.work_per_thread)

    def density(self, features: int, units: int) -> float:
        """Largest share of nonzero numbers at which a first layer reads sparse rows."""
        if features < self.sparse_features or units < self.sparse_units:
            return 0.0
        return self.sparse_density if units < self.sparse_units_wide else self.sparse_density_wide


_current = Tuning()


def tuning() -> Tuning:
    """The thresholds in force: those of plans, networks and trainings that are made now."""
    return _current


@contextmanager
def tuned(**changes: Any) -> Iterator[Tuning]:
    """Context with other thresholds, for tests and measurements.

    They belong to the process. Networks made before keep their plans for predictions.

    Parameters
    ----------
    **changes
        Fields of :class:`Tuning`.

    Raises
    ------
    ValueError
        On values that plans cannot be made of.
    TypeError
        On names that are no fields.
    """
    global _current
    before = _current
    _current = replace(before, **changes)
    try:
        yield _current
    finally:
        _current = before
