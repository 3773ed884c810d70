"""Pointers, matrices, memory on the stack, atomic operations.

Inside compiled code a matrix is a pointer, its size and its leading dimension, because a view of
an array costs a reference count. Row i starts at offset ``i * ld``, counted in elements; the
elements of a row are contiguous, and every inner loop runs along a row.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastnn.backends.numba.compiling import inner, llvm_intrinsic, noalias

# Samples per iteration of the widest loop: 4 interleaved vectors of 8. Rows of scratch memory are
# padded to a multiple of it, so that no loop has a scalar remainder.
PADDING = 32
STACK_ROW = 512  # elements of a row on the stack: samples for which a loss is computed at a time


class Matrix(NamedTuple):
    """Rows in memory, of which the first ``columns`` elements are used."""

    data: Any
    rows: int
    columns: int
    ld: int


@intrinsic
def pointer(typingctx, array):
    """Return a pointer to the first element of a C-contiguous array."""
    if not (isinstance(array, types.Array) and array.layout == "C"):
        raise TypingError("the kernels take C-contiguous arrays")

    def codegen(context, builder, signature, args):
        return context.make_array(array)(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen


@llvm_intrinsic(lambda pointer, offset: pointer(pointer, types.intp))
def at(builder, pointer, offset):
    """Return ``pointer + offset``, with the offset counted in elements."""
    return builder.gep(pointer, [offset])


@llvm_intrinsic(lambda pointer, other: types.boolean(pointer, other))
def same_address(builder, pointer, other):
    """Return whether two addresses are equal."""
    integer = ir.IntType(64)
    first, second = (builder.ptrtoint(address, integer) for address in (pointer, other))
    return builder.icmp_unsigned("==", first, second)


@intrinsic
def reinterpret(typingctx, pointer, template):
    """Cast a pointer to the type of another pointer, or to a pointer to elements of a dtype."""
    result = template if isinstance(template, types.CPointer) else types.CPointer(template.dtype)

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(result))

    return result(pointer, template), codegen


@intrinsic
def cast_like(typingctx, template, value):
    """Convert ``value`` to the type of ``template``, or of its elements if that is a pointer."""
    result = template.dtype if isinstance(template, types.CPointer) else template

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[1], value, result)

    return result(template, value), codegen


@intrinsic
def zero_like(typingctx, template):
    """Return a pointer to a zero."""

    def codegen(context, builder, signature, args):
        return cgutils.alloca_once_value(builder, context.get_value_type(template.dtype)(0.0))

    return template(template), codegen


@intrinsic
def stack_scratch(typingctx, template):
    """Allocate four rows of ``STACK_ROW`` uninitialized elements on the stack."""

    def codegen(context, builder, signature, args):
        element = context.get_value_type(template.dtype)
        with builder.goto_entry_block():  # cgutils.alloca_once would set all elements to zero
            array = builder.alloca(ir.ArrayType(element, 4 * STACK_ROW))
        return builder.bitcast(array, element.as_pointer())

    return template(template), codegen


@intrinsic
def call_address(typingctx, address, arguments):
    """Call the C function at an address (a number) with a tuple of arguments.

    Custom activations and losses are called in this way, so that the kernels need not be
    recompiled for them.
    """

    def codegen(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1])
        function = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        whole = context.cast(builder, args[0], address, types.int64)
        builder.call(builder.inttoptr(whole, function.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(address, arguments), codegen


# --- matrices -------------------------------------------------------------------


@inner
def minimum(a, b):
    """Return the smaller of two integers; Numba recompiles its ``min`` for every caller."""
    return a if a < b else b


@inner
def padded_size(samples):
    """Round the number of samples up to a multiple of ``PADDING``."""
    return (samples + PADDING - 1) // PADDING * PADDING


@inner
def slice_rows(matrix, begin, end):
    """Return the rows from ``begin`` up to ``end`` (exclusive)."""
    return Matrix(at(matrix.data, begin * matrix.ld), end - begin, matrix.columns, matrix.ld)


@noalias
def fill(value, n, out):
    """Set ``n`` elements to one value."""
    for s in range(n):
        out[s] = value


@noalias
def _copy(x, n, out):
    for s in range(n):
        out[s] = x[s]


@inner
def copy(x, n, out):
    """Copy ``n`` elements; nothing to do if source and destination are the same."""
    if not same_address(x, out):
        _copy(x, n, out)


@inner
def transpose(x, rows, columns, ldx, out, ldo):
    """``out[c, r] = x[r, c]``, a few columns at a time to use the cache."""
    for first in range(0, columns, 16):
        last = minimum(first + 16, columns)
        for r in range(rows):
            for c in range(first, last):
                out[c * ldo + r] = cast_like(out, x[r * ldx + c])


@inner
def gather(x, features, order, start, samples, out, ld):
    """``out[f, s] = x[order[start + s], f]``, a few samples at a time to use the cache."""
    for first in range(0, samples, 16):
        last = minimum(first + 16, samples)
        for f in range(features):
            row = at(out, f * ld)
            for s in range(first, last):
                row[s] = cast_like(out, x[order[start + s] * features + f])


# --- atomic operations ----------------------------------------------------------


@llvm_intrinsic(lambda pointer, value: types.int64(pointer, types.int64))
def atomic_fetch_add(builder, pointer, value):
    """Add to a shared integer and return its previous value."""
    return builder.atomic_rmw("add", pointer, value, "seq_cst")


@llvm_intrinsic(lambda pointer, old, value: types.boolean(pointer, types.int64, types.int64))
def atomic_compare_exchange(builder, pointer, old, value):
    """Replace a shared integer by ``value`` if it is ``old``; return whether it was."""
    return builder.extract_value(builder.cmpxchg(pointer, old, value, "seq_cst", "seq_cst"), 1)


@llvm_intrinsic(lambda pointer: types.int64(pointer))
def atomic_load(builder, pointer):
    """Read a shared integer."""
    return builder.load_atomic(pointer, "seq_cst", 8)


@llvm_intrinsic(lambda pointer, value: types.void(pointer, types.int64))
def atomic_store(builder, pointer, value):
    """Overwrite a shared integer."""
    builder.store_atomic(value, pointer, "seq_cst", 8)


@llvm_intrinsic(lambda: types.void())
def sleep_briefly(builder):
    """Sleep for 10 us, so that other threads can use the core.

    Not sched_yield: if both threads are on the same core, Linux may let the thread that yields
    continue for milliseconds.
    """
    if sys.platform != "win32":
        function = ir.FunctionType(ir.IntType(32), [ir.IntType(32)])
        usleep = cgutils.get_or_insert_function(builder.module, function, "usleep")
        builder.call(usleep, [ir.IntType(32)(10)])
