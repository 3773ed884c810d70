"""Initial weights.

Sources: LeCun et al., Efficient BackProp (1998); Glorot and Bengio (2010); He et al. (2015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# The command line's help reads it, so this file imports NumPy only where it is needed.
INITIALIZERS = (
    "auto",
    "lecun_normal",
    "glorot_uniform",
    "glorot_normal",
    "he_normal",
    "he_uniform",
)
_RELU_FAMILY = frozenset({"relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "mish"})


def initialize(
    weights: Sequence[np.ndarray],
    activations: Sequence[Any],
    initializer: str,
    rng: np.random.RandomState,
) -> None:
    """Draw the weights layer by layer in float64.

    Parameters
    ----------
    weights : sequence of ndarray, each (fan_in, fan_out)
        Written.
    activations : sequence
        Of each layer, the output layer's included.
    initializer : str
        One of :data:`INITIALIZERS`.
    rng : RandomState
    """
    for w, activation in zip(weights, activations, strict=True):
        fan_in, fan_out = w.shape
        kind = initializer
        if kind == "auto":
            kind = "he_normal" if activation in _RELU_FAMILY else "lecun_normal"
        fan = {  # the weights' variance is 1 / fan
            "lecun": fan_in,
            "he": fan_in / 2,
            "glorot": (fan_in + fan_out) / 2,
        }[kind.split("_")[0]]
        if kind.endswith("normal"):
            w[:] = rng.randn(fan_in, fan_out) / math.sqrt(fan)
        else:
            bound = math.sqrt(3 / fan)
            w[:] = rng.uniform(-bound, bound, (fan_in, fan_out))


def as_random_state(random_state: Any) -> np.random.RandomState:
    """As scikit-learn's check_random_state, without importing scikit-learn."""
    import numpy as np

    if random_state is None:
        return np.random.mtrand._rand
    if isinstance(random_state, np.random.RandomState):
        return random_state
    try:
        return np.random.RandomState(random_state)
    except (TypeError, ValueError):
        raise ValueError(
            f"random_state must be None, an int in [0, 2**32 - 1] or a RandomState; "
            f"got {random_state!r}"
        ) from None
