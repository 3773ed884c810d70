"""The network that all contenders train: its shapes, initial weights and update rule."""

from __future__ import annotations

import numpy as np

RATE = 1e-4
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7
CHUNK = 20  # steps per call, where a contender can do several
EVALUATED = 500  # images whose loss is compared
PREDICTED = 500  # images per call, where many are predicted

SHAPES = {
    "conv1": (5, 5, 1, 32),
    "conv2": (5, 5, 32, 64),
    "fc1": (3136, 1024),
    "fc2": (1024, 10),
}


def initial_weights() -> dict[str, np.ndarray]:
    """The course's: normal of deviation 0.1 truncated at two deviations, biases 0.1."""
    rng, params = np.random.default_rng(0), {}
    for layer, shape in SHAPES.items():
        drawn = rng.normal(size=shape)
        while (far := np.abs(drawn) > 2).any():
            drawn[far] = rng.normal(size=far.sum())
        params[f"{layer}/weights"] = (0.1 * drawn).astype(np.float32)
        params[f"{layer}/biases"] = np.full(shape[-1], 0.1, np.float32)
    return params


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the images."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(labels)), labels].mean())
