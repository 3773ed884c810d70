"""From layer sizes to the tables that all three backends read.

Parameters lie in one flat vector: per dense layer the weights
``(fan_in, fan_out)`` row by row, then the biases ``(fan_out,)``. Gradients and
optimiser moments have the same layout.

Scratch memory ("work") is one flat vector too. Every matrix in it is
``(units, block)`` with the samples contiguous, so that a kernel's inner loop
runs along the samples at full vector width however narrow the layer is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.backends import codes
from fastnn.backends.codes import BLAS_WIDTH, MAX_GROUPS, SYNC_SIZE  # noqa: F401
from fastnn.backends.interface import Net

# A block of samples should leave room in the first-level cache (32 to 48 KiB)
# for the weights.
BLOCK_BYTES = 64 * 1024
MIN_BLOCK = 64
MAX_BLOCK = 512

# BLAS wants larger ones, since it copies a layer's weights for each; but threads share a batch out
# in blocks. Measured with batches of 1,024 and widths of 256 to 2,048: up to a sixth less time.
MIN_SHARED_BLOCK = 128
MAX_BLAS_BLOCK = 256
BLAS_BLOCKS = 8  # of a batch, at least

# With more parameters than the second-level cache holds, threads share out units instead of
# samples: each reads its part of the weights once for all samples of a block.
SHARED_BYTES = 1024 * 1024
SHARED_UNITS = 48  # the least of them

# And in batches of hardly more than one block, where there is work for two threads and each layer
# has units for them. Measured with widths of 96 to 480 and batches of 4 to 128: up to half of the
# time away; from 96 samples on, which make two blocks, nothing.
SHARED_SAMPLES = 96

# A second thread pays once a step has so much work, and each further one with so much more: counted
# as parameters times samples, of which an update costs about as much as eight (measured, see
# benchmarks/README.md). Where units are shared out, threads meet more often: not below the latter.
SECOND_THREAD_WORK = 200_000
WORK_PER_THREAD = 1_000_000
UPDATE_SAMPLES = 8

ALIGNMENT = 64  # bytes: a cache line, and the widest vector

# Widest layer of a network frozen for compiled code, whose scratch memory is on the stack:
# two layers of float64 are 256 KiB, half of what the smallest threads have.
MAX_FROZEN_UNITS = 16_384


@dataclass(frozen=True)
class Plan:
    """Sizes, offsets and codes of one network.

    Attributes
    ----------
    header : ndarray of int64, shape (HEADER_SIZE,)
        Whole-network numbers, indexed by the names in :mod:`fastnn.backends.codes`.
    layers : ndarray of int64, shape (rows, LAYER_COLUMNS)
        One row a layer, in order.
    constants : ndarray of float64, shape (rows,)
        A row's one real number: the slope of leaky_relu, the alpha of elu, the
        rate of dropout. Of the user's own activation or loss it is what
        ``for_kernels`` gives: the address of a compiled function, or for the NumPy
        kernels the pair of functions; the array then is one of objects.
    """

    header: np.ndarray
    layers: np.ndarray
    constants: np.ndarray

    def net(self, loss: int, l2: float = 0.0) -> Net:
        """The plan, a loss (its code) and an L2 factor as the kernels take them."""
        return Net(self.header, self.layers, self.constants, loss, l2)

    @property
    def n_params(self) -> int:
        """Number of weights and biases."""
        return int(self.header[codes.N_PARAMS])

    @property
    def block(self) -> int:
        """Samples worked through at a time."""
        return int(self.header[codes.BLOCK])

    @property
    def groups(self) -> int:
        """Largest number of partial gradient sums of one batch."""
        return int(self.header[codes.GROUPS])

    def shares(self, batch_size: int) -> int:
        """How many threads a batch has work for: blocks, or units and inputs of a layer."""
        if self.header[codes.SHARED]:
            widest = int(self.layers[:, [codes.FAN_IN, codes.FAN_OUT]].max())
            return -(-widest // SHARED_UNITS)
        return min(-(-batch_size // self.block), self.groups)

    def threads(self, batch_size: int) -> int:
        """How many threads pay for training with batches of this size."""
        work = step_work(self.n_params, batch_size)
        wanted = max(1 + (work >= SECOND_THREAD_WORK), 1 + work // WORK_PER_THREAD)
        return max(1, min(wanted, self.shares(batch_size)))

    def dense_rows(self) -> list[np.ndarray]:
        """Rows of the dense layers, first to last."""
        return [row for row in self.layers if row[codes.KIND] == codes.DENSE]

    def workspace(self, dtype: np.dtype, n_threads: int = 1, sparse: bool = False) -> np.ndarray:
        """Scratch memory, one row a thread; contents mean nothing between calls.

        Sparse input needs more: a place for each number of a block and each feature.
        """
        size = int(self.header[codes.WORK_SIZE])
        if sparse:
            size += -(-(self.block + 1) * int(self.layers[0, codes.FAN_IN]) // 16) * 16
        return aligned_empty((n_threads, size), dtype)

    def gradient_groups(self, dtype: np.dtype) -> np.ndarray:
        """Memory for the partial gradient sums, ``(groups, n_params)``."""
        return aligned_empty((self.groups, self.n_params), dtype)


def step_work(n_params: int, batch_size: int) -> int:
    """What a training step costs, in the unit of ``WORK_PER_THREAD``."""
    return n_params * (batch_size + UPDATE_SAMPLES)


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Uninitialised C-contiguous array that starts on a cache line."""
    return _aligned(np.empty, shape, np.dtype(dtype))


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Array of zeros that starts on a cache line."""
    return _aligned(np.zeros, shape, np.dtype(dtype))


def _aligned(
    allocate: Callable[..., np.ndarray], shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    # And a vector behind the end: kernels read whole ones, also where the last row ends within one.
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    buffer = allocate(nbytes + 2 * ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    return buffer[start : start + nbytes].view(dtype).reshape(shape)


def batch_matrices(rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Training data as kernels take them when they are not shuffled.

    Parameters
    ----------
    rows : ndarray, shape (samples, columns)
    batch_size : int

    Returns
    -------
    ndarray, shape (columns, samples)
        Only its memory has a meaning, and for a single batch its shape too: the
        batches one after the other, each ``(columns, batch)``.
    """
    samples, columns = rows.shape
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
) -> Plan:
    """Lay out a dense network.

    Parameters
    ----------
    layer_sizes : list of int
        Inputs, hidden layers, outputs.
    activations : list of int
        Code for each dense layer; the output layer's is IDENTITY, since the
        loss works on net inputs.
    alphas : list
        Each dense layer's activation constant (see ``constants`` above); the output layer's
        is the number of the loss.
    dropout : list of float
        Rate behind each hidden layer, 0 for none. Empty: none anywhere.
    n_targets : int
        Rows of the target matrix (1 for class indices).
    itemsize : int
        Bytes of one number, to fit a block into the cache.
    kernels : module
        The backend: its ``BLAS_WEIGHTS`` is from how many weights on a layer's products go through
        BLAS, and ``product_scratch`` tells how much scratch memory these need.
    batch_size : int
        Samples of a batch where that is known: wide networks work on more of them at a time,
        and threads share out the units of a layer where the samples are few.
    sparse : bool
        Whether the first layer's products leave zeros out, so that there is less to share out.

    Returns
    -------
    Plan
    """
    rows: list[list[int]] = []
    constants: list[float] = []
    n_params = 0
    units = layer_sizes[0] + n_targets + 1  # input, targets, sample weights
    n_dense = len(layer_sizes) - 1
    # Offsets into scratch memory are counted in rows first: the block is not known yet.
    for k in range(n_dense):
        fan_in, fan_out = layer_sizes[k], layer_sizes[k + 1]
        net_input = units
        units += fan_out
        output = net_input
        if activations[k] in codes.NEEDS_NET_INPUT:
            output = units
            units += fan_out
        weights, biases = n_params, n_params + fan_in * fan_out
        n_params = biases + fan_out
        blas = int(min(fan_in, fan_out) >= BLAS_WIDTH and fan_in * fan_out >= kernels.BLAS_WEIGHTS)
        rows.append(
            [codes.DENSE, fan_in, fan_out, weights, biases, activations[k], blas, net_input, output]
        )
        constants.append(alphas[k])
        if k < n_dense - 1 and dropout and dropout[k] > 0.0:
            rows.append([codes.DROPOUT, fan_out, fan_out, 0, 0, codes.IDENTITY, 0, units, units])
            constants.append(dropout[k])
            units += fan_out
    largest = max(layer_sizes[1:])
    delta, delta_other = units, units + largest
    units += 2 * largest

    shared = n_params * itemsize > SHARED_BYTES or (
        not sparse
        and 0 < batch_size <= SHARED_SAMPLES
        and step_work(n_params, batch_size) >= WORK_PER_THREAD
        and min(layer_sizes[1:-1], default=0) >= 2 * SHARED_UNITS
    )
    for row in rows:
        row[codes.BLAS] *= 1 + shared
    groups = 1 if shared else MAX_GROUPS
    block = BLOCK_BYTES // (units * itemsize) // 64 * 64
    least = MIN_BLOCK
    if shared:
        least = max(MIN_SHARED_BLOCK, -(-batch_size // 64) * 64)
    elif any(row[codes.BLAS] for row in rows):
        least = max(MIN_BLOCK, min(batch_size // BLAS_BLOCKS // 64 * 64, MAX_BLAS_BLOCK))
    block = min(max(block, least), MAX_BLOCK)

    layers = np.array(rows, np.int64)
    layers[:, [codes.NET_INPUT, codes.OUTPUT]] *= block
    header = np.zeros(codes.HEADER_SIZE, np.int64)
    header[codes.N_PARAMS] = n_params
    header[codes.BLOCK] = block
    header[codes.GROUPS] = groups
    header[codes.WORK_PACKED] = units * block
    header[codes.WORK_SIZE] = units * block
    wide = layers[layers[:, codes.BLAS] > 0][:, [codes.FAN_IN, codes.FAN_OUT]]
    widest = int(wide.max(initial=0))
    header[codes.WORK_SIZE] += kernels.product_scratch(block, widest, itemsize)
    header[codes.WORK_INPUT] = 0
    header[codes.WORK_TARGETS] = layer_sizes[0] * block
    header[codes.WORK_SAMPLE_WEIGHT] = (layer_sizes[0] + n_targets) * block
    header[codes.WORK_DELTA] = delta * block
    header[codes.WORK_DELTA_OTHER] = delta_other * block
    header[codes.SHARED] = shared
    for array in (header, layers):
        array.setflags(write=False)
    values = np.array(constants)
    if values.dtype != object:
        values = values.astype(np.float64)
    values.setflags(write=False)
    return Plan(header, layers, values)
