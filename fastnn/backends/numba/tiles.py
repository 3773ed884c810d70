"""Loops of matrix products, emitted as LLVM vector code.

A tile is a few rows by a few vectors of a result, which are summed in registers. Two generators,
:func:`_sum_rows` and :func:`_sum_columns`, emit all kinds of tile; the order of their sums does not
depend on the processor.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

VECTOR_BYTES = 32  # one register of AVX2, two of SSE or NEON
ACCUMULATORS = 8  # independent sums: two multiply-adds per cycle, each with a latency of 4 cycles
FLAGS = ("contract", "nsz")


class _Emitter:
    """Emitter of LLVM code for scalars and vectors of one dtype."""

    def __init__(self, context, builder, dtype):
        self.builder = builder
        self.number = context.get_value_type(dtype)
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        self.align = dtype.bitwidth // 8

    def type_of(self, width):
        return ir.VectorType(self.number, width) if width > 1 else self.number

    def load(self, pointer, offset, width):
        place = self.builder.gep(pointer, [offset])
        place = self.builder.bitcast(place, self.type_of(width).as_pointer())
        return self.builder.load(place, align=self.align)

    def store(self, value, pointer, offset):
        place = self.builder.bitcast(self.builder.gep(pointer, [offset]), value.type.as_pointer())
        self.builder.store(value, place, align=self.align)

    def spread(self, number, width):
        """Broadcast a scalar to a vector."""
        if width == 1:
            return number
        vector, lane = self.type_of(width), ir.IntType(32)
        first = self.builder.insert_element(vector(ir.Undefined), number, lane(0))
        everywhere = ir.VectorType(lane, width)([0] * width)
        return self.builder.shuffle_vector(first, vector(ir.Undefined), everywhere)

    def either(self, block, value, other_block, other):
        """Return the value of the block that was executed."""
        phi = self.builder.phi(value.type)
        phi.add_incoming(value, block)
        phi.add_incoming(other, other_block)
        return phi

    def total(self, vector):
        """Return the horizontal sum of a vector, by adding halves until one element remains."""
        width, lane = self.lanes, ir.IntType(32)
        while width > 1:
            width //= 2
            halves = [
                self.builder.shuffle_vector(
                    vector,
                    vector.type(ir.Undefined),
                    ir.VectorType(lane, width)(list(range(first, first + width))),
                )
                for first in (0, width)
            ]
            vector = self.builder.fadd(*halves, flags=FLAGS)
        return self.builder.extract_element(vector, lane(0))

    def add_product(self, slot, a, b):
        product = self.builder.fmul(a, b, flags=FLAGS)
        self.builder.store(self.builder.fadd(self.builder.load(slot), product, flags=FLAGS), slot)

    def slots(self, values):
        """Allocate variables, which LLVM keeps in registers."""
        return [cgutils.alloca_once_value(self.builder, value) for value in values]

    def steps(self, n, sizes, body, begin=None):
        """Loop over ``n`` with ``body(i, size)``: steps of the first size, the rest of the next."""
        builder = self.builder
        begin = n.type(0) if begin is None else begin
        for size in sizes:
            count = builder.udiv(builder.sub(n, begin), n.type(size))
            with cgutils.for_range(builder, count) as loop:
                body(builder.add(begin, builder.mul(loop.index, n.type(size))), size)
            begin = builder.add(begin, builder.mul(count, n.type(size)))


def _sum_rows(emit, n, row_of, weight_of, starts_at, outs, columns):
    """``outs[r] = start[r] + sum over k < n of weight_of(r, k) row_of(k)``, along the columns.

    A tile is all of ``outs`` by up to ``ACCUMULATORS`` vectors. ``starts_at(offsets, width)``
    returns the vectors at these columns of ``start``, a list for each row.
    """
    builder, lanes = emit.builder, emit.lanes

    def tile(s, size):
        width = min(size, lanes)
        offsets = [builder.add(s, s.type(part)) for part in range(0, size, width)]
        slots = [emit.slots(vectors) for vectors in starts_at(offsets, width)]

        def add_rows(k, count):
            for row_number in [builder.add(k, k.type(part)) for part in range(count)]:
                row = row_of(row_number)
                x = [emit.load(row, at, width) for at in offsets]
                for r, sums in enumerate(slots):
                    weight = emit.spread(weight_of(r, row_number), width)
                    for slot, part in zip(sums, x, strict=True):
                        emit.add_product(slot, part, weight)

        emit.steps(n, (2, 1), add_rows)
        for out, sums in zip(outs, slots, strict=True):
            for slot, at in zip(sums, offsets, strict=True):
                emit.store(builder.load(slot), out, at)

    emit.steps(columns, (ACCUMULATORS // len(outs) * lanes, lanes, 1), tile)


def _sum_columns(emit, xs, ds, samples, put):
    """Call ``put(i, j, sum over s of xs[i][s] ds[j][s])`` for all i and j, which form a tile."""
    builder, lanes = emit.builder, emit.lanes
    pairs = [(i, j) for i in range(len(xs)) for j in range(len(ds))]
    copies = ACCUMULATORS // len(pairs)
    zero = emit.spread(emit.number(0.0), lanes)
    slots = [emit.slots([zero] * len(pairs)) for _ in range(copies)]

    def vectors(s, size):
        for copy in range(size // lanes):
            at = builder.add(s, s.type(copy * lanes))
            x, d = ([emit.load(row, at, lanes) for row in rows] for rows in (xs, ds))
            for slot, (i, j) in zip(slots[copy], pairs, strict=True):
                emit.add_product(slot, x[i], d[j])

    def number(s, size):
        x, d = ([emit.load(row, s, 1) for row in rows] for rows in (xs, ds))
        for slot, (i, j) in zip(sums, pairs, strict=True):
            emit.add_product(slot, x[i], d[j])

    whole = builder.and_(samples, samples.type(-lanes))
    emit.steps(whole, (copies * lanes, lanes) if copies > 1 else (lanes,), vectors)
    sums = []
    for pair in range(len(pairs)):
        parts = [builder.load(slots[copy][pair]) for copy in range(copies)]
        while len(parts) > 1:
            half = len(parts) // 2
            pairwise = zip(parts[:half], parts[half:], strict=True)
            parts = [builder.fadd(a, b, flags=FLAGS) for a, b in pairwise]
        sums.append(emit.total(parts[0]))
    sums = emit.slots(sums)
    emit.steps(samples, (1,), number, whole)
    for slot, (i, j) in zip(sums, pairs, strict=True):
        put(i, j, builder.load(slot))


# --- what the kernels call ------------------------------------------------------


@intrinsic
def weighted_rows(typingctx, x, w, step_in, step_out, start, start_step, by_column, out):
    """``out[j] = start[j] + sum over i of w[i * step_in + j * step_out] x[i]``.

    ``x`` and ``out`` are matrices with the columns of ``x``. ``start[j]`` is the number at ``start
    + j * start_step``, or, if ``by_column``, the row that begins there.
    """
    dtype = w.dtype

    def codegen(context, builder, signature, args):
        emit = _Emitter(context, builder, dtype)
        x_, w_, step_in_, step_out_, start_, start_step_, by_column_, out_ = args
        x_data, n, columns, ldx = cgutils.unpack_tuple(builder, x_)
        out_data, rows, _, ldo = cgutils.unpack_tuple(builder, out_)

        def tile_rows(j, size):
            units = [builder.add(j, j.type(r)) for r in range(size)]

            def rows_of(data, step):
                return [builder.gep(data, [builder.mul(unit, step)]) for unit in units]

            outs, weights = rows_of(out_data, ldo), rows_of(w_, step_out_)
            starts = rows_of(start_, start_step_)

            def starts_at(offsets, width):
                zero = offsets[0].type(0)
                with builder.if_else(by_column_) as (from_rows, from_numbers):
                    with from_rows:
                        loaded = [[emit.load(row, at, width) for at in offsets] for row in starts]
                        rows_end = builder.block
                    with from_numbers:
                        spread = [emit.spread(emit.load(row, zero, 1), width) for row in starts]
                        numbers_end = builder.block
                return [
                    [emit.either(rows_end, vector, numbers_end, same) for vector in vectors]
                    for vectors, same in zip(loaded, spread, strict=True)
                ]

            def row_of(k):
                return builder.gep(x_data, [builder.mul(k, ldx)])

            def weight_of(r, k):
                return emit.load(weights[r], builder.mul(k, step_in_), 1)

            _sum_rows(emit, n, row_of, weight_of, starts_at, outs, columns)

        emit.steps(rows, (2, 1), tile_rows)
        return context.get_dummy_value()

    size = types.intp
    return types.void(x, w, size, size, start, size, types.boolean, out), codegen


@intrinsic
def sparse_sum(typingctx, values, rows, n, matrix, ld, accumulate, columns, out):
    """``out = sum over k of values[k] * matrix[rows[k]]``; if ``accumulate``, add it to ``out``."""

    def codegen(context, builder, signature, args):
        values_, rows_, n_, matrix_, ld_, accumulate_, columns_, out_ = args
        emit = _Emitter(context, builder, values.dtype)

        def starts_at(offsets, width):
            zero = emit.spread(emit.number(0.0), width)
            before = [emit.load(out_, at, width) for at in offsets]
            return [[builder.select(accumulate_, vector, zero) for vector in before]]

        def row_of(k):
            row = builder.sext(builder.load(builder.gep(rows_, [k])), ld_.type)
            return builder.gep(matrix_, [builder.mul(row, ld_)])

        def weight_of(r, k):
            return emit.load(values_, k, 1)

        _sum_rows(emit, n_, row_of, weight_of, starts_at, [out_], columns_)
        return context.get_dummy_value()

    size = types.intp
    return types.void(values, rows, size, matrix, size, types.boolean, size, out), codegen


@intrinsic
def outer_product(typingctx, x, d, accumulate, out):
    """``out = x d.T``; if ``accumulate``, add it to ``out``. The columns are those of ``d``."""
    dtype = typingctx.resolve_getattr(x, "data").dtype

    def codegen(context, builder, signature, args):
        emit = _Emitter(context, builder, dtype)
        x_data, n_in, _, ldx = cgutils.unpack_tuple(builder, args[0])
        d_data, n_out, samples, ldd = cgutils.unpack_tuple(builder, args[1])
        out_data, _, _, ldo = cgutils.unpack_tuple(builder, args[3])

        def rows(data, first, count, ld):
            places = [builder.add(first, first.type(r)) for r in range(count)]
            return [builder.gep(data, [builder.mul(place, ld)]) for place in places]

        def tile_rows(i, height):
            xs, outs = rows(x_data, i, height, ldx), rows(out_data, i, height, ldo)

            def tile(j, width):
                def put(row, column, value):
                    at = builder.add(j, j.type(column))
                    before = emit.load(outs[row], at, 1)
                    added = builder.fadd(before, value, flags=FLAGS)
                    emit.store(builder.select(args[2], added, value), outs[row], at)

                _sum_columns(emit, xs, rows(d_data, j, width, ldd), samples, put)

            emit.steps(n_out, (4, 2, 1), tile)

        emit.steps(n_in, (2, 1), tile_rows)
        return context.get_dummy_value()

    return types.void(x, d, types.boolean, out), codegen
