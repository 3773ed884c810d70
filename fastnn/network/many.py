"""Train many networks in one call, one network per core."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, Literal, overload

import numpy as np

from fastnn.errors import DivergenceError
from fastnn.network import Network, fitting
from fastnn.network.fits import CheckpointFiles, Fit, Jobs, check_items, check_names
from fastnn.training.history import History
from fastnn.training.pool import Workers
from fastnn.training.team import is_interrupt
from fastnn.training.threads import default_threads
from fastnn.validation import as_integer, one_of


@overload
def fit_many(
    networks: Iterable[Network | Fit | Mapping[str, Any]],
    X: Any = None,
    y: Any = None,
    *,
    n_threads: int | None = None,
    errors: Literal["raise"] = "raise",
    verbose: bool = False,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int | timedelta | None = None,
    resume: bool = False,
    **arguments: Any,
) -> list[History]: ...


@overload
def fit_many(
    networks: Iterable[Network | Fit | Mapping[str, Any]],
    X: Any = None,
    y: Any = None,
    *,
    n_threads: int | None = None,
    errors: str,
    verbose: bool = False,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int | timedelta | None = None,
    resume: bool = False,
    **arguments: Any,
) -> list[History | DivergenceError]: ...


def fit_many(
    networks: Iterable[Network | Fit | Mapping[str, Any]],
    X: Any = None,
    y: Any = None,
    *,
    n_threads: int | None = None,
    errors: str = "raise",
    verbose: bool = False,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int | timedelta | None = None,
    resume: bool = False,
    **arguments: Any,
) -> Sequence[History | DivergenceError]:
    """Train many networks of different shapes and settings, one network per core.

    Each result is bitwise equal to that of the network's own ``fit`` on one thread, whatever
    ``n_threads`` is, unless the network diverges. This is efficient for many small networks, such
    as folds, ensembles and grids. For a single large network use ``fit``, which distributes its
    batches over the cores.

    Parameters
    ----------
    networks : iterable of Network, Fit or dict
        A :class:`Fit` (or a dict of its arguments) can have its own data and settings.
    X : array-like, shape (samples, features), optional
        Samples, one per row, for all networks without their own data.
    y : array-like, shape (samples,) or (samples, outputs), optional
        Targets, one per sample; used with ``X`` for all networks without their own data.
    n_threads : int, optional
        Number of networks trained at the same time; default: one per core. BLAS uses one thread
        meanwhile.
    errors : {"raise", "return"}, default="raise"
        If a network diverges, the others are trained to their end. Then the first error is raised
        (with the ``index`` of the network and the other ``results``), or returned in place of a
        history.
    verbose : bool, default=False
        Show progress on standard error: a bar on a terminal, otherwise lines.
    checkpoint : path, optional
        Folder for checkpoints, beginning with ``0.safetensors`` for the first network.
    checkpoint_every : int or datetime.timedelta, optional
        Number of epochs, or time, between checkpoints of a network; default: one minute, and at
        the end of its training.
    resume : bool, default=False
        Continue from existing checkpoints; the result is bitwise equal to that of an
        uninterrupted call.
    **arguments
        Arguments of :meth:`Network.fit` for all networks that do not set them.
        Callbacks are called from the thread that trains the network.

    Returns
    -------
    list of History
        In the order of the networks. Ctrl-C stops all of them: ``stopped`` is then "interrupted",
        and histories of networks that had not started are empty.

    Raises
    ------
    ValueError
        If an argument is invalid, a network is given twice or a checkpoint is of another
        training, before any network is trained. The message has the position of the network.
    TypeError
        If a name is not an argument of ``fit``.
    DivergenceError
        If a network diverges and ``errors`` is "raise".

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_moons
    >>> import fastnn
    >>> X, y = make_moons(200, noise=0.2, random_state=0)
    >>> networks = [fastnn.Network([2, h, 2], random_state=0) for h in (2, 4, 8)]
    >>> histories = fastnn.fit_many(networks, X, y, optimizer="adam", epochs=100)
    >>> [history.epochs for history in histories]
    [100, 100, 100]

    Cross-validation with five folds:

    >>> parts = np.array_split(np.random.default_rng(0).permutation(200), 5)
    >>> folds = [
    ...     fastnn.Fit(
    ...         fastnn.Network([2, 8, 2], random_state=k),
    ...         rows=np.setdiff1d(np.arange(200), part),
    ...         validation_rows=part,
    ...     )
    ...     for k, part in enumerate(parts)
    ... ]
    >>> rule = fastnn.Adam(0.01)
    >>> histories = fastnn.fit_many(folds, X, y, optimizer=rule, epochs=200, batch_size=20)
    >>> float(np.mean([h.validation_score[-1] for h in histories])) > 0.9
    True
    """
    check_names(arguments)
    one_of("errors", errors, ("raise", "return"))
    n_threads = default_threads() if n_threads is None else as_integer("n_threads", n_threads, 1)
    files = CheckpointFiles.of(checkpoint, checkpoint_every, resume)
    jobs = Jobs(check_items(networks), X, y, arguments, files)
    costs = [jobs.check(index) for index in range(len(jobs))]

    if not costs:
        return []
    results: list[Any] = [History(np.empty(0), stopped="interrupted") for _ in costs]

    def train(index: int) -> None:
        net, job, kept = jobs.job(index)
        writer = None
        if files is not None:
            writer = files.writer(net, jobs.fingerprint(index, job), index)
        try:
            results[index] = fitting.train(net, job, n_threads=1, checkpoints=writer, kept=kept)
        except DivergenceError as error:
            named = DivergenceError(
                error.step, error.loss, error.learning_rate, error.advice, index
            )
            results[index] = named.with_traceback(error.__traceback__)

    bar = None
    if verbose:
        from fastnn.training.lines import counting_progress

        bar = counting_progress("network", len(costs))
    with bar if bar is not None else nullcontext(), Workers(min(n_threads, len(costs))) as workers:
        try:
            # The longest first, so that no core trains a long one alone at the end.
            order = sorted(range(len(costs)), key=lambda index: -costs[index])
            for future in _completed([workers.submit(train, index) for index in order]):
                future.result()
                if bar is not None:
                    bar.increment()
        except BaseException as error:  # Ctrl-C, or raised by a callback
            workers.stop()
            if not is_interrupt(error):
                raise
    if errors == "raise":
        for result in results:
            if isinstance(result, DivergenceError):
                result.results = results
                raise result
    return results


def _completed(futures: list[Future]) -> Iterator[Future]:
    """Like ``as_completed``, but wakes up regularly, so that Ctrl-C is noticed.

    Some libraries (polars) install signal handlers after which an interrupted wait is resumed.
    """
    pending = set(futures)
    while pending:
        try:
            for future in as_completed(pending, timeout=0.2):
                pending.discard(future)
                yield future
        except TimeoutError:
            pass
