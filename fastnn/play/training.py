"""One training for the page: snapshots on the way, curves, scores."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastnn
from fastnn.errors import DivergenceError
from fastnn.play.data import Points, best_accuracy
from fastnn.play.settings import MOST_SECONDS, PlaySettings
from fastnn.training.history import Progress
from fastnn.training.threads import usable_cores

MOST_SNAPSHOTS = 32
SNAPSHOT_NUMBERS = 300_000  # at most, of all snapshots together
CURVE_POINTS = 160
SHOW_SECONDS = 0.12  # between two pictures of a run that takes longer


@dataclass
class Result:
    """What a page gets of a training, finished or on its way.

    Attributes
    ----------
    points : Points
    network : Network
    limits : list of float
        Of the picture: left, right, bottom, top.
    status : str
        "training", "done", "stopped" (something newer was asked for), "time" (it took too long) or
        "diverged".
    message : str
        Of a run that did not end as it should.
    epochs : int
        Asked for.
    batches : int
        Steps of an epoch.
    at : list of int
        Epochs of the snapshots, 0 first.
    params : list of ndarray
        Parameters at those epochs.
    scores : list of (float, float, float, float)
        There: loss and accuracy of training, and of what is held out; NaN where there is nothing.
    losses : list of ndarray
        Objective before each epoch, as :class:`fastnn.History` has it.
    seconds : float
        Of training alone.
    best : float or None
        Accuracy that nobody can exceed.
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
        """Keep the parameters as they are, and what they are worth."""
        net, test = self.network, self.points.of_test
        penalty = 0.5 * net.l2 * sum(float(np.vdot(w, w)) for w in net.weights)
        held_out = (np.nan, np.nan) if test is None else _measure(net, *test, penalty)
        self.at.append(epoch)
        self.params.append(net.params.astype(np.float32))
        self.scores.append((*_measure(net, *self.points.of_training, penalty), *held_out))

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Epochs and losses, few enough to be drawn."""
        losses = np.concatenate([*self.losses, np.empty(0)])
        chosen = np.arange(len(losses))
        if len(losses) > CURVE_POINTS:
            # Steps are drawn on a logarithmic axis.
            chosen = np.unique(np.geomspace(1, len(losses), CURVE_POINTS).astype(int) - 1)
        return chosen, losses[chosen]


def _measure(
    net: fastnn.Network, X: np.ndarray, y: np.ndarray, penalty: float
) -> tuple[float, float]:
    """Loss, as ``Network.loss``, and accuracy, from one prediction.

    A class that the network was not trained with counts as wrong, and for the accuracy only.
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
    """Epochs after which a snapshot is taken: close at first, later at least every sixteenth."""
    most = max(8, min(MOST_SNAPSHOTS, SNAPSHOT_NUMBERS // n_params))
    log = np.geomspace(1, epochs, most // 2)
    even = np.linspace(0, epochs, most // 2 + 1)[1:]
    return sorted({*np.ceil(log).astype(int).tolist(), *np.ceil(even).astype(int).tolist()})


def train(
    settings: PlaySettings,
    stop: Callable[[], bool] = lambda: False,
    show: Callable[[Result], Any] = lambda result: None,
) -> Result:
    """Train as the settings say.

    A training goes on to the same bits when ``fit`` is called again, so one call after another
    makes the snapshots, and the result is that of one call.

    Parameters
    ----------
    settings : PlaySettings
    stop : callable
        Asked between chunks of steps; whether to stop.
    show : callable
        Called with the unfinished result now and then.

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
        if time.perf_counter() - began > MOST_SECONDS:
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
            f"stopped after {MOST_SECONDS:g} s, at step {net.n_epochs_ * batches:,} of "
            f"{epochs * batches:,}: take fewer steps or a smaller network"
        )
    elif result.status == "training":
        result.status = "done"
    return result


def _why(error: DivergenceError, net: fastnn.Network, batches: int) -> str:
    """A divergence in words; its step counts from the beginning."""
    step = net.n_epochs_ * batches + error.step
    return (
        f"The loss became {error.loss} at step {step:,}. A step that is too long overshoots the "
        "valley and lands higher on its other side; the gradient there is larger, so the next step "
        "is longer still, until a number is too large for the dtype: infinity, and infinity minus "
        f"infinity is NaN. Try a learning rate below {error.learning_rate:g}, smaller features or "
        "standardised ones. The picture shows the last finite weights."
    )
