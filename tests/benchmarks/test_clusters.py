"""``python -m benchmarks.clusters``: the simulation of many workers."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.clusters import problem_of, simulated
from fastnn.tables.search import Plan, fit_cost
from fastnn.tables.trials import default_settings


def test_many_workers_are_busy():
    """With the times of docs/clusters.md; 0.79 if each round waits for the one before it."""
    problem = problem_of(400)
    own = default_settings(problem)
    seconds = {
        fit_cost(30, own | {"hidden_layer_sizes": sizes}): 31 * step
        for sizes, step in (([256] * 3, 3.13e-3), ([64] * 5, 0.62e-3), ([512], 0.56e-3))
    }
    draws = [replace(problem, seed=seed) for seed in range(10)]
    found = np.array([simulated(Plan(222), each, seconds, 64, 0.009) for each in draws])
    assert found[:, 0].mean() > 0.9
    efficiency, total = simulated(Plan(222), draws[0], seconds, 1, 0.0)
    assert efficiency == pytest.approx(1)
    assert found[0].prod() == pytest.approx(total / 64)
