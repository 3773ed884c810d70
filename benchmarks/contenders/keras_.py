"""Keras, several steps per execution."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.contenders.base import Contender, Runner
from benchmarks.tasks import Task
from fastnn.training.optimizers import Adam


class Keras(Runner):
    """``Model.fit``, several steps per execution; its set-up is not timed, as with fastnn."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        import keras

        job = task.job
        stack = [keras.Input((job.layer_sizes[0],), dtype=job.dtype)]
        for units in job.layer_sizes[1:-1]:
            stack.append(keras.layers.Dense(units, activation=job.activation, dtype=job.dtype))
        stack.append(keras.layers.Dense(job.layer_sizes[-1], dtype=job.dtype))
        self.model = keras.Sequential(stack)
        rule = task.optimizer
        self.optimizer = (
            keras.optimizers.Adam(rule.learning_rate, epsilon=rule.epsilon)
            if isinstance(rule, Adam)
            else keras.optimizers.SGD(rule.learning_rate)
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if job.loss == "squared_error":

            def loss(y: Any, p: Any) -> Any:
                return 0.5 * keras.ops.sum(keras.ops.square(p - y), axis=-1)

        self.model.compile(
            self.optimizer,
            loss,
            steps_per_execution=min(job.steps_per_epoch, 32),
            jit_compile="auto",
        )
        self.optimizer.build(self.model.trainable_variables)
        self.clock = keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: setattr(self, "begun", time.perf_counter()),
            on_train_end=lambda logs: setattr(self, "ended", time.perf_counter()),
        )
        self.reset()

    def reset(self) -> None:
        self.model.set_weights(self.task.parameters())
        for variable in self.optimizer.variables:
            if variable is not self.optimizer._learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def run(self, steps: int) -> None:
        rows, epochs = self.task.rows_and_epochs(steps)
        self.model.fit(
            self.task.x[:rows],
            self.task.y[:rows],
            batch_size=self.job.samples_per_step,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[self.clock],
        )

    def timed(self, steps: int) -> float:
        self.run(steps)
        return self.ended - self.begun

    def result(self) -> np.ndarray:
        return np.concatenate([a.ravel() for a in self.model.get_weights()])


CONTENDERS = (Contender("keras", "Keras fit", Keras, "keras", predicts=False),)
