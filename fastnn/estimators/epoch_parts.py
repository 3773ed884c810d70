"""The batches of an epoch, in parts that compiled code trains in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from fastnn.estimators.solvers import Data
from fastnn.network import Network
from fastnn.training.batches import Batches, CsrRows, prefers_sparse


@dataclass
class Part:
    """Consecutive samples of an epoch, in batches of equal size with the same L2 factor.

    Attributes
    ----------
    samples : slice
        Slice of the order of the epoch.
    batches : Batches
    n_batches : int
    """

    samples: slice
    batches: Batches
    n_batches: int


def make_parts(
    network: Network,
    data: Data,
    batch_size: int,
    order: np.ndarray | None,
    single_batches: bool,
) -> list[Part]:
    """Split an epoch into parts; parts with the same batch size share their memory.

    Parameters
    ----------
    network : Network
    data : Data
    batch_size : int
    order : ndarray of int64, shape (samples,), or None
        Order of the epoch, which may be changed in place between epochs.
    single_batches : bool
        Whether each batch is a part.
    """
    samples, x = len(data), _kernel_samples(data.x, network)
    whole = samples - samples % batch_size
    step = batch_size if single_batches else max(whole, 1)
    bounds = [(start, min(start + step, whole), batch_size) for start in range(0, whole, step)]
    if whole < samples:
        bounds.append((whole, samples, samples - whole))
    first: dict[int, Batches] = {}
    parts = []
    for start, stop, size in bounds:
        sparse, share_memory_with = isinstance(x, CsrRows), first.get(size)
        batches = Batches(network.model, size, sparse, network.n_threads, share_memory_with)
        first.setdefault(size, batches)
        part = slice(start, stop)
        if order is not None:
            batches.fill(x, data.targets, data.weights, order=order[part])
        else:
            rows = x.select(part) if isinstance(x, CsrRows) else x[part]
            batches.fill(rows, data.targets[part], data.weights[part])
        parts.append(Part(part, batches, -(-(stop - start) // size)))
    return parts


def _kernel_samples(x: Any, network: Network) -> np.ndarray | CsrRows:
    """Convert samples to the form the kernels take; sparse samples stay sparse."""
    if scipy.sparse.issparse(x):
        indices = x.indices.astype(np.int32, copy=False)
        return CsrRows(x.data[None], indices, x.indptr.astype(np.int64))
    if prefers_sparse(x, network.model):
        return CsrRows.from_dense(x, network.model.kernels, network.n_threads)
    return x
