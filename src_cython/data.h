/* Copying of data to and from scratch memory. */
#ifndef FASTNN_DATA_H
#define FASTNN_DATA_H

#include "platform.h"

#define GATHERED 16 /* rows gathered at a time: a cache line of floats */

/* Fill row j of out with b[j], to which BLAS then adds. */
NOINLINE void fill_rows(const real *b, Size rows, Size padded, Matrix out)
{
    for (Size j = 0; j < rows; j++) {
        const real value = b[j];
        for (Size s = 0; s < padded; s++)
            out.p[j * out.ld + s] = value;
    }
}

/* Copy `samples` columns and repeat the last one up to `padded`, so that the padding lanes are as
 * finite as the data; their weights are zero. */
NOINLINE void copy_rows(Matrix x, Size rows, Size samples, Size padded, Matrix out)
{
    for (Size i = 0; i < rows; i++, x.p += x.ld, out.p += out.ld) {
        memcpy(out.p, x.p, (size_t)samples * sizeof(real));
        for (Size s = samples; s < padded; s++)
            out.p[s] = x.p[samples - 1];
    }
}

/* Rows of a (samples, features) matrix: order[first], order[first + 1], ..., or first, first + 1,
 * ... if order is NULL. */
typedef struct {
    const int64_t *order;
    Size first, samples;
} Rows;

/* Copy rows to the columns of out, (features, padded). The last row is repeated up to a multiple of
 * GATHERED, to which blocks are padded. */
#define GATHER(function, SOURCE)                                                                  \
    NOINLINE void function(Matrix out, const SOURCE *RESTRICT source, Size features, Rows rows,   \
                           Size padded)                                                           \
    {                                                                                             \
        const int64_t *RESTRICT order = rows.order;                                               \
        for (Size start = 0; start < padded; start += GATHERED) {                                 \
            const SOURCE *row[GATHERED];                                                          \
            for (Size k = 0; k < GATHERED; k++) {                                                 \
                const Size s = rows.first + minimum(start + k, rows.samples - 1);                 \
                row[k] = source + (order ? order[s] : s) * features;                              \
            }                                                                                     \
            real *RESTRICT line = out.p + start;                                                  \
            for (Size f = 0; f < features; f++, line += out.ld)                                   \
                UNROLL for (Size k = 0; k < GATHERED; k++) line[k] = (real)row[k][f];             \
        }                                                                                         \
    }
GATHER(gather, real)
GATHER(gather_bytes, uint8_t)
#undef GATHER

/* Convert the rows from `first` up to `last` of a (samples, features) matrix to CSR; row s starts
 * at indptr[s]. All values are written without a branch, and a zero is overwritten by the value
 * after it. The last rows write only nonzero values, since the memory beyond them belongs to
 * another thread or to no array. */
NOINLINE void compress_rows(const real *x, Size features, Size first, Size last,
                            const int64_t *indptr, int32_t *RESTRICT indices,
                            real *RESTRICT values)
{
    for (Size s = first; s < last; s++) {
        const real *row = x + s * features;
        Size k = indptr[s];
        if (indptr[s + 1] < indptr[last])
            for (Size f = 0; f < features; f++) {
                indices[k] = (int32_t)f;
                values[k] = row[f];
                k += row[f] != 0;
            }
        else
            for (Size f = 0; f < features; f++)
                if (row[f] != 0) {
                    indices[k] = (int32_t)f;
                    values[k++] = row[f];
                }
    }
}

/* Whether all elements are finite. An OR of comparisons can be reordered, and so vectorised. */
NOINLINE int all_finite(const real *x, Size n)
{
    int bad = 0;
    for (Size i = 0; i < n; i++)
        bad |= !(x[i] - x[i] == 0);
    return !bad;
}

#endif
