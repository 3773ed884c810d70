"""Learning rate schedules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def _cosine(part: np.ndarray) -> np.ndarray:
    """From 1 to 0 along half a cosine (Loshchilov and Hutter, SGDR, 2017)."""
    return 0.5 + 0.5 * np.cos(np.pi * np.minimum(part, 1.0))


def _step(part: np.ndarray) -> np.ndarray:
    """Divide by 10 after each third of the training."""
    return 0.1 ** np.floor(3 * np.minimum(part, np.nextafter(1.0, 0.0)))


def _one_cycle(part: np.ndarray) -> np.ndarray:
    """From 1/25 up to 1 in the first 30%, then down to 1e-4/25 (Smith, Topin, 2018)."""
    low, lowest = 1 / 25, 1e-4 / 25
    up = 1 + (low - 1) * _cosine(part / 0.3)
    down = lowest + (1 - lowest) * _cosine((part - 0.3) / 0.7)
    return np.where(part < 0.3, up, down)


def _coslog4(part: np.ndarray) -> np.ndarray:
    """Four cycles from 0 to 1 and back, each twice as long as the previous one.

    Holzmueller, Grinsztajn, Steinwart, Better by default (2024).
    """
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.log2(1 + 15 * np.minimum(part, 1.0)))


# Factor of the learning rate as a function of the completed fraction of training, from 0 to 1.
SCHEDULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cosine": _cosine,
    "step": _step,
    "one_cycle": _one_cycle,
    "coslog4": _coslog4,
}
