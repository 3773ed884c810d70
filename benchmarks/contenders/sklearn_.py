"""scikit-learn's MLPClassifier and MLPRegressor, whole fits."""

from __future__ import annotations

import warnings

import numpy as np

from benchmarks.contenders.base import Contender, Runner
from benchmarks.tasks import Task
from fastnn.bench import sklearn_model


class ScikitLearn(Runner):
    """The model that computes the task's network, see :func:`fastnn.bench.sklearn_model`."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.model, self.targets = sklearn_model(
            task.network(), task.optimizer, task.job.batch_size, task.x, task.y
        )

    def reset(self) -> None:
        layers = self.task.layers()
        self.model.coefs_ = [w for w, _ in layers]
        self.model.intercepts_ = [b for _, b in layers]
        self.model.n_iter_ = 0

    def run(self, steps: int) -> None:
        if self.job.predict:
            for _ in range(steps):
                self.out = self.model.predict_proba(self.task.x)
            return
        rows, epochs = self.task.rows_and_epochs(steps)
        self.model.max_iter = epochs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            self.model.fit(self.task.x[:rows], self.targets[:rows])

    def result(self) -> np.ndarray:
        if self.job.predict:
            return self.out
        pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return np.concatenate([a.ravel() for pair in pairs for a in pair])


CONTENDERS = (Contender("sklearn", "scikit-learn", ScikitLearn, "sklearn", default=True),)
