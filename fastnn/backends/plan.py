"""The plan: the tables derived from the layer sizes that all three backends read.

The parameters are one flat vector: for each dense layer the weights ``(fan_in, fan_out)`` in
row-major order, then the biases ``(fan_out,)``. Gradients and optimiser moments have the same
layout.

Scratch memory ("work") is also one flat vector. Every matrix in it is ``(units, block_size)``
with the samples contiguous, so that the inner loops of the kernels run along the samples at full
vector width even if a layer is narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fastnn.backends import codes
from fastnn.backends.codes import MAX_GROUPS
from fastnn.backends.interface import Net
from fastnn.backends.tuning import Tuning, tuning

ALIGNMENT = 64  # bytes: a cache line, and the widest vector

# Widest layer of a network that is compiled to a function (``numba_predict``), which keeps the
# outputs of two layers on the stack: 256 KiB in float64, half of the smallest thread stacks.
MAX_COMPILED_UNITS = 16_384


@dataclass(frozen=True)
class Plan:
    """Sizes, offsets and codes of one network.

    Attributes
    ----------
    header : ndarray of int64, shape (HEADER_SIZE,)
        Numbers of the whole network, indexed by the names in :mod:`fastnn.backends.codes`.
    layers : ndarray of int64, shape (rows, LAYER_COLUMNS)
        One row per layer, in order.
    constants : ndarray of float64, shape (rows,) or longer
        The constant of each layer: the slope of leaky_relu, alpha of elu, the rate of dropout;
        for the output layer the constant of the loss. A loss with several constants (quantiles)
        has the others at the end of the array. For a custom activation or loss, the constant is
        what ``for_kernels`` returns: the address of a compiled function, or for the NumPy
        kernels the pair of functions (the array then has dtype object).
    tuning : Tuning
        The thresholds used to make the plan.
    """

    header: np.ndarray
    layers: np.ndarray
    constants: np.ndarray
    tuning: Tuning

    def net(self, loss: int, l2: float = 0.0) -> Net:
        """Return the plan with a loss (its code) and an L2 factor, as the kernels take them."""
        return Net(self.header, self.layers, self.constants, loss, l2)

    @property
    def n_params(self) -> int:
        """Number of weights and biases."""
        return int(self.header[codes.N_PARAMS])

    @property
    def block_size(self) -> int:
        """Number of samples per block."""
        return int(self.header[codes.BLOCK_SIZE])

    @property
    def groups(self) -> int:
        """Largest number of partial gradient sums per batch."""
        return int(self.header[codes.GROUPS])

    def useful_threads(self, batch_size: int) -> int:
        """Return how many threads are worthwhile for training with this batch size."""
        limits = self.tuning
        wanted = limits.useful_threads(self.n_params, batch_size)
        if self.header[codes.SPLIT_UNITS]:
            widest = int(self.layers[:, [codes.FAN_IN, codes.FAN_OUT]].max())
            max_threads = -(-widest // limits.min_split_units)
        else:
            max_threads = min(-(-batch_size // self.block_size), self.groups)
        return max(1, min(wanted, max_threads))

    def dense_rows(self) -> list[np.ndarray]:
        """Return the rows of the dense layers, first to last."""
        return [row for row in self.layers if row[codes.KIND] == codes.DENSE]

    @property
    def first_layer(self) -> tuple[int, int]:
        """Numbers of inputs and of units of the first layer."""
        return int(self.layers[0, codes.FAN_IN]), int(self.layers[0, codes.FAN_OUT])

    def workspace(self, dtype: np.dtype, n_threads: int = 1, sparse: bool = False) -> np.ndarray:
        """Allocate scratch memory, one row per thread; its contents are undefined between calls.

        Sparse input needs additional memory: one index for each value of a block and each feature.
        """
        size = int(self.header[codes.WORK_SIZE])
        if sparse:
            size += -(-(self.block_size + 1) * int(self.layers[0, codes.FAN_IN]) // 16) * 16
        return aligned_empty((n_threads, size), dtype)

    def gradient_groups(self, dtype: np.dtype) -> np.ndarray:
        """Allocate memory for the partial gradient sums, ``(groups, n_params)``."""
        return aligned_empty((self.groups, self.n_params), dtype)


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Allocate an uninitialised C-contiguous array aligned to a cache line."""
    return _aligned(np.empty, shape, np.dtype(dtype))


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Allocate an array of zeros aligned to a cache line."""
    return _aligned(np.zeros, shape, np.dtype(dtype))


def _aligned(
    allocate: Callable[..., np.ndarray], shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    # One vector of padding at the end: kernels read whole vectors, even past the end of a row.
    nbytes = math.prod(map(int, shape)) * dtype.itemsize
    buffer = allocate(nbytes + 2 * ALIGNMENT, np.uint8)
    start = -buffer.__array_interface__["data"][0] % ALIGNMENT
    return buffer[start : start + nbytes].view(dtype).reshape(shape)


def batch_matrices(rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Copy training data to the layout that kernels take for CONSECUTIVE batches.

    Parameters
    ----------
    rows : ndarray, shape (samples, columns)
    batch_size : int

    Returns
    -------
    ndarray, shape (columns, samples)
        The batches follow one another in memory, each ``(columns, batch)`` in C order. The shape
        of the array itself is meaningful only if there is a single batch.
    """
    samples, columns = rows.shape
    if samples <= batch_size:
        return rows.T.copy()
    whole = samples - samples % batch_size
    flat = np.empty(rows.size, rows.dtype)
    for part, size in ((slice(0, whole), batch_size), (slice(whole, samples), samples - whole)):
        chosen = rows[part]
        if len(chosen):
            shape = (len(chosen) // size, columns, size)
            there = flat[part.start * columns : part.stop * columns].reshape(shape)
            there[...] = chosen.reshape(shape[0], size, columns).transpose(0, 2, 1)
    return flat.reshape(columns, samples)


def make_plan(
    layer_sizes: list[int],
    activations: list[int],
    alphas: list[float],
    dropout: list[float],
    n_targets: int,
    itemsize: int,
    kernels: Any,
    batch_size: int = 0,
    sparse: bool = False,
    limits: Tuning | None = None,
) -> Plan:
    """Make the plan of a dense network.

    Parameters
    ----------
    layer_sizes : list of int
        Inputs, hidden layers, outputs.
    activations : list of int
        Code of each dense layer; IDENTITY for the output layer, since the loss is computed from
        net inputs.
    alphas : list
        Activation constant of each dense layer (see :class:`Plan`, ``constants``); for the output
        layer the constant of the loss. If the loss has several, they are the last entries.
    dropout : list of float
        Dropout rate after each hidden layer, 0 for none. Empty: no dropout in any layer.
    n_targets : int
        Rows of the target matrix: 1 for class indices; fewer than outputs if the loss has several
        outputs per target.
    itemsize : int
        Bytes per element, from which the size of a block in the cache follows.
    kernels : module
        The backend. A layer with at least ``WIDE_LAYER_WEIGHTS`` weights uses BLAS or packed
        products, which need ``product_scratch`` elements of scratch memory.
    batch_size : int
        Samples per batch, 0 if unknown. If known, wide networks use larger blocks, and threads
        split the units of each layer if the samples are few.
    sparse : bool
        Whether the products of the first layer skip zeros, so that there is less work to split.
    limits : Tuning, optional
        Default: :func:`fastnn.backends.tuning.tuning`.

    Returns
    -------
    Plan
    """
    limits = tuning() if limits is None else limits
    n_params = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(layer_sizes))
    split_units = n_params * itemsize > limits.split_units_bytes or (
        not sparse
        and 0 < batch_size <= limits.split_units_samples
        and limits.step_work(n_params, batch_size) >= limits.work_per_thread
        and min(layer_sizes[1:-1], default=0) >= 2 * limits.min_split_units
    )

    def wide(fan_in: int, fan_out: int) -> int:
        """Return the entry of column BLAS for a layer."""
        is_wide = min(fan_in, fan_out) >= limits.wide_layer_units
        return (1 + split_units) * int(is_wide and fan_in * fan_out >= kernels.WIDE_LAYER_WEIGHTS)

    # Offsets into scratch memory are in rows at first, because the block size is not known yet.
    sample_rows = layer_sizes[0] + n_targets + 1  # input, targets, sample weights
    rows, constants, delta = _layer_rows(
        layer_sizes, activations, alphas, dropout, sample_rows, wide
    )
    largest = max(layer_sizes[1:])
    units = delta + 2 * largest
    layers = np.array(rows, np.int64)
    products = layers[layers[:, codes.WIDE] > 0][:, [codes.FAN_IN, codes.FAN_OUT]]
    n_wide = len(products)
    block_size = _block_size(limits, units * itemsize, batch_size, bool(split_units), n_wide > 0)
    if not split_units:
        n_threads = limits.useful_threads(n_params, batch_size)
        block_size = _balance_block_size(block_size, batch_size, n_threads)
    layers[:, [codes.NET_INPUT, codes.OUTPUT]] *= block_size

    header = np.zeros(codes.HEADER_SIZE, np.int64)
    header[codes.N_PARAMS] = n_params
    header[codes.BLOCK_SIZE] = block_size
    header[codes.GROUPS] = 1 if split_units else MAX_GROUPS
    header[codes.WORK_PACKED] = units * block_size
    header[codes.N_TARGETS] = n_targets
    scratch = kernels.product_scratch(block_size, int(products.max(initial=0)), itemsize)
    header[codes.WORK_SIZE] = units * block_size + scratch
    header[codes.WORK_INPUT] = 0
    header[codes.WORK_TARGETS] = layer_sizes[0] * block_size
    header[codes.WORK_SAMPLE_WEIGHT] = (layer_sizes[0] + n_targets) * block_size
    header[codes.WORK_DELTA] = delta * block_size
    header[codes.WORK_DELTA_OTHER] = (delta + largest) * block_size
    header[codes.SPLIT_UNITS] = split_units
    values = np.array(constants)
    if values.dtype != object:
        values = values.astype(np.float64)
    for array in (header, layers, values):
        array.setflags(write=False)
    return Plan(header, layers, values, limits)


def _layer_rows(
    layer_sizes: list[int],
    activations: list[int],
    alphas: list[float],
    dropout: list[float],
    units: int,
    wide: Callable[[int, int], int],
) -> tuple[list[list[int]], list[float], int]:
    """Return the rows of the table, the constants, and the next free row of scratch memory."""
    rows: list[list[int]] = []
    constants: list[float] = []
    n_params, last = 0, len(layer_sizes) - 2
    for k, (fan_in, fan_out) in enumerate(pairwise(layer_sizes)):
        net_input = output = units
        units += fan_out
        if activations[k] in codes.NEEDS_NET_INPUT:
            output = units
            units += fan_out
        weights, biases = n_params, n_params + fan_in * fan_out
        n_params = biases + fan_out
        kind = wide(fan_in, fan_out)
        rows.append(
            [codes.DENSE, fan_in, fan_out, weights, biases, activations[k], kind, net_input, output]
        )
        constants.append(alphas[k])
        if k < last and dropout and dropout[k] > 0.0:
            rows.append([codes.DROPOUT, fan_out, fan_out, 0, 0, codes.IDENTITY, 0, units, units])
            constants.append(dropout[k])
            units += fan_out
    return rows, constants + alphas[last + 1 :], units


def _block_size(
    limits: Tuning, sample_bytes: int, batch_size: int, split_units: bool, wide: bool
) -> int:
    """Return the number of samples per block, a multiple of 64."""
    cached = limits.block_bytes // sample_bytes // 64 * 64
    smallest = limits.min_block
    if split_units:
        smallest = max(limits.min_split_block, -(-batch_size // 64) * 64)
    elif wide:
        of_batch = batch_size // limits.wide_blocks // 64 * 64
        smallest = max(smallest, min(of_batch, limits.max_wide_block))
    return min(max(cached, smallest), limits.max_block)


def _balance_block_size(block_size: int, batch_size: int, n_threads: int) -> int:
    """Enlarge a block, to less than twice its size, so that the threads have equal work.

    For example, with blocks of 64 the first of two threads would process 128 of 200 samples; with
    blocks of 96 the busier thread processes 104.
    """
    if not block_size < batch_size <= MAX_GROUPS * block_size:
        return block_size

    def most_samples(size: int) -> int:
        """Return the number of samples of the busiest thread."""
        blocks = [min(size, batch_size - first) for first in range(0, batch_size, size)]
        return max(sum(blocks[thread::n_threads]) for thread in range(n_threads))

    return min(range(block_size, 2 * block_size, 32), key=most_samples)
