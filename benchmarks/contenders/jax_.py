"""JAX: one step per call, and the whole loop in one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.contenders.base import Contender, Runner, updated
from benchmarks.tasks import Task


class Jax(Runner):
    """A jitted step, or the whole loop in one call, with donated buffers."""

    def __init__(self, task: Task, loop: bool) -> None:
        super().__init__(task)
        import jax

        jax.config.update("jax_enable_x64", task.job.dtype == "float64")
        jnp = jax.numpy
        self.jax, self.jnp, self.loop = jax, jnp, loop
        self.start = task.parameters()
        if self.job.predict:
            params = [jnp.asarray(p) for p in self.start]
            self.x = jnp.asarray(task.x)
            self.predict = jax.jit(lambda x: jax.nn.softmax(self._logits(params, x)))
            return
        if loop:
            x, y = task.stacked_batches()
            self.x, self.y = jnp.asarray(x), jnp.asarray(y)
            self.many = jax.jit(self._many, donate_argnums=0)
        else:
            self.batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in task.batches()]
            self.step = jax.jit(self._step, donate_argnums=0)
        self.reset()

    def reset(self) -> None:
        if self.job.predict:
            return
        jnp = self.jnp
        params = [jnp.array(p) for p in self.start]
        moments: list[list[Any]] = [[], []]
        if self.job.optimizer == "adam":
            moments = [[jnp.zeros_like(p) for p in params] for _ in range(2)]
        self.state = (params, *moments, jnp.zeros((), jnp.int32))
        self.count = 0

    def _logits(self, params: Sequence[Any], x: Any) -> Any:
        activation = {"tanh": self.jnp.tanh, "relu": self.jax.nn.relu}[self.job.activation]
        for k in range(0, len(params), 2):
            x = x @ params[k] + params[k + 1]
            if k < len(params) - 2:
                x = activation(x)
        return x

    def _loss(self, params: Sequence[Any], x: Any, y: Any) -> Any:
        jnp, z = self.jnp, self._logits(params, x)
        if self.job.loss == "cross_entropy":
            log_p = self.jax.nn.log_softmax(z)
            return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))
        return jnp.sum(jnp.square(z - y)) * (0.5 / self.job.samples_per_step)

    def _step(self, state: Any, x: Any, y: Any) -> Any:
        params, *moments, count = state
        grads = self.jax.grad(self._loss)(params, x, y)
        count = count + 1
        t = count.astype(self.job.dtype)
        return *updated(self.task.optimizer, self.jnp.sqrt, params, grads, moments, t), count

    def _many(self, state: Any, x: Any, y: Any, steps: Any) -> Any:
        def body(_: Any, state: Any) -> Any:
            if self.job.steps_per_epoch == 1:
                return self._step(state, x, y)
            k = state[3] % self.job.steps_per_epoch
            return self._step(state, x[k], y[k])

        # One compilation for any number of steps; the loop is the one that scan makes.
        return self.jax.lax.fori_loop(0, steps, body, state)

    def run(self, steps: int) -> None:
        if self.job.predict:
            predict, x = self.predict, self.x
            for _ in range(steps):
                self.out = predict(x).block_until_ready()
            return
        if self.loop:
            self.state = self.many(self.state, self.x, self.y, steps)
        else:
            for _ in range(steps):
                self.state = self.step(self.state, *self.batches[self.count % len(self.batches)])
                self.count += 1
        self.jax.block_until_ready(self.state)

    def result(self) -> np.ndarray:
        if self.job.predict:
            return np.asarray(self.out)
        return np.concatenate([np.asarray(p).ravel() for p in self.state[0]])


CONTENDERS = (
    Contender("jax-step", "JAX step", functools.partial(Jax, loop=False), "jax"),
    Contender("jax-loop", "JAX whole loop", functools.partial(Jax, loop=True), "jax", default=True),
)
