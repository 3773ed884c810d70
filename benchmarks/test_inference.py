"""Time of ``predict_proba`` for 1, 1,000 and 100,000 rows: backends and peers.

fastnn and scikit-learn take and return NumPy arrays, with validation; the other peers take and
return their own arrays, without validation.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.conftest import CLOCK
from benchmarks.contenders.base import Contender
from benchmarks.jobs import JOBS as ALL_JOBS
from benchmarks.jobs import Job

JOBS = [job for job in ALL_JOBS.values() if job.predict]


@pytest.mark.benchmark(timer=CLOCK.read)
def test_predict(job: Job, contender: Contender, timed_step: Callable) -> None:
    timed_step()
