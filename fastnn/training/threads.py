"""Number of threads to use."""

from __future__ import annotations

import functools
import os
from contextlib import suppress

_CPU_MAX = "/sys/fs/cgroup/cpu.max"  # the path inside a container


def usable_cores() -> int:
    """Number of cores this process may use, by its CPU affinity and its container's CPU quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, cpu_quota()))


@functools.cache
def cpu_quota() -> int:
    """CPU quota of the process's control group on Linux, in cores, rounded up."""
    with suppress(OSError, ValueError), open(_CPU_MAX) as file:
        quota, period = file.read().split()  # microseconds; the quota may be "max"
        return -(-int(quota) // int(period))
    return os.cpu_count() or 1


def default_threads() -> int:
    """Default number of threads: the usable cores, or OMP_NUM_THREADS if smaller.

    Users of NumPy, scikit-learn and PyTorch set the variable to share a machine, and joblib sets
    it in each of its worker processes.
    """
    most = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    cores = usable_cores()
    return max(1, min(cores, int(most))) if most.isdigit() else cores
