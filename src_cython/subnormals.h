/* Flushing of subnormal numbers to zero, a mode of the processor that is set per thread.
 *
 * Arithmetic with numbers below the smallest normal one (1.2e-38 in float32) is up to a hundred
 * times slower. Weights of constant inputs and of inactive units become subnormal by L2 or weight
 * decay, and Adam's moments as they decay. The mode is restored before a kernel returns. */
#ifndef FASTNN_SUBNORMALS_H
#define FASTNN_SUBNORMALS_H

#include <stdint.h>

#if defined(__SSE__) || defined(_M_X64)

#include <xmmintrin.h>
#define FLUSH 0x8040u /* MXCSR: flush to zero, denormals are zeros */

static inline uint64_t flush_subnormals(void)
{
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | FLUSH);
    return mode;
}

static inline void restore_subnormals(uint64_t mode) { _mm_setcsr((unsigned)mode); }

#elif defined(__aarch64__)

#define FLUSH (1u << 24) /* FPCR.FZ */

static inline uint64_t flush_subnormals(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | FLUSH) : "memory");
    return mode;
}

static inline void restore_subnormals(uint64_t mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory");
}

#else /* the results are correct, but subnormal numbers are slow */

static inline uint64_t flush_subnormals(void) { return 0; }

static inline void restore_subnormals(uint64_t mode) { (void)mode; }

#endif
#endif
