"""The kernels of :mod:`fastnn.backends.numpy_kernels` compiled by Numba.

Formulas, shapes and meanings of the arguments stand there; here stands why
something is done differently.

* Inside, a matrix is a bare pointer, its leading dimension and its size, because a view of an
  array costs a reference count. ``row i`` of it starts at ``i * leading dimension``, its samples
  are contiguous, and every inner loop runs along them.
* ``lanes`` is the number of samples a loop handles where results beyond the last sample may be
  rubbish: rounded up to ``LANES`` in scratch memory, so that no loop ends in scalar code.
* A function marked ``_distinct`` promises that no two of its pointers overlap; what works in
  place therefore has one pointer for it.
* Signatures are compiled on first use and cached; all of it is in this file because Numba's
  cache does not see changes in others.

Arrays are C-contiguous and of one dtype, float32 or float64. ``work`` has a row a thread.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.compiler import Compiler
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastnn.backends.codes import (
    ACTIVATION,
    ADAGRAD,
    ADAM,
    BIASES,
    BINARY_CROSS_ENTROPY,
    BLAS,
    BLOCK,
    CROSS_ENTROPY,
    CUSTOM_ACTIVATION,
    CUSTOM_LOSS,
    DENSE,
    DROPOUT,
    ELU,
    FAN_IN,
    FAN_OUT,
    GELU,
    GROUPS,
    HUBER,
    IDENTITY,
    KIND,
    LAYER_COLUMNS,
    LEAKY_RELU,
    N_PARAMS,
    NET_INPUT,
    OUTPUT,
    POISSON,
    QUANTILE,
    RELU,
    SGD,
    SHARED,
    SIGMOID,
    SILU,
    SOFTPLUS,
    SQUARED_ERROR,
    STREAM_DROPOUT,
    STREAM_SHUFFLE,
    TANH,
    WEIGHTS,
    WORK_DELTA,
    WORK_DELTA_OTHER,
    WORK_INPUT,
    WORK_SAMPLE_WEIGHT,
    WORK_SIZE,
    WORK_TARGETS,
)
from fastnn.backends.plan import MAX_GROUPS

NAME = "numba"

# The compiler may reorder sums and turn divisions into products, but not forget NaN.
FASTMATH = {"contract", "reassoc", "nsz", "arcp", "afn"}
# Reordering would undo the two-part reduction of arguments.
FASTMATH_MATHS = {"contract", "nsz"}

# A plain number given to a function is a type of its own to Numba, and the function is compiled
# once more for it; np.int64(1) is not.
LANES = 32  # samples of the widest loop: 4 interleaved vectors of 8
SCRATCH = 512  # samples of a loss worked through at a time
UPDATED = 2048  # parameters at a time: what was summed is still in the cache
SPARSE_COLUMNS = 64  # units at a time: their part of all weights should fit into the cache
FEW_SAMPLES = 12  # fewer are predicted with loops along the units, which are not padded
FEW_SAMPLES_WIDE = 30  # ... by a network with many weights
WIDE = 4096  # parameters of one
BLAS_WEIGHTS = 4096  # of a layer from which on BLAS is faster than the loops, measured
UNITS = 48  # of a layer at a time to each thread: BLAS then sums in the same order for any number
# of threads, if no share of a product is so small that it has other loops for it: multiply-adds.
# (OpenBLAS's for AVX-512, up to a million.)
SMALL_PRODUCT = 1_000_000
SPINS = 120_000  # looks at a barrier before the processor is left to others: about 0.1 ms


class _Inner(Compiler):
    """Numba's compiler for functions that only other compiled functions call.

    Numba makes machine code of every function and all that it calls, at every level of calls; what
    runs is the code of the public ones. Leaving the rest out takes a quarter off the time. It hangs
    on private names of Numba's: without them compiling would merely take longer.
    """

    _needs = ("_codegen", "_finalized", "_finalize_final_module", "get_pointer_to_function")

    def define_pipelines(self):
        state = self.state
        library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
        library.enable_object_caching()
        if all(hasattr(library, name) for name in self._needs):
            library._codegen = _NeverCalled(library._codegen)
            library._finalize_final_module = lambda: setattr(library, "_finalized", True)
            # the address of a wrapper that Python could call: there is none
            library.get_pointer_to_function = lambda name: 0
        state.library = library
        return super().define_pipelines()


class _NeverCalled:
    """Numba's code generator for a function that has no machine code of its own."""

    def __init__(self, codegen):
        self._codegen = codegen

    def __getattr__(self, name):
        return getattr(self._codegen, name)

    def set_env(self, name, env):
        """Nothing; the function's environment would be written into its machine code."""


class _Distinct(_Inner):
    """Numba's compiler, told that the pointers a function gets do not overlap."""

    def define_pipelines(self):
        self.state.flags.noalias = True
        return super().define_pipelines()


class _Glue(_Inner):
    """Numba's compiler for functions that mostly call others.

    Numba optimises each function together with all that it calls, again at every level of calls.
    The kernels at the bottom deserve that and the public functions at the top get it; between
    them it would take as long again. Were the private method to get another name,
    compiling would merely take longer.
    """

    def define_pipelines(self):
        pipelines = super().define_pipelines()
        self.state.library._optimize_final_module = lambda: None
        return pipelines


_common = {"nogil": True, "error_model": "numpy"}
_inner = _common | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_public = njit(cache=True, fastmath=FASTMATH, **_common)
_private = njit(fastmath=FASTMATH, pipeline_class=_Inner, **_inner)
_distinct = njit(fastmath=FASTMATH, pipeline_class=_Distinct, **_inner)
_glue = njit(fastmath=FASTMATH, pipeline_class=_Glue, **_inner)
_maths = njit(fastmath=FASTMATH_MATHS, pipeline_class=_Inner, **_inner)


# --- pointers and bits ----------------------------------------------------------


@intrinsic
def _pointer(typingctx, array):
    """Address of a C-contiguous array's first element."""
    if not (isinstance(array, types.Array) and array.layout == "C"):
        raise TypingError("the kernels take C-contiguous arrays")

    def codegen(context, builder, signature, args):
        return context.make_array(array)(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen


@intrinsic
def _at(typingctx, pointer, offset):
    """``pointer + offset``, counted in elements."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.intp), codegen


@intrinsic
def _same(typingctx, pointer, other):
    """Whether two addresses are equal."""

    def codegen(context, builder, signature, args):
        integer = ir.IntType(64)
        first, second = (builder.ptrtoint(arg, integer) for arg in args)
        return builder.icmp_unsigned("==", first, second)

    return types.boolean(pointer, other), codegen


@intrinsic
def _reinterpret(typingctx, pointer, like):
    """The same address as a pointer of another type."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(like))

    return like(pointer, like), codegen


@intrinsic
def _as_int32(typingctx, pointer):
    """The same address as a pointer to int32."""
    result = types.CPointer(types.int32)

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(result))

    return result(pointer), codegen


@intrinsic
def _as_float64(typingctx, pointer):
    """The same address as a pointer to float64."""
    result = types.CPointer(types.float64)

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(result))

    return result(pointer), codegen


@intrinsic
def _like(typingctx, like, value):
    """``value`` in the number type of ``like``, a number or a pointer to numbers."""
    result = like.dtype if isinstance(like, types.CPointer) else like

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[1], value, result)

    return result(like, value), codegen


@intrinsic
def _scratch(typingctx, like):
    """Four rows of ``SCRATCH`` numbers on the stack."""

    def codegen(context, builder, signature, args):
        element = context.get_value_type(like.dtype)
        array = cgutils.alloca_once(builder, ir.ArrayType(element, 4 * SCRATCH))
        return builder.bitcast(array, element.as_pointer())

    return like(like), codegen


_BITS = {types.float32: (ir.IntType(32), 23, 127), types.float64: (ir.IntType(64), 52, 1023)}


@intrinsic
def _power_of_two(typingctx, t):
    """``2**k`` for ``t = magic + k``, whose last bits are k + bias: shifted, the exponent."""
    integer, mantissa, _ = _BITS[t]

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], integer)
        return builder.bitcast(builder.shl(bits, integer(mantissa)), args[0].type)

    return t(t), codegen


@intrinsic
def _split(typingctx, x):
    """``(k, m)`` with ``x = 2**k m`` and m in [sqrt(1/2), sqrt 2), for positive normal x."""
    integer, mantissa, bias = _BITS[x]
    half = 0x3F3504F3 if x == types.float32 else 0x3FE6A09E667F3BCD  # bits of sqrt(1/2)
    shift = (bias << mantissa) - half
    float_one = (bias + mantissa) << mantissa  # bits of 2**mantissa: an integer fits below

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], integer)
        biased = builder.lshr(builder.add(bits, integer(shift)), integer(mantissa))
        k = builder.bitcast(builder.or_(biased, integer(float_one)), args[0].type)
        k = builder.fsub(k, args[0].type(float(2**mantissa + bias)))
        exponent = builder.shl(builder.sub(biased, integer(bias)), integer(mantissa))
        m = builder.bitcast(builder.sub(bits, exponent), args[0].type)
        return context.make_tuple(builder, signature.return_type, (k, m))

    return types.UniTuple(x, 2)(x), codegen


@intrinsic
def _polynomial(typingctx, x, coefficients):
    """``c[0] + c[1] x + c[2] x**2 + ...`` by Horner's rule, unrolled."""

    def codegen(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1])
        total = values[-1]
        flags = ("contract", "nsz")
        for value in reversed(values[:-1]):
            total = builder.fadd(builder.fmul(total, args[0], flags), value, flags)
        return total

    return x(x, coefficients), codegen


@intrinsic
def _hash32(typingctx, h):
    """Finaliser "lowbias32"; Numba itself would widen each step to 64 bits."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(32)
        h = args[0]
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, None)):
            h = builder.xor(h, builder.lshr(h, word(shift)))
            if factor:
                h = builder.mul(h, word(factor))
        return h

    return types.uint32(types.uint32), codegen


@intrinsic
def _gemm(typingctx, trans_a, trans_b, m, n, k, a, lda, b, ldb, beta, c, ldc):
    """Column-major ``c = op(a) op(b) + beta c`` by the BLAS that SciPy brings."""
    kind = {types.float32: "s", types.float64: "d"}[c.dtype]

    def codegen(context, builder, signature, args):
        byte, size = ir.IntType(8), ir.IntType(64) if sys.maxsize > 2**32 else ir.IntType(32)
        untyped = byte.as_pointer()
        signature_ = ir.FunctionType(
            ir.IntType(32),
            [byte] * 3
            + [size] * 3
            + [untyped] * 2
            + [size, untyped, size]
            + [untyped] * 2
            + [size],
        )
        function = cgutils.get_or_insert_function(builder.module, signature_, "numba_xxgemm")
        number = context.get_value_type(c.dtype)
        alpha_slot = cgutils.alloca_once_value(builder, number(1.0))
        beta_slot = cgutils.alloca_once(builder, number)
        trans_a, trans_b, m, n, k, a, lda, b, ldb, beta, c_, ldc = args
        builder.store(beta, beta_slot)
        status = builder.call(
            function,
            [
                byte(ord(kind)),
                builder.trunc(trans_a, byte),
                builder.trunc(trans_b, byte),
                *(m, n, k),
                builder.bitcast(alpha_slot, untyped),
                builder.bitcast(a, untyped),
                lda,
                builder.bitcast(b, untyped),
                ldb,
                builder.bitcast(beta_slot, untyped),
                builder.bitcast(c_, untyped),
                ldc,
            ],
        )
        with builder.if_then(cgutils.is_not_null(builder, status), likely=False):
            context.call_conv.return_user_exc(
                builder, RuntimeError, ("BLAS is not available: is SciPy installed?",)
            )
        return context.get_dummy_value()

    size = types.intp
    flag = types.int64
    signature = types.void(flag, flag, size, size, size, a, size, b, size, c.dtype, c, size)
    return signature, codegen


@intrinsic
def _atomic_add(typingctx, pointer, value):
    """Add to a shared integer; its value before."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", args[0], args[1], "seq_cst")

    return types.int64(pointer, types.int64), codegen


@intrinsic
def _atomic_take(typingctx, pointer, old, value):
    """Whether a shared integer was ``old`` and now is ``value``."""

    def codegen(context, builder, signature, args):
        return builder.extract_value(builder.cmpxchg(*args, "seq_cst", "seq_cst"), 1)

    return types.boolean(pointer, types.int64, types.int64), codegen


@intrinsic
def _atomic_load(typingctx, pointer):
    """A shared integer."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(args[0], "seq_cst", 8)

    return types.int64(pointer), codegen


@intrinsic
def _atomic_store(typingctx, pointer, value):
    """Overwrite a shared integer."""

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[1], args[0], "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(pointer, types.int64), codegen


@intrinsic
def _call(typingctx, address, arguments):
    """Call of the C function that stands at an address, a number, with a tuple of arguments.

    The user's own activation or loss: so the kernels need not be compiled again for it.
    """

    def codegen(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1])
        function = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        whole = context.cast(builder, args[0], address, types.int64)
        builder.call(builder.inttoptr(whole, function.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(address, arguments), codegen


@intrinsic
def _sleep_a_little(typingctx):
    """Leave the processor, where another program has one that we counted on.

    Not sched_yield: both threads may be on one processor then, and Linux lets the one that
    yields go on for milliseconds.
    """

    def codegen(context, builder, signature, args):
        if sys.platform != "win32":
            function = ir.FunctionType(ir.IntType(32), [ir.IntType(32)])
            usleep = cgutils.get_or_insert_function(builder.module, function, "usleep")
            builder.call(usleep, [ir.IntType(32)(10)])
        return context.get_dummy_value()

    return types.void(), codegen


# --- elementary functions -------------------------------------------------------
#
# Minimax polynomials found by Remez exchange in mpmath at 50 digits, then rounded. Degrees and
# errors (before rounding in the evaluation), float32 / float64:
#   expm1(r) = r + r r E(r),       |r| <= log(2)/2:  degree 4 / 9 in r, 8e-9 / 1.2e-17
#   r coth(r) = C(r r),            |r| <= log(2)/4:  degree 2 / 5 in r r, 2.2e-9 / 9e-19
#   2 atanh(s) = 2 s + s s s L(s s), s <= 0.1716:    degree 2 / 6 in s s, 8e-10 / 1.2e-18
#   2 atanh(s) = 2 s + s s s M(s s), s <= 1/3:       degree 3 / 9 in s s, 4.5e-9 / 1.3e-18


def _by_dtype(single, double):
    """Compiled function that gives the numbers for the type of its argument."""

    @intrinsic
    def numbers(typingctx, x):
        values = single if x == types.float32 else double
        result = types.UniTuple(x, len(values))

        def codegen(context, builder, signature, args):
            constants = [context.get_constant(x, value) for value in values]
            return context.make_tuple(builder, result, constants)

        return result(x), codegen

    return numbers


_EXP = _by_dtype(
    (
        0.5,
        0.16666576266288757,
        0.04166637361049652,
        0.008363180793821812,
        0.0013941123615950346,
    ),
    (
        0.5000000000000001,
        0.16666666666666674,
        0.04166666666662412,
        0.008333333333322214,
        0.0013888888917215482,
        0.00019841269886580328,
        2.480152129331013e-05,
        2.7557242345095926e-06,
        2.7620089625102744e-07,
        2.5110047537712198e-08,
    ),
)
_COTH = _by_dtype(
    (1.0, 2 * 0.16666625440120697, 8 * -0.0027667241171002388),
    (
        1.0,
        2 * 0.16666666666666602,
        8 * -0.0027777777777014308,
        32 * 6.61375632113214e-05,
        128 * -1.6533901891371567e-06,
        512 * 4.138125259637943e-08,
    ),
)
_LOG = _by_dtype(
    (0.6666677594184875, 0.3997756540775299, 0.2987120747566223),
    (
        0.6666666666666734,
        0.3999999999941566,
        0.2857142874218922,
        0.2222219859146514,
        0.18183563482317436,
        0.15314069495599555,
        0.1479578577085294,
    ),
)
_LOG1P = _by_dtype(
    (0.666664183139801, 0.4002152681350708, 0.2800180912017822, 0.28011980652809143),
    (
        0.6666666666666631,
        0.40000000000155117,
        0.2857142854811797,
        0.2222222395364914,
        0.181817444789552,
        0.1538654839574148,
        0.13301121331666332,
        0.12104945339001484,
        0.08344969336544436,
        0.17009761112842567,
    ),
)
# log 2 in two parts: the last bits of the first are zero, so that k times it is exact.
_LN2 = _by_dtype(
    (0.693145751953125, 1.4286067653e-06), (0.6931471803691238, 1.9082149292705877e-10)
)
# Adding it rounds to an integer, which then stands, with the exponent's bias, in the last bits.
_MAGIC = _by_dtype((1.5 * 2**23 + 127,), (1.5 * 2**52 + 1023,))
# exp is a normal number above.
_SMALLEST = _by_dtype((-87.0,), (-708.0,))
# exp is 0 below the first and overflows above the second; expm1 is -1 below the third.
_LIMITS = _by_dtype((-104.0, 89.0, -18.0), (-746.0, 710.0, -40.0))


@_maths
def _remainder(x):
    """``(r, t)`` with ``exp(x) = exp(r) 2**k``, ``|r| <= log(2) / 2`` and ``t = magic + k``."""
    ln2_high, ln2_low = _LN2(x)
    (magic,) = _MAGIC(x)
    t = x * _like(x, 1.4426950408889634) + magic
    k = t - magic
    return x - k * ln2_high - k * ln2_low, t


@_maths
def _reduced(x):
    """``(p, t)`` with ``exp(x) = (1 + p) 2**k``, ``t = magic + k`` and ``|p| < 0.42``."""
    r, t = _remainder(x)
    return r + r * r * _polynomial(r, _EXP(x)), t


@_maths
def _times_power_of_two(x, t):
    """``x 2**k``; two factors reach into the denormal numbers and to infinity."""
    (magic,) = _MAGIC(x)
    half = (t - magic) * _like(x, 0.5) + magic
    rest = t - (half - magic)
    return x * _power_of_two(half) * _power_of_two(rest)


@_maths
def _exp(x):
    """Exponential function."""
    lowest, highest, _ = _LIMITS(x)
    x = lowest if x < lowest else x
    x = highest if x > highest else x
    p, t = _reduced(x)
    return _times_power_of_two(_like(x, 1.0) + p, t)


@_maths
def _exp_negative(x):
    """Exponential function of x <= 0 with 0 for denormal results, a third cheaper."""
    zero, lowest = _like(x, 0.0), _SMALLEST(x)[0]
    p, t = _reduced(lowest if x < lowest else x)
    power = _power_of_two(t)
    return zero if x < lowest else p * power + power


@_maths
def _expm1(x):
    """``exp(x) - 1``; half of it first, since 2**k may overflow where the result does not."""
    _, highest, lowest = _LIMITS(x)
    clipped = lowest if x < lowest else x
    clipped = highest if clipped > highest else clipped
    p, t = _reduced(clipped)
    power = _power_of_two(t - _like(x, 1.0))
    half = p * power + (power - _like(x, 0.5))
    # a denormal number has no half
    return x if abs(x) < _like(x, 1e-20) else half + half


@_maths
def _r_coth(r):
    """``c = r coth(r)``, which is even and close to 1, with ``exp(2 r) = (c + r) / (c - r)``.

    Few coefficients do, and a quotient whose parts are multiplied by these takes the exponential in
    without a second division. (The form of fdlibm's exponential, Sun Microsystems 1993.)
    """
    return _polynomial(r * r, _COTH(r))


@_maths
def _tanh(x):
    """``(1 - e) / (1 + e)`` with ``e = exp(-2 |x|) = 2**k exp(2 r)``, and the sign of x.

    Without k the numerator is -2 r and exact.
    """
    (magic,) = _MAGIC(x)
    lowest = _like(x, 0.5) * _LIMITS(x)[2]
    y = -abs(x)
    y = lowest if y < lowest else y
    t = y * _like(x, 2 * 1.4426950408889634) + magic
    r = y - (t - magic) * _like(x, 0.5 * 0.6931471805599453)
    c, power = _r_coth(r), _power_of_two(t)
    numerator = c * (_like(x, 1.0) - power) - (r + power * r)
    return math.copysign(numerator / ((c - r) + power * (c + r)), x)


@_maths
def _sigmoid(x):
    """``e / (1 + e)`` for x < 0, else ``1 / (1 + e)``, with ``e = exp(-|x|) = 2**k exp(2 r)``."""
    lowest = _LIMITS(x)[0]
    y = -abs(x)
    r, t = _remainder(lowest if y < lowest else y)
    r *= _like(x, 0.5)
    c = _r_coth(r)
    small, large = _times_power_of_two(c + r, t), c - r
    return (large if x >= _like(x, 0.0) else small) / (large + small)


@_maths
def _log(x):
    """Logarithm of positive normal numbers; infinity and NaN come through."""
    ln2_high, ln2_low = _LN2(x)
    k, m = _split(x)
    f = m - _like(x, 1.0)
    s = f / (_like(x, 2.0) + f)
    u = s * s
    y = k * ln2_high + ((s + s) + (s * u * _polynomial(u, _LOG(x)) + k * ln2_low))
    return y if x < _like(x, np.inf) else x


@_maths
def _log1p(x):
    """``log(1 + x)`` for x in [0, 1]."""
    s = x / (_like(x, 2.0) + x)
    u = s * s
    return (s + s) + s * u * _polynomial(u, _LOG1P(x))


@_maths
def _softplus(x):
    """``log(1 + exp(x))``."""
    zero = _like(x, 0.0)
    return (zero if x < zero else x) + _log1p(_exp(-abs(x)))


@_maths
def _normal_cdf(x):
    """Distribution function of the standard normal; float32 goes through float64."""
    return _like(x, 0.5 * math.erfc(-0.7071067811865476 * np.float64(x)))


@_public
def vector_exp(x, out):
    """``out = exp(x)``, elementwise; this and the next are for tests and benchmarks."""
    for i in range(x.shape[0]):
        out[i] = _exp(x[i])


@_public
def vector_expm1(x, out):
    """``out = exp(x) - 1``."""
    for i in range(x.shape[0]):
        out[i] = _expm1(x[i])


@_public
def vector_tanh(x, out):
    """``out = tanh(x)``."""
    for i in range(x.shape[0]):
        out[i] = _tanh(x[i])


@_public
def vector_sigmoid(x, out):
    """``out = 1 / (1 + exp(-x))``."""
    for i in range(x.shape[0]):
        out[i] = _sigmoid(x[i])


@_public
def vector_log(x, out):
    """``out = log(x)`` for positive normal x."""
    for i in range(x.shape[0]):
        out[i] = _log(x[i])


@_public
def vector_log1p(x, out):
    """``out = log(1 + x)`` for x in [0, 1]."""
    for i in range(x.shape[0]):
        out[i] = _log1p(x[i])


@_public
def vector_softplus(x, out):
    """``out = log(1 + exp(x))``."""
    for i in range(x.shape[0]):
        out[i] = _softplus(x[i])


# --- random numbers -------------------------------------------------------------


@_public
def mix(z):
    """Next output of SplitMix64 from the state ``z``."""
    z = np.uint64(z) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@_public
def stream(seed, purpose, number):
    """Key of one random stream; the draw at position i is ``mix(key + i)``."""
    return mix(mix(mix(np.uint64(seed)) + np.uint64(purpose)) + np.uint64(number))


@_private
def _shuffle(seed, epoch, samples, order):
    """Fisher-Yates."""
    key = stream(seed, np.int64(STREAM_SHUFFLE), epoch)
    for i in range(samples):
        order[i] = i
    for i in range(samples - 1, 0, -1):
        draw = mix(key + np.uint64(i)) >> np.uint64(32)
        j = np.int64((draw * np.uint64(i + 1)) >> np.uint64(32))
        kept = order[i]
        order[i] = order[j]
        order[j] = kept


@_public
def shuffle(seed, epoch, order):
    """Random order of the samples in one epoch."""
    _shuffle(seed, epoch, order.shape[0], _pointer(order))


# --- products of matrices -------------------------------------------------------
#
# One pass adds 1, 2 or 4 rows of x, times scalars, to 1 or 2 rows of out; ``start`` begins with
# the scalars b instead of what out holds. The scalars stay in registers along the samples.


@_distinct
def _pass_2x4(x0, x1, x2, x3, u0, u1, u2, u3, v0, v1, v2, v3, start, b0, b1, lanes, out0, out1):
    """Two rows of out, four of x."""
    if start:
        for s in range(lanes):
            out0[s] = b0 + u0 * x0[s] + u1 * x1[s] + u2 * x2[s] + u3 * x3[s]
            out1[s] = b1 + v0 * x0[s] + v1 * x1[s] + v2 * x2[s] + v3 * x3[s]
    else:
        for s in range(lanes):
            out0[s] = out0[s] + u0 * x0[s] + u1 * x1[s] + u2 * x2[s] + u3 * x3[s]
            out1[s] = out1[s] + v0 * x0[s] + v1 * x1[s] + v2 * x2[s] + v3 * x3[s]


@_distinct
def _pass_2x2(x0, x1, u0, u1, v0, v1, start, b0, b1, lanes, out0, out1):
    """Two rows of out, two of x."""
    if start:
        for s in range(lanes):
            out0[s] = b0 + u0 * x0[s] + u1 * x1[s]
            out1[s] = b1 + v0 * x0[s] + v1 * x1[s]
    else:
        for s in range(lanes):
            out0[s] = out0[s] + u0 * x0[s] + u1 * x1[s]
            out1[s] = out1[s] + v0 * x0[s] + v1 * x1[s]


@_distinct
def _pass_2x1(x0, u0, v0, start, b0, b1, lanes, out0, out1):
    """Two rows of out, one of x."""
    if start:
        for s in range(lanes):
            out0[s] = b0 + u0 * x0[s]
            out1[s] = b1 + v0 * x0[s]
    else:
        for s in range(lanes):
            out0[s] = out0[s] + u0 * x0[s]
            out1[s] = out1[s] + v0 * x0[s]


@_distinct
def _pass_1x4(x0, x1, x2, x3, u0, u1, u2, u3, start, b0, lanes, out0):
    """One row of out, four of x."""
    if start:
        for s in range(lanes):
            out0[s] = b0 + u0 * x0[s] + u1 * x1[s] + u2 * x2[s] + u3 * x3[s]
    else:
        for s in range(lanes):
            out0[s] = out0[s] + u0 * x0[s] + u1 * x1[s] + u2 * x2[s] + u3 * x3[s]


@_distinct
def _pass_1x2(x0, x1, u0, u1, start, b0, lanes, out0):
    """One row of out, two of x."""
    if start:
        for s in range(lanes):
            out0[s] = b0 + u0 * x0[s] + u1 * x1[s]
    else:
        for s in range(lanes):
            out0[s] = out0[s] + u0 * x0[s] + u1 * x1[s]


@_distinct
def _pass_1x1(x0, u0, start, b0, lanes, out0):
    """One row of out, one of x."""
    if start:
        for s in range(lanes):
            out0[s] = b0 + u0 * x0[s]
    else:
        for s in range(lanes):
            out0[s] = out0[s] + u0 * x0[s]


# What a product starts from.
_FROM_BIAS, _FROM_ZERO, _FROM_OUT = 0, 1, 2


@_glue
def _product_row_pair(x, ldx, w, step, v_offset, start, b0, b1, n_in, lanes, out0, out1):
    """Two rows of out."""
    i = 0
    while i + 4 <= n_in:
        u = _at(w, i * step)
        v = _at(u, v_offset)
        row = _at(x, i * ldx)
        _pass_2x4(
            row,
            _at(row, ldx),
            _at(row, 2 * ldx),
            _at(row, 3 * ldx),
            u[0],
            u[step],
            u[2 * step],
            u[3 * step],
            v[0],
            v[step],
            v[2 * step],
            v[3 * step],
            start,
            b0,
            b1,
            lanes,
            out0,
            out1,
        )
        start = False
        i += 4
    if i + 2 <= n_in:
        u = _at(w, i * step)
        v = _at(u, v_offset)
        row = _at(x, i * ldx)
        _pass_2x2(
            row, _at(row, ldx), u[0], u[step], v[0], v[step], start, b0, b1, lanes, out0, out1
        )
        start = False
        i += 2
    if i < n_in:
        u = _at(w, i * step)
        _pass_2x1(_at(x, i * ldx), u[0], u[v_offset], start, b0, b1, lanes, out0, out1)


@_glue
def _product_row(x, ldx, w, step, start, b0, n_in, lanes, out0):
    """One row of out."""
    i = 0
    while i + 4 <= n_in:
        u = _at(w, i * step)
        row = _at(x, i * ldx)
        _pass_1x4(
            row,
            _at(row, ldx),
            _at(row, 2 * ldx),
            _at(row, 3 * ldx),
            u[0],
            u[step],
            u[2 * step],
            u[3 * step],
            start,
            b0,
            lanes,
            out0,
        )
        start = False
        i += 4
    if i + 2 <= n_in:
        u = _at(w, i * step)
        row = _at(x, i * ldx)
        _pass_1x2(row, _at(row, ldx), u[0], u[step], start, b0, lanes, out0)
        start = False
        i += 2
    if i < n_in:
        _pass_1x1(_at(x, i * ldx), w[i * step], start, b0, lanes, out0)


@_glue
def _product(x, ldx, w, step_in, step_out, b, start_from, n_in, n_out, lanes, out, ldo):
    """``out[j] = start + sum over i of w[i * step_in + j * step_out] * x[i]``, row by row."""
    start = start_from != _FROM_OUT
    b0 = _like(x, 0.0)
    b1 = b0
    j = 0
    while j + 2 <= n_out:
        if start_from == _FROM_BIAS:
            b0, b1 = b[j], b[j + 1]
        out0 = _at(out, j * ldo)
        _product_row_pair(
            x,
            ldx,
            _at(w, j * step_out),
            step_in,
            step_out,
            start,
            b0,
            b1,
            n_in,
            lanes,
            out0,
            _at(out0, ldo),
        )
        j += 2
    if j < n_out:
        if start_from == _FROM_BIAS:
            b0 = b[j]
        _product_row(
            x, ldx, _at(w, j * step_out), step_in, start, b0, n_in, lanes, _at(out, j * ldo)
        )


@_distinct
def _dots_2x4(x0, x1, d0, d1, d2, d3, samples):
    """Scalar products of 2 rows with 4."""
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = _like(x0, 0.0)
    for s in range(samples):
        a0 += x0[s] * d0[s]
        a1 += x0[s] * d1[s]
        a2 += x0[s] * d2[s]
        a3 += x0[s] * d3[s]
        b0 += x1[s] * d0[s]
        b1 += x1[s] * d1[s]
        b2 += x1[s] * d2[s]
        b3 += x1[s] * d3[s]
    return a0, a1, a2, a3, b0, b1, b2, b3


@_distinct
def _dots_2x2(x0, x1, d0, d1, samples):
    """Scalar products of 2 rows with 2."""
    a0 = a1 = b0 = b1 = _like(x0, 0.0)
    for s in range(samples):
        a0 += x0[s] * d0[s]
        a1 += x0[s] * d1[s]
        b0 += x1[s] * d0[s]
        b1 += x1[s] * d1[s]
    return a0, a1, b0, b1


@_distinct
def _dots_1x2(x0, d0, d1, samples):
    """Scalar products of a row with 2."""
    a0 = a1 = _like(x0, 0.0)
    for s in range(samples):
        a0 += x0[s] * d0[s]
        a1 += x0[s] * d1[s]
    return a0, a1


@_distinct
def _dot(x, d, samples):
    """Scalar product of two rows."""
    total = _like(x, 0.0)
    for s in range(samples):
        total += x[s] * d[s]
    return total


@_distinct
def _sum(x, samples):
    """Sum of a row."""
    total = _like(x, 0.0)
    for s in range(samples):
        total += x[s]
    return total


@_private
def _put(accumulate, p, value):
    """Write or add one number."""
    p[0] = p[0] + value if accumulate else value


@_glue
def _outer(x, ldx, dz, ldz, accumulate, n_in, n_out, samples, dw):
    """``dw = x dz.T``."""
    i = 0
    while i + 2 <= n_in:
        x0 = _at(x, i * ldx)
        x1 = _at(x0, ldx)
        j = 0
        while j + 4 <= n_out:
            d = _at(dz, j * ldz)
            sums = _dots_2x4(x0, x1, d, _at(d, ldz), _at(d, 2 * ldz), _at(d, 3 * ldz), samples)
            p = _at(dw, i * n_out + j)
            for c in range(4):
                _put(accumulate, _at(p, c), sums[c])
                _put(accumulate, _at(p, n_out + c), sums[4 + c])
            j += 4
        if j + 2 <= n_out:
            d = _at(dz, j * ldz)
            p = _at(dw, i * n_out + j)
            a0, a1, b0, b1 = _dots_2x2(x0, x1, d, _at(d, ldz), samples)
            _put(accumulate, p, a0)
            _put(accumulate, _at(p, 1), a1)
            _put(accumulate, _at(p, n_out), b0)
            _put(accumulate, _at(p, n_out + 1), b1)
            j += 2
        if j < n_out:
            p = _at(dw, i * n_out + j)
            a0, b0 = _dots_1x2(_at(dz, j * ldz), x0, x1, samples)
            _put(accumulate, p, a0)
            _put(accumulate, _at(p, n_out), b0)
        i += 2
    if i < n_in:
        x0 = _at(x, i * ldx)
        j = 0
        while j + 2 <= n_out:
            d = _at(dz, j * ldz)
            p = _at(dw, i * n_out + j)
            a0, a1 = _dots_1x2(x0, d, _at(d, ldz), samples)
            _put(accumulate, p, a0)
            _put(accumulate, _at(p, 1), a1)
            j += 2
        if j < n_out:
            _put(accumulate, _at(dw, i * n_out + j), _dot(x0, _at(dz, j * ldz), samples))


# With sparse rows: the stored numbers of sample s stand at indptr[s] .. indptr[s + 1], each with
# its column. The loops run along the units: every number meets a whole row of the weights.


@_glue
def _weighted_rows(values, rows, n, matrix, ld, accumulate, columns, out):
    """``out = start + sum over k of values[k] * row rows[k] of matrix``."""
    zero = _like(values, 0.0)
    start = not accumulate
    k = 0
    while k + 4 <= n:
        _pass_1x4(
            _at(matrix, rows[k] * ld),
            _at(matrix, rows[k + 1] * ld),
            _at(matrix, rows[k + 2] * ld),
            _at(matrix, rows[k + 3] * ld),
            values[k],
            values[k + 1],
            values[k + 2],
            values[k + 3],
            start,
            zero,
            columns,
            out,
        )
        start = False
        k += 4
    while k < n:
        _pass_1x1(_at(matrix, rows[k] * ld), values[k], start, zero, columns, out)
        start = False
        k += 1
    if start:
        for j in range(columns):
            out[j] = zero


@_glue
def _sparse_forward(
    values,
    indices,
    indptr,
    gathered,
    order,
    first,
    samples,
    lanes,
    w,
    b,
    n_out,
    unit,
    last,
    scratch,
    out,
    ldo,
):
    """Net inputs of a block of samples for some units; the padding gets the biases."""
    for start in range(unit, last, SPARSE_COLUMNS):
        columns = min(SPARSE_COLUMNS, last - start)
        for s in range(samples):
            row = order[first + s] if gathered else first + s
            begin = indptr[row]
            _weighted_rows(
                _at(values, begin),
                _at(indices, begin),
                indptr[row + 1] - begin,
                _at(w, start),
                n_out,
                np.bool_(False),
                columns,
                _at(scratch, s * columns),
            )
        for j in range(columns):
            line, bias = _at(out, (start + j) * ldo), b[start + j]
            for s in range(samples):
                line[s] = bias + scratch[s * columns + j]
            for s in range(samples, lanes):
                line[s] = bias


@_private
def _sort_by_column(
    values, indices, indptr, gathered, order, first, samples, columns, ends, out, out_samples
):
    """The numbers of a block of samples by column: those of column c end at ``ends[c]``."""
    for c in range(columns):
        ends[c] = 0
    for s in range(samples):
        row = order[first + s] if gathered else first + s
        for k in range(indptr[row], indptr[row + 1]):
            ends[indices[k]] += 1
    total = 0
    for c in range(columns):
        count = np.int64(ends[c])
        ends[c] = total
        total += count
    for s in range(samples):
        row = order[first + s] if gathered else first + s
        for k in range(indptr[row], indptr[row + 1]):
            place = np.int64(ends[indices[k]])
            out[place] = values[k]
            out_samples[place] = s
            ends[indices[k]] = place + 1


@_glue
def _sparse_outer(
    values, samples_of, ends, n_in, dz, ldz, accumulate, samples, n_out, unit, last, rows, dw
):
    """``dw = x dz.T`` from the numbers by column, for some units; ``rows`` takes a tile of dz."""
    for start in range(unit, last, SPARSE_COLUMNS):
        columns = min(SPARSE_COLUMNS, last - start)
        _transpose(_at(dz, start * ldz), columns, samples, ldz, rows, columns)
        begin = 0
        for i in range(n_in):
            end = np.int64(ends[i])
            _weighted_rows(
                _at(values, begin),
                _at(samples_of, begin),
                end - begin,
                rows,
                columns,
                accumulate,
                columns,
                _at(dw, i * n_out + start),
            )
            begin = end


# --- layers ---------------------------------------------------------------------

_N, _T = ord("n"), ord("t")


@_private
def _fill(value, lanes, out):
    """Set a row to one value."""
    for s in range(lanes):
        out[s] = value


@_glue
def _blas(blas, trans_a, trans_b, m, n, k, a, lda, b, each, ldb, beta, c, ldc):
    """Column-major ``c = op(a) op(b) + beta c``; n columns of op(b), ``each`` numbers apart.

    Where threads share out the columns (``blas`` is 2), small products are made piece by piece
    always, of the pieces that they may be cut at.
    """
    begin = np.int64(0)
    pieces = max(n // UNITS, 1) if blas == 2 and UNITS * m * k <= SMALL_PRODUCT else 1
    for piece in range(1, pieces + 1):
        end = piece * UNITS if piece < pieces else n
        _gemm(
            trans_a,
            trans_b,
            m,
            end - begin,
            k,
            a,
            lda,
            _at(b, begin * each),
            ldb,
            beta,
            _at(c, begin * ldc),
            ldc,
        )
        begin = end


@_glue
def _dense_forward(x, ldx, w, b, blas, n_in, ldw, n_out, lanes, out, ldo):
    """See :func:`dense_forward`; of ``n_out`` neighbouring units of a layer of ``ldw``."""
    if blas:
        for j in range(n_out):
            _fill(b[j], lanes, _at(out, j * ldo))
        one = _like(x, 1.0)
        _blas(blas, _N, _T, lanes, n_out, n_in, x, ldx, w, 1, ldw, one, out, ldo)
    else:
        _product(x, ldx, w, ldw, np.int64(1), b, np.int64(_FROM_BIAS), n_in, n_out, lanes, out, ldo)


@_glue
def _dense_backward_params(x, ldx, dz, ldz, blas, accumulate, n_in, n_out, samples, dw):
    """The weights' part of :func:`dense_backward_params`."""
    if blas:
        beta = _like(x, 1.0 if accumulate else 0.0)
        _blas(blas, _T, _N, n_out, n_in, samples, dz, ldz, x, ldx, ldx, beta, dw, n_out)
    else:
        _outer(x, ldx, dz, ldz, accumulate, n_in, n_out, samples, dw)


@_glue
def _row_sums(dz, ldz, accumulate, n_out, samples, db):
    """The biases' part of :func:`dense_backward_params`."""
    for j in range(n_out):
        _put(accumulate, _at(db, j), _sum(_at(dz, j * ldz), samples))


@_glue
def _dense_backward_inputs(w, dz, ldz, blas, n_in, n_out, lanes, dx, ldx):
    """See :func:`dense_backward_inputs`."""
    if blas:
        zero = _like(w, 0.0)
        _blas(blas, _N, _N, lanes, n_in, n_out, dz, ldz, w, n_out, n_out, zero, dx, ldx)
    else:
        _product(
            dz, ldz, w, np.int64(1), n_out, w, np.int64(_FROM_ZERO), n_out, n_in, lanes, dx, ldx
        )


@_public
def dense_forward(x, w, b, out):
    """``out = w.T x + b``."""
    n_in, n_out, samples = x.shape[0], out.shape[0], x.shape[1]
    _dense_forward(
        _pointer(x),
        samples,
        _pointer(w),
        _pointer(b),
        np.int64(0),
        n_in,
        n_out,
        n_out,
        samples,
        _pointer(out),
        samples,
    )


@_public
def dense_backward_params(x, dz, accumulate, dw, db):
    """``dw = x dz.T``, ``db = sum of dz over the samples``."""
    n_in, n_out, samples = x.shape[0], dz.shape[0], x.shape[1]
    _dense_backward_params(
        _pointer(x),
        samples,
        _pointer(dz),
        samples,
        np.int64(0),
        accumulate,
        n_in,
        n_out,
        samples,
        _pointer(dw),
    )
    _row_sums(_pointer(dz), samples, accumulate, n_out, samples, _pointer(db))


@_public
def dense_backward_inputs(w, dz, dx):
    """``dx = w dz``."""
    n_in, n_out, samples = dx.shape[0], dz.shape[0], dz.shape[1]
    _dense_backward_inputs(
        _pointer(w), _pointer(dz), samples, np.int64(0), n_in, n_out, samples, _pointer(dx), samples
    )


@_private
def _activate(activation, alpha, n, a):
    """``a = f(a)`` along ``n`` contiguous numbers."""
    zero = _like(a, 0.0)
    if activation == TANH:
        for s in range(n):
            a[s] = _tanh(a[s])
    elif activation == SIGMOID:
        for s in range(n):
            a[s] = _sigmoid(a[s])
    elif activation == RELU:
        for s in range(n):
            a[s] = zero if a[s] <= zero else a[s]
    elif activation == LEAKY_RELU:
        slope = _like(a, alpha)
        for s in range(n):
            a[s] = slope * a[s] if a[s] <= zero else a[s]
    elif activation == ELU:
        scale = _like(a, alpha)
        for s in range(n):
            e = scale * _expm1(a[s])
            a[s] = e if a[s] <= zero else a[s]
    elif activation == SOFTPLUS:
        for s in range(n):
            a[s] = _softplus(a[s])
    elif activation == SILU:
        for s in range(n):
            a[s] = a[s] * _sigmoid(a[s])
    elif activation == GELU:
        for s in range(n):
            a[s] = a[s] * _normal_cdf(a[s])
    elif activation == CUSTOM_ACTIVATION:
        _call(alpha, (np.int64(0), n, a, a))


@_distinct
def _activate_back(z, a, activation, alpha, n, da):
    """``da`` times ``f'(z)`` along ``n`` contiguous numbers."""
    zero = _like(a, 0.0)
    one = _like(a, 1.0)
    if activation == TANH:
        for s in range(n):
            da[s] = da[s] * (one - a[s] * a[s])
    elif activation == SIGMOID:
        for s in range(n):
            da[s] = da[s] * (a[s] * (one - a[s]))
    elif activation == RELU:
        for s in range(n):
            da[s] = da[s] * (one if a[s] > zero else zero)
    elif activation == LEAKY_RELU:
        slope = _like(a, alpha)
        for s in range(n):
            da[s] = da[s] * (one if a[s] > zero else slope)
    elif activation == ELU:
        scale = _like(a, alpha)
        for s in range(n):
            da[s] = da[s] * (one if a[s] > zero else a[s] + scale)
    elif activation == SOFTPLUS:
        for s in range(n):
            da[s] = da[s] * -_expm1(-a[s])
    elif activation == SILU:
        for s in range(n):
            sigmoid = _sigmoid(z[s])
            da[s] = da[s] * (sigmoid + a[s] * (one - sigmoid))
    elif activation == GELU:
        half = _like(a, -0.5)
        factor = _like(a, 0.3989422804014327)
        for s in range(n):
            density = _exp(half * z[s] * z[s]) * factor
            da[s] = da[s] * (_normal_cdf(z[s]) + z[s] * density)
    elif activation == CUSTOM_ACTIVATION:
        _call(alpha, (np.int64(1), n, z, da))


@_distinct
def _copy_distinct(x, n, out):
    """Copy ``n`` numbers."""
    for s in range(n):
        out[s] = x[s]


@_private
def _copy(x, n, out):
    """Copy ``n`` numbers, unless onto themselves."""
    if not _same(x, out):
        _copy_distinct(x, n, out)


@_public
def activation_forward(z, activation, alpha, out):
    """``out = f(z)``; ``out`` may be ``z``."""
    _copy(_pointer(z), z.size, _pointer(out))
    _activate(activation, alpha, z.size, _pointer(out))


@_public
def activation_backward(z, a, activation, alpha, da):
    """``da`` becomes ``dz = da f'(z)``."""
    _activate_back(_pointer(z), _pointer(a), activation, alpha, a.size, _pointer(da))


@_private
def _dropout(rate, key, first, units, lanes, da, ld):
    """Zero where a unit is dropped, ``da / (1 - rate)`` where it is kept."""
    threshold = np.uint32(rate * 4294967296.0)
    zero = _like(da, 0.0)
    factor = _like(da, 1.0 / (1.0 - rate))
    for unit in range(units):
        row = np.uint32(mix(key + np.uint64(unit)))
        p = _at(da, unit * ld)
        for s in range(lanes):
            h = _hash32(np.uint32(row + np.uint32(first + s) * np.uint32(0x9E3779B9)))
            p[s] = p[s] * factor if h >= threshold else zero


@_public
def dropout_forward(x, rate, key, first, out):
    """``out = x / (1 - rate)`` where the unit is kept, else 0."""
    _copy(_pointer(x), x.size, _pointer(out))
    _dropout(rate, np.uint64(key), first, x.shape[0], x.shape[1], _pointer(out), x.shape[1])


@_public
def dropout_backward(rate, key, first, da):
    """Apply the mask and factor of :func:`dropout_forward` to ``da``, in place."""
    _dropout(rate, np.uint64(key), first, da.shape[0], da.shape[1], _pointer(da), da.shape[1])


# --- losses ---------------------------------------------------------------------


@_distinct
def _maximum(z, ld, units, lanes, top):
    """Largest of a sample's units."""
    for s in range(lanes):
        top[s] = z[s]
    for k in range(1, units):
        row = _at(z, k * ld)
        for s in range(lanes):
            top[s] = row[s] if row[s] > top[s] else top[s]


@_distinct
def _exp_row(top, lanes, total, out):
    """``out = exp(out - top)``, added to ``total``."""
    for s in range(lanes):
        e = _exp_negative(out[s] - top[s])
        out[s] = e
        total[s] += e


@_distinct
def _chosen_row(unit, targets, z, samples, chosen):
    """Keep the net input where the unit is the target."""
    for s in range(samples):
        chosen[s] = z[s] if targets[s] == unit else chosen[s]


@_distinct
def _losses_row(total, scale, lanes, top, chosen, weight):
    """``chosen``: the losses; ``top``: factors of the exponentials; ``weight``: of the targets."""
    for s in range(lanes):
        chosen[s] = (_log(total[s]) + (top[s] - chosen[s])) * weight[s]
        scaled = weight[s] * scale
        weight[s] = scaled
        top[s] = scaled / total[s]


@_distinct
def _derivative_row(unit, targets, factor, weight, samples, out):
    """From exponentials to the derivative."""
    zero = _like(out, 0.0)
    for s in range(samples):
        out[s] = out[s] * factor[s] - (weight[s] if targets[s] == unit else zero)


@_distinct
def _total(x, samples):
    """Sum in float64."""
    total = 0.0
    for s in range(samples):
        total += np.float64(x[s])
    return total


@_glue
def _cross_entropy(targets, scale, units, samples, lanes, ld, weight, total, top, chosen, out):
    """Cross-entropy row by row; ``chosen``, zero before, becomes the samples' losses."""
    zero = _like(out, 0.0)
    _maximum(out, ld, units, lanes, top)
    _fill(zero, lanes, total)
    for k in range(units):
        _chosen_row(_like(out, k), targets, _at(out, k * ld), samples, chosen)
        _exp_row(top, lanes, total, _at(out, k * ld))
    _losses_row(total, scale, lanes, top, chosen, weight)
    for k in range(units):
        _derivative_row(_like(out, k), targets, top, weight, samples, _at(out, k * ld))


@_distinct
def _two_classes(targets, scale, lanes, weight, each, out0, out1):
    """Cross-entropy of two units in one pass: a third of the time.

    With v by how much the wrong one leads, the loss is log(1 + exp(v)) and the wrong one's
    probability, the derivative of both, 1 / (1 + exp(-v)).
    """
    zero = _like(out0, 0.0)
    one = _like(out0, 1.0)
    for s in range(lanes):
        sign = one if targets[s] == zero else -one
        v = sign * (out1[s] - out0[s])
        e = _exp_negative(-abs(v))
        each[s] = ((zero if v < zero else v) + _log1p(e)) * weight[s]
        d = (one if v >= zero else e) / (one + e) * (sign * (weight[s] * scale))
        out0[s] = -d
        out1[s] = d


@_distinct
def _binary_row(targets, weight, scale, lanes, each, out):
    """Binary cross-entropy of one unit; loss and derivative share an exponential."""
    zero = _like(out, 0.0)
    one = _like(out, 1.0)
    for s in range(lanes):
        z = out[s]
        e = _exp(-abs(z))
        positive = zero if z < zero else z
        each[s] += (positive + _log1p(e) - targets[s] * z) * weight[s]
        probability = (one if z >= zero else e) / (one + e)
        out[s] = (probability - targets[s]) * (weight[s] * scale)


@_distinct
def _squared_row(targets, weight, scale, lanes, each, out):
    """Squared error of one unit."""
    half = _like(out, 0.5)
    for s in range(lanes):
        d = out[s] - targets[s]
        each[s] += half * d * d * weight[s]
        out[s] = d * (weight[s] * scale)


@_distinct
def _other_row(targets, weight, loss, constant, scale, lanes, each, out):
    """One unit of the other losses of regression."""
    zero = _like(out, 0.0)
    one = _like(out, 1.0)
    number = _like(out, constant)
    if loss == HUBER:
        half = _like(out, 0.5)
        for s in range(lanes):
            d = out[s] - targets[s]
            c = number if d > number else d
            c = -number if d < -number else c
            each[s] += c * (d - half * c) * weight[s]
            out[s] = c * (weight[s] * scale)
    elif loss == POISSON:
        for s in range(lanes):
            z, t = out[s], targets[s]
            mean = _exp(z)
            positive = t if t > _like(out, 1e-30) else one
            each[s] += (mean - t * z + (t * _log(positive) - t)) * weight[s]
            out[s] = (mean - t) * (weight[s] * scale)
    else:
        up = one - number if loss == QUANTILE else one
        down = -number if loss == QUANTILE else -one
        for s in range(lanes):
            d = out[s] - targets[s]
            slope = up if d > zero else zero
            slope = down if d < zero else slope
            each[s] += slope * d * weight[s]
            out[s] = slope * (weight[s] * scale)


@_private
def _smoothing(
    units, samples, ld, targets, ldt, weights, weighted, loss, smoothing, scale, added, out
):
    """What label smoothing adds: a part linear in the net inputs, ``smoothing (t - mean t)``.

    To the loss, which is returned, and later (``added``) to the derivative in ``out``.
    """
    total = 0.0
    mean = 1.0 / units if loss == CROSS_ENTROPY else 0.5
    for k in range(units):
        row = _at(out, k * ld)
        for s in range(samples):
            t = np.float64(targets[s] == k)
            if loss == BINARY_CROSS_ENTROPY:
                t = np.float64(targets[k * ldt + s])
            factor = smoothing * (t - mean)
            if weighted:
                factor *= weights[s]
            if added:
                row[s] += _like(out, factor * scale)
            else:
                total += factor * row[s]
    return total


@_glue
def _output_loss(
    units, samples, lanes, ld, targets, ldt, weights, weighted, loss, constant, scale, out
):
    """Loss of at most ``SCRATCH`` samples; ``out`` holds the net inputs, then the derivative."""
    weight = _scratch(out)
    each = _at(weight, SCRATCH)
    target = _at(weight, 2 * SCRATCH)
    _fill(_like(out, 0.0), lanes, each)
    if weighted:
        _copy(weights, samples, weight)
    else:
        _fill(_like(out, 1.0), lanes, weight)
    factor = _like(out, scale)
    smoothed = constant != 0.0 and loss <= BINARY_CROSS_ENTROPY
    total = 0.0
    if smoothed:
        total = _smoothing(
            units,
            samples,
            ld,
            targets,
            ldt,
            weights,
            weighted,
            loss,
            constant,
            scale,
            np.bool_(False),
            out,
        )
    if loss == CROSS_ENTROPY and units == 2:
        # a copy, because the targets may end where the samples do
        _copy(targets, samples, target)
        _two_classes(target, factor, lanes, weight, each, out, _at(out, ld))
    elif loss == CROSS_ENTROPY:
        _cross_entropy(
            targets,
            factor,
            units,
            samples,
            lanes,
            ld,
            weight,
            target,
            _at(weight, 3 * SCRATCH),
            each,
            out,
        )
    else:
        for k in range(units):
            _copy(_at(targets, k * ldt), samples, target)
            row = _at(out, k * ld)
            if loss == BINARY_CROSS_ENTROPY:
                _binary_row(target, weight, factor, lanes, each, row)
            elif loss == SQUARED_ERROR:
                _squared_row(target, weight, factor, lanes, each, row)
            elif loss == CUSTOM_LOSS:
                _call(constant, (lanes, target, weight, factor, each, row))
            else:
                _other_row(target, weight, loss, constant, factor, lanes, each, row)
    if smoothed:
        _smoothing(
            units,
            samples,
            ld,
            targets,
            ldt,
            weights,
            weighted,
            loss,
            constant,
            scale,
            np.bool_(True),
            out,
        )
    return total + _total(each, samples)


@_public
def output_loss(logits, targets, sample_weight, loss, constant, scale, dlogits):
    """Weighted sum of the samples' losses, and its derivative times ``scale``."""
    units, samples = logits.shape
    weighted = sample_weight.shape[0] > 0
    _copy(_pointer(logits), logits.size, _pointer(dlogits))
    total = 0.0
    for first in range(0, samples, SCRATCH):
        n = min(SCRATCH, samples - first)
        total += _output_loss(
            units,
            n,
            n,
            samples,
            _at(_pointer(targets), first),
            samples,
            _at(_pointer(sample_weight), first),
            weighted,
            loss,
            constant,
            scale,
            _at(_pointer(dlogits), first),
        )
    return total


@_distinct
def _divide_row(total, lanes, out):
    """``out / total``."""
    for s in range(lanes):
        out[s] = out[s] / total[s]


@_private
def _exponential(lanes, out):
    """``exp(out)``."""
    for s in range(lanes):
        out[s] = _exp(out[s])


@_glue
def _transform(loss, units, lanes, out, ld):
    """Net inputs of at most ``SCRATCH`` samples become predictions."""
    if loss == CROSS_ENTROPY:
        top = _scratch(out)
        total = _at(top, SCRATCH)
        _maximum(out, ld, units, lanes, top)
        _fill(_like(out, 0.0), lanes, total)
        for k in range(units):
            _exp_row(top, lanes, total, _at(out, k * ld))
        for k in range(units):
            _divide_row(total, lanes, _at(out, k * ld))
    elif loss == BINARY_CROSS_ENTROPY:
        for k in range(units):
            _activate(np.int64(SIGMOID), 0.0, lanes, _at(out, k * ld))
    elif loss == POISSON:
        for k in range(units):
            _exponential(lanes, _at(out, k * ld))


@_public
def output_transform(loss, out):
    """Net inputs become predictions, in place: softmax, sigmoid, exp or themselves."""
    units, samples = out.shape
    for first in range(0, samples, SCRATCH):
        n = min(SCRATCH, samples - first)
        _transform(loss, units, n, _at(_pointer(out), first), samples)


# --- update rules ---------------------------------------------------------------


@_private
def _step_size(rule, constants, learning_rate, count):
    """Learning rate, for Adam with the correction of the moments' bias."""
    if rule == ADAM:
        unbiased = math.sqrt(1.0 - math.pow(constants[1], np.float64(count)))
        return learning_rate * unbiased / (1.0 - math.pow(constants[0], np.float64(count)))
    return learning_rate


@_distinct
def _update(grads, l2, shrink, rule, constants, rate, n, params, state0, state1):
    """One step for ``n`` parameters; ``rate`` is the step size, ``shrink`` the decay's factor."""
    l2, shrink, rate = _like(params, l2), _like(params, shrink), _like(params, rate)
    c0, c1 = _like(params, constants[0]), _like(params, constants[1])
    epsilon = _like(params, constants[2])
    # 1 - constant in float64, as its rounding would show
    d0, d1 = _like(params, 1.0 - constants[0]), _like(params, 1.0 - constants[1])
    if rule == SGD:
        if constants[0] == 0.0:
            for i in range(n):
                params[i] = params[i] * shrink - rate * (grads[i] + l2 * params[i])
        elif constants[1] != 0.0:
            for i in range(n):
                step = rate * (grads[i] + l2 * params[i])
                v = c0 * state0[i] - step
                state0[i] = v
                params[i] = params[i] * shrink + (c0 * v - step)
        else:
            for i in range(n):
                v = c0 * state0[i] - rate * (grads[i] + l2 * params[i])
                state0[i] = v
                params[i] = params[i] * shrink + v
    elif rule == ADAM:
        for i in range(n):
            g = grads[i] + l2 * params[i]
            m = c0 * state0[i] + d0 * g
            v = c1 * state1[i] + d1 * g * g
            state0[i] = m
            state1[i] = v
            params[i] = params[i] * shrink - rate * m / (math.sqrt(v) + epsilon)
    elif rule == ADAGRAD:
        for i in range(n):
            g = grads[i] + l2 * params[i]
            v = state0[i] + g * g
            state0[i] = v
            params[i] = params[i] * shrink - rate * g / (math.sqrt(v) + c0)
    else:
        for i in range(n):
            g = grads[i] + l2 * params[i]
            v = c0 * state0[i] + d0 * g * g
            state0[i] = v
            params[i] = params[i] * shrink - rate * g / (math.sqrt(v) + c1)


@_public
def _update_all(grads, l2, decay, rule, constants, learning_rate, count, params, state):
    """One step of an update rule, ``g = grads + l2 params``."""
    constants_ = _pointer(constants)
    state0 = _pointer(state)
    _update(
        _pointer(grads),
        l2,
        1.0 - learning_rate * decay,
        rule,
        constants_,
        _step_size(rule, constants_, learning_rate, count),
        params.shape[0],
        _pointer(params),
        state0,
        _at(state0, state.shape[1] * (state.shape[0] - 1)),
    )


@_private
def _share(thread, n_threads, n):
    """A thread's range of ``n`` elements, cut at multiples of 64 so that bits do not change."""
    lines = (n + 63) // 64
    return thread * lines // n_threads * 64, min((thread + 1) * lines // n_threads * 64, n)


@_distinct
def _add(x, n, out):
    """``out += x``."""
    for i in range(n):
        out[i] += x[i]


@_glue
def _reduce(groups, n_params, start, stop, grads):
    """Add the groups' gradients in order into the first row."""
    for group in range(1, groups):
        _add(_at(grads, group * n_params + start), stop - start, _at(grads, start))


@_distinct
def _clip_entries(limit, n, grads):
    """Clip to ``-limit`` and ``limit``."""
    high = _like(grads, limit)
    for i in range(n):
        g = grads[i]
        g = high if g > high else g
        grads[i] = -high if g < -high else g


@_distinct
def _scale(factor, n, grads):
    """``grads * factor``."""
    factor = _like(grads, factor)
    for i in range(n):
        grads[i] = grads[i] * factor


@_distinct
def _average(params, keep, n, out):
    """``out = keep out + (1 - keep) params``."""
    kept, new = _like(out, keep), _like(out, 1.0 - keep)
    for i in range(n):
        out[i] = kept * out[i] + new * params[i]


@_glue
def _update_range(
    grads,
    first,
    n,
    l2,
    shrink,
    rule,
    constants,
    rate,
    groups,
    thread,
    n_threads,
    n_params,
    n_moments,
    params,
    state,
    factor,
    averaged,
    keep,
):
    """Sum of the groups and update, for a thread's share of one range of parameters."""
    begin, end = _share(thread, n_threads, n)
    for start in range(first + begin, first + end, UPDATED):
        stop = min(start + UPDATED, first + end)
        _reduce(groups, n_params, start, stop, grads)
        if factor != 1.0:
            _scale(factor, stop - start, _at(grads, start))
        _update(
            _at(grads, start),
            l2,
            shrink,
            rule,
            constants,
            rate,
            stop - start,
            _at(params, start),
            _at(state, start),
            _at(state, start + (n_moments - 1) * n_params),
        )
        if averaged:
            average = _at(state, start + n_moments * n_params)
            _average(_at(params, start), keep, stop - start, average)


# --- networks -------------------------------------------------------------------


@_public
def weights_of(row, flat):
    """A dense layer's weights as a view of a flat vector."""
    fan_in, fan_out, start = row[FAN_IN], row[FAN_OUT], row[WEIGHTS]
    return flat[start : start + fan_in * fan_out].reshape(fan_in, fan_out)


@_public
def biases_of(row, flat):
    """A dense layer's biases as a view of a flat vector."""
    return flat[row[BIASES] : row[BIASES] + row[FAN_OUT]]


@_distinct
def _sum_of_squares(x, n):
    """In float64."""
    total = 0.0
    for i in range(n):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


@_private
def _penalty(layers, n_layers, l2, params):
    """``l2 / 2`` times the sum of the squared weights."""
    if l2 == 0.0:
        return 0.0
    total = 0.0
    for k in range(n_layers):
        row = _at(layers, k * LAYER_COLUMNS)
        if row[KIND] == DENSE:
            total += _sum_of_squares(_at(params, row[WEIGHTS]), row[FAN_IN] * row[FAN_OUT])
    return 0.5 * l2 * total


@_public
def penalty(layers, l2, params):
    """``l2 / 2`` times the sum of the squared weights, biases left out."""
    return _penalty(_pointer(layers), layers.shape[0], l2, _pointer(params))


@_private
def _padded(samples):
    """Samples rounded up to whole vectors; a row of scratch memory has room for them."""
    return (samples + LANES - 1) // LANES * LANES


@_private
def _gather(x, features, order, start, samples, out, ld):
    """``out[f, s] = x[order[start + s], f]``, a few samples at a time for the cache."""
    for first in range(0, samples, 16):
        last = min(first + 16, samples)
        for f in range(features):
            row = _at(out, f * ld)
            for s in range(first, last):
                row[s] = _like(out, x[order[start + s] * features + f])


@_private
def _transpose(x, rows, columns, ldx, out, ldo):
    """``out[c, r] = x[r, c]``, a few columns at a time for the cache."""
    for first in range(0, columns, 16):
        last = min(first + 16, columns)
        for r in range(rows):
            for c in range(first, last):
                out[c * ldo + r] = _like(out, x[r * ldx + c])


@_private
def _barrier(n_threads, sync):
    """Wait for all threads; ``sync`` holds who has arrived and how often all had."""
    if n_threads == 1:
        return
    turn = _at(sync, 1)
    before = _atomic_load(turn)
    if _atomic_add(sync, 1) == n_threads - 1:
        _atomic_store(sync, 0)
        _atomic_store(turn, before + 1)
    else:
        looks = 0
        while _atomic_load(turn) == before:
            looks += 1
            if looks > SPINS:
                _sleep_a_little()


@_private
def _claim(claims, turn):
    """Whether a thing is mine in this turn; noted is the last one when it was taken, plus 1."""
    noted = _atomic_load(claims)
    return noted <= turn and _atomic_take(claims, noted, turn + 1)


@_private
def _first_unit(units, thread, n_threads):
    """Where a thread's share of a layer's units begins, in whole ``UNITS``."""
    if n_threads == 1:
        return thread * units
    if thread == n_threads:
        return units
    # what is left over goes with the last of them, so that no product is smaller than one
    nearest = (2 * thread * units + n_threads * UNITS) // (2 * n_threads * UNITS)
    return min(nearest, max(units // UNITS - 1, 0)) * UNITS


@_glue
def _forward_block(
    layers,
    n_layers,
    constants,
    seed,
    step,
    first,
    block,
    ready,
    x,
    ldx,
    lanes,
    thread,
    n_threads,
    sync,
    params,
    work,
):
    """Outputs of all layers for one block, in scratch memory; where the last one stands.

    ``ready``: the first layer's net inputs stand there already. Each thread computes its share of
    every layer's units; often there is just one.
    """
    output = 0
    lanes_here = lanes
    for k in range(n_layers):
        row = _at(layers, k * LAYER_COLUMNS)
        z = _at(work, row[NET_INPUT])
        units = row[FAN_OUT]
        unit = _first_unit(units, thread, n_threads)
        last = _first_unit(units, thread + 1, n_threads)
        if row[KIND] == DROPOUT:
            # of the thread's own units of the layer before, so there is nobody to wait for
            for j in range(unit, last):
                _copy(_at(x, j * ldx), lanes_here, _at(z, j * block))
            key = stream(seed, STREAM_DROPOUT + k, step) + np.uint64(unit)
            _dropout(constants[k], key, first, last - unit, lanes_here, _at(z, unit * block), block)
        else:
            if k > 0:
                _barrier(n_threads, sync)
            if unit < last and (k > 0 or not ready):
                _dense_forward(
                    x,
                    ldx,
                    _at(params, row[WEIGHTS] + unit),
                    _at(params, row[BIASES] + unit),
                    row[BLAS],
                    row[FAN_IN],
                    units,
                    last - unit,
                    lanes_here,
                    _at(z, unit * block),
                    block,
                )
            lanes_here = _padded(lanes_here)
            a = _at(work, row[OUTPUT])
            if row[ACTIVATION] != IDENTITY:
                for j in range(unit, last):
                    if row[OUTPUT] != row[NET_INPUT]:
                        _copy(_at(z, j * block), lanes_here, _at(a, j * block))
                    _activate(row[ACTIVATION], constants[k], lanes_here, _at(a, j * block))
        output = row[OUTPUT]
        x, ldx = _at(work, output), block
    return output


@_private
def _few_samples(n_params):
    return FEW_SAMPLES if n_params < WIDE else FEW_SAMPLES_WIDE


def few_samples(n_params, wide_layers):
    """Fewer rows are predicted with loops along the units, not padded to whole vectors."""
    return _few_samples.py_func(n_params)


@_glue
def _forward_few(layers, n_layers, constants, x, samples, params, work):
    """As :func:`_forward_block` for a handful of samples, ``(samples, units)`` throughout."""
    output = 0
    for k in range(n_layers):
        row = _at(layers, k * LAYER_COLUMNS)
        if row[KIND] == DENSE:
            units = row[FAN_OUT]
            z = _at(work, row[NET_INPUT])
            for s in range(samples):
                _copy(_at(params, row[BIASES]), units, _at(z, s * units))
            # the weights' rows are the lanes here, the samples' numbers the scalars
            w = _at(params, row[WEIGHTS])
            n_in = row[FAN_IN]
            _product(
                w,
                units,
                x,
                np.int64(1),
                n_in,
                x,
                np.int64(_FROM_OUT),
                n_in,
                samples,
                units,
                z,
                units,
            )
            n = samples * units
            a = _at(work, row[OUTPUT])
            if row[ACTIVATION] != IDENTITY:
                if row[OUTPUT] != row[NET_INPUT]:
                    _copy(z, n, a)
                _activate(row[ACTIVATION], constants[k], _padded(n), a)
            output = row[OUTPUT]
            x = a
    return output


@_distinct
def _all_finite(x, n):
    """Whether there is neither NaN nor infinity."""
    infinity = _like(x, np.inf)
    bad = np.int64(0)
    for i in range(n):
        bad |= np.int64(not abs(x[i]) < infinity)
    return bad == 0


@_public
def _forward(header, layers, constants, x, loss, transform, params, work, out):
    """Predictions of a network; whether x is finite."""
    block = header[BLOCK]
    samples, features = x.shape
    n_outputs = out.shape[1]
    n_layers = layers.shape[0]
    layers_, constants_ = _pointer(layers), _pointer(constants)
    x_, params_, work_, out_ = _pointer(x), _pointer(params), _pointer(work), _pointer(out)
    rows = _at(work_, header[WORK_INPUT])
    one = np.int64(1)
    few = samples < _few_samples(params.shape[0])
    finite = True
    for first in range(0, samples, block):
        n = min(block, samples - first)
        # a block at a time, since it is read anyway
        finite &= _all_finite(_at(x_, first * features), n * features)
        if few:
            _copy(x_, samples * features, rows)
            logits = _at(
                work_,
                _forward_few(layers_, n_layers, constants_, rows, samples, params_, work_),
            )
            for s in range(samples):
                if transform:
                    _transform(loss, n_outputs, one, _at(logits, s * n_outputs), one)
            _copy(logits, samples * n_outputs, out_)
        else:
            # rows no longer than they need to be: they meet in fewer places of the cache
            lanes = _padded(n)
            _transpose(_at(x_, first * features), n, features, features, rows, lanes)
            logits = _at(
                work_,
                _forward_block(
                    layers_,
                    n_layers,
                    constants_,
                    np.uint64(0),
                    np.int64(0),
                    np.int64(0),
                    lanes,
                    few,
                    rows,
                    lanes,
                    lanes,
                    np.int64(0),
                    one,
                    _pointer(header),
                    params_,
                    work_,
                ),
            )
            if transform:
                _transform(loss, n_outputs, lanes, logits, lanes)
            _transpose(logits, n_outputs, n, lanes, _at(out_, first * n_outputs), n_outputs)
    return finite


@_glue
def _block(
    header,
    layers,
    n_layers,
    constants,
    x,
    ldx,
    lanes_x,
    sparse,
    values,
    indices,
    indptr,
    gathered,
    order,
    start,
    targets,
    ldt,
    weights,
    weighted,
    samples,
    first,
    scale,
    loss,
    seed,
    step,
    accumulate,
    thread,
    n_threads,
    sync,
    params,
    work,
    own,
    grads,
):
    """Loss of one block of samples; its gradient is written or added to ``grads``.

    The first thread computes the loss; each has some units of every layer forward and some rows
    of the weights backward. ``own`` is a thread's own scratch memory.
    """
    block = header[BLOCK]
    lanes = _padded(samples)
    delta, other = header[WORK_DELTA], header[WORK_DELTA_OTHER]
    if sparse:
        units = layers[FAN_OUT]
        _sparse_forward(
            values,
            indices,
            indptr,
            gathered,
            order,
            start,
            samples,
            lanes,
            _at(params, layers[WEIGHTS]),
            _at(params, layers[BIASES]),
            units,
            _first_unit(units, thread, n_threads),
            _first_unit(units, thread + 1, n_threads),
            _at(own, delta),
            _at(work, layers[NET_INPUT]),
            block,
        )
    output = _forward_block(
        layers,
        n_layers,
        constants,
        seed,
        step,
        first,
        block,
        sparse,
        x,
        ldx,
        lanes_x,
        thread,
        n_threads,
        sync,
        params,
        work,
    )
    _barrier(n_threads, sync)
    total = 0.0
    if thread == 0:
        n_outputs = _at(layers, (n_layers - 1) * LAYER_COLUMNS)[FAN_OUT]
        for k in range(n_outputs):
            _copy(_at(work, output + k * block), lanes, _at(work, delta + k * block))
        total = _output_loss(
            n_outputs,
            samples,
            lanes,
            block,
            targets,
            ldt,
            weights,
            weighted,
            loss,
            constants[n_layers - 1],
            scale,
            _at(work, delta),
        )
    for k in range(n_layers - 1, -1, -1):
        row = _at(layers, k * LAYER_COLUMNS)
        units = row[FAN_OUT]
        unit = _first_unit(units, thread, n_threads)
        last = _first_unit(units, thread + 1, n_threads)
        dz = _at(work, delta)
        if row[KIND] == DROPOUT:
            key = stream(seed, STREAM_DROPOUT + k, step) + np.uint64(unit)
            _dropout(constants[k], key, first, last - unit, lanes, _at(dz, unit * block), block)
            continue
        if row[ACTIVATION] != IDENTITY:
            for j in range(unit, last):
                _activate_back(
                    _at(work, row[NET_INPUT] + j * block),
                    _at(work, row[OUTPUT] + j * block),
                    row[ACTIVATION],
                    constants[k],
                    lanes,
                    _at(dz, j * block),
                )
        _barrier(n_threads, sync)
        _row_sums(
            _at(dz, unit * block),
            block,
            accumulate,
            last - unit,
            samples,
            _at(grads, row[BIASES] + unit),
        )
        if k == 0 and sparse:
            features = row[FAN_IN]
            samples_of = _reinterpret(_at(own, header[WORK_SIZE]), indices)
            ends = _at(samples_of, features * block)
            sorted_values = _at(own, header[WORK_INPUT])
            _sort_by_column(
                values,
                indices,
                indptr,
                gathered,
                order,
                start,
                samples,
                features,
                ends,
                sorted_values,
                samples_of,
            )
            _sparse_outer(
                sorted_values,
                samples_of,
                ends,
                features,
                dz,
                block,
                accumulate,
                samples,
                units,
                unit,
                last,
                _at(own, other),
                _at(grads, row[WEIGHTS]),
            )
            break
        if k == 0:
            inputs, ld = x, ldx
        else:
            inputs, ld = _at(work, layers[(k - 1) * LAYER_COLUMNS + OUTPUT]), block
        unit = _first_unit(row[FAN_IN], thread, n_threads)
        last = _first_unit(row[FAN_IN], thread + 1, n_threads)
        blas = row[BLAS]
        if unit < last:
            _dense_backward_params(
                _at(inputs, unit * ld),
                ld,
                dz,
                block,
                blas,
                accumulate,
                last - unit,
                units,
                samples,
                _at(grads, row[WEIGHTS] + unit * units),
            )
        if unit < last and k > 0:
            _dense_backward_inputs(
                _at(params, row[WEIGHTS] + unit * units),
                dz,
                block,
                blas,
                last - unit,
                units,
                lanes,
                _at(work, other + unit * block),
                block,
            )
        delta, other = other, delta
    return total


@_glue
def _batch(
    header,
    layers,
    n_layers,
    constants,
    x,
    indices,
    indptr,
    sparse,
    targets,
    weights,
    weighted,
    start,
    samples,
    scale,
    loss,
    seed,
    step,
    gathered,
    features,
    n_targets,
    order,
    groups,
    thread,
    n_threads,
    turn,
    sync,
    params,
    work,
    own,
    grads,
    losses,
):
    """A thread's part of a batch: gradients into rows of ``grads``, and losses.

    Each thread has some groups of blocks, and takes others' when it is done with its own; or,
    where the weights are many, all work on the units of one block after the other, in the scratch
    memory of the first.
    """
    block, n_params = header[BLOCK], header[N_PARAMS]
    blocks = (samples + block - 1) // block
    first_group, step_group, member, members = thread, n_threads, np.int64(0), np.int64(1)
    if header[SHARED] != 0:
        first_group, step_group, member, members = member, members, thread, n_threads
    else:
        work = own
    work_x, work_t = _at(work, header[WORK_INPUT]), _at(work, header[WORK_TARGETS])
    work_w = _at(work, header[WORK_SAMPLE_WEIGHT])
    for distance in range(step_group):
        owner = (first_group + distance) % step_group
        count = (groups - owner + step_group - 1) // step_group
        for i in range(count):
            # those of others from their ends on
            group = owner + step_group * (i if distance == 0 else count - 1 - i)
            if step_group > 1 and not _claim(_at(sync, 8 + MAX_GROUPS + group), turn):
                continue
            total = 0.0
            first_block, end_block = group * blocks // groups, (group + 1) * blocks // groups
            for b in range(first_block, end_block):
                first = b * block
                n = min(block, samples - first)
                bx, ld, lanes = work_x, block, _padded(n)
                if b > first_block:
                    _barrier(members, sync)
                if gathered:
                    if not sparse:  # each thread gathers some samples
                        here, there = member * n // members, (member + 1) * n // members
                        _gather(
                            x,
                            features,
                            order,
                            start + first + here,
                            there - here,
                            _at(work_x, here),
                            block,
                        )
                    if member == 0:
                        _gather(targets, n_targets, order, start + first, n, work_t, block)
                    if member == 0 and weighted:
                        _gather(weights, np.int64(1), order, start + first, n, work_w, block)
                    bt, ld_targets, bw = work_t, block, work_w
                else:  # the batches stand one after the other, each (features, batch)
                    if not sparse:
                        # not padded: there may be no more columns
                        bx = _at(_reinterpret(x, params), start * features + first)
                        ld, lanes = samples, n
                    bt, ld_targets = _at(targets, start * n_targets + first), samples
                    bw = _at(weights, start + first)
                _barrier(members, sync)
                total += _block(
                    header,
                    layers,
                    n_layers,
                    constants,
                    bx,
                    ld,
                    lanes,
                    sparse,
                    _reinterpret(x, params),
                    indices,
                    indptr,
                    gathered,
                    order,
                    start + first,
                    bt,
                    ld_targets,
                    bw,
                    weighted,
                    n,
                    first,
                    scale,
                    loss,
                    seed,
                    step,
                    b > first_block,
                    member,
                    members,
                    sync,
                    params,
                    work,
                    own,
                    _at(grads, group * n_params),
                )
            if member == 0:
                losses[group] = total


@_private
def _inverse(total):
    """Of a batch's total weight; a batch without weight teaches nothing."""
    return 1.0 / total if total != 0.0 else 0.0


@_private
def _ordered_sum(x, n):
    """Sum of a few numbers from the first to the last."""
    total = 0.0
    for i in range(n):
        total += x[i]
    return total


@_private
def _group_count(header, samples):
    """How many partial sums a batch of this size has."""
    return min(header[GROUPS], (samples + header[BLOCK] - 1) // header[BLOCK])


@_public
def _loss_and_grad(
    header, layers, constants, x, targets, sample_weight, loss, l2, seed, step, params, work, grads
):
    """Objective of one batch and its gradient."""
    samples = x.shape[1]
    weighted = sample_weight.shape[0] > 0
    header_, layers_, n_layers = _pointer(header), _pointer(layers), layers.shape[0]
    params_, grads_, weights = _pointer(params), _pointer(grads), _pointer(sample_weight)
    n_params = header_[N_PARAMS]
    total_weight = _total(weights, samples) if weighted else np.float64(samples)
    groups = _group_count(header_, samples)
    losses = _scratch(_as_float64(params_))
    _batch(
        header_,
        layers_,
        n_layers,
        _pointer(constants),
        _pointer(x),
        _as_int32(header_),
        header_,
        False,
        _pointer(targets),
        weights,
        weighted,
        0,
        samples,
        _inverse(total_weight),
        loss,
        np.uint64(seed),
        step,
        False,
        x.shape[0],
        targets.shape[0],
        header_,
        groups,
        np.int64(0),
        np.int64(1),
        np.int64(0),
        header_,
        params_,
        _pointer(work),
        _pointer(work),
        grads_,
        losses,
    )
    _reduce(groups, n_params, 0, n_params, grads_)
    if l2 != 0.0:
        factor = _like(params_, l2)
        for k in range(n_layers):
            row = _at(layers_, k * LAYER_COLUMNS)
            if row[KIND] == DENSE:
                for i in range(row[WEIGHTS], row[BIASES]):
                    grads_[i] += factor * params_[i]
    data_loss = _ordered_sum(losses, groups) * _inverse(total_weight)
    return data_loss + _penalty(layers_, n_layers, l2, params_)


@_glue
def _clip(
    layers, n_layers, l2, constants, groups, thread, n_threads, n_params, sync, params, grads
):
    """Gradient of the objective into the first row, its entries clipped; factor of its length.

    Every thread adds up its share and, so that the bits are the same for any number of threads,
    the squares of all.
    """
    factor = _like(params, l2)
    for k in range(2 * n_layers):
        row = _at(layers, k // 2 * LAYER_COLUMNS)
        if row[KIND] == DENSE:
            biases = k % 2
            first = row[BIASES] if biases else row[WEIGHTS]
            begin, end = _share(thread, n_threads, row[FAN_OUT] * (1 if biases else row[FAN_IN]))
            _reduce(groups, n_params, first + begin, first + end, grads)
            if l2 != 0.0 and not biases:
                for i in range(first + begin, first + end):
                    grads[i] += factor * params[i]
            if constants[4] != 0.0:
                _clip_entries(constants[4], end - begin, _at(grads, first + begin))
    _barrier(n_threads, sync)
    norm = 0.0
    if constants[3] != 0.0:
        norm = math.sqrt(_sum_of_squares(grads, n_params))
    # nobody may scale its share while others add up
    _barrier(n_threads, sync)
    return constants[3] / norm if norm > constants[3] else 1.0


@_public
def _train(
    header,
    layers,
    constants,
    x,
    indices,
    indptr,
    targets,
    sample_weight,
    loss,
    l2,
    rule,
    rule_constants,
    decay,
    learning_rates,
    seed,
    first_step,
    first_count,
    batch_size,
    shuffled,
    thread,
    n_threads,
    params,
    state,
    grads,
    order,
    work,
    sync,
    losses,
):
    """A slice of training steps.

    Called by ``n_threads`` threads at once; ``sync`` has ``SYNC_SIZE`` integers, zero at first.
    Each thread works through its groups of blocks, then adds up and updates its share of the
    parameters; all of them take the same decisions from the same numbers.
    """
    header_, layers_, n_layers = _pointer(header), _pointer(layers), layers.shape[0]
    x_, targets_, weights = _pointer(x), _pointer(targets), _pointer(sample_weight)
    params_, grads_, state_ = _pointer(params), _pointer(grads), _pointer(state)
    rule_constants_, order_, sync_ = _pointer(rule_constants), _pointer(order), _pointer(sync)
    work_ = _at(_pointer(work), thread * work.shape[1])
    group_losses = _as_float64(_at(sync_, 8))
    weighted = sample_weight.shape[0] > 0
    seed = np.uint64(seed)
    sparse = indptr.shape[0] > 0
    features = layers_[FAN_IN]
    if shuffled:
        samples, n_targets = targets.shape
    else:
        n_targets, samples = targets.shape
    clipped = rule_constants_[3] != 0.0 or rule_constants_[4] != 0.0
    averaged = rule_constants_[5] != 0.0
    n_params, n_moments = params.shape[0], state.shape[0] - np.int64(averaged)
    batches = (samples + batch_size - 1) // batch_size
    for i in range(learning_rates.shape[0]):
        epoch, batch = divmod(first_step + i, batches)
        start = batch * batch_size
        n = min(batch_size, samples - start)
        if shuffled and (batch == 0 or i == 0):
            if thread == 0:
                _shuffle(seed, epoch, samples, order_)
            _barrier(n_threads, sync_)
        total_weight = np.float64(n)
        if weighted:
            total_weight = 0.0
            for s in range(start, start + n):
                total_weight += np.float64(weights[order_[s] if shuffled else s])
        groups = _group_count(header_, n)
        _batch(
            header_,
            layers_,
            n_layers,
            _pointer(constants),
            x_,
            _pointer(indices),
            _pointer(indptr),
            sparse,
            targets_,
            weights,
            weighted,
            start,
            n,
            _inverse(total_weight),
            loss,
            seed,
            first_step + i,
            shuffled,
            features,
            n_targets,
            order_,
            groups,
            thread,
            n_threads,
            i,
            sync_,
            params_,
            _pointer(work),
            work_,
            grads_,
            group_losses,
        )
        _barrier(n_threads, sync_)
        objective = _ordered_sum(group_losses, groups) * _inverse(total_weight)
        objective = _penalty(layers_, n_layers, l2, params_) + objective
        if thread == 0:
            losses[i] = objective
        # all threads read the same sum; nobody may change the parameters while others add
        # their squares
        if l2 != 0.0:
            _barrier(n_threads, sync_)
        # not isfinite: with reassociation x - x is 0 for all x
        if not abs(objective) < np.inf:
            return i
        rate = learning_rates[i]
        shrink = 1.0 - rate * decay
        rate = _step_size(rule, rule_constants_, rate, first_count + i + 1)
        factor, step_l2 = 1.0, l2
        if clipped:
            factor = _clip(
                layers_,
                n_layers,
                l2,
                rule_constants_,
                groups,
                thread,
                n_threads,
                n_params,
                sync_,
                params_,
                grads_,
            )
            groups, step_l2 = np.int64(1), 0.0
        keep = rule_constants_[5] if first_count + i > 0 else 0.0
        if l2 == 0.0 and decay == 0.0:
            # weights and biases are treated alike
            _update_range(
                grads_,
                np.int64(0),
                n_params,
                0.0,
                1.0,
                rule,
                rule_constants_,
                rate,
                groups,
                thread,
                n_threads,
                n_params,
                n_moments,
                params_,
                state_,
                factor,
                averaged,
                keep,
            )
        else:
            for k in range(2 * n_layers):
                row = _at(layers_, k // 2 * LAYER_COLUMNS)
                if row[KIND] == DENSE:
                    biases = k % 2
                    _update_range(
                        grads_,
                        row[BIASES] if biases else row[WEIGHTS],
                        row[FAN_OUT] * (1 if biases else row[FAN_IN]),
                        0.0 if biases else step_l2,
                        1.0 if biases else shrink,
                        rule,
                        rule_constants_,
                        rate,
                        groups,
                        thread,
                        n_threads,
                        n_params,
                        n_moments,
                        params_,
                        state_,
                        factor,
                        averaged,
                        keep,
                    )
        _barrier(n_threads, sync_)
    return learning_rates.shape[0]


def forward(net, x, transform, params, work, out):
    """Predictions of a network; whether x is finite."""
    return _forward(
        net.header, net.layers, net.constants, x, net.loss, transform, params, work, out
    )


def loss_and_grad(net, x, targets, sample_weight, seed, step, params, work, grads):
    """Objective of one batch and its gradient."""
    return _loss_and_grad(
        *net[:3], x, targets, sample_weight, *net[3:], seed, step, params, work, grads
    )


def update(grads, l2, rule, learning_rate, count, params, moments):
    """One step of an update rule, ``g = grads + l2 params``."""
    _update_all(
        grads, l2, rule.decay, rule.code, rule.constants, learning_rate, count, params, moments
    )


def train(net, data, rule, chunk, team, params, moments, memory, losses):
    """Do a chunk of training steps."""
    return _train(
        net.header,
        net.layers,
        net.constants,
        data.x,
        data.indices,
        data.indptr,
        data.targets,
        data.sample_weight,
        net.loss,
        net.l2,
        rule.code,
        rule.constants,
        rule.decay,
        chunk.learning_rates,
        chunk.seed,
        chunk.first_step,
        chunk.first_count,
        data.batch_size,
        data.shuffled,
        team.thread,
        team.n_threads,
        params,
        moments,
        memory.grads,
        memory.order,
        memory.work,
        team.sync,
        losses,
    )
