"""Time of a training step, by job: backends and peers.

``pytest benchmarks/test_jobs.py --peers all --benchmark-json jobs.json``
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.conftest import CLOCK
from benchmarks.contenders.base import Contender
from benchmarks.jobs import JOBS as ALL_JOBS
from benchmarks.jobs import Job

JOBS = [job for job in ALL_JOBS.values() if not job.predict]


@pytest.mark.benchmark(timer=CLOCK.read)
def test_step(job: Job, contender: Contender, timed_step: Callable) -> None:
    timed_step()
