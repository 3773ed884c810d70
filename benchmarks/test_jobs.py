"""Time of a training step, by job: backends and peers.

``pytest benchmarks/test_jobs.py --peers all --benchmark-json jobs.json``
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.conftest import CLOCK
from fastnn import bench

JOBS = [job for job in bench.JOBS.values() if not job.predict]


@pytest.mark.benchmark(timer=CLOCK.read)
def test_step(job: bench.Job, contender: bench.Contender, timed_step: Callable) -> None:
    timed_step()
