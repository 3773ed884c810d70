"""What one writes with NumPy: flat parameters, results into memory that is there."""

from __future__ import annotations

import numpy as np

from benchmarks.contenders.base import Contender, Runner, adam_rate
from benchmarks.tasks import Task
from fastnn.training.optimizers import SGD


class NumpyByHand(Runner):
    """Training and prediction with NumPy's functions alone.

    With ``torch_adam`` Adam's epsilon is added to the corrected root of the second
    moment, as PyTorch does, where the others add it to the root itself.
    """

    def __init__(self, task: Task, torch_adam: bool = False) -> None:
        super().__init__(task)
        self.torch_adam = torch_adam
        self.start = np.concatenate([a.ravel() for a in task.parameters()])
        self.params, self.grads = self.start.copy(), np.empty_like(self.start)
        self.m, self.v = np.zeros_like(self.start), np.zeros_like(self.start)
        self.scratch = np.empty_like(self.start)
        self.layers, self.grad_layers = self._views(self.params), self._views(self.grads)
        self.batches = task.batches()
        n = task.job.samples_per_step
        self.buffers = [
            np.empty((n, units), self.start.dtype) for units in task.job.layer_sizes[1:]
        ]
        self.deltas = [np.empty_like(buffer) for buffer in self.buffers]
        self.rows = np.arange(n)
        self.reset()

    def _views(self, flat: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        views, at = [], 0
        for m, n in zip(self.job.layer_sizes, self.job.layer_sizes[1:], strict=False):
            views.append((flat[at : at + m * n].reshape(m, n), flat[at + m * n : at + m * n + n]))
            at += m * n + n
        return views

    def reset(self) -> None:
        self.params[:] = self.start
        self.m[:] = self.v[:] = 0.0
        self.count = 0

    def _forward(self, x: np.ndarray) -> np.ndarray:
        tanh, last = self.job.activation == "tanh", len(self.layers) - 1
        for k, (w, b) in enumerate(self.layers):
            x = np.matmul(x, w, out=self.buffers[k])
            x += b
            if k < last:
                np.tanh(x, out=x) if tanh else np.maximum(x, 0, out=x)
        if self.job.loss == "cross_entropy":
            x -= x.max(axis=1, keepdims=True)
            np.exp(x, out=x)
            x /= x.sum(axis=1, keepdims=True)
        return x

    def run(self, steps: int) -> None:
        if self.job.predict:
            for _ in range(steps):
                self.out = self._forward(self.task.x)
            return
        for _ in range(steps):
            x, y = self.batches[self.count % len(self.batches)]
            self._step(x, y)

    def _step(self, x: np.ndarray, y: np.ndarray) -> None:
        delta = self._forward(x)
        if self.job.loss == "cross_entropy":
            delta[self.rows, y] -= 1
        else:
            delta -= y
        delta *= self.start.dtype.type(1 / len(x))
        for k in range(len(self.layers) - 1, -1, -1):
            dw, db = self.grad_layers[k]
            a = self.buffers[k - 1] if k else x
            np.matmul(a.T, delta, out=dw)
            np.sum(delta, axis=0, out=db)
            if k:
                delta = np.matmul(delta, self.layers[k][0].T, out=self.deltas[k - 1])
                if self.job.activation == "tanh":
                    a *= a
                    np.subtract(1, a, out=a)
                    delta *= a
                else:
                    delta *= a > 0
        self._update(self.grads)

    def _update(self, g: np.ndarray) -> None:
        self.count += 1
        rule, number = self.task.optimizer, self.start.dtype.type
        if isinstance(rule, SGD):
            g *= number(rule.learning_rate)
            self.params -= g
            return
        m, v, s = self.m, self.v, self.scratch
        m *= number(rule.beta_1)
        np.multiply(g, number(1 - rule.beta_1), out=s)
        m += s
        v *= number(rule.beta_2)
        g *= g
        g *= number(1 - rule.beta_2)
        v += g
        np.sqrt(v, out=s)
        epsilon = rule.epsilon
        if self.torch_adam:
            epsilon *= (1 - rule.beta_2**self.count) ** 0.5
        s += number(epsilon)
        np.divide(m, s, out=s)
        s *= number(adam_rate(rule, self.count))
        self.params -= s

    def result(self) -> np.ndarray:
        return self.out if self.job.predict else self.params


CONTENDERS = (Contender("numpy-hand", "NumPy by hand", NumpyByHand, default=True),)
