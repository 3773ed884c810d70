/* What the compiler, the processor and the build give: the number type, vector width, macros.
 *
 * Every module is compiled for one dtype and one vector level. setup.py defines REAL_IS_DOUBLE as
 * 0 or 1; the compiler's flags define the vector level.
 */
#ifndef FASTNN_PLATFORM_H
#define FASTNN_PLATFORM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#include "codes.h"

typedef long long Size;

#if REAL_IS_DOUBLE
typedef double real;
typedef uint64_t Bits; /* of a real */
#define MATH(function) function
#else
typedef float real;
typedef uint32_t Bits;
#define MATH(function) function##f
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline, unused))
#define FUNCTION static __attribute__((noinline, unused))
#define RESTRICT __restrict__
#define PRAGMA(text) _Pragma(#text)
/* Iterations are independent: what a loop writes it may read at the same index only, so that in
 * place is fine. Two vectors at a time, since the dependency chains are longer than the processor
 * looks ahead. */
#define LANES_LOOP PRAGMA(GCC ivdep) PRAGMA(GCC unroll 2)
#define UNROLL PRAGMA(GCC unroll 8)
#define UNROLL_ROWS PRAGMA(GCC unroll 16)
#define SUM_LOOP(name) PRAGMA(omp simd reduction(+ : name))
#if defined(__clang__)
#undef LANES_LOOP
#define LANES_LOOP PRAGMA(clang loop vectorize(assume_safety))
#endif
#else /* MSVC: no vector types, see vector.h */
#define INLINE static __forceinline
#define FUNCTION static
#define RESTRICT __restrict
#define LANES_LOOP __pragma(loop(ivdep))
#define UNROLL
#define UNROLL_ROWS
#define SUM_LOOP(name)
#endif

#if !defined(VECTOR_BYTES)
#if !defined(__GNUC__)
#define VECTOR_BYTES 0
#elif defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#endif

/* Numbers of samples in scratch memory are rounded up to a multiple of this, a vector of floats:
 * `lanes` is such a number, its last ones are padding lanes. */
#define PADDING (VECTOR_BYTES ? VECTOR_BYTES / 4 : 1)

#if defined(__GNUC__)
#define PREFETCH(p) __builtin_prefetch(p, 0, 2)
#define PREFETCH_WRITE(p) __builtin_prefetch(p, 1)
/* Hides from the compiler how a pointer was computed: it would compute addresses that differ by
 * constants each from the beginning. */
#define KEEP_IN_REGISTER(p) __asm__("" : "+r"(p))
#else
#define PREFETCH(p)
#define PREFETCH_WRITE(p)
#define KEEP_IN_REGISTER(p)
#endif
#define LINE_REALS ((Size)(64 / sizeof(real))) /* numbers in a cache line */

/* A matrix whose rows are contiguous: row i starts at p + i * ld. */
typedef struct {
    real *p;
    Size ld;
} Matrix;

INLINE Size smaller(Size a, Size b) { return a < b ? a : b; }
INLINE Size round_up(Size n, Size multiple) { return (n + multiple - 1) / multiple * multiple; }

/* The lowest bit that is set; there is one. */
INLINE Size lowest_bit(uint64_t bits)
{
#if defined(__GNUC__)
    return __builtin_ctzll(bits);
#else
    Size n = 0;
    for (; !(bits & 1); bits >>= 1)
        n++;
    return n;
#endif
}

#endif
