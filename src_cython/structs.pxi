# What belongs together: a network, its data, a block of samples, a thread's memory.

cdef extern from "platform.h" nogil:
    ctypedef float real  # or double: this module's dtype
    ctypedef long long Size
    const bint REAL_IS_DOUBLE
    const int PADDING

    ctypedef struct Matrix:
        real *p
        Size ld

    Size smaller(Size a, Size b) noexcept
    Size round_up(Size n, Size multiple) noexcept

cdef extern from "subnormals.h" nogil:
    uint64_t flush_subnormals() noexcept
    void restore_subnormals(uint64_t mode) noexcept

cdef extern from "codes.h" nogil:
    const int DENSE, DROPOUT, IDENTITY, RELU, CROSS_ENTROPY, QUANTILE, SGD, ADAM, STREAM_DROPOUT
    const int CONSECUTIVE, SHUFFLED
    const int LAYER_COLUMNS, HEADER_SIZE, MAX_GROUPS, SYNC_SIZE, BLAS_WIDTH

cdef extern from "sparse.h" nogil:
    ctypedef struct CsrBlock:
        const real *values
        const int32_t *indices  # NULL: the data are dense
        const int64_t *indptr
        const int64_t *order
        Size first
        Size samples
        int32_t *splits

cdef extern from "plan.h" nogil:
    ctypedef struct Layer:
        int64_t kind, fan_in, fan_out, weights, biases, activation, blas, net_input, output

    ctypedef struct Header:
        int64_t n_params, block, groups, work_size, work_input, work_targets, work_sample_weight
        int64_t work_delta, work_delta_other, shared, work_packed, n_targets

    ctypedef struct ProductScratch:
        Size copy, tile, masks, sums
        Size[3] shared
        Size size, widest


cdef struct Net:
    # A network without its parameters.
    Header *header
    Layer *layers
    double *constants
    Size n_layers
    int loss
    double l2
    ProductScratch scratch


cdef struct Data:
    # What batches are made of.
    void *x  # of reals, or bytes
    bint x_is_bytes
    CsrBlock csr  # x where it is sparse
    real *targets
    real *weights  # NULL: all ones
    int64_t *order  # NULL: batches are consecutive
    bint shuffled
    Size samples
    Size features
    Size n_targets
    uint64_t seed  # of shuffling and dropout


cdef struct Batch:
    Size start
    Size samples
    Size step  # training step, of the dropout masks
    double scale  # 1 / total weight
    Size groups  # partial sums of the gradient


cdef struct Team:
    # Threads that work on the same samples, each on some units of every layer; often just one.
    Size thread
    Size n_threads
    int64_t *sync
    int64_t tickets  # given out before the present pieces
    int64_t turn  # steps done before in this chunk


cdef struct Memory:
    real *params
    real *grads  # of the group of blocks
    real *work  # of the team's first thread
    real *own  # of this thread


cdef struct Rule:
    # An update rule.
    int code
    double *constants
    double decay
    Size stride  # from the constants of a part to those of the next; 0: one row for all
    Size features  # rows of front
    real *front


cdef struct Update:
    # One step of an update rule.
    Rule rule
    double rate
    double shrink  # of weights, by their decay
    double l2  # of weights
    double keep  # of the parameters' average
    Size n_params
    Size n_moments
    Size second  # where in the moments the second begins; 0: the rule has one or none
    real *moments
    double penalty  # l2 / 2 times the sum of the squared weights
    double scale  # 1 / total weight of the batch


cdef struct Block:
    # Some samples on their way through the layers.
    Net *net
    Memory memory
    Team *team
    uint64_t seed
    Size step
    Matrix x  # dense input
    CsrBlock csr  # or sparse
    Matrix targets
    real *weights
    Size samples
    Size lanes
    Size first  # place of the first sample in the batch
    Size ld  # of matrices in scratch memory
    double scale
    bint accumulate  # the gradient: not the first block of a group
    Update *update  # of the last block of a batch, for fused updates; else NULL
