# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, freethreading_compatible=True
"""The kernels of :mod:`fastnn.backends.numpy_kernels` compiled by Cython.

Formulas, shapes and meanings of the arguments stand there; the inner loops are C functions in
``vector_math.h``. Here are layers and networks made of them. This file is compiled once for each
vector level; :mod:`fastnn.backends.cython` chooses.

* A matrix is a pointer and a leading dimension, because a view of an array costs a reference
  count. The functions that take ``real`` pointers exist for float and double.
* ``lanes`` is a number of samples rounded up to ``PADDING``, so that no loop ends in scalar code.
  A block that is not whole is copied to scratch memory, its last sample repeated: the padding is
  as finite as the data. Its weight is zero, so that no gradient comes from it.
* Public functions check the arrays' types and sizes, then work without the interpreter's lock.
"""

from libc.math cimport isfinite, pow, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from scipy.linalg.cython_blas cimport dgemm, sgemm

cimport numpy as cnp

cnp.import_array()

NAME = "cython"

ctypedef long long Size

ctypedef fused real:
    float
    double

cdef extern from "vector_math.h" nogil:
    const int PADDING, DENSE, DROPOUT, IDENTITY
    const int CROSS_ENTROPY
    const int SGD, ADAM
    const int KIND, FAN_IN, FAN_OUT, WEIGHTS, BIASES, ACTIVATION, BLAS, NET_INPUT, OUTPUT
    const int LAYER_COLUMNS
    const bint PACKED_PRODUCTS
    const int COPY_SIZE, SUMS, SPARSE_UNITS, MARKED_PERCENT, FEW_PACKED
    const int RELU
    const int N_PARAMS, BLOCK, GROUPS, WORK_SIZE, WORK_INPUT, WORK_TARGETS, WORK_SAMPLE_WEIGHT
    const int WORK_DELTA, WORK_DELTA_OTHER, SHARED, WORK_PACKED, HEADER_SIZE
    const int STREAM_DROPOUT
    const int ONLY_EXP, ONLY_EXPM1, ONLY_TANH, ONLY_SIGMOID, ONLY_LOG, ONLY_LOG1P, ONLY_SOFTPLUS

    int processor_level() noexcept
    void barrier(int n_threads, int64_t *sync) noexcept
    int64_t take_ticket(int64_t *sync) noexcept
    bint claim(int64_t *claims, int64_t turn) noexcept
    uint64_t mix_bits(uint64_t z) noexcept
    uint64_t stream_key(uint64_t seed, uint64_t purpose, uint64_t number) noexcept
    void shuffle_order(uint64_t seed, Size epoch, Size samples, int64_t *order) noexcept
    void cut_rows(const int32_t *indices, const int64_t *indptr, const int64_t *order, Size first,
                  Size samples, Size columns, Size start, Size stop, int32_t *cuts) noexcept

    # Macros that choose by the type of their first argument: pointers to float or double.
    void product(void *x, Size ldx, void *w, Size step_in, Size step_out, void *b, Size n_in,
                 Size n_out, Size lanes, void *out, Size ldo) noexcept
    void outer(void *x, Size ldx, void *dz, Size ldz, bint accumulate, Size n_in, Size n_out,
               Size lanes, void *dw, void *db) noexcept
    void pack_columns(void *b, Size b_sum, Size b_column, Size n, Size columns,
                      void *out) noexcept
    void packed_product(void *a, Size a_row, Size a_sum, void *panels, void *bias,
                        bint accumulate, Size rows, Size columns, Size n, void *out, Size ldo,
                        void *packed, void *beside, Size ld_beside, Size other) noexcept
    void row_sums(void *dz, Size ldz, bint accumulate, Size n_out, Size lanes, void *db) noexcept
    void rows_product(void *x, void *w, void *b, Size samples, Size n_in, Size n_out,
                      void *out) noexcept
    int percent_on(void *x, Size ldx, Size rows, Size lanes) noexcept
    void mark_inputs(void *x, Size ldx, Size first, Size last, Size lanes, void *values,
                     uint64_t *marks) noexcept
    void mark_samples(void *x, Size ldx, Size rows, Size lanes, uint64_t *marks) noexcept
    void mark_stored(void *values, const int32_t *indices, const int64_t *indptr,
                     const int64_t *order, Size first, Size samples, const int32_t *cuts,
                     Size input, Size last, void *out, Size ldo, uint64_t *marks) noexcept
    void marked_outer(void *x, Size ldx, const uint64_t *marks, void *panels, bint accumulate,
                      Size rows, Size columns, Size lanes, void *dw, Size ldw, void *w,
                      void *beside, Size ld_beside, Size other) noexcept
    void sparse_forward(void *values, const int32_t *indices, const int64_t *indptr,
                        const int64_t *order, Size first, Size samples, Size lanes,
                        const int32_t *cuts, const uint64_t *marks, void *w, void *b, bint turned,
                        Size n_in, Size n_out, Size unit, Size last, void *scratch, void *out,
                        Size ldo) noexcept
    void sort_by_column(void *values, const int32_t *indices, const int64_t *indptr,
                        const int64_t *order, Size first, Size samples, Size columns,
                        int32_t *ends, void *out, int32_t *out_samples) noexcept
    void sparse_outer(void *values, const int32_t *samples_of, const int32_t *ends, Size inputs,
                      void *rows, Size columns, bint accumulate, void *dw, Size ldw) noexcept
    void fill_rows(void *b, Size rows, Size lanes, void *out, Size ldo) noexcept
    void copy_rows(void *x, Size ldx, Size rows, Size samples, Size lanes, bint zeros, void *out,
                   Size ldo) noexcept
    void gather(void *out, Size ldo, const void *source, Size features, const int64_t *order,
                Size first, Size samples, Size lanes) noexcept
    void gather_bytes(void *out, Size ldo, const void *source, Size features,
                      const int64_t *order, Size first, Size samples, Size lanes) noexcept
    bint all_finite(void *x, Size n) noexcept
    void transpose(void *x, Size ldx, Size rows, Size columns, void *start, void *out,
                   Size ldo) noexcept
    void activate(void *z, int activation, double alpha, Size n, void *out) noexcept
    void activate_back(void *z, void *a, int activation, double alpha, Size n, void *da) noexcept
    void apply_dropout(void *x, Size ldx, double rate, uint64_t key, Size first, Size units,
                       Size lanes, void *out, Size ldo) noexcept
    double loss_rows(void *z, Size ldz, void *targets, Size ldt, void *weights, int loss,
                     double constant, double scale, Size units, Size samples, Size lanes, void *dz,
                     Size lddz) noexcept
    void transform_rows(void *z, Size ld, int loss, Size units, Size lanes) noexcept
    void update_range(void *grads, double l2, double shrink, int rule, const double *constants,
                      double rate, Size n, void *params, void *state0, void *state1) noexcept
    void fetch_range(void *x, Size n) noexcept
    void add_to(void *x, Size n, void *out) noexcept
    void clip_entries(void *grads, double limit, Size n) noexcept
    void scale_range(void *x, double factor, Size n) noexcept
    void average_range(void *params, double keep, Size n, void *out) noexcept
    void add_scaled(void *x, double factor, Size n, void *out) noexcept
    double sum_of_squares(void *x, Size n) noexcept
    double sum_range(void *x, const int64_t *order, Size first, Size n) noexcept
    void elementwise(void *x, int function, Size n, void *out) noexcept


cdef enum:
    MAX_GROUPS = 16  # as in fastnn/backends/plan.py
    SYNC_SIZE = 8 + 2 * MAX_GROUPS  # the barrier and tickets, losses of the groups, who has them
    FEW_SAMPLES = 5  # fewer are predicted with loops along the units
    FEW_SAMPLES_WIDE = 10  # ... by a network with many weights
    WIDE = 4096  # parameters of one
    BLAS_WIDTH = 48  # as in fastnn/backends/plan.py, for the layer kernels called by themselves
    LINE = 64  # parameters are shared out among the threads in multiples of this
    UNITS = 48  # and units: whole tiles; the size of BLAS's own, too
    # Multiply-adds up to which BLAS may have other loops (OpenBLAS has with AVX-512).
    SMALL_PRODUCT = 1000000
    UPDATED_ROWS = 48  # rows and columns of a gradient that become an update while in the cache
    UPDATED_COLUMNS = 384
    TURNED_ROWS = 128  # of the inputs' gradient at a time where dz is marked; SPARSE_UNITS or more
    PANEL = 32  # columns that whole panels have
    PANELS = 64  # the columns of a panel divide it; and PART, the bits of an integer
    GATHERED = 16  # as in vector_math.h: samples are gathered so many at a time
    UPDATED = 2048  # parameters at a time: what was summed is still in the cache


def vector_levels():
    """Names of the vector levels that this processor has, lowest first."""
    return ["baseline", "avx2", "avx512"][:processor_level() + 1]


# --- what comes in ----------------------------------------------------------------


cdef int check(cnp.ndarray array, int dtype, Size size, bint written, str name) except -1:
    """A wrong array must not corrupt memory: type, layout and a least size."""
    if cnp.PyArray_TYPE(array) != dtype:
        raise TypeError(f"{name} has the wrong dtype, {array.dtype}")
    if not (cnp.PyArray_ISCARRAY(array) if written else cnp.PyArray_ISCARRAY_RO(array)):
        raise ValueError(f"{name} must be C-contiguous{', writeable' if written else ''}")
    if cnp.PyArray_SIZE(array) < size:
        raise ValueError(f"{name} has {cnp.PyArray_SIZE(array)} elements; {size} are needed")
    return 0


cdef int check_matrix(cnp.ndarray array, int dtype, Size rows, Size columns, bint written,
                      str name) except -1:
    """As :func:`check`, for a shape; -1 stands for any number."""
    check(array, dtype, 0, written, name)
    if (
        cnp.PyArray_NDIM(array) != 2
        or rows >= 0 and cnp.PyArray_DIM(array, 0) != rows
        or columns >= 0 and cnp.PyArray_DIM(array, 1) != columns
    ):
        raise ValueError(
            f"{name} has shape {(<object> array).shape}; needed is ({rows}, {columns})"
        )
    return 0


cdef int real_type(cnp.ndarray array, str name) except -1:
    """Type number of an array that decides about the dtype of a call."""
    cdef int dtype = cnp.PyArray_TYPE(array)
    if dtype != cnp.NPY_FLOAT and dtype != cnp.NPY_DOUBLE:
        raise TypeError(f"{name} must be float32 or float64, not {array.dtype}")
    return dtype


cdef inline void *data(cnp.ndarray array) noexcept:
    return cnp.PyArray_DATA(array)


cdef inline Size dim(cnp.ndarray array, int axis) noexcept:
    return cnp.PyArray_DIM(array, axis)


cdef struct Job:
    # A network and the data it is to learn from; the pointers to void are real ones.
    int64_t *header
    int64_t *layers
    double *constants
    Size n_layers
    int loss
    double l2
    uint64_t seed
    void *x
    bint x_is_bytes
    int32_t *indices  # NULL: x is dense
    int64_t *indptr
    void *targets
    void *weights  # NULL: all ones
    Size samples
    Size features
    Size n_targets
    int64_t *order  # NULL: batches are ranges of columns


cdef int read_plan(cnp.ndarray header, cnp.ndarray layers, cnp.ndarray constants,
                   Job *job) except -1:
    """Check the plan's arrays (their contents are Plan's business)."""
    check(header, cnp.NPY_INT64, HEADER_SIZE, False, "header")
    check_matrix(layers, cnp.NPY_INT64, -1, LAYER_COLUMNS, False, "layers")
    job.n_layers = dim(layers, 0)
    check(constants, cnp.NPY_DOUBLE, job.n_layers, False, "constants")
    job.header = <int64_t *> data(header)
    job.layers = <int64_t *> data(layers)
    job.constants = <double *> data(constants)
    if job.n_layers < 1 or job.header[GROUPS] > MAX_GROUPS:
        raise ValueError("not a plan of this version")
    cdef int64_t *row
    cdef Size k, columns, widest = 0
    for k in range(job.n_layers):
        row = job.layers + k * LAYER_COLUMNS
        if row[KIND] == DENSE and row[BLAS]:
            widest = max(widest, max(row[FAN_IN], row[FAN_OUT]))
    columns = (widest + PANELS - 1) // PANELS * PANELS
    if PACKED_PRODUCTS and widest and panels_size(job) < columns * job.header[BLOCK]:
        raise ValueError("the plan has no room for packed products")
    return 0


cdef int read_net(net, Job *job) except -1:
    """The plan, the loss and its penalty."""
    job.loss, job.l2 = net.loss, net.l2
    return read_plan(net.header, net.layers, net.constants, job)


def product_scratch(Size block, Size widest, Size itemsize):
    """Scratch numbers that the products of wide layers need beside the plan's own."""
    if widest == 0:
        return 0
    return (COPY_SIZE + UPDATED_ROWS * UPDATED_COLUMNS
            + 2 * UPDATED_ROWS * (block // PANELS) + (UPDATED_ROWS + TURNED_ROWS) * block
            + 3 * ((widest + PANELS - 1) // PANELS * PANELS * block))


cdef int read_data(cnp.ndarray x, cnp.ndarray targets, cnp.ndarray sample_weight, int dtype,
                   bint shuffled, Job *job) except -1:
    """Check the data against the plan; x is checked as sparse where ``indptr`` is there."""
    cdef int64_t *last = job.layers + (job.n_layers - 1) * LAYER_COLUMNS
    cdef bint sparse = job.indptr != NULL
    job.features = job.layers[FAN_IN]
    job.n_targets = 1 if job.loss == CROSS_ENTROPY else last[FAN_OUT]
    job.x_is_bytes = shuffled and not sparse and cnp.PyArray_TYPE(x) == cnp.NPY_UINT8
    cdef int x_type = cnp.NPY_UINT8 if job.x_is_bytes else dtype
    if shuffled:
        check_matrix(targets, dtype, -1, job.n_targets, False, "targets")
        job.samples = dim(targets, 0)
    else:
        check_matrix(targets, dtype, job.n_targets, -1, False, "targets")
        job.samples = dim(targets, 1)
    if sparse:
        check_matrix(x, x_type, 1, -1, False, "x")
    elif shuffled:
        check_matrix(x, x_type, job.samples, job.features, False, "x")
    else:
        check_matrix(x, x_type, job.features, job.samples, False, "x")
    if job.samples < 1:
        raise ValueError("x has no samples")
    job.x, job.targets, job.weights = data(x), data(targets), NULL
    if cnp.PyArray_SIZE(sample_weight):
        check(sample_weight, dtype, job.samples, False, "sample_weight")
        job.weights = data(sample_weight)
    return 0


# --- random numbers -----------------------------------------------------------------


def mix(uint64_t z):
    """Next output of SplitMix64 from the state ``z``."""
    return mix_bits(z)


def stream(uint64_t seed, uint64_t purpose, uint64_t number):
    """Key of one random stream; the draw at position i is ``mix(key + i)``."""
    return stream_key(seed, purpose, number)


def shuffle(uint64_t seed, Size epoch, cnp.ndarray order not None):
    """Random order of the samples in one epoch."""
    check(order, cnp.NPY_INT64, 0, True, "order")
    cdef int64_t *order_ = <int64_t *> data(order)
    cdef Size samples = cnp.PyArray_SIZE(order)
    with nogil:
        shuffle_order(seed, epoch, samples, order_)


# --- layers -------------------------------------------------------------------------


cdef inline Size padded(Size samples) noexcept nogil:
    """Rounded up to whole vectors."""
    return (samples + PADDING - 1) // PADDING * PADDING


cdef void gemm(char *trans_a, char *trans_b, Size m_, Size columns, Size k_, real *a, Size lda_,
               real *b, Size each, Size ldb_, real beta, real *c, Size ldc_) noexcept nogil:
    """Column-major ``c = op(a) op(b) + beta c`` by the BLAS that SciPy brings.

    Columns of op(b) are ``each`` numbers apart. Small products are made piece by piece always, of
    the pieces that threads may cut them at, so that every sum has the same order.
    """
    cdef int m = <int> m_, n, k = <int> k_
    cdef int lda = <int> lda_, ldb = <int> ldb_, ldc = <int> ldc_
    cdef real one = 1
    cdef Size piece, pieces = columns // UNITS if UNITS * m_ * k_ <= SMALL_PRODUCT else 1
    for piece in range(max(pieces, 1)):
        n = <int> (UNITS if piece < pieces - 1 else columns - piece * UNITS)
        if real is float:
            sgemm(trans_a, trans_b, &m, &n, &k, &one, a, &lda, b, &ldb, &beta, c, &ldc)
        else:
            dgemm(trans_a, trans_b, &m, &n, &k, &one, a, &lda, b, &ldb, &beta, c, &ldc)
        b += UNITS * each
        c += UNITS * ldc_


# Three products. ``packed`` is scratch memory for those of a wide layer, COPY_SIZE
# numbers; NULL: the layer is not. ``panels`` are then the packed columns of the second factor.


cdef inline void forward_dense(real *x, Size ldx, real *panels, real *w, real *b, Size n_in,
                               Size ldw, Size n_out, Size lanes, real *out, Size ldo,
                               real *packed) noexcept nogil:
    """Of ``n_out`` neighbouring units of a layer of ``ldw``; panels of ``x``."""
    if packed == NULL:
        product(x, ldx, w, ldw, 1, b, n_in, n_out, lanes, out, ldo)
    elif PACKED_PRODUCTS:
        packed_product(w, 1, ldw, panels, b, False, n_out, lanes, n_in, out, ldo, packed, NULL, 0,
                       0)
    else:
        fill_rows(b, n_out, lanes, out, ldo)
        gemm(b"n", b"t", lanes, n_out, n_in, x, ldx, w, 1, ldw, <real> 1, out,
             ldo)


cdef inline void backward_params(real *x, Size ldx, real *dz, Size ldz, real *panels,
                                 bint accumulate, Size n_in, Size n_out, Size lanes, real *dw,
                                 real *db, real *packed) noexcept nogil:
    """Panels of ``dz.T``."""
    if packed == NULL:
        outer(x, ldx, dz, ldz, accumulate, n_in, n_out, lanes, dw, db)
        return
    if PACKED_PRODUCTS:
        packed_product(x, ldx, 1, panels, <real *> NULL, accumulate, n_in, n_out, lanes, dw,
                       n_out, packed, NULL, 0, 0)
    else:
        gemm(b"t", b"n", n_out, n_in, lanes, dz, ldz, x, ldx, ldx,
             <real> (1 if accumulate else 0), dw, n_out)
    if db != NULL:
        row_sums(dz, ldz, accumulate, n_out, lanes, db)


cdef inline void backward_inputs(real *w, real *dz, Size ldz, real *panels, Size n_in, Size n_out,
                                 Size lanes, real *dx, Size ldx, real *packed) noexcept nogil:
    """Panels of ``dz``."""
    if packed == NULL:
        product(dz, ldz, w, 1, n_out, <real *> NULL, n_out, n_in, lanes, dx, ldx)
    elif PACKED_PRODUCTS:
        packed_product(w, n_out, 1, panels, <real *> NULL, False, n_in, lanes, n_out, dx, ldx,
                       packed, NULL, 0, 0)
    else:
        gemm(b"n", b"n", lanes, n_in, n_out, dz, ldz, w, n_out, n_out, <real> 0, dx, ldx)


# The three kernels for any number of samples: whole vectors where they lie, the rest through
# padded copies of the last columns.


cdef real *scratch_memory(real *like, Size n_in, Size n_out, Size samples, real **packed,
                          real **panels) except NULL nogil:
    """For a product by itself: padded copies, and what a wide layer's products pack."""
    cdef Size size = (n_in + n_out) * PADDING
    cdef bint wide = n_in >= BLAS_WIDTH and n_out >= BLAS_WIDTH
    cdef real *memory
    packed[0], panels[0] = NULL, NULL
    if wide:
        size += COPY_SIZE + (max(n_in, n_out) + PANELS) * (samples + PANELS)
    memory = <real *> malloc(size * sizeof(real))
    if memory == NULL:
        with gil:
            raise MemoryError
    if wide:
        packed[0] = memory + (n_in + n_out) * PADDING
        panels[0] = packed[0] + COPY_SIZE
    return memory


cdef int dense_forward_any(real *x, real *w, real *b, Size n_in, Size n_out, Size samples,
                           real *out) except -1 nogil:
    cdef real *packed
    cdef real *panels
    cdef real *copy = scratch_memory(x, n_in, n_out, samples, &packed, &panels)
    cdef Size whole = samples if packed != NULL else samples // PADDING * PADDING
    cdef Size rest = samples - whole
    cdef real *result = copy + n_in * PADDING
    if packed != NULL:
        pack_columns(x, samples, 1, n_in, samples, panels)
    forward_dense(x, samples, panels, w, b, n_in, n_out, n_out, whole, out, samples, packed)
    if rest > 0:
        copy_rows(x + whole, samples, n_in, rest, PADDING, False, copy, PADDING)
        forward_dense(copy, PADDING, <real *> NULL, w, b, n_in, n_out, n_out, PADDING, result,
                      PADDING, <real *> NULL)
        copy_rows(result, PADDING, n_out, rest, rest, False, out + whole, samples)
    free(copy)
    return 0


cdef int dense_backward_params_any(real *x, real *dz, bint accumulate, Size n_in, Size n_out,
                                   Size samples, real *dw, real *db) except -1 nogil:
    cdef real *packed
    cdef real *panels
    cdef real *copy = scratch_memory(x, n_in, n_out, samples, &packed, &panels)
    cdef Size whole = samples // PADDING * PADDING
    cdef Size rest = samples - whole
    cdef real *copy_dz = copy + n_in * PADDING
    if packed != NULL:
        pack_columns(dz, 1, samples, whole, n_out, panels)
    backward_params(x, samples, dz, samples, panels, accumulate, n_in, n_out, whole, dw, db,
                    packed)
    if rest > 0:
        copy_rows(x + whole, samples, n_in, rest, PADDING, False, copy, PADDING)
        copy_rows(dz + whole, samples, n_out, rest, PADDING, True, copy_dz, PADDING)
        backward_params(copy, PADDING, copy_dz, PADDING, <real *> NULL, True, n_in, n_out, PADDING,
                        dw, db, <real *> NULL)
    free(copy)
    return 0


cdef int dense_backward_inputs_any(real *w, real *dz, Size n_in, Size n_out, Size samples,
                                   real *dx) except -1 nogil:
    cdef real *packed
    cdef real *panels
    cdef real *copy = scratch_memory(w, n_in, n_out, samples, &packed, &panels)
    cdef Size whole = samples if packed != NULL else samples // PADDING * PADDING
    cdef Size rest = samples - whole
    cdef real *result = copy + n_out * PADDING
    if packed != NULL:
        pack_columns(dz, samples, 1, n_out, samples, panels)
    backward_inputs(w, dz, samples, panels, n_in, n_out, whole, dx, samples, packed)
    if rest > 0:
        copy_rows(dz + whole, samples, n_out, rest, PADDING, False, copy, PADDING)
        backward_inputs(w, copy, PADDING, <real *> NULL, n_in, n_out, PADDING, result, PADDING,
                        <real *> NULL)
        copy_rows(result, PADDING, n_in, rest, rest, False, dx + whole, samples)
    free(copy)
    return 0


def dense_forward(cnp.ndarray x not None, cnp.ndarray w not None, cnp.ndarray b not None,
                  cnp.ndarray out not None):
    """``out = w.T x + b``."""
    cdef int dtype = real_type(w, "w")
    check_matrix(w, dtype, -1, -1, False, "w")
    cdef Size n_in = dim(w, 0), n_out = dim(w, 1)
    check_matrix(x, dtype, n_in, -1, False, "x")
    cdef Size samples = dim(x, 1)
    check(b, dtype, n_out, False, "b")
    check_matrix(out, dtype, n_out, samples, True, "out")
    cdef void *x_ = data(x)
    cdef void *w_ = data(w)
    cdef void *b_ = data(b)
    cdef void *out_ = data(out)
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            dense_forward_any(<float *> x_, <float *> w_, <float *> b_, n_in, n_out, samples,
                              <float *> out_)
        else:
            dense_forward_any(<double *> x_, <double *> w_, <double *> b_, n_in, n_out, samples,
                              <double *> out_)


def dense_backward_params(cnp.ndarray x not None, cnp.ndarray dz not None, bint accumulate,
                          cnp.ndarray dw not None, cnp.ndarray db not None):
    """``dw = x dz.T``, ``db = sum of dz over the samples``."""
    cdef int dtype = real_type(x, "x")
    check_matrix(x, dtype, -1, -1, False, "x")
    cdef Size n_in = dim(x, 0), samples = dim(x, 1)
    check_matrix(dz, dtype, -1, samples, False, "dz")
    cdef Size n_out = dim(dz, 0)
    check_matrix(dw, dtype, n_in, n_out, True, "dw")
    check(db, dtype, n_out, True, "db")
    cdef void *x_ = data(x)
    cdef void *dz_ = data(dz)
    cdef void *dw_ = data(dw)
    cdef void *db_ = data(db)
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            dense_backward_params_any(<float *> x_, <float *> dz_, accumulate, n_in, n_out,
                                      samples, <float *> dw_, <float *> db_)
        else:
            dense_backward_params_any(<double *> x_, <double *> dz_, accumulate, n_in, n_out,
                                      samples, <double *> dw_, <double *> db_)


def dense_backward_inputs(cnp.ndarray w not None, cnp.ndarray dz not None,
                          cnp.ndarray dx not None):
    """``dx = w dz``."""
    cdef int dtype = real_type(w, "w")
    check_matrix(w, dtype, -1, -1, False, "w")
    cdef Size n_in = dim(w, 0), n_out = dim(w, 1)
    check_matrix(dz, dtype, n_out, -1, False, "dz")
    cdef Size samples = dim(dz, 1)
    check_matrix(dx, dtype, n_in, samples, True, "dx")
    cdef void *w_ = data(w)
    cdef void *dz_ = data(dz)
    cdef void *dx_ = data(dx)
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            dense_backward_inputs_any(<float *> w_, <float *> dz_, n_in, n_out, samples,
                                      <float *> dx_)
        else:
            dense_backward_inputs_any(<double *> w_, <double *> dz_, n_in, n_out, samples,
                                      <double *> dx_)


def activation_forward(cnp.ndarray z not None, int activation, double alpha,
                       cnp.ndarray out not None):
    """``out = f(z)``; ``out`` may be ``z``."""
    cdef int dtype = real_type(z, "z")
    cdef Size n = cnp.PyArray_SIZE(z)
    check(z, dtype, n, False, "z")
    check(out, dtype, n, True, "out")
    cdef void *z_ = data(z)
    cdef void *out_ = data(out)
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            activate(<float *> z_, activation, alpha, n, <float *> out_)
        else:
            activate(<double *> z_, activation, alpha, n, <double *> out_)


def activation_backward(cnp.ndarray z not None, cnp.ndarray a not None, int activation,
                        double alpha, cnp.ndarray da not None):
    """``da`` becomes ``dz = da f'(z)``."""
    cdef int dtype = real_type(a, "a")
    cdef Size n = cnp.PyArray_SIZE(a)
    check(z, dtype, n, False, "z")
    check(a, dtype, n, False, "a")
    check(da, dtype, n, True, "da")
    cdef void *z_ = data(z)
    cdef void *a_ = data(a)
    cdef void *da_ = data(da)
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            activate_back(<float *> z_, <float *> a_, activation, alpha, n, <float *> da_)
        else:
            activate_back(<double *> z_, <double *> a_, activation, alpha, n, <double *> da_)


def dropout_forward(cnp.ndarray x not None, double rate, uint64_t key, Size first,
                    cnp.ndarray out not None):
    """``out = x / (1 - rate)`` where the unit is kept, else 0; ``out`` may be ``x``."""
    cdef int dtype = real_type(x, "x")
    check_matrix(x, dtype, -1, -1, False, "x")
    cdef Size units = dim(x, 0), n = dim(x, 1)
    check_matrix(out, dtype, units, n, True, "out")
    cdef void *x_ = data(x)
    cdef void *out_ = data(out)
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            apply_dropout(<float *> x_, n, rate, key, first, units, n, <float *> out_, n)
        else:
            apply_dropout(<double *> x_, n, rate, key, first, units, n, <double *> out_, n)


def dropout_backward(double rate, uint64_t key, Size first, cnp.ndarray da not None):
    """Apply the mask and factor of :func:`dropout_forward` to ``da``, in place."""
    dropout_forward(da, rate, key, first, da)


# --- losses ---------------------------------------------------------------------------


def output_loss(cnp.ndarray logits not None, cnp.ndarray targets not None,
                cnp.ndarray sample_weight not None, int loss, double constant, double scale,
                cnp.ndarray dlogits not None):
    """Weighted sum of the samples' losses, and its derivative times ``scale``."""
    cdef int dtype = real_type(logits, "logits")
    check_matrix(logits, dtype, -1, -1, False, "logits")
    cdef Size units = dim(logits, 0), n = dim(logits, 1)
    check_matrix(targets, dtype, 1 if loss == CROSS_ENTROPY else units, n, False, "targets")
    check_matrix(dlogits, dtype, units, n, True, "dlogits")
    cdef void *weights = NULL
    if cnp.PyArray_SIZE(sample_weight):
        check(sample_weight, dtype, n, False, "sample_weight")
        weights = data(sample_weight)
    cdef void *z = data(logits)
    cdef void *t = data(targets)
    cdef void *dz = data(dlogits)
    cdef double total
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            total = loss_rows(<float *> z, n, <float *> t, n, <float *> weights, loss,
                              constant, scale, units, n, n, <float *> dz, n)
        else:
            total = loss_rows(<double *> z, n, <double *> t, n, <double *> weights, loss,
                              constant, scale, units, n, n, <double *> dz, n)
    return total


def output_transform(int loss, cnp.ndarray out not None):
    """Net inputs become predictions, in place: softmax, sigmoid, exp or themselves."""
    cdef int dtype = real_type(out, "out")
    check_matrix(out, dtype, -1, -1, True, "out")
    cdef Size units = dim(out, 0), n = dim(out, 1)
    cdef void *z = data(out)
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            transform_rows(<float *> z, n, loss, units, n)
        else:
            transform_rows(<double *> z, n, loss, units, n)


# --- update rules ---------------------------------------------------------------------


cdef double step_size(int rule, const double *constants, double learning_rate,
                      Size count) noexcept nogil:
    """Learning rate, for Adam with the correction of the moments' bias."""
    if rule == ADAM:
        return (learning_rate * sqrt(1 - pow(constants[1], <double> count))
                / (1 - pow(constants[0], <double> count)))
    return learning_rate


cdef Size state_rows(int rule, const double *constants) noexcept nogil:
    """Moments that a rule needs."""
    if rule == SGD:
        return 0 if constants[0] == 0 else 1
    return 2 if rule == ADAM else 1


def update(cnp.ndarray grads not None, double l2, rule_ not None, double learning_rate,
           Size count, cnp.ndarray params not None, cnp.ndarray state not None):
    """One step of an update rule, ``g = grads + l2 params``."""
    cdef int dtype = real_type(params, "params")
    cdef int rule = rule_.code
    cdef double decay = rule_.decay
    cdef cnp.ndarray constants = rule_.constants
    cdef Size n = cnp.PyArray_SIZE(params)
    check(grads, dtype, n, False, "grads")
    check(params, dtype, n, True, "params")
    check(constants, cnp.NPY_DOUBLE, 3, False, "constants")
    cdef double *constants_ = <double *> data(constants)
    cdef Size rows = state_rows(rule, constants_)
    check(state, dtype, rows * n, True, "state")
    cdef void *g = data(grads)
    cdef void *p = data(params)
    cdef void *s = data(state)
    cdef double rate = step_size(rule, constants_, learning_rate, count)
    cdef double shrink = 1 - learning_rate * decay
    cdef Size other = n if rows == 2 else 0
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            update_range(<float *> g, l2, shrink, rule, constants_, rate, n, <float *> p,
                         <float *> s, <float *> s + other)
        else:
            update_range(<double *> g, l2, shrink, rule, constants_, rate, n, <double *> p,
                         <double *> s, <double *> s + other)


# --- networks -------------------------------------------------------------------------


cdef double params_penalty(int64_t *layers, Size n_layers, double l2, real *params) noexcept nogil:
    cdef double total = 0
    cdef Size k
    cdef int64_t *row
    if l2 == 0:
        return 0
    for k in range(n_layers):
        row = layers + k * LAYER_COLUMNS
        if row[KIND] == DENSE:
            total += sum_of_squares(params + row[WEIGHTS], row[FAN_IN] * row[FAN_OUT])
    return 0.5 * l2 * total


def penalty(cnp.ndarray layers not None, double l2, cnp.ndarray params not None):
    """``l2 / 2`` times the sum of the squared weights, biases left out."""
    cdef int dtype = real_type(params, "params")
    check_matrix(layers, cnp.NPY_INT64, -1, LAYER_COLUMNS, False, "layers")
    cdef int64_t *rows = <int64_t *> data(layers)
    cdef Size n = dim(layers, 0), k, needed = 0
    for k in range(n):
        if rows[k * LAYER_COLUMNS + KIND] == DENSE:
            needed = rows[k * LAYER_COLUMNS + BIASES]
    check(params, dtype, needed, False, "params")
    if dtype == cnp.NPY_FLOAT:
        return params_penalty(rows, n, l2, <float *> data(params))
    return params_penalty(rows, n, l2, <double *> data(params))


cdef struct Team:
    # Threads that share out the units of each layer for the same samples; often just one.
    Size thread
    Size n_threads
    int64_t *sync
    int64_t tickets  # given out before the present pieces
    int64_t turn  # steps before in this slice


cdef void meet(Team *team) noexcept nogil:
    """Barrier, where there is somebody to wait for."""
    if team.n_threads > 1:
        barrier(<int> team.n_threads, team.sync)


cdef inline Size share(Size n, Size line, Size thread, Size n_threads) noexcept nogil:
    """Where a thread's share of n things begins; they are given out in whole lines."""
    if n_threads == 1:
        return thread * n
    return min(thread * ((n + line - 1) // line) // n_threads * line, n)


cdef bint take_piece(Team *team, Size n, Size line, Size *first, Size *last) noexcept nogil:
    """The next ``first`` to ``last`` of n things that nobody has, or False if none is left.

    Whoever is ready takes one, since cores are not equally fast, nor always there. Pieces get
    smaller towards the end, down to ``line`` things. Before the first one ``last`` is zero; before
    the first of other things the team must have met.
    """
    cdef Size ticket, piece, size
    if team.n_threads == 1:
        first[0], last[0] = last[0], n
        return first[0] < n
    ticket = take_ticket(team.sync) - team.tickets
    last[0] = 0
    for piece in range(ticket + 1):
        first[0] = last[0]
        if first[0] >= n:
            team.tickets += piece + team.n_threads  # each thread asks once in vain
            return False
        size = (n - first[0] + 2 * team.n_threads - 1) // (2 * team.n_threads)
        last[0] = first[0] + (size + line - 1) // line * line
        # a rest goes with the last piece: BLAS may make less otherwise
        if last[0] + min(line, UNITS) > n:
            last[0] = n
    return True


cdef inline Size least_piece(int64_t *row, Size n, Team *team) noexcept nogil:
    """Of a layer's n units or inputs; BLAS, which copies its factors each time, gets one a thread."""
    if row[BLAS] and not PACKED_PRODUCTS:
        return ((n + team.n_threads - 1) // team.n_threads + UNITS - 1) // UNITS * UNITS
    return UNITS if row[BLAS] else UNITS // 2


cdef inline Size sparse_piece(Size units, Team *team) noexcept nogil:
    """The same where loops run along the units: full registers, or less if there are many threads."""
    cdef Size pieces = 2 * team.n_threads  # more would balance better and cost more than that
    cdef Size vector = SPARSE_UNITS // SUMS
    if team.n_threads == 1 or units >= pieces * SPARSE_UNITS:
        return SPARSE_UNITS
    return 6 * vector if units >= pieces * 6 * vector else 4 * vector


cdef inline Size marks_size(Job *job) noexcept nogil:
    """Of what scratch memory has for marks of some rows, these rows, and others turned."""
    cdef Size block = job.header[BLOCK]
    return 2 * UPDATED_ROWS * (block // PANELS) + (UPDATED_ROWS + TURNED_ROWS) * block


cdef inline Size panels_size(Job *job) noexcept nogil:
    """Of one of the three places for packed columns."""
    return (job.header[WORK_SIZE] - job.header[WORK_PACKED] - COPY_SIZE
            - UPDATED_ROWS * UPDATED_COLUMNS - marks_size(job)) // 3


cdef inline real *panels_of(Job *job, Size which, real *own) noexcept nogil:
    """Where a thread's packed columns are, or what is marked: one of three places."""
    return own + job.header[WORK_SIZE] - (3 - which) * panels_size(job)


cdef inline void pack_share(real *b, Size b_sum, Size b_column, Size n, Size columns, Team *team,
                            real *panels) noexcept nogil:
    """A thread's share of the panels of a matrix."""
    cdef Size first = share(columns, PANEL, team.thread, team.n_threads)
    cdef Size last = share(columns, PANEL, team.thread + 1, team.n_threads)
    if PACKED_PRODUCTS and first < last:
        pack_columns(b + first * b_column, b_sum, b_column, n, last - first, panels + first * n)


cdef inline void mark_share(real *x, Size ldx, Size n, Size lanes, Team *team, real *values,
                            uint64_t *marks) noexcept nogil:
    """A thread's share of what is not zero in n rows, by sample."""
    mark_inputs(x, ldx, share(n, PANELS, team.thread, team.n_threads),
                share(n, PANELS, team.thread + 1, team.n_threads), lanes, values, marks)


cdef inline int32_t *cuts_of(Job *job, real *work) noexcept nogil:
    """Where the parts of a block's sparse rows end, if threads share out units; or NULL."""
    return <int32_t *> (work + job.header[WORK_SIZE]) if job.header[SHARED] else NULL


cdef inline bint units_may_be_off(Job *job, Size k) noexcept nogil:
    """Whether a layer's units are relu, so that many outputs and derivatives may be zero."""
    return job.layers[k * LAYER_COLUMNS + ACTIVATION] == RELU


cdef inline bint inputs_may_be_off(Job *job, Size k) noexcept nogil:
    """Whether what a wide layer gets is from such units, be it through a dropout layer."""
    if not PACKED_PRODUCTS or k == 0 or not job.layers[k * LAYER_COLUMNS + BLAS]:
        return False
    if job.layers[(k - 1) * LAYER_COLUMNS + KIND] == DROPOUT:
        k -= 1
    return units_may_be_off(job, k - 1)


cdef void activate_rows(Job *job, int64_t *row, double constant, Size unit, Size last, Size block,
                        Size lanes, real *work) noexcept nogil:
    """Outputs of some units of a layer."""
    cdef real *z = work + row[NET_INPUT]
    cdef real *a = work + row[OUTPUT]
    if row[ACTIVATION] == IDENTITY:
        return  # output and net input are one
    if lanes == block:
        activate(z + unit * block, <int> row[ACTIVATION], constant, (last - unit) * block,
                 a + unit * block)
        return
    for unit in range(unit, last):
        activate(z + unit * block, <int> row[ACTIVATION], constant, lanes, a + unit * block)


cdef void activate_rows_back(Job *job, int64_t *row, double constant, Size unit, Size last,
                             Size block, Size lanes, real *work, real *da) noexcept nogil:
    """From the derivatives for some outputs of a layer to those for the net inputs, in place."""
    cdef real *z = work + row[NET_INPUT]
    cdef real *a = work + row[OUTPUT]
    if row[ACTIVATION] == IDENTITY:
        return
    if lanes == block:
        activate_back(z + unit * block, a + unit * block, <int> row[ACTIVATION], constant,
                      (last - unit) * block, da + unit * block)
        return
    for unit in range(unit, last):
        activate_back(z + unit * block, a + unit * block, <int> row[ACTIVATION], constant, lanes,
                      da + unit * block)


cdef inline uint64_t dropout_key(Job *job, Size k, Size step, Size unit) noexcept nogil:
    """Of the draws for a dropout layer's units from one on."""
    return (stream_key(job.seed, STREAM_DROPOUT + <uint64_t> k, <uint64_t> step)
            + <uint64_t> unit)


cdef Size forward_block(Job *job, real *x, Size ldx, Size block, Size start, Size samples,
                        Size first, Size step, Team *team, real *params, real *work,
                        real *own) noexcept nogil:
    """All layers for one block; where in ``work`` the net inputs of the last one are.

    ``block`` is the length of a row in ``work`` and ``first`` the block's place in its batch.
    Without ``x`` the input is sparse and the block starts at place ``start`` of the data's order.
    ``own`` is the thread's own scratch memory.
    """
    cdef Size lanes = padded(samples)
    cdef Size k, unit, last, line
    cdef int64_t *row = NULL
    cdef int64_t *after
    cdef real *packed
    cdef real *values
    cdef uint64_t *marks
    cdef bint marked
    for k in range(job.n_layers):
        row = job.layers + k * LAYER_COLUMNS
        if row[KIND] == DENSE:
            if k > 0:
                meet(team)
            packed = own + job.header[WORK_PACKED] if row[BLAS] else NULL
            marked = (inputs_may_be_off(job, k)
                      and percent_on(x, ldx, row[FAN_IN], lanes) < MARKED_PERCENT)
            line = least_piece(row, row[FAN_OUT], team)
            if x == NULL or marked:
                line = sparse_piece(row[FAN_OUT], team)
            # What all read of the input, each makes a share of, in the scratch memory of the first.
            values = panels_of(job, 0, work)
            marks = <uint64_t *> panels_of(job, 1, work)
            if marked:
                mark_share(x, ldx, row[FAN_IN], lanes, team, values, marks)
                meet(team)
            elif x != NULL and PACKED_PRODUCTS and packed != NULL:
                pack_share(x, ldx, 1, row[FAN_IN], lanes, team, values)
                meet(team)
            last = 0
            while take_piece(team, row[FAN_OUT], line, &unit, &last):
                if x == NULL:
                    sparse_forward(<real *> job.x, job.indices, job.indptr, job.order, start,
                                   samples, lanes, cuts_of(job, work), NULL, params + row[WEIGHTS],
                                   params + row[BIASES], False, row[FAN_IN], row[FAN_OUT], unit,
                                   last, own + job.header[WORK_DELTA], work + row[NET_INPUT],
                                   block)
                elif marked:
                    sparse_forward(values, NULL, NULL, NULL, 0, lanes, lanes, NULL, marks,
                                   params + row[WEIGHTS], params + row[BIASES], False,
                                   row[FAN_IN], row[FAN_OUT], unit, last,
                                   own + job.header[WORK_DELTA], work + row[NET_INPUT], block)
                else:
                    forward_dense(x, ldx, values, params + row[WEIGHTS] + unit,
                                  params + row[BIASES] + unit, row[FAN_IN], row[FAN_OUT],
                                  last - unit, lanes, work + row[NET_INPUT] + unit * block, block,
                                  packed)
                activate_rows(job, row, job.constants[k], unit, last, block, lanes, work)
                after = row + LAYER_COLUMNS
                if k + 1 < job.n_layers and after[KIND] == DROPOUT:
                    apply_dropout(work + row[OUTPUT] + unit * block, block, job.constants[k + 1],
                                  dropout_key(job, k + 1, step, unit), first, last - unit, lanes,
                                  work + after[OUTPUT] + unit * block, block)
        x, ldx = work + row[OUTPUT], block
    return row[OUTPUT]


cdef Size forward_few(Job *job, real *x, Size samples, real *params, real *work) noexcept nogil:
    """As :func:`forward_block` for a handful of samples, ``(samples, units)`` throughout."""
    cdef Size k, units
    cdef int64_t *row = NULL
    cdef real *z
    for k in range(job.n_layers):
        row = job.layers + k * LAYER_COLUMNS
        units = row[FAN_OUT]
        z = work + row[NET_INPUT]
        rows_product(x, params + row[WEIGHTS], params + row[BIASES], samples, row[FAN_IN], units, z)
        x = work + row[OUTPUT]
        if row[ACTIVATION] != IDENTITY:
            activate(z, <int> row[ACTIVATION], job.constants[k], samples * units, x)
    return row[OUTPUT]


cdef inline Size few_rows(Size n_params, bint wide_layers) noexcept nogil:
    if wide_layers and PACKED_PRODUCTS:
        return FEW_PACKED
    return FEW_SAMPLES if n_params < WIDE else FEW_SAMPLES_WIDE


def few_samples(Size n_params, bint wide_layers):
    """Fewer rows are predicted with loops along the units, not padded to whole vectors."""
    return few_rows(n_params, wide_layers)


cdef bint has_wide_layers(Job *job) noexcept nogil:
    cdef Size k
    for k in range(job.n_layers):
        if job.layers[k * LAYER_COLUMNS + BLAS]:
            return True
    return False


cdef bint predict(Job *job, bint transform, real *params, real *work, real *out) noexcept nogil:
    """Predictions of ``job.x``, ``(samples, features)``, and whether all of that is finite."""
    cdef Size block = job.header[BLOCK], samples = job.samples
    cdef Size n_out = job.layers[(job.n_layers - 1) * LAYER_COLUMNS + FAN_OUT]
    cdef Size first = 0, n, s, ld
    cdef real *x = <real *> job.x
    cdef real *rows = work + job.header[WORK_INPUT]
    cdef real *z
    cdef bint finite = True
    cdef Team alone = Team(0, 1, NULL, 0, 0)
    if samples < few_rows(job.header[N_PARAMS], has_wide_layers(job)):
        z = work + forward_few(job, x, samples, params, work)
        for s in range(samples):
            if transform:
                transform_rows(z + s * n_out, 1, job.loss, n_out, 1)
        copy_rows(z, 0, 1, samples * n_out, 0, False, out, 0)
        return all_finite(x, samples * job.features)
    while first < samples:
        n = min(block, samples - first)
        # a block at a time, since it is read anyway
        if not all_finite(x + first * job.features, n * job.features):
            finite = False
        # rows no longer than they need to be: they meet in fewer places of the cache
        ld = (n + GATHERED - 1) // GATHERED * GATHERED
        gather(rows, ld, x, job.features, NULL, first, n, padded(n))
        z = work + forward_block(job, rows, ld, ld, 0, n, 0, 0, &alone, params, work, work)
        if transform:
            transform_rows(z, ld, job.loss, n_out, padded(n))
        transpose(z, ld, n_out, n, <real *> NULL, out + first * n_out, n_out)
        first += block
    return finite


def forward(net not None, cnp.ndarray x not None, bint transform, cnp.ndarray params not None,
            cnp.ndarray work not None, cnp.ndarray out not None):
    """Predictions of a network; whether x is finite."""
    cdef int dtype = real_type(params, "params")
    cdef bint finite
    cdef Job job
    read_net(net, &job)
    job.features = job.layers[FAN_IN]
    check_matrix(x, dtype, -1, job.features, False, "x")
    job.samples = dim(x, 0)
    job.x = data(x)
    check(params, dtype, job.header[N_PARAMS], False, "params")
    check(work, dtype, job.header[WORK_SIZE], True, "work")
    check_matrix(out, dtype, job.samples,
                 job.layers[(job.n_layers - 1) * LAYER_COLUMNS + FAN_OUT], True, "out")
    cdef void *params_ = data(params)
    cdef void *work_ = data(work)
    cdef void *out_ = data(out)
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            finite = predict(&job, transform, <float *> params_, <float *> work_, <float *> out_)
        else:
            finite = predict(&job, transform, <double *> params_, <double *> work_,
                             <double *> out_)
    return finite


cdef inline Size sparse_work(Size features, Size block) noexcept nogil:
    """What scratch memory has behind a plan's own for a block's numbers by column."""
    return ((block + 1) * features + 15) // 16 * 16


cdef struct Rule:
    int rule
    double *constants
    double decay
    double *learning_rates


cdef struct Update:
    # One step of an update rule.
    Rule *rule
    double rate
    double shrink  # of weights, by their decay
    double l2  # of weights
    double keep  # of the parameters' average
    Size n_params
    Size n_moments
    Size second  # where in the state the second moment begins; 0: there is none
    void *state
    double penalty  # the objective beside the losses
    double inverse  # of the batch's total weight


cdef inline void update_some(Update *update, double l2, double shrink, real *grads, Size start,
                             Size n, real *params) noexcept nogil:
    """For n parameters from ``start`` on; ``grads`` are theirs."""
    cdef real *state = <real *> update.state + start
    update_range(grads, l2, shrink, update.rule.rule, update.rule.constants, update.rate, n,
                 params + start, state, state + update.second)
    if update.rule.constants[5] != 0:
        average_range(params + start, update.keep, n, state + update.n_moments * update.n_params)


cdef inline bint updated_early(Job *job, Size k) noexcept nogil:
    """Whether a layer's weights are updated while their gradient is made."""
    if job.layers[k * LAYER_COLUMNS + BLAS]:
        return PACKED_PRODUCTS and job.header[SHARED]
    return job.header[SHARED] and (k > 0 or job.indptr == NULL)


cdef void update_rows(Job *job, int64_t *row, Update *update, real *x, Size ldx, real *panels,
                      uint64_t *marks, bint accumulate, Size first, Size last, Size lanes,
                      real *params, real *packed, real *grads) noexcept nogil:
    """Gradient of some rows of a wide layer's weights and their update, while it is in the cache.

    Only what blocks before have added up stands in ``grads``. ``x`` are these rows of the inputs;
    without ``marks`` they are read as they are.
    """
    cdef Size units = row[FAN_OUT], j = 0, i, columns, ld = UPDATED_COLUMNS
    cdef Size start = row[WEIGHTS] + first * units
    cdef real *tile = packed + COPY_SIZE
    cdef real *state = <real *> update.state + start if update.n_moments > 0 else NULL
    while j < units:
        columns = min(units - j, UPDATED_COLUMNS)
        if accumulate:
            tile, ld = grads + start + j, units
        if marks != NULL:
            marked_outer(x, ldx, marks, panels + j * lanes, accumulate, last - first, columns,
                         lanes, tile, ld, params + start + j, state + j if state != NULL else NULL,
                         units, update.second)
        else:
            packed_product(x, ldx, 1, panels + j * lanes, <real *> NULL, accumulate, last - first,
                           columns, lanes, tile, ld, packed, state + j if state != NULL else NULL,
                           units, update.second)
        for i in range(last - first):
            update_some(update, update.l2, update.shrink, tile + i * ld, start + i * units + j,
                        columns, params)
        j += columns


cdef void backward_sparse(Job *job, Size start, Size samples, real *dz, Team *team, real *rows,
                          bint accumulate, real *own, real *grads) noexcept nogil:
    """Gradient of the first layer where the input is sparse."""
    cdef int64_t *row = job.layers
    cdef Size block = job.header[BLOCK], features = job.features, units = row[FAN_OUT]
    cdef real *values = own + job.header[WORK_INPUT]
    cdef int32_t *samples_of = <int32_t *> (own + job.header[WORK_SIZE])
    cdef int32_t *ends = samples_of + features * block
    cdef Size most = 8 * PADDING * sizeof(float) // sizeof(real)  # vectors of sums at a time
    cdef Size unit, last = 0, columns
    cdef bint sorted_ = False
    while take_piece(team, units, sparse_piece(units, team), &unit, &last):
        if not sorted_:
            sort_by_column(<real *> job.x, job.indices, job.indptr, job.order, start, samples,
                           features, ends, values, samples_of)
            sorted_ = True
        row_sums(dz + unit * block, block, accumulate, last - unit, padded(samples),
                 grads + row[BIASES] + unit)
        while unit < last:
            columns = min(most, last - unit)
            transpose(dz + unit * block, block, columns, samples, <real *> NULL, rows, columns)
            sparse_outer(values, samples_of, ends, features, rows, columns, accumulate,
                         grads + row[WEIGHTS] + unit, units)
            unit += columns


cdef bint learn_block(Job *job, real *x, Size ldx, real *targets, Size ldt, real *weights,
                      Size start, Size samples, Size first, double scale, Size step,
                      bint accumulate, Update *update, Team *team, real *params, real *work,
                      real *own, real *grads, double *total) noexcept nogil:
    """Loss of one block of samples; its gradient is written or added to ``grads``.

    The first of a team adds the loss to ``total``; each takes some units of every layer forward
    and some rows of the weights backward. With an ``update`` it is the last block of a batch:
    wide layers learn at once, unless the objective is not finite.
    """
    cdef Size block = job.header[BLOCK], lanes = padded(samples)
    cdef Size output = forward_block(job, x, ldx, block, start, samples, first, step, team, params,
                                     work, own)
    cdef Size delta = job.header[WORK_DELTA], other = job.header[WORK_DELTA_OTHER]
    cdef int64_t *row = job.layers + (job.n_layers - 1) * LAYER_COLUMNS
    cdef int64_t *below
    cdef real *inputs
    cdef real *here
    cdef real *dz
    cdef real *packed
    cdef Size k, m, i, j, turned_to, last, rows, units, ld, ld_here, line, place
    cdef real *turned
    cdef real *panels
    cdef real *rows_of = NULL
    cdef uint64_t *units_on
    cdef uint64_t *marks = NULL
    cdef bint early, may_mark, marked, turn, stored
    meet(team)
    if team.thread == 0:
        total[0] += loss_rows(work + output, block, targets, ldt, weights, job.loss,
                              job.constants[job.n_layers - 1], scale, row[FAN_OUT], samples, lanes,
                              work + delta, block)
    for k in range(job.n_layers - 1, -1, -1):
        row = job.layers + k * LAYER_COLUMNS
        if row[KIND] == DROPOUT:
            continue
        meet(team)
        if update != NULL and not isfinite(update.penalty + total[0] * update.inverse):
            return False
        units = row[FAN_OUT]
        dz = work + delta
        early = update != NULL and updated_early(job, k)
        stored = k == 0 and x == NULL  # the input is sparse
        if stored and not (PACKED_PRODUCTS and row[BLAS] and job.header[SHARED]):
            backward_sparse(job, start, samples, dz, team, own + other, accumulate, own, grads)
            break
        if k == 0:
            inputs, ld = x, ldx
        else:
            inputs, ld = work + job.layers[(k - 1) * LAYER_COLUMNS + OUTPUT], block
        packed = own + job.header[WORK_PACKED] if row[BLAS] else NULL
        line = least_piece(row, row[FAN_IN], team)
        # What all read of dz, each makes a share of, in the scratch memory of the first.
        turned, panels = panels_of(job, 0, work), panels_of(job, 1, work)
        units_on = <uint64_t *> panels_of(job, 2, work)
        may_mark, turn = stored or inputs_may_be_off(job, k), False
        if PACKED_PRODUCTS and packed != NULL:
            marks = <uint64_t *> (panels_of(job, 0, own) - marks_size(job))
            rows_of = <real *> marks + 2 * UPDATED_ROWS * (block // PANELS)
            pack_share(dz, 1, block, lanes, units, team, turned)
            turn = (k > 0 and units_may_be_off(job, k)
                    and percent_on(dz, block, units, lanes) < MARKED_PERCENT)
            if turn:
                mark_share(dz, block, units, lanes, team, panels, units_on)
                line = sparse_piece(row[FAN_IN], team)
            elif k > 0:
                pack_share(dz, block, 1, units, lanes, team, panels)
            meet(team)
        last = 0
        while take_piece(team, row[FAN_IN], line, &i, &last):
            # early updates go a few rows at a time, which have just been read for the inputs
            j = turned_to = i
            while j < last:
                rows = min(UPDATED_ROWS, last - j) if early or may_mark or turn else last - j
                while turn and turned_to < j + rows:
                    sparse_forward(panels, NULL, NULL, NULL, 0, lanes, lanes, NULL, units_on,
                                   params + row[WEIGHTS], <real *> NULL, True, units, row[FAN_IN],
                                   turned_to, min(turned_to + SPARSE_UNITS, last),
                                   rows_of + UPDATED_ROWS * block, work + other, block)
                    turned_to += SPARSE_UNITS
                if k > 0 and not turn:
                    backward_inputs(params + row[WEIGHTS] + j * units, dz, block, panels, rows,
                                    units, lanes, work + other + j * block, block, packed)
                here, ld_here = inputs + j * ld, ld
                marked = stored or (may_mark and percent_on(here, ld, rows, lanes)
                                    < MARKED_PERCENT)
                if stored:
                    here, ld_here = rows_of, block
                    mark_stored(<real *> job.x, job.indices, job.indptr, job.order, start, samples,
                                cuts_of(job, work), j, j + rows, here, ld_here, marks)
                elif marked:
                    mark_samples(here, ld, rows, lanes, marks)
                if early and packed != NULL:
                    update_rows(job, row, update, here, ld_here, turned,
                                marks if marked else NULL, accumulate, j, j + rows, lanes, params,
                                packed, grads)
                elif marked:
                    marked_outer(here, ld_here, marks, turned, accumulate, rows, units, lanes,
                                 grads + row[WEIGHTS] + j * units, units, <real *> NULL,
                                 <real *> NULL, 0, 0)
                    if j == 0:
                        row_sums(dz, block, accumulate, units, lanes, grads + row[BIASES])
                else:
                    backward_params(here, ld_here, dz, block, turned, accumulate, rows, units, lanes,
                                    grads + row[WEIGHTS] + j * units,
                                    grads + row[BIASES] if j == 0 else NULL, packed)
                    if early:
                        place = row[WEIGHTS] + j * units
                        update_some(update, update.l2, update.shrink, grads + place, place,
                                    rows * units, params)
                j += rows
            if early and packed != NULL and i == 0:
                row_sums(dz, block, accumulate, units, lanes, grads + row[BIASES])
            # these rows' derivatives go on to the layer below
            m = k - 1
            if m > 0 and job.layers[m * LAYER_COLUMNS + KIND] == DROPOUT:
                apply_dropout(work + other + i * block, block, job.constants[m],
                              dropout_key(job, m, step, i), first, last - i, lanes,
                              work + other + i * block, block)
                m -= 1
            if m >= 0:
                below = job.layers + m * LAYER_COLUMNS
                activate_rows_back(job, below, job.constants[m], i, last, block, lanes, work,
                                   work + other)
        delta, other = other, delta
    return True


cdef real *gather_input(Job *job, Size start, Size first, Size n, Size samples, Team *team,
                        real *work, Size *ld) noexcept nogil:
    """A block of the input and its leading dimension; of a team each gathers some samples.

    Of sparse rows, which stay where they are, it returns NULL.
    """
    cdef Size block = job.header[BLOCK], lanes = padded(n)
    cdef real *x = <real *> job.x
    cdef real *out = work + job.header[WORK_INPUT]
    cdef Size s = share(lanes, GATHERED, team.thread, team.n_threads)
    cdef Size stop = share(lanes, GATHERED, team.thread + 1, team.n_threads)
    ld[0] = block
    if job.indptr != NULL:
        if cuts_of(job, work) != NULL:
            cut_rows(job.indices, job.indptr, job.order, start + first, n, job.features,
                     share(n, GATHERED, team.thread, team.n_threads),
                     share(n, GATHERED, team.thread + 1, team.n_threads), cuts_of(job, work))
        return NULL
    if job.order == NULL:  # the batches stand one after the other, each (features, batch)
        x += start * job.features + first
        if n == lanes:
            ld[0] = samples
            return x
        if team.thread == 0:
            copy_rows(x, samples, job.features, n, lanes, False, out, block)
    elif s < stop and job.x_is_bytes:
        gather_bytes(out + s, block, job.x, job.features, job.order, start + first + s, n - s,
                     stop - s)
    elif s < stop:
        gather(out + s, block, x, job.features, job.order, start + first + s, n - s, stop - s)
    return out


cdef void learn_group(Job *job, Size group, Size groups, Size start, Size samples, double scale,
                      Size step, Update *update, Team *team, real *params, real *work, real *own,
                      real *grads, double *losses) noexcept nogil:
    """Some blocks of a batch: their gradient into a row of ``grads``, and their loss."""
    cdef Size block = job.header[BLOCK]
    cdef Size blocks = (samples + block - 1) // block
    cdef real *targets = <real *> job.targets
    cdef real *weights = <real *> job.weights
    cdef real *work_t = work + job.header[WORK_TARGETS]
    cdef real *work_w = work + job.header[WORK_SAMPLE_WEIGHT]
    cdef real *bx
    cdef real *bt
    cdef real *bw
    cdef Size b, first_block, first, n, lanes, ldx, ldt
    first_block = group * blocks // groups
    if team.thread == 0:
        losses[group] = 0
    for b in range(first_block, (group + 1) * blocks // groups):
        first = b * block
        n = min(block, samples - first)
        lanes = padded(n)
        if b > first_block:
            meet(team)
        bx = gather_input(job, start, first, n, samples, team, work, &ldx)
        bt, bw, ldt = work_t, NULL, block
        if team.thread > 0:
            pass  # the first computes the loss
        elif job.order != NULL:
            gather(work_t, block, targets, job.n_targets, job.order, start + first, n, lanes)
            if weights != NULL:
                gather(work_w, block, weights, 1, job.order, start + first, n, lanes)
                bw = work_w
        else:
            bt, ldt = targets + start * job.n_targets + first, samples
            if n < lanes:
                copy_rows(bt, ldt, job.n_targets, n, lanes, False, work_t, block)
                bt, ldt = work_t, block
            if weights != NULL:
                bw = weights + start + first
        meet(team)
        learn_block(job, bx, ldx, bt, ldt, bw, start + first, n, first, scale, step,
                    b > first_block, update if b == blocks - 1 else NULL, team, params, work,
                    own, grads + group * job.header[N_PARAMS], losses + group)


cdef void learn_batch(Job *job, Size start, Size samples, double scale, Size step, Size groups,
                      Update *update, Team *team, real *params, real *work, real *own,
                      real *grads, double *losses) noexcept nogil:
    """A thread's part of a batch.

    Each thread has some groups of blocks, and takes others' when it is done with its own; or,
    where the weights are many, all work on the units of one block after the other, in the scratch
    memory of the first, so that weights are read once and there are no gradients to add up. Which
    blocks a group has depends on the batch alone, so that sums are the same for any number of
    threads.
    """
    cdef Team alone = Team(0, 1, NULL, 0, 0)
    cdef Size distance, owner, i, count, group
    if job.header[SHARED]:
        learn_group(job, 0, 1, start, samples, scale, step, update, team, params, work, own, grads,
                    losses)
        return
    for distance in range(team.n_threads):
        owner = (team.thread + distance) % team.n_threads
        count = (groups - owner + team.n_threads - 1) // team.n_threads
        for i in range(count):
            # those of others from their ends on
            group = owner + team.n_threads * (i if distance == 0 else count - 1 - i)
            if team.n_threads == 1 or claim(team.sync + 8 + MAX_GROUPS + group, team.turn):
                learn_group(job, group, groups, start, samples, scale, step, update, &alone,
                            params, own, own, grads, losses)


cdef inline double inverse(double total) noexcept nogil:
    """Of a batch's total weight; a batch without weight teaches nothing."""
    return 1 / total if total != 0 else 0


cdef inline double ordered_sum(double *x, Size n) noexcept nogil:
    cdef double total = 0
    cdef Size i
    for i in range(n):
        total += x[i]
    return total


cdef inline Size group_count(Job *job, Size samples) noexcept nogil:
    """How many partial sums a batch of this size has."""
    if job.header[SHARED]:
        return 1
    return min(job.header[GROUPS], (samples + job.header[BLOCK] - 1) // job.header[BLOCK])


cdef void reduce_groups(Size groups, Size n_params, Size first, Size n,
                        real *grads) noexcept nogil:
    """Add the groups' gradients in order into the first row."""
    cdef Size group
    for group in range(1, groups):
        add_to(grads + group * n_params + first, n, grads + first)


cdef double batch_gradient(Job *job, Size step, real *params, real *work,
                           real *grads) noexcept nogil:
    """Objective of all samples as one batch, and its gradient."""
    cdef double[MAX_GROUPS] losses
    cdef Size n_params = job.header[N_PARAMS], k
    cdef Size groups = group_count(job, job.samples)
    cdef double total = <double> job.samples
    cdef int64_t *row
    cdef Team alone = Team(0, 1, NULL, 0, 0)
    if job.weights != NULL:
        total = sum_range(<real *> job.weights, NULL, 0, job.samples)
    learn_batch(job, 0, job.samples, inverse(total), step, groups, NULL, &alone, params, work, work,
                grads, &losses[0])
    reduce_groups(groups, n_params, 0, n_params, grads)
    if job.l2 != 0:
        for k in range(job.n_layers):
            row = job.layers + k * LAYER_COLUMNS
            if row[KIND] == DENSE:
                add_scaled(params + row[WEIGHTS], job.l2, row[FAN_IN] * row[FAN_OUT],
                           grads + row[WEIGHTS])
    return (ordered_sum(&losses[0], groups) * inverse(total)
            + params_penalty(job.layers, job.n_layers, job.l2, params))


def loss_and_grad(net not None, cnp.ndarray x not None, cnp.ndarray targets not None,
                  cnp.ndarray sample_weight not None, uint64_t seed, Size step,
                  cnp.ndarray params not None, cnp.ndarray work not None,
                  cnp.ndarray grads not None):
    """Objective of one batch and its gradient."""
    cdef int dtype = real_type(params, "params")
    cdef Job job
    job.seed, job.order, job.indptr = seed, NULL, NULL
    read_net(net, &job)
    read_data(x, targets, sample_weight, dtype, False, &job)
    check(params, dtype, job.header[N_PARAMS], False, "params")
    check(work, dtype, job.header[WORK_SIZE], True, "work")
    check(grads, dtype, job.header[N_PARAMS] * group_count(&job, job.samples), True, "grads")
    cdef void *params_ = data(params)
    cdef void *work_ = data(work)
    cdef void *grads_ = data(grads)
    cdef double objective
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            objective = batch_gradient(&job, step, <float *> params_, <float *> work_,
                                       <float *> grads_)
        else:
            objective = batch_gradient(&job, step, <double *> params_, <double *> work_,
                                       <double *> grads_)
    return objective


cdef void update_share(real *grads, Size first, Size n, double l2, double shrink, Update *update,
                       Size groups, Team *team, double factor, real *params) noexcept nogil:
    """Sum of the groups and update, for a thread's share of one range of parameters."""
    cdef Size lines = (n + LINE - 1) // LINE
    cdef Size start = first + team.thread * lines // team.n_threads * LINE
    cdef Size stop = min(first + (team.thread + 1) * lines // team.n_threads * LINE, first + n)
    while start < stop:
        n = min(stop - start, UPDATED)
        if team.n_threads > 1:
            fetch_range(params + start, n)
        reduce_groups(groups, update.n_params, start, n, grads)
        if factor != 1:
            scale_range(grads + start, factor, n)
        update_some(update, l2, shrink, grads + start, start, n, params)
        start += n


cdef void clip_share(real *grads, Size first, Size n, double l2, double limit, Size groups,
                     Size thread, Size n_threads, Size n_params, real *params) noexcept nogil:
    """Gradient of the objective, its entries clipped, for a thread's share of one range."""
    cdef Size lines = (n + LINE - 1) // LINE
    cdef Size start = first + thread * lines // n_threads * LINE
    cdef Size stop = min(first + (thread + 1) * lines // n_threads * LINE, first + n)
    if start >= stop:
        return
    reduce_groups(groups, n_params, start, stop - start, grads)
    if l2 != 0:
        add_scaled(params + start, l2, stop - start, grads + start)
    if limit != 0:
        clip_entries(grads + start, limit, stop - start)


cdef double clip_gradient(Job *job, Rule *rule, Size groups, Team *team, real *params,
                          real *grads) noexcept nogil:
    """Gradient of the objective into the first row; the factor that shortens it.

    Every thread adds up its share and, so that the bits are the same for any number of threads,
    the squares of all.
    """
    cdef Size n_params = job.header[N_PARAMS], k
    cdef double norm = 0, limit = rule.constants[4]
    cdef int64_t *row
    for k in range(job.n_layers):
        row = job.layers + k * LAYER_COLUMNS
        if row[KIND] == DENSE:
            clip_share(grads, row[WEIGHTS], row[FAN_IN] * row[FAN_OUT], job.l2, limit, groups,
                       team.thread, team.n_threads, n_params, params)
            clip_share(grads, row[BIASES], row[FAN_OUT], 0, limit, groups, team.thread,
                       team.n_threads, n_params, params)
    meet(team)
    if rule.constants[3] != 0:
        norm = sqrt(sum_of_squares(grads, n_params))
    # nobody may scale its share while others add up
    meet(team)
    return rule.constants[3] / norm if norm > rule.constants[3] else 1


cdef Size train_steps(Job *job, Rule *rule, Size steps, Size first_step, Size first_count,
                      Size batch_size, Size thread, Size n_threads, real *params, real *state,
                      real *grads, int64_t *order, real *work, real *own, int64_t *sync,
                      double *losses) noexcept nogil:
    """Slice of steps of one thread.

    Each thread works through its groups of blocks, then adds up and updates its share of the
    parameters; all of them take the same decisions from the same numbers.
    """
    cdef double[MAX_GROUPS] own_losses
    cdef double *group_losses = &own_losses[0]
    cdef bint clipped = rule.constants[3] != 0 or rule.constants[4] != 0
    cdef Size batches = (job.samples + batch_size - 1) // batch_size
    cdef Size i, k, step, epoch, batch, start, n, groups
    cdef double total, objective, factor, l2
    cdef int64_t *row
    cdef Team team = Team(thread, n_threads, sync, 0, 0)
    cdef Update update
    cdef bint early
    if n_threads > 1:
        group_losses = <double *> (sync + 8)
    update.rule, update.l2, update.state = rule, job.l2, state
    update.n_params, update.n_moments = job.header[N_PARAMS], state_rows(rule.rule, rule.constants)
    update.second = update.n_params if update.n_moments == 2 else 0
    for i in range(steps):
        step = first_step + i
        team.turn = i
        epoch, batch = step // batches, step % batches
        start = batch * batch_size
        n = min(batch_size, job.samples - start)
        if job.order != NULL and (batch == 0 or i == 0):
            if thread == 0:
                shuffle_order(job.seed, epoch, job.samples, order)
            meet(&team)
        total = <double> n
        if job.weights != NULL:
            total = sum_range(<real *> job.weights, job.order, start, n)
        groups = group_count(job, n)
        # before the barrier, since behind it others change the parameters
        update.penalty = params_penalty(job.layers, job.n_layers, job.l2, params)
        update.inverse = inverse(total)
        update.rate = step_size(rule.rule, rule.constants, rule.learning_rates[i],
                                first_count + i + 1)
        update.shrink = 1 - rule.learning_rates[i] * rule.decay
        update.keep = rule.constants[5] if first_count + i > 0 else 0
        learn_batch(job, start, n, update.inverse, step, groups, NULL if clipped else &update,
                    &team, params, work, own, grads, group_losses)
        meet(&team)
        objective = update.penalty + ordered_sum(group_losses, groups) * update.inverse
        if thread == 0:
            losses[i] = objective
        if not isfinite(objective):
            return i
        factor, l2 = 1, job.l2
        if clipped:
            factor = clip_gradient(job, rule, groups, &team, params, grads)
            groups, l2 = 1, 0
        early = False
        for k in range(job.n_layers):
            early |= not clipped and updated_early(job, k)
        if job.l2 == 0 and rule.decay == 0 and not early:
            # weights and biases are treated alike
            update_share(grads, 0, update.n_params, 0, 1, &update, groups, &team, factor, params)
        else:
            for k in range(job.n_layers):
                row = job.layers + k * LAYER_COLUMNS
                if row[KIND] != DENSE:
                    continue
                if clipped or not updated_early(job, k):
                    update_share(grads, row[WEIGHTS], row[FAN_IN] * row[FAN_OUT], l2,
                                 update.shrink, &update, groups, &team, factor, params)
                update_share(grads, row[BIASES], row[FAN_OUT], 0, 1, &update, groups, &team,
                             factor, params)
        meet(&team)
    return steps


def train(net not None, data_ not None, rule not None, chunk not None, team not None,
          cnp.ndarray params not None, cnp.ndarray state not None, memory not None,
          cnp.ndarray losses not None):
    """A slice of training steps.

    Called by ``n_threads`` threads at once. ``sync`` has ``SYNC_SIZE`` integers that start at zero;
    a single thread does not touch it.
    """
    cdef cnp.ndarray x = data_.x, indices = data_.indices, indptr = data_.indptr
    cdef cnp.ndarray targets = data_.targets, sample_weight = data_.sample_weight
    cdef cnp.ndarray rule_constants = rule.constants, learning_rates = chunk.learning_rates
    cdef cnp.ndarray grads = memory.grads, order = memory.order, work = memory.work
    cdef cnp.ndarray sync = team.sync
    cdef Size batch_size = data_.batch_size, thread = team.thread, n_threads = team.n_threads
    cdef Size first_step = chunk.first_step, first_count = chunk.first_count
    cdef bint shuffled = data_.shuffled
    cdef int dtype = real_type(params, "params")
    cdef Job job
    cdef Rule rule_
    job.seed, job.order, job.indptr = chunk.seed, NULL, NULL
    read_net(net, &job)
    if cnp.PyArray_SIZE(indptr):
        check(indptr, cnp.NPY_INT64, 0, False, "indptr")
        job.indptr = <int64_t *> data(indptr)
    read_data(x, targets, sample_weight, dtype, shuffled, &job)
    cdef Size n_params = job.header[N_PARAMS], work_size = job.header[WORK_SIZE]
    if job.indptr != NULL:
        check(indptr, cnp.NPY_INT64, job.samples + 1, False, "indptr")
        check(indices, cnp.NPY_INT32, job.indptr[job.samples], False, "indices")
        check(x, dtype, job.indptr[job.samples], False, "x")
        job.indices = <int32_t *> data(indices)
        work_size += sparse_work(job.features, job.header[BLOCK])
    cdef Size steps = cnp.PyArray_SIZE(learning_rates)
    if batch_size < 1 or first_step < 0 or not 0 <= thread < n_threads:
        raise ValueError("batch_size, first_step or thread is out of range")
    check(rule_constants, cnp.NPY_DOUBLE, 6, False, "rule_constants")
    check(learning_rates, cnp.NPY_DOUBLE, 0, False, "learning_rates")
    check(params, dtype, n_params, True, "params")
    rule_.rule, rule_.decay = rule.code, rule.decay
    rule_.constants = <double *> data(rule_constants)
    rule_.learning_rates = <double *> data(learning_rates)
    check(state, dtype,
          n_params * (state_rows(rule_.rule, rule_.constants) + (rule_.constants[5] != 0)), True, "state")
    check(grads, dtype, n_params * group_count(&job, min(batch_size, job.samples)), True, "grads")
    check(work, dtype, work_size * (thread + 1), True, "work")
    check(losses, cnp.NPY_DOUBLE, steps, True, "losses")
    if n_threads > 1:
        check(sync, cnp.NPY_INT64, SYNC_SIZE, True, "sync")
    if shuffled:
        check(order, cnp.NPY_INT64, job.samples, True, "order")
        job.order = <int64_t *> data(order)
    cdef void *params_ = data(params)
    cdef void *state_ = data(state)
    cdef void *grads_ = data(grads)
    cdef void *work_ = data(work)
    cdef int64_t *sync_ = <int64_t *> data(sync)
    cdef double *losses_ = <double *> data(losses)
    cdef Size done
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            done = train_steps(&job, &rule_, steps, first_step, first_count, batch_size, thread,
                               n_threads, <float *> params_, <float *> state_, <float *> grads_,
                               job.order, <float *> work_,
                               <float *> work_ + thread * work_size, sync_, losses_)
        else:
            done = train_steps(&job, &rule_, steps, first_step, first_count, batch_size, thread,
                               n_threads, <double *> params_, <double *> state_,
                               <double *> grads_, job.order, <double *> work_,
                               <double *> work_ + thread * work_size, sync_, losses_)
    return done


# --- elementary functions, for tests and benchmarks ----------------------------------------


cdef int apply_elementwise(cnp.ndarray x, int function, cnp.ndarray out) except -1:
    cdef int dtype = real_type(x, "x")
    cdef Size n = cnp.PyArray_SIZE(x)
    check(x, dtype, n, False, "x")
    check(out, dtype, n, True, "out")
    cdef void *x_ = data(x)
    cdef void *out_ = data(out)
    with nogil:
        if dtype == cnp.NPY_FLOAT:
            elementwise(<float *> x_, function, n, <float *> out_)
        else:
            elementwise(<double *> x_, function, n, <double *> out_)
    return 0


def vector_exp(cnp.ndarray x not None, cnp.ndarray out not None):
    """``out = exp(x)``, elementwise."""
    apply_elementwise(x, ONLY_EXP, out)


def vector_expm1(cnp.ndarray x not None, cnp.ndarray out not None):
    """``out = exp(x) - 1``."""
    apply_elementwise(x, ONLY_EXPM1, out)


def vector_tanh(cnp.ndarray x not None, cnp.ndarray out not None):
    """``out = tanh(x)``."""
    apply_elementwise(x, ONLY_TANH, out)


def vector_sigmoid(cnp.ndarray x not None, cnp.ndarray out not None):
    """``out = 1 / (1 + exp(-x))``."""
    apply_elementwise(x, ONLY_SIGMOID, out)


def vector_log(cnp.ndarray x not None, cnp.ndarray out not None):
    """``out = log(x)`` for positive normal x."""
    apply_elementwise(x, ONLY_LOG, out)


def vector_log1p(cnp.ndarray x not None, cnp.ndarray out not None):
    """``out = log(1 + x)`` for x in [0, 1]."""
    apply_elementwise(x, ONLY_LOG1P, out)


def vector_softplus(cnp.ndarray x not None, cnp.ndarray out not None):
    """``out = log(1 + exp(x))``."""
    apply_elementwise(x, ONLY_SOFTPLUS, out)
