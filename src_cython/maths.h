/* Elementary functions without branches, so that loops over them are vectorised; errors of at most
 * 4 ULP, of normal_pair 8 ULP.
 *
 * coefficients.py computes the minimax polynomials with the Remez algorithm:
 *   expm1(r) = r + r r EXP(r),            |r| <= log(2)/2
 *   r coth(r) = COTH(r r),                |r| <= log(2)/4
 *   2 atanh(s) = 2 s + s s s LOG(s s),    s <= 3 - 2 sqrt(2)
 *   2 atanh(s) = 2 s + s s s LOG1P(s s),  s <= 1/3
 *   exp(y y / 2) (1 - cdf(y)) = MILLS(u) / (y + 5),  u = (y - 5) / (y + 5),  0 <= y <= 39
 */
#ifndef FASTNN_MATHS_H
#define FASTNN_MATHS_H

#include "platform.h"

#if REAL_IS_DOUBLE
#define MANTISSA 52
#define BIAS 1023
#define SQRT_HALF_BITS 0x3FE6A09E667F3BCDu
#define LN2_HIGH 0.6931471803691238
#define LN2_LOW 1.9082149292705877e-10
#define EXP_LOWEST -746.0   /* exp is 0 below this limit */
#define EXP_NORMAL -708.0   /* exp is a normal number above */
#define EXP_HIGHEST 710.0   /* exp is infinite above */
#define EXPM1_LOWEST -40.0  /* expm1 is -1 below */
#define LOW_BITS 0x7FFFFFFu /* the square of a number without these bits is exact */
static const real EXP[] = {
    0.5000000000000001,    0.16666666666666674,    0.04166666666662412,   0.008333333333322214,
    0.0013888888917215482, 0.00019841269886580328, 2.480152129331013e-05, 2.7557242345095926e-06,
    2.7620089625102744e-07, 2.5110047537712198e-08};
static const real COTH[] = {
    1,
    2 * 0.16666666666666602,
    8 * -0.0027777777777014308,
    32 * 6.61375632113214e-05,
    128 * -1.6533901891371567e-06,
    512 * 4.138125259637943e-08};
static const real LOG[] = {
    0.6666666666666734,  0.3999999999941566,  0.2857142874218922, 0.2222219859146514,
    0.18183563482317436, 0.15314069495599555, 0.1479578577085294};
static const real LOG1P[] = {
    0.6666666666666631, 0.40000000000155117, 0.2857142854811797,  0.2222222395364914,
    0.181817444789552,  0.1538654839574148,  0.13301121331666332, 0.12104945339001484,
    0.08344969336544436, 0.17009761112842567};
static const real MILLS[] = {
    0.769193049750063, -0.6653825028900566, 0.495305615969977, -0.31353315667131576,
    0.16502036617036164, -0.06911863870595177, 0.020795066800241017, -0.002993376775697883,
    -0.0007978694014684919, 0.0005448991058788735, -5.9375711338946907e-05,
    -4.976301027563195e-05, 1.6681145010814807e-05, 3.981491334745402e-06,
    -2.7690555448930573e-06, -3.3774330892849246e-07, 4.3268683048947253e-07,
    4.361256443259612e-08, -6.53200955807262e-08, -1.0211056378396687e-08, 7.182045586692158e-09,
    2.0139664245057926e-09};
#else
#define MANTISSA 23
#define BIAS 127
#define SQRT_HALF_BITS 0x3F3504F3u
#define LN2_HIGH 0.693145751953125f
#define LN2_LOW 1.4286067653e-06f
#define EXP_LOWEST -104.0f
#define EXP_NORMAL -87.0f
#define EXP_HIGHEST 89.0f
#define EXPM1_LOWEST -18.0f
#define LOW_BITS 0xFFFu
static const real EXP[] = {0.5f, 0.16666576266288757f, 0.04166637361049652f,
                           0.008363180793821812f, 0.0013941123615950346f};
static const real COTH[] = {1, 2 * 0.16666625440120697f, 8 * -0.0027667241171002388f};
static const real LOG[] = {0.6666677594184875f, 0.3997756540775299f, 0.2987120747566223f};
static const real LOG1P[] = {0.666664183139801f, 0.4002152681350708f, 0.2800180912017822f,
                             0.28011980652809143f};
static const real MILLS[] = {
    0.7691930532455444f, -0.6653825044631958f, 0.4953056871891022f, -0.3135332763195038f,
    0.16501930356025696f, -0.06911757588386536f, 0.020801585167646408f, -0.002997087314724922f,
    -0.0008167459163814783f, 0.0005490917828865349f, -3.250996087444946e-05f,
    -4.8299090849468485e-05f};
#endif

/* c[0] + c[1] x + c[2] x^2 + ... by Horner's rule, unrolled. */
#define POLYNOMIAL(x, c) polynomial(x, c, (int)(sizeof(c) / sizeof(real)))
INLINE real polynomial(real x, const real *c, const int n)
{
    real sum = c[n - 1];
#if defined(__GNUC__)
#pragma GCC unroll 32
#endif
    for (int i = n - 2; i >= 0; i--)
        sum = sum * x + c[i];
    return sum;
}

/* Adding MAGIC rounds x to an integer k; the last bits of the sum are k + BIAS. */
#define MAGIC ((real)1.5 * (real)((Bits)1 << MANTISSA) + (real)BIAS)

#define SIGN ((Bits)1 << (8 * sizeof(real) - 1))

INLINE Bits bits_of(real x)
{
    Bits bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

INLINE real from_bits(Bits bits)
{
    real x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* 2^k for t = MAGIC + k: the last bits of t, k + BIAS, are the exponent of 2^k. */
INLINE real power_of_two(real t)
{
    return from_bits(bits_of(t) << MANTISSA);
}

/* Returns r with exp(x) = exp(r) 2^k, |r| <= log(2)/2, and sets t = MAGIC + k. log 2 has two parts,
 * of which k times the first is exact, so that x - k log 2 is accurate. */
INLINE real reduce(real x, real *t)
{
    *t = x * (real)1.4426950408889634 + MAGIC;
    real k = *t - MAGIC;
    return (x - k * LN2_HIGH) - k * LN2_LOW;
}

/* Returns p with exp(x) = (1 + p) 2^k, |p| < 0.42, and sets t = MAGIC + k. */
INLINE real reduced(real x, real *t)
{
    real r = reduce(x, t);
    return r + r * r * POLYNOMIAL(r, EXP);
}

/* x 2^k for t = MAGIC + k, with two factors so that the result can be subnormal or infinite. */
INLINE real times_power_of_two(real x, real t)
{
    real half = (t - MAGIC) * (real)0.5 + MAGIC;
    real rest = t - (half - MAGIC);
    return x * power_of_two(half) * power_of_two(rest);
}

/* exp(x); the comparisons are written such that NaN propagates. */
INLINE real fast_exp(real x)
{
    real t;
    x = x < EXP_LOWEST ? EXP_LOWEST : x;
    x = x > EXP_HIGHEST ? EXP_HIGHEST : x;
    real p = reduced(x, &t);
    return times_power_of_two(1 + p, t);
}

/* exp(x) for x <= 0, faster with one factor: subnormal results are 0. */
INLINE real softmax_exp(real x)
{
    real t, clipped = x < EXP_NORMAL ? EXP_NORMAL : x;
    real p = reduced(clipped, &t);
    real power = power_of_two(t);
    real e = p * power + power;
    return x < EXP_NORMAL ? 0 : e;
}

/* exp(x) - 1, computed as twice its half, since 2^k may overflow before the result. The result is x
 * if x is tiny, since half of a subnormal number may not be representable. */
INLINE real fast_expm1(real x)
{
    real t, clipped = x < EXPM1_LOWEST ? EXPM1_LOWEST : x;
    clipped = clipped > EXP_HIGHEST ? EXP_HIGHEST : clipped;
    real p = reduced(clipped, &t);
    real power = power_of_two(t - 1);
    real half = p * power + (power - (real)0.5);
    return MATH(fabs)(x) < (real)1e-20 ? x : half + half;
}

/* A limit that the compiler does not see as a constant. It would propagate a constant through the
 * whole formula and select between two results at the end, which takes more operations. */
INLINE real hidden_from_compiler(real limit)
{
    volatile real hidden = limit;
    return hidden;
}

/* c = r coth(r), an even function close to 1: exp(2 r) = (c + r) / (c - r). It needs few
 * coefficients. A quotient that contains the exponential is expanded by c - r and then needs no
 * second division. (The form of fdlibm's exponential, Sun Microsystems 1993.) */
INLINE real r_coth(real r) { return POLYNOMIAL(r * r, COTH); }

/* tanh |x| = (1 - e) / (1 + e), e = exp(-2 |x|) = 2^k exp(2 r). For k = 0, near x = 0, the
 * numerator is exactly -2 r: there is no cancellation. `lowest` is EXPM1_LOWEST / 2, as a variable:
 * see hidden_from_compiler. If -|x| is below it, the result is 1. */
INLINE real fast_tanh(real x, real lowest)
{
    real y = from_bits(bits_of(x) | SIGN);
    y = y < lowest ? lowest : y;
    real t = y * (real)2.8853900817779268 + MAGIC;
    real r = y - (t - MAGIC) * (real)0.34657359027997264;
    real c = r_coth(r), power = power_of_two(t);
    real numerator = c * (1 - power) - (r + power * r);
    real denominator = (c - r) + power * (c + r);
    return from_bits(bits_of(numerator / denominator) | (bits_of(x) & SIGN));
}

/* e / (1 + e) for x < 0, else 1 / (1 + e), with e = exp(-|x|) = 2^k exp(2 r). `lowest` is
 * EXP_LOWEST, as a variable: see hidden_from_compiler. */
INLINE real fast_sigmoid(real x, real lowest)
{
    real t, y = from_bits(bits_of(x) | SIGN);
    y = y < lowest ? lowest : y;
    real r = (real)0.5 * reduce(y, &t);
    real c = r_coth(r), small = times_power_of_two(c + r, t), large = c - r;
    return (x >= 0 ? large : small) / (large + small);
}

/* Positive normal x = 2^k m, m in [sqrt(1/2), sqrt 2): log x = k log 2 + 2 atanh((m - 1)/(m + 1)).
 * Infinity and NaN are returned unchanged. */
INLINE real fast_log(real x)
{
    const Bits one = (Bits)BIAS << MANTISSA;
    const Bits bits = bits_of(x);
    const Bits biased = (bits + (one - SQRT_HALF_BITS)) >> MANTISSA; /* k + BIAS */
    const Bits integer = biased | ((Bits)(BIAS + MANTISSA) << MANTISSA);
    const real k = from_bits(integer) - (real)(((Bits)1 << MANTISSA) + BIAS);
    const real m = from_bits(bits - ((biased << MANTISSA) - one));
    real f = m - 1, s = f / (2 + f), u = s * s;
    real y = k * LN2_HIGH + ((s + s) + (s * u * POLYNOMIAL(u, LOG) + k * LN2_LOW));
    return x < (real)INFINITY ? y : x;
}

/* log(1 + x) for x in [0, 1]. */
INLINE real fast_log1p(real x)
{
    real s = x / (2 + x), u = s * s;
    return (s + s) + s * u * POLYNOMIAL(u, LOG1P);
}

/* log(1 + exp(x)) */
INLINE real fast_softplus(real x)
{
    return (x < 0 ? 0 : x) + fast_log1p(fast_exp(-MATH(fabs)(x)));
}

/* t = tanh(softplus(x)) and its derivative, (1 - t^2) sigmoid(x), both from q = exp(-|x|); see the
 * NumPy function of this name. */
INLINE real tanh_softplus(real x, real *derivative)
{
    const real q = softmax_exp(-MATH(fabs)(x));
    const real n = x >= 0 ? 1 + 2 * q : q * (q + 2), difference = x >= 0 ? 2 * q * q : 2;
    const real d = n + difference;
    *derivative = difference * (d + n) * (x >= 0 ? 1 : q) / (d * d * (1 + q));
    return n / d;
}

/* Standard normal distribution function, and its derivative. The square of x is the sum of two
 * numbers of which the first is exact, since a rounding of -x x / 2 = -80 would be 80 roundings of
 * its exponential. Results below the smallest normal number are 0. */
INLINE real normal_pair(real x, real *density)
{
    const real limit = 39, y = MATH(fabs)(x), clipped = y > limit ? limit : y;
    const real high = from_bits(bits_of(clipped) & ~(Bits)LOW_BITS);
    const real half_square = (real)-0.5 * high * high;
    real t, r = reduce(half_square < EXP_NORMAL ? EXP_NORMAL : half_square, &t);
    r += (real)-0.5 * (clipped - high) * (clipped + high);
    const real power = power_of_two(t), p = r + r * r * POLYNOMIAL(r, EXP);
    const real e = half_square < EXP_NORMAL ? 0 : p * power + power;
    const real inverse = 1 / (clipped + 5), u = (clipped - 5) * inverse;
    const real tail = e * (POLYNOMIAL(u, MILLS) * inverse);
    *density = (real)0.3989422804014327 * e;
    return x > 0 ? 1 - tail : tail;
}

#endif
