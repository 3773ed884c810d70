"""How many threads there should be."""

from __future__ import annotations

import functools
import os
from contextlib import suppress

_CPU_MAX = "/sys/fs/cgroup/cpu.max"  # as a container sees it


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, or what its container is given."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota()))


@functools.cache
def _quota() -> int:
    """Cores' worth of time that Linux gives the process's control group, rounded up."""
    with suppress(OSError, ValueError), open(_CPU_MAX) as file:
        quota, period = file.read().split()  # microseconds; the quota may be "max"
        return -(-int(quota) // int(period))
    return os.cpu_count() or 1


def default_threads() -> int:
    """Threads for work whose caller names no number: the cores, or OMP_NUM_THREADS if fewer.

    The variable is what users of NumPy, scikit-learn and PyTorch set to share a machine, and what
    joblib gives each of its processes.
    """
    most = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    cores = usable_cores()
    return max(1, min(cores, int(most))) if most.isdigit() else cores
