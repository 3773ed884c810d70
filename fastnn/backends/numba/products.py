"""The three products of a dense layer, by loops or by BLAS."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.backends.numba.compiling import inner, noalias, noinline, public
from fastnn.backends.numba.pointers import Matrix, at, cast_like, fill, pointer, zero_like
from fastnn.backends.numba.tiles import outer_product, weighted_rows

WIDE_LAYER_WEIGHTS = 4096  # number of weights from which BLAS is faster than the loops, measured
# Threads split a layer at multiples of this many units. BLAS then adds in the same order for any
# number of threads, provided that it uses the same kernel for all pieces. OpenBLAS has other
# kernels for small products: on AVX-512 for up to a million multiply-adds, SMALL_PRODUCT.
UNITS = 48
SMALL_PRODUCT = 1_000_000


# --- BLAS -----------------------------------------------------------------------


@intrinsic
def _gemm(typingctx, trans_a, trans_b, m, n, k, a, lda, b, ldb, beta, c, ldc):
    """Compute ``c = op(a) op(b) + beta c``, column-major, with the BLAS of SciPy."""
    kind = {types.float32: "s", types.float64: "d"}[c.dtype]

    def codegen(context, builder, signature, args):
        byte = ir.IntType(8)
        number = context.get_value_type(c.dtype)
        trans_a, trans_b, m, n, k, a, lda, b, ldb, beta, c_, ldc = args
        slots = [cgutils.alloca_once(builder, number) for _ in range(2)]
        for value, slot in zip((number(1.0), beta), slots, strict=True):
            builder.store(value, slot)
        pointers = slots[0], a, b, slots[1], c_
        alpha_, a, b, beta_, c_ = (builder.bitcast(p, byte.as_pointer()) for p in pointers)
        flags = [byte(ord(kind)), builder.trunc(trans_a, byte), builder.trunc(trans_b, byte)]
        arguments = [*flags, m, n, k, alpha_, a, lda, b, ldb, beta_, c_, ldc]
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.IntType(32), [argument.type for argument in arguments]),
            "numba_xxgemm",
        )
        status = builder.call(function, arguments)
        with builder.if_then(cgutils.is_not_null(builder, status), likely=False):
            context.call_conv.return_user_exc(
                builder, RuntimeError, ("BLAS is not available: is SciPy installed?",)
            )
        return context.get_dummy_value()

    size, flag = types.intp, types.int64
    signature = types.void(flag, flag, size, size, size, a, size, b, size, c.dtype, c, size)
    return signature, codegen


# Numba would compile a function anew for each literal number that is passed to it.
_ZERO, _ONE, _FALSE, _TRUE = np.int64(0), np.int64(1), np.bool_(False), np.bool_(True)
_AS_IT_IS, _TRANSPOSED = np.int64(ord("n")), np.int64(ord("t"))


@noinline
def _blas(a, a_is, b, b_is, beta, pieces, out):
    """``out = op(a) op(b) + beta out``, for ``pieces`` ranges of the rows of ``out`` in turn.

    BLAS matrices are column-major, so that it sees ours transposed: the factors are swapped.
    """
    inner_size = a.columns if a_is == _AS_IT_IS else a.rows
    step = a.ld if a_is == _AS_IT_IS else 1
    begin = np.int64(0)
    for piece in range(1, pieces + 1):
        end = piece * UNITS if piece < pieces else out.rows
        _gemm(
            b_is,
            a_is,
            out.columns,
            end - begin,
            inner_size,
            b.data,
            b.ld,
            at(a.data, begin * step),
            a.ld,
            cast_like(out.data, beta),
            at(out.data, begin * out.ld),
            out.ld,
        )
        begin = end


@inner
def _pieces(wide, rows, multiplications):
    """Return in how many pieces the rows of a product are computed.

    If threads split the rows (``wide`` is 2), small products are always computed in pieces of
    ``UNITS`` rows, so that the result does not depend on where the threads split them.
    """
    if wide != 2 or rows < UNITS or UNITS * multiplications > SMALL_PRODUCT:
        return 1
    return rows // UNITS


# --- a layer --------------------------------------------------------------------
#
# The units of a batch of one sample are contiguous (leading dimension 1). Their products are those
# of a matrix and a vector, which are computed along the units of wide layers too. The loops of all
# products are two functions, each compiled once.


@noinline
def _weighted_rows(x, w, step_in, step_out, start, start_step, by_column, out):
    """See :func:`fastnn.backends.numba.tiles.weighted_rows`."""
    weighted_rows(x, w, step_in, step_out, start, start_step, by_column, out)


@noinline
def _outer_product(x, d, accumulate, out):
    """See :func:`fastnn.backends.numba.tiles.outer_product`."""
    outer_product(x, d, accumulate, out)


@inner
def as_row(units):
    """Return contiguous units of one sample as one row, and any other matrix as it is."""
    return Matrix(units.data, 1, units.rows, units.rows) if units.ld == 1 else units


@inner
def forward_product(x, w, b, wide, out):
    """``out = w.T x + b`` for the columns of x; w may be a range of a layer's units."""
    if x.ld == 1:
        few_samples_product(as_row(x), w, b, as_row(out))
    elif wide:
        for j in range(out.rows):
            fill(b[j], x.columns, at(out.data, j * out.ld))
        pieces = _pieces(wide, out.rows, x.columns * x.rows)
        net_inputs = Matrix(out.data, out.rows, x.columns, out.ld)
        _blas(w, _TRANSPOSED, x, _AS_IT_IS, 1.0, pieces, net_inputs)
    else:
        _weighted_rows(x, w.data, w.ld, _ONE, b, _ONE, _FALSE, out)


@inner
def params_product(x, dz, wide, accumulate, dw):
    """``dw = x dz.T``."""
    if dz.ld == 1 and not accumulate:
        _weighted_rows(as_row(dz), x.data, _ZERO, _ONE, zero_like(x.data), _ZERO, _FALSE, dw)
    elif wide:
        pieces = _pieces(wide, dw.rows, dw.columns * dz.columns)
        _blas(x, _AS_IT_IS, dz, _TRANSPOSED, 1.0 if accumulate else 0.0, pieces, dw)
    else:
        _outer_product(x, dz, accumulate, dw)


@inner
def inputs_product(w, dz, wide, dx):
    """``dx = w dz``; w may be a range of a layer's inputs."""
    if dz.ld == 1:
        _outer_product(w, as_row(dz), _FALSE, dx)
    elif wide:
        pieces = _pieces(wide, dx.rows, dx.columns * dz.rows)
        _blas(w, _AS_IT_IS, dz, _AS_IT_IS, 0.0, pieces, dx)
    else:
        _weighted_rows(dz, w.data, _ONE, w.ld, zero_like(w.data), _ZERO, _FALSE, dx)


@inner
def tangent_product(dx, w, wide, dz):
    """``dz = w.T dx``."""
    if wide:
        net_inputs = Matrix(dz.data, dz.rows, dx.columns, dz.ld)
        pieces = _pieces(wide, dz.rows, dx.columns * dx.rows)
        _blas(w, _TRANSPOSED, dx, _AS_IT_IS, 0.0, pieces, net_inputs)
    else:
        _weighted_rows(dx, w.data, w.ld, _ONE, zero_like(w.data), _ZERO, _FALSE, dz)


@noalias
def _sum(x, samples):
    """Return the sum of a row."""
    total = cast_like(x, 0.0)
    for s in range(samples):
        total += x[s]
    return total


@inner
def few_samples_product(x, w, b, out):
    """``out = x w + b`` for a few samples, one per row: the loops run along the units."""
    _weighted_rows(w, x.data, _ONE, x.ld, b, _ZERO, _TRUE, out)


@inner
def row_sums(dz, accumulate, db):
    """``db = sum of dz over the samples``."""
    for j in range(dz.rows):
        total = _sum(at(dz.data, j * dz.ld), dz.columns)
        db[j] = db[j] + total if accumulate else total


@inner
def _matrix(array):
    """Convert an array to a Matrix."""
    rows, columns = array.shape
    return Matrix(pointer(array), rows, columns, columns)


@public
def dense_forward(x, w, b, out):
    """``out = w.T x + b``."""
    forward_product(_matrix(x), _matrix(w), pointer(b), np.int64(0), _matrix(out))


@public
def dense_backward_params(x, dz, accumulate, dw, db):
    """``dw = x dz.T``, ``db = sum of dz over the samples``."""
    params_product(_matrix(x), _matrix(dz), np.int64(0), accumulate, _matrix(dw))
    row_sums(_matrix(dz), accumulate, pointer(db))


@public
def dense_backward_inputs(w, dz, dx):
    """``dx = w dz``."""
    inputs_product(_matrix(w), _matrix(dz), np.int64(0), _matrix(dx))
