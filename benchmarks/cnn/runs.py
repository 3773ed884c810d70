"""Whole runs of training, and what summaries cost in them."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np


def summaries_cost(images, level: str, steps: int) -> list[float]:
    """Seconds of a training step and of a report, every 100 steps, of the course's preset.

    The first report is left out: it compiles.
    """
    from fastnn.cnn.settings import Settings
    from fastnn.cnn.summaries import Summaries
    from fastnn.cnn.trainer import Trainer

    settings = Settings(preset="course", data=images.name, steps=steps).completed()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(settings, images, Path(folder), lambda line: None)
        summaries = None if level == "off" else Summaries(folder, trainer.network, settings, level)
        report, times = trainer.report, []

        def timed(*arguments: object) -> None:
            started = time.perf_counter()
            report(*arguments)
            times.append(time.perf_counter() - started)

        trainer.report = timed
        trainer.run(summaries)
        if summaries is not None:
            summaries.close()
    return [trainer.step_seconds / steps, statistics.median(times[1:])]


def preset_curve(images, fields: dict, every: int, seed: int) -> list[list[float]]:
    """Seconds of training steps, and test accuracy, of a run of ``fastnn cnn train``.

    The first seed is watched all the way, the others only at the end.
    """
    from fastnn.cnn.settings import Settings
    from fastnn.cnn.trainer import Trainer

    settings = Settings(**fields, data=images.name, summaries="off", seed=seed)
    settings = settings.completed(len(images.train[0]))
    curve = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(settings, images, Path(folder), lambda line: None)
        trainer.evaluate = lambda summaries=None: None  # its own, every 1,100 steps

        def watch(step: int) -> None:
            if (step % every == 0 and seed == 0) or step == settings.steps:
                curve.append([trainer.step_seconds, trainer.network.score(*images.test)])

        trainer.run(progress=watch)
    return curve


def dense_curve(images, hidden: list[int], epochs: int, seed: int) -> list[list[float]]:
    """The same of a dense network, after every epoch."""
    import fastnn

    def flat(part):
        return part[0].reshape(len(part[0]), -1).astype(np.float32) / 255, part[1]

    train, test = flat(images.train), flat(images.test)
    net = fastnn.Network([784, *hidden, 10], activation="relu", random_state=seed)
    curve, seconds = [], 0.0
    for _ in range(epochs):
        history = net.fit(*train, optimizer=fastnn.Adam(1e-3), epochs=1, batch_size=128)
        seconds += history.seconds
        curve.append([seconds, net.score(*test)])
    return curve
