"""Trials of a hyperparameter search for RealMLP-TD-S: the search space, and the fit of a fold."""

from __future__ import annotations

import platform
import time
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer
from sklearn.model_selection import KFold, ParameterSampler, StratifiedKFold

from fastnn.network import Network
from fastnn.tables import realmlp, realmlp_training
from fastnn.tables.calibration import calibrate
from fastnn.tables.realmlp import Samples
from fastnn.training.checkpoints import digest

# The part of the search space of RealMLP (Holzmüller, Grinsztajn, Steinwart, 2024) that applies to
# this variant of the network; a repeated value is accordingly more likely.
SPACE: dict[str, Any] = {
    "hidden_layer_sizes": [(256,) * 3] * 3 + [(64,) * 5, (512,)],
    "activation": ["relu", "selu", "mish"],
    "learning_rate": loguniform(2e-2, 3e-1),
    "dropout": [0.0] * 3 + [0.15] * 5 + [0.3] * 2,
}
SMOOTHING = [0.0] * 3 + [0.1] * 7  # label smoothing, if predicted classes are scored


@dataclass(frozen=True, eq=False)
class Problem:
    """Data and settings common to all fits of a search; sent to each worker of a cluster once.

    Attributes
    ----------
    x : ndarray of float64, shape (rows, features)
        Encoded columns.
    targets : ndarray, shape (rows, 1 or outputs)
        Class indices, or values.
    weights : ndarray, shape (rows,), or None
        Sample weights.
    classes : ndarray or None
        Labels; None for a regression.
    folds : ndarray of int, shape (rows,)
        For each row, the index of the fold that holds it out.
    scoring : str
        Name of a scikit-learn scorer.
    seed : int
    backend, dtype : str
    targets_1d : bool
        Whether the predictions of the networks are 1-D.
    calibrate : bool
        As for :class:`fastnn.TabularClassifier`.
    """

    x: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    classes: np.ndarray | None
    folds: np.ndarray
    scoring: str
    seed: int = 0
    backend: str = "auto"
    dtype: str = "float32"
    targets_1d: bool = True
    calibrate: bool = True

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    @property
    def by_class(self) -> bool:
        """Whether predicted classes are scored, not probabilities; True for a regression."""
        return self.classes is None or get_scorer(self.scoring)._response_method == "predict"

    def digest(self) -> str:
        """Digest of all data on which the results depend."""
        weights = np.empty(0) if self.weights is None else self.weights
        classes = (
            np.empty(0) if self.classes is None else np.array(self.classes.tolist()).astype(str)
        )
        return digest(self.x, np.asarray(self.targets, np.float64), weights, classes, self.folds)

    def samples(self, net: Network, rows: np.ndarray) -> Samples:
        """Scale some rows and their targets for a network."""
        weights = np.empty(0) if self.weights is None else self.weights[rows]
        scales, spec = net.scales, net.spec
        targets = scales.targets(np.asarray(self.targets[rows], np.float64), spec)
        return Samples(scales.inputs(self.x[rows], spec), targets, weights.astype(net.dtype))

    def predicted(self, net: Network, rows: np.ndarray) -> np.ndarray:
        """Predict some rows: probabilities, or values of shape (rows, outputs)."""
        x = self.x[rows]
        if self.classes is not None:
            return net.predict_proba(x)
        return np.asarray(net.predict(x)).reshape(len(rows), -1)

    def quality(self, predicted: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
        """Score of predictions (NaN if it is undefined), and loss, which breaks ties.

        The loss is the cross-entropy or, for a regression, the mean squared error.
        """
        targets = self.targets[rows]
        if self.classes is None:
            loss = float(np.square(targets - predicted.astype(np.float64)).mean())
            y: np.ndarray = targets[:, 0] if self.targets_1d else targets
            model: Any = _Values(predicted[:, 0] if self.targets_1d else predicted)
        else:
            numbers = targets.astype(np.intp)
            of_class = np.take_along_axis(predicted, numbers, axis=1).astype(np.float64)
            loss = float(-np.log(np.maximum(of_class, np.finfo(np.float32).tiny)).mean())
            y = self.classes[numbers[:, 0]]
            model = _Probabilities(predicted.astype(np.float64), self.classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # if a class is missing in a fold
            try:
                score = float(get_scorer(self.scoring)(model, np.zeros((len(rows), 1)), y))
            except ValueError:
                score = float("nan")
        return score, loss


class _Values(RegressorMixin, BaseEstimator):
    """A regressor with fixed predictions, for scikit-learn's scorers."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.values

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _Probabilities(ClassifierMixin, BaseEstimator):
    """A classifier with fixed probabilities, for scikit-learn's scorers."""

    def __init__(self, proba: np.ndarray, classes: np.ndarray) -> None:
        self.proba = proba / proba.sum(axis=1, keepdims=True)  # sums are rounded to float32
        self.classes_ = classes

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return self.proba

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.classes_[self.proba.argmax(axis=1)]

    def __sklearn_is_fitted__(self) -> bool:
        return True


def folds_of(targets: np.ndarray, n_folds: int, is_classification: bool, seed: int) -> np.ndarray:
    """For each row, the index of the fold that holds it out; folds are stratified by class.

    Raises
    ------
    ValueError
        If there are fewer than two rows per fold, or if each class has fewer rows than folds.
    """
    if len(targets) < 2 * n_folds:
        raise ValueError(f"n_samples={len(targets)} is too few for {n_folds} folds")
    kind = StratifiedKFold if is_classification else KFold
    splits = kind(n_folds, shuffle=True, random_state=seed)
    folds = np.empty(len(targets), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")
        labels = targets[:, 0] if is_classification else None
        for k, (_, held_out) in enumerate(splits.split(np.zeros(len(targets)), labels)):
            folds[held_out] = k
    return folds


def default_settings(problem: Problem) -> dict[str, Any]:
    """The settings of the preset itself."""
    task = "regression" if problem.classes is None else "classification"
    return {
        "hidden_layer_sizes": list(realmlp.HIDDEN),
        "activation": realmlp.ACTIVATION[task],
        "learning_rate": realmlp_training.RATE[task],
        "dropout": 0.0,
        "label_smoothing": realmlp.LABEL_SMOOTHING if _smooths(problem) else 0.0,
    }


def drawn_settings(problem: Problem, n_trials: int) -> list[dict[str, Any]]:
    """Settings of all trials as plain data: the preset's own, then random ones.

    A larger ``n_trials`` extends the list and does not change its beginning.
    """
    space = SPACE | {"label_smoothing": SMOOTHING if _smooths(problem) else [0.0]}
    sampler = ParameterSampler(space, max(1, n_trials - 1), random_state=problem.seed)
    drawn = [
        {
            "hidden_layer_sizes": list(one["hidden_layer_sizes"]),
            "activation": str(one["activation"]),
            "learning_rate": float(one["learning_rate"]),
            "dropout": float(one["dropout"]),
            "label_smoothing": float(one["label_smoothing"]),
        }
        for one in sampler
    ]
    return [default_settings(problem), *drawn][:n_trials]


def _smooths(problem: Problem) -> bool:
    """Whether label smoothing may be used: only in a classification scored by predicted classes."""
    return problem.classes is not None and problem.by_class


class TimeLimitReached(Exception):
    """The time limit of the search has passed."""


@dataclass(frozen=True)
class Fit:
    """Result of one fit.

    Attributes
    ----------
    score, loss : float
        Score and loss of the fold's rows; NaN if the training diverged.
    seconds : float
        Training time.
    """

    score: float
    loss: float
    seconds: float


class Deadline(NamedTuple):
    """Time at which a search ends, for all machines of a cluster.

    Attributes
    ----------
    machine : str
        Where the search runs. On this machine a clock counts that nobody sets.
    steady : float
        In the time of ``time.monotonic()``.
    wall : float
        In the time of ``time.time()``.
    """

    machine: str
    steady: float
    wall: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The time in ``seconds`` from now."""
        return cls(platform.node(), time.monotonic() + seconds, time.time() + seconds)

    @property
    def is_over(self) -> bool:
        """Whether the time has come."""
        if platform.node() == self.machine:
            return time.monotonic() > self.steady
        return time.time() > self.wall


def new_network(problem: Problem, settings: dict[str, Any], rows: np.ndarray, seed: int) -> Network:
    """Create an untrained network with the scales of the given rows."""
    return realmlp.new_network(
        problem.x[rows],
        problem.targets[rows],
        0 if problem.classes is None else len(problem.classes),
        hidden=settings["hidden_layer_sizes"],
        activation=settings["activation"],
        dropout=settings["dropout"],
        label_smoothing=settings["label_smoothing"],
        dtype=problem.dtype,
        backend=problem.backend,
        seed=seed,
        n_threads=1,
    )


def fit(
    problem: Problem,
    settings: dict[str, Any],
    epochs: int,
    kept: np.ndarray,
    held_out: np.ndarray,
    seed: int,
    deadline: Deadline | None = None,
    n_threads: int | None = 1,
) -> Network:
    """Train a network with the rows ``kept``; the rows ``held_out`` determine the best epoch.

    Raises
    ------
    DivergenceError
        If the loss is not finite before the first epoch ends.
    TimeLimitReached
        If ``deadline`` has passed.
    KeyboardInterrupt
        If the training was interrupted, at any time: an incomplete fit is not used.
    """

    def check_deadline(losses: list[float]) -> None:
        if deadline is not None and deadline.is_over:
            raise TimeLimitReached

    check_deadline([])
    net = new_network(problem, settings, kept, seed)
    net.n_threads = n_threads
    validation = problem.samples(net, held_out)
    record = realmlp_training.train(
        net,
        problem.samples(net, kept),
        validation,
        epochs,
        rate=settings["learning_rate"],
        by_error=problem.by_class,
        after_epoch=check_deadline,
    )
    if record.stopped == "interrupted":
        raise KeyboardInterrupt
    if problem.classes is not None and problem.calibrate:
        calibrate(net, validation)
    net.classes_, net.targets_1d = problem.classes, problem.targets_1d
    return net


def fit_fold(
    problem: Problem,
    settings: dict[str, Any],
    epochs: int,
    trial: int,
    fold: int,
    deadline: Deadline | None,
) -> tuple[Fit, Network | None]:
    """Execute one fit of a search, on one thread, so that its result is the same on all workers.

    The network is None if the training diverged, or if the deadline has passed; in the latter case
    the loss is infinite.
    """
    from fastnn.errors import DivergenceError

    started = time.perf_counter()
    kept, held_out = np.flatnonzero(problem.folds != fold), np.flatnonzero(problem.folds == fold)
    seed = int(np.random.SeedSequence([problem.seed, trial, fold]).generate_state(1)[0] >> 1)
    try:
        net = fit(problem, settings, epochs, kept, held_out, seed, deadline)
    except TimeLimitReached:
        return Fit(float("nan"), float("inf"), 0.0), None
    except DivergenceError:
        return Fit(float("nan"), float("nan"), time.perf_counter() - started), None
    seconds = time.perf_counter() - started
    with np.errstate(over="ignore", invalid="ignore"):
        predicted = problem.predicted(net, held_out)
    if not np.isfinite(predicted).all():  # explicitly, since argmax of NaN yields a valid class
        return Fit(float("nan"), float("nan"), seconds), None
    return Fit(*problem.quality(predicted, held_out), seconds), net
