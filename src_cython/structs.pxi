# The structs that kernels pass around: network, data, block of samples, memory of a thread.

cdef extern from "platform.h" nogil:
    ctypedef float real  # or double: this module's dtype
    ctypedef long long Size
    const bint REAL_IS_DOUBLE
    const int PADDING

    ctypedef struct Matrix:
        real *p
        Size ld

    Size minimum(Size a, Size b) noexcept
    Size round_up(Size n, Size multiple) noexcept

cdef extern from "subnormals.h" nogil:
    uint64_t flush_subnormals() noexcept
    void restore_subnormals(uint64_t mode) noexcept

cdef extern from "codes.h" nogil:
    const int DENSE, DROPOUT, IDENTITY, RELU, CROSS_ENTROPY, QUANTILE, SGD, ADAM, STREAM_DROPOUT
    const int CONSECUTIVE, SHUFFLED
    const int LAYER_COLUMNS, HEADER_SIZE, MAX_GROUPS, WIDE_LAYER_UNITS
    const int SYNC_SIZE, SYNC_LOSSES, SYNC_CLAIMS
    const int CLIP_NORM, CLIP_VALUE, AVERAGE_DECAY, RATE_FACTOR, RULE_CONSTANTS

cdef extern from "sparse.h" nogil:
    ctypedef struct CsrBlock:
        const real *values
        const int32_t *indices  # NULL: the data are dense
        const int64_t *indptr
        const int64_t *order
        Size first
        Size samples
        int32_t *part_ends

cdef extern from "plan.h" nogil:
    ctypedef struct Layer:
        int64_t kind, fan_in, fan_out, weights, biases, activation, wide, net_input, output

    ctypedef struct Header:
        int64_t n_params, block_size, groups, work_size, work_input, work_targets
        int64_t work_sample_weight, work_delta, work_delta_other, split_units, work_packed
        int64_t n_targets

    ctypedef struct ProductScratch:
        Size edge_rows, tile, masks, sums
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
    # Training data, and how batches are formed from them.
    void *x  # reals or bytes
    bint x_is_bytes
    CsrBlock csr  # x if it is sparse
    real *targets
    real *weights  # NULL: all ones
    int64_t *order  # NULL: batches are consecutive
    bint shuffled
    Size samples
    Size features
    Size n_targets
    uint64_t seed  # seed of shuffling and dropout


cdef struct Batch:
    Size start
    Size samples
    Size step  # training step, which selects the dropout masks
    double scale  # 1 / total weight
    Size blocks
    Size groups  # partial sums of the gradient


cdef struct Team:
    # Threads that process the same samples, each for some units of every layer; often only one.
    Size thread
    Size n_threads
    int64_t *sync
    int64_t tickets  # tickets taken before those for the current pieces
    int64_t iteration  # number of the step in the chunk, from 0


cdef struct Memory:
    real *params
    real *grads  # gradient sum of the group of blocks
    real *work  # scratch memory shared by the team: the row of its first thread
    real *thread_work  # scratch memory of this thread


cdef struct Rule:
    # An update rule.
    int code
    double *constants
    double decay
    Size stride  # elements between the constants of successive parts; 0: one row for all parts
    Size features  # rows of front
    real *front


cdef struct Update:
    # One step of an update rule.
    Rule rule
    double rate
    double shrink  # factor of the weights: weight decay
    double l2  # L2 factor of the weights
    double keep  # decay of the moving average of the parameters
    Size n_params
    Size n_moments
    Size second  # offset of the second moment; 0: the rule has one or none
    real *moments
    double penalty  # l2 / 2 times the sum of the squared weights
    double scale  # 1 / total weight of the batch


cdef struct Block:
    # Samples that go through the layers together.
    Net *net
    Memory memory
    Team *team
    uint64_t seed
    Size step
    Matrix x  # dense input,
    CsrBlock csr  # or sparse input
    Matrix targets
    real *weights
    Size samples
    Size padded
    bint single  # a batch of one dense sample: matrices are (units, 1), without padding
    Size first  # position of the first sample in the batch
    Size ld  # leading dimension of matrices in scratch memory
    double scale
    bint accumulate  # add to the gradient: not the first block of a group
    Update *update  # fused update, with the last block of a batch; else NULL
