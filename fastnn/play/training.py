"""One training run for the page: snapshots, curves, scores."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastnn
from fastnn.errors import DivergenceError
from fastnn.play.data import Points, best_accuracy
from fastnn.play.settings import MAX_SECONDS, PlaySettings
from fastnn.training.history import Progress
from fastnn.training.threads import usable_cores

MAX_SNAPSHOTS = 32
SNAPSHOT_NUMBERS = 300_000  # maximum number of values in all snapshots together
CURVE_POINTS = 160
SHOW_SECONDS = 0.12  # minimum time between two intermediate results


@dataclass
class Result:
    """Result of a training run, finished or intermediate.

    Attributes
    ----------
    points : Points
    network : Network
    limits : list of float
        Limits of the picture: left, right, bottom, top.
    status : str
        "training", "done", "stopped" (a newer request arrived), "time" (the time limit was
        reached) or "diverged".
    message : str
        Reason, if the status is "time" or "diverged".
    epochs : int
        Number of epochs requested.
    batches : int
        Number of steps per epoch.
    at : list of int
        Epochs of the snapshots, starting with 0.
    params : list of ndarray
        Parameters at the snapshots.
    scores : list of (float, float, float, float)
        Training loss and accuracy, held-out loss and accuracy at the snapshots; the last two are
        NaN if there are no held-out or fresh points.
    losses : list of ndarray
        Objective before each epoch, as in :class:`fastnn.History`.
    seconds : float
        Time spent in training alone.
    best : float or None
        Accuracy that no classifier can exceed; None if unknown.
    """

    points: Points
    network: fastnn.Network
    limits: list[float]
    epochs: int
    batches: int
    status: str = "training"
    message: str = ""
    at: list[int] = field(default_factory=list)
    params: list[np.ndarray] = field(default_factory=list)
    scores: list[tuple[float, float, float, float]] = field(default_factory=list)
    losses: list[np.ndarray] = field(default_factory=list)
    seconds: float = 0.0
    best: float | None = None

    def take(self, epoch: int) -> None:
        """Add a snapshot: copy the current parameters and compute their scores."""
        net, test = self.network, self.points.of_test
        penalty = 0.5 * net.l2 * sum(float(np.vdot(w, w)) for w in net.weights)
        held_out = (np.nan, np.nan) if test is None else _measure(net, *test, penalty)
        self.at.append(epoch)
        self.params.append(net.params.astype(np.float32))
        self.scores.append((*_measure(net, *self.points.of_training, penalty), *held_out))

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Epochs and losses, thinned for drawing."""
        losses = np.concatenate([*self.losses, np.empty(0)])
        chosen = np.arange(len(losses))
        if len(losses) > CURVE_POINTS:
            # The axis of the steps is logarithmic.
            chosen = np.unique(np.geomspace(1, len(losses), CURVE_POINTS).astype(int) - 1)
        return chosen, losses[chosen]


def _measure(
    net: fastnn.Network, X: np.ndarray, y: np.ndarray, penalty: float
) -> tuple[float, float]:
    """Loss, as in ``Network.loss``, and accuracy, computed from one prediction.

    Points of a class absent from the training set count as misclassified and are excluded from the
    loss.
    """
    p = net.predict_proba(X)
    right = y[:, None] == net.classes_
    known = right.any(axis=1)
    accuracy = float(right[np.arange(len(y)), p.argmax(axis=1)].mean())
    if not known.any():
        return float("nan"), accuracy
    of_class = np.maximum(p[right].astype(np.float64), np.finfo(p.dtype).tiny)
    return penalty - float(np.log(of_class).mean()), accuracy


def cuts(epochs: int, n_params: int) -> list[int]:
    """Epochs of the snapshots: half of them logarithmically spaced, half of them evenly."""
    most = max(8, min(MAX_SNAPSHOTS, SNAPSHOT_NUMBERS // n_params))
    log = np.geomspace(1, epochs, most // 2)
    even = np.linspace(0, epochs, most // 2 + 1)[1:]
    return sorted({*np.ceil(log).astype(int).tolist(), *np.ceil(even).astype(int).tolist()})


def train(
    settings: PlaySettings,
    stop: Callable[[], bool] = lambda: False,
    show: Callable[[Result], Any] = lambda result: None,
) -> Result:
    """Train a network with the given settings.

    Repeated calls of ``fit`` continue the training, bitwise as in a single call. ``fit`` is
    therefore called once per snapshot.

    Parameters
    ----------
    settings : PlaySettings
    stop : callable
        Called between chunks of steps; training stops if it returns True.
    show : callable
        Called with the unfinished result at snapshots, at most once per ``SHOW_SECONDS``.

    Returns
    -------
    Result
    """
    points = Points(settings)
    X, y = points.of_training
    net = fastnn.Network(
        **settings.network(len(points.classes)), n_threads=max(1, usable_cores() - 1)
    )
    epochs, batches = settings.epochs(len(y)), settings.batches(len(y))
    result = Result(points, net, points.limits(settings), epochs, batches)
    result.best = best_accuracy(settings.data, settings.noise, settings.n_classes, settings.factor)
    net.classes_ = points.classes
    rule, batch = settings.make_optimizer(), settings.batch_size or None
    began = shown = time.perf_counter()

    def should_stop(progress: Progress) -> bool:
        if time.perf_counter() - began > MAX_SECONDS:
            result.status = "time"
        elif stop():
            result.status = "stopped"
        return result.status != "training"

    with np.errstate(over="ignore", invalid="ignore"):
        try:
            result.take(0)
            for epoch in cuts(epochs, net.n_params):
                more = epoch - net.n_epochs_
                history = net.fit(
                    X, y, optimizer=rule, epochs=more, batch_size=batch, callbacks=[should_stop]
                )
                result.losses.append(history.loss)
                result.seconds += history.seconds
                result.take(net.n_epochs_)
                now = time.perf_counter()
                if result.status != "training":
                    break
                if now - shown > SHOW_SECONDS and epoch < epochs:
                    shown = now
                    show(result)
        except DivergenceError as error:
            result.status = "diverged"
            result.message = _why(error, net, batches)
    if result.status == "time":
        result.message = (
            f"stopped after {MAX_SECONDS:g} s, at step {net.n_epochs_ * batches:,} of "
            f"{epochs * batches:,}: take fewer steps or a smaller network"
        )
    elif result.status == "training":
        result.status = "done"
    return result


def _why(error: DivergenceError, net: fastnn.Network, batches: int) -> str:
    """Explanation of a divergence, with the step counted from the start of training."""
    step = net.n_epochs_ * batches + error.step
    return (
        f"The loss became {error.loss} at step {step:,}. A step that is too long overshoots the "
        "valley and lands higher on its other side; the gradient there is larger, so the next step "
        "is longer still, until a number is too large for the dtype: infinity, and infinity minus "
        f"infinity is NaN. Try a learning rate below {error.learning_rate:g}, smaller features or "
        "standardised ones. The picture shows the last finite weights."
    )
