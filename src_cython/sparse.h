/* Products with a factor that is mostly zero: sparse input (CSR), and inactive ReLU units.
 *
 * The loops run along the units: each nonzero value is multiplied by a row of a matrix. The stored
 * values of CSR sample s are values[indptr[s]] to values[indptr[s + 1] - 1], each with its column,
 * in ascending order. A wide layer's inputs or derivatives (activation sparsity) are dense
 * matrices; non-zero masks, computed for every block, have a bit for each value: by sample for the
 * forward pass and the input gradient, by input for the weight gradient.
 */
#ifndef FASTNN_SPARSE_H
#define FASTNN_SPARSE_H

#include "packed.h"

#define MASK_BITS 64 /* values per mask */
/* Vectors of sums in registers. The part of the weights that they need, MASK_BITS rows of 384 or
 * 512 bytes, fits into the first-level cache. */
#define MAX_SUMS (VECTOR_BYTES > 32 ? 8 : 12)
#define SPARSE_UNITS (VECTOR_BYTES > 16 ? MAX_SUMS * VECTOR_BYTES / 4 : 48)
/* Density in percent from which computing with zeros is faster than skipping them. */
#define DENSE_PERCENT 75

/* A block of CSR samples: order[first], order[first + 1], ..., or first, first + 1, ... if order is
 * NULL. `part_ends`, unless NULL, divides the columns into parts of MASK_BITS:
 * part_ends[part][sample] is the number of a sample's stored values up to the end of a part. */
typedef struct {
    const real *values;
    const int32_t *indices; /* NULL: the data are not sparse */
    const int64_t *indptr, *order;
    Size first, samples;
    int32_t *part_ends;
} CsrBlock;

INLINE Size csr_row(const CsrBlock *x, Size s)
{
    return x->order ? x->order[x->first + s] : x->first + s;
}

/* Compute the splits of the samples from `start` up to `stop`. */
NOINLINE void find_part_ends(const CsrBlock *x, Size columns, Size start, Size stop)
{
    for (Size s = start; s < stop; s++) {
        const Size row = csr_row(x, s);
        const int32_t *stored = x->indices + x->indptr[row];
        const Size n = x->indptr[row + 1] - x->indptr[row];
        Size k = 0;
        for (Size part = 0; part * MASK_BITS < columns; part++) {
            while (k < n && stored[k] < (part + 1) * MASK_BITS)
                k++;
            x->part_ends[part * x->samples + s] = (int32_t)k;
        }
    }
}

/* --- sums of rows --------------------------------------------------------------------------- */

/* A sum of rows of a matrix, each multiplied by a value: value k belongs to row rows[k], k < n, or,
 * if `rows` is NULL, to row k if bit k of `mask` is set. The matrix consists of panels of two
 * vectors, `panel` apart; whole vectors of it are read. */
typedef struct {
    const real *values;
    const int32_t *rows;
    Size n;
    uint64_t mask;
    const real *matrix;
    Size ld, panel;
} WeightedRows;

/* out = sum of value times row, added to out if `accumulate`, for a few vectors of columns; the
 * sums stay in registers. Only `rest` elements of the last vector are written, or all if 0. */
INLINE void weighted_rows_tile(const int vectors, Size rest, const WeightedRows x, int accumulate,
                               real *out)
{
    Vec sums[12];
    UNROLL_ROWS for (int v = 0; v < vectors; v++)
        sums[v] = accumulate ? LOAD(out + v * V) : (Vec){0};
    uint64_t mask = x.mask;
    for (Size k = 0; x.rows ? k < x.n : mask != 0; k++, mask &= x.rows ? mask : mask - 1) {
        const Size offset = x.rows ? k : lowest_bit(mask);
        const real value = x.values[offset];
        const real *row = x.matrix + (x.rows ? x.rows[k] : offset) * x.ld;
        KEEP_IN_REGISTER(row);
        UNROLL_ROWS for (int v = 0; v < vectors; v++)
            sums[v] += value * LOAD(row + v / 2 * x.panel + v % 2 * V);
    }
    UNROLL_ROWS for (int v = 0; v < vectors; v++)
        if (v < vectors - 1 || rest == 0)
            STORE(out + v * V, sums[v]);
    if (rest > 0)
        memcpy(out + (vectors - 1) * V, &sums[vectors - 1], (size_t)rest * sizeof(real));
}

/* The same for up to MAX_SUMS vectors of columns. */
INLINE void weighted_rows(const WeightedRows x, int accumulate, Size columns, real *out)
{
    if (columns == 8 * V) { /* the usual case; with few terms the cost of the switch would show */
        weighted_rows_tile(8, 0, x, accumulate, out);
        return;
    }
#define VECTORS(vectors)                                                                          \
    case vectors:                                                                                 \
        weighted_rows_tile(vectors, columns % V, x, accumulate, out);                             \
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
#if MAX_SUMS > 8
        VECTORS(9);
        VECTORS(10);
        VECTORS(11);
        VECTORS(12);
#endif
    }
#undef VECTORS
}

/* --- products with rows of samples ------------------------------------------------------------ */

/* The first factor, (samples, inputs): CSR, or for each part of MASK_BITS inputs the dense values
 * (parts, samples, MASK_BITS) and the masks (parts, samples). */
typedef struct {
    const CsrBlock *csr; /* NULL: masks */
    const real *values;
    const uint64_t *masks;
    Size samples, padded;
} SparseRows;

/* The second factor: weights (n_in, n_out), or transposed (n_out, n_in), and biases or NULL. */
typedef struct {
    const real *w, *b;
    Size n_in, n_out;
    int transposed;
} SparseWeights;

/* Transpose a part of a matrix. A few rows at a time are copied first, since transpose would fetch
 * cache lines several times if the rows alias in the cache. */
NOINLINE void transpose_part(const real *x, Size ldx, Size rows, Size columns, real *out, Size ldo)
{
    real lines[2 * V][MASK_BITS + 8];
    for (Size r = 0; r < rows; r += 2 * V) {
        const Size some = rows - r < 2 * V ? rows - r : 2 * V;
        for (Size k = 0; k < some; k++, x += ldx) {
            if (columns == MASK_BITS)
                memcpy(lines[k], x, MASK_BITS * sizeof(real));
            else
                memcpy(lines[k], x, (size_t)columns * sizeof(real));
        }
        transpose(lines[0], MASK_BITS + 8, some, columns, NULL, out + r, ldo);
    }
}

/* Copy the weights of up to MASK_BITS inputs from `input` on for a range of units, to rows of
 * `wide` elements, a multiple of V. Whole vectors may be read past the last weight, since the
 * biases follow, as many as a row has weights. */
INLINE void copy_weights(SparseWeights w, Size input, Size inputs, Size unit, Size units, Size wide,
                         real *copy)
{
    if (w.transposed) {
        transpose_part(w.w + unit * w.n_in + input, w.n_in, units, inputs, copy, wide);
        return;
    }
    for (Size i = 0; i < inputs; i++) {
        /* vector by vector, since gcc would compile a memcpy to a slow "rep movs" */
        const real *row = w.w + (input + i) * w.n_out + unit;
        if (wide == MAX_SUMS * V)
            UNROLL_ROWS for (int v = 0; v < MAX_SUMS; v++)
                STORE(copy + (i * MAX_SUMS + v) * V, LOAD(row + v * V));
        else
            for (Size j = 0; j < wide; j += V)
                STORE(copy + i * wide + j, LOAD(row + j));
    }
}

#define LONG_TILE (8 * V) /* units whose weights for all inputs fit into the second-level cache */

/* Net inputs of a block for the units from `unit` up to `last`, in tiles of about equal width;
 * `scratch` takes one tile for all samples. Padding lanes get the biases. With masks or part ends,
 * the inputs are processed in parts, whose weights are copied so that they fit into the first-level
 * cache: the rows of a wide layer would alias in place. */
NOINLINE void sparse_product(const SparseRows *x, SparseWeights w, Size unit, Size last,
                             real *scratch, Matrix out)
{
    _Alignas(64) real copy[MASK_BITS * MAX_SUMS * V];
    const CsrBlock *csr = x->csr;
    const int32_t *part_ends = csr ? csr->part_ends : NULL;
    const int parts = part_ends || x->masks;
    const Size width = parts ? MASK_BITS : w.n_in, most = parts ? MAX_SUMS * V : LONG_TILE;
    const Size samples = x->samples;
    Size units;
    for (Size start = unit; start < last; start += units) {
        const Size tiles = (last - start + most - 1) / most;
        units = ((last - start + tiles - 1) / tiles + V - 1) / V * V;
        const Size wide = units;
        if (units > last - start)
            units = last - start;
        for (Size input = 0; input < w.n_in; input += width) {
            if (parts)
                copy_weights(w, input, minimum(w.n_in - input, width), start, units, wide, copy);
            /* prefetch the next part of these units, or the first part of the next tile */
            const int more = input + width < w.n_in;
            const Size next = more ? input + width : 0, there = more ? start : start + units;
            Prefetch ahead
                = w.transposed
                      ? prefetch_of(w.w + there * w.n_in + next, w.n_in, units, MASK_BITS)
                      : prefetch_of(w.w + next * w.n_out + there, w.n_out, MASK_BITS, units);
            const Size rate = parts ? lines_per_step(ahead, samples) : 0;
            const Size part = input / width * samples;
            for (Size s = 0; s < samples; s++) {
                prefetch_lines(&ahead, rate);
                real *sums = scratch + s * units;
                if (x->masks) {
                    if (x->masks[part + s] != 0 || input == 0)
                        weighted_rows((WeightedRows){x->values + (part + s) * MASK_BITS, NULL, 0,
                                                     x->masks[part + s], copy, wide, 2 * V},
                                      input > 0, units, sums);
                    continue;
                }
                const int64_t *ends = csr->indptr + csr_row(csr, s);
                const Size begin = ends[0] + (input > 0 ? part_ends[part - samples + s] : 0);
                const Size end = part_ends ? ends[0] + part_ends[part + s] : ends[1];
                if (begin < end || input == 0)
                    weighted_rows((WeightedRows){csr->values + begin, csr->indices + begin,
                                                 end - begin, 0,
                                                 part_ends ? copy - input * wide : w.w + start,
                                                 part_ends ? wide : w.n_out, 2 * V},
                                  input > 0, units, sums);
            }
        }
        transpose(scratch, units, samples, units, w.b ? w.b + start : NULL,
                  out.p + start * out.ld, out.ld);
        for (Size j = start; j < start + units; j++)
            for (Size s = samples; s < x->padded; s++)
                out.p[j * out.ld + s] = w.b[j];
    }
}
#undef LONG_TILE

/* --- non-zero masks --------------------------------------------------------------------------- */

/* Percentage of nonzero values of a matrix, estimated from every eighth row: a fixed sample, so
 * that the result depends on the values alone. */
NOINLINE int density_percent(Matrix x, Size rows, Size padded)
{
    Size numbers = 0, found = 0;
    for (Size r = 0; r < rows; r += 8, numbers += padded) {
        Bits count = 0;
        for (Size s = 0; s < padded; s++)
            count += x.p[r * x.ld + s] != 0;
        found += (Size)count;
    }
    return (int)(found * 100 / numbers);
}

/* Mask of at most MASK_BITS values: a bit is set if the value is not zero. */
INLINE uint64_t nonzero_mask(const real *x, Size n)
{
    uint64_t mask = 0;
    Size i = 0;
#if defined(__AVX512F__) && defined(__GNUC__) && !REAL_IS_DOUBLE
    for (; i + 16 <= n; i += 16)
        mask |= (uint64_t)_mm512_cmp_ps_mask(_mm512_loadu_ps(x + i), _mm512_setzero_ps(),
                                             _CMP_NEQ_UQ)
                << i;
#elif defined(__AVX2__) && defined(__GNUC__) && !REAL_IS_DOUBLE
    for (; i + 8 <= n; i += 8)
        mask |= (uint64_t)_mm256_movemask_ps(
                    _mm256_cmp_ps(_mm256_loadu_ps(x + i), _mm256_setzero_ps(), _CMP_NEQ_UQ))
                << i;
#endif
    for (; i < n; i++)
        mask |= (uint64_t)(x[i] != 0) << i;
    return mask;
}

/* For each part of MASK_BITS inputs (rows of x), make a transposed copy (parts, padded, MASK_BITS)
 * and the masks of the samples (parts, padded). Only for the inputs from `first`, the start of a
 * part, up to `last`. */
NOINLINE void masks_by_sample(Matrix x, Size first, Size last, Size padded, real *values,
                              uint64_t *masks)
{
    values += first * padded;
    masks += first / MASK_BITS * padded;
    for (Size input = first; input < last; input += MASK_BITS) {
        const Size width = minimum(last - input, MASK_BITS);
        transpose(x.p + input * x.ld, x.ld, width, padded, NULL, values, MASK_BITS);
        for (Size s = 0; s < padded; s++, values += MASK_BITS)
            *masks++ = nonzero_mask(values, width);
    }
}

/* Masks of the rows of x, one for each MASK_BITS samples: (rows, parts). */
NOINLINE void masks_by_row(Matrix x, Size rows, Size padded, uint64_t *masks)
{
    for (Size r = 0; r < rows; r++, x.p += x.ld)
        for (Size s = 0; s < padded; s += MASK_BITS)
            *masks++ = nonzero_mask(x.p + s, minimum(padded - s, MASK_BITS));
}

/* Packed panels as a factor of a gradient: element (s, c) is at
 * p + c / 2V * panel + s * ld + c % 2V. A plain matrix has panel = 2V and its leading dimension. */
typedef struct {
    const real *p;
    Size ld, panel;
} Panels;

/* dw = x dz.T for some rows of x with their masks, and panels of dz.T. The weights and moments of
 * `update` are prefetched. */
NOINLINE void masked_outer_product(Matrix x, const uint64_t *masks, Panels dz, int accumulate,
                                   Size rows, Size columns, Size padded, Matrix dw,
                                   UpdateRows update)
{
    const Size parts = (padded + MASK_BITS - 1) / MASK_BITS;
    for (Size c = 0; c < columns; c += MAX_SUMS * V, dz.p += MAX_SUMS / 2 * dz.panel) {
        const Size some = minimum(columns - c, MAX_SUMS * V);
        for (Size part = 0; part < parts; part++)
            for (Size r = 0; r < rows; r++) {
                if (part == 0)
                    prefetch_update(update, r, c, some);
                weighted_rows((WeightedRows){x.p + r * x.ld + part * MASK_BITS, NULL, 0,
                                             masks[r * parts + part],
                                             dz.p + part * MASK_BITS * dz.ld, dz.ld, dz.panel},
                              accumulate || part > 0, some, dw.p + r * dw.ld + c);
            }
    }
}

/* --- gradients of sparse input ---------------------------------------------------------------- */

/* Columns of a CSR block in CSC format: the values of the c-th column are values[ends[c - 1]] to
 * values[ends[c] - 1], each with its sample, in ascending order. */
typedef struct {
    real *values;
    int32_t *samples, *ends;
} CscBlock;

/* Position of a row's first stored value whose column is at least `column`. */
INLINE Size find_column(const CsrBlock *x, Size row, Size column)
{
    Size low = x->indptr[row], high = column > 0 ? x->indptr[row + 1] : low;
    while (low < high) {
        const Size middle = (low + high) / 2;
        if (x->indices[middle] < column)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Sort the stored values of the columns from `first` up to `last` by column. */
NOINLINE void sort_by_column(const CsrBlock *x, Size first, Size last, CscBlock *out)
{
    int32_t total = 0;
    /* variables, since the compiler would read a member again after each number that is stored */
    const int32_t *const indices = x->indices;
    const real *const values = x->values;
    int32_t *const ends = out->ends - first, *const out_samples = out->samples;
    real *const out_values = out->values;
    memset(out->ends, 0, (size_t)(last - first) * sizeof(int32_t));
    for (Size s = 0; s < x->samples; s++) {
        const Size row = csr_row(x, s), stop = x->indptr[row + 1];
        for (Size k = find_column(x, row, first); k < stop && indices[k] < last; k++)
            ends[indices[k]]++;
    }
    for (Size c = first; c < last; c++) {
        const int32_t count = ends[c];
        ends[c] = total;
        total += count;
    }
    for (Size s = 0; s < x->samples; s++) {
        const Size row = csr_row(x, s), stop = x->indptr[row + 1];
        for (Size k = find_column(x, row, first); k < stop && indices[k] < last; k++) {
            const int32_t offset = ends[indices[k]]++;
            out_values[offset] = values[k];
            out_samples[offset] = (int32_t)s;
        }
    }
}

/* dw = x dz.T for some columns of the input; `plain` makes the panel of dz a constant. */
INLINE void csc_outer_product_tiles(const int plain, const CscBlock *x, Size first, Size inputs,
                                    Panels dz, int accumulate, Size columns, Matrix dw,
                                    UpdateRows update)
{
    const real *values = x->values;
    const int32_t *samples = x->samples, *ends = x->ends + first;
    const Size panel = plain ? 2 * V : dz.panel;
    for (Size c = 0; c < columns; c += 8 * V, dz.p += 4 * panel) {
        const Size some = minimum(columns - c, 8 * V);
        Size begin = first > 0 ? ends[-1] : 0;
        for (Size i = 0; i < inputs; i++) {
            const Size end = ends[i];
            if (!plain)
                prefetch_update(update, i, c, some);
            weighted_rows((WeightedRows){values + begin, samples + begin, end - begin, 0, dz.p,
                                         dz.ld, panel},
                          accumulate, some, dw.p + i * dw.ld + c);
            begin = end;
        }
    }
}

/* The same; the first of the input's columns is column `first` of x. The weights and moments of
 * `update` are prefetched unless dz is a plain matrix. */
NOINLINE void csc_outer_product(const CscBlock *x, Size first, Size inputs, Panels dz,
                                int accumulate, Size columns, Matrix dw, UpdateRows update)
{
    if (dz.panel == 2 * V)
        csc_outer_product_tiles(1, x, first, inputs, dz, accumulate, columns, dw, update);
    else
        csc_outer_product_tiles(0, x, first, inputs, dz, accumulate, columns, dw, update);
}

#endif
