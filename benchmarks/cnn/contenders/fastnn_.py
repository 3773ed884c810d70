"""fastnn.cnn: several steps per call of TensorFlow."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from benchmarks.cnn.network import CHUNK, EVALUATED, RATE


class Fastnn:
    """The training loop of ``fastnn cnn train``."""

    pool_first = False

    def __init__(self, precision: str, images: np.ndarray, labels: np.ndarray) -> None:
        from fastnn.cnn import data
        from fastnn.cnn.runtime import tf
        from fastnn.cnn.settings import Settings
        from fastnn.cnn.trainer import Trainer

        self.tf = tf
        self.settings = (
            Settings(
                precision=precision, dropout=0.0, learning_rate=RATE, batch_size=50, steps=10**6
            )
            .completed()
            .model_copy(update={"pool_first": self.pool_first})
        )
        parts = data.Images("mnist", (images, labels), (images, labels), (images, labels))
        self._trainer = functools.partial(Trainer, images=parts, folder=Path(), say=print)
        self.n, self.images, self.labels = len(images), tf.constant(images), tf.constant(labels)
        self.params = None
        self.trainers = {}

    def trainer(self, batch: int):
        if batch not in self.trainers:
            settings = self.settings.model_copy(update={"batch_size": batch})
            self.trainers = {batch: self._trainer(settings=settings)}  # one at a time
            if self.params is not None:
                self.trainers[batch].network.set_weights(self.params)
        return self.trainers[batch]

    def set(self, params: dict[str, np.ndarray]) -> None:
        self.params, self.trainers = params, {}

    def run(self, first: int, steps: int, batch: int) -> None:
        trainer, tf = self.trainer(batch), self.tf
        for start in range(first, first + steps, CHUNK):
            numbers = np.arange(start, min(start + CHUNK, first + steps))
            rows = (numbers[:, None] * batch + np.arange(batch)) % self.n
            rates = np.full(len(numbers), RATE, np.float32)
            float(trainer._steps(rows.astype(np.int32), rates, tf.constant(start)))

    def loss(self) -> float:
        network = next(iter(self.trainers.values())).network
        logits = network.logits(self.images[:EVALUATED])
        losses = self.tf.nn.sparse_softmax_cross_entropy_with_logits(
            self.labels[:EVALUATED], logits
        )
        return float(self.tf.reduce_mean(losses))

    def predict(self, images: np.ndarray) -> np.ndarray:
        return next(iter(self.trainers.values())).network.predict_proba(images)


class FastnnPoolFirst(Fastnn):
    """The same, pooling before bias and activation, as its fast preset does."""

    pool_first = True
