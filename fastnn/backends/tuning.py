"""Thresholds by which plans, training and prediction choose between implementations.

No threshold changes what is computed, only how; results agree to rounding. Tests select an
implementation with ``with tuned(split_units_bytes=0): ...``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from fastnn.backends.codes import WIDE_LAYER_UNITS

# Fields that must be positive: divisors, and initial values of counters that count down.
_POSITIVE = frozenset(
    {"wide_blocks", "work_per_thread", "wake_thread_work", "pieces_per_thread", "min_split_units"}
    | {"piece_work", "piece_samples"}
    | {"first_probe", "probe_after_change", "max_probe_interval"}
)


@dataclass(frozen=True)
class Tuning:
    """Thresholds of plans, training and prediction.

    Parameters
    ----------
    block_bytes : int
        Target size of the scratch memory of a block of samples. It leaves room for the weights in
        the first-level cache (32 to 48 KiB); what does not fit stays in the second-level cache.
    min_block, max_block : int
        Smallest and largest number of samples per block, multiples of 64.
    min_split_block, max_wide_block, wide_blocks : int
        Packed and BLAS products copy a layer's weights for each block, so that larger blocks are
        better; but a batch should have ``wide_blocks`` blocks for its threads. Measured with
        batches of 1,024 and widths of 256 to 2,048: up to a sixth less time.
    wide_layer_units : int
        Layers with at least this many inputs and units may use packed or BLAS products. The
        backend's ``WIDE_LAYER_WEIGHTS`` is the number of weights from which they do.
    split_units_bytes : int
        If the parameters have more bytes than this (the second-level cache), threads split the
        units of a layer, not the samples: each thread reads its part of the weights once for all
        samples of a block.
    min_split_units : int
        Smallest number of units per thread if threads split the units.
    split_units_samples : int
        Threads also split the units if a batch has at most this many samples, hardly more than
        one block, and there is enough work for two threads. Measured with widths of 96 to 480 and
        batches of 4 to 128: saves up to half of the time, but nothing with batches of two blocks.
    second_thread_work, work_per_thread : int
        A second thread is worthwhile if a step has at least ``second_thread_work``, and n threads
        if it has ``(n - 1) * work_per_thread``. The unit is parameters times samples. Threads that
        split the units of small batches synchronise more often, and only if a step has at least
        ``work_per_thread``.
    update_samples : int
        Cost of an update, as a number of samples.
    wake_thread_work : int
        Cost of waking a thread for a prediction, as a number of multiply-adds of a small network
        (60 to 90 us). The time ``work / n + n * wake_thread_work`` is least for
        ``n = sqrt(work / wake_thread_work)`` threads.
    pieces_per_thread : int
        Pieces per thread into which a prediction is split. Threads take the pieces one by one, so
        that a busy core delays the result little.
    piece_work, piece_samples : int
        Largest number of multiply-adds and of samples per piece, about 0.05 s: Ctrl-C takes effect
        at the end of a piece.
    sparse_density, sparse_density_wide : float
        Data with at most this fraction of nonzero values go through the first layer as sparse
        rows; ``sparse_density_wide`` applies to ``sparse_units_wide`` units or more. Measured by
        ``benchmarks.cliffs``.
    sparse_features, sparse_units, sparse_units_wide : int
        Smallest numbers of features and units of the first layer for sparse rows, since the loops
        of the sparse product run along the units.
    chunk_seconds : float
        Duration of a chunk, after which Python regains control for progress, Ctrl-C and stopping:
        short enough to feel immediate, long enough to make a chunk's fixed cost (20 us) negligible.
    first_probe, probe_after_change, max_probe_interval : int
        Number of chunks before a part of one is run with the other number of threads (all, or
        one) to compare their speed: in a new run (apart from the second chunk, if the first was
        short), after a change, and at most. The number doubles with every probe that changes
        nothing. Measured on 2 cores, one of them busy with another program: 40 to 80% less time.
        On an idle machine, a quarter of one chunk in 32 run with one thread costs at most 1%.
    sparse_product_density : float
        Predictions for CSR samples with at most this fraction of stored values use SciPy's sparse
        product for the first layer. Measured with 1,000 to 20,000 features: half of the time with
        a density of 0.1, a fiftieth with 0.003.
    dense_bytes, lbfgs_dense_bytes : int
        Size of the parts in which predictions and L-BFGS convert sparse samples to dense ones.
    """

    block_bytes: int = 64 * 1024
    min_block: int = 64
    max_block: int = 512
    min_split_block: int = 128
    max_wide_block: int = 256
    wide_blocks: int = 8
    wide_layer_units: int = WIDE_LAYER_UNITS
    split_units_bytes: int = 1024 * 1024
    min_split_units: int = 48
    split_units_samples: int = 96
    second_thread_work: int = 200_000
    work_per_thread: int = 1_000_000
    update_samples: int = 8
    wake_thread_work: int = 1_000_000
    pieces_per_thread: int = 4
    piece_work: int = 500_000_000
    piece_samples: int = 1_000_000
    sparse_density: float = 0.3
    sparse_density_wide: float = 0.45
    sparse_features: int = 64
    sparse_units: int = 16
    sparse_units_wide: int = 64
    chunk_seconds: float = 0.04
    first_probe: int = 8
    probe_after_change: int = 2
    max_probe_interval: int = 32
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
        """Raise ValueError if a value is not valid for the field."""
        if isinstance(getattr(Tuning, name), float):
            if (
                isinstance(value, bool)
                or not isinstance(value, Real)
                or not 0 <= float(value) < math.inf
            ):
                raise ValueError(f"{name} must be a finite number of at least 0; got {value!r}")
            return
        # non-zero masks have 64 samples per integer
        multiple = 64 if name.endswith("_block") else 1
        low = multiple if name.endswith("_block") or name in _POSITIVE else 0
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or value < low or value % multiple:
            kind = "multiple of 64" if multiple > 1 else "whole number"
            raise ValueError(f"{name} must be a {kind} of at least {low}; got {value!r}")

    def step_work(self, n_params: int, batch_size: int) -> int:
        """Return the work of a training step, in the unit of ``work_per_thread``."""
        return n_params * (batch_size + self.update_samples)

    def useful_threads(self, n_params: int, batch_size: int) -> int:
        """Return the number of threads for which a training step has enough work."""
        work = self.step_work(n_params, batch_size)
        return max(1 + (work >= self.second_thread_work), 1 + work // self.work_per_thread)

    def density(self, features: int, units: int) -> float:
        """Return the largest fraction of nonzero values at which the first layer is sparse."""
        if features < self.sparse_features or units < self.sparse_units:
            return 0.0
        return self.sparse_density if units < self.sparse_units_wide else self.sparse_density_wide


_current = Tuning()


def tuning() -> Tuning:
    """Return the current thresholds, which new plans, networks and trainings use."""
    return _current


@contextmanager
def tuned(**changes: Any) -> Iterator[Tuning]:
    """Change thresholds within a context, for tests and measurements.

    The change applies to the whole process. Existing networks keep their plans for predictions.

    Parameters
    ----------
    **changes
        Fields of :class:`Tuning`.

    Raises
    ------
    ValueError
        If a value is not valid.
    TypeError
        If a name is not a field.
    """
    global _current
    before = _current
    _current = replace(before, **changes)
    try:
        yield _current
    finally:
        _current = before
