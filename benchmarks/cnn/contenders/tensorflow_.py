"""TensorFlow with the network and update rule of fastnn.cnn, one step per call."""

from __future__ import annotations

from benchmarks.cnn.contenders.fastnn_ import Fastnn
from benchmarks.cnn.network import RATE


class _OneStep(Fastnn):
    """One step per call of TensorFlow, written as its users write it."""

    def compiled(self, step):
        return step

    def trainer(self, batch: int):
        new = batch not in self.trainers
        trainer, tf = super().trainer(batch), self.tf
        if new:

            def step(images, labels, number):
                with tf.GradientTape() as tape:
                    logits = trainer.network.logits(images)
                    loss = tf.reduce_mean(
                        tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                    )
                gradients = tape.gradient(loss, trainer.network.params)
                trainer.optimizer.apply(gradients, tf.constant(RATE), number)
                return loss

            self.step = self.compiled(step)
        return trainer

    def run(self, first: int, steps: int, batch: int) -> None:
        self.trainer(batch)
        loss = None
        for k in range(first, first + steps):
            start = k * batch % (self.n - batch + 1)
            images, labels = self.images[start : start + batch], self.labels[start : start + batch]
            loss = self.step(images, labels, self.tf.constant(k + 1))
        float(loss)


class Eager(_OneStep):
    """Without tf.function."""


class Function(_OneStep):
    """tf.function."""

    def compiled(self, step):
        return self.tf.function(step, autograph=False)


class Xla(_OneStep):
    """tf.function through XLA."""

    def compiled(self, step):
        return self.tf.function(step, autograph=False, jit_compile=True)
