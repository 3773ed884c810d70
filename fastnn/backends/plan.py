"""From layer sizes to the tables that all three backends read.

Parameters lie in one flat vector: per dense layer the weights
``(fan_in, fan_out)`` row by row, then the biases ``(fan_out,)``. Gradients and
optimiser moments have the same layout.

Scratch memory ("work") is one flat vector too. Every matrix in it is
``(units, block)`` with the samples contiguous, so that a kernel's inner loop
runs along the samples at full vector width however narrow the layer is.
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
    constants : ndarray of float64, shape (rows,) or longer
        A row's one real number: the slope of leaky_relu, the alpha of elu, the
        rate of dropout. A loss of several numbers, the quantiles, has the others behind the
        last row's. Of the user's own activation or loss it is what
        ``for_kernels`` gives: the address of a compiled function, or for the NumPy
        kernels the pair of functions; the array then is one of objects.
    tuning : Tuning
        The thresholds that the plan was made with.
    """

    header: np.ndarray
    layers: np.ndarray
    constants: np.ndarray
    tuning: Tuning

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

    def threads(self, batch_size: int) -> int:
        """How many threads pay for training with batches of this size."""
        limits = self.tuning
        wanted = limits.wanted_threads(self.n_params, batch_size)
        if self.header[codes.SHARED]:
            widest = int(self.layers[:, [codes.FAN_IN, codes.FAN_OUT]].max())
            most = -(-widest // limits.shared_units)
        else:
            most = min(-(-batch_size // self.block), self.groups)
        return max(1, min(wanted, most))

    def dense_rows(self) -> list[np.ndarray]:
        """Rows of the dense layers, first to last."""
        return [row for row in self.layers if row[codes.KIND] == codes.DENSE]

    @property
    def first_layer(self) -> tuple[int, int]:
        """Inputs and units of the first layer."""
        return int(self.layers[0, codes.FAN_IN]), int(self.layers[0, codes.FAN_OUT])

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
    nbytes = math.prod(map(int, shape)) * dtype.itemsize
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
    limits: Tuning | None = None,
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
        is the number of the loss, the last ones where it has several.
    dropout : list of float
        Rate behind each hidden layer, 0 for none. Empty: none anywhere.
    n_targets : int
        Rows of the target matrix: 1 for class indices, fewer than outputs too where several of
        these belong to one target.
    itemsize : int
        Bytes of one number, to fit a block into the cache.
    kernels : module
        The backend: its ``BLAS_WEIGHTS`` is from how many weights on a layer's products go through
        BLAS, and ``product_scratch`` tells how much scratch memory these need.
    batch_size : int
        Samples of a batch if known: wide networks then work on larger blocks, and threads split
        the units of a layer where the samples are few.
    sparse : bool
        Whether the first layer's products leave zeros out, so that there is less work to split.
    limits : Tuning, optional
        Default: :func:`fastnn.backends.tuning.tuning`.

    Returns
    -------
    Plan
    """
    limits = tuning() if limits is None else limits
    n_params = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(layer_sizes))
    shared = n_params * itemsize > limits.shared_bytes or (
        not sparse
        and 0 < batch_size <= limits.shared_samples
        and limits.step_work(n_params, batch_size) >= limits.work_per_thread
        and min(layer_sizes[1:-1], default=0) >= 2 * limits.shared_units
    )

    def wide(fan_in: int, fan_out: int) -> int:
        """The column BLAS."""
        is_wide = min(fan_in, fan_out) >= limits.blas_width
        return (1 + shared) * int(is_wide and fan_in * fan_out >= kernels.BLAS_WEIGHTS)

    # Offsets into scratch memory are counted in rows first: the block is not known yet.
    sample_rows = layer_sizes[0] + n_targets + 1  # input, targets, sample weights
    rows, constants, delta = _layer_rows(
        layer_sizes, activations, alphas, dropout, sample_rows, wide
    )
    largest = max(layer_sizes[1:])
    units = delta + 2 * largest
    layers = np.array(rows, np.int64)
    products = layers[layers[:, codes.BLAS] > 0][:, [codes.FAN_IN, codes.FAN_OUT]]
    block = _block(limits, units * itemsize, batch_size, bool(shared), len(products) > 0)
    if not shared:
        block = _even(block, batch_size, limits.wanted_threads(n_params, batch_size))
    layers[:, [codes.NET_INPUT, codes.OUTPUT]] *= block

    header = np.zeros(codes.HEADER_SIZE, np.int64)
    header[codes.N_PARAMS] = n_params
    header[codes.BLOCK] = block
    header[codes.GROUPS] = 1 if shared else MAX_GROUPS
    header[codes.WORK_PACKED] = units * block
    header[codes.N_TARGETS] = n_targets
    scratch = kernels.product_scratch(block, int(products.max(initial=0)), itemsize)
    header[codes.WORK_SIZE] = units * block + scratch
    header[codes.WORK_INPUT] = 0
    header[codes.WORK_TARGETS] = layer_sizes[0] * block
    header[codes.WORK_SAMPLE_WEIGHT] = (layer_sizes[0] + n_targets) * block
    header[codes.WORK_DELTA] = delta * block
    header[codes.WORK_DELTA_OTHER] = (delta + largest) * block
    header[codes.SHARED] = shared
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
    """Rows of the table, their constants, and how many rows of scratch memory come before."""
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


def _block(limits: Tuning, sample_bytes: int, batch_size: int, shared: bool, wide: bool) -> int:
    """Samples of a block, a multiple of 64."""
    fitting = limits.block_bytes // sample_bytes // 64 * 64
    least = limits.min_block
    if shared:
        least = max(limits.min_shared_block, -(-batch_size // 64) * 64)
    elif wide:
        of_batch = batch_size // limits.blas_blocks // 64 * 64
        least = max(least, min(of_batch, limits.max_blas_block))
    return min(max(fitting, least), limits.max_block)


def _even(block: int, batch_size: int, n_threads: int) -> int:
    """Samples of a block, up to twice as many, so that threads have equally much to do.

    With blocks of 64 the first of two threads had 128 of 200 samples; with 96 it has 104.
    """
    if not block < batch_size <= MAX_GROUPS * block:
        return block

    def most_samples(size: int) -> int:
        """Those of the busiest thread."""
        blocks = [min(size, batch_size - first) for first in range(0, batch_size, size)]
        return max(sum(blocks[thread::n_threads]) for thread in range(n_threads))

    return min(range(block, 2 * block, 32), key=most_samples)
