/* Products of wide layers, by packed panels and a micro-kernel.
 *
 * out[r][c] = start + sum over i < n of
 *               a[r * a.row_stride + i * a.k_stride] * b[i * b_k_stride + c * b_col_stride]
 *
 * The three products of a layer all have this form, with either a.row_stride or a.k_stride equal to
 * one. The columns of b are packed into panels of two vectors, in which the elements of one summand
 * i are contiguous, whatever the strides of b. The elements of a are broadcast, so that a need not
 * be packed. The loops are blocked by rows (MC) and summands (KC) as in Goto and van de Geijn,
 * "Anatomy of high-performance matrix multiplication", 2008; the names are those of BLIS.
 */
#ifndef FASTNN_PACKED_H
#define FASTNN_PACKED_H

#include "vector.h"

/* Not measured with narrower vectors, where wide layers use BLAS instead. */
#define PACKED_PRODUCTS (VECTOR_BYTES >= 32)
#define MR (VECTOR_BYTES == 64 ? 12 : 6) /* rows of a tile, whose sums fill the registers */
#define NR ((int)(2 * V))                /* columns of a tile and of a panel */
#define MC 96                            /* rows of a block: with KC summands 96 KiB of floats */
#define KC 256                           /* summands of a block */
/* Summands of a block if each is in another page: the entries of a small TLB. */
#define KC_STRIDED 64
#define EDGE_LD (KC + 16)
#define EDGE_SIZE (MR * EDGE_LD)

/* The first factor of a product. */
typedef struct {
    const real *p;
    Size row_stride, k_stride;
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
INLINE Size lines_per_step(Prefetch p, Size steps)
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
NOINLINE void pack_columns(const real *b, Size b_k_stride, Size b_col_stride, Size n,
                           Size columns, real *out)
{
    for (; columns > 0; columns -= NR, b += NR * b_col_stride)
        if (columns >= NR && b_col_stride == 1)
            for (Size i = 0; i < n; i++, out += NR)
                memcpy(out, b + i * b_k_stride, NR * sizeof(real));
        else if (columns >= NR && b_k_stride == 1) {
            transpose(b, b_col_stride, NR, n, NULL, out, NR);
            out += n * NR;
        } else
            for (Size i = 0; i < n; i++, out += NR)
                for (Size k = 0; k < NR; k++)
                    out[k] = k < columns ? b[i * b_k_stride + k * b_col_stride] : 0;
}

/* The micro-kernel: one tile of MR rows and one or two vectors of columns. All rows of a are
 * read, but only `rows` and `columns` of the tile are written. The sums stay in registers; out is
 * prefetched at the start and read only at the end, if `from_out`. */
INLINE void micro_kernel(const int vectors, Factor a, const real *b, Size n, const real *bias,
                         int from_out, Size rows, Size columns, Matrix out)
{
    Vec sums[MR][2];
    UNROLL_ROWS for (int r = 0; r < MR; r++)
    {
        sums[r][0] = sums[r][1] = (Vec){0};
        PREFETCH_WRITE(out.p + r * out.ld);
    }
    for (Size i = 0; i < n; i++) {
        const Vec left = LOAD(b), right = vectors == 2 ? LOAD(b + V) : left;
        UNROLL_ROWS for (int r = 0; r < MR; r++)
        {
            const real factor = a.p[r * a.row_stride];
            sums[r][0] += factor * left;
            if (vectors == 2)
                sums[r][1] += factor * right;
        }
        a.p += a.k_stride;
        b += NR;
    }
    if (rows == MR && columns == vectors * V) {
        UNROLL_ROWS for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < vectors; v++)
        {
            Vec sum = sums[r][v] + (bias ? bias[r] : 0);
            if (from_out)
                sum += LOAD(out.p + r * out.ld + v * V);
            STORE(out.p + r * out.ld + v * V, sum);
        }
        return;
    }
    real tile[MR][NR];
    memcpy(tile, sums, sizeof(tile));
    for (Size r = 0; r < rows; r++)
        for (Size c = 0; c < columns; c++) {
            real sum = tile[r][c] + (bias ? bias[r] : 0);
            out.p[r * out.ld + c] = from_out ? sum + out.p[r * out.ld + c] : sum;
        }
}

/* Copy the last rows of a, fewer than MR, and add rows of zeros. If a.row_stride is one, the copy
 * has MR contiguous elements for each summand; otherwise its rows are EDGE_LD apart. */
NOINLINE Factor pack_edge_rows(Factor a, Size rows, Size n, real *edge_rows)
{
    const int contiguous = a.row_stride == 1;
    const Factor out = {edge_rows, contiguous ? 1 : EDGE_LD, contiguous ? MR : 1};
    for (Size i = 0; contiguous && i < n; i++)
        for (Size r = 0; r < MR; r++)
            edge_rows[i * MR + r] = r < rows ? a.p[i * a.k_stride + r] : 0;
    for (Size r = 0; !contiguous && r < MR; r++)
        for (Size i = 0; i < n; i++)
            edge_rows[r * EDGE_LD + i] = r < rows ? a.p[r * a.row_stride + i] : 0;
    return out;
}

/* Up to MC rows and KC summands of a product. */
typedef struct {
    Factor a;
    const real *next; /* the next part of a, to prefetch */
    const real *panels;
    Size panel; /* distance between panels */
    const real *bias;
    int from_out;
    Size rows, columns, n;
    Matrix out;
    real *edge_rows; /* scratch memory of EDGE_SIZE elements */
    UpdateRows update;
} PackedBlock;

/* A panel of columns stays in the first-level cache, the rows of a in the second-level cache. */
NOINLINE void macro_kernel(const PackedBlock *p)
{
    const Factor a = p->a;
    const Size rows = p->rows, columns = p->columns, n = p->n;
    const Size tiles = ((columns + NR - 1) / NR) * ((rows + MR - 1) / MR);
    Prefetch next = a.row_stride == 1 ? prefetch_of(p->next, a.k_stride, n, rows)
                                      : prefetch_of(p->next, a.row_stride, rows, n);
    const Size rate = lines_per_step(next, tiles);
    const real *panels = p->panels;
    /* a tile at the edge reads zeros from a copy, not memory past the end of the matrix */
    const Size in_place = rows / MR * MR;
    Factor edge = a;
    if (in_place < rows)
        edge = pack_edge_rows((Factor){a.p + in_place * a.row_stride, a.row_stride, a.k_stride},
                              rows - in_place, n, p->edge_rows);
    for (Size c = 0; c < columns; c += NR, panels += p->panel)
        for (Size r = 0; r < rows; r += MR) {
            const Size tile_rows = rows - r < MR ? rows - r : MR;
            const Size tile_columns = columns - c < NR ? columns - c : NR;
            const real *start = p->bias ? p->bias + r : NULL;
            const Matrix out = {p->out.p + r * p->out.ld + c, p->out.ld};
            const Factor from =
                r < in_place ? (Factor){a.p + r * a.row_stride, a.row_stride, a.k_stride} : edge;
            prefetch_lines(&next, rate);
            prefetch_moments(p->update, r, MR, c, NR);
#define TILE(vectors)                                                                             \
    do {                                                                                          \
        if (a.row_stride == 1)                                                                    \
            micro_kernel(vectors, (Factor){from.p, 1, from.k_stride}, panels, n, start,           \
                         p->from_out, tile_rows, tile_columns, out);                              \
        else                                                                                      \
            micro_kernel(vectors, (Factor){from.p, from.row_stride, 1}, panels, n, start,         \
                         p->from_out, tile_rows, tile_columns, out);                              \
    } while (0)
            if (tile_columns > V)
                TILE(2);
            else
                TILE(1);
#undef TILE
        }
}

/* The product for any number of rows, and columns that are already packed. `start` is the bias, or
 * zero if that is NULL, or the old value of out if `accumulate`. `edge_rows` is scratch memory of
 * EDGE_SIZE elements. The moments of `update` are prefetched. */
NOINLINE void packed_product(Factor a, const real *panels, const real *bias, int accumulate,
                             Size rows, Size columns, Size n, Matrix out, real *edge_rows,
                             UpdateRows update)
{
    const Size kc = a.row_stride == 1 ? KC_STRIDED : KC;
    PackedBlock p = {.panel = n * NR, .columns = columns, .edge_rows = edge_rows};
    for (Size r = 0; r < rows; r += MC)
        for (Size i = 0; i < n; i += kc) {
            p.rows = minimum(rows - r, MC);
            p.n = minimum(n - i, kc);
            p.a = (Factor){a.p + r * a.row_stride + i * a.k_stride, a.row_stride, a.k_stride};
            p.next = i + p.n < n ? p.a.p + p.n * a.k_stride : a.p + (r + p.rows) * a.row_stride;
            p.panels = panels + i * NR;
            p.bias = bias && i == 0 ? bias + r : NULL;
            p.from_out = accumulate || i > 0;
            p.out = (Matrix){out.p + r * out.ld, out.ld};
            p.update = i == 0 ? update : no_update();
            if (p.update.moments)
                p.update.moments += r * update.ld;
            macro_kernel(&p);
        }
}

#endif
