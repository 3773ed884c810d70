"""The integers that Python and the compiled kernels share.

A kernel gets small integers, never strings. ``setup.py`` makes a C header of them.
"""

from __future__ import annotations

from collections.abc import Sequence

# What a row of the plan does.
DENSE = 0
DROPOUT = 1

# How samples become batches.
CONSECUTIVE = 0  # the batches one after the other in memory
SHUFFLED = 1  # gathered, in an order that the kernels draw anew in every epoch
GIVEN_ORDER = 2  # gathered, in an order that the caller gives

# Activations of a dense layer.
IDENTITY = 0
TANH = 1
SIGMOID = 2
RELU = 3
LEAKY_RELU = 4
ELU = 5
SOFTPLUS = 6
SILU = 7
GELU = 8
SELU = 9
MISH = 10

ACTIVATIONS = {
    "identity": IDENTITY,
    "tanh": TANH,
    "sigmoid": SIGMOID,
    "relu": RELU,
    "leaky_relu": LEAKY_RELU,
    "elu": ELU,
    "softplus": SOFTPLUS,
    "silu": SILU,
    "gelu": GELU,
    "selu": SELU,
    "mish": MISH,
}

# The user's own, :class:`fastnn.CustomActivation`; the Cython kernels have none.
CUSTOM_ACTIVATION = 11

# Constants of selu, lambda and lambda alpha. Source: Klambauer, Unterthiner, Mayr, Hochreiter,
# Self-normalizing neural networks (2017).
SELU_SCALE = 1.0507009873554805
SELU_SCALE_ALPHA = 1.7580993408473766

# Their derivative needs the net input z; that of the others follows from the
# output a alone, so z may be overwritten.
NEEDS_NET_INPUT = frozenset({SILU, GELU, MISH, CUSTOM_ACTIVATION})

# Losses; each one fixes what the output layer's net inputs become.
CROSS_ENTROPY = 0  # softmax
BINARY_CROSS_ENTROPY = 1  # sigmoid
SQUARED_ERROR = 2  # identity
ABSOLUTE_ERROR = 3  # identity
HUBER = 4  # identity
QUANTILE = 5  # identity
POISSON = 6  # exponential
GAUSSIAN = 7  # identity: mean and logarithm of the variance of each target in turn

LOSSES = {
    "cross_entropy": CROSS_ENTROPY,
    "binary_cross_entropy": BINARY_CROSS_ENTROPY,
    "squared_error": SQUARED_ERROR,
    "absolute_error": ABSOLUTE_ERROR,
    "huber": HUBER,
    "quantile": QUANTILE,
    "poisson": POISSON,
    "gaussian": GAUSSIAN,
}

# The user's own, :class:`fastnn.CustomLoss`: identity; the Cython kernels have none.
CUSTOM_LOSS = 8

# A Gaussian's logarithm of the variance counts as within plus and minus this: deviations of 2e-9 to
# 5e8, beyond which float32 would overflow.
LOG_VARIANCE_LIMIT = 40.0

# The losses of real targets; those of SCALED_TARGETS let these be shifted and scaled.
REGRESSION = frozenset(LOSSES) - {"cross_entropy", "binary_cross_entropy"}
SCALED_TARGETS = REGRESSION - {"poisson"}

# Update rules.
SGD = 0
ADAM = 1
ADAGRAD = 2
RMSPROP = 3

# Columns of ``Plan.layers``, one row per layer. BLAS: whether the layer
# is wide (packed or BLAS products); 1, or 2 if threads split the units of the layers.
KIND, FAN_IN, FAN_OUT, WEIGHTS, BIASES, ACTIVATION, BLAS, NET_INPUT, OUTPUT = range(9)
LAYER_COLUMNS = 9

# Entries of ``Plan.header``.
(
    N_PARAMS,
    BLOCK,
    GROUPS,
    WORK_SIZE,
    WORK_INPUT,
    WORK_TARGETS,
    WORK_SAMPLE_WEIGHT,
    WORK_DELTA,
    WORK_DELTA_OTHER,
    SHARED,
    WORK_PACKED,
    N_TARGETS,
) = range(12)
HEADER_SIZE = 12

# Purposes of the counter-based random streams.
STREAM_SHUFFLE = 0
STREAM_DROPOUT = 1

# Gradients of a batch are summed in at most this many partial sums, in fixed
# order, so that the result does not depend on how many threads made them.
MAX_GROUPS = 16

# Integers that threads share: the barrier and tickets, whether the others wait for a thread that
# will never come, then for each group its loss (a float64) and who took it.
SYNC_SIZE = 8 + 2 * MAX_GROUPS
SYNC_ABORT = 3

# Layers at least this wide on both sides may go through BLAS, or what a backend has in its place;
# from how many weights on they do is the backend's own number.
BLAS_WIDTH = 48


def outputs_per_target(loss: int, constants: Sequence) -> int:
    """How many outputs belong to one target, of a loss with such constants."""
    if loss == GAUSSIAN:
        return 2
    return len(constants) if loss == QUANTILE else 1
