"""Where the fits of a search run: in threads, on a Dask cluster, or on another joblib backend."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any

import joblib
from joblib.parallel import get_active_backend

from fastnn.training.pool import Workers
from fastnn.training.team import raise_interrupt
from fastnn.training.threads import usable_cores

# Arguments of a call, without the data; None if none can be started before others are finished.
NextTask = Callable[[], tuple | None]
Results = Generator[Any, None, None]


@contextlib.contextmanager
def pool(
    function: Callable[..., Any], data: Any, n_jobs: int | None
) -> Iterator[Callable[[NextTask], Results]]:
    """Context manager for calls of ``function(data, *task)`` on the active joblib backend.

    By default they run in threads, one per core. On a Dask cluster, the data are sent to each
    worker once.

    Parameters
    ----------
    function : callable
    data : object
        Its first argument.
    n_jobs : int, optional
        Number of calls in parallel; default: one per core, or the setting of the backend.

    Yields
    ------
    callable
        ``run(next_task)`` yields the results of all tasks, in any order. In threads and on Dask a
        task starts whenever a worker is free; on another backend in waves, a wave being all tasks
        that can be started.
    """
    backend, jobs = get_active_backend()
    client = getattr(backend, "client", None)
    if client is not None:
        kept = client.scatter(data, broadcast=True)
        executor = client.get_executor(pure=False)

        def workers() -> int:
            threads = sum(client.nthreads().values())
            return threads + max(1, threads // 8)  # some wait on the cluster, to replace others

        yield lambda next_task: _as_ready(executor, workers, function, kept, next_task)
        return
    if type(backend).__name__ == "LokyBackend" and jobs in (None, 1):  # joblib's default
        n_jobs = usable_cores() if n_jobs is None else joblib.effective_n_jobs(n_jobs)
        if n_jobs > 1:
            n = n_jobs
            with Workers(n) as threads:
                yield lambda next_task: _as_ready(threads, lambda: n, function, data, next_task)
            return
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)
    yield lambda next_task: _in_waves(parallel, function, data, next_task)


def _as_ready(
    executor: Executor | Workers,
    workers: Callable[[], int],
    function: Callable[..., Any],
    data: Any,
    next_task: NextTask,
) -> Results:
    """Start a task whenever there are fewer running ones than workers."""
    running: set[Future] = set()
    try:
        while True:
            for _ in range(max(1, workers()) - len(running)):
                task = next_task()
                if task is None:
                    break
                running.add(executor.submit(function, data, *task))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except RuntimeError as error:
        raise_interrupt(error)
        raise
    finally:
        if isinstance(executor, Workers):
            if running:  # after Ctrl-C or an error
                executor.stop()
        else:
            for future in running:
                future.cancel()


def _in_waves(
    parallel: joblib.Parallel, function: Callable[..., Any], data: Any, next_task: NextTask
) -> Results:
    """Start all tasks that can be started, and wait for all of them."""
    while tasks := list(iter(next_task, None)):
        with warnings.catch_warnings():
            # of joblib about tasks that were cancelled by Ctrl-C
            warnings.filterwarnings("ignore", r".*tasks? .*(not used|cancelled)", UserWarning)
            results = parallel(joblib.delayed(function)(data, *task) for task in tasks)
            try:
                yield from results
            finally:
                results.close()
