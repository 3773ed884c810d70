"""Number of threads to use."""

from __future__ import annotations

import functools
import os
from contextlib import suppress

# Paths inside a container, of the two versions of control groups.
_CPU_MAX = "/sys/fs/cgroup/cpu.max"
_CPU_CFS = "/sys/fs/cgroup/cpu/cpu.cfs_"


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
    # microseconds per period; without a limit the quota is "max" or -1
    for paths in ([_CPU_MAX], [f"{_CPU_CFS}quota_us", f"{_CPU_CFS}period_us"]):
        with suppress(OSError, ValueError):
            quota, period = map(int, " ".join(map(_read, paths)).split())
            if quota > 0:
                return -(-quota // period)
    return os.cpu_count() or 1


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def default_threads() -> int:
    """Default number of threads: the usable cores, or OMP_NUM_THREADS if smaller.

    Users of NumPy, scikit-learn and PyTorch set the variable to share a machine, and joblib sets
    it in each of its worker processes.
    """
    most = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    cores = usable_cores()
    return max(1, min(cores, int(most))) if most.isdigit() else cores
