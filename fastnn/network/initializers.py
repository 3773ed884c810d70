"""Initial weights.

Sources: LeCun et al., Efficient BackProp (1998); Glorot and Bengio (2010); He et al. (2015);
Nguyen and Widrow (1990), as in MATLAB's initnw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# The help of the command line imports this, so NumPy is imported only where it is needed.
INITIALIZERS = (
    "auto",
    "lecun_normal",
    "glorot_uniform",
    "glorot_normal",
    "he_normal",
    "he_uniform",
    "nguyen_widrow",
)
_RELU_FAMILY = frozenset({"relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "mish"})


def initialize(
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    activations: Sequence[Any],
    initializer: str,
    rng: np.random.RandomState,
    half_range: float = 1.0,
) -> None:
    """Draw the weights layer by layer, in float64.

    Parameters
    ----------
    weights : sequence of ndarray, each (fan_in, fan_out)
        Output.
    biases : sequence of ndarray, each (fan_out,)
        Must be zero on entry; nguyen_widrow writes the biases of the hidden layers.
    activations : sequence
        Activation of each layer, including the output layer.
    initializer : str
        One of :data:`INITIALIZERS`.
    rng : RandomState
    half_range : float
        Bound of the absolute values of the features, used by nguyen_widrow.
    """
    for k, (w, activation) in enumerate(zip(weights, activations, strict=True)):
        fan_in, fan_out = w.shape
        kind = initializer
        if kind == "nguyen_widrow":
            if k + 1 < len(weights):
                _nguyen_widrow(w, biases[k], rng)
                if k == 0:
                    w /= half_range
                continue
            kind = "lecun_uniform"
        if kind == "auto":
            kind = "he_normal" if activation in _RELU_FAMILY else "lecun_normal"
        fan = {  # the variance of the weights is 1 / fan
            "lecun": fan_in,
            "he": fan_in / 2,
            "glorot": (fan_in + fan_out) / 2,
        }[kind.split("_")[0]]
        if kind.endswith("normal"):
            w[:] = rng.randn(fan_in, fan_out) / math.sqrt(fan)
        else:
            bound = math.sqrt(3 / fan)
            w[:] = rng.uniform(-bound, bound, (fan_in, fan_out))


def _nguyen_widrow(w: np.ndarray, b: np.ndarray, rng: np.random.RandomState) -> None:
    """Nguyen-Widrow: distribute the steep parts of the units evenly over inputs in [-1, 1]."""
    import numpy as np

    fan_in, units = w.shape
    slope = 0.7 * units ** (1 / fan_in)
    direction = rng.uniform(-1, 1, (fan_in, units))
    w[:] = slope * direction / np.sqrt(np.square(direction).sum(axis=0))
    b[:] = slope * np.linspace(-1, 1, units) * np.sign(direction[0]) if units > 1 else 0.0


def as_random_state(random_state: Any) -> np.random.RandomState:
    """Like scikit-learn's ``check_random_state``, without importing scikit-learn."""
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
