"""Elementary functions without branches, so that loops over them are vectorised."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.backends.numba.compiling import FASTMATH, elementary, llvm_intrinsic
from fastnn.backends.numba.pointers import cast_like

_BITS = {types.float32: (ir.IntType(32), 23, 127), types.float64: (ir.IntType(64), 52, 1023)}


@intrinsic
def _power_of_two(typingctx, t):
    """Return ``2**k`` for ``t = magic + k``: its last bits are k + bias, the exponent of 2**k."""
    integer, mantissa, _ = _BITS[t]

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], integer)
        return builder.bitcast(builder.shl(bits, integer(mantissa)), args[0].type)

    return t(t), codegen


@intrinsic
def _split(typingctx, x):
    """Return ``(k, m)`` with ``x = 2**k m``, m in [sqrt(1/2), sqrt 2), for positive normal x."""
    integer, mantissa, bias = _BITS[x]
    half = 0x3F3504F3 if x == types.float32 else 0x3FE6A09E667F3BCD  # bits of sqrt(1/2)
    shift = (bias << mantissa) - half
    float_one = (bias + mantissa) << mantissa  # bits of 2**mantissa; its last bits take an integer

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
def _leading_bits(typingctx, x):
    """Clear the last bits of the mantissa, so that the square of the result is exact."""
    integer = _BITS[x][0]
    mask = ~(0xFFF if x == types.float32 else 0x7FFFFFF)

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], integer)
        return builder.bitcast(builder.and_(bits, integer(mask)), args[0].type)

    return x(x), codegen


@llvm_intrinsic(lambda x, coefficients: x(x, coefficients))
def _polynomial(builder, x, coefficients):
    """Return ``c[0] + c[1] x + c[2] x**2 + ...`` by Horner's rule, unrolled."""
    values = cgutils.unpack_tuple(builder, coefficients)
    total = values[-1]
    flags = ("contract", "nsz")
    for value in reversed(values[:-1]):
        total = builder.fadd(builder.fmul(total, x, flags), value, flags)
    return total


# Minimax polynomials from the Remez algorithm in mpmath with 50 digits, rounded. Degrees and
# errors (without rounding errors of the evaluation), float32 / float64:
#   expm1(r) = r + r r E(r),       |r| <= log(2)/2:  degree 4 / 9 in r, 8e-9 / 1.2e-17
#   r coth(r) = C(r r),            |r| <= log(2)/4:  degree 2 / 5 in r r, 2.2e-9 / 9e-19
#   2 atanh(s) = 2 s + s s s L(s s), s <= 0.1716:    degree 2 / 6 in s s, 8e-10 / 1.2e-18
#   2 atanh(s) = 2 s + s s s M(s s), s <= 1/3:       degree 3 / 9 in s s, 4.5e-9 / 1.3e-18
#   exp(y y / 2) (1 - cdf(y)) = R(u) / (y + 5),      u = (y - 5) / (y + 5), 0 <= y <= 39:
#                                                    degree 11 / 21 in u, 1.1e-8 / 5.2e-17


def _by_dtype(single, double):
    """Make a compiled function that returns the constants for the dtype of its argument."""

    @intrinsic
    def numbers(typingctx, x):
        values = single if x == types.float32 else double
        result = types.UniTuple(x, len(values))

        def codegen(context, builder, signature, args):
            constants = [context.get_constant(x, value) for value in values]
            return context.make_tuple(builder, result, constants)

        return result(x), codegen

    return numbers


# fmt: off
_EXP = _by_dtype(
    (0.5, 0.16666576266288757, 0.04166637361049652, 0.008363180793821812, 0.0013941123615950346),
    (0.5000000000000001, 0.16666666666666674, 0.04166666666662412, 0.008333333333322214,
     0.0013888888917215482, 0.00019841269886580328, 2.480152129331013e-05,
     2.7557242345095926e-06, 2.7620089625102744e-07, 2.5110047537712198e-08),
)
_COTH = _by_dtype(
    (1.0, 2 * 0.16666625440120697, 8 * -0.0027667241171002388),
    (1.0, 2 * 0.16666666666666602, 8 * -0.0027777777777014308, 32 * 6.61375632113214e-05,
     128 * -1.6533901891371567e-06, 512 * 4.138125259637943e-08),
)
_LOG = _by_dtype(
    (0.6666677594184875, 0.3997756540775299, 0.2987120747566223),
    (0.6666666666666734, 0.3999999999941566, 0.2857142874218922, 0.2222219859146514,
     0.18183563482317436, 0.15314069495599555, 0.1479578577085294),
)
_LOG1P = _by_dtype(
    (0.666664183139801, 0.4002152681350708, 0.2800180912017822, 0.28011980652809143),
    (0.6666666666666631, 0.40000000000155117, 0.2857142854811797, 0.2222222395364914,
     0.181817444789552, 0.1538654839574148, 0.13301121331666332, 0.12104945339001484,
     0.08344969336544436, 0.17009761112842567),
)
_MILLS = _by_dtype(
    (0.7691930532455444, -0.6653825044631958, 0.4953056871891022, -0.3135332763195038,
     0.16501930356025696, -0.06911757588386536, 0.020801585167646408, -0.002997087314724922,
     -0.0008167459163814783, 0.0005490917828865349, -3.250996087444946e-05,
     -4.8299090849468485e-05),
    (0.769193049750063, -0.6653825028900566, 0.495305615969977, -0.31353315667131576,
     0.16502036617036164, -0.06911863870595177, 0.020795066800241017, -0.002993376775697883,
     -0.0007978694014684919, 0.0005448991058788735, -5.9375711338946907e-05,
     -4.976301027563195e-05, 1.6681145010814807e-05, 3.981491334745402e-06,
     -2.7690555448930573e-06, -3.3774330892849246e-07, 4.3268683048947253e-07,
     4.361256443259612e-08, -6.53200955807262e-08, -1.0211056378396687e-08, 7.182045586692158e-09,
     2.0139664245057926e-09),
)
# fmt: on
# log 2 in two parts: the last bits of the first are zero, so that k times the first is exact.
_LN2 = _by_dtype(
    (0.693145751953125, 1.4286067653e-06), (0.6931471803691238, 1.9082149292705877e-10)
)
# Adding this constant rounds to an integer; the last bits of the sum are the integer plus bias.
_MAGIC = _by_dtype((1.5 * 2**23 + 127,), (1.5 * 2**52 + 1023,))
# exp(x) is a normal number for x above this limit.
_SMALLEST = _by_dtype((-87.0,), (-708.0,))
# exp is 0 below the first and overflows above the second; expm1 is -1 below the third.
_LIMITS = _by_dtype((-104.0, 89.0, -18.0), (-746.0, 710.0, -40.0))


@elementary
def _remainder(x):
    """Return ``(r, t)``: ``exp(x) = exp(r) 2**k``, ``|r| <= log(2) / 2`` and ``t = magic + k``."""
    ln2_high, ln2_low = _LN2(x)
    (magic,) = _MAGIC(x)
    t = x * cast_like(x, 1.4426950408889634) + magic
    k = t - magic
    return x - k * ln2_high - k * ln2_low, t


@elementary
def _reduced(x):
    """Return ``(p, t)`` with ``exp(x) = (1 + p) 2**k``, ``t = magic + k`` and ``|p| < 0.42``."""
    r, t = _remainder(x)
    return r + r * r * _polynomial(r, _EXP(x)), t


@elementary
def _times_power_of_two(x, t):
    """Return ``x 2**k``, with two factors so that the result can be subnormal or infinite."""
    (magic,) = _MAGIC(x)
    half = (t - magic) * cast_like(x, 0.5) + magic
    rest = t - (half - magic)
    return x * _power_of_two(half) * _power_of_two(rest)


@elementary
def exp(x):
    """Exponential function."""
    lowest, highest, _ = _LIMITS(x)
    x = lowest if x < lowest else x
    x = highest if x > highest else x
    p, t = _reduced(x)
    return _times_power_of_two(cast_like(x, 1.0) + p, t)


@elementary
def exp_negative(x):
    """Exponential function of x <= 0, a third faster: subnormal results are 0."""
    zero, lowest = cast_like(x, 0.0), _SMALLEST(x)[0]
    p, t = _reduced(lowest if x < lowest else x)
    power = _power_of_two(t)
    return zero if x < lowest else p * power + power


@elementary
def expm1(x):
    """``exp(x) - 1``, computed as twice its half, since 2**k may overflow before the result."""
    _, highest, lowest = _LIMITS(x)
    clipped = lowest if x < lowest else x
    clipped = highest if clipped > highest else clipped
    p, t = _reduced(clipped)
    power = _power_of_two(t - cast_like(x, 1.0))
    half = p * power + (power - cast_like(x, 0.5))
    # half of a subnormal number may not be representable
    return x if abs(x) < cast_like(x, 1e-20) else half + half


@elementary
def _r_coth(r):
    """Return ``c = r coth(r)``, an even function close to 1: ``exp(2 r) = (c + r) / (c - r)``.

    It needs few coefficients. A quotient that contains the exponential is expanded by ``c - r`` and
    then needs no second division. (The form of fdlibm's exponential, Sun Microsystems 1993.)
    """
    return _polynomial(r * r, _COTH(r))


@elementary
def tanh(x):
    """``(1 - e) / (1 + e)`` with ``e = exp(-2 |x|) = 2**k exp(2 r)``, and the sign of x.

    For k = 0, near x = 0, the numerator is exactly -2 r: there is no cancellation.
    """
    (magic,) = _MAGIC(x)
    lowest = cast_like(x, 0.5) * _LIMITS(x)[2]
    y = -abs(x)
    y = lowest if y < lowest else y
    t = y * cast_like(x, 2 * 1.4426950408889634) + magic
    r = y - (t - magic) * cast_like(x, 0.5 * 0.6931471805599453)
    c, power = _r_coth(r), _power_of_two(t)
    numerator = c * (cast_like(x, 1.0) - power) - (r + power * r)
    return math.copysign(numerator / ((c - r) + power * (c + r)), x)


@elementary
def sigmoid(x):
    """``e / (1 + e)`` for x < 0, else ``1 / (1 + e)``, with ``e = exp(-|x|) = 2**k exp(2 r)``."""
    lowest = _LIMITS(x)[0]
    y = -abs(x)
    r, t = _remainder(lowest if y < lowest else y)
    r *= cast_like(x, 0.5)
    c = _r_coth(r)
    small, large = _times_power_of_two(c + r, t), c - r
    return (large if x >= cast_like(x, 0.0) else small) / (large + small)


@elementary
def log(x):
    """Logarithm of positive normal numbers; infinity and NaN are returned unchanged."""
    ln2_high, ln2_low = _LN2(x)
    k, m = _split(x)
    f = m - cast_like(x, 1.0)
    s = f / (cast_like(x, 2.0) + f)
    u = s * s
    y = k * ln2_high + ((s + s) + (s * u * _polynomial(u, _LOG(x)) + k * ln2_low))
    return y if x < cast_like(x, np.inf) else x


@elementary
def log1p(x):
    """``log(1 + x)`` for x in [0, 1]."""
    s = x / (cast_like(x, 2.0) + x)
    u = s * s
    return (s + s) + s * u * _polynomial(u, _LOG1P(x))


@elementary
def softplus(x):
    """``log(1 + exp(x))``."""
    zero = cast_like(x, 0.0)
    return (zero if x < zero else x) + log1p(exp(-abs(x)))


@elementary
def tanh_softplus(x):
    """``t = tanh(softplus(x))`` and its derivative, ``(1 - t**2) sigmoid(x)``.

    Both are computed from ``q = exp(-|x|)``, see the NumPy function of this name.
    """
    zero, one, two = cast_like(x, 0.0), cast_like(x, 1.0), cast_like(x, 2.0)
    q = exp_negative(-abs(x))
    n = one + two * q if x >= zero else q * (q + two)
    difference = two * q * q if x >= zero else two
    d = n + difference
    numerator = difference * (d + n) * (one if x >= zero else q)
    return n / d, numerator / (d * d * (one + q))


@elementary
def normal_pair(x):
    """Standard normal distribution function and its derivative.

    The square of x is the sum of two numbers of which the first is exact, since a rounding of
    ``-x x / 2 = -80`` would be 80 roundings of its exponential. Results below the smallest normal
    number are 0.
    """
    zero, one, limit = cast_like(x, 0.0), cast_like(x, 1.0), cast_like(x, 39.0)
    minus_half, five = cast_like(x, -0.5), cast_like(x, 5.0)
    y = abs(x)
    y = limit if y > limit else y
    high = _leading_bits(y)
    half_square, lowest = minus_half * high * high, _SMALLEST(x)[0]
    r, t = _remainder(lowest if half_square < lowest else half_square)
    r += minus_half * (y - high) * (y + high)
    power, p = _power_of_two(t), r + r * r * _polynomial(r, _EXP(x))
    e = zero if half_square < lowest else p * power + power
    inverse = one / (y + five)
    tail = e * (_polynomial((y - five) * inverse, _MILLS(x)) * inverse)
    return (one - tail if x > zero else tail), cast_like(x, 0.3989422804014327) * e


@elementary
def normal_cdf(x):
    """Standard normal distribution function."""
    return normal_pair(x)[0]


# --- over arrays, for tests -----------------------------------------------------


FUNCTIONS = {f.__name__: f for f in (exp, expm1, tanh, sigmoid, log, log1p, softplus, normal_cdf)}


@cache
def _over_array(name):
    """Return a compiled function of ``(x, out)``: ``out = f(x)``, elementwise."""
    function = FUNCTIONS[name]

    @njit(fastmath=FASTMATH, error_model="numpy")
    def over_array(x, out):
        for i in range(x.shape[0]):
            out[i] = function(x[i])

    return over_array


def apply_elementary(name, x, out):
    """``out = f(x)``; log for positive normal x, log1p for x in [0, 1]."""
    _over_array(name)(x, out)
