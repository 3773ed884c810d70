"""PyTorch, eager and compiled, with one thread and with its default."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.contenders.base import ONE_THREAD, Contender, Runner, adam_rate
from benchmarks.contenders.numpy_hand import NumpyByHand
from benchmarks.tasks import Task
from fastnn.training.optimizers import Adam


class Torch(Runner):
    """PyTorch, eager or compiled.

    Eager: autograd, with the fused Adam. Compiled: one graph from the batch to
    the updated parameters.
    """

    def __init__(self, task: Task, threads: int | None = None, compiled: bool = False) -> None:
        super().__init__(task)
        import torch

        self.torch, self.compiled = torch, compiled
        if threads is not None:
            torch.set_num_threads(threads)
        self.start = [torch.from_numpy(a) for a in task.parameters()]
        self.params = [p.clone().requires_grad_(not compiled) for p in self.start]
        self.batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in task.batches()]
        self.optimizer = None
        if compiled and not self.job.predict:
            self.moments = [[torch.zeros_like(p) for p in self.start] for _ in range(2)]
            self.step = torch.compile(self._whole_step, fullgraph=True, dynamic=False)
        elif compiled:
            self.predict = torch.compile(self._predict, fullgraph=True, dynamic=False)
        else:
            self.predict, self.step = self._predict, self._eager_step
        self.reset()

    def reset(self) -> None:
        with self.torch.no_grad():
            for p, start in zip(self.params, self.start, strict=True):
                p.copy_(start)
        self.count = 0
        if self.compiled and not self.job.predict:
            for moment in [*self.moments[0], *self.moments[1]]:
                moment.zero_()
        elif self.job.optimizer == "adam" and not self.job.predict:
            rule = self.task.optimizer
            self.optimizer = self.torch.optim.Adam(
                self.params,
                lr=rule.learning_rate,
                betas=(rule.beta_1, rule.beta_2),
                eps=rule.epsilon,
                fused=True,
            )

    def _logits(self, params: Sequence[Any], x: Any) -> Any:
        torch, last = self.torch, len(params) - 2
        activation = {"tanh": torch.tanh, "relu": torch.relu}[self.job.activation]
        for k in range(0, len(params), 2):
            x = torch.addmm(params[k + 1], x, params[k])
            if k < last:
                x = activation(x)
        return x

    def _predict(self, x: Any) -> Any:
        return self.torch.softmax(self._logits(self.params, x), dim=1)

    def _loss(self, params: Sequence[Any], x: Any, y: Any) -> Any:
        z = self._logits(params, x)
        if self.job.loss == "cross_entropy":
            return self.torch.nn.functional.cross_entropy(z, y)
        return (z - y).square().sum() * (0.5 / x.shape[0])

    def _eager_step(self, x: Any, y: Any) -> None:
        torch = self.torch
        loss = self._loss(self.params, x, y)
        if self.optimizer is not None:
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return
        grads = torch.autograd.grad(loss, self.params)
        with torch.no_grad():
            torch._foreach_add_(self.params, grads, alpha=-self.job.learning_rate)

    def _whole_step(
        self, params: list[Any], first: list[Any], second: list[Any], rate: Any, x: Any, y: Any
    ) -> None:
        grads = self.torch.func.grad(self._loss)(params, x, y)
        if self.job.optimizer == "sgd":
            for p, g in zip(params, grads, strict=True):
                p.sub_(rate * g)
            return
        rule = self.task.optimizer
        for p, g, m, v in zip(params, grads, first, second, strict=True):
            m.lerp_(g, 1 - rule.beta_1)
            v.mul_(rule.beta_2).add_(g * g, alpha=1 - rule.beta_2)
            p.sub_(rate * m / (v.sqrt() + rule.epsilon))

    def run(self, steps: int) -> None:
        torch = self.torch
        if self.job.predict:
            with torch.inference_mode():
                predict, x = self.predict, self.batches[0][0]
                for _ in range(steps):
                    self.out = predict(x)
            return
        rule, batches = self.task.optimizer, self.batches
        if not self.compiled:
            for _ in range(steps):
                self.step(*batches[self.count % len(batches)])
                self.count += 1
            return
        constant = torch.tensor(rule.learning_rate, dtype=self.params[0].dtype)
        for _ in range(steps):
            x, y = batches[self.count % len(batches)]
            self.count += 1
            rate = constant
            if isinstance(rule, Adam):
                rate = torch.tensor(adam_rate(rule, self.count), dtype=constant.dtype)
            self.step(self.params, *self.moments, rate, x, y)

    def result(self) -> np.ndarray:
        if self.job.predict:
            return self.out.numpy()
        return np.concatenate([p.detach().numpy().ravel() for p in self.params])


_REFERENCE = functools.partial(NumpyByHand, torch_adam=True)

CONTENDERS = (
    Contender(
        "torch-1",
        "PyTorch, 1 thread",
        functools.partial(Torch, threads=1),
        "torch",
        _REFERENCE,
        default=True,
        environment=ONE_THREAD,
    ),
    Contender("torch", "PyTorch", Torch, "torch", _REFERENCE, default=True),
    Contender(
        "torch-compiled-1",
        "PyTorch compiled, 1 thread",
        functools.partial(Torch, threads=1, compiled=True),
        "torch",
        environment=ONE_THREAD,
    ),
    Contender(
        "torch-compiled", "PyTorch compiled", functools.partial(Torch, compiled=True), "torch"
    ),
)
