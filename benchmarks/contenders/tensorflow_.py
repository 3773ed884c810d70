"""TensorFlow: one step per call, with and without XLA, and the whole loop in XLA."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.contenders.base import Contender, Runner, updated
from benchmarks.tasks import Task


class TensorFlow(Runner):
    """tf.function step by step, the same compiled by XLA, or the whole loop in XLA."""

    def __init__(self, task: Task, mode: str) -> None:
        super().__init__(task)
        import tensorflow as tf

        self.tf, self.mode = tf, mode
        self.start = task.parameters()
        xla = mode != "function"
        if self.job.predict:
            self.x = tf.constant(task.x)
            params = [tf.constant(p) for p in self.start]
            self.predict = tf.function(
                lambda x: tf.nn.softmax(self._logits(params, x)), jit_compile=xla
            ).get_concrete_function(tf.TensorSpec(task.x.shape, task.x.dtype))
            return
        if mode == "loop":
            x, y = task.stacked_batches()
            self.x, self.y = tf.constant(x), tf.constant(y)
            self.loop = tf.function(self._loop, jit_compile=True)
        else:
            self.batches = [(tf.constant(x), tf.constant(y)) for x, y in task.batches()]
            self.step = tf.function(self._step, jit_compile=xla)
            self.variables = [tf.Variable(p) for p in self.start]
            self.moments = [
                [tf.Variable(tf.zeros_like(p)) for p in self.start] if self._adam else []
                for _ in range(2)
            ]
            self.counter = tf.Variable(0.0, dtype=self.job.dtype)
        self.reset()

    @property
    def _adam(self) -> bool:
        return self.job.optimizer == "adam"

    def reset(self) -> None:
        if self.job.predict:
            return
        self.count = 0
        if self.mode == "loop":
            tf = self.tf
            state = [tf.constant(p) for p in self.start]
            zeros = [tf.zeros_like(p) for p in self.start] if self._adam else []
            self.state = [state, zeros, list(zeros)]
            return
        for variable, start in zip(self.variables, self.start, strict=True):
            variable.assign(start)
        for moment in [*self.moments[0], *self.moments[1], self.counter]:
            moment.assign(self.tf.zeros_like(moment))

    def _logits(self, params: Sequence[Any], x: Any) -> Any:
        tf = self.tf
        activation = {"tanh": tf.tanh, "relu": tf.nn.relu}[self.job.activation]
        for k in range(0, len(params), 2):
            x = tf.matmul(x, params[k]) + params[k + 1]
            if k < len(params) - 2:
                x = activation(x)
        return x

    def _loss(self, params: Sequence[Any], x: Any, y: Any) -> Any:
        tf, z = self.tf, self._logits(params, x)
        if self.job.loss == "cross_entropy":
            return tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z)
            )
        return tf.reduce_sum(tf.square(z - y)) * (0.5 / self.job.samples_per_step)

    def _gradients(self, params: Sequence[Any], x: Any, y: Any) -> list[Any]:
        with self.tf.GradientTape() as tape:
            tape.watch(params)
            loss = self._loss(params, x, y)
        return tape.gradient(loss, params)

    def _step(self, x: Any, y: Any) -> None:
        variables = [*self.variables, *self.moments[0], *self.moments[1]]
        count = self.counter.assign_add(1)
        grads = self._gradients(self.variables, x, y)
        rule, sqrt = self.task.optimizer, self.tf.sqrt
        new = updated(rule, sqrt, self.variables, grads, self.moments, count)
        for variable, value in zip(variables, [p for part in new for p in part], strict=True):
            variable.assign(value)

    def _loop(self, steps: Any, done: Any, state: Any) -> Any:
        tf = self.tf

        def body(i: Any, state: Any) -> Any:
            x, y = self.x, self.y
            if self.job.steps_per_epoch > 1:
                k = (done + i) % self.job.steps_per_epoch
                x, y = x[k], y[k]
            params, *moments = state
            grads = self._gradients(params, x, y)
            count = tf.cast(done + i + 1, self.job.dtype)
            rule = self.task.optimizer
            return i + 1, list(updated(rule, tf.sqrt, params, grads, moments, count))

        start = [tf.constant(0), state]
        return tf.while_loop(lambda i, state: i < steps, body, start)[1]

    def run(self, steps: int) -> None:
        if self.job.predict:
            for _ in range(steps):
                self.out = self.predict(self.x)
            return
        if self.mode == "loop":
            tf = self.tf
            self.state = self.loop(tf.constant(steps), tf.constant(self.count), self.state)
            self.state[0][-1].numpy()  # wait
        else:
            for _ in range(steps):
                self.step(*self.batches[self.count % len(self.batches)])
                self.count += 1
            self.variables[-1].numpy()
            return
        self.count += steps

    def result(self) -> np.ndarray:
        if self.job.predict:
            return self.out.numpy()
        params = self.state[0] if self.mode == "loop" else self.variables
        return np.concatenate([p.numpy().ravel() for p in params])


CONTENDERS = (
    Contender(
        "tf-function",
        "TensorFlow function",
        functools.partial(TensorFlow, mode="function"),
        "tensorflow",
    ),
    Contender(
        "tf-xla-step",
        "TensorFlow XLA step",
        functools.partial(TensorFlow, mode="xla-step"),
        "tensorflow",
    ),
    Contender(
        "tf-xla-loop",
        "TensorFlow XLA whole loop",
        functools.partial(TensorFlow, mode="loop"),
        "tensorflow",
        default=True,
        predicts=False,
    ),
)
