"""The backends of this package."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.contenders.base import Contender, Runner
from benchmarks.tasks import Task
from fastnn import backends


class Fastnn(Runner):
    """``Network.fit`` and the ordinary, checked ``predict_proba``."""

    def __init__(self, task: Task, backend: str = "numpy", shuffle: bool = False) -> None:
        super().__init__(task)
        self.backend, self.shuffle = backend, shuffle
        self.reset()

    def reset(self) -> None:
        self.net = self.task.network(self.backend)

    def run(self, steps: int) -> None:
        if self.job.predict:
            predict, x = self.net.predict_proba, self.task.x
            for _ in range(steps):
                self.out = predict(x)
            return
        rows, epochs = self.task.rows_and_epochs(steps)
        self.history = self.net.fit(
            self.task.x[:rows],
            self.task.y[:rows],
            optimizer=self.task.optimizer,
            epochs=epochs,
            batch_size=self.job.batch_size,
            shuffle=self.shuffle,
        )

    def result(self) -> np.ndarray:
        return self.out if self.job.predict else self.net.params

    def timed(self, steps: int) -> float:
        """As with the peers, data and moments are made, and touched, before the clock starts."""
        if self.job.predict:
            return super().timed(steps)
        self.run(1)
        self.run(steps)
        return self.history.seconds


def _shuffled(backend: str) -> Contender:
    return Contender(
        f"{backend}-shuffled",
        f"fastnn {backend}, shuffled",
        functools.partial(Fastnn, backend=backend, shuffle=True),
        reference=functools.partial(Fastnn, shuffle=True),
        peer=False,
        predicts=False,
        only_batches=True,
    )


CONTENDERS = (
    *(
        Contender(
            name,
            f"fastnn {name}",
            functools.partial(Fastnn, backend=name),
            peer=False,
            default=True,
        )
        for name in backends.BACKENDS
    ),
    *(_shuffled(name) for name in backends.BACKENDS),
)
