"""What a contender is, and what it does with a task."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.jobs import Job
from benchmarks.tasks import Task
from fastnn import backends
from fastnn.training.optimizers import SGD, Adam, Optimizer


class Runner:
    """One task in one contender's hands; starts from the task's initial weights.

    Parameters
    ----------
    task : Task
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.job = task.job

    def reset(self) -> None:
        """Back to the initial weights and zero moments."""
        raise NotImplementedError

    def run(self, steps: int) -> None:
        """Do steps (or predictions), and wait until they are done."""
        raise NotImplementedError

    def result(self) -> np.ndarray:
        """Parameters in fastnn's flat layout, or the last predictions."""
        raise NotImplementedError

    def timed(self, steps: int) -> float:
        """Seconds that :meth:`run` takes."""
        started = time.perf_counter()
        self.run(steps)
        return time.perf_counter() - started


@dataclass(frozen=True)
class Contender:
    """A backend of this package, or a peer.

    Attributes
    ----------
    name, title : str
    make : callable
        Runner of a task.
    needs : str
        Module to be installed.
    reference : callable, optional
        Runner that must compute the same; None: the NumPy backend.
    peer : bool
    default : bool
        Takes part unless others are asked for.
    trains, predicts, only_batches : bool
        Which jobs it takes: training; prediction; only those with several batches per epoch.
    environment : dict
        Of its process.
    """

    name: str
    title: str
    make: Callable[[Task], Runner]
    needs: str = "numpy"
    reference: Callable[[Task], Runner] | None = None
    peer: bool = True
    default: bool = False
    trains: bool = True
    predicts: bool = True
    only_batches: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    def takes(self, job: Job) -> bool:
        """Whether the job makes sense for it."""
        if self.only_batches and job.steps_per_epoch == 1:
            return False
        return self.predicts if job.predict else self.trains

    def why_missing(self) -> str | None:
        """Reason why it cannot take part; None if it can."""
        if not self.peer:
            return backends.why_missing(self.name.split("-")[0])
        if importlib.util.find_spec(self.needs) is None:
            package = {"sklearn": "scikit-learn"}.get(self.needs, self.needs)
            return f"not installed: pip install {package}"
        return None


ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def adam_rate(rule: Adam, count: int) -> float:
    """Adam's learning rate of the step ``count`` (from 1), corrected for the moments' start."""
    return rule.learning_rate * (1 - rule.beta_2**count) ** 0.5 / (1 - rule.beta_1**count)


def updated(
    rule: Optimizer,
    sqrt: Callable[[Any], Any],
    params: Sequence[Any],
    grads: Sequence[Any],
    moments: tuple[Sequence[Any], Sequence[Any]],
    count: Any,
) -> tuple[list[Any], list[Any], list[Any]]:
    """Parameters and both moments after the step ``count`` (from 1), as a graph's formula."""
    if isinstance(rule, SGD):
        return [p - rule.learning_rate * g for p, g in zip(params, grads, strict=True)], [], []
    first, second = moments
    rate = rule.learning_rate * sqrt(1 - rule.beta_2**count) / (1 - rule.beta_1**count)
    first = [rule.beta_1 * m + (1 - rule.beta_1) * g for m, g in zip(first, grads, strict=True)]
    second = [
        rule.beta_2 * v + (1 - rule.beta_2) * g * g for v, g in zip(second, grads, strict=True)
    ]
    params = [
        p - rate * m / (sqrt(v) + rule.epsilon)
        for p, m, v in zip(params, first, second, strict=True)
    ]
    return params, first, second
