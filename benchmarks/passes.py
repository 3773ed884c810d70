"""Training passes over fixed data, timed within this process."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import fastnn

TURN = 0.1  # seconds of one measurement


def calibrated(seconds: Callable[[int], float]) -> Callable[[], float]:
    """Timer of the seconds per repetition, with as many repetitions as take about ``TURN``.

    ``seconds(n)`` does n repetitions and returns their time; the first call warms up.
    """
    seconds(1)
    n = max(1, round(TURN / max(seconds(1), 1e-7)))
    return lambda: seconds(n) / n


def training_pass(
    net: fastnn.Network, x: np.ndarray, y: np.ndarray, batch: int, rate: float
) -> Callable[[], float]:
    """Timer of the seconds per epoch of Adam; each call continues the training."""

    def seconds(epochs: int) -> float:
        history = net.fit(
            x,
            y,
            optimizer=fastnn.Adam(rate),
            epochs=epochs,
            batch_size=batch,
            shuffle=False,
        )
        return history.seconds

    return calibrated(seconds)
