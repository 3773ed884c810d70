"""Implementation of ``fit``: validation of the arguments, then the training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.backends import codes
from fastnn.memory import check_memory
from fastnn.network import second_order
from fastnn.network.features import by_name, names_of
from fastnn.network.inputs import encode_targets
from fastnn.network.scales import Scales, warn_lost_spread
from fastnn.network.unscaled import MIN_STEPS, warn_unscaled
from fastnn.training.batches import Batches, CsrRows, prefers_sparse
from fastnn.training.checkpoints import Checkpoints, RunFingerprint, digest, plain
from fastnn.training.history import EarlyStopping, History, Progress
from fastnn.training.optimizers import LevenbergMarquardt, Optimizer, get_optimizer
from fastnn.training.run import FitRun, Validation, batch_sizes, exclusive_training
from fastnn.training.second_order import SecondOrderRun
from fastnn.training.team import call_to_completion
from fastnn.validation import as_bool, as_integer, as_matrix, as_real, as_weights

if TYPE_CHECKING:
    from fastnn.network.network import Network
    from fastnn.storage.checkpoints import Checkpoint

ROUNDING_ADVICE = "standardize=True subtracts the mean first, dtype='float64' keeps all digits."
Callback = Callable[[Progress], bool | None]
HeldOut = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Job:
    """The validated arguments of a call of ``fit``; data are not yet standardised.

    Attributes
    ----------
    x, targets, weights : ndarray
    held_out : tuple of ndarray, or None
        Validation samples, targets and weights; an empty array of weights means equal weights.
    classes : ndarray or None
    targets_1d : bool
        Whether real targets were given as a vector, so that predictions are vectors too.
    feature_names : list of str, or None
        Names of the columns, if the samples are a frame.
    """

    x: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    held_out: HeldOut | None
    classes: np.ndarray | None
    targets_1d: bool
    feature_names: list[str] | None
    optimizer: Optimizer
    epochs: int
    batch_size: int
    shuffle: bool
    stopping: EarlyStopping | None
    callbacks: Sequence[Callback]


def check_job(
    net: Network,
    X: Any,
    y: Any,
    *,
    optimizer: Optimizer | str | None = None,
    epochs: int = 100,
    batch_size: int | None = None,
    shuffle: bool = True,
    sample_weight: Any = None,
    validation_data: tuple[Any, Any] | None = None,
    validation_fraction: float = 0.0,
    early_stopping: bool | EarlyStopping | None = None,
    callbacks: Sequence[Callback] = (),
    seed: int | None = None,
) -> Job:
    """Validate the arguments of :meth:`fastnn.Network.fit`, without changing the network.

    ``seed`` is used to draw the samples of ``validation_fraction``; default: the network's seed.
    """
    optimizer = get_optimizer(optimizer, whole_fit=True)
    epochs = as_integer("epochs", epochs, 1)
    names = net.feature_names
    x = as_matrix("X", by_name("X", X, names), net.n_features, net.spec.input_dtype)
    names = names_of(X) if names is None else names
    targets, classes, is_1d = encode_targets(net.spec, y, len(x), net.classes_, training=True)
    weights = as_weights("sample_weight", sample_weight, len(x), net.dtype)
    warn_rounded(net, X, x, y, targets)
    fraction = as_real("validation_fraction", validation_fraction, 0.0, 1.0)
    held_out = None
    if validation_data is not None:
        if fraction:
            raise ValueError("give validation_data or validation_fraction, not both")
        held_out = _check_validation_data(net, validation_data, classes, names)
    elif fraction:
        x, targets, weights, held_out = _hold_out(
            x, targets, weights, fraction, net.state.seed if seed is None else seed
        )
    if batch_size is not None:
        batch_size = as_integer("batch_size", batch_size, 1)
    stopping = EarlyStopping() if early_stopping is True else early_stopping or None
    if stopping is not None and not isinstance(stopping, EarlyStopping):
        raise ValueError(f"early_stopping must be a bool or EarlyStopping; got {stopping!r}")
    if stopping is not None and held_out is None:
        raise ValueError("early_stopping needs validation_data or validation_fraction")
    batch_size = len(x) if batch_size is None else min(batch_size, len(x))
    if isinstance(optimizer, LevenbergMarquardt):
        second_order.check(net, optimizer, batch_size, len(x))
    _check_memory(net, optimizer, batch_size)
    if stopping is None and not callbacks:
        steps = epochs * -(-len(x) // batch_size)
        check_memory(f"epochs={epochs:,}, {steps:,} steps, a loss each in the history,", 8 * steps)
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise ValueError(f"callbacks must be a sequence of callables; got {callbacks!r}")
    return Job(
        x,
        targets,
        weights,
        held_out,
        classes,
        net.targets_1d if is_1d is None else is_1d,
        names,
        optimizer,
        epochs,
        batch_size,
        as_bool("shuffle", shuffle),
        stopping,
        callbacks,
    )


def _check_memory(net: Network, optimizer: Optimizer, batch_size: int) -> None:
    """Raise unless there is enough memory for the training, not counting the data."""
    model = net.model
    # Moments, gradients, and a snapshot.
    copies = optimizer.n_moments + int(model.plan.header[codes.GROUPS]) + 1
    n_bytes = copies * model.params.nbytes
    check_memory(f"a training of {net.n_params:,} parameters with {optimizer.name}", n_bytes)
    if not model.is_threaded:  # NumPy computes whole batches
        units = sum(net.layer_sizes[1:])
        n_bytes += 2 * units * batch_size * model.dtype.itemsize
        check_memory(f"batch_size={batch_size:,} of {units:,} units with backend='numpy'", n_bytes)


def _check_validation_data(
    net: Network, validation_data: Any, classes: np.ndarray | None, names: list[str] | None
) -> HeldOut:
    """Check ``validation_data``."""
    try:
        X, y = validation_data
    except (TypeError, ValueError):
        raise ValueError("validation_data must be a pair (X, y)") from None
    x = by_name("validation_data[0]", X, names)
    x = as_matrix("validation_data[0]", x, net.n_features, net.spec.input_dtype)
    targets = encode_targets(net.spec, y, len(x), classes, "validation_data[1]").matrix
    return x, targets, np.empty(0, net.dtype)


def _hold_out(
    x: np.ndarray, targets: np.ndarray, weights: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, HeldOut]:
    """Set a fraction of the samples aside for validation."""
    n_held = int(np.ceil(fraction * len(x)))
    if n_held >= len(x):
        raise ValueError(f"validation_fraction={fraction:g} leaves no training samples of {len(x)}")
    order = np.random.RandomState(seed).permutation(len(x))
    held, kept = order[:n_held], np.sort(order[n_held:])
    weights_kept, weights_held = (
        (weights[kept], weights[held]) if len(weights) else (weights, weights)
    )
    if len(weights) and not weights_held.any():
        raise ValueError(
            f"validation_fraction={fraction:g} holds out only samples whose sample_weight is 0"
        )
    return x[kept], targets[kept], weights_kept, (x[held], targets[held], weights_held)


def fingerprint(net: Network, job: Job, fraction: float) -> RunFingerprint:
    """Settings and data that must be equal when a training is resumed; epochs may differ."""
    own = ("classes", "targets_1d", "n_epochs", "seed")
    config = {name: value for name, value in net.get_config().items() if name not in own}
    stopping = None if job.stopping is None else asdict(job.stopping)
    settings = {
        "backend": net.backend,
        **config,
        "classes": None if job.classes is None else job.classes.tolist(),
        "optimizer": job.optimizer.to_dict(),
        "batch_size": job.batch_size,
        "shuffle": job.shuffle,
        "early_stopping": stopping,
        "validation_fraction": float(fraction),
    }
    data = {"X": digest(job.x), "y": digest(job.targets), "sample_weight": digest(job.weights)}
    if job.held_out is not None:
        data["validation data"] = digest(*job.held_out)
    return RunFingerprint(plain(settings), data)


def train(
    net: Network,
    job: Job,
    callbacks: Sequence[Callback] = (),
    n_threads: int | None = None,
    checkpoints: Checkpoints | None = None,
    kept: Checkpoint | None = None,
) -> History:
    """Train with validated arguments.

    Parameters
    ----------
    net : Network
    job : Job
    callbacks : sequence of callables
        Callbacks in addition to those of the job.
    n_threads : int, optional
        Maximum number of threads; default: ``net.n_threads``.
    checkpoints : Checkpoints, optional
    kept : fastnn.storage.checkpoints.Checkpoint, optional
        The checkpoint from which to resume.
    """
    with exclusive_training(net.model):
        if kept is not None:
            net.params, net.state = kept.model.params, kept.model.state
            net.scales = kept.model.scales
        elif net.state.is_continued_without and job.optimizer.n_moments:
            warn_lost_moments(net.n_epochs_, "epochs", job.optimizer.name)
        return _train(net, job, callbacks, n_threads or net.n_threads, checkpoints, kept)


def _train(
    net: Network,
    job: Job,
    callbacks: Sequence[Callback],
    n_threads: int | None,
    checkpoints: Checkpoints | None,
    kept: Checkpoint | None,
) -> History:
    """Implementation of :func:`train`, called while the network is locked."""
    spec, scales, held_out = net.spec, net.scales, job.held_out
    if spec.standardize and scales.input_shift is None:
        scales = Scales.fit(spec, job.x, job.targets)
    before = net.classes_, net.targets_1d, net.scales, net.posterior_
    names_before = net.feature_names

    def forget() -> None:
        """Without a step, the parameters are those of the earlier classes and scales."""
        net.classes_, net.targets_1d, net.scales, net.posterior_ = before
        net.feature_names = names_before

    if held_out is not None:
        x, targets, weights = held_out
        held_out = scales.inputs(x, spec), scales.targets(targets, spec), weights
    model, state = net.model, net.state
    steps = None
    try:
        net.classes_, net.targets_1d, net.scales = job.classes, job.targets_1d, scales
        net.posterior_, net.feature_names = None, job.feature_names
        state.begin(job.optimizer, model.params)
        settings: dict[str, Any] = {
            "progress": Progress(net, job.epochs, job.epochs * -(-len(job.x) // job.batch_size)),
            "callbacks": [*job.callbacks, *callbacks],
            "validation": None
            if held_out is None
            else _make_validation(net, held_out, job.stopping),
            "checkpoints": checkpoints,
            "position": None if kept is None else kept.position,
        }
        if isinstance(job.optimizer, LevenbergMarquardt):
            steps = second_order.steps(net, state, net.l2, job.x, job.targets, job.weights)
            run: FitRun = SecondOrderRun(model, state, job.epochs, steps, n_threads, **settings)
        else:
            sizes = batch_sizes(len(job.x), job.batch_size)
            batches = [_make_batches(net, job, scales, n_threads)]
            run = FitRun(model, state, job.epochs, sizes, batches, net.l2, n_threads, **settings)
        run.execute()
    except BaseException:  # a DivergenceError, or an exception of a callback
        if not state.steps:
            call_to_completion(forget)
        call_to_completion(partial(state.end, model.params))
        raise
    if not run.done:  # Ctrl-C
        forget()
    best = None if run.validation is None else run.validation.best.params
    call_to_completion(partial(state.end, model.params, best))
    if steps is not None and steps.rule.is_bayesian:
        net.posterior_ = steps.posterior(model.params)
    return run.history()


def warn_rounded(net: Network, X: Any, x: np.ndarray, y: Any, targets: np.ndarray) -> None:
    """Warn of features or real targets whose spread is lost in the network's dtype."""
    if net.spec.standardize:
        return
    warn_lost_spread("X", X, x, ROUNDING_ADVICE, stacklevel=5)
    if net.is_regression:
        warn_lost_spread("y", y, targets, ROUNDING_ADVICE, stacklevel=5)


def warn_if_unscaled(net: Network, job: Job, history: History, given: Any) -> None:
    """Warn if training came to nothing, and the scale of the data is the likely cause."""
    few = history.steps < MIN_STEPS and not isinstance(job.optimizer, LevenbergMarquardt)
    if few or net.spec.standardize or net.scales.input_shift is not None:
        return
    names = list(given.columns) if hasattr(given, "columns") else None
    advice = ("standardize=True (--standardize) scales them",) * 2
    x = np.ascontiguousarray(job.x, net.dtype)
    warn_unscaled(net.predictor, x, job.targets, job.weights, names, advice, stacklevel=4)


def warn_lost_moments(count: int, unit: str, rule: str, stacklevel: int = 4) -> None:
    """Warn that a training continues without the moments of its optimizer."""
    warnings.warn(
        f"training continues after {count:,} {unit}, but {rule} starts with new moments: the file "
        "or object has none. save(..., include_optimizer=True) keeps them",
        stacklevel=stacklevel,
    )


def _make_batches(net: Network, job: Job, scales: Scales, n_threads: int | None) -> Batches:
    """The training data in the form the kernels take."""
    x = scales.inputs(job.x, net.spec)
    sparse = prefers_sparse(x, net.model)
    batches = Batches(net.model, job.batch_size, sparse, n_threads)
    # The order within one full batch affects only rounding.
    shuffled = job.shuffle and job.batch_size < len(x)
    rows = CsrRows.from_dense(x, net.model.kernels, n_threads) if sparse else x
    batches.fill(rows, scales.targets(job.targets, net.spec), job.weights, shuffled)
    return batches


def _make_validation(net: Network, held_out: HeldOut, stopping: EarlyStopping | None) -> Validation:
    """Loss and score on held-out samples."""
    x, targets, weights = held_out
    predictor = net.predictor

    def measure() -> tuple[float, float]:
        loss = predictor.objective(x, targets, weights, net.l2, net.n_threads)
        return loss, predictor.score(x, targets, net.n_threads)

    return Validation(measure, stopping)
