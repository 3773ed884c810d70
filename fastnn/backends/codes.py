"""Integer codes shared by Python and the compiled kernels.

Kernels take small integers, never strings. ``setup.py`` generates a C header from this module.
"""

from __future__ import annotations

from collections.abc import Sequence

# Kinds of layer: the column KIND of the plan.
DENSE = 0
DROPOUT = 1

# How batches are formed from the samples.
CONSECUTIVE = 0  # the batches follow one another in memory
SHUFFLED = 1  # rows are gathered in a random order, which the kernels draw for each epoch
GIVEN_ORDER = 2  # rows are gathered in an order that the caller passes

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

# A :class:`fastnn.CustomActivation`; not supported by the Cython kernels.
CUSTOM_ACTIVATION = 11

# Constants of selu, lambda and lambda * alpha. Source: Klambauer, Unterthiner, Mayr, Hochreiter,
# Self-normalizing neural networks (2017).
SELU_SCALE = 1.0507009873554805
SELU_SCALE_ALPHA = 1.7580993408473766

# Activations whose derivative needs the net input z. The derivative of all others
# follows from the output a alone, so that a may overwrite z.
NEEDS_NET_INPUT = frozenset({SILU, GELU, MISH, CUSTOM_ACTIVATION})

# Losses; the comments name the function that turns net inputs into predictions.
CROSS_ENTROPY = 0  # softmax
BINARY_CROSS_ENTROPY = 1  # sigmoid
SQUARED_ERROR = 2  # identity
ABSOLUTE_ERROR = 3  # identity
HUBER = 4  # identity
QUANTILE = 5  # identity
POISSON = 6  # exponential
GAUSSIAN = 7  # identity; each target has two outputs, mean and log-variance

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

# A :class:`fastnn.CustomLoss` (identity); not supported by the Cython kernels.
CUSTOM_LOSS = 8

# The Gaussian loss clips the log-variance to plus and minus this value: standard deviations of
# 2e-9 to 5e8, beyond which float32 would overflow.
LOG_VARIANCE_LIMIT = 40.0

# Losses for real targets; those in SCALED_TARGETS allow the targets to be standardised.
REGRESSION = frozenset(LOSSES) - {"cross_entropy", "binary_cross_entropy"}
SCALED_TARGETS = REGRESSION - {"poisson"}

# Update rules.
SGD = 0
ADAM = 1
ADAGRAD = 2
RMSPROP = 3

# Columns of ``Rule.constants`` after the three hyperparameters of the rule.
CLIP_NORM = 3
CLIP_VALUE = 4
AVERAGE_DECAY = 5
RATE_FACTOR = 6
RULE_CONSTANTS = 7

# Columns of ``Plan.layers``, which has one row per layer. WIDE: 0 for a narrow layer (plain loops);
# for a wide one (packed or BLAS products) 1, or 2 if threads split the units of each layer.
KIND, FAN_IN, FAN_OUT, WEIGHTS, BIASES, ACTIVATION, WIDE, NET_INPUT, OUTPUT = range(9)
LAYER_COLUMNS = 9

# Entries of ``Plan.header``.
(
    N_PARAMS,
    BLOCK_SIZE,
    GROUPS,
    WORK_SIZE,
    WORK_INPUT,
    WORK_TARGETS,
    WORK_SAMPLE_WEIGHT,
    WORK_DELTA,
    WORK_DELTA_OTHER,
    SPLIT_UNITS,
    WORK_PACKED,
    N_TARGETS,
) = range(12)
HEADER_SIZE = 12

# Purposes of the counter-based random streams.
STREAM_SHUFFLE = 0
STREAM_DROPOUT = 1

# The gradient of a batch is computed as at most this many partial sums, which are added in fixed
# order, so that the result does not depend on the number of threads.
MAX_GROUPS = 16

# The integers that the threads share: 8 for the barrier, the tickets and, at SYNC_ABORT, the flag
# that a thread will not arrive; from SYNC_LOSSES on the loss of each group (a float64); from
# SYNC_CLAIMS on, for each group, the last step of the chunk in which a thread claimed it, plus 1.
SYNC_ABORT = 3
SYNC_LOSSES = 8
SYNC_CLAIMS = SYNC_LOSSES + MAX_GROUPS
SYNC_SIZE = SYNC_CLAIMS + MAX_GROUPS

# Layers with at least this many inputs and units may use BLAS or packed products. The backend's
# ``WIDE_LAYER_WEIGHTS`` is the number of weights from which they do.
WIDE_LAYER_UNITS = 48


def outputs_per_target(loss: int, constants: Sequence) -> int:
    """Return the number of outputs per target of a loss with the given constants."""
    if loss == GAUSSIAN:
        return 2
    return len(constants) if loss == QUANTILE else 1
