"""How a learning rate changes in the course of training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def _cosine(part: np.ndarray) -> np.ndarray:
    """From 1 to 0 along half a cosine (Loshchilov and Hutter, SGDR, 2017)."""
    return 0.5 + 0.5 * np.cos(np.pi * np.minimum(part, 1.0))


def _step(part: np.ndarray) -> np.ndarray:
    """A tenth after each third."""
    return 0.1 ** np.floor(3 * np.minimum(part, np.nextafter(1.0, 0.0)))


def _one_cycle(part: np.ndarray) -> np.ndarray:
    """From 1/25 up to 1 in the first 30%, then down to 1e-4/25 (Smith, Topin, 2018)."""
    low, lowest = 1 / 25, 1e-4 / 25
    up = 1 + (low - 1) * _cosine(part / 0.3)
    down = lowest + (1 - lowest) * _cosine((part - 0.3) / 0.7)
    return np.where(part < 0.3, up, down)


def _coslog4(part: np.ndarray) -> np.ndarray:
    """From 0 up and down four times, each twice as long as the one before, and back to 0.

    Holzmueller, Grinsztajn, Steinwart, Better by default (2024).
    """
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.log2(1 + 15 * np.minimum(part, 1.0)))


# Factors of the learning rate by the share of training that is done; for all update rules.
SCHEDULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cosine": _cosine,
    "step": _step,
    "one_cycle": _one_cycle,
    "coslog4": _coslog4,
}
