# The strategy by which the products of a dense layer are computed.
#
# `prepare_forward` and `prepare_backward` choose a strategy for a layer, block and direction:
#
#   SINGLE  matrix-vector products, for batches of one sample (products.h)
#   NARROW  loops along the samples, without packing (products.h)
#   PACKED  packed panels and a micro-kernel, for wide layers (packed.h)
#   BLAS    for wide layers if packed products are not compiled
#   MASKED  non-zero masks, if many ReLU units of the layer before or of this layer are inactive
#           (sparse.h)
#   CSR     sparse input
#
# The threads then call `forward_units` of products.pxi for ranges of units, or `backward_rows` for
# ranges of inputs, with any strategy. With a fused update, `backward_rows` also updates the weights
# while their gradient is in the cache.

cdef extern from "data.h" nogil:
    void fill_rows(const real *b, Size rows, Size padded, Matrix out) noexcept
    void copy_rows(Matrix x, Size rows, Size samples, Size padded, Matrix out) noexcept

cdef extern from "vector.h" nogil:
    void transpose(const real *x, Size ldx, Size rows, Size columns, const real *start, real *out,
                   Size ldo) noexcept

cdef extern from "products.h" nogil:
    void product(Matrix x, Matrix w, const real *b, Size n_in, Size n_out, Size padded,
                 Matrix out) noexcept
    void product_transposed(Matrix x, Matrix w, Size n_in, Size n_out, Size padded,
                            Matrix out) noexcept
    void outer_product(Matrix x, Matrix dz, bint accumulate, Size n_in, Size n_out, Size padded,
                       real *dw, real *db) noexcept
    void one_sample_transposed(const real *x, Matrix w, Size n_in, Size n_out, real *out) noexcept
    void one_sample_outer(const real *x, const real *dz, Size n_in, Size n_out, real *dw) noexcept
    void few_samples_product(const real *x, Matrix w, const real *b, Size samples, Size n_in,
                             Size n_out, real *out) noexcept
    void row_sums(Matrix dz, bint accumulate, Size n_out, Size padded, real *db) noexcept

cdef extern from "packed.h" nogil:
    const bint PACKED_PRODUCTS
    const int NR, EDGE_SIZE
    ctypedef struct Factor:
        const real *p
        Size row_stride, k_stride
    ctypedef struct UpdateRows:
        const real *weights
        const real *moments
        Size ld, second
    UpdateRows no_update() noexcept
    void pack_columns(const real *b, Size b_k_stride, Size b_col_stride, Size n, Size columns,
                      real *out) noexcept
    void packed_product(Factor a, const real *panels, const real *bias, bint accumulate, Size rows,
                        Size columns, Size n, Matrix out, real *edge_rows,
                        UpdateRows update) noexcept

cdef extern from "sparse.h" nogil:
    const int MASK_BITS, MAX_SUMS, SPARSE_UNITS, DENSE_PERCENT
    ctypedef struct SparseRows:
        const CsrBlock *csr
        const real *values
        const uint64_t *masks
        Size samples, padded
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
    int density_percent(Matrix x, Size rows, Size padded) noexcept
    void masks_by_sample(Matrix x, Size first, Size last, Size padded, real *values,
                         uint64_t *masks) noexcept
    void masks_by_row(Matrix x, Size rows, Size padded, uint64_t *masks) noexcept
    void masked_outer_product(Matrix x, const uint64_t *masks, Panels dz, bint accumulate,
                              Size rows, Size columns, Size padded, Matrix dw,
                              UpdateRows update) noexcept
    void sort_by_column(const CsrBlock *x, Size first, Size last, CscBlock *out) noexcept
    void csc_outer_product(const CscBlock *x, Size first, Size inputs, Panels dz, bint accumulate,
                           Size columns, Matrix dw, UpdateRows update) noexcept

cdef extern from "plan.h" nogil:
    const int UPDATE_ROWS, UPDATE_COLUMNS

cdef enum:
    NOTHING, SINGLE, NARROW, PACKED, BLAS, MASKED, CSR


cdef struct Dense:
    # A dense layer and one block: operands, results and strategies of the products.
    Size n_in, n_out, padded
    Matrix x, z, dz, dx  # x.p is NULL if the input is sparse
    real *w
    real *b
    real *dw
    real *db
    bint accumulate  # add to the gradient
    Update *update  # fused update of the weights, or NULL
    Size start  # offset of the weights in the parameters
    Size part  # part of the parameters, see Rule
    real *params
    int forward, inputs, gradient  # strategies: net inputs, input gradient, weight gradient
    Size grain_size  # smallest number of units or inputs that a thread takes
    Size rows_at_a_time  # inputs processed at a time in the backward pass; 0: all
    bint skips_zeros  # use masks for the weight gradient, for rows of x with enough zeros
    Size inputs_done  # inputs that backward_inputs has computed; may be more than requested
    CsrBlock *csr
    CscBlock csc
    Size csc_first
    SparseRows sparse  # factor of a MASKED or CSR product
    real *panels  # packed panels of x
    real *dz_panels  # packed panels of dz
    Panels dz_rows  # packed panels of dz.T
    real *sums  # scratch memory
    real *edge_rows
    real *tile
    uint64_t *masks


cdef inline bint has_relu(Net *net, Size k) noexcept nogil:
    """Return whether layer k has ReLU units, so that many outputs and derivatives may be zero."""
    return net.layers[k].activation == RELU


cdef inline bint follows_relu(Net *net, Size k) noexcept nogil:
    """Return whether a wide layer's inputs come from ReLU units, perhaps through dropout."""
    if not PACKED_PRODUCTS or k == 0 or not net.layers[k].wide:
        return False
    if net.layers[k - 1].kind == DROPOUT:
        k -= 1
    return has_relu(net, k - 1)


cdef inline bint fuses_update(Net *net, Update *update, Size k, bint sparse) noexcept nogil:
    """Return whether a layer's weights are updated while their gradient is computed."""
    if update == NULL or k == 0 and update.rule.features:
        return False
    if net.layers[k].wide:
        return PACKED_PRODUCTS and net.header.split_units
    return net.header.split_units and (k > 0 or not sparse)


cdef inline Size grain_size(Layer *layer, Size n, Team *team) noexcept nogil:
    """Return the smallest piece of n units or inputs that a thread takes.

    With BLAS, which packs its factors in each call, there is one piece per thread.
    """
    if layer.wide and not PACKED_PRODUCTS:
        return round_up((n + team.n_threads - 1) // team.n_threads, UNITS)
    return UNITS if layer.wide else UNITS // 2


cdef inline Size sparse_grain_size(Size units, Team *team) noexcept nogil:
    """Return the piece for loops along the units: full registers, or less for many threads."""
    cdef Size pieces = 2 * team.n_threads  # more pieces would cost more than the balance gains
    cdef Size vector = SPARSE_UNITS // MAX_SUMS
    if team.n_threads == 1 or units >= pieces * SPARSE_UNITS:
        return SPARSE_UNITS
    return 6 * vector if units >= pieces * 6 * vector else 4 * vector


cdef inline void set_operands(Block *b, Size k, Dense *d) noexcept nogil:
    """Set the operands that both directions use."""
    cdef Layer *layer = b.net.layers + k
    cdef real *work = b.memory.work
    cdef real *thread_work = b.memory.thread_work
    cdef real *products
    d.n_in, d.n_out, d.padded = layer.fan_in, layer.fan_out, b.padded
    d.x = b.x
    if k > 0:
        d.x = Matrix(work + b.net.layers[k - 1].output, b.ld)
    d.z = Matrix(work + layer.net_input, b.ld)
    d.params, d.start = b.memory.params, layer.weights
    d.w, d.b = d.params + layer.weights, d.params + layer.biases
    d.csr = &b.csr
    if layer.wide:
        products = thread_work + b.net.header.work_packed
        d.panels = work + b.net.header.work_packed + b.net.scratch.shared[0]
        d.edge_rows, d.tile = products + b.net.scratch.edge_rows, products + b.net.scratch.tile
        d.masks = <uint64_t *> (products + b.net.scratch.masks)


cdef inline int dense_strategy(Block *b, Layer *layer) noexcept nogil:
    """Return the strategy if no operand is sparse."""
    if b.single:
        return SINGLE
    if not layer.wide:
        return NARROW
    return PACKED if PACKED_PRODUCTS else BLAS


cdef inline void prepare_forward(Block *b, Size k, Dense *d) noexcept nogil:
    """Choose the strategy for the net inputs, and prepare panels or masks of x.

    Each thread prepares a share of them, in the scratch memory of the first thread.
    """
    cdef Layer *layer = b.net.layers + k
    cdef real *shared = b.memory.work + b.net.header.work_packed
    cdef uint64_t *masks = <uint64_t *> (shared + b.net.scratch.shared[1])
    set_operands(b, k, d)
    d.grain_size = grain_size(layer, d.n_out, b.team)
    d.sums = b.memory.thread_work + b.net.header.work_delta
    if d.x.p == NULL:
        d.forward = CSR
        d.grain_size = sparse_grain_size(d.n_out, b.team)
        d.sparse = SparseRows(&b.csr, NULL, NULL, b.samples, d.padded)
    elif b.single:
        d.forward = SINGLE
    elif follows_relu(b.net, k) and density_percent(d.x, d.n_in, d.padded) < DENSE_PERCENT:
        d.forward = MASKED
        d.grain_size = sparse_grain_size(d.n_out, b.team)
        d.sparse = mask_share(d.x, d.n_in, d.padded, b.team, d.panels, masks)
        barrier(b.team)
    elif not layer.wide:
        d.forward = NARROW
    elif PACKED_PRODUCTS:
        d.forward = PACKED
        pack_share(d.x.p, d.x.ld, 1, d.n_in, d.padded, b.team, d.panels)
        barrier(b.team)
    else:
        d.forward = BLAS


cdef inline void prepare_backward(Block *b, Size k, Matrix dz, Matrix dx, Dense *d) noexcept nogil:
    """Choose the strategies for both gradients, and prepare panels or masks of dz."""
    cdef Layer *layer = b.net.layers + k
    set_operands(b, k, d)
    d.dz, d.dx = dz, dx
    d.dw, d.db = b.memory.grads + layer.weights, b.memory.grads + layer.biases
    d.accumulate = b.accumulate
    d.update = b.update if fuses_update(b.net, b.update, k, b.csr.indices != NULL) else NULL
    d.part = 2 * k
    d.grain_size = grain_size(layer, d.n_in, b.team)
    d.skips_zeros = follows_relu(b.net, k) and not b.single
    d.gradient = dense_strategy(b, layer)
    d.inputs = d.gradient if k > 0 else NOTHING
    if d.gradient == PACKED:
        prepare_packed_backward(b, k, d)
    if d.x.p == NULL:
        prepare_sparse_backward(b, d)
    # a few rows at a time, so that weights read for the input gradient are still in the cache when
    # they are updated
    d.rows_at_a_time = UPDATE_ROWS if d.update != NULL or d.skips_zeros or d.inputs == MASKED else 0


cdef void prepare_packed_backward(Block *b, Size k, Dense *d) noexcept nogil:
    """Pack panels of dz.T, and panels or masks of dz for the input gradient."""
    cdef real *shared = b.memory.work + b.net.header.work_packed
    cdef uint64_t *masks = <uint64_t *> (shared + b.net.scratch.shared[2])
    d.sums = b.memory.thread_work + b.net.header.work_packed + b.net.scratch.sums
    d.dz_panels = shared + b.net.scratch.shared[1]
    pack_share(d.dz.p, 1, d.dz.ld, d.padded, d.n_out, b.team, d.panels)
    d.dz_rows = Panels(d.panels, NR, NR * d.padded)
    if k > 0 and has_relu(b.net, k) and density_percent(d.dz, d.n_out, d.padded) < DENSE_PERCENT:
        d.inputs = MASKED
        d.grain_size = sparse_grain_size(d.n_in, b.team)
        d.sparse = mask_share(d.dz, d.n_out, d.padded, b.team, d.dz_panels, masks)
    elif k > 0:
        pack_share(d.dz.p, d.dz.ld, 1, d.n_out, d.padded, b.team, d.dz_panels)
    barrier(b.team)


cdef void prepare_sparse_backward(Block *b, Dense *d) noexcept nogil:
    """Set scratch memory for the input sorted by column; transpose dz unless it is packed."""
    cdef Header *header = b.net.header
    # free, since dx is not computed
    cdef real *rows = b.memory.thread_work + (d.dx.p - b.memory.work)
    if d.gradient != PACKED:  # each thread makes its own copy
        transpose(d.dz.p, d.dz.ld, d.n_out, b.samples, NULL, rows, d.n_out)
        d.dz_rows = Panels(rows, d.n_out, NR)
    d.gradient = CSR
    d.csc.values = b.memory.thread_work + header.work_input
    d.csc.samples = <int32_t *> (b.memory.thread_work + header.work_size)
    d.csc.ends = d.csc.samples + d.n_in * header.block_size


cdef inline void pack_share(real *b, Size b_k_stride, Size b_col_stride, Size n, Size columns,
                            Team *team, real *panels) noexcept nogil:
    """Pack a thread's share of the panels of a matrix."""
    cdef Size first = share_start(columns, NR, team.thread, team.n_threads)
    cdef Size last = share_start(columns, NR, team.thread + 1, team.n_threads)
    if first < last:
        pack_columns(b + first * b_col_stride, b_k_stride, b_col_stride, n, last - first,
                     panels + first * n)


cdef inline SparseRows mask_share(Matrix x, Size n, Size padded, Team *team, real *values,
                                  uint64_t *masks) noexcept nogil:
    """Compute a thread's share of the masks by sample of n rows of x."""
    masks_by_sample(x, share_start(n, MASK_BITS, team.thread, team.n_threads),
                    share_start(n, MASK_BITS, team.thread + 1, team.n_threads), padded, values,
                    masks)
    return SparseRows(NULL, values, masks, padded, padded)
