"""Train many networks in one call, one network per core."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

from fastnn.errors import DivergenceError
from fastnn.network import Network, fitting
from fastnn.training.checkpoints import CheckpointEvery, Checkpoints, Purpose, checkpoints_requested
from fastnn.training.history import History
from fastnn.training.pool import Workers
from fastnn.training.team import is_interrupt
from fastnn.training.threads import default_threads
from fastnn.validation import as_array, as_integer, as_matrix, one_of

if TYPE_CHECKING:
    from fastnn.storage.checkpoints import Kept

_SINGLE_FIT_ARGUMENTS = {"self", "X", "y", "verbose", "checkpoint", "checkpoint_every", "resume"}
_FIT_ARGUMENTS = frozenset(inspect.signature(Network.fit).parameters) - _SINGLE_FIT_ARGUMENTS


class Fit:
    """A network and the settings of its training; an item of :func:`fit_many`.

    Settings that are not given here are taken from the call of ``fit_many``.

    Parameters
    ----------
    network : Network
        The network to train.
    X : array-like, shape (samples, features), optional
        Samples for this network only, together with ``y``.
    y : array-like, shape (samples,) or (samples, outputs), optional
        Targets, one per sample.
    rows : array-like of int or bool, optional
        Samples to train with, as indices (possibly repeated, as in a bootstrap) or as a mask.
        They are selected from ``X``, ``y`` and ``sample_weight`` when the network is trained.
    validation_rows : array-like of int or bool, optional
        Samples to validate with, such as the held-out part of a fold.
    **arguments
        Arguments of :meth:`Network.fit` except ``verbose`` and those of checkpoints.

    Examples
    --------
    >>> import fastnn
    >>> data = fastnn.datasets.load("moons")
    >>> fits = [
    ...     fastnn.Fit(fastnn.Network([2, 8, 2], random_state=seed), epochs=20, batch_size=size)
    ...     for seed, size in enumerate((20, 50))
    ... ]
    >>> [history.steps for history in fastnn.fit_many(fits, data.X, data.y)]
    [200, 80]
    """

    def __init__(
        self,
        network: Network,
        X: Any = None,
        y: Any = None,
        *,
        rows: Any = None,
        validation_rows: Any = None,
        **arguments: Any,
    ) -> None:
        _check_names(arguments)
        self.network, self.X, self.y = network, X, y
        self.rows, self.validation_rows = rows, validation_rows
        self.arguments = arguments


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
    _check_names(arguments)
    one_of("errors", errors, ("raise", "return"))
    n_threads = default_threads() if n_threads is None else as_integer("n_threads", n_threads, 1)
    files = _CheckpointFiles.of(checkpoint, checkpoint_every, resume)
    jobs = _Jobs(_check_items(networks), X, y, arguments, files)
    costs = [jobs.check(index) for index in range(len(jobs))]

    if not costs:
        return []
    results: list[Any] = [History(np.empty(0), stopped="interrupted") for _ in costs]

    def train(index: int) -> None:
        net, job, kept = jobs.job(index)
        writer = None
        if files is not None:
            writer = files.writer(net, jobs.purpose(index, job), index)
        try:
            results[index] = fitting.train(net, job, n_threads=1, checkpoints=writer, kept=kept)
        except DivergenceError as error:
            named = DivergenceError(
                error.step, error.loss, error.learning_rate, error.advice, index
            )
            results[index] = named.with_traceback(error.__traceback__)

    bar = _progress_bar(len(costs)) if verbose else None
    with bar if bar is not None else nullcontext(), Workers(min(n_threads, len(costs))) as workers:
        try:
            # The longest first, so that no core trains a long one alone at the end.
            order = sorted(range(len(costs)), key=lambda index: -costs[index])
            for future in _completed([workers.submit(train, index) for index in order]):
                future.result()
                if bar is not None:
                    bar.one_more()
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


class _CheckpointFiles(NamedTuple):
    """The arguments of ``fit_many`` about checkpoints.

    Attributes
    ----------
    folder : Path
    every : int, timedelta or None
    resume : bool
    """

    folder: Path
    every: CheckpointEvery
    resume: bool

    @classmethod
    def of(cls, checkpoint: Any, every: CheckpointEvery, resume: Any) -> _CheckpointFiles | None:
        """Validate the arguments; return None if no checkpoints are requested."""
        if not checkpoints_requested(checkpoint, every, resume, "the folder of checkpoints"):
            return None
        try:
            folder = Path(checkpoint)
        except TypeError:
            raise ValueError(f"checkpoint must be a path; got {checkpoint!r}") from None
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"checkpoint must be a folder; {folder} is a file")
        return cls(folder, every, resume)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index}.safetensors"

    def kept(self, net: Network, index: int) -> Kept | None:
        """The checkpoint from which to resume a network's training, if any."""
        return net._to_resume(self._path(index), self.resume)

    def writer(self, net: Network, purpose: Purpose, index: int) -> Checkpoints:
        """The writer of a network's checkpoints."""
        return net._checkpoints(self._path(index), self.every, purpose)


class _Jobs:
    """Data and arguments of each network; data are selected only when requested."""

    def __init__(
        self,
        fits: list[Fit],
        X: Any,
        y: Any,
        arguments: dict[str, Any],
        files: _CheckpointFiles | None,
    ) -> None:
        self.fits, self.X, self.y, self.arguments, self.files = fits, X, y, arguments, files
        self.converted: dict[np.dtype | None, np.ndarray] = {}  # the shared X

    def __len__(self) -> int:
        return len(self.fits)

    def check(self, index: int) -> int:
        """Raise what the network's ``fit`` would raise; return a relative estimate of its time."""
        try:
            net, job, _ = self.job(index)
        except ValueError as error:
            raise ValueError(f"network {index}: {error}") from error
        return job.epochs * len(job.x) * net.n_params

    def job(self, index: int) -> tuple[Network, fitting.Job, Kept | None]:
        """The network, its validated arguments, and the checkpoint from which to resume."""
        net = self.fits[index].network
        kept = None if self.files is None else self.files.kept(net, index)
        seed = None if kept is None else kept.model.state.seed
        job = fitting.check_job(net, **self._fit_arguments(self.fits[index]), seed=seed)
        if kept is not None:
            kept.check(self.purpose(index, job), ("epochs", job.epochs))
        return net, job, kept

    def purpose(self, index: int, job: fitting.Job) -> Purpose:
        """Settings and data of the network's training, stored in its checkpoints."""
        fit = self.fits[index]
        arguments = {**self.arguments, **fit.arguments}
        return fitting.purpose(fit.network, job, arguments.get("validation_fraction", 0.0))

    def _fit_arguments(self, fit: Fit) -> dict[str, Any]:
        """Arguments of the network's ``fit``."""
        arguments = {**self.arguments, **fit.arguments}
        if (fit.X is None) != (fit.y is None):
            raise ValueError("give X and y together, or neither")
        X, y = (fit.X, fit.y) if fit.X is not None else (self._shared_inputs(fit.network), self.y)
        if X is None or y is None:
            raise ValueError("there is no X and y, neither its own nor shared")
        if fit.rows is None and fit.validation_rows is None:
            return {**arguments, "X": X, "y": y}
        X, y = as_array("X", X), as_array("y", y)
        if X.shape[:1] != y.shape[:1]:
            raise ValueError(f"y has shape {y.shape}; X has shape {X.shape}")
        if fit.validation_rows is not None:
            if arguments.get("validation_data") is not None:
                raise ValueError("give validation_data or validation_rows, not both")
            rows = _rows("validation_rows", fit.validation_rows, len(X))
            arguments["validation_data"] = (X[rows], y[rows])
        if fit.rows is not None:
            rows = _rows("rows", fit.rows, len(X))
            weights = arguments.get("sample_weight")
            if weights is not None:
                weights = as_array("sample_weight", weights)
                if weights.shape != (len(X),):
                    raise ValueError(
                        f"sample_weight must have shape ({len(X)},), as it had before rows are "
                        f"taken; got {weights.shape}"
                    )
                arguments["sample_weight"] = weights[rows]
            X, y = X[rows], y[rows]
        return {**arguments, "X": X, "y": y}

    def _shared_inputs(self, network: Network) -> Any:
        """The shared X, converted once per dtype."""
        if self.X is None:
            return None
        dtype = network.spec.input_dtype
        if dtype not in self.converted:
            self.converted[dtype] = as_matrix("X", self.X, None, dtype)
        return self.converted[dtype]


def _check_items(networks: Any) -> list[Fit]:
    """Convert the networks to :class:`Fit`; raise if one is given twice."""
    if isinstance(networks, Network | Fit | Mapping) or not isinstance(networks, Iterable):
        raise ValueError(
            f"networks must be a sequence of Network, Fit or dict; got {type(networks).__name__}"
        )
    fits: list[Fit] = []
    seen: dict[int, int] = {}
    for index, item in enumerate(networks):
        if isinstance(item, Mapping):
            if "network" not in item:
                raise ValueError(f"network {index}: the dict has no 'network'")
            item = Fit(**item)
        fit = item if isinstance(item, Fit) else Fit(item)
        if not isinstance(fit.network, Network):
            raise ValueError(
                f"network {index} must be a fastnn.Network, Fit or dict; "
                f"got {type(fit.network).__name__}"
            )
        first = seen.setdefault(id(fit.network), index)
        if first != index:
            raise ValueError(
                f"network {index} is network {first} again; in one call each is trained once"
            )
        fits.append(fit)
    return fits


def _rows(name: str, rows: Any, n_samples: int) -> np.ndarray:
    """Convert indices or a mask to indices of samples."""
    array = np.asarray(rows)
    if array.dtype == bool and array.shape == (n_samples,):
        return np.flatnonzero(array)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be 1-D, indices of samples or a mask of {n_samples}; "
            f"got {array.dtype} of shape {array.shape}"
        )
    outside = (array < 0) | (array >= n_samples)
    if outside.any():
        raise ValueError(
            f"{name} must be in [0, {n_samples - 1}], the samples of X; got {array[outside][0]}"
        )
    return array


def _check_names(arguments: dict[str, Any]) -> None:
    """Raise if a name is not an argument of ``fit``."""
    for name in arguments:
        if name not in _FIT_ARGUMENTS:
            raise TypeError(
                f"{name!r} is not an argument of Network.fit that can be given here; "
                f"these are {', '.join(sorted(_FIT_ARGUMENTS))}"
            )


def _progress_bar(total: int) -> Any:
    """Return a progress display over the networks."""
    from fastnn.training.lines import counting_progress

    return counting_progress("network", total)
