"""The formulas of the book as printed, and the numerically stable forms used here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastnn.backends import codes
from fastnn.backends import numpy as kernels
from fastnn.experiments import jobs

# --- the formulas of the book -----------------------------------------------


def naive_tanh(z: np.ndarray) -> np.ndarray:
    """``(e^2z - 1) / (e^2z + 1)``."""
    e = np.exp(2 * z)
    return (e - 1) / (e + 1)


def naive_tanh_two_exponentials(z: np.ndarray) -> np.ndarray:
    """``(e^z - e^-z) / (e^z + e^-z)``."""
    up, down = np.exp(z), np.exp(-z)
    return (up - down) / (up + down)


def naive_sigmoid(z: np.ndarray) -> np.ndarray:
    """``e^z / (1 + e^z)``."""
    e = np.exp(z)
    return e / (1 + e)


def naive_softmax(z: np.ndarray) -> np.ndarray:
    """``e^z_k / sum e^z`` without a shift; ``z`` has shape (classes, samples)."""
    e = np.exp(z)
    return e / e.sum(axis=0)


def naive_loss(z: np.ndarray, target: int, *, shifted: bool = False) -> np.ndarray:
    """``-log`` of the naive softmax of class ``target``; ``z`` has shape (classes, samples).

    With ``shifted``, the largest logit of each sample is subtracted first.
    """
    if shifted:
        z = z - z.max(axis=0)
    return -np.log(naive_softmax(z)[target])


# --- the forms used here ------------------------------------------------------------------


def activation(z: np.ndarray, code: int) -> np.ndarray:
    """Activation with a code of :mod:`fastnn.backends.codes`, by the NumPy kernel."""
    out = np.empty((1, len(z)), z.dtype)
    kernels.activation_forward(np.ascontiguousarray(z[None]), code, 0.0, out)
    return out[0]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax of the NumPy kernel; ``logits`` has shape (classes, samples)."""
    out = np.ascontiguousarray(logits)
    kernels.output_transform(codes.CROSS_ENTROPY, out)
    return out


def loss(logits: np.ndarray, target: int) -> np.ndarray:
    """Cross-entropy of each sample, by one call of the NumPy kernel per sample."""
    losses = []
    for column in logits.T:
        one = np.ascontiguousarray(column[:, None])
        targets = np.full((1, 1), target, one.dtype)
        none = np.empty(0, one.dtype)
        losses.append(
            kernels.output_loss(
                one, targets, none, codes.CROSS_ENTROPY, np.zeros(1), 1.0, np.empty_like(one)
            )
        )
    return np.array(losses)


def first_failure(fails: Callable[[np.ndarray], bool], high: float, dtype: type) -> float:
    """Smallest number of ``dtype`` in (0, high] at which a formula fails, by bisection.

    Parameters
    ----------
    fails : callable
        Called with an array of one number; False below some threshold, True above.
    high : float
        Upper end of the search.
    dtype : numpy float type

    Returns
    -------
    float
        Infinity if the formula does not fail at ``high``.
    """
    low, high = dtype(0), dtype(high)
    if not fails(np.array([high], dtype)):
        return float("inf")
    while np.nextafter(low, high, dtype=dtype) < high:
        middle = dtype(low + (high - low) / dtype(2))
        if middle in (low, high):
            break
        if fails(np.array([middle], dtype)):
            high = middle
        else:
            low = middle
    return float(high)


def train_naively(
    X: np.ndarray, y: np.ndarray, *, dtype: type, steps: int, seed: int = 0
) -> tuple[int | None, float]:
    """Train a 2-3-2 network with the naive formulas.

    Returns
    -------
    step : int or None
        First step, counted from 1, whose loss is not finite; None if there is none.
    loss : float
        Loss of the last step.
    """
    X = X.astype(dtype)
    samples = len(X)
    network = jobs.make_network([2, 3, 2], activation="tanh", seed=seed, backend="numpy")
    (w1, w2), (b1, b2) = (
        [a.astype(dtype) for a in part] for part in (network.weights, network.biases)
    )
    onehot = np.eye(2, dtype=dtype)[y]
    rate, l2 = dtype(jobs.LEARNING_RATE), dtype(jobs.L2)
    loss = float("nan")
    for step in range(1, steps + 1):
        a = naive_tanh(X @ w1 + b1)
        p = naive_softmax((a @ w2 + b2).T).T
        loss = float(-np.log(p[np.arange(samples), y]).mean())
        if not np.isfinite(loss):
            return step, loss
        dz = (p - onehot) / dtype(samples)
        dh = (dz @ w2.T) * (1 - a * a)
        w2 -= rate * (a.T @ dz + l2 * w2)
        b2 -= rate * dz.sum(axis=0)
        w1 -= rate * (X.T @ dh + l2 * w1)
        b1 -= rate * dh.sum(axis=0)
    return None, loss
