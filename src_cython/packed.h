/* Products of wide layers, by packed panels and a micro-kernel.
 *
 * out[r][c] = start + sum over i < n of a[r * a.row + i * a.sum] * b[i * b_sum + c * b_column]
 *
 * The three products of a layer all have this form, with either a.row or a.sum equal to one. The
 * columns of b are packed into panels of two vectors, in which the elements of one summand i are
 * contiguous, whatever the strides of b. The elements of a are broadcast, so that a need not be
 * packed. The loops are blocked by rows (MC) and summands (KC) as in Goto and van de Geijn,
 * "Anatomy of high-performance matrix multiplication", 2008.
 */
#ifndef FASTNN_PACKED_H
#define FASTNN_PACKED_H

#include "vector.h"

/* Not measured with narrower vectors, where wide layers use BLAS instead. */
#define PACKED_PRODUCTS (VECTOR_BYTES >= 32)
#define TILE_ROWS (VECTOR_BYTES == 64 ? 12 : 6) /* with two vectors each: sums fill the registers */
#define BLOCK_ROWS 96                           /* MC; with KC summands 96 KiB of floats */
#define BLOCK_SUMS 256                          /* KC */
#define PANEL_COLUMNS ((int)(2 * V))
#define PAGES 64 /* summands at a time if each is in another page: the entries of a small TLB */
#define COPY_LINE (BLOCK_SUMS + 16)
#define COPY_SIZE (TILE_ROWS * COPY_LINE)

/* The first factor of a product. */
typedef struct {
    const real *p;
    Size row, sum;
} Factor;

/* Weights and moments that a fused update will read after their gradient is computed: pointers to
 * those of the gradient's first element, or NULL if there is nothing to prefetch. The second moment
 * is at offset `second` from the first. */
typedef struct {
    const real *weights, *moments;
    Size ld, second;
} UpdateRows;

INLINE UpdateRows no_update(void) { return (UpdateRows){NULL, NULL, 0, 0}; }

/* Prefetch the moments for a range of rows and columns of a gradient. */
INLINE void prefetch_moments(UpdateRows u, Size row, Size rows, Size column, Size columns)
{
    if (u.moments == NULL)
        return;
    for (Size k = row; k < row + rows; k++)
        for (Size v = column; v < column + columns; v += LINE_REALS) {
            PREFETCH(u.moments + k * u.ld + v);
            PREFETCH(u.moments + k * u.ld + v + u.second);
        }
}

/* Prefetch the weights and moments of one row of a gradient. */
INLINE void prefetch_update(UpdateRows u, Size row, Size column, Size columns)
{
    if (u.weights)
        for (Size v = column; v < column + columns; v += LINE_REALS)
            PREFETCH(u.weights + row * u.ld + v);
    prefetch_moments(u, row, 1, column, columns);
}

/* Rows of a matrix that will be read next, and are prefetched during other work. */
typedef struct {
    const real *row; /* next row to prefetch */
    Size ld, rows;   /* leading dimension, remaining rows */
    Size lines, line; /* cache lines per row, next line of the row */
} Prefetch;

INLINE Prefetch prefetch_of(const real *row, Size ld, Size rows, Size columns)
{
    return (Prefetch){row, ld, rows, (columns + LINE_REALS - 1) / LINE_REALS, 0};
}

/* Lines per step such that all are prefetched within a number of steps. */
INLINE Size prefetch_rate(Prefetch p, Size steps)
{
    return (p.rows * p.lines + steps - 1) / steps;
}

/* Prefetch the next lines; nothing to do at the end of the matrix. */
INLINE void prefetch_lines(Prefetch *p, Size lines)
{
    for (; lines > 0 && p->rows > 0; lines--) {
        PREFETCH(p->row + p->line * LINE_REALS);
        if (++p->line == p->lines) {
            p->line = 0;
            p->row += p->ld;
            p->rows--;
        }
    }
}

/* Pack columns of b, panel by panel: 2 V contiguous elements for each of n summands. The last panel
 * is padded with zeros. */
FUNCTION void pack_columns(const real *b, Size b_sum, Size b_column, Size n, Size columns,
                           real *out)
{
    for (; columns > 0; columns -= 2 * V, b += 2 * V * b_column)
        if (columns >= 2 * V && b_column == 1)
            for (Size i = 0; i < n; i++, out += 2 * V)
                memcpy(out, b + i * b_sum, 2 * V * sizeof(real));
        else if (columns >= 2 * V && b_sum == 1) {
            transpose(b, b_column, 2 * V, n, NULL, out, 2 * V);
            out += n * 2 * V;
        } else
            for (Size i = 0; i < n; i++, out += 2 * V)
                for (Size k = 0; k < 2 * V; k++)
                    out[k] = k < columns ? b[i * b_sum + k * b_column] : 0;
}

/* The micro-kernel: one tile of TILE_ROWS rows and one or two vectors of columns. All rows of a are
 * read, but only `rows` and `columns` of the tile are written. The sums stay in registers; out is
 * prefetched at the start and read only at the end, if `from_out`. */
INLINE void packed_tile(const int vectors, Factor a, const real *b, Size n, const real *bias,
                        int from_out, Size rows, Size columns, Matrix out)
{
    Vec sums[TILE_ROWS][2];
    UNROLL_ROWS for (int r = 0; r < TILE_ROWS; r++)
    {
        sums[r][0] = sums[r][1] = (Vec){0};
        PREFETCH_WRITE(out.p + r * out.ld);
    }
    for (Size i = 0; i < n; i++) {
        const Vec left = LOAD(b), right = vectors == 2 ? LOAD(b + V) : left;
        UNROLL_ROWS for (int r = 0; r < TILE_ROWS; r++)
        {
            const real factor = a.p[r * a.row];
            sums[r][0] += factor * left;
            if (vectors == 2)
                sums[r][1] += factor * right;
        }
        a.p += a.sum;
        b += 2 * V;
    }
    if (rows == TILE_ROWS && columns == vectors * V) {
        UNROLL_ROWS for (int r = 0; r < TILE_ROWS; r++) UNROLL for (int v = 0; v < vectors; v++)
        {
            Vec sum = sums[r][v] + (bias ? bias[r] : 0);
            if (from_out)
                sum += LOAD(out.p + r * out.ld + v * V);
            STORE(out.p + r * out.ld + v * V, sum);
        }
        return;
    }
    real edge[TILE_ROWS][2 * V];
    memcpy(edge, sums, sizeof(edge));
    for (Size r = 0; r < rows; r++)
        for (Size c = 0; c < columns; c++) {
            real sum = edge[r][c] + (bias ? bias[r] : 0);
            out.p[r * out.ld + c] = from_out ? sum + out.p[r * out.ld + c] : sum;
        }
}

/* Copy the last rows of a, fewer than TILE_ROWS, and add rows of zeros. If a.row is one, the copy
 * has TILE_ROWS contiguous elements for each summand; otherwise its rows are COPY_LINE apart. */
FUNCTION Factor copy_edge(Factor a, Size rows, Size n, real *copy)
{
    const int neighbours = a.row == 1;
    const Factor out = {copy, neighbours ? 1 : COPY_LINE, neighbours ? TILE_ROWS : 1};
    for (Size i = 0; neighbours && i < n; i++)
        for (Size r = 0; r < TILE_ROWS; r++)
            copy[i * TILE_ROWS + r] = r < rows ? a.p[i * a.sum + r] : 0;
    for (Size r = 0; !neighbours && r < TILE_ROWS; r++)
        for (Size i = 0; i < n; i++)
            copy[r * COPY_LINE + i] = r < rows ? a.p[r * a.row + i] : 0;
    return out;
}

/* Up to BLOCK_ROWS rows and BLOCK_SUMS summands of a product. */
typedef struct {
    Factor a;
    const real *next; /* the next part of a, to prefetch */
    const real *panels;
    Size panel; /* distance between panels */
    const real *bias;
    int from_out;
    Size rows, columns, n;
    Matrix out;
    real *copy; /* scratch memory of COPY_SIZE elements */
    UpdateRows update;
} PackedBlock;

/* A panel of columns stays in the first-level cache, the rows of a in the second-level cache. */
FUNCTION void packed_block(const PackedBlock *p)
{
    const Factor a = p->a;
    const Size rows = p->rows, columns = p->columns, n = p->n;
    const Size tiles = ((columns + 2 * V - 1) / (2 * V)) * ((rows + TILE_ROWS - 1) / TILE_ROWS);
    Prefetch next = a.row == 1 ? prefetch_of(p->next, a.sum, n, rows)
                               : prefetch_of(p->next, a.row, rows, n);
    const Size rate = prefetch_rate(next, tiles);
    const real *panels = p->panels;
    /* a tile at the edge reads zeros from a copy, not memory past the end of the matrix */
    const Size in_place = rows / TILE_ROWS * TILE_ROWS;
    Factor copy = a;
    if (in_place < rows)
        copy = copy_edge((Factor){a.p + in_place * a.row, a.row, a.sum}, rows - in_place, n,
                         p->copy);
    for (Size c = 0; c < columns; c += 2 * V, panels += p->panel)
        for (Size r = 0; r < rows; r += TILE_ROWS) {
            const Size tile_rows = rows - r < TILE_ROWS ? rows - r : TILE_ROWS;
            const Size tile_columns = columns - c < 2 * V ? columns - c : 2 * V;
            const real *start = p->bias ? p->bias + r : NULL;
            const Matrix out = {p->out.p + r * p->out.ld + c, p->out.ld};
            const Factor from = r < in_place ? (Factor){a.p + r * a.row, a.row, a.sum} : copy;
            prefetch_lines(&next, rate);
            prefetch_moments(p->update, r, TILE_ROWS, c, 2 * V);
#define TILE(vectors)                                                                             \
    do {                                                                                          \
        if (a.row == 1)                                                                           \
            packed_tile(vectors, (Factor){from.p, 1, from.sum}, panels, n, start, p->from_out,    \
                        tile_rows, tile_columns, out);                                            \
        else                                                                                      \
            packed_tile(vectors, (Factor){from.p, from.row, 1}, panels, n, start, p->from_out,    \
                        tile_rows, tile_columns, out);                                            \
    } while (0)
            if (tile_columns > V)
                TILE(2);
            else
                TILE(1);
#undef TILE
        }
}

/* The product for any number of rows, and columns that are already packed. `start` is the bias, or
 * zero if that is NULL, or the old value of out if `accumulate`. `copy` is scratch memory of
 * COPY_SIZE elements. The moments of `update` are prefetched. */
FUNCTION void packed_product(Factor a, const real *panels, const real *bias, int accumulate,
                             Size rows, Size columns, Size n, Matrix out, real *copy,
                             UpdateRows update)
{
    const Size at_a_time = a.row == 1 ? PAGES : BLOCK_SUMS;
    PackedBlock p = {.panel = n * 2 * V, .columns = columns, .copy = copy};
    for (Size r = 0; r < rows; r += BLOCK_ROWS)
        for (Size i = 0; i < n; i += at_a_time) {
            p.rows = smaller(rows - r, BLOCK_ROWS);
            p.n = smaller(n - i, at_a_time);
            p.a = (Factor){a.p + r * a.row + i * a.sum, a.row, a.sum};
            p.next = i + p.n < n ? p.a.p + p.n * a.sum : a.p + (r + p.rows) * a.row;
            p.panels = panels + i * 2 * V;
            p.bias = bias && i == 0 ? bias + r : NULL;
            p.from_out = accumulate || i > 0;
            p.out = (Matrix){out.p + r * out.ld, out.ld};
            p.update = i == 0 ? update : no_update();
            if (p.update.moments)
                p.update.moments += r * update.ld;
            packed_block(&p);
        }
}

#endif
