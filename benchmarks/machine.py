"""The machine: its properties, measured speeds, and the lower bounds of times they imply."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.jobs import Job
from fastnn import backends
from fastnn.bench import cpu_name
from fastnn.training.threads import usable_cores

VERSIONED = (
    "fastnn-cpu",
    "numpy",
    "scipy",
    "numba",
    "scikit-learn",
    "torch",
    "tensorflow",
    "keras",
    "jax",
    "jaxlib",
)
VECTOR_FLAGS = ("sse4_2", "avx", "avx2", "fma", "avx512f")


def machine() -> dict[str, Any]:
    """Properties of the machine, and installed versions."""
    import scipy.linalg  # noqa: F401  (loads its BLAS, to be listed)
    from threadpoolctl import threadpool_info

    versions = {"python": platform.python_version()}
    for name in VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    level = None
    if backends.why_missing("cython") is None:
        with contextlib.suppress(ImportError):
            level = getattr(backends.load("cython"), "LEVEL", None)
    return {
        "cpu": cpu_name(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "versions": versions,
        "thread_pools": [
            {k: v for k, v in pool.items() if k != "filepath"} for pool in threadpool_info()
        ],
        "vector_level": level,
        "cpu_vectors": _cpu_vectors(),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _cpu_vectors() -> list[str]:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("flags"):
                return [name for name in VECTOR_FLAGS if name in line.split()]
    return []


def in_words(facts: dict[str, Any]) -> str:
    """Processor and number of cores, as text."""
    return f"{facts['cpu']}, {facts['usable_cores']} cores"


def speeds() -> dict[str, Any]:
    """Measure the rate of matrix products (GFLOP/s) and of copying (GB/s, read plus write).

    Returns
    -------
    dict
        gemm_gflops and copy_gbytes, each with one core and with all cores, best of several runs.
    """
    from threadpoolctl import threadpool_limits

    gemm: dict[str, dict[str, float]] = {}
    for dtype in ("float32", "float64"):
        a = np.random.RandomState(0).rand(1536, 1536).astype(dtype)
        out = np.empty_like(a)
        gemm[dtype] = {}
        for name, limit in (("one_core", 1), ("all_cores", None)):
            with threadpool_limits(limit, "blas"):
                best = _best(lambda a=a, out=out: np.matmul(a, a, out=out))
            gemm[dtype][name] = 2 * a.shape[0] ** 3 / best / 1e9
    cores = usable_cores()
    source = np.ones(2**25, np.float64)  # 256 MiB, larger than the caches
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(source, cores), np.array_split(target, cores), strict=True))
    with ThreadPoolExecutor(cores) as pool:
        one = _best(lambda: np.copyto(target, source))
        everyone = _best(lambda: list(pool.map(lambda p: np.copyto(p[1], p[0]), parts)))
    copied = 2 * source.nbytes / 1e9
    return {
        "gemm_gflops": gemm,
        "copy_gbytes": {"one_core": copied / one, "all_cores": copied / everyone},
    }


def _best(run: Callable[[], Any], times: int = 5) -> float:
    run()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def floor(job: Job, speed: dict[str, Any]) -> dict[str, float]:
    """Lower bound of microseconds per step, from the GEMM peak and the copy bandwidth.

    Each is the better of one core and all cores. The data of a small job stay in the caches,
    where the bound by memory does not apply, and its products do not reach the GEMM peak.
    """
    if not speed:
        return {}
    gflops = max(speed["gemm_gflops"][job.dtype].values())
    gbytes = max(speed["copy_gbytes"].values())
    arithmetic, memory = job.flops / gflops / 1e3, job.moved_bytes / gbytes / 1e3
    return {"arithmetic_us": arithmetic, "memory_us": memory, "sum_us": arithmetic + memory}
