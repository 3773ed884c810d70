/* Products of narrow layers, whose matrices fit into the caches without packing.
 *
 * Every inner loop runs along the samples, except in the functions for few samples at the end,
 * whose loops run along the units.
 */
#ifndef FASTNN_PRODUCTS_H
#define FASTNN_PRODUCTS_H

#include "vector.h"

#define INPUTS 256 /* inputs at a time: the rows of x that fit into the first-level cache */

/* Weights with their strides: w[i * stride_in + j * stride_out], also transposed. */
typedef struct {
    const real *w;
    Size stride_in, stride_out;
} StridedWeights;

/* out[j] = start + sum over i of w[i * stride_in + j * stride_out] x[i] for `rows` rows j and
 * `vectors` vectors of samples. The sums stay in registers over all inputs; rows and vectors are
 * compile-time constants at each call. `start` is b, or zero if b is NULL, or the old value of out
 * if `from_out`. */
INLINE void product_tile(const int rows, const int vectors, Matrix x, StridedWeights w,
                         const real *b, int from_out, Size n_in, Matrix out)
{
    Vec sums[4][4];
    UNROLL for (int j = 0; j < rows; j++) UNROLL for (int v = 0; v < vectors; v++)
    {
        if (from_out)
            sums[j][v] = LOAD(out.p + j * out.ld + v * V);
        else
            sums[j][v] = (Vec){0} + (b ? b[j] : 0);
    }
    for (Size i = 0; i < n_in; i++) {
        Vec xs[4];
        UNROLL for (int v = 0; v < vectors; v++) xs[v] = LOAD(x.p + v * V);
        UNROLL for (int j = 0; j < rows; j++)
        {
            real factor = w.w[j * w.stride_out];
            UNROLL for (int v = 0; v < vectors; v++) sums[j][v] += factor * xs[v];
        }
        x.p += x.ld;
        w.w += w.stride_in;
    }
    UNROLL for (int j = 0; j < rows; j++) UNROLL for (int v = 0; v < vectors; v++)
        STORE(out.p + j * out.ld + v * V, sums[j][v]);
}

/* The same for all samples, with eight independent sums to hide the latency of an addition, four
 * cycles. */
INLINE void product_rows(const int rows, Matrix x, StridedWeights w, const real *b, int from_out,
                         Size n_in, Size padded, Matrix out)
{
    Size s = 0;
#define VECTORS(vectors)                                                                          \
    product_tile(rows, vectors, (Matrix){x.p + s, x.ld}, w, b, from_out, n_in,                    \
                 (Matrix){out.p + s, out.ld})
    if (rows <= 2)
        for (; s + 4 * V <= padded; s += 4 * V)
            VECTORS(4);
    for (; s + 2 * V <= padded; s += 2 * V)
        VECTORS(2);
    if (s < padded)
        VECTORS(1);
#undef VECTORS
}

/* The same for all samples and rows, four rows at a time. */
INLINE void product_loops(Matrix x, StridedWeights w, const real *b, Size n_in, Size n_out,
                          Size padded, Matrix out)
{
    for (Size first = 0; first < n_in; first += INPUTS) {
        const Size n = n_in - first < INPUTS ? n_in - first : INPUTS;
        const Matrix xs = {x.p + first * x.ld, x.ld};
        const int from_out = first > 0;
        Size j = 0;
#define ROWS(rows)                                                                                \
    product_rows(rows, xs,                                                                        \
                 (StridedWeights){w.w + first * w.stride_in + j * w.stride_out, w.stride_in,      \
                                  w.stride_out},                                                  \
                 b ? b + j : b, from_out, n, padded, (Matrix){out.p + j * out.ld, out.ld})
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

/* out = w.T x + b, where w is (n_in, n_out). One of the strides of w is a constant in each of these
 * two functions, since the loops have no register left for another.
 *
 * Structs of more than 16 bytes would be passed in memory, which GCC copies with vector loads that
 * wait for the stores of the members (about 5 ns per call). */
NOINLINE void product(Matrix x, Matrix w, const real *b, Size n_in, Size n_out, Size padded,
                      Matrix out)
{
    product_loops(x, (StridedWeights){w.p, w.ld, 1}, b, n_in, n_out, padded, out);
}

/* out = w x, where w is (n_out, n_in). */
NOINLINE void product_transposed(Matrix x, Matrix w, Size n_in, Size n_out, Size padded, Matrix out)
{
    product_loops(x, (StridedWeights){w.p, 1, w.ld}, NULL, n_in, n_out, padded, out);
}

/* dw[i][j] = sum over the samples of x[i] dz[j], for rows_x rows i and rows_dz rows j; and if
 * `biases`, db[j] = sum of dz[j]. */
INLINE void outer_product_tile(const int rows_x, const int rows_dz, const int biases, Matrix x,
                               Matrix dz, int accumulate, Size padded, Matrix dw, real *db)
{
    Vec sums[4][4], bias_sums[4];
    UNROLL for (int j = 0; j < rows_dz; j++)
    {
        UNROLL for (int i = 0; i < rows_x; i++) sums[i][j] = (Vec){0};
        bias_sums[j] = (Vec){0};
    }
    for (Size s = 0; s < padded; s += V) {
        Vec xs[4];
        UNROLL for (int i = 0; i < rows_x; i++) xs[i] = LOAD(x.p + i * x.ld + s);
        UNROLL for (int j = 0; j < rows_dz; j++)
        {
            Vec d = LOAD(dz.p + j * dz.ld + s);
            UNROLL for (int i = 0; i < rows_x; i++) sums[i][j] += xs[i] * d;
            if (biases)
                bias_sums[j] += d;
        }
    }
    UNROLL for (int i = 0; i < rows_x; i++)
        horizontal_sums(rows_dz, sums[i], accumulate, dw.p + i * dw.ld);
    if (biases)
        horizontal_sums(rows_dz, bias_sums, accumulate, db);
}

/* dw = x dz.T and, unless db is NULL, db = sum of dz over the samples, computed together with the
 * first rows of x. With two by four sums, additions would wait for each other; three by four sums
 * just fit into sixteen registers. */
NOINLINE void outer_product(Matrix x, Matrix dz, int accumulate, Size n_in, Size n_out, Size padded,
                    real *dw, real *db)
{
    Size i = 0;
#define TILE(rows_x, rows_dz, biases)                                                             \
    outer_product_tile(rows_x, rows_dz, biases, (Matrix){x.p + i * x.ld, x.ld},                   \
               (Matrix){dz.p + j * dz.ld, dz.ld}, accumulate, padded,                             \
               (Matrix){dw + i * n_out + j, n_out}, db + j)
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
    if (n_out <= 2) /* four by two: also eight sums */
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

/* db = sum of dz over the samples, for functions that compute only dw. */
NOINLINE void row_sums(Matrix dz, int accumulate, Size n_out, Size padded, real *db)
{
    for (Size j = 0; j < n_out; j++, dz.p += dz.ld) {
        Vec even = {0}, odd = {0};
        Size s = 0;
        for (; s + 2 * V <= padded; s += 2 * V) {
            even += LOAD(dz.p + s);
            odd += LOAD(dz.p + s + V);
        }
        if (s < padded)
            even += LOAD(dz.p + s);
        real sum = horizontal_sum(even + odd);
        db[j] = accumulate ? db[j] + sum : sum;
    }
}

/* Up to four samples of out = b + x w, where x and out are (samples, units): every weight is read
 * once for all samples. The products are added in the order of the inputs, as for many samples. The
 * rows of out are separate pointers, so that RESTRICT tells the compiler that they do not overlap. */
INLINE void few_samples_tile(const int rows, const real *RESTRICT x, Matrix weights,
                     const real *RESTRICT b, Size n_in, Size n_out, real *RESTRICT out,
                     real *RESTRICT out1, real *RESTRICT out2, real *RESTRICT out3)
{
    const real *x1 = x + n_in, *x2 = x + 2 * n_in, *x3 = x + 3 * n_in;
    const real *RESTRICT w = weights.p;
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
    for (; i + 4 <= n_in; i += 4, w += 4 * weights.ld) {
        const real *w1 = w + weights.ld, *w2 = w1 + weights.ld, *w3 = w2 + weights.ld;
#define ADD(out, x)                                                                               \
    out[j] = (((out[j] + x[i] * w[j]) + x[i + 1] * w1[j]) + x[i + 2] * w2[j]) + x[i + 3] * w3[j]
        for (Size j = 0; j < n_out; j++) {
            ADD(out, x);
            if (rows > 1)
                ADD(out1, x1);
            if (rows > 2)
                ADD(out2, x2);
            if (rows > 3)
                ADD(out3, x3);
        }
#undef ADD
    }
    for (; i < n_in; i++, w += weights.ld)
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

/* out = b + x w for few samples, where x and out are (samples, units): the loops run along the
 * outputs, since the rows of the weights are contiguous. */
NOINLINE void few_samples_product(const real *x, Matrix w, const real *b, Size samples, Size n_in,
                                  Size n_out, real *out)
{
#define ROWS(rows)                                                                                \
    few_samples_tile(rows, x, w, b, n_in, n_out, out, out + n_out, out + 2 * n_out, out + 3 * n_out)
    for (; samples >= 4; samples -= 4, x += 4 * n_in, out += 4 * n_out)
        ROWS(4);
    switch (samples) {
    case 3: ROWS(3); break;
    case 2: ROWS(2); break;
    case 1: ROWS(1); break;
    }
#undef ROWS
}

/* out[i] = sum over j of w[i][j] x[j] for `rows` rows i. */
INLINE void dot_rows(const int rows, const real *x, Matrix w, Size n, real *out)
{
    Vec sums[4];
    Size j = 0;
    UNROLL for (int i = 0; i < rows; i++) sums[i] = (Vec){0};
    for (; j + V <= n; j += V)
        UNROLL for (int i = 0; i < rows; i++) sums[i] += LOAD(w.p + i * w.ld + j) * LOAD(x + j);
    horizontal_sums(rows, sums, 0, out);
    for (; j < n; j++)
        UNROLL for (int i = 0; i < rows; i++) out[i] += w.p[i * w.ld + j] * x[j];
}

/* out = w x for one sample, where w is (n_out, n_in). */
NOINLINE void one_sample_transposed(const real *x, Matrix w, Size n_in, Size n_out, real *out)
{
    Size i = 0;
    for (; i + 4 <= n_out; i += 4)
        dot_rows(4, x, (Matrix){w.p + i * w.ld, w.ld}, n_in, out + i);
    for (; i < n_out; i++)
        dot_rows(1, x, (Matrix){w.p + i * w.ld, w.ld}, n_in, out + i);
}

/* dw = x dz.T for one sample. */
NOINLINE void one_sample_outer(const real *x, const real *dz, Size n_in, Size n_out,
                               real *RESTRICT dw)
{
    for (Size i = 0; i < n_in; i++, dw += n_out)
        for (Size j = 0; j < n_out; j++)
            dw[j] = x[i] * dz[j];
}

#endif
