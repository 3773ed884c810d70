/* What depends on the compiler, the processor and the build: dtype, vector width, macros.
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
typedef uint64_t Bits; /* unsigned integer of the size of a real */
#define MATH(function) function
#else
typedef float real;
typedef uint32_t Bits;
#define MATH(function) function##f
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline, unused))
#define NOINLINE static __attribute__((noinline, unused))
#define RESTRICT __restrict__
#define PRAGMA(text) _Pragma(#text)
/* Iterations are independent: the loop may read what it writes at the same index only, as in-place
 * operations do. Unrolled twice, since the dependency chains are longer than the processor's
 * out-of-order window. */
#define VECTOR_LOOP PRAGMA(GCC ivdep) PRAGMA(GCC unroll 2)
#define UNROLL PRAGMA(GCC unroll 8)
#define UNROLL_ROWS PRAGMA(GCC unroll 16)
#define SUM_LOOP(name) PRAGMA(omp simd reduction(+ : name))
#if defined(__clang__)
#undef VECTOR_LOOP
#define VECTOR_LOOP PRAGMA(clang loop vectorize(assume_safety))
#endif
#else /* MSVC: no vector types, see vector.h */
#define INLINE static __forceinline
#define NOINLINE static
#define RESTRICT __restrict
#define VECTOR_LOOP __pragma(loop(ivdep))
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

/* The number of samples in scratch memory is rounded up to a multiple of this, the floats in a
 * vector. `padded` is the rounded number; those beyond the samples are the padding lanes. */
#define PADDING (VECTOR_BYTES ? VECTOR_BYTES / 4 : 1)

#if defined(__GNUC__)
#define PREFETCH(p) __builtin_prefetch(p, 0, 2)
#define PREFETCH_WRITE(p) __builtin_prefetch(p, 1)
/* Hides from the compiler how a pointer was computed. Otherwise it computes each of several
 * addresses that differ by a constant from scratch. */
#define KEEP_IN_REGISTER(p) __asm__("" : "+r"(p))
#else
#define PREFETCH(p)
#define PREFETCH_WRITE(p)
#define KEEP_IN_REGISTER(p)
#endif
#define LINE_REALS ((Size)(64 / sizeof(real))) /* elements in a cache line */

/* A matrix whose rows are contiguous: row i starts at p + i * ld. */
typedef struct {
    real *p;
    Size ld;
} Matrix;

INLINE Size minimum(Size a, Size b) { return a < b ? a : b; }
INLINE Size round_up(Size n, Size multiple) { return (n + multiple - 1) / multiple * multiple; }

/* Index of the lowest bit that is set; `bits` must not be zero. */
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
