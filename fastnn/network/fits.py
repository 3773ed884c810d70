"""Items of ``fit_many``: networks with their own data, settings and checkpoints."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.network import Network, fitting
from fastnn.network.features import by_name
from fastnn.training.checkpoints import (
    CheckpointEvery,
    Checkpoints,
    RunFingerprint,
    checkpoints_requested,
)
from fastnn.validation import as_array, as_matrix

if TYPE_CHECKING:
    from fastnn.storage.checkpoints import Checkpoint

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
        check_names(arguments)
        self.network, self.X, self.y = network, X, y
        self.rows, self.validation_rows = rows, validation_rows
        self.arguments = arguments


class CheckpointFiles(NamedTuple):
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
    def of(cls, checkpoint: Any, every: CheckpointEvery, resume: Any) -> CheckpointFiles | None:
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

    def kept(self, net: Network, index: int) -> Checkpoint | None:
        """The checkpoint from which to resume a network's training, if any."""
        return net._to_resume(self._path(index), self.resume)

    def writer(self, net: Network, fingerprint: RunFingerprint, index: int) -> Checkpoints:
        """The writer of a network's checkpoints."""
        return net._checkpoints(self._path(index), self.every, fingerprint)


class Jobs:
    """Data and arguments of each network; data are selected only when requested."""

    def __init__(
        self,
        fits: list[Fit],
        X: Any,
        y: Any,
        arguments: dict[str, Any],
        files: CheckpointFiles | None,
    ) -> None:
        self.fits, self.X, self.y, self.arguments, self.files = fits, X, y, arguments, files
        # the shared X, by dtype and names of the features
        self.converted: dict[tuple[np.dtype | None, tuple[str, ...]], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.fits)

    def check(self, index: int) -> int:
        """Raise what the network's ``fit`` would raise; return a relative estimate of its time."""
        try:
            net, job, _ = self.job(index)
        except ValueError as error:
            raise ValueError(f"network {index}: {error}") from error
        return job.epochs * len(job.x) * net.n_params

    def job(self, index: int) -> tuple[Network, fitting.Job, Checkpoint | None]:
        """The network, its validated arguments, and the checkpoint from which to resume."""
        net = self.fits[index].network
        kept = None if self.files is None else self.files.kept(net, index)
        seed = None if kept is None else kept.model.state.seed
        job = fitting.check_job(net, **self._fit_arguments(self.fits[index]), seed=seed)
        if kept is not None:
            kept.check(self.fingerprint(index, job), ("epochs", job.epochs))
        return net, job, kept

    def fingerprint(self, index: int, job: fitting.Job) -> RunFingerprint:
        """Settings and data of the network's training, stored in its checkpoints."""
        fit = self.fits[index]
        arguments = {**self.arguments, **fit.arguments}
        return fitting.fingerprint(fit.network, job, arguments.get("validation_fraction", 0.0))

    def _fit_arguments(self, fit: Fit) -> dict[str, Any]:
        """Arguments of the network's ``fit``."""
        arguments = {**self.arguments, **fit.arguments}
        if (fit.X is None) != (fit.y is None):
            raise ValueError("give X and y together, or neither")
        X, y = (fit.X, fit.y) if fit.X is not None else (self._shared_inputs(fit.network), self.y)
        if X is None or y is None:
            raise ValueError("there is no X and y, neither its own nor shared")
        X = by_name("X", X, fit.network.feature_names)
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
        """The shared X, converted once per dtype and names of features."""
        if self.X is None:
            return None
        dtype, names = network.spec.input_dtype, network.feature_names
        key = dtype, tuple(names or ())
        if key not in self.converted:
            self.converted[key] = as_matrix("X", by_name("X", self.X, names), None, dtype)
        return self.converted[key]


def check_items(networks: Any) -> list[Fit]:
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


def check_names(arguments: dict[str, Any]) -> None:
    """Raise if a name is not an argument of ``fit``."""
    for name in arguments:
        if name not in _FIT_ARGUMENTS:
            raise TypeError(
                f"{name!r} is not an argument of Network.fit that can be given here; "
                f"these are {', '.join(sorted(_FIT_ARGUMENTS))}"
            )
