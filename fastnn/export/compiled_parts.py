"""Parts of compiled networks: memory on the stack, tables of weights, products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastnn.backends import codes
from fastnn.backends.numba.compiling import inner, noalias
from fastnn.backends.numba.maths import exp_negative
from fastnn.backends.numba.pointers import cast_like
from fastnn.backends.plan import aligned_empty

if TYPE_CHECKING:
    from fastnn.network import Network

VECTOR_BYTES = 32  # one register of AVX2, two of SSE or NEON
TILE = 4  # number of vectors of units accumulated in registers at a time


def stack_buffer(units: int, dtype: types.Float) -> Any:
    """Create a function that returns memory for ``units`` elements on the stack.

    The memory is allocated in the entry block of the function it is compiled into, so that a call
    within a loop does not allocate it repeatedly.
    """

    @intrinsic
    def stack(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            element = context.get_value_type(dtype)
            array = cgutils.alloca_once(builder, ir.ArrayType(element, units))
            array.align = 64
            return builder.bitcast(array, element.as_pointer())

        return types.CPointer(dtype)(), codegen

    return stack


def constant_table(array: np.ndarray) -> Any:
    """Create a function that returns the address of an array, and keeps the array alive.

    The address is a dynamic one for Numba, which does not cache code that contains it; in the
    cache it would outlive the array.
    """
    result = types.CPointer(numba.from_dtype(array.dtype))

    @intrinsic
    def table(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            address = context.add_dynamic_addr(builder, array.ctypes.data, "weights of a network")
            return builder.bitcast(address, context.get_value_type(result))

        return result(), codegen

    return table


class CompiledLayer(NamedTuple):
    """A layer of a network whose weights were copied to a table.

    Attributes
    ----------
    n_in, units : int
    lanes : int
        Number of units rounded up to whole vectors.
    offset : int
        Position of the biases in the table, which the weights follow.
    activation : int
    alpha : float
    """

    n_in: int
    units: int
    lanes: int
    offset: int
    activation: int
    alpha: float


def compiled_layers(net: Network) -> tuple[list[CompiledLayer], np.ndarray]:
    """Return the layers and the table: rows of biases and weights padded with zeros."""
    layers, rows, offset = [], [], 0
    own = net.model.plan.constants[: len(net.weights) - 1]
    constants = [*own, 0.0]  # the remaining constants belong to the loss
    plan = zip(net.model.plan.layers, constants, net.weights, net.biases, strict=True)
    for row, alpha, w, b in plan:
        n_in, units = w.shape
        rows.append(pad_rows(np.concatenate([b[None], w])))
        lanes = rows[-1].shape[1]
        layers.append(
            CompiledLayer(n_in, units, lanes, offset, int(row[codes.ACTIVATION]), float(alpha))
        )
        offset += rows[-1].size
    return layers, concatenate_read_only(rows)


def pad_rows(matrix: np.ndarray) -> np.ndarray:
    """Pad the rows of a matrix with zeros to whole vectors."""
    rows, columns = matrix.shape
    per_vector = VECTOR_BYTES // matrix.dtype.itemsize
    padded = np.zeros((rows, -(-columns // per_vector) * per_vector), matrix.dtype)
    padded[:, :columns] = matrix
    return padded


def concatenate_read_only(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenate matrices in one array, aligned to a cache line."""
    values = aligned_empty((sum(matrix.size for matrix in matrices),), matrices[0].dtype)
    np.concatenate([matrix.ravel() for matrix in matrices], out=values)
    values.setflags(write=False)
    return values


def make_product(n_in: int, units: int, dtype: types.Float, biases: bool = True) -> Any:
    """Create a function ``(x, w, out)``: the first row of w (biases) plus x times the other rows.

    Without ``biases`` it computes x times all rows. ``units`` must be a multiple of the vector
    length. Written with LLVM vectors, because it is unpredictable how the compiler vectorises a
    short loop.
    """
    lanes = VECTOR_BYTES // (dtype.bitwidth // 8)
    flags = ("contract", "reassoc", "nsz")

    @intrinsic
    def product(typingctx: Any, x: Any, w: Any, out: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x_, w_, out_ = args
            number, size = context.get_value_type(dtype), context.get_value_type(types.intp)
            vector = ir.VectorType(number, lanes)
            lane = ir.IntType(32)

            def vector_at(pointer: Any, offset: Any) -> Any:
                return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())

            def load(pointer: Any, offset: Any) -> Any:
                return builder.load(vector_at(pointer, offset), align=dtype.bitwidth // 8)

            def tile(first: Any, vectors: int) -> None:
                offsets = [builder.add(first, size(v * lanes)) for v in range(vectors)]
                zero = vector([0.0] * lanes)
                starts = [load(w_, offset) if biases else zero for offset in offsets]
                sums = [cgutils.alloca_once_value(builder, start) for start in starts]
                with cgutils.for_range(builder, size(n_in)) as loop:
                    value = builder.load(builder.gep(x_, [loop.index]))
                    broadcast = builder.insert_element(vector(ir.Undefined), value, lane(0))
                    broadcast = builder.shuffle_vector(
                        broadcast, vector(ir.Undefined), ir.VectorType(lane, lanes)([0] * lanes)
                    )
                    index = builder.add(loop.index, size(1)) if biases else loop.index
                    row = builder.mul(index, size(units))
                    for total, offset in zip(sums, offsets, strict=True):
                        term = builder.fmul(load(w_, builder.add(row, offset)), broadcast, flags)
                        builder.store(builder.fadd(builder.load(total), term, flags), total)
                for total, offset in zip(sums, offsets, strict=True):
                    builder.store(
                        builder.load(total), vector_at(out_, offset), align=dtype.bitwidth // 8
                    )

            width = TILE * lanes
            if units >= width:
                with cgutils.for_range(builder, size(units // width)) as loop:
                    tile(builder.mul(loop.index, size(width)), TILE)
            if units % width:
                tile(size(units // width * width), units % width // lanes)
            return context.get_dummy_value()

        return types.void(x, w, out), codegen

    return product


def pointer_argument(
    name: str,
    dtypes: set[types.Type],
    written: bool,
    ndim: int = 1,
    reason: str = ", as the network standardises",
) -> Any:
    """Create a function that returns the address of an argument, or raises for a wrong type."""
    allowed = " or ".join(sorted(map(str, dtypes)))
    why = ", the network's dtype" if len(dtypes) == 1 else reason

    @intrinsic
    def pointer(typingctx: Any, array: Any) -> Any:
        if not (
            isinstance(array, types.Array)
            and array.ndim == ndim
            and array.layout == "C"
            and array.dtype in dtypes
            and (array.mutable or not written)
        ):
            raise TypingError(
                f"{name} must be a C-contiguous {'writeable ' if written else ''}{ndim}-D array of "
                f"{allowed}{why}; got {array}"
            )

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.make_array(array)(context, builder, args[0]).data

        return types.CPointer(array.dtype)(array), codegen

    return pointer


@inner
def softmax_sample(n, z):  # noqa: ANN001, ANN201
    """Replace the net inputs of one sample by probabilities."""
    top = z[0]
    for unit in range(1, n):
        top = top if z[unit] < top else z[unit]
    total = cast_like(z, 0.0)
    for unit in range(n):
        z[unit] = exp_negative(z[unit] - top)
    for unit in range(n):
        total += z[unit]
    for unit in range(n):
        z[unit] = z[unit] / total


def make_standardize(shift: np.ndarray, scale: np.ndarray, smooth_clip: float | None) -> Any:
    """Create a function ``(x, table, out)`` that standardises in float64; ``table`` is unused."""
    features, clips, factor = len(shift), smooth_clip is not None, 1.0 / (smooth_clip or 1.0)
    own = constant_table(np.concatenate([shift, scale]))

    @noalias
    def standardize(x, table, out):  # noqa: ANN001, ANN202
        numbers = own()
        for j in range(features):
            z = (x[j] - numbers[j]) * numbers[features + j]
            if clips:
                z = z / math.hypot(1.0, z * factor)
            out[j] = cast_like(out, z)

    return standardize
