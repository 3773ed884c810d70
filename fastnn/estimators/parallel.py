"""joblib backend: scikit-learn's parallel fits on the threads of :func:`fastnn.fit_many`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib.parallel import (
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    ThreadingBackend,
)

from fastnn.training.pool import Workers


class JoblibBackend(ParallelBackendBase):
    """joblib backend for parallel fits, one network per core, like :func:`fastnn.fit_many`.

    For everything in scikit-learn that does many fits: searches, cross-validation, ensembles. The
    kernels release the GIL, so threads suffice and no data are copied to other processes. Each
    fit uses one core, including BLAS, and Ctrl-C stops the running fits. Nested parallel work
    runs in the thread of its fit.

    Examples
    --------
    >>> import fastnn, joblib
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import GridSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> model = fastnn.MLPClassifier(solver="lbfgs", max_iter=1000, random_state=0)
    >>> search = GridSearchCV(model, {"hidden_layer_sizes": [(4,), (8, 8)], "alpha": [0.1, 1]})
    >>> with joblib.parallel_config(fastnn.JoblibBackend(), n_jobs=-1):
    ...     score = search.fit(X, y).best_score_
    >>> bool(score > 0.9)
    True
    """

    supports_retrieve_callback = True
    supports_sharedmem = True
    uses_threads = True

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Number of fits at the same time; -1 means one per core."""
        return 1 if self.nesting_level else ThreadingBackend().effective_n_jobs(n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Start the threads."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:  # a single fit may use all cores
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._workers = Workers(n_jobs).__enter__()
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Future], Any]) -> Future:
        """Start a fit."""
        future = self._workers.submit(func)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future) -> Any:
        """Return the result of the fit, or raise its exception."""
        return out.result()

    def terminate(self) -> None:
        """Wait for the threads."""
        self._workers.__exit__()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Stop the running fits."""
        self._workers.stop()
        self.terminate()
        if ensure_ready:
            self.configure(self.parallel.n_jobs, self.parallel)

    def get_nested_backend(self) -> tuple[ParallelBackendBase, None]:
        """The backend of parallel work within a fit: sequential, on the core of the fit."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None
