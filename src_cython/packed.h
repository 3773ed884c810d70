/* Products of wide layers, by packed panels and a micro-kernel.
 *
 * out[r][c] = start + sum over i < n of a[r * a.row + i * a.sum] * b[i * b_sum + c * b_column]
 *
 * A layer forward, its inputs' gradient and its weights' gradient are all of this form, with
 * either a.row or a.sum one. The columns of b are packed into panels of two vectors, in which all
 * that one summand needs is contiguous, whatever the strides were. The numbers of a are broadcast,
 * so that they may be read in place. Blocking by rows (MC) and summands (KC) as in Goto and van de
 * Geijn, "Anatomy of high-performance matrix multiplication", 2008.
 */
#ifndef FASTNN_PACKED_H
#define FASTNN_PACKED_H

#include "vector.h"

/* With other vectors than these it was not measured: there wide layers go through BLAS. */
#define PACKED_PRODUCTS (VECTOR_BYTES >= 32)
#define TILE_ROWS (VECTOR_BYTES == 64 ? 12 : 6) /* with two vectors each: sums fill the registers */
#define BLOCK_ROWS 96                           /* MC, and KC: 96 KiB of floats */
#define BLOCK_SUMS 256
#define PANEL_COLUMNS ((int)(2 * V))
#define PAGES 64 /* summands whose lines are in as many pages: a first-level TLB has 64 or more */
#define COPY_LINE (BLOCK_SUMS + 16)
#define COPY_SIZE (TILE_ROWS * COPY_LINE)

/* The first factor of a product. */
typedef struct {
    const real *p;
    Size row, sum;
} Factor;

/* Weights and moments whose gradient is being computed, and which a fused update will read: the
 * pointers are those of the gradient's first number, or NULL for nothing to prefetch. The second
 * moment is `second` numbers behind the first. */
typedef struct {
    const real *weights, *moments;
    Size ld, second;
} UpdateRows;

INLINE UpdateRows no_update(void) { return (UpdateRows){NULL, NULL, 0, 0}; }

/* Prefetch moments for some rows and columns of a gradient. */
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

/* Rows of a matrix that will be read after something else, and are prefetched meanwhile. */
typedef struct {
    const real *row; /* the next one */
    Size ld, rows;   /* how many are left */
    Size lines, line; /* cache lines of a row, and the next one's number */
} Prefetch;

INLINE Prefetch prefetch_of(const real *row, Size ld, Size rows, Size columns)
{
    return (Prefetch){row, ld, rows, (columns + LINE_REALS - 1) / LINE_REALS, 0};
}

/* Lines a step, where all shall be prefetched in a number of steps. */
INLINE Size prefetch_rate(Prefetch p, Size steps)
{
    return (p.rows * p.lines + steps - 1) / steps;
}

/* Prefetching beyond the end of a matrix does nothing. */
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

/* Columns of b, panel by panel: 2 V contiguous numbers for each of n summands, zeros where there
 * are no more columns. `out` has room for whole panels. */
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

/* The micro-kernel: one tile. TILE_ROWS of a are read, but what is beyond the edges of out is not
 * written. The sums stay in registers, and out is added to at the end, when it has come from
 * memory. Of the two vectors of columns the right one may be left out. */
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

/* A copy of the last rows of a, fewer than a tile has, with zeros for those that it lacks: if rows
 * are neighbours in memory, a tile's rows for each of n summands; else rows COPY_LINE apart. */
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
    const real *next; /* the part of a that comes after this one, prefetched meanwhile */
    const real *panels;
    Size panel; /* from one panel to the next */
    const real *bias;
    int from_out;
    Size rows, columns, n;
    Matrix out;
    real *copy; /* room for COPY_SIZE */
    UpdateRows update;
} PackedBlock;

/* A panel of columns stays in the first-level cache, the rows in the second. */
FUNCTION void packed_block(const PackedBlock *p)
{
    const Factor a = p->a;
    const Size rows = p->rows, columns = p->columns, n = p->n;
    const Size tiles = ((columns + 2 * V - 1) / (2 * V)) * ((rows + TILE_ROWS - 1) / TILE_ROWS);
    Prefetch next = a.row == 1 ? prefetch_of(p->next, a.sum, n, rows)
                               : prefetch_of(p->next, a.row, rows, n);
    const Size rate = prefetch_rate(next, tiles);
    const real *panels = p->panels;
    /* a tile at the edge reads zeros, not what is behind the matrix */
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

/* Any rows, and columns whose panels of n summands are packed already. Start: bias, or zero if
 * that is NULL, or what out holds. `copy` has room for COPY_SIZE numbers. Of `update` the moments
 * are prefetched. */
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
