/* Vectors of reals: loads, shuffles, horizontal sums, and a transpose by shuffles. */
#ifndef FASTNN_VECTOR_H
#define FASTNN_VECTOR_H

#include "platform.h"

/* An unaligned vector; a single number if the compiler has no vector types. */
#if VECTOR_BYTES
typedef real Vec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));
#else
typedef real Vec;
#endif
#define V ((Size)(sizeof(Vec) / sizeof(real)))
#define LOAD(p) (*(const Vec *)(p))
#define STORE(p, value) (*(Vec *)(p) = (value))

/* Shuffles work on quads of four reals; a vector has V / 4 of them. */
#define QUADS_IN_VECTOR (VECTOR_BYTES / (REAL_IS_DOUBLE ? 32 : 16))
#define QUADS 0
#if QUADS_IN_VECTOR > 0 && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#undef QUADS
#define QUADS 1
#endif
#endif

#if QUADS
typedef real Quad __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));

/* The same shuffle in each quad, given by the indices for the first quad. */
#if QUADS_IN_VECTOR == 1
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#elif QUADS_IN_VECTOR == 2
#define SHUFFLE(a, b, i, j, k, l)                                                                 \
    __builtin_shufflevector(a, b, i, j, k, l, (i) + 4, (j) + 4, (k) + 4, (l) + 4)
#else
#define SHUFFLE(a, b, i, j, k, l)                                                                 \
    __builtin_shufflevector(a, b, i, j, k, l, (i) + 4, (j) + 4, (k) + 4, (l) + 4, (i) + 8,        \
                            (j) + 8, (k) + 8, (l) + 8, (i) + 12, (j) + 12, (k) + 12, (l) + 12)
#endif

/* Sums of adjacent elements: in each quad two sums of a, then two sums of b. */
INLINE Vec add_pairs(Vec a, Vec b)
{
    return SHUFFLE(a, b, 0, 2, V, V + 2) + SHUFFLE(a, b, 1, 3, V + 1, V + 3);
}

/* One quad from each of the rows 0, 4, 8, ... of a matrix. */
INLINE Vec load_quads(const real *x, Size ldx)
{
    const Quad first = *(const Quad *)x;
#if QUADS_IN_VECTOR == 1
    return (void)ldx, (Vec)first;
#else
    const Quad second = *(const Quad *)(x + 4 * ldx);
#if QUADS_IN_VECTOR == 2
    return (Vec)__builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7);
#else
    const Quad third = *(const Quad *)(x + 8 * ldx), fourth = *(const Quad *)(x + 12 * ldx);
    return (Vec)__builtin_shufflevector(
        __builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7),
        __builtin_shufflevector(third, fourth, 0, 1, 2, 3, 4, 5, 6, 7), 0, 1, 2, 3, 4, 5, 6, 7, 8,
        9, 10, 11, 12, 13, 14, 15);
#endif
#endif
}

/* Sum of the quads of a vector. */
INLINE Quad fold_quads(Vec vector)
{
    Quad parts[V / 4];
    memcpy(parts, &vector, sizeof(vector));
    UNROLL for (int half = (int)V / 8; half > 0; half /= 2) UNROLL for (int i = 0; i < half; i++)
        parts[i] += parts[i + half];
    return parts[0];
}
#endif

/* Sum over the lanes of a vector: adjacent pairs, then pairs of these sums, then halves. */
INLINE real horizontal_sum(Vec vector)
{
#if QUADS
    vector = add_pairs(vector, vector);
    return fold_quads(add_pairs(vector, vector))[0];
#else
    real parts[V];
    memcpy(parts, &vector, sizeof(vector));
    for (int step = 1; step < V; step *= 2)
        UNROLL for (int i = 0; i + step < V; i += 2 * step) parts[i] += parts[i + step];
    return parts[0];
#endif
}

/* out[k] = horizontal sum of vectors[k], or is increased by it if `accumulate`; the bits are those
 * of horizontal_sum. Four sums share every addition. */
INLINE void horizontal_sums(const int n, const Vec *vectors, int accumulate, real *out)
{
    int k = 0;
#if QUADS
    UNROLL for (; k + 2 <= n; k += 4)
    {
        const int rest = n - k < 4 ? n - k : 4;
        Vec a = add_pairs(vectors[k], vectors[k + 1]);
        Vec b = add_pairs(vectors[rest > 2 ? k + 2 : k], vectors[rest > 3 ? k + 3 : k]);
        Quad sums = fold_quads(add_pairs(a, b));
        if (rest == 4) {
            if (accumulate)
                sums += *(const Quad *)(out + k);
            *(Quad *)(out + k) = sums;
            continue;
        }
        UNROLL for (int i = 0; i < rest; i++)
            out[k + i] = accumulate ? out[k + i] + sums[i] : sums[i];
    }
#endif
    UNROLL for (; k < n; k++)
    {
        real sum = horizontal_sum(vectors[k]);
        out[k] = accumulate ? out[k] + sum : sum;
    }
}

/* out[c][r] = x[r][c], plus start[c] unless that is NULL. */
NOINLINE void transpose(const real *x, Size ldx, Size rows, Size columns, const real *start,
                        real *out, Size ldo)
{
    Size r = 0;
#if QUADS
    for (; r + V <= rows; r += V, x += V * ldx) {
        Size c = 0;
        for (; c + 4 <= columns; c += 4) {
            const Vec a = load_quads(x + c, ldx), b = load_quads(x + ldx + c, ldx);
            const Vec e = load_quads(x + 2 * ldx + c, ldx);
            const Vec f = load_quads(x + 3 * ldx + c, ldx);
            const Vec ab = SHUFFLE(a, b, 0, V, 1, V + 1), ab2 = SHUFFLE(a, b, 2, V + 2, 3, V + 3);
            const Vec ef = SHUFFLE(e, f, 0, V, 1, V + 1), ef2 = SHUFFLE(e, f, 2, V + 2, 3, V + 3);
            const Vec columns_of[4] = {
                SHUFFLE(ab, ef, 0, 1, V, V + 1), SHUFFLE(ab, ef, 2, 3, V + 2, V + 3),
                SHUFFLE(ab2, ef2, 0, 1, V, V + 1), SHUFFLE(ab2, ef2, 2, 3, V + 2, V + 3)};
            UNROLL for (int k = 0; k < 4; k++)
                STORE(out + (c + k) * ldo + r, columns_of[k] + (start ? start[c + k] : 0));
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

#endif
