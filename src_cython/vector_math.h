/* The inner loops of the Cython kernels: products of matrices, elementary functions, losses,
 * update rules. Formulas and shapes stand in fastnn/backends/numpy_kernels.py; here stands why
 * something is done as it is.
 *
 * The file includes itself twice, with REAL defined as float and as double: `NAME(product)` is
 * product_float or product_double, and the macro `product` at the end chooses by the type of the
 * first argument, which is how the Cython code calls them.
 *
 * A matrix is a pointer and a leading dimension: row i starts at i * ld, its samples are
 * contiguous, every inner loop runs along them. `lanes` is a number of samples rounded up to
 * whole vectors.
 */
#ifndef REAL
#ifndef FASTNN_VECTOR_MATH_H
#define FASTNN_VECTOR_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline, unused))
#define FUNCTION static __attribute__((noinline, unused))
#define RESTRICT __restrict__
#define PRAGMA(text) _Pragma(#text)
/* What a loop writes it may read at the same index only: in place is fine. Two vectors at a time,
 * since the chains of operations are longer than the processor looks ahead. */
#define LANES_LOOP PRAGMA(GCC ivdep) PRAGMA(GCC unroll 2)
#define UNROLL PRAGMA(GCC unroll 8)
#define UNROLL_ROWS PRAGMA(GCC unroll 16)
#define SUM_LOOP(name) PRAGMA(omp simd reduction(+ : name))
#if defined(__clang__)
#undef LANES_LOOP
#define LANES_LOOP PRAGMA(clang loop vectorize(assume_safety))
#endif
#else /* MSVC: no vector types, see VEC */
#define INLINE static __forceinline
#define FUNCTION static
#define RESTRICT __restrict
#define LANES_LOOP __pragma(loop(ivdep))
#define UNROLL
#define UNROLL_ROWS
#define SUM_LOOP(name)
#endif

#if !defined(__GNUC__)
#define VECTOR_BYTES 0
#elif defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

/* Shuffles of two vectors. */
#if VECTOR_BYTES && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES 1
#endif
#endif
#ifndef SHUFFLES
#define SHUFFLES 0
#endif

typedef long long Size;

/* Samples in scratch memory are padded to a multiple of this: a vector of floats. */
#define PADDING (VECTOR_BYTES ? VECTOR_BYTES / 4 : 1)
#define GATHERED 16 /* rows gathered at a time: a cache line of floats */
#define SCRATCH 512 /* samples of a loss worked through at a time */
#define INPUTS 256  /* inputs of a product worked through at a time */
/* Of a matrix that sparse rows meet, a part of the rows for a tile of the columns stays in the
 * first-level cache: 64 rows by 384 or 512 bytes of sums in registers. */
#define PART 64
#define SUMS (VECTOR_BYTES > 32 ? 8 : 12)
#define SPARSE_UNITS (VECTOR_BYTES > 16 ? SUMS * VECTOR_BYTES / 4 : 48)
/* Where less than so much of a hundred is not zero, skipping zeros costs less than reading them. */
#define MARKED_PERCENT 75

/* Products of wide layers read a packed copy of the second factor, in tiles of TILE_ROWS rows by
 * two vectors: as many sums as registers hold beside what they are made of. Of the first factor
 * they work on so many rows and summands at a time, 96 KiB of floats, which may be copied to rows
 * a line longer. Other vectors than these were not measured and leave wide layers to BLAS. */
#define PACKED_PRODUCTS (VECTOR_BYTES >= 32)
#define TILE_ROWS (VECTOR_BYTES == 64 ? 12 : 6)
#define BLOCK_ROWS 96
/* Fewer samples than these a network with such layers predicts with loops along the units: they
 * would not fill a panel. */
#define FEW_PACKED (VECTOR_BYTES == 64 ? 32 : 16)
#define BLOCK_SUMS 256
#define PAGES 64 /* summands whose lines are in as many pages: a first-level TLB has 64 or more */
#define COPY_LINE (BLOCK_SUMS + 16)
#define COPY_SIZE (BLOCK_ROWS * COPY_LINE)
/* A line of the cache is fetched before it is needed. */
#if defined(__GNUC__)
#define FETCH(p) __builtin_prefetch(p, 0, 2)
#define FETCH_TO_WRITE(p) __builtin_prefetch(p, 1)
/* What the compiler shall not know the history of. It would compute addresses that differ by
 * constants each from the beginning. */
#define IN_REGISTER(p) __asm__("" : "+r"(p))
#else
#define IN_REGISTER(p)
#define FETCH(p)
#define FETCH_TO_WRITE(p)
#endif
#define FETCHED ((Size)(64 / sizeof(REAL)))

/* The codes of fastnn/backends/codes.py. */
enum { DENSE, DROPOUT };
/* The user's own functions, CUSTOM_..., run in NumPy and Numba; no code here takes them. */
enum {
    IDENTITY,
    TANH,
    SIGMOID,
    RELU,
    LEAKY_RELU,
    ELU,
    SOFTPLUS,
    SILU,
    GELU,
    CUSTOM_ACTIVATION
};
enum {
    CROSS_ENTROPY,
    BINARY_CROSS_ENTROPY,
    SQUARED_ERROR,
    ABSOLUTE_ERROR,
    HUBER,
    QUANTILE,
    POISSON,
    CUSTOM_LOSS
};
enum { SGD, ADAM, ADAGRAD, RMSPROP };
enum { KIND, FAN_IN, FAN_OUT, WEIGHTS, BIASES, ACTIVATION, BLAS, NET_INPUT, OUTPUT, LAYER_COLUMNS };
enum {
    N_PARAMS,
    BLOCK,
    GROUPS,
    WORK_SIZE,
    WORK_INPUT,
    WORK_TARGETS,
    WORK_SAMPLE_WEIGHT,
    WORK_DELTA,
    WORK_DELTA_OTHER,
    SHARED,
    WORK_PACKED,
    HEADER_SIZE
};
enum { STREAM_SHUFFLE, STREAM_DROPOUT };

/* What `elementwise` computes, for the tests. */
enum { ONLY_EXP, ONLY_EXPM1, ONLY_TANH, ONLY_SIGMOID, ONLY_LOG, ONLY_LOG1P, ONLY_SOFTPLUS };

/* --- processor ------------------------------------------------------------------------------ */

/* 2 with AVX-512 (x86-64-v4), 1 with AVX2 and FMA (x86-64-v3), else 0. */
FUNCTION int processor_level(void)
{
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
          && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")))
        return 0;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
                   && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
                   && __builtin_cpu_supports("avx512vl")
               ? 2
               : 1;
#else
    return 0;
#endif
}

#if defined(_WIN32)
#include <windows.h>
#define SLEEP_A_LITTLE() Sleep(0)
#else
#include <time.h>
/* Not sched_yield: where another program has one of the cores, both threads may be on the other,
 * and Linux lets the one that yields go on for milliseconds. */
#define SLEEP_A_LITTLE() nanosleep(&(struct timespec){0, 10000}, NULL)
#endif

#if defined(__GNUC__)
#define ATOMIC_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define ATOMIC_STORE(p, value) __atomic_store_n(p, value, __ATOMIC_RELEASE)
#define ATOMIC_ADD(p, value) __atomic_fetch_add(p, value, __ATOMIC_ACQ_REL)
#define ATOMIC_TAKE(p, old, value)                                                                \
    __atomic_compare_exchange_n(p, &(int64_t){old}, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#else
#define ATOMIC_LOAD(p) _InterlockedOr64((volatile __int64 *)(p), 0)
#define ATOMIC_STORE(p, value) _InterlockedExchange64((volatile __int64 *)(p), value)
#define ATOMIC_ADD(p, value) _InterlockedExchangeAdd64((volatile __int64 *)(p), value)
#define ATOMIC_TAKE(p, old, value)                                                                \
    (_InterlockedCompareExchange64((volatile __int64 *)(p), value, old) == (old))
#endif

INLINE void pause_processor(void)
{
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_ia32_pause();
#elif defined(__GNUC__) && defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Looks at a barrier before the processor is left to others: about as long as it takes to come back. */
#define SPINS 10000

/* Wait for all threads: sync[0] counts who has arrived, sync[1] how often all had. */
FUNCTION void barrier(int n_threads, int64_t *sync)
{
    int64_t turn = ATOMIC_LOAD(sync + 1);
    if (ATOMIC_ADD(sync, 1) == n_threads - 1) {
        ATOMIC_STORE(sync, 0);
        ATOMIC_STORE(sync + 1, turn + 1);
        return;
    }
    for (int looks = 0; ATOMIC_LOAD(sync + 1) == turn; looks++) {
        if (looks < SPINS)
            pause_processor();
        else
            SLEEP_A_LITTLE();
    }
}

/* sync[2] numbers what threads share out: one that no other gets, in order. */
FUNCTION int64_t take_ticket(int64_t *sync) { return ATOMIC_ADD(sync + 2, 1); }

/* Whether a thing is mine in this turn; noted is the last one when it was taken, plus 1. */
FUNCTION int claim(int64_t *claims, int64_t turn)
{
    const int64_t noted = ATOMIC_LOAD(claims);
    return noted <= turn && ATOMIC_TAKE(claims, noted, turn + 1);
}

/* --- random numbers -------------------------------------------------------------------------- */

INLINE uint64_t mix_bits(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

INLINE uint64_t stream_key(uint64_t seed, uint64_t purpose, uint64_t number)
{
    return mix_bits(mix_bits(mix_bits(seed) + purpose) + number);
}

FUNCTION void shuffle_order(uint64_t seed, Size epoch, Size samples, int64_t *order)
{
    uint64_t key = stream_key(seed, STREAM_SHUFFLE, (uint64_t)epoch);
    for (Size i = 0; i < samples; i++)
        order[i] = i;
    for (Size i = samples - 1; i > 0; i--) {
        uint64_t draw = mix_bits(key + (uint64_t)i) >> 32;
        Size j = (Size)((draw * (uint64_t)(i + 1)) >> 32);
        int64_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* --- sparse rows ----------------------------------------------------------------------------- */

/* How many of a sample's numbers, whose columns ascend, stand before the end of each PART of the
 * columns: (parts, samples). The samples are order[first], ... or first, ...; those from `start` up
 * to `stop` are cut. */
FUNCTION void cut_rows(const int32_t *indices, const int64_t *indptr, const int64_t *order,
                       Size first, Size samples, Size columns, Size start, Size stop,
                       int32_t *cuts)
{
    for (Size s = start; s < stop; s++) {
        const Size row = order ? order[first + s] : first + s;
        const int32_t *stored = indices + indptr[row];
        const Size n = indptr[row + 1] - indptr[row];
        Size k = 0;
        for (Size part = 0; part * PART < columns; part++) {
            while (k < n && stored[k] < (part + 1) * PART)
                k++;
            cuts[part * samples + s] = (int32_t)k;
        }
    }
}

/* The place of the lowest bit that is set; there is one. */
INLINE Size count_zeros(uint64_t bits)
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

/* --- sums of losses --------------------------------------------------------------------------- *
 *
 * In double, and apart from the loops that compute them: the compiler vectorises no sum with
 * exponentials in it. */

#if VECTOR_BYTES
typedef double Doubles __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(double)), may_alias));
#else
typedef double Doubles;
#endif
#define DOUBLES ((Size)(sizeof(Doubles) / sizeof(double)))

INLINE double sum_losses(const double *losses, Size n)
{
    Doubles sums = (Doubles){0};
    double parts[DOUBLES], sum = 0;
    Size s = 0;
    for (; s + DOUBLES <= n; s += DOUBLES)
        sums += *(const Doubles *)(losses + s);
    memcpy(parts, &sums, sizeof(sums));
    for (Size i = 0; i < DOUBLES; i++)
        sum += parts[i];
    for (; s < n; s++)
        sum += losses[s];
    return sum;
}

/* Sum of log(1 + es[s]) for n <= SCRATCH numbers between 0 and 1: one logarithm of the product,
 * which stays below 2^SCRATCH. */
INLINE double sum_log1p(const double *es, Size n)
{
    Doubles products[2] = {(Doubles){0} + 1, (Doubles){0} + 1};
    double parts[DOUBLES], product = 1;
    Size s = 0;
    for (; s + 2 * DOUBLES <= n; s += 2 * DOUBLES) {
        products[0] *= 1 + *(const Doubles *)(es + s);
        products[1] *= 1 + *(const Doubles *)(es + s + DOUBLES);
    }
    products[0] *= products[1];
    memcpy(parts, products, sizeof(parts));
    for (Size i = 0; i < DOUBLES; i++)
        product *= parts[i];
    for (; s < n; s++)
        product *= 1 + es[s];
    return log(product);
}

/* --- twice the rest ---------------------------------------------------------------------------- */

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(function) JOIN(function, REAL)

#define REAL float
#define BITS uint32_t
#define MANTISSA 23
#define BIAS 127
#define SQRT_HALF_BITS 0x3F3504F3u
#define LN2_HIGH 0.693145751953125f
#define LN2_LOW 1.4286067653e-06f
#define EXP_LOWEST -104.0f /* exp is 0 below */
#define EXP_NORMAL -87.0f  /* exp is a normal number from here on */
#define EXP_HIGHEST 89.0f  /* and infinite above */
#define EXPM1_LOWEST -18.0f /* expm1 is -1 below */
#define MATH(function) function##f
#include "vector_math.h"
#undef REAL
#undef BITS
#undef MANTISSA
#undef BIAS
#undef SQRT_HALF_BITS
#undef LN2_HIGH
#undef LN2_LOW
#undef EXP_LOWEST
#undef EXP_NORMAL
#undef EXP_HIGHEST
#undef EXPM1_LOWEST
#undef MATH

#define REAL double
#define REAL_IS_DOUBLE
#define BITS uint64_t
#define MANTISSA 52
#define BIAS 1023
#define SQRT_HALF_BITS 0x3FE6A09E667F3BCDu
#define LN2_HIGH 0.6931471803691238
#define LN2_LOW 1.9082149292705877e-10
#define EXP_LOWEST -746.0
#define EXP_NORMAL -708.0
#define EXP_HIGHEST 710.0
#define EXPM1_LOWEST -40.0
#define MATH(function) function
#include "vector_math.h"
#undef REAL

#define BY_TYPE(function, x)                                                                      \
    _Generic((x), float *: function##_float, double *: function##_double)
#define product(x, ...) BY_TYPE(product, x)(x, __VA_ARGS__)
#define outer(x, ...) BY_TYPE(outer, x)(x, __VA_ARGS__)
#define packed_product(x, ...) BY_TYPE(packed_product, x)(x, __VA_ARGS__)
#define pack_columns(x, ...) BY_TYPE(pack_columns, x)(x, __VA_ARGS__)
#define transpose(x, ...) BY_TYPE(transpose, x)(x, __VA_ARGS__)
#define row_sums(x, ...) BY_TYPE(row_sums, x)(x, __VA_ARGS__)
#define rows_product(x, ...) BY_TYPE(rows_product, x)(x, __VA_ARGS__)
#define fill_rows(x, ...) BY_TYPE(fill_rows, x)(x, __VA_ARGS__)
#define copy_rows(x, ...) BY_TYPE(copy_rows, x)(x, __VA_ARGS__)
#define percent_on(x, ...) BY_TYPE(percent_on, x)(x, __VA_ARGS__)
#define mark_inputs(x, ...) BY_TYPE(mark_inputs, x)(x, __VA_ARGS__)
#define mark_samples(x, ...) BY_TYPE(mark_samples, x)(x, __VA_ARGS__)
#define mark_stored(x, ...) BY_TYPE(mark_stored, x)(x, __VA_ARGS__)
#define marked_outer(x, ...) BY_TYPE(marked_outer, x)(x, __VA_ARGS__)
#define sparse_forward(x, ...) BY_TYPE(sparse_forward, x)(x, __VA_ARGS__)
#define sort_by_column(x, ...) BY_TYPE(sort_by_column, x)(x, __VA_ARGS__)
#define sparse_outer(x, ...) BY_TYPE(sparse_outer, x)(x, __VA_ARGS__)
#define all_finite(x, ...) BY_TYPE(all_finite, x)(x, __VA_ARGS__)
#define gather(out, ...) BY_TYPE(gather, out)(out, __VA_ARGS__)
#define gather_bytes(out, ...) BY_TYPE(gather_bytes, out)(out, __VA_ARGS__)
#define activate(z, ...) BY_TYPE(activate, z)(z, __VA_ARGS__)
#define activate_back(z, ...) BY_TYPE(activate_back, z)(z, __VA_ARGS__)
#define apply_dropout(x, ...) BY_TYPE(apply_dropout, x)(x, __VA_ARGS__)
#define loss_rows(z, ...) BY_TYPE(loss_rows, z)(z, __VA_ARGS__)
#define transform_rows(z, ...) BY_TYPE(transform_rows, z)(z, __VA_ARGS__)
#define update_range(grads, ...) BY_TYPE(update_range, grads)(grads, __VA_ARGS__)
#define fetch_range(x, ...) BY_TYPE(fetch_range, x)(x, __VA_ARGS__)
#define add_to(x, ...) BY_TYPE(add_to, x)(x, __VA_ARGS__)
#define add_scaled(x, ...) BY_TYPE(add_scaled, x)(x, __VA_ARGS__)
#define clip_entries(x, ...) BY_TYPE(clip_entries, x)(x, __VA_ARGS__)
#define scale_range(x, ...) BY_TYPE(scale_range, x)(x, __VA_ARGS__)
#define average_range(x, ...) BY_TYPE(average_range, x)(x, __VA_ARGS__)
#define sum_of_squares(x, ...) BY_TYPE(sum_of_squares, x)(x, __VA_ARGS__)
#define sum_range(x, ...) BY_TYPE(sum_range, x)(x, __VA_ARGS__)
#define elementwise(x, ...) BY_TYPE(elementwise, x)(x, __VA_ARGS__)

#endif
#else

/* ============================================================================================= */

/* One vector of REALs at any address; without vector types, one number. */
#if VECTOR_BYTES
typedef REAL NAME(Vec) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
#else
typedef REAL NAME(Vec);
#endif
#define VEC NAME(Vec)
#define V ((Size)(sizeof(VEC) / sizeof(REAL)))
#define LOAD(p) (*(const VEC *)(p))
#define STORE(p, value) (*(VEC *)(p) = (value))
/* Four REALs, where a vector has as many or more. */
#ifdef REAL_IS_DOUBLE
#define QUADS (SHUFFLES && VECTOR_BYTES >= 32)
#else
#define QUADS SHUFFLES
#endif
#if QUADS
typedef REAL NAME(Quad)
    __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
#define QUAD NAME(Quad)
#endif

/* --- products of matrices ------------------------------------------------------------------- */

/* out[j] = start + sum over i of w[i * step_in + j * step_out] x[i] for `rows` rows j and
 * `vectors` vectors of samples. The sums stay in registers over all inputs; rows and vectors are
 * constants where this is inlined. Start: b, or zero if b is NULL, or what out holds. */
INLINE void NAME(product_tile)(const int rows, const int vectors, const REAL *x, Size ldx,
                               const REAL *w, Size step_in, Size step_out, const REAL *b,
                               int from_out, Size n_in, REAL *out, Size ldo)
{
    VEC sums[4][4];
    UNROLL for (int j = 0; j < rows; j++) UNROLL for (int v = 0; v < vectors; v++)
    {
        if (from_out)
            sums[j][v] = LOAD(out + j * ldo + v * V);
        else
            sums[j][v] = (VEC){0} + (b ? b[j] : 0);
    }
    for (Size i = 0; i < n_in; i++) {
        VEC lanes[4];
        UNROLL for (int v = 0; v < vectors; v++) lanes[v] = LOAD(x + v * V);
        UNROLL for (int j = 0; j < rows; j++)
        {
            REAL factor = w[j * step_out];
            UNROLL for (int v = 0; v < vectors; v++) sums[j][v] += factor * lanes[v];
        }
        x += ldx;
        w += step_in;
    }
    UNROLL for (int j = 0; j < rows; j++) UNROLL for (int v = 0; v < vectors; v++)
        STORE(out + j * ldo + v * V, sums[j][v]);
}

/* The same for all samples, eight sums at a time: each waits four cycles for its last addition. */
INLINE void NAME(product_rows)(const int rows, const REAL *x, Size ldx, const REAL *w,
                               Size step_in, Size step_out, const REAL *b, int from_out, Size n_in,
                               Size lanes, REAL *out, Size ldo)
{
    Size s = 0;
#define VECTORS(vectors)                                                                          \
    NAME(product_tile)(rows, vectors, x + s, ldx, w, step_in, step_out, b, from_out, n_in,        \
                       out + s, ldo)
    if (rows <= 2)
        for (; s + 4 * V <= lanes; s += 4 * V)
            VECTORS(4);
    for (; s + 2 * V <= lanes; s += 2 * V)
        VECTORS(2);
    if (s < lanes)
        VECTORS(1);
#undef VECTORS
}

/* And for all rows, four at a time, and as many inputs at a time as the cache holds. */
FUNCTION void NAME(product)(const REAL *x, Size ldx, const REAL *w, Size step_in, Size step_out,
                            const REAL *b, Size n_in, Size n_out, Size lanes, REAL *out, Size ldo)
{
    for (Size first = 0; first < n_in; first += INPUTS) {
        Size n = n_in - first < INPUTS ? n_in - first : INPUTS;
        const REAL *xs = x + first * ldx;
        int from_out = first > 0;
        Size j = 0;
#define ROWS(rows)                                                                                \
    NAME(product_rows)(rows, xs, ldx, w + first * step_in + j * step_out, step_in, step_out,      \
                       b ? b + j : b, from_out, n, lanes, out + j * ldo, ldo)
        for (; j + 4 <= n_out; j += 4)
            ROWS(4);
        switch (n_out - j) {
        case 3: ROWS(3); break;
        case 2: ROWS(2); break;
        case 1: ROWS(1); break;
        }
#undef ROWS
    }
}

#if QUADS
/* A shuffle that does the same in each four lanes, given by that for the first four. */
#if VECTOR_BYTES / 4 == 4 || (defined(REAL_IS_DOUBLE) && VECTOR_BYTES / 8 == 4)
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#elif VECTOR_BYTES / 4 == 8 || defined(REAL_IS_DOUBLE)
#define SHUFFLE(a, b, i, j, k, l)                                                                 \
    __builtin_shufflevector(a, b, i, j, k, l, (i) + 4, (j) + 4, (k) + 4, (l) + 4)
#else
#define SHUFFLE(a, b, i, j, k, l)                                                                 \
    __builtin_shufflevector(a, b, i, j, k, l, (i) + 4, (j) + 4, (k) + 4, (l) + 4, (i) + 8,        \
                            (j) + 8, (k) + 8, (l) + 8, (i) + 12, (j) + 12, (k) + 12, (l) + 12)
#endif

/* Sums of neighbours: in each four lanes two of a, then two of b. */
INLINE VEC NAME(add_pairs)(VEC a, VEC b)
{
    return SHUFFLE(a, b, 0, 2, V, V + 2) + SHUFFLE(a, b, 1, 3, V + 1, V + 3);
}

/* Four numbers each from rows 0, 4, 8, ... of a matrix. */
INLINE VEC NAME(load_quads)(const REAL *x, Size ldx)
{
    const QUAD first = *(const QUAD *)x;
#if VECTOR_BYTES / 4 == 4 || (defined(REAL_IS_DOUBLE) && VECTOR_BYTES / 8 == 4)
    return (void)ldx, (VEC)first;
#else
    const QUAD second = *(const QUAD *)(x + 4 * ldx);
#if VECTOR_BYTES / 4 == 8 || defined(REAL_IS_DOUBLE)
    return (VEC)__builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7);
#else
    const QUAD third = *(const QUAD *)(x + 8 * ldx), fourth = *(const QUAD *)(x + 12 * ldx);
    return (VEC)__builtin_shufflevector(
        __builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7),
        __builtin_shufflevector(third, fourth, 0, 1, 2, 3, 4, 5, 6, 7), 0, 1, 2, 3, 4, 5, 6, 7, 8,
        9, 10, 11, 12, 13, 14, 15);
#endif
#endif
}

/* Four numbers remain, each the sum of those in its place. */
INLINE QUAD NAME(fold)(VEC vector)
{
    QUAD parts[V / 4];
    memcpy(parts, &vector, sizeof(vector));
    UNROLL for (int half = (int)V / 8; half > 0; half /= 2) UNROLL for (int i = 0; i < half; i++)
        parts[i] += parts[i + half];
    return parts[0];
}
#endif

/* Sum over the lanes of a vector: pairs of neighbours, pairs of these, then by halves. */
INLINE REAL NAME(sum_lanes)(VEC vector)
{
#if QUADS
    vector = NAME(add_pairs)(vector, vector);
    return NAME(fold)(NAME(add_pairs)(vector, vector))[0];
#else
    REAL parts[V];
    memcpy(parts, &vector, sizeof(vector));
    for (int step = 1; step < V; step *= 2)
        UNROLL for (int i = 0; i + step < V; i += 2 * step) parts[i] += parts[i + step];
    return parts[0];
#endif
}

/* out[k] = sum over the lanes of vectors[k], or is increased by it; the same bits for all. Four of
 * them share every addition. */
INLINE void NAME(sums_of_lanes)(const int n, const VEC *vectors, int accumulate, REAL *out)
{
    int k = 0;
#if QUADS
    UNROLL for (; k + 2 <= n; k += 4)
    {
        const int rest = n - k < 4 ? n - k : 4;
        VEC a = NAME(add_pairs)(vectors[k], vectors[k + 1]);
        VEC b = NAME(add_pairs)(vectors[rest > 2 ? k + 2 : k], vectors[rest > 3 ? k + 3 : k]);
        QUAD sums = NAME(fold)(NAME(add_pairs)(a, b));
        if (rest == 4) {
            if (accumulate)
                sums += *(const QUAD *)(out + k);
            *(QUAD *)(out + k) = sums;
            continue;
        }
        UNROLL for (int i = 0; i < rest; i++) out[k + i] = accumulate ? out[k + i] + sums[i] : sums[i];
    }
#endif
    UNROLL for (; k < n; k++)
    {
        REAL sum = NAME(sum_lanes)(vectors[k]);
        out[k] = accumulate ? out[k] + sum : sum;
    }
}

/* out[c][r] = x[r][c], plus start[c] unless that is NULL. */
FUNCTION void NAME(transpose)(const REAL *x, Size ldx, Size rows, Size columns, const REAL *start,
                              REAL *out, Size ldo)
{
    Size r = 0;
#if QUADS
    for (; r + V <= rows; r += V, x += V * ldx) {
        Size c = 0;
        for (; c + 4 <= columns; c += 4) {
            const VEC a = NAME(load_quads)(x + c, ldx), b = NAME(load_quads)(x + ldx + c, ldx);
            const VEC e = NAME(load_quads)(x + 2 * ldx + c, ldx);
            const VEC f = NAME(load_quads)(x + 3 * ldx + c, ldx);
            const VEC ab = SHUFFLE(a, b, 0, V, 1, V + 1), ab2 = SHUFFLE(a, b, 2, V + 2, 3, V + 3);
            const VEC ef = SHUFFLE(e, f, 0, V, 1, V + 1), ef2 = SHUFFLE(e, f, 2, V + 2, 3, V + 3);
            const VEC turned[4] = {
                SHUFFLE(ab, ef, 0, 1, V, V + 1), SHUFFLE(ab, ef, 2, 3, V + 2, V + 3),
                SHUFFLE(ab2, ef2, 0, 1, V, V + 1), SHUFFLE(ab2, ef2, 2, 3, V + 2, V + 3)};
            UNROLL for (int k = 0; k < 4; k++)
                STORE(out + (c + k) * ldo + r, turned[k] + (start ? start[c + k] : 0));
        }
        for (; c < columns; c++)
            for (Size k = 0; k < V; k++)
                out[c * ldo + r + k] = x[k * ldx + c] + (start ? start[c] : 0);
    }
#endif
    for (; r < rows; r++, x += ldx)
        for (Size c = 0; c < columns; c++)
            out[c * ldo + r] = x[c] + (start ? start[c] : 0);
}

/* dw[i][j] = sum over the samples of x[i] dz[j], for rows_x times rows_dz of them, and if `biases`
 * db[j] = sum of dz[j]. */
INLINE void NAME(outer_tile)(const int rows_x, const int rows_dz, const int biases, const REAL *x,
                             Size ldx, const REAL *dz, Size ldz, int accumulate, Size lanes,
                             REAL *dw, Size n_out, REAL *db)
{
    VEC sums[4][4], bias_sums[4];
    UNROLL for (int j = 0; j < rows_dz; j++)
    {
        UNROLL for (int i = 0; i < rows_x; i++) sums[i][j] = (VEC){0};
        bias_sums[j] = (VEC){0};
    }
    for (Size s = 0; s < lanes; s += V) {
        VEC xs[4];
        UNROLL for (int i = 0; i < rows_x; i++) xs[i] = LOAD(x + i * ldx + s);
        UNROLL for (int j = 0; j < rows_dz; j++)
        {
            VEC d = LOAD(dz + j * ldz + s);
            UNROLL for (int i = 0; i < rows_x; i++) sums[i][j] += xs[i] * d;
            if (biases)
                bias_sums[j] += d;
        }
    }
    UNROLL for (int i = 0; i < rows_x; i++)
        NAME(sums_of_lanes)(rows_dz, sums[i], accumulate, dw + i * n_out);
    if (biases)
        NAME(sums_of_lanes)(rows_dz, bias_sums, accumulate, db);
}

/* dw = x dz.T and, unless db is NULL, db = sum of dz over the samples, which comes with the first
 * rows of x. Two by four sums would wait for each other, three by four just fit into sixteen
 * registers. */
FUNCTION void NAME(outer)(const REAL *x, Size ldx, const REAL *dz, Size ldz, int accumulate,
                          Size n_in, Size n_out, Size lanes, REAL *dw, REAL *db)
{
    Size i = 0;
#define TILE(rows_x, rows_dz, biases)                                                             \
    NAME(outer_tile)(rows_x, rows_dz, biases, x + i * ldx, ldx, dz + j * ldz, ldz, accumulate,    \
                     lanes, dw + i * n_out + j, n_out, db + j)
#define ROWS(rows_x, biases)                                                                      \
    do {                                                                                          \
        Size j = 0;                                                                               \
        for (; j + 4 <= n_out; j += 4)                                                            \
            TILE(rows_x, 4, biases);                                                              \
        switch (n_out - j) {                                                                      \
        case 3: TILE(rows_x, 3, biases); break;                                                   \
        case 2: TILE(rows_x, 2, biases); break;                                                   \
        case 1: TILE(rows_x, 1, biases); break;                                                   \
        }                                                                                         \
        i += rows_x;                                                                              \
    } while (0)
    if (db && n_in == 1)
        ROWS(1, 1);
    else if (db)
        ROWS(2, 1);
    if (n_out <= 2) /* four by two: eight sums as well */
        while (i + 4 <= n_in)
            ROWS(4, 0);
    while (i + 3 <= n_in && n_in - i != 4)
        ROWS(3, 0);
    while (i + 2 <= n_in)
        ROWS(2, 0);
    if (i < n_in)
        ROWS(1, 0);
#undef ROWS
#undef TILE
}

/* --- products of wide layers ------------------------------------------------------------------- *
 *
 * out[r][c] = start + sum over i < n of a[r * a_row + i * a_sum] * b[i * b_sum + c * b_column]
 *
 * A layer forward, its inputs' gradient and its weights' gradient are all of this form, with
 * either a_row or a_sum one. The columns of b become panels of two vectors, in which all that one
 * summand needs stands side by side, whatever the strides were. The numbers of a are broadcast, so
 * that they may be read where they lie, unless they crowd into too few places of the caches. After
 * Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008. */

/* Rows of a matrix that will be read after something else, and are fetched meanwhile. */
typedef struct {
    const REAL *row; /* the next one */
    Size ld, rows;   /* how many are left */
    Size lines, line; /* of the cache, in each and the next one's */
} NAME(Ahead);

INLINE NAME(Ahead) NAME(ahead)(const REAL *row, Size ld, Size rows, Size columns)
{
    return (NAME(Ahead)){row, ld, rows, (columns + FETCHED - 1) / FETCHED, 0};
}

/* Fetching beyond the end of a matrix does nothing. */
INLINE void NAME(fetch_ahead)(NAME(Ahead) *ahead, Size lines)
{
    for (; lines > 0 && ahead->rows > 0; lines--) {
        FETCH(ahead->row + ahead->line * FETCHED);
        if (++ahead->line == ahead->lines) {
            ahead->line = 0;
            ahead->row += ahead->ld;
            ahead->rows--;
        }
    }
}

#if PACKED_PRODUCTS

/* One tile; TILE_ROWS of a are read, but what is beyond the edges of out is not written. The sums
 * stay in registers, and out is added to at the end, when it has come from memory. Of the two
 * vectors of columns the right one may be left out. */
INLINE void NAME(packed_tile)(const int vectors, const REAL *a, const Size a_row, const Size a_sum,
                              const REAL *b, Size n, const REAL *bias, int from_out, Size rows,
                              Size columns, REAL *out, Size ldo)
{
    VEC sums[TILE_ROWS][2];
    UNROLL_ROWS for (int r = 0; r < TILE_ROWS; r++)
    {
        sums[r][0] = sums[r][1] = (VEC){0};
        FETCH_TO_WRITE(out + r * ldo);
    }
    for (Size i = 0; i < n; i++) {
        const VEC left = LOAD(b), right = vectors == 2 ? LOAD(b + V) : left;
        UNROLL_ROWS for (int r = 0; r < TILE_ROWS; r++)
        {
            const REAL factor = a[r * a_row];
            sums[r][0] += factor * left;
            if (vectors == 2)
                sums[r][1] += factor * right;
        }
        a += a_sum;
        b += 2 * V;
    }
    if (rows == TILE_ROWS && columns == vectors * V) {
        UNROLL_ROWS for (int r = 0; r < TILE_ROWS; r++) UNROLL for (int v = 0; v < vectors; v++)
        {
            VEC sum = sums[r][v] + (bias ? bias[r] : 0);
            if (from_out)
                sum += LOAD(out + r * ldo + v * V);
            STORE(out + r * ldo + v * V, sum);
        }
        return;
    }
    REAL edge[TILE_ROWS][2 * V];
    memcpy(edge, sums, sizeof(edge));
    for (Size r = 0; r < rows; r++)
        for (Size c = 0; c < columns; c++) {
            REAL sum = edge[r][c] + (bias ? bias[r] : 0);
            out[r * ldo + c] = from_out ? sum + out[r * ldo + c] : sum;
        }
}

/* Columns of b, panel by panel: 2 V numbers side by side for each of n summands, zeros where there
 * are no more columns. `out` has room for whole panels. */
FUNCTION void NAME(pack_columns)(const REAL *b, Size b_sum, Size b_column, Size n, Size columns,
                                 REAL *out)
{
    for (; columns > 0; columns -= 2 * V, b += 2 * V * b_column)
        if (columns >= 2 * V && b_column == 1)
            for (Size i = 0; i < n; i++, out += 2 * V)
                memcpy(out, b + i * b_sum, 2 * V * sizeof(REAL));
        else if (columns >= 2 * V && b_sum == 1) {
            NAME(transpose)(b, b_column, 2 * V, n, NULL, out, 2 * V);
            out += n * 2 * V;
        } else
            for (Size i = 0; i < n; i++, out += 2 * V)
                for (Size k = 0; k < 2 * V; k++)
                    out[k] = k < columns ? b[i * b_sum + k * b_column] : 0;
}

/* Whether the lines of a, of which a tile reads TILE_ROWS at the same time or up to BLOCK_SUMS one
 * after the other, are so nearly a multiple of 4 KiB apart that they share a few places of the
 * caches: a first level has 8 ways of 4 KiB, a second level of a mebibyte 8 of 128 KiB. */
INLINE int NAME(crowded)(Size a_row, Size line)
{
    const Size beside = (line * (Size)sizeof(REAL) + 32) % 4096;
    return beside <= 64 && (a_row == 1 || TILE_ROWS > 8);
}

/* A copy of some rows of a: where rows are neighbours in memory, BLOCK_ROWS numbers for each of n
 * summands; else n numbers each, COPY_LINE apart. Rows that are missing in a tile are zeros. */
FUNCTION void NAME(copy_factor)(const REAL *a, Size a_row, Size a_sum, Size rows, Size n, REAL *out)
{
    const Size whole = (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    if (a_row == 1)
        for (Size i = 0; i < n; i++, a += a_sum, out += BLOCK_ROWS) {
            if (rows == BLOCK_ROWS) { /* a number that the compiler knows */
                memcpy(out, a, BLOCK_ROWS * sizeof(REAL));
                continue;
            }
            memcpy(out, a, (size_t)rows * sizeof(REAL));
            for (Size r = rows; r < whole; r++)
                out[r] = 0;
        }
    else
        for (Size r = 0; r < whole; r++, a += a_row, out += COPY_LINE) {
            if (r < rows)
                memcpy(out, a, (size_t)n * sizeof(REAL));
            else
                memset(out, 0, (size_t)n * sizeof(REAL));
        }
}

/* Some rows and summands. Meanwhile `next` is fetched, the part of a that comes after them: the
 * tiles would else wait for memory. So are,
 * unless NULL, two matrices of the shape of out, `beside` and the one `other` numbers behind it. A
 * panel of columns stays in the first-level cache, the rows in the second. */
FUNCTION void NAME(packed_block)(const REAL *a, Size a_row, Size a_sum, int copied,
                                 const REAL *next, const REAL *panels, Size panel,
                                 const REAL *bias, int from_out, Size rows, Size columns, Size n,
                                 REAL *out, Size ldo, REAL *copy, const REAL *beside,
                                 Size ld_beside, Size other)
{
    const Size tiles = ((columns + 2 * V - 1) / (2 * V)) * ((rows + TILE_ROWS - 1) / TILE_ROWS);
    NAME(Ahead) ahead = a_row == 1 ? NAME(ahead)(next, a_sum, n, rows)
                                   : NAME(ahead)(next, a_row, rows, n);
    const Size at_a_time = (ahead.rows * ahead.lines + tiles - 1) / tiles;
    /* a tile at the edge reads zeros, not what is behind the matrix */
    const Size in_place = copied ? 0 : rows / TILE_ROWS * TILE_ROWS;
    if (in_place < rows)
        NAME(copy_factor)(a + in_place * a_row, a_row, a_sum, rows - in_place, n, copy);
    for (Size c = 0; c < columns; c += 2 * V, panels += panel)
        for (Size r = 0; r < rows; r += TILE_ROWS) {
            const Size tile_rows = rows - r < TILE_ROWS ? rows - r : TILE_ROWS;
            const Size tile_columns = columns - c < 2 * V ? columns - c : 2 * V;
            const REAL *start = bias ? bias + r : NULL;
            REAL *to = out + r * ldo + c;
            NAME(fetch_ahead)(&ahead, at_a_time);
            if (beside)
                for (Size k = 0; k < TILE_ROWS; k++)
                    for (Size v = 0; v < 2 * V; v += FETCHED) {
                        FETCH(beside + (r + k) * ld_beside + c + v);
                        FETCH(beside + (r + k) * ld_beside + c + v + other);
                    }
#define TILE(vectors)                                                                             \
    do {                                                                                          \
        if (a_row == 1)                                                                           \
            NAME(packed_tile)(vectors, r < in_place ? a + r : copy + (r - in_place), 1,           \
                              r < in_place ? a_sum : BLOCK_ROWS, panels, n, start, from_out,      \
                              tile_rows, tile_columns, to, ldo);                                  \
        else                                                                                      \
            NAME(packed_tile)(vectors,                                                            \
                              r < in_place ? a + r * a_row : copy + (r - in_place) * COPY_LINE,   \
                              r < in_place ? a_row : COPY_LINE, 1, panels, n, start, from_out,    \
                              tile_rows, tile_columns, to, ldo);                                  \
    } while (0)
            if (tile_columns > V)
                TILE(2);
            else
                TILE(1);
#undef TILE
        }
}

/* Any rows, and columns whose panels of n are packed already. Start: bias, or zero if that is
 * NULL, or what out holds. `copy` has room for COPY_SIZE numbers. What will be needed with the
 * result may be fetched meanwhile: see packed_block. */
FUNCTION void NAME(packed_product)(const REAL *a, Size a_row, Size a_sum, const REAL *panels,
                                   const REAL *bias, int accumulate, Size rows, Size columns,
                                   Size n, REAL *out, Size ldo, REAL *copy,
                                   const REAL *beside, Size ld_beside, Size other)
{
    const int copied = NAME(crowded)(a_row, a_row == 1 ? a_sum : a_row);
    const Size at_a_time = a_row == 1 && !copied ? PAGES : BLOCK_SUMS;
    for (Size r = 0; r < rows; r += BLOCK_ROWS)
        for (Size i = 0; i < n; i += at_a_time) {
            const Size some = rows - r < BLOCK_ROWS ? rows - r : BLOCK_ROWS;
            const Size sums = n - i < at_a_time ? n - i : at_a_time;
            const REAL *here = a + r * a_row + i * a_sum;
            const REAL *next = i + sums < n ? here + sums * a_sum : a + (r + some) * a_row;
            NAME(packed_block)(here, a_row, a_sum, copied, next, panels + i * 2 * V, n * 2 * V,
                               bias && i == 0 ? bias + r : NULL, accumulate || i > 0, some,
                               columns, sums, out + r * ldo, ldo, copy,
                               i == 0 && beside ? beside + r * ld_beside : NULL, ld_beside, other);
        }
}

#else

FUNCTION void NAME(pack_columns)(const REAL *b, Size b_sum, Size b_column, Size n, Size columns,
                                 REAL *out)
{
    (void)b, (void)b_sum, (void)b_column, (void)n, (void)columns, (void)out;
}

FUNCTION void NAME(packed_product)(const REAL *a, Size a_row, Size a_sum, const REAL *panels,
                                   const REAL *bias, int accumulate, Size rows, Size columns,
                                   Size n, REAL *out, Size ldo, REAL *copy,
                                   const REAL *beside, Size ld_beside, Size other)
{
    (void)a, (void)a_row, (void)a_sum, (void)panels, (void)bias, (void)accumulate, (void)rows;
    (void)columns, (void)n, (void)out, (void)ldo, (void)copy, (void)beside, (void)ld_beside;
    (void)other;
}

#endif

/* db = sum of dz over the samples, where dw is made without it. */
FUNCTION void NAME(row_sums)(const REAL *dz, Size ldz, int accumulate, Size n_out, Size lanes,
                             REAL *db)
{
    for (Size j = 0; j < n_out; j++, dz += ldz) {
        VEC even = {0}, odd = {0};
        Size s = 0;
        for (; s + 2 * V <= lanes; s += 2 * V) {
            even += LOAD(dz + s);
            odd += LOAD(dz + s + V);
        }
        if (s < lanes)
            even += LOAD(dz + s);
        REAL sum = NAME(sum_lanes)(even + odd);
        db[j] = accumulate ? db[j] + sum : sum;
    }
}

/* Some samples of out = b + x w, up to four: every number of the weights is read once for all. */
INLINE void NAME(some_rows)(const int rows, const REAL *RESTRICT x, const REAL *RESTRICT w,
                            const REAL *RESTRICT b, Size n_in, Size n_out, REAL *RESTRICT out,
                            REAL *RESTRICT out1, REAL *RESTRICT out2, REAL *RESTRICT out3)
{
    const REAL *x1 = x + n_in, *x2 = x + 2 * n_in, *x3 = x + 3 * n_in;
    for (Size j = 0; j < n_out; j++) {
        out[j] = b[j];
        if (rows > 1)
            out1[j] = b[j];
        if (rows > 2)
            out2[j] = b[j];
        if (rows > 3)
            out3[j] = b[j];
    }
    Size i = 0;
    for (; i + 4 <= n_in; i += 4, w += 4 * n_out) {
        const REAL *w1 = w + n_out, *w2 = w1 + n_out, *w3 = w2 + n_out;
#define SUM(x) ((x[i] * w[j] + x[i + 1] * w1[j]) + (x[i + 2] * w2[j] + x[i + 3] * w3[j]))
        for (Size j = 0; j < n_out; j++) {
            out[j] += SUM(x);
            if (rows > 1)
                out1[j] += SUM(x1);
            if (rows > 2)
                out2[j] += SUM(x2);
            if (rows > 3)
                out3[j] += SUM(x3);
        }
#undef SUM
    }
    for (; i < n_in; i++, w += n_out)
        for (Size j = 0; j < n_out; j++) {
            out[j] += x[i] * w[j];
            if (rows > 1)
                out1[j] += x1[i] * w[j];
            if (rows > 2)
                out2[j] += x2[i] * w[j];
            if (rows > 3)
                out3[j] += x3[i] * w[j];
        }
}

/* out = b + x w for a handful of samples, (samples, units) both: the weights' rows are contiguous,
 * so the loops run along the outputs here. */
FUNCTION void NAME(rows_product)(const REAL *x, const REAL *w, const REAL *b, Size samples,
                                 Size n_in, Size n_out, REAL *out)
{
#define ROWS(rows)                                                                                \
    NAME(some_rows)(rows, x, w, b, n_in, n_out, out, out + n_out, out + 2 * n_out, out + 3 * n_out)
    for (; samples >= 4; samples -= 4, x += 4 * n_in, out += 4 * n_out)
        ROWS(4);
    switch (samples) {
        case 3: ROWS(3); break;
        case 2: ROWS(2); break;
        case 1: ROWS(1); break;
    }
#undef ROWS
}

/* --- products with what is not zero ------------------------------------------------------------ *
 *
 * Here the loops run along the units: every number that is not zero meets a whole row of a matrix.
 * Of sparse data, those of sample s stand at indptr[s] .. indptr[s + 1], each with its column. What
 * a wide layer gets from relu units, of which many are off, stays where it is, and is marked anew in
 * every block: a bit for each number that is not zero, PART of them in an integer. That is by sample
 * for the way forward (mark_inputs), by unit for the way back (mark_samples). */

/* out = start + sum over k of values[k] * row k of a matrix, for a few vectors of columns, which stay
 * in registers; of the last vector only `rest` numbers are written, or all if that is 0. `some` has a
 * bit for each k; or with `rows` it is how many k there are, and it is row rows[k]. Each two vectors
 * of a row are `panel` apart, and whole vectors of it are read. */
INLINE void NAME(weighted_rows_tile)(const int vectors, Size rest, const REAL *values,
                                     const int32_t *rows, uint64_t some, const REAL *matrix,
                                     const Size ld, const Size panel, int accumulate, REAL *out)
{
    VEC sums[12];
    UNROLL_ROWS for (int v = 0; v < vectors; v++)
        sums[v] = accumulate ? LOAD(out + v * V) : (VEC){0};
    for (Size k = 0; rows ? k < (Size)some : some != 0; k++, some &= rows ? some : some - 1) {
        const Size place = rows ? k : count_zeros(some);
        const REAL value = values[place];
        const REAL *row = matrix + (rows ? rows[k] : place) * ld;
        IN_REGISTER(row);
        UNROLL_ROWS for (int v = 0; v < vectors; v++)
            sums[v] += value * LOAD(row + v / 2 * panel + v % 2 * V);
    }
    UNROLL_ROWS for (int v = 0; v < vectors; v++)
        if (v < vectors - 1 || rest == 0)
            STORE(out + v * V, sums[v]);
    if (rest > 0)
        memcpy(out + (vectors - 1) * V, &sums[vectors - 1], (size_t)rest * sizeof(REAL));
}

/* The same for up to SUMS vectors of columns. */
INLINE void NAME(weighted_rows)(const REAL *values, const int32_t *rows, uint64_t some,
                                const REAL *matrix, const Size ld, const Size panel,
                                int accumulate, Size columns, REAL *out)
{
    if (columns == 8 * V) { /* the usual case: rows are short, and a switch takes its time */
        NAME(weighted_rows_tile)(8, 0, values, rows, some, matrix, ld, panel, accumulate, out);
        return;
    }
#define VECTORS(vectors)                                                                          \
    case vectors:                                                                                 \
        NAME(weighted_rows_tile)(vectors, columns % V, values, rows, some, matrix, ld, panel,     \
                                 accumulate, out);                                                \
        break
    switch ((columns + V - 1) / V) {
        VECTORS(1);
        VECTORS(2);
        VECTORS(3);
        VECTORS(4);
        VECTORS(5);
        VECTORS(6);
        VECTORS(7);
        VECTORS(8);
#if SUMS > 8
        VECTORS(9);
        VECTORS(10);
        VECTORS(11);
        VECTORS(12);
#endif
    }
#undef VECTORS
}

/* Some columns of some rows, turned. Of V rows at a time first a copy is made: where their lines
 * share a few places of the caches, transpose would fetch each several times. */
FUNCTION void NAME(turned_part)(const REAL *x, Size ldx, Size rows, Size columns, REAL *out,
                                Size ldo)
{
    REAL lines[2 * V][PART + 8];
    for (Size r = 0; r < rows; r += 2 * V) {
        const Size some = rows - r < 2 * V ? rows - r : 2 * V;
        for (Size k = 0; k < some; k++, x += ldx) {
            if (columns == PART)
                memcpy(lines[k], x, PART * sizeof(REAL));
            else
                memcpy(lines[k], x, (size_t)columns * sizeof(REAL));
        }
        NAME(transpose)(lines[0], PART + 8, some, columns, NULL, out + r, ldo);
    }
}

#define TILE (8 * V) /* columns where all weights' part of them should fit into the second level */

/* Net inputs of a block of samples, order[first], ... or first, ..., for the units from `unit` up
 * to `last`, a tile after the other, all about as wide; `scratch` takes one for all of the samples.
 * Beyond the last sample stand the biases. With `cuts`, or with `marks` in place of indices and
 * indptr (see mark_inputs), one part of the input follows the other, its weights copied to where
 * they fit into the first-level cache, as rows of a wide layer do not where they lie. */
FUNCTION void NAME(sparse_forward)(const REAL *values, const int32_t *indices,
                                   const int64_t *indptr, const int64_t *order, Size first,
                                   Size samples, Size lanes, const int32_t *cuts,
                                   const uint64_t *marks, const REAL *w, const REAL *b, int turned,
                                   Size n_in, Size n_out, Size unit, Size last, REAL *scratch,
                                   REAL *out, Size ldo)
{
    _Alignas(64) REAL copy[PART * SUMS * V];
    const int parts = cuts || marks;
    const Size width = parts ? PART : n_in, most = parts ? SUMS * V : TILE;
    Size columns;
    for (Size start = unit; start < last; start += columns) {
        const Size tiles = (last - start + most - 1) / most;
        columns = ((last - start + tiles - 1) / tiles + V - 1) / V * V;
        const Size wide = columns;
        if (columns > last - start)
            columns = last - start;
        for (Size column = 0; column < n_in; column += width) {
            if (parts && turned)
                NAME(turned_part)(w + start * n_in + column, n_in, columns,
                                  n_in - column < width ? n_in - column : width, copy, wide);
            else if (parts)
                for (Size i = 0; i < width && column + i < n_in; i++) {
                    /* whole vectors: behind the weights stand as many biases as a row has weights;
                     * and vector by vector, which gcc would make a slow "rep movs" */
                    const REAL *row = w + (column + i) * n_out + start;
                    if (wide == SUMS * V)
                        UNROLL_ROWS for (int v = 0; v < SUMS; v++)
                            STORE(copy + (i * SUMS + v) * V, LOAD(row + v * V));
                    else
                        for (Size j = 0; j < wide; j += V)
                            STORE(copy + i * wide + j, LOAD(row + j));
                }
            /* the next part of these units, or the first of the next ones */
            const int more = column + width < n_in;
            const Size next = more ? column + width : 0, there = more ? start : start + columns;
            NAME(Ahead) ahead = turned ? NAME(ahead)(w + there * n_in + next, n_in, columns, PART)
                                       : NAME(ahead)(w + next * n_out + there, n_out, PART, columns);
            const Size at_a_time = parts ? (ahead.rows * ahead.lines + samples - 1) / samples : 0;
            const Size part = column / width * samples;
            for (Size s = 0; s < samples; s++) {
                NAME(fetch_ahead)(&ahead, at_a_time);
                REAL *sums = scratch + s * columns;
                if (marks) {
                    if (marks[part + s] != 0 || column == 0)
                        NAME(weighted_rows)(values + (part + s) * PART, NULL, marks[part + s], copy,
                                            wide, 2 * V, column > 0, columns, sums);
                    continue;
                }
                const Size row = order ? order[first + s] : first + s;
                const Size begin = indptr[row] + (column > 0 ? cuts[part - samples + s] : 0);
                const Size end = cuts ? indptr[row] + cuts[part + s] : indptr[row + 1];
                if (begin < end || column == 0)
                    NAME(weighted_rows)(values + begin, indices + begin, (uint64_t)(end - begin),
                                        cuts ? copy - column * wide : w + start,
                                        cuts ? wide : n_out, 2 * V, column > 0, columns, sums);
            }
        }
        NAME(transpose)(scratch, columns, samples, columns, b ? b + start : NULL,
                        out + start * ldo, ldo);
        for (Size j = start; j < start + columns; j++)
            for (Size s = samples; s < lanes; s++)
                out[j * ldo + s] = b[j];
    }
}

/* How many of a hundred numbers of a matrix are not zero; every eighth row is looked at, so that
 * the answer depends on the numbers alone. */
FUNCTION int NAME(percent_on)(const REAL *x, Size ldx, Size rows, Size lanes)
{
    Size looked_at = 0, found = 0;
    for (Size r = 0; r < rows; r += 8, looked_at += lanes) {
        BITS count = 0;
        for (Size s = 0; s < lanes; s++)
            count += x[r * ldx + s] != 0;
        found += (Size)count;
    }
    return (int)(found * 100 / looked_at);
}

/* A bit for each of at most PART numbers: whether it is not zero. */
INLINE uint64_t NAME(marks_of)(const REAL *x, Size n)
{
    uint64_t marks = 0;
    Size i = 0;
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(REAL_IS_DOUBLE)
    for (; i + 16 <= n; i += 16)
        marks |= (uint64_t)_mm512_cmp_ps_mask(_mm512_loadu_ps(x + i), _mm512_setzero_ps(),
                                              _CMP_NEQ_UQ)
                 << i;
#elif defined(__AVX2__) && defined(__GNUC__) && !defined(REAL_IS_DOUBLE)
    for (; i + 8 <= n; i += 8)
        marks |= (uint64_t)_mm256_movemask_ps(
                     _mm256_cmp_ps(_mm256_loadu_ps(x + i), _mm256_setzero_ps(), _CMP_NEQ_UQ))
                 << i;
#endif
    for (; i < n; i++)
        marks |= (uint64_t)(x[i] != 0) << i;
    return marks;
}

/* Of each PART of the inputs, rows of x, a turned copy, (parts, lanes, PART), and which of each
 * sample's inputs are not zero, (parts, lanes). Only for the inputs from `first`, which begins a
 * part, up to `last`. */
FUNCTION void NAME(mark_inputs)(const REAL *x, Size ldx, Size first, Size last, Size lanes,
                                REAL *values, uint64_t *marks)
{
    values += first * lanes;
    marks += first / PART * lanes;
    for (Size column = first; column < last; column += PART) {
        const Size width = last - column < PART ? last - column : PART;
        NAME(transpose)(x + column * ldx, ldx, width, lanes, NULL, values, PART);
        for (Size s = 0; s < lanes; s++, values += PART)
            *marks++ = NAME(marks_of)(values, width);
    }
}

/* Of each row of x and PART of the samples, which are not zero: (rows, parts). */
FUNCTION void NAME(mark_samples)(const REAL *x, Size ldx, Size rows, Size lanes, uint64_t *marks)
{
    for (Size r = 0; r < rows; r++, x += ldx)
        for (Size s = 0; s < lanes; s += PART)
            *marks++ = NAME(marks_of)(x + s, lanes - s < PART ? lanes - s : PART);
}

/* The same of sparse data, for the inputs from `input` up to `last`, and the numbers themselves:
 * those that are not zero, at their places in rows of ldo. Of sample s, order[first + s] or first +
 * s, `cuts` has where each PART of the inputs ends. */
FUNCTION void NAME(mark_stored)(const REAL *values, const int32_t *indices, const int64_t *indptr,
                                const int64_t *order, Size first, Size samples,
                                const int32_t *cuts, Size input, Size last, REAL *out, Size ldo,
                                uint64_t *marks)
{
    const Size parts = (samples + PART - 1) / PART;
    const int32_t *before = input >= PART ? cuts + (input / PART - 1) * samples : NULL;
    memset(marks, 0, (size_t)((last - input) * parts) * sizeof(uint64_t));
    for (Size s = 0; s < samples; s++) {
        const Size row = order ? order[first + s] : first + s;
        Size k = indptr[row] + (before ? before[s] : 0);
        while (k < indptr[row + 1] && indices[k] < input)
            k++;
        for (; k < indptr[row + 1] && indices[k] < last; k++) {
            const Size r = indices[k] - input;
            out[r * ldo + s] = values[k];
            marks[r * parts + s / PART] |= (uint64_t)1 << s % PART;
        }
    }
}

/* dw = x dz.T for some rows of x, of which marks say what is not zero; panels of dz.T. `beside` as
 * for packed_block. */
FUNCTION void NAME(marked_outer)(const REAL *x, Size ldx, const uint64_t *marks,
                                 const REAL *panels, int accumulate, Size rows, Size columns,
                                 Size lanes, REAL *dw, Size ldw, const REAL *w, const REAL *beside,
                                 Size ld_beside, Size other)
{
    const Size parts = (lanes + PART - 1) / PART;
    for (Size c = 0; c < columns; c += SUMS * V, panels += SUMS * V * lanes) {
        const Size some = columns - c < SUMS * V ? columns - c : SUMS * V;
        for (Size part = 0; part < parts; part++)
            for (Size r = 0; r < rows; r++) {
                if (w && part == 0)
                    for (Size v = 0; v < some; v += FETCHED)
                        FETCH(w + r * ld_beside + c + v);
                if (beside && part == 0)
                    for (Size v = 0; v < some; v += FETCHED) {
                        FETCH(beside + r * ld_beside + c + v);
                        FETCH(beside + r * ld_beside + c + v + other);
                    }
                NAME(weighted_rows)(x + r * ldx + part * PART, NULL, marks[r * parts + part],
                                    panels + part * PART * 2 * V, 2 * V, 2 * V * lanes,
                                    accumulate || part > 0, some, dw + r * ldw + c);
            }
    }
}

/* The numbers of a block of samples by column: those of column c end at ends[c]. */
FUNCTION void NAME(sort_by_column)(const REAL *values, const int32_t *indices,
                                   const int64_t *indptr, const int64_t *order, Size first,
                                   Size samples, Size columns, int32_t *ends, REAL *out,
                                   int32_t *out_samples)
{
    int32_t total = 0;
    memset(ends, 0, (size_t)columns * sizeof(int32_t));
    for (Size s = 0; s < samples; s++) {
        const Size row = order ? order[first + s] : first + s;
        for (Size k = indptr[row]; k < indptr[row + 1]; k++)
            ends[indices[k]]++;
    }
    for (Size c = 0; c < columns; c++) {
        const int32_t count = ends[c];
        ends[c] = total;
        total += count;
    }
    for (Size s = 0; s < samples; s++) {
        const Size row = order ? order[first + s] : first + s;
        for (Size k = indptr[row]; k < indptr[row + 1]; k++) {
            const int32_t place = ends[indices[k]]++;
            out[place] = values[k];
            out_samples[place] = (int32_t)s;
        }
    }
}

/* dw = x dz.T for sparse data from its numbers by column; `rows` holds some columns of dz.T,
 * (samples, columns). */
FUNCTION void NAME(sparse_outer)(const REAL *values, const int32_t *samples_of,
                                 const int32_t *ends, Size inputs, const REAL *rows, Size columns,
                                 int accumulate, REAL *dw, Size ldw)
{
    for (Size i = 0; i < inputs; i++, dw += ldw) {
        const Size begin = i > 0 ? ends[i - 1] : 0, n = ends[i] - begin;
        NAME(weighted_rows)(values + begin, samples_of + begin, (uint64_t)n, rows, columns, 2 * V,
                            accumulate, columns, dw);
    }
}
#undef TILE

/* --- moving data --------------------------------------------------------------------------- */

/* Row j of out holds b[j] throughout: what BLAS then adds to. */
FUNCTION void NAME(fill_rows)(const REAL *b, Size rows, Size lanes, REAL *out, Size ldo)
{
    for (Size j = 0; j < rows; j++) {
        const REAL value = b[j];
        for (Size s = 0; s < lanes; s++)
            out[j * ldo + s] = value;
    }
}

/* Copy `samples` columns and repeat the last one up to `lanes`, or put zeros there. Repeating
 * makes the padding as finite as the data; the samples' weights are zero there. */
FUNCTION void NAME(copy_rows)(const REAL *x, Size ldx, Size rows, Size samples, Size lanes,
                              int zeros, REAL *out, Size ldo)
{
    for (Size i = 0; i < rows; i++, x += ldx, out += ldo) {
        memcpy(out, x, (size_t)samples * sizeof(REAL));
        for (Size s = samples; s < lanes; s++)
            out[s] = zeros ? 0 : x[samples - 1];
    }
}

/* Rows order[first], order[first + 1], ... (or first, first + 1, ... if order is NULL) of a
 * (samples, features) matrix become the columns of out; the last one is repeated up to a multiple
 * of GATHERED, of which a block is one too. */
#define GATHER(function, SOURCE)                                                                  \
    FUNCTION void NAME(function)(REAL * RESTRICT out, Size ldo, const SOURCE *RESTRICT source,    \
                                 Size features, const int64_t *RESTRICT order, Size first,       \
                                 Size samples, Size lanes)                                       \
    {                                                                                             \
        for (Size start = 0; start < lanes; start += GATHERED) {                                  \
            const SOURCE *rows[GATHERED];                                                         \
            for (Size k = 0; k < GATHERED; k++) {                                                 \
                Size s = start + k < samples ? start + k : samples - 1;                           \
                rows[k] = source + (order ? order[first + s] : first + s) * features;             \
            }                                                                                     \
            for (Size f = 0; f < features; f++) {                                                 \
                REAL *line = out + f * ldo + start;                                               \
                UNROLL for (Size k = 0; k < GATHERED; k++) line[k] = (REAL)rows[k][f];            \
            }                                                                                     \
        }                                                                                         \
    }
GATHER(gather, REAL)
GATHER(gather_bytes, uint8_t)
#undef GATHER

/* Whether there is neither NaN nor infinity; an OR of comparisons, which has no order. */
FUNCTION int NAME(all_finite)(const REAL *x, Size n)
{
    int bad = 0;
    for (Size i = 0; i < n; i++)
        bad |= !(x[i] - x[i] == 0);
    return !bad;
}

/* --- elementary functions ------------------------------------------------------------------- *
 *
 * Branch-free, so that loops over them are vectorised. Minimax polynomials found by Remez
 * exchange in mpmath at 50 digits, then rounded. Degrees and errors (before rounding in the
 * evaluation), float / double:
 *   expm1(r) = r + r r EXP(r),          |r| <= log(2)/2: degree 4 / 9 in r, 8e-9 / 1.2e-17
 *   r coth(r) = COTH(r r),              |r| <= log(2)/4: degree 2 / 5 in r r, 2.2e-9 / 9e-19
 *   2 atanh(s) = 2 s + s s s LOG(s s),  s <= 0.1716:     degree 2 / 6 in s s, 8e-10 / 1.2e-18
 *   2 atanh(s) = 2 s + s s s LOG1P(s s), s <= 1/3:       degree 3 / 9 in s s, 4.5e-9 / 1.3e-18
 */

#ifdef REAL_IS_DOUBLE
static const double EXP_double[] = {
    0.5000000000000001,    0.16666666666666674,    0.04166666666662412,   0.008333333333322214,
    0.0013888888917215482, 0.00019841269886580328, 2.480152129331013e-05, 2.7557242345095926e-06,
    2.7620089625102744e-07, 2.5110047537712198e-08};
static const double COTH_double[] = {
    1,
    2 * 0.16666666666666602,
    8 * -0.0027777777777014308,
    32 * 6.61375632113214e-05,
    128 * -1.6533901891371567e-06,
    512 * 4.138125259637943e-08};
static const double LOG_double[] = {
    0.6666666666666734,  0.3999999999941566,  0.2857142874218922, 0.2222219859146514,
    0.18183563482317436, 0.15314069495599555, 0.1479578577085294};
static const double LOG1P_double[] = {
    0.6666666666666631, 0.40000000000155117, 0.2857142854811797,  0.2222222395364914,
    0.181817444789552,  0.1538654839574148,  0.13301121331666332, 0.12104945339001484,
    0.08344969336544436, 0.17009761112842567};
#else
static const float EXP_float[] = {0.5f, 0.16666576266288757f, 0.04166637361049652f,
                                  0.008363180793821812f, 0.0013941123615950346f};
static const float COTH_float[] = {1, 2 * 0.16666625440120697f, 8 * -0.0027667241171002388f};
static const float LOG_float[] = {0.6666677594184875f, 0.3997756540775299f, 0.2987120747566223f};
static const float LOG1P_float[] = {0.666664183139801f, 0.4002152681350708f, 0.2800180912017822f,
                                    0.28011980652809143f};
#endif

/* c[0] + c[1] x + c[2] x^2 + ... by Horner's rule, unrolled. */
#define POLYNOMIAL(x, c) NAME(polynomial)(x, c, (int)(sizeof(c) / sizeof(REAL)))
INLINE REAL NAME(polynomial)(REAL x, const REAL *c, const int n)
{
    REAL sum = c[n - 1];
#if defined(__GNUC__)
#pragma GCC unroll 16
#endif
    for (int i = n - 2; i >= 0; i--)
        sum = sum * x + c[i];
    return sum;
}

/* Adding it rounds to an integer k, which then stands, with the exponent's bias, in the last
 * bits. */
#define MAGIC ((REAL)1.5 * (REAL)((BITS)1 << MANTISSA) + (REAL)BIAS)

#define SIGN ((BITS)1 << (8 * sizeof(REAL) - 1))

INLINE BITS NAME(bits_of)(REAL x)
{
    BITS bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

INLINE REAL NAME(from_bits)(BITS bits)
{
    REAL x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* 2^k for t = MAGIC + k. */
INLINE REAL NAME(power_of_two)(REAL t)
{
    return NAME(from_bits)(NAME(bits_of)(t) << MANTISSA);
}

/* r with exp(x) = exp(r) 2^k, |r| <= log(2)/2, and t = MAGIC + k. The two parts of log 2 make
 * x - k log 2 exact to the last bit. */
INLINE REAL NAME(remainder)(REAL x, REAL *t)
{
    *t = x * (REAL)1.4426950408889634 + MAGIC;
    REAL k = *t - MAGIC;
    return (x - k * LN2_HIGH) - k * LN2_LOW;
}

/* p with exp(x) = (1 + p) 2^k, |p| < 0.42, and t = MAGIC + k. */
INLINE REAL NAME(reduced)(REAL x, REAL *t)
{
    REAL r = NAME(remainder)(x, t);
    return r + r * r * POLYNOMIAL(r, NAME(EXP));
}

/* x 2^k for t = MAGIC + k: two factors reach into the denormal numbers and to infinity. */
INLINE REAL NAME(times_power_of_two)(REAL x, REAL t)
{
    REAL half = (t - MAGIC) * (REAL)0.5 + MAGIC;
    REAL rest = t - (half - MAGIC);
    return x * NAME(power_of_two)(half) * NAME(power_of_two)(rest);
}

/* Comparisons that let NaN by. */
INLINE REAL NAME(fast_exp)(REAL x)
{
    REAL t;
    x = x < EXP_LOWEST ? EXP_LOWEST : x;
    x = x > EXP_HIGHEST ? EXP_HIGHEST : x;
    REAL p = NAME(reduced)(x, &t);
    return NAME(times_power_of_two)(1 + p, t);
}

/* exp(x) for x <= 0, with one factor: what would be denormal becomes zero. */
INLINE REAL NAME(softmax_exp)(REAL x)
{
    REAL t, clipped = x < EXP_NORMAL ? EXP_NORMAL : x;
    REAL p = NAME(reduced)(clipped, &t);
    REAL power = NAME(power_of_two)(t);
    REAL e = p * power + power;
    return x < EXP_NORMAL ? 0 : e;
}

/* Half of it first, since 2^k may overflow where the result does not; x itself where it has no
 * half. */
INLINE REAL NAME(fast_expm1)(REAL x)
{
    REAL t, clipped = x < EXPM1_LOWEST ? EXPM1_LOWEST : x;
    clipped = clipped > EXP_HIGHEST ? EXP_HIGHEST : clipped;
    REAL p = NAME(reduced)(clipped, &t);
    REAL power = NAME(power_of_two)(t - 1);
    REAL half = p * power + (power - (REAL)0.5);
    return MATH(fabs)(x) < (REAL)1e-20 ? x : half + half;
}

/* A limit that the compiler does not know. It would follow a known one through the whole formula
 * and choose between the results at the end: two operations in place of one. */
INLINE REAL NAME(unknown)(REAL limit)
{
    volatile REAL hidden = limit;
    return hidden;
}

/* exp(2 r) = (c + r) / (c - r) with c = r coth(r), which is even and close to 1: few coefficients
 * do, and a quotient whose parts are multiplied by these takes the exponential in without a second
 * division. (The form of fdlibm's exponential, Sun Microsystems 1993.) */
INLINE REAL NAME(r_coth)(REAL r) { return POLYNOMIAL(r * r, NAME(COTH)); }

/* tanh |x| = (1 - e) / (1 + e), e = exp(-2 |x|) = 2^k exp(2 r). Without k the numerator is -2 r
 * and exact. `lowest` is EXPM1_LOWEST / 2, below which the result is 1, see `unknown`. */
INLINE REAL NAME(fast_tanh)(REAL x, REAL lowest)
{
    REAL y = NAME(from_bits)(NAME(bits_of)(x) | SIGN);
    y = y < lowest ? lowest : y;
    REAL t = y * (REAL)2.8853900817779268 + MAGIC;
    REAL r = y - (t - MAGIC) * (REAL)0.34657359027997264;
    REAL c = NAME(r_coth)(r), power = NAME(power_of_two)(t);
    REAL numerator = c * (1 - power) - (r + power * r);
    REAL denominator = (c - r) + power * (c + r);
    return NAME(from_bits)(NAME(bits_of)(numerator / denominator) | (NAME(bits_of)(x) & SIGN));
}

/* e / (1 + e) for x < 0, else 1 / (1 + e), with e = exp(-|x|) = 2^k exp(2 r). `lowest` is
 * EXP_LOWEST, see `unknown`. */
INLINE REAL NAME(fast_sigmoid)(REAL x, REAL lowest)
{
    REAL t, y = NAME(from_bits)(NAME(bits_of)(x) | SIGN);
    y = y < lowest ? lowest : y;
    REAL r = (REAL)0.5 * NAME(remainder)(y, &t);
    REAL c = NAME(r_coth)(r), small = NAME(times_power_of_two)(c + r, t), large = c - r;
    return (x >= 0 ? large : small) / (large + small);
}

/* Positive normal x = 2^k m, m in [sqrt(1/2), sqrt 2): log x = k log 2 + 2 atanh((m - 1)/(m + 1)).
 * Infinity and NaN come through. */
INLINE REAL NAME(fast_log)(REAL x)
{
    const BITS one = (BITS)BIAS << MANTISSA;
    const BITS bits = NAME(bits_of)(x);
    const BITS biased = (bits + (one - SQRT_HALF_BITS)) >> MANTISSA; /* k + BIAS */
    const BITS integer = biased | ((BITS)(BIAS + MANTISSA) << MANTISSA);
    const REAL k = NAME(from_bits)(integer) - (REAL)(((BITS)1 << MANTISSA) + BIAS);
    const REAL m = NAME(from_bits)(bits - ((biased << MANTISSA) - one));
    REAL f = m - 1, s = f / (2 + f), u = s * s;
    REAL y = k * LN2_HIGH + ((s + s) + (s * u * POLYNOMIAL(u, NAME(LOG)) + k * LN2_LOW));
    return x < (REAL)INFINITY ? y : x;
}

/* log(1 + x) for x in [0, 1]. */
INLINE REAL NAME(fast_log1p)(REAL x)
{
    REAL s = x / (2 + x), u = s * s;
    return (s + s) + s * u * POLYNOMIAL(u, NAME(LOG1P));
}

/* log(1 + exp(x)) */
INLINE REAL NAME(fast_softplus)(REAL x)
{
    return (x < 0 ? 0 : x) + NAME(fast_log1p)(NAME(fast_exp)(-MATH(fabs)(x)));
}

/* Distribution function of the standard normal. */
INLINE REAL NAME(normal_cdf)(REAL x)
{
    return (REAL)0.5 * MATH(erfc)(x * (REAL)-0.7071067811865476);
}

/* --- activations ----------------------------------------------------------------------------- */

#define EACH(value)                                                                               \
    do {                                                                                          \
        LANES_LOOP for (Size s = 0; s < n; s++) out[s] = (value);                                 \
    } while (0)

/* out = f(z); out may be z. Comparisons are such that NaN comes through. */
FUNCTION void NAME(activate)(const REAL *z, int activation, double constant, Size n, REAL *out)
{
    const REAL alpha = (REAL)constant;
    const REAL exp_lowest = NAME(unknown)(EXP_LOWEST), tanh_lowest = NAME(unknown)(EXPM1_LOWEST / 2);
    switch (activation) {
    case TANH: EACH(NAME(fast_tanh)(z[s], tanh_lowest)); break;
    case SIGMOID: EACH(NAME(fast_sigmoid)(z[s], exp_lowest)); break;
    case RELU: EACH(z[s] <= 0 ? 0 : z[s]); break;
    case LEAKY_RELU: EACH(z[s] <= 0 ? alpha * z[s] : z[s]); break;
    case ELU:
        LANES_LOOP for (Size s = 0; s < n; s++)
        {
            REAL below = alpha * NAME(fast_expm1)(z[s]);
            out[s] = z[s] <= 0 ? below : z[s];
        }
        break;
    case SOFTPLUS: EACH(NAME(fast_softplus)(z[s])); break;
    case SILU: EACH(z[s] * NAME(fast_sigmoid)(z[s], exp_lowest)); break;
    case GELU: EACH(z[s] * NAME(normal_cdf)(z[s])); break;
    default:
        if (out != z)
            EACH(z[s]);
    }
}

/* One function by itself: for tests, benchmarks and predictions that are exponentials. */
FUNCTION void NAME(elementwise)(const REAL *x, int function, Size n, REAL *out)
{
    switch (function) {
    case ONLY_EXP: EACH(NAME(fast_exp)(x[s])); break;
    case ONLY_EXPM1: EACH(NAME(fast_expm1)(x[s])); break;
    case ONLY_TANH: NAME(activate)(x, TANH, 0, n, out); break;
    case ONLY_SIGMOID: NAME(activate)(x, SIGMOID, 0, n, out); break;
    case ONLY_LOG: EACH(NAME(fast_log)(x[s])); break;
    case ONLY_LOG1P: EACH(NAME(fast_log1p)(x[s])); break;
    case ONLY_SOFTPLUS: EACH(NAME(fast_softplus)(x[s])); break;
    }
}
#undef EACH

/* da becomes da f'(z). */
FUNCTION void NAME(activate_back)(const REAL *RESTRICT z, const REAL *RESTRICT a, int activation,
                                  double constant, Size n, REAL *RESTRICT da)
{
    const REAL alpha = (REAL)constant;
#define EACH_TIMES(value)                                                                         \
    do {                                                                                          \
        LANES_LOOP for (Size s = 0; s < n; s++) da[s] *= (value);                                 \
    } while (0)
    switch (activation) {
    case TANH: EACH_TIMES(1 - a[s] * a[s]); break;
    case SIGMOID: EACH_TIMES(a[s] * (1 - a[s])); break;
    case RELU: EACH_TIMES(a[s] > 0 ? 1 : 0); break;
    case LEAKY_RELU: EACH_TIMES(a[s] > 0 ? 1 : alpha); break;
    case ELU: EACH_TIMES(a[s] > 0 ? 1 : a[s] + alpha); break;
    case SOFTPLUS: EACH_TIMES(-NAME(fast_expm1)(-a[s])); break;
    case SILU: {
        const REAL lowest = NAME(unknown)(EXP_LOWEST);
        LANES_LOOP for (Size s = 0; s < n; s++)
        {
            REAL p = NAME(fast_sigmoid)(z[s], lowest);
            da[s] *= p + a[s] * (1 - p);
        }
        break;
    }
    case GELU:
        LANES_LOOP for (Size s = 0; s < n; s++)
        {
            REAL density = NAME(fast_exp)((REAL)-0.5 * z[s] * z[s]) * (REAL)0.3989422804014327;
            da[s] *= NAME(normal_cdf)(z[s]) + z[s] * density;
        }
        break;
    }
#undef EACH_TIMES
}

/* out = 0 where a unit is dropped, x / (1 - rate) where it is kept; out may be x. */
FUNCTION void NAME(apply_dropout)(const REAL *x, Size ldx, double rate, uint64_t key, Size first,
                                  Size units, Size lanes, REAL *out, Size ldo)
{
    const uint32_t threshold = (uint32_t)(rate * 4294967296.0);
    const REAL factor = (REAL)(1.0 / (1.0 - rate));
    for (Size unit = 0; unit < units; unit++, x += ldx, out += ldo) {
        const uint32_t row = (uint32_t)mix_bits(key + (uint64_t)unit);
        LANES_LOOP for (Size s = 0; s < lanes; s++)
        {
            uint32_t h = row + (uint32_t)(first + s) * 0x9E3779B9u;
            h = (h ^ (h >> 16)) * 0x7FEB352Du;
            h = (h ^ (h >> 15)) * 0x846CA68Bu;
            h ^= h >> 16;
            REAL kept = x[s] * factor;
            out[s] = h >= threshold ? kept : 0;
        }
    }
}

/* --- losses ------------------------------------------------------------------------------------ */

/* Largest of a sample's units. */
INLINE void NAME(maximum)(const REAL *z, Size ldz, Size units, Size n, REAL *RESTRICT top)
{
    const REAL *last = z + (units - 1) * ldz;
    for (Size s = 0; s < n; s++)
        top[s] = last[s] > z[s] ? last[s] : z[s];
    for (Size k = 1; k < units - 1; k++) {
        const REAL *row = z + k * ldz;
        for (Size s = 0; s < n; s++)
            top[s] = row[s] > top[s] ? row[s] : top[s];
    }
}

/* Row by row: largest net input, exponentials and their sum, loss, derivative. */
INLINE double NAME(cross_entropy)(const REAL *z, Size ldz, const REAL *targets,
                                  REAL *RESTRICT weight, REAL scale, Size units, Size n, REAL *dz,
                                  Size lddz)
{
    REAL top[SCRATCH], total[SCRATCH], chosen[SCRATCH];
    double sum = 0;
    NAME(maximum)(z, ldz, units, n, top);
    for (Size k = 0; k < units; k++) {
        const REAL *row = z + k * ldz, unit = (REAL)k;
        REAL *out = dz + k * lddz;
        if (k == 0)
            LANES_LOOP for (Size s = 0; s < n; s++)
            {
                REAL e = NAME(softmax_exp)(row[s] - top[s]);
                chosen[s] = targets[s] == unit ? row[s] : 0;
                total[s] = e;
                out[s] = e;
            }
        else
            LANES_LOOP for (Size s = 0; s < n; s++)
            {
                REAL e = NAME(softmax_exp)(row[s] - top[s]);
                chosen[s] = targets[s] == unit ? row[s] : chosen[s];
                total[s] += e;
                out[s] = e;
            }
    }
    SUM_LOOP(sum)
    for (Size s = 0; s < n; s++) {
        sum += (double)((NAME(fast_log)(total[s]) + (top[s] - chosen[s])) * weight[s]);
        weight[s] *= scale;
        total[s] = weight[s] / total[s];
    }
    for (Size k = 0; k < units; k++) {
        REAL *out = dz + k * lddz, unit = (REAL)k;
        LANES_LOOP for (Size s = 0; s < n; s++)
            out[s] = out[s] * total[s] - (targets[s] == unit ? weight[s] : 0);
    }
    return sum;
}

/* The same for two units in one pass: with v by how much the wrong one leads, the loss is
 * log(1 + exp(v)) and the wrong one's probability, the derivative of both, 1 / (1 + exp(-v)).
 * `plain`: weights are 1 or 0, so that the logarithms can wait. */
INLINE double NAME(two_classes)(const int plain, const REAL *z0, const REAL *z1,
                                const REAL *targets, const REAL *weight, REAL scale, Size n,
                                REAL *dz0, REAL *dz1)
{
    double losses[SCRATCH], es[SCRATCH];
    LANES_LOOP for (Size s = 0; s < n; s++)
    {
        const REAL sign = targets[s] == 0 ? 1 : -1, v = sign * (z1[s] - z0[s]);
        const REAL e = NAME(softmax_exp)(-MATH(fabs)(v));
        const REAL d = (v >= 0 ? 1 : e) / (1 + e) * (sign * (weight[s] * scale));
        losses[s] = ((v < 0 ? 0 : v) + (plain ? 0 : NAME(fast_log1p)(e))) * weight[s];
        es[s] = e * weight[s];
        dz0[s] = -d;
        dz1[s] = d;
    }
    return sum_losses(losses, n) + (plain ? sum_log1p(es, n) : 0);
}

/* One unit; loss and derivative share an exponential. */
INLINE double NAME(binary_row)(const int plain, const REAL *z, const REAL *targets,
                               const REAL *weight, REAL scale, Size n, REAL *dz)
{
    double losses[SCRATCH], es[SCRATCH];
    LANES_LOOP for (Size s = 0; s < n; s++)
    {
        REAL x = z[s], t = targets[s];
        REAL e = NAME(softmax_exp)(-MATH(fabs)(x));
        losses[s] = ((x < 0 ? 0 : x) - t * x + (plain ? 0 : NAME(fast_log1p)(e))) * weight[s];
        es[s] = e * weight[s];
        dz[s] = ((x >= 0 ? 1 : e) / (1 + e) - t) * (weight[s] * scale);
    }
    return sum_losses(losses, n) + (plain ? sum_log1p(es, n) : 0);
}

/* One unit. */
INLINE double NAME(squared_row)(const REAL *z, const REAL *targets, const REAL *weight, REAL scale,
                                Size n, REAL *dz)
{
    double sum = 0;
    SUM_LOOP(sum)
    for (Size s = 0; s < n; s++) {
        REAL d = z[s] - targets[s];
        sum += (double)(d * d * weight[s]);
        dz[s] = d * (weight[s] * scale);
    }
    return 0.5 * sum;
}

/* One unit of the other losses of regression. */
INLINE double NAME(other_row)(const REAL *z, const REAL *targets, const REAL *weight, int loss,
                              double constant, REAL scale, Size n, REAL *dz)
{
    double losses[SCRATCH];
    if (loss == HUBER) {
        const REAL high = (REAL)constant;
        LANES_LOOP for (Size s = 0; s < n; s++)
        {
            const REAL d = z[s] - targets[s];
            REAL c = d > high ? high : d;
            c = d < -high ? -high : c;
            losses[s] = c * (d - (REAL)0.5 * c) * weight[s];
            dz[s] = c * (weight[s] * scale);
        }
    } else if (loss == POISSON) {
        LANES_LOOP for (Size s = 0; s < n; s++)
        {
            const REAL x = z[s], t = targets[s], mean = NAME(fast_exp)(x);
            const REAL positive = t > (REAL)1e-30 ? t : 1;
            losses[s] = (mean - t * x + (t * NAME(fast_log)(positive) - t)) * weight[s];
            dz[s] = (mean - t) * (weight[s] * scale);
        }
    } else {
        const REAL up = loss == QUANTILE ? (REAL)(1 - constant) : 1;
        const REAL down = loss == QUANTILE ? (REAL)-constant : -1;
        LANES_LOOP for (Size s = 0; s < n; s++)
        {
            const REAL d = z[s] - targets[s];
            REAL slope = d > 0 ? up : 0;
            slope = d < 0 ? down : slope;
            losses[s] = slope * d * weight[s];
            dz[s] = slope * (weight[s] * scale);
        }
    }
    return sum_losses(losses, n);
}

/* What label smoothing adds to the loss: a part linear in the net inputs, the sum of
 * smoothing (t - mean t) z; with `scale` not 0 instead its derivative times that, to z. */
FUNCTION double NAME(smoothing_rows)(REAL *z, Size ldz, const REAL *targets, Size ldt,
                                     const REAL *weights, int loss, double smoothing,
                                     double scale, Size units, Size samples)
{
    const double mean = loss == CROSS_ENTROPY ? 1.0 / (double)units : 0.5;
    double sum = 0;
    for (Size k = 0; k < units; k++, z += ldz)
        for (Size s = 0; s < samples; s++) {
            const double t = loss == CROSS_ENTROPY ? targets[s] == (REAL)k : targets[k * ldt + s];
            const double factor = smoothing * (t - mean) * (weights ? weights[s] : 1);
            if (scale != 0)
                z[s] += (REAL)(factor * scale);
            else
                sum += factor * z[s];
        }
    return sum;
}

/* Summed loss and its derivative times scale; dz may be z. Beyond `samples` up to `lanes` the
 * weights count as zero, and so become the derivatives. */
FUNCTION double NAME(loss_rows)(const REAL *z, Size ldz, const REAL *targets, Size ldt,
                                const REAL *weights, int loss, double constant, double scale,
                                Size units, Size samples, Size lanes, REAL *dz, Size lddz)
{
    const int smoothed = constant != 0 && loss <= BINARY_CROSS_ENTROPY;
    double sum = 0;
    if (smoothed)
        sum = NAME(smoothing_rows)((REAL *)z, ldz, targets, ldt, weights, loss, constant, 0, units,
                                   samples);
    for (Size first = 0; first < lanes; first += SCRATCH) {
        REAL weight[SCRATCH];
        Size n = lanes - first < SCRATCH ? lanes - first : SCRATCH;
        for (Size s = 0; s < n; s++)
            weight[s] = 1;
        if (weights)
            memcpy(weight, weights + first,
                   (size_t)(samples - first < n ? samples - first : n) * sizeof(REAL));
        for (Size s = samples - first; s < n; s++)
            weight[s] = 0;
        if (loss == CROSS_ENTROPY && units == 2) {
#define TWO_CLASSES(plain)                                                                        \
    NAME(two_classes)(plain, z + first, z + ldz + first, targets + first, weight, (REAL)scale, n, \
                      dz + first, dz + lddz + first)
            sum += weights ? TWO_CLASSES(0) : TWO_CLASSES(1);
#undef TWO_CLASSES
            continue;
        }
        if (loss == CROSS_ENTROPY) {
            sum += NAME(cross_entropy)(z + first, ldz, targets + first, weight, (REAL)scale, units, n,
                                       dz + first, lddz);
            continue;
        }
        for (Size k = 0; k < units; k++) {
            const REAL *row = z + k * ldz + first, *t = targets + k * ldt + first;
            REAL *out = dz + k * lddz + first;
            if (loss == BINARY_CROSS_ENTROPY && weights)
                sum += NAME(binary_row)(0, row, t, weight, (REAL)scale, n, out);
            else if (loss == BINARY_CROSS_ENTROPY)
                sum += NAME(binary_row)(1, row, t, weight, (REAL)scale, n, out);
            else if (loss == SQUARED_ERROR)
                sum += NAME(squared_row)(row, t, weight, (REAL)scale, n, out);
            else
                sum += NAME(other_row)(row, t, weight, loss, constant, (REAL)scale, n, out);
        }
    }
    if (smoothed && scale != 0)
        NAME(smoothing_rows)(dz, lddz, targets, ldt, weights, loss, constant, scale, units, samples);
    return sum;
}

/* Net inputs become predictions, in place. */
FUNCTION void NAME(transform_rows)(REAL *z, Size ld, int loss, Size units, Size lanes)
{
    if (loss == BINARY_CROSS_ENTROPY)
        for (Size k = 0; k < units; k++)
            NAME(activate)(z + k * ld, SIGMOID, 0, lanes, z + k * ld);
    if (loss == POISSON)
        for (Size k = 0; k < units; k++)
            NAME(elementwise)(z + k * ld, ONLY_EXP, lanes, z + k * ld);
    if (loss != CROSS_ENTROPY)
        return;
    for (Size first = 0; first < lanes; first += SCRATCH) {
        REAL top[SCRATCH], total[SCRATCH];
        Size n = lanes - first < SCRATCH ? lanes - first : SCRATCH;
        NAME(maximum)(z + first, ld, units, n, top);
        memset(total, 0, sizeof(total));
        for (Size k = 0; k < units; k++) {
            REAL *row = z + k * ld + first;
            LANES_LOOP for (Size s = 0; s < n; s++)
            {
                row[s] = NAME(softmax_exp)(row[s] - top[s]);
                total[s] += row[s];
            }
        }
        for (Size k = 0; k < units; k++) {
            REAL *row = z + k * ld + first;
            LANES_LOOP for (Size s = 0; s < n; s++) row[s] /= total[s];
        }
    }
}

/* --- parameters ---------------------------------------------------------------------------------- */

/* One step for n parameters; rate is the step size, shrink the decay's factor. */
FUNCTION void NAME(update_range)(const REAL *RESTRICT grads, double l2_, double shrink_, int rule,
                                 const double *constants, double rate_, Size n,
                                 REAL *RESTRICT params, REAL *RESTRICT state0,
                                 REAL *RESTRICT state1)
{
    const REAL l2 = (REAL)l2_, shrink = (REAL)shrink_, rate = (REAL)rate_;
    const REAL c0 = (REAL)constants[0], c1 = (REAL)constants[1], epsilon = (REAL)constants[2];
    /* 1 - constant in double, as its rounding would show */
    const REAL d0 = (REAL)(1 - constants[0]), d1 = (REAL)(1 - constants[1]);
    if (rule == SGD && constants[0] == 0) {
        for (Size i = 0; i < n; i++)
            params[i] = params[i] * shrink - rate * (grads[i] + l2 * params[i]);
    } else if (rule == SGD) {
        /* with Nesterov's form the step goes c0 v - rate g instead of v */
        const REAL of_v = constants[1] != 0 ? c0 : 1, of_step = constants[1] != 0 ? 1 : 0;
        for (Size i = 0; i < n; i++) {
            REAL step = rate * (grads[i] + l2 * params[i]);
            REAL v = c0 * state0[i] - step;
            state0[i] = v;
            params[i] = params[i] * shrink + (of_v * v - of_step * step);
        }
    } else if (rule == ADAM) {
        for (Size i = 0; i < n; i++) {
            REAL g = grads[i] + l2 * params[i];
            REAL m = c0 * state0[i] + d0 * g;
            REAL v = c1 * state1[i] + d1 * g * g;
            state0[i] = m;
            state1[i] = v;
            params[i] = params[i] * shrink - rate * m / (MATH(sqrt)(v) + epsilon);
        }
    } else {
        const int adagrad = rule == ADAGRAD;
        const REAL keep = adagrad ? 1 : c0, take = adagrad ? 1 : d0, eps = adagrad ? c0 : c1;
        for (Size i = 0; i < n; i++) {
            REAL g = grads[i] + l2 * params[i];
            REAL v = keep * state0[i] + take * g * g;
            state0[i] = v;
            params[i] = params[i] * shrink - rate * g / (MATH(sqrt)(v) + eps);
        }
    }
}

/* Ask for n numbers that will be written: another core may have copies of them. */
FUNCTION void NAME(fetch_range)(const REAL *x, Size n)
{
    for (Size i = 0; i < n; i += FETCHED)
        FETCH_TO_WRITE(x + i);
}

/* out += x */
FUNCTION void NAME(add_to)(const REAL *RESTRICT x, Size n, REAL *RESTRICT out)
{
    for (Size i = 0; i < n; i++)
        out[i] += x[i];
}

/* Clip to -limit and limit. */
FUNCTION void NAME(clip_entries)(REAL *grads, double limit, Size n)
{
    const REAL high = (REAL)limit;
    for (Size i = 0; i < n; i++) {
        REAL g = grads[i] > high ? high : grads[i];
        grads[i] = g < -high ? -high : g;
    }
}

/* x = factor x */
FUNCTION void NAME(scale_range)(REAL *x, double factor_, Size n)
{
    const REAL factor = (REAL)factor_;
    for (Size i = 0; i < n; i++)
        x[i] *= factor;
}

/* out = keep out + (1 - keep) params */
FUNCTION void NAME(average_range)(const REAL *RESTRICT params, double keep, Size n,
                                  REAL *RESTRICT out)
{
    const REAL kept = (REAL)keep, new_ = (REAL)(1 - keep);
    for (Size i = 0; i < n; i++)
        out[i] = kept * out[i] + new_ * params[i];
}

/* out += factor x */
FUNCTION void NAME(add_scaled)(const REAL *RESTRICT x, double factor, Size n, REAL *RESTRICT out)
{
    const REAL f = (REAL)factor;
    for (Size i = 0; i < n; i++)
        out[i] += f * x[i];
}

/* In double. */
FUNCTION double NAME(sum_of_squares)(const REAL *x, Size n)
{
    double sum = 0;
    SUM_LOOP(sum)
    for (Size i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

/* Sum of x[order[first]], x[order[first + 1]], ... or of x[first], ... if order is NULL; in
 * double. */
FUNCTION double NAME(sum_range)(const REAL *x, const int64_t *order, Size first, Size n)
{
    double sum = 0;
    for (Size i = first; i < first + n; i++)
        sum += (double)x[order ? order[i] : i];
    return sum;
}

#undef POLYNOMIAL
#undef MAGIC
#undef SIGN
#undef VEC
#undef V
#undef LOAD
#undef STORE
#undef QUADS
#undef QUAD

#endif
