# The three products of a dense layer, and how each is made.
#
# A strategy is chosen once for a layer, block and direction, in `plan_forward` and `plan_backward`:
#
#   NARROW  loops along the samples over the matrices as they are (products.h)
#   PACKED  packed panels and a micro-kernel, for wide layers (packed.h)
#   BLAS    instead of these where they are not compiled
#   MASKED  non-zero masks, where many ReLU units below or above are inactive (sparse.h)
#   CSR     sparse input
#
# Then threads call `forward_units` for some units, `backward_inputs` and `backward_params` for some
# inputs, whatever the strategy is. With an update, `backward_params` updates the weights as well,
# while their gradient is in the cache (fused update).

cdef extern from "data.h" nogil:
    void fill_rows(const real *b, Size rows, Size lanes, Matrix out) noexcept
    void copy_rows(Matrix x, Size rows, Size samples, Size lanes, Matrix out) noexcept

cdef extern from "vector.h" nogil:
    void transpose(const real *x, Size ldx, Size rows, Size columns, const real *start, real *out,
                   Size ldo) noexcept

cdef extern from "products.h" nogil:
    ctypedef struct Weights:
        const real *w
        Size step_in, step_out
    void product(Matrix x, Weights w, const real *b, Size n_in, Size n_out, Size lanes,
                 Matrix out) noexcept
    void outer(Matrix x, Matrix dz, bint accumulate, Size n_in, Size n_out, Size lanes, real *dw,
               real *db) noexcept
    void row_sums(Matrix dz, bint accumulate, Size n_out, Size lanes, real *db) noexcept

cdef extern from "packed.h" nogil:
    const bint PACKED_PRODUCTS
    const int PANEL_COLUMNS, COPY_SIZE
    ctypedef struct Factor:
        const real *p
        Size row, sum
    ctypedef struct UpdateRows:
        const real *weights
        const real *moments
        Size ld, second
    UpdateRows no_update() noexcept
    void pack_columns(const real *b, Size b_sum, Size b_column, Size n, Size columns,
                      real *out) noexcept
    void packed_product(Factor a, const real *panels, const real *bias, bint accumulate, Size rows,
                        Size columns, Size n, Matrix out, real *copy, UpdateRows update) noexcept

cdef extern from "sparse.h" nogil:
    const int MASK_BITS, MAX_SUMS, SPARSE_UNITS, DENSE_PERCENT
    ctypedef struct SparseRows:
        const CsrBlock *csr
        const real *values
        const uint64_t *masks
        Size samples, lanes
    ctypedef struct SparseWeights:
        const real *w
        const real *b
        Size n_in, n_out
        bint transposed
    ctypedef struct Panels:
        const real *p
        Size ld, panel
    ctypedef struct CscBlock:
        real *values
        int32_t *samples
        int32_t *ends
    void sparse_product(const SparseRows *x, SparseWeights w, Size unit, Size last, real *scratch,
                        Matrix out) noexcept
    int density_percent(Matrix x, Size rows, Size lanes) noexcept
    void masks_by_sample(Matrix x, Size first, Size last, Size lanes, real *values,
                         uint64_t *masks) noexcept
    void masks_by_row(Matrix x, Size rows, Size lanes, uint64_t *masks) noexcept
    void masked_outer(Matrix x, const uint64_t *masks, Panels dz, bint accumulate, Size rows,
                      Size columns, Size lanes, Matrix dw, UpdateRows update) noexcept
    void sort_by_column(const CsrBlock *x, Size first, Size last, CscBlock *out) noexcept
    void csc_outer(const CscBlock *x, Size first, Size inputs, Panels dz, bint accumulate,
                   Size columns, Matrix dw, UpdateRows update) noexcept

cdef extern from "plan.h" nogil:
    const int UPDATE_ROWS, UPDATE_COLUMNS

cdef enum:
    # Multiply-adds up to which BLAS may have other loops (OpenBLAS has with AVX-512).
    SMALL_PRODUCT = 1000000

cdef enum:
    NOTHING, NARROW, PACKED, BLAS, MASKED, CSR


cdef struct Dense:
    # A dense layer and one block: what its products read and write, and how they are made.
    Size n_in, n_out, lanes
    Matrix x, z, dz, dx  # x.p is NULL where the input is sparse
    real *w
    real *b
    real *dw
    real *db
    bint accumulate  # the gradient
    Update *update  # not NULL: fused; moments and parameters are those of the weights
    Size start  # of the weights among the parameters
    real *params
    int forward, inputs, gradient  # strategies
    Size piece  # units or inputs that a thread takes at least
    Size rows  # inputs at a time of the backward pass; 0: all
    bint skips  # inactive units among the inputs, if a few rows have enough of them
    Size inputs_done  # by backward_inputs, which may be ahead
    CsrBlock csr
    CscBlock csc
    Size csc_first
    SparseRows sparse  # factor of a MASKED or CSR product
    real *panels  # packed: of x
    real *dz_panels  # of dz
    Panels dz_rows  # of dz.T
    real *sums  # scratch memory
    real *copy
    real *tile
    uint64_t *masks


cdef void gemm(char *trans_a, char *trans_b, Size m_, Size columns, Size k_, Matrix a, Matrix b,
               Size step, real beta, Matrix c) noexcept nogil:
    """Column-major ``c = op(a) op(b) + beta c`` by the BLAS that SciPy brings.

    Columns of op(b) are ``step`` numbers apart. Small products are always divided into the pieces
    that threads may get, so that every sum has the same order.
    """
    cdef int m = <int> m_, n, k = <int> k_, lda = <int> a.ld, ldb = <int> b.ld, ldc = <int> c.ld
    cdef real one = 1
    cdef Size piece, pieces = columns // UNITS if UNITS * m_ * k_ <= SMALL_PRODUCT else 1
    for piece in range(max(pieces, 1)):
        n = <int> (UNITS if piece < pieces - 1 else columns - piece * UNITS)
        if REAL_IS_DOUBLE:
            dgemm(trans_a, trans_b, &m, &n, &k, <double *> &one, <double *> a.p, &lda,
                  <double *> b.p, &ldb, <double *> &beta, <double *> c.p, &ldc)
        else:
            sgemm(trans_a, trans_b, &m, &n, &k, <float *> &one, <float *> a.p, &lda,
                  <float *> b.p, &ldb, <float *> &beta, <float *> c.p, &ldc)
        b.p += UNITS * step
        c.p += UNITS * c.ld


cdef inline Matrix rows_of(Matrix x, Size first) noexcept nogil:
    """The matrix from one row on."""
    return Matrix(x.p + first * x.ld, x.ld)


# --- what is chosen ---------------------------------------------------------------


cdef inline bint has_relu(Net *net, Size k) noexcept nogil:
    """Whether layer k has ReLU units, so that many outputs and derivatives may be zero."""
    return net.layers[k].activation == RELU


cdef inline bint reads_relu(Net *net, Size k) noexcept nogil:
    """Whether the inputs of a wide layer come from such units, be it through a dropout layer."""
    if not PACKED_PRODUCTS or k == 0 or not net.layers[k].blas:
        return False
    if net.layers[k - 1].kind == DROPOUT:
        k -= 1
    return has_relu(net, k - 1)


cdef inline bint fuses_update(Net *net, Size k, bint sparse) noexcept nogil:
    """Whether a layer's weights are updated while their gradient is computed."""
    if net.layers[k].blas:
        return PACKED_PRODUCTS and net.header.shared
    return net.header.shared and (k > 0 or not sparse)


cdef inline Size least_piece(Layer *layer, Size n, Team *team) noexcept nogil:
    """Of n units or inputs; BLAS, which packs its factors in each call, gets one a thread."""
    if layer.blas and not PACKED_PRODUCTS:
        return round_up((n + team.n_threads - 1) // team.n_threads, UNITS)
    return UNITS if layer.blas else UNITS // 2


cdef inline Size sparse_piece(Size units, Team *team) noexcept nogil:
    """Where loops run along the units: full registers, or fewer if there are many threads."""
    cdef Size pieces = 2 * team.n_threads  # more would balance better and cost more than that
    cdef Size vector = SPARSE_UNITS // MAX_SUMS
    if team.n_threads == 1 or units >= pieces * SPARSE_UNITS:
        return SPARSE_UNITS
    return 6 * vector if units >= pieces * 6 * vector else 4 * vector


cdef inline void read_layer(Block *b, Size k, Dense *d) noexcept nogil:
    """What both directions read and write."""
    cdef Layer *layer = b.net.layers + k
    cdef real *work = b.memory.work
    cdef real *own = b.memory.own
    cdef real *products = own + b.net.header.work_packed
    d.n_in, d.n_out, d.lanes = layer.fan_in, layer.fan_out, b.lanes
    d.x = b.x
    if k > 0:
        d.x = Matrix(work + b.net.layers[k - 1].output, b.ld)
    d.z = Matrix(work + layer.net_input, b.ld)
    d.params, d.start = b.memory.params, layer.weights
    d.w, d.b = d.params + layer.weights, d.params + layer.biases
    d.csr = b.csr
    d.panels = work + b.net.header.work_packed + b.net.scratch.shared[0]
    d.copy, d.tile = products + b.net.scratch.copy, products + b.net.scratch.tile
    d.masks = <uint64_t *> (products + b.net.scratch.masks)


cdef void plan_forward(Block *b, Size k, Dense *d) noexcept nogil:
    """Choose how net inputs are computed, and prepare what all threads read.

    Of that, each makes a share, in the scratch memory of the first.
    """
    cdef Layer *layer = b.net.layers + k
    cdef real *shared = b.memory.work + b.net.header.work_packed
    cdef uint64_t *masks = <uint64_t *> (shared + b.net.scratch.shared[1])
    read_layer(b, k, d)
    d.piece = least_piece(layer, d.n_out, b.team)
    d.sums = b.memory.own + b.net.header.work_delta
    if d.x.p == NULL:
        d.forward = CSR
        d.piece = sparse_piece(d.n_out, b.team)
        d.sparse = SparseRows(&b.csr, NULL, NULL, b.samples, d.lanes)
    elif reads_relu(b.net, k) and density_percent(d.x, d.n_in, d.lanes) < DENSE_PERCENT:
        d.forward = MASKED
        d.piece = sparse_piece(d.n_out, b.team)
        d.sparse = share_masks(d.x, d.n_in, d.lanes, b.team, d.panels, masks)
        meet(b.team)
    elif not layer.blas:
        d.forward = NARROW
    elif PACKED_PRODUCTS:
        d.forward = PACKED
        share_panels(d.x.p, d.x.ld, 1, d.n_in, d.lanes, b.team, d.panels)
        meet(b.team)
    else:
        d.forward = BLAS


cdef void plan_backward(Block *b, Size k, Matrix dz, Matrix dx, Dense *d) noexcept nogil:
    """Choose how both gradients are computed, and prepare what all threads read."""
    cdef Layer *layer = b.net.layers + k
    cdef real *own = b.memory.own
    cdef real *shared = b.memory.work + b.net.header.work_packed
    cdef uint64_t *masks = <uint64_t *> (shared + b.net.scratch.shared[2])
    cdef real *rows
    cdef bint sparse, packed = PACKED_PRODUCTS and layer.blas
    read_layer(b, k, d)
    sparse = d.x.p == NULL
    d.dz, d.dx = dz, dx
    d.dz_panels = shared + b.net.scratch.shared[1]
    d.dw, d.db = b.memory.grads + layer.weights, b.memory.grads + layer.biases
    d.accumulate = b.accumulate
    d.update = b.update if fuses_update(b.net, k, b.csr.indices != NULL) else NULL
    d.piece = least_piece(layer, d.n_in, b.team)
    d.sums = own + b.net.header.work_packed + b.net.scratch.sums
    d.skips = reads_relu(b.net, k)
    d.gradient = PACKED if packed else BLAS if layer.blas else NARROW
    d.inputs = d.gradient if k > 0 else NOTHING
    if sparse:
        d.gradient = CSR
        d.csc.values = own + b.net.header.work_input
        d.csc.samples = <int32_t *> (own + b.net.header.work_size)
        d.csc.ends = d.csc.samples + d.n_in * b.net.header.block
    if packed:
        share_panels(dz.p, 1, dz.ld, d.lanes, d.n_out, b.team, d.panels)
        d.dz_rows = Panels(d.panels, PANEL_COLUMNS, PANEL_COLUMNS * d.lanes)
        if k > 0 and has_relu(b.net, k) and density_percent(dz, d.n_out, d.lanes) < DENSE_PERCENT:
            d.inputs = MASKED
            d.piece = sparse_piece(d.n_in, b.team)
            d.sparse = share_masks(dz, d.n_out, d.lanes, b.team, d.dz_panels, masks)
        elif k > 0:
            share_panels(dz.p, dz.ld, 1, d.n_out, d.lanes, b.team, d.dz_panels)
        meet(b.team)
    elif sparse:  # each thread for itself, where dx would be
        rows = own + (dx.p - b.memory.work)
        transpose(dz.p, dz.ld, d.n_out, b.samples, NULL, rows, d.n_out)
        d.dz_rows = Panels(rows, d.n_out, PANEL_COLUMNS)
    # weights that were read for the inputs' gradient are in the cache for their own
    d.rows = UPDATE_ROWS if d.update != NULL or d.skips or d.inputs == MASKED else 0


cdef inline void share_panels(real *b, Size b_sum, Size b_column, Size n, Size columns,
                              Team *team, real *panels) noexcept nogil:
    """Pack a thread's share of the panels of a matrix."""
    cdef Size first = share(columns, PANEL_COLUMNS, team.thread, team.n_threads)
    cdef Size last = share(columns, PANEL_COLUMNS, team.thread + 1, team.n_threads)
    if first < last:
        pack_columns(b + first * b_column, b_sum, b_column, n, last - first, panels + first * n)


cdef inline SparseRows share_masks(Matrix x, Size n, Size lanes, Team *team, real *values,
                                   uint64_t *masks) noexcept nogil:
    """Compute a thread's share of the masks of n rows, by sample."""
    masks_by_sample(x, share(n, MASK_BITS, team.thread, team.n_threads),
                    share(n, MASK_BITS, team.thread + 1, team.n_threads), lanes, values, masks)
    return SparseRows(NULL, values, masks, lanes, lanes)


# --- the products -----------------------------------------------------------------


cdef void forward_units(Dense *d, Size unit, Size last) noexcept nogil:
    """``z = w.T x + b`` for the units from ``unit`` up to ``last``."""
    cdef Size units = last - unit
    cdef Matrix z = rows_of(d.z, unit)
    if d.forward == NARROW:
        product(d.x, Weights(d.w + unit, d.n_out, 1), d.b + unit, d.n_in, units, d.lanes, z)
    elif d.forward == PACKED:
        packed_product(Factor(d.w + unit, 1, d.n_out), d.panels, d.b + unit, False, units, d.lanes,
                       d.n_in, z, d.copy, no_update())
    elif d.forward == BLAS:
        fill_rows(d.b + unit, units, d.lanes, z)
        gemm(b"n", b"t", d.lanes, units, d.n_in, d.x, Matrix(d.w + unit, d.n_out), 1, 1, z)
    else:
        sparse_product(&d.sparse, SparseWeights(d.w, d.b, d.n_in, d.n_out, False), unit, last,
                       d.sums, d.z)


cdef void backward_rows(Dense *d, Size first, Size last) noexcept nogil:
    """Both gradients for the inputs from ``first`` up to ``last``, a few rows at a time."""
    cdef Size j = first, stop
    d.inputs_done = first
    if d.gradient == CSR:
        sort_by_column(&d.csr, first, last, &d.csc)
        d.csc_first = first
    while j < last:
        stop = smaller(j + d.rows, last) if d.rows > 0 else last
        backward_inputs(d, j, stop, last)
        backward_params(d, j, stop)
        j = stop


cdef void backward_inputs(Dense *d, Size first, Size stop, Size last) noexcept nogil:
    """``dx = w dz`` for the inputs from ``first`` up to ``stop``, or further up to ``last``."""
    cdef real *w = d.w + first * d.n_out
    cdef Size rows = stop - first, done
    if d.inputs == NARROW:
        product(d.dz, Weights(w, 1, d.n_out), NULL, d.n_out, rows, d.lanes, rows_of(d.dx, first))
    elif d.inputs == PACKED:
        packed_product(Factor(w, d.n_out, 1), d.dz_panels, NULL, False, rows, d.lanes, d.n_out,
                       rows_of(d.dx, first), d.copy, no_update())
    elif d.inputs == BLAS:
        gemm(b"n", b"n", d.lanes, rows, d.n_out, d.dz, Matrix(w, d.n_out), d.n_out, 0,
             rows_of(d.dx, first))
    elif d.inputs == MASKED:
        while d.inputs_done < stop:
            done = smaller(d.inputs_done + SPARSE_UNITS, last)
            sparse_product(&d.sparse, SparseWeights(d.w, NULL, d.n_out, d.n_in, True),
                           d.inputs_done, done, d.sums, d.dx)
            d.inputs_done = done


cdef void backward_params(Dense *d, Size first, Size stop) noexcept nogil:
    """``dw = x dz.T`` for some inputs, with the first of them ``db``; and the fused update."""
    cdef Size rows = stop - first, place = first * d.n_out
    cdef Matrix x = d.x
    cdef int strategy = d.gradient
    if d.gradient != CSR:
        x = rows_of(d.x, first)
    if first == 0 and d.gradient != NARROW:
        row_sums(d.dz, d.accumulate, d.n_out, d.lanes, d.db)
    if d.skips and density_percent(x, rows, d.lanes) < DENSE_PERCENT:
        strategy = MASKED
        masks_by_row(x, rows, d.lanes, d.masks)
    if strategy == NARROW:
        outer(x, d.dz, d.accumulate, rows, d.n_out, d.lanes, d.dw + place,
              d.db if first == 0 else NULL)
        if d.update != NULL:
            update_some(d.update, True, d.dw + place, d.start + place, rows * d.n_out, d.params)
    elif strategy == BLAS:
        gemm(b"t", b"n", d.n_out, rows, d.lanes, d.dz, x, x.ld, 1 if d.accumulate else 0,
             Matrix(d.dw + place, d.n_out))
    elif d.update == NULL:
        wide_gradient(d, strategy, x, first, rows, 0, d.n_out, Matrix(d.dw + place, d.n_out))
    else:
        fused_update(d, strategy, x, first, rows)


cdef void wide_gradient(Dense *d, int strategy, Matrix x, Size first, Size rows, Size column,
                        Size columns, Matrix out) noexcept nogil:
    """``x dz.T`` for some rows and columns, with ``x`` these rows; of CSR they begin at ``first``.
    """
    cdef Panels dz = d.dz_rows
    cdef UpdateRows update = no_update()
    cdef real *moments
    cdef Size place = d.start + first * d.n_out + column
    if d.update != NULL:
        moments = d.update.moments + place if d.update.n_moments > 0 else NULL
        update = UpdateRows(d.params + place, moments, d.n_out, d.update.second)
    dz.p += column // PANEL_COLUMNS * dz.panel
    if strategy == CSR:
        csc_outer(&d.csc, first - d.csc_first, rows, dz, d.accumulate, columns, out, update)
    elif strategy == MASKED:
        masked_outer(x, d.masks, dz, d.accumulate, rows, columns, d.lanes, out, update)
    else:
        packed_product(Factor(x.p, x.ld, 1), dz.p, NULL, d.accumulate, rows, columns, d.lanes, out,
                       d.copy, update)


cdef void fused_update(Dense *d, int strategy, Matrix x, Size first, Size rows) noexcept nogil:
    """Gradient of some rows of a wide layer's weights and their update, a tile after the other.

    Only what blocks before have added up is in memory for gradients.
    """
    cdef Size column = 0, columns, place, i
    cdef Matrix tile
    while column < d.n_out:
        columns = smaller(d.n_out - column, UPDATE_COLUMNS)
        place = first * d.n_out + column
        tile = Matrix(d.dw + place, d.n_out) if d.accumulate else Matrix(d.tile, UPDATE_COLUMNS)
        wide_gradient(d, strategy, x, first, rows, column, columns, tile)
        for i in range(rows):
            update_some(d.update, True, tile.p + i * tile.ld, d.start + place + i * d.n_out,
                        columns, d.params)
        column += columns


# --- layers by themselves -----------------------------------------------------------


cdef Dense layer_alone(Size n_in, Size n_out, Size samples) except * nogil:
    """A layer with matrices of its own, whose padding lanes are zero, from ``d.x.p`` on."""
    cdef Dense d
    cdef Size lanes = round_up(samples, PADDING)
    cdef Size panels = (max(n_in, n_out) + MASK_BITS) * (lanes + MASK_BITS)
    d.n_in, d.n_out, d.lanes = n_in, n_out, lanes
    d.x.p = <real *> calloc((n_in + n_out) * lanes + panels + COPY_SIZE, sizeof(real))
    if d.x.p == NULL:
        with gil:
            raise MemoryError
    d.z.p = d.x.p + n_in * lanes
    d.x.ld = d.z.ld = lanes
    d.dx, d.dz = d.x, d.z
    d.panels = d.dz_panels = d.z.p + n_out * lanes
    d.dz_rows = Panels(d.panels, PANEL_COLUMNS, PANEL_COLUMNS * lanes)
    d.copy = d.panels + panels
    d.forward = d.inputs = d.gradient = NARROW
    if n_in >= BLAS_WIDTH and n_out >= BLAS_WIDTH:
        d.forward = d.inputs = d.gradient = PACKED if PACKED_PRODUCTS else BLAS
    d.update, d.skips, d.start = NULL, False, 0
    return d


def dense_forward(cnp.ndarray x not None, cnp.ndarray w not None, cnp.ndarray b not None,
                  cnp.ndarray out not None):
    """``out = w.T x + b``."""
    cdef Matrix w_ = matrix(w, -1, -1, False, "w")
    cdef Size n_in = dim(w, 0), n_out = dim(w, 1)
    cdef Matrix x_ = matrix(x, n_in, -1, False, "x")
    cdef Size samples = dim(x, 1)
    cdef Matrix out_ = matrix(out, n_out, samples, True, "out")
    cdef real *b_ = reals(b, n_out, False, "b")
    cdef Dense d
    with nogil:
        d = layer_alone(n_in, n_out, samples)
        d.w, d.b = w_.p, b_
        copy_rows(x_, n_in, samples, samples, d.x)
        if d.forward == PACKED:
            pack_columns(d.x.p, d.x.ld, 1, n_in, d.lanes, d.panels)
        forward_units(&d, 0, n_out)
        copy_rows(d.z, n_out, samples, samples, out_)
        free(d.x.p)


def dense_backward_params(cnp.ndarray x not None, cnp.ndarray dz not None, bint accumulate,
                          cnp.ndarray dw not None, cnp.ndarray db not None):
    """``dw = x dz.T``, ``db = sum of dz over the samples``."""
    cdef Matrix x_ = matrix(x, -1, -1, False, "x")
    cdef Size n_in = dim(x, 0), samples = dim(x, 1)
    cdef Matrix dz_ = matrix(dz, -1, samples, False, "dz")
    cdef Size n_out = dim(dz, 0)
    cdef Matrix dw_ = matrix(dw, n_in, n_out, True, "dw")
    cdef real *db_ = reals(db, n_out, True, "db")
    cdef Dense d
    with nogil:
        d = layer_alone(n_in, n_out, samples)
        d.dw, d.db, d.accumulate = dw_.p, db_, accumulate
        copy_rows(x_, n_in, samples, samples, d.x)
        copy_rows(dz_, n_out, samples, samples, d.dz)
        if d.gradient == PACKED:
            pack_columns(d.dz.p, 1, d.dz.ld, d.lanes, n_out, d.panels)
        backward_params(&d, 0, n_in)
        free(d.x.p)


def dense_backward_inputs(cnp.ndarray w not None, cnp.ndarray dz not None,
                          cnp.ndarray dx not None):
    """``dx = w dz``."""
    cdef Matrix w_ = matrix(w, -1, -1, False, "w")
    cdef Size n_in = dim(w, 0), n_out = dim(w, 1)
    cdef Matrix dz_ = matrix(dz, n_out, -1, False, "dz")
    cdef Size samples = dim(dz, 1)
    cdef Matrix dx_ = matrix(dx, n_in, samples, True, "dx")
    cdef Dense d
    with nogil:
        d = layer_alone(n_in, n_out, samples)
        d.w = w_.p
        copy_rows(dz_, n_out, samples, samples, d.dz)
        if d.inputs == PACKED:
            pack_columns(d.dz.p, d.dz.ld, 1, n_out, d.lanes, d.dz_panels)
        backward_inputs(&d, 0, n_in, n_in)
        copy_rows(d.dx, n_in, samples, samples, dx_)
        free(d.x.p)
