# The three products of a dense layer, with the strategies of strategy.pxi.

cdef enum:
    # Multiply-adds up to which BLAS may use another kernel (OpenBLAS does on AVX-512).
    SMALL_PRODUCT = 1000000

ctypedef void (*Gemm)(char *trans_a, char *trans_b, int *m, int *n, int *k, real *alpha, real *a,
                      int *lda, real *b, int *ldb, real *beta, real *c, int *ldc) noexcept nogil

cdef Gemm gemm_of_scipy = NULL


cdef int find_blas() except -1:
    """Find the BLAS of SciPy, unless packed products are compiled.

    On first use, because importing ``scipy.linalg`` takes longer than many trainings.
    """
    global gemm_of_scipy
    if PACKED_PRODUCTS or gemm_of_scipy != NULL:
        return 0
    from scipy.linalg import cython_blas
    function = cython_blas.__pyx_capi__["dgemm" if REAL_IS_DOUBLE else "sgemm"]
    gemm_of_scipy = <Gemm> PyCapsule_GetPointer(function, PyCapsule_GetName(function))
    return 0


cdef void gemm(char *trans_a, char *trans_b, Size m_, Size columns, Size k_, Matrix a, Matrix b,
               Size step, real beta, Matrix c) noexcept nogil:
    """Compute ``c = op(a) op(b) + beta c``, column-major, with the BLAS of SciPy.

    Columns of op(b) are ``step`` elements apart. Small products are always computed in pieces of
    ``UNITS`` columns, so that the result does not depend on where the threads split them.
    """
    cdef int m = <int> m_, n, k = <int> k_, lda = <int> a.ld, ldb = <int> b.ld, ldc = <int> c.ld
    cdef real one = 1
    cdef Size piece, pieces = columns // UNITS if UNITS * m_ * k_ <= SMALL_PRODUCT else 1
    for piece in range(max(pieces, 1)):
        n = <int> (UNITS if piece < pieces - 1 else columns - piece * UNITS)
        gemm_of_scipy(trans_a, trans_b, &m, &n, &k, &one, a.p, &lda, b.p, &ldb, &beta, c.p, &ldc)
        b.p += UNITS * step
        c.p += UNITS * c.ld


cdef inline Matrix rows_from(Matrix x, Size first) noexcept nogil:
    """Return the rows of a matrix from ``first`` on."""
    return Matrix(x.p + first * x.ld, x.ld)


# --- the products -----------------------------------------------------------------


cdef inline void forward_units(Dense *d, Size unit, Size last) noexcept nogil:
    """``z = w.T x + b`` for the units from ``unit`` up to ``last``."""
    cdef Size units = last - unit
    cdef Matrix z = rows_from(d.z, unit)
    if d.forward == SINGLE:
        few_samples_product(d.x.p, Matrix(d.w + unit, d.n_out), d.b + unit, 1, d.n_in, units, z.p)
    elif d.forward == NARROW:
        product(d.x, Matrix(d.w + unit, d.n_out), d.b + unit, d.n_in, units, d.padded, z)
    elif d.forward == PACKED:
        packed_product(Factor(d.w + unit, 1, d.n_out), d.panels, d.b + unit, False, units, d.padded,
                       d.n_in, z, d.edge_rows, no_update())
    elif d.forward == BLAS:
        fill_rows(d.b + unit, units, d.padded, z)
        gemm(b"n", b"t", d.padded, units, d.n_in, d.x, Matrix(d.w + unit, d.n_out), 1, 1, z)
    else:
        sparse_product(&d.sparse, SparseWeights(d.w, d.b, d.n_in, d.n_out, False), unit, last,
                       d.sums, d.z)


cdef inline void backward_rows(Dense *d, Size first, Size last) noexcept nogil:
    """Compute both gradients for the inputs from ``first`` up to ``last``, some rows at a time.

    These are groups of ``rows_at_a_time`` inputs, counted from input 0 wherever ``first`` is, or
    the part of a group that lies in the range.
    """
    cdef Size j = first, stop
    d.inputs_done = first
    if d.gradient == CSR:
        sort_by_column(d.csr, first, last, &d.csc)
        d.csc_first = first
    while j < last:
        stop = last
        if d.rows_at_a_time > 0:
            stop = minimum((j // d.rows_at_a_time + 1) * d.rows_at_a_time, last)
        backward_inputs(d, j, stop, last)
        backward_params(d, j, stop)
        j = stop


cdef inline void backward_inputs(Dense *d, Size first, Size stop, Size last) noexcept nogil:
    """``dx = w dz`` for the inputs from ``first`` up to ``stop``, perhaps more, up to ``last``."""
    cdef real *w = d.w + first * d.n_out
    cdef Size rows = stop - first, done
    if d.inputs == SINGLE:
        one_sample_transposed(d.dz.p, Matrix(w, d.n_out), d.n_out, rows, d.dx.p + first)
    elif d.inputs == NARROW:
        product_transposed(d.dz, Matrix(w, d.n_out), d.n_out, rows, d.padded,
                           rows_from(d.dx, first))
    elif d.inputs == PACKED:
        packed_product(Factor(w, d.n_out, 1), d.dz_panels, NULL, False, rows, d.padded, d.n_out,
                       rows_from(d.dx, first), d.edge_rows, no_update())
    elif d.inputs == BLAS:
        gemm(b"n", b"n", d.padded, rows, d.n_out, d.dz, Matrix(w, d.n_out), d.n_out, 0,
             rows_from(d.dx, first))
    elif d.inputs == MASKED:
        while d.inputs_done < stop:
            done = minimum(d.inputs_done + SPARSE_UNITS, last)
            sparse_product(&d.sparse, SparseWeights(d.w, NULL, d.n_out, d.n_in, True),
                           d.inputs_done, done, d.sums, d.dx)
            d.inputs_done = done


cdef inline bint has_zeros(Dense *d, Size first) noexcept nogil:
    """Return whether the group of inputs to which input ``first`` belongs has enough zeros.

    It is the whole group, also if a thread has only a part of it: both ways add in another order,
    and the result must not depend on the division of the inputs among threads.
    """
    cdef Size start = first - first % UPDATE_ROWS
    cdef Size rows = minimum(UPDATE_ROWS, d.n_in - start)
    return density_percent(rows_from(d.x, start), rows, d.padded) < DENSE_PERCENT


cdef inline void backward_params(Dense *d, Size first, Size stop) noexcept nogil:
    """``dw = x dz.T`` for a range of inputs, ``db`` with the first input, and the fused update."""
    cdef Size rows = stop - first, offset = first * d.n_out
    cdef Matrix x = d.x
    cdef int strategy = d.gradient
    if d.gradient != CSR:
        x = rows_from(d.x, first)
    if first == 0 and d.gradient == SINGLE:
        copy_rows(Matrix(d.dz.p, 0), 1, d.n_out, 0, Matrix(d.db, 0))
    elif first == 0 and d.gradient != NARROW:
        row_sums(d.dz, d.accumulate, d.n_out, d.padded, d.db)
    if d.skips_zeros and has_zeros(d, first):
        strategy = MASKED
        masks_by_row(x, rows, d.padded, d.masks)
    if strategy == NARROW or strategy == SINGLE:
        if strategy == SINGLE:
            one_sample_outer(x.p, d.dz.p, rows, d.n_out, d.dw + offset)
        else:
            outer_product(x, d.dz, d.accumulate, rows, d.n_out, d.padded, d.dw + offset,
                          d.db if first == 0 else NULL)
        if d.update != NULL:
            update_elements(d.update, d.part, d.dw + offset, d.start + offset, rows * d.n_out,
                            d.params)
    elif strategy == BLAS:
        gemm(b"t", b"n", d.n_out, rows, d.padded, d.dz, x, x.ld, 1 if d.accumulate else 0,
             Matrix(d.dw + offset, d.n_out))
    elif d.update == NULL:
        wide_gradient(d, strategy, x, first, rows, 0, d.n_out, Matrix(d.dw + offset, d.n_out))
    else:
        fused_update(d, strategy, x, first, rows)


cdef void wide_gradient(Dense *d, int strategy, Matrix x, Size first, Size rows, Size column,
                        Size columns, Matrix out) noexcept nogil:
    """``x dz.T`` for a range of rows and columns of dw; ``x`` starts at input ``first``."""
    cdef Panels dz = d.dz_rows
    cdef UpdateRows update = no_update()
    cdef real *moments
    cdef Size offset = d.start + first * d.n_out + column
    if d.update != NULL:
        moments = d.update.moments + offset if d.update.n_moments > 0 else NULL
        update = UpdateRows(d.params + offset, moments, d.n_out, d.update.second)
    dz.p += column // NR * dz.panel
    if strategy == CSR:
        csc_outer_product(&d.csc, first - d.csc_first, rows, dz, d.accumulate, columns, out, update)
    elif strategy == MASKED:
        masked_outer_product(x, d.masks, dz, d.accumulate, rows, columns, d.padded, out, update)
    else:
        packed_product(Factor(x.p, x.ld, 1), dz.p, NULL, d.accumulate, rows, columns, d.padded, out,
                       d.edge_rows, update)


cdef void fused_update(Dense *d, int strategy, Matrix x, Size first, Size rows) noexcept nogil:
    """Compute the gradient of some rows of a wide layer's weights and update them, tile by tile.

    If this is the only block of the batch, the gradient is not written to ``dw``.
    """
    cdef Size column = 0, columns, offset, i
    cdef Matrix tile
    while column < d.n_out:
        columns = minimum(d.n_out - column, UPDATE_COLUMNS)
        offset = first * d.n_out + column
        tile = Matrix(d.dw + offset, d.n_out) if d.accumulate else Matrix(d.tile, UPDATE_COLUMNS)
        wide_gradient(d, strategy, x, first, rows, column, columns, tile)
        for i in range(rows):
            update_elements(d.update, d.part, tile.p + i * tile.ld, d.start + offset + i * d.n_out,
                            columns, d.params)
        column += columns


# --- a single layer -----------------------------------------------------------------


cdef Dense layer_alone(Size n_in, Size n_out, Size samples) except *:
    """Return a layer with its own matrices, allocated at ``d.x.p``; padding lanes are zero."""
    cdef Dense d
    cdef Size padded = round_up(samples, PADDING)
    cdef Size panels = (max(n_in, n_out) + MASK_BITS) * (padded + MASK_BITS)
    find_blas()
    d.n_in, d.n_out, d.padded = n_in, n_out, padded
    d.x.p = <real *> calloc((n_in + n_out) * padded + panels + EDGE_SIZE, sizeof(real))
    if d.x.p == NULL:
        raise MemoryError
    d.z.p = d.x.p + n_in * padded
    d.x.ld = d.z.ld = padded
    d.dx, d.dz = d.x, d.z
    d.panels = d.dz_panels = d.z.p + n_out * padded
    d.dz_rows = Panels(d.panels, NR, NR * padded)
    d.edge_rows = d.panels + panels
    d.forward = d.inputs = d.gradient = NARROW
    if n_in >= WIDE_LAYER_UNITS and n_out >= WIDE_LAYER_UNITS:
        d.forward = d.inputs = d.gradient = PACKED if PACKED_PRODUCTS else BLAS
    d.update, d.skips_zeros, d.start = NULL, False, 0
    return d


def dense_forward(cnp.ndarray x not None, cnp.ndarray w not None, cnp.ndarray b not None,
                  cnp.ndarray out not None, /):
    """``out = w.T x + b``."""
    cdef Matrix w_ = matrix(w, -1, -1, False, "w")
    cdef Size n_in = dim(w, 0), n_out = dim(w, 1)
    cdef Matrix x_ = matrix(x, n_in, -1, False, "x")
    cdef Size samples = dim(x, 1)
    cdef Matrix out_ = matrix(out, n_out, samples, True, "out")
    cdef real *b_ = reals(b, n_out, False, "b")
    cdef Dense d = layer_alone(n_in, n_out, samples)
    with nogil:
        d.w, d.b = w_.p, b_
        copy_rows(x_, n_in, samples, samples, d.x)
        if d.forward == PACKED:
            pack_columns(d.x.p, d.x.ld, 1, n_in, d.padded, d.panels)
        forward_units(&d, 0, n_out)
        copy_rows(d.z, n_out, samples, samples, out_)
        free(d.x.p)


def dense_backward_params(cnp.ndarray x not None, cnp.ndarray dz not None, bint accumulate,
                          cnp.ndarray dw not None, cnp.ndarray db not None, /):
    """``dw = x dz.T``, ``db = sum of dz over the samples``."""
    cdef Matrix x_ = matrix(x, -1, -1, False, "x")
    cdef Size n_in = dim(x, 0), samples = dim(x, 1)
    cdef Matrix dz_ = matrix(dz, -1, samples, False, "dz")
    cdef Size n_out = dim(dz, 0)
    cdef Matrix dw_ = matrix(dw, n_in, n_out, True, "dw")
    cdef real *db_ = reals(db, n_out, True, "db")
    cdef Dense d = layer_alone(n_in, n_out, samples)
    with nogil:
        d.dw, d.db, d.accumulate = dw_.p, db_, accumulate
        copy_rows(x_, n_in, samples, samples, d.x)
        copy_rows(dz_, n_out, samples, samples, d.dz)
        if d.gradient == PACKED:
            pack_columns(d.dz.p, 1, d.dz.ld, d.padded, n_out, d.panels)
        backward_params(&d, 0, n_in)
        free(d.x.p)


def dense_backward_inputs(cnp.ndarray w not None, cnp.ndarray dz not None,
                          cnp.ndarray dx not None, /):
    """``dx = w dz``."""
    cdef Matrix w_ = matrix(w, -1, -1, False, "w")
    cdef Size n_in = dim(w, 0), n_out = dim(w, 1)
    cdef Matrix dz_ = matrix(dz, n_out, -1, False, "dz")
    cdef Size samples = dim(dz, 1)
    cdef Matrix dx_ = matrix(dx, n_in, samples, True, "dx")
    cdef Dense d = layer_alone(n_in, n_out, samples)
    with nogil:
        d.w = w_.p
        copy_rows(dz_, n_out, samples, samples, d.dz)
        if d.inputs == PACKED:
            pack_columns(d.dz.p, d.dz.ld, 1, n_out, d.padded, d.dz_panels)
        backward_inputs(&d, 0, n_in, n_in)
        copy_rows(d.dx, n_in, samples, samples, dx_)
        free(d.x.p)
