"""RealMLP-TD-S: initialization and training of a multilayer perceptron for tables.

The simplified variant of the method of Holzmüller, Grinsztajn, Steinwart, "Better by default:
strong pre-tuned MLPs and boosted trees on tabular data" (2024). Two parts of it are implemented in
the update rule rather than as layers, so that the trained network is an ordinary one:

* A layer in the paper is ``x W / sqrt(fan_in) + b`` with W and b of order 1. Here the weights are
  ``W / sqrt(fan_in)``. With Adam, this is equivalent to a learning rate divided by
  ``sqrt(fan_in)`` and an epsilon multiplied by it.
* Each feature has a trainable factor, which is multiplied into the weights of the first layer
  (``fastnn.backends.interface.Rule.front``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fastnn.backends.codes import FAN_IN
from fastnn.backends.interface import Rule
from fastnn.errors import DivergenceError
from fastnn.memory import check_memory
from fastnn.network import Network
from fastnn.network.scales import Scales, output_scales, shift_and_scale
from fastnn.tables.checkpoints import Keeping, purpose_of
from fastnn.training.batches import Batches, CsrRows, prefers_sparse
from fastnn.training.checkpoints import Point
from fastnn.training.history import Best
from fastnn.training.optimizers import Adam
from fastnn.training.run import Run
from fastnn.training.schedules import SCHEDULES
from fastnn.training.state import TrainingState

HIDDEN = (256, 256, 256)
LEAST_BYTES = 4 * sum(a * b for a, b in pairwise(HIDDEN))  # lower bound for a network
BATCH_SIZE = 256
SMOOTH_CLIP = 3.0
LABEL_SMOOTHING = 0.1
RATE = {"classification": 0.04, "regression": 0.07}
ACTIVATION = {"classification": "selu", "regression": "mish"}
FRONT_RATE, BIAS_RATE = 6.0, 0.1  # factors of the learning rate
TINY = 1e-6  # lower bound of a mean before its logarithm is taken
BETA_1, BETA_2, EPSILON = 0.9, 0.95, 1e-8
_AT_A_TIME = 1 << 20  # values whose quartiles are computed in one call, in about 0.05 s


@dataclass(frozen=True)
class Samples:
    """Samples in the form that a network's kernels take.

    Attributes
    ----------
    x : ndarray, shape (samples, features)
        Scaled features.
    targets : ndarray, shape (samples, 1 or outputs)
        Class indices, or scaled values.
    weights : ndarray, shape (samples,) or (0,)
        Sample weights; empty if all are equal.
    """

    x: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


@dataclass
class Record:
    """Record of a training run.

    Attributes
    ----------
    losses : list of float
        For each epoch, the mean loss of its batches, each evaluated before its update.
    errors : list of float
        Error on the held-out samples after each epoch.
    best_epoch : int
        Epoch whose parameters were kept, counted from 0.
    stopped : str
        Why the training ended: "epochs", "time limit", "interrupted" or "diverged".
    """

    losses: list[float]
    errors: list[float]
    best_epoch: int
    stopped: str


def new_network(
    x: np.ndarray,
    targets: np.ndarray,
    n_classes: int,
    *,
    hidden: Sequence[int] | None = None,
    activation: str | None = None,
    dropout: float = 0.0,
    dtype: Any = "float32",
    backend: str = "auto",
    seed: int = 0,
    n_threads: int | None = None,
    **loss: Any,
) -> Network:
    """Create a network with its scales and initial weights.

    Parameters
    ----------
    x : ndarray of float64, shape (samples, features)
        Training samples, from which the scales are computed.
    targets : ndarray, shape (samples, 1 or outputs)
        Class indices; for a regression, unscaled values.
    n_classes : int
        0 for a regression.
    hidden : sequence of int, optional
        Units of the hidden layers; default: :data:`HIDDEN`.
    activation : str, optional
        Default: that of :data:`ACTIVATION`.
    dropout, dtype, backend, n_threads
        As for :class:`fastnn.Network`.
    seed : int
        Seed of the weights and of the sample order.
    **loss
        ``loss`` and its settings, as for :class:`fastnn.Network`; default: "cross_entropy", for a
        regression "squared_error".

    Returns
    -------
    Network
        Takes unscaled features, such as ``x``.
    """
    task = "classification" if n_classes else "regression"
    loss.setdefault("loss", "cross_entropy" if n_classes else "squared_error")
    per_target = 1
    if not n_classes:
        per_target = {"gaussian": 2, "quantile": np.size(loss.get("quantile", 0.5))}.get(
            loss["loss"], 1
        )
    net = Network(
        [
            x.shape[1],
            *(HIDDEN if hidden is None else hidden),
            n_classes or per_target * targets.shape[1],
        ],
        activation=activation or ACTIVATION[task],
        dropout=dropout,
        standardize=True,
        smooth_clip=SMOOTH_CLIP,
        dtype=dtype,
        backend=backend,
        random_state=seed,
        n_threads=n_threads,
        **loss,
    )
    rng = np.random.RandomState(seed)
    for w, b in zip(net.weights[:-1], net.biases[:-1], strict=True):
        w[...] = rng.standard_normal(w.shape) / math.sqrt(len(w))
        b[...] = rng.standard_normal(b.shape)
    net.weights[-1][...], net.biases[-1][...] = 0.0, 0.0
    net.scales, constant = robust_scales(x)
    net.weights[0][constant] = 0.0
    if net.spec.scales_targets:
        shift, scale, *_ = shift_and_scale(targets, "y")
        shift, scale = output_scales(shift, scale, net.spec)
        net.scales.target_shift, net.scales.target_scale = shift, scale
    elif net.is_regression:  # Poisson: the predictions are exponentials of the outputs
        net.biases[-1][...] = np.log(np.maximum(targets.mean(axis=0), TINY))
    return net


def robust_scales(x: np.ndarray) -> tuple[Scales, np.ndarray]:
    """Scales of the features from their medians and quartiles.

    Parameters
    ----------
    x : ndarray of float64, shape (samples, features)

    Returns
    -------
    scales : Scales
        The shift is the median. The factor is 1 / interquartile range or, if that is 0,
        1 / (half of the range); for a constant column it is 1.
    constant : ndarray of bool, shape (features,)
        Mask of the constant columns, whose factor is 0 in the paper.
    """
    low, high = x.min(axis=0), x.max(axis=0)
    # A few columns per call, since an interrupt is handled only after a call has ended.
    step = max(1, _AT_A_TIME // len(x))
    parts = [x[:, k : k + step] for k in range(0, x.shape[1], step)]
    found = [np.quantile(part, (0.25, 0.5, 0.75), axis=0) for part in parts]
    q25, median, q75 = np.concatenate(found, axis=1)
    spread = np.where(q75 == q25, 0.5 * (high - low), q75 - q25)
    constant = low == high
    scale = 1.0 / np.where(constant, 1.0, spread + 1e-30)
    return Scales(median, scale, input_low=low, input_high=high), constant


def rule_of(net: Network, optimizer: Adam, batch_size: int = 0, sparse: bool = False) -> Rule:
    """The rule for a network: Adam with rates and epsilons per array, and the feature factors."""
    # The training plan; unlike that for predictions, it includes rows for dropout.
    layers = net.model.batch_plan(batch_size, sparse).layers
    plain = optimizer.for_kernels()
    constants = np.repeat(plain.constants, 2 * len(layers) + 1, axis=0)
    root = np.sqrt(layers[:, FAN_IN])
    constants[:-1:2, 2] *= root  # epsilon of weights
    constants[:-1:2, 6] = 1 / root  # factors of the rate
    constants[1::2, 6] = BIAS_RATE
    constants[-1, 6] = FRONT_RATE
    w = net.weights[0]
    front = np.zeros((len(w), w.shape[1] + 3), net.dtype)
    front[:, :-3], front[:, -3] = w, 1.0
    return plain._replace(constants=constants, front=front)


def train(
    net: Network,
    data: Samples,
    held_out: Samples | None,
    epochs: int,
    *,
    rate: float | None = None,
    by_error: bool = True,
    time_limit: float | None = None,
    after_epoch: Callable[[list[float]], object] | None = None,
    keeping: Keeping | None = None,
) -> Record:
    """Train a network created by :func:`new_network`.

    Parameters
    ----------
    net : Network
        Afterwards has the parameters of the best epoch.
    data : Samples
    held_out : Samples or None
        Samples for choosing the best epoch, the last one in case of ties. None: the last epoch is
        used.
    epochs : int
    rate : float, optional
        Base learning rate; default: that of :data:`RATE`.
    by_error : bool
        Whether the best epoch has the smallest error (the fraction of wrong classes, or the mean
        squared error) rather than the smallest loss.
    time_limit : float, optional
        Limit in seconds; if necessary, fewer epochs are trained.
    after_epoch : callable, optional
        Called after each epoch with the losses of all epochs so far.
    keeping : Keeping, optional
        Where checkpoints are written, and whether to resume from one.

    Returns
    -------
    Record

    Raises
    ------
    DivergenceError
        If the loss is not finite before the first epoch ends.
    ValueError
        If the checkpoint belongs to another training.
    """
    task = "regression" if net.is_regression else "classification"
    # In the kernels, the squared error has the factor 1/2 and is summed over the outputs; in the
    # paper, it is averaged. Adam is invariant to this factor except for its epsilon.
    epsilon = EPSILON * net.n_outputs / 2 if net.loss_name == "squared_error" else EPSILON
    optimizer = Adam(rate or RATE[task], BETA_1, BETA_2, epsilon)
    state, kept, writer = TrainingState(net.state.seed), None, None
    if keeping is not None:
        settings = {"n_epochs": epochs, "optimizer": optimizer.to_dict(), "by_error": by_error}
        purpose = purpose_of(net, data, held_out, **settings)
        kept, writer = keeping.kept(net, purpose, epochs), keeping.writer(net, purpose)
    if kept is not None:
        net.params, state = kept.model.params, kept.model.state
    state.begin(optimizer, net.params)
    size = min(BATCH_SIZE, len(data.x))
    sparse = prefers_sparse(data.x, net.model)
    state.rule = rule_of(net, optimizer, size, sparse)
    if kept is not None:
        state.rule.front[:] = kept.point.front
    batches = Batches(net.model, size, sparse, net.n_threads)
    rows = CsrRows.from_dense(data.x, net.model.kernels, net.n_threads) if sparse else data.x
    batches.fill(rows, data.targets, data.weights, shuffled=True)
    checkpoints = {"checkpoints": writer, "point": None if kept is None else kept.point}
    run = RecipeRun(net, state, epochs, batches, held_out, by_error, time_limit, **checkpoints)
    run.after_epoch = after_epoch
    usual, net.state = net.state, state  # a checkpoint contains the network with this state
    try:
        run.execute()
    finally:
        net.state = usual
    net.n_epochs_ = len(run.losses)
    return Record(run.losses, run.errors, run.best.epoch, run.stopped)


class RecipeRun(Run):
    """Training run of one network.

    Parameters
    ----------
    net, state, epochs, batches, held_out, by_error, time_limit
        See :func:`train`.
    **checkpoints
        As for :class:`Run`.
    """

    def __init__(
        self,
        net: Network,
        state: TrainingState,
        epochs: int,
        batches: Batches,
        held_out: Samples | None,
        by_error: bool,
        time_limit: float | None,
        **checkpoints: Any,
    ) -> None:
        self.net, self.held_out, self.by_error = net, held_out, by_error
        samples, size = len(batches.data.targets), batches.batch_size
        # The kernels shuffle all samples and would process the remaining ones of an epoch as a
        # smaller batch; that step is skipped.
        self.of_kernels = -(-samples // size)
        sizes = np.full(samples // size, size, np.float64)
        checkpoints["n_threads"] = net.n_threads
        super().__init__(net.model, state, epochs, sizes, [batches], **checkpoints)
        start = self.start
        steps = f"n_epochs={epochs:,}, {self.total:,} steps, a loss each,"
        check_memory(steps, 8 * self.total)
        self.errors: list[float] = []
        self.best = Best(math.inf, -1, net.params.copy())
        # The losses of all steps are kept, so that the mean of an epoch does not depend on chunks.
        self.step_losses = np.empty(self.total)
        self.step_losses[: len(start.losses)] = start.losses
        done = 0 if start.best.params is None else start.best.epoch + 1
        if start.best.params is not None:
            self.best = start.best
        if start.validation is not None:
            self.errors = start.validation[:, 1].tolist()
            done = len(self.errors)
        self.losses = [self._mean_loss(epoch) for epoch in range(done)]
        self.after_epoch: Callable[[list[float]], object] | None = None
        self.asked, self.time_limit, self.started = self.total, time_limit, time.perf_counter()

    def max_steps(self) -> int:
        """Number of steps up to the end of the epoch."""
        return self.batches - self.step % self.batches

    def rates(self, count: int) -> np.ndarray:
        """Learning rates of the next steps, by the fraction of all steps done before each."""
        steps = np.arange(self.step, self.step + count)
        return super().rates(count) * SCHEDULES["coslog4"](steps / self.total)

    def train(self, rates: np.ndarray, losses: np.ndarray) -> int:
        """Perform the next steps; return the number of steps done."""
        epoch, batch = divmod(self.step, self.batches)
        first = epoch * self.of_kernels + batch
        (part,) = self.parts
        return part.train(
            self.state, rates, first, losses, pool=self.pool, n_threads=self.n_threads
        )

    def begin(self) -> None:
        """In a resumed run, evaluate the last epoch if its checkpoint was written before that."""
        if self.step % self.batches == 0 and len(self.losses) < self.step // self.batches:
            self._end_epoch()

    def point(self) -> Point:
        """Position of this run, for a checkpoint."""
        best, validation = self.best, None
        if self.held_out is not None:
            both = zip(self.losses, self.errors, strict=False)
            validation = np.array([*both], np.float64).reshape(-1, 2)
        assert self.state.rule is not None
        return Point(
            self.first_epoch,
            self.step,
            self.batches,
            time.perf_counter() - self.started,
            losses=self.step_losses[: self.step].copy(),
            validation=validation,
            best=Best() if best.epoch < 0 else best,
            front=self.state.rule.front.copy(),
        )

    def save_due_checkpoint(self) -> None:
        """Write a checkpoint if it is due, unless the run stopped early."""
        if self.stopped == "epochs":
            super().save_due_checkpoint()

    def new_losses(self, count: int) -> np.ndarray:
        """Return the part of ``step_losses`` for the next steps."""
        return self.step_losses[self.step : self.step + count]

    def _mean_loss(self, epoch: int) -> float:
        """Mean loss of the batches of an epoch."""
        return float(self.step_losses[epoch * self.batches :][: self.batches].mean())

    def after_chunk(self, losses: np.ndarray) -> None:
        """After an epoch, evaluate the held-out samples and check the time limit."""
        if self.step % self.batches == 0:
            self._end_epoch()

    def _end_epoch(self) -> None:
        """Evaluate an epoch and record it.

        The best epoch is updated before ``errors`` and ``losses``, so that after an interrupt
        between the two a resumed run evaluates the epoch again.
        """
        epoch = self.step // self.batches - 1
        loss = self._mean_loss(epoch)
        if self.held_out is None:
            self._keep(epoch, loss)
        else:
            error = self._error(self.held_out)
            if not error > self.best.loss:
                self._keep(epoch, error)
            self.errors.append(error)
        self.losses.append(loss)
        if self.after_epoch is not None:
            self.after_epoch(self.losses)
        if self.time_limit is not None:
            self._look_at_the_clock(self.time_limit)

    def _keep(self, epoch: int, error: float) -> None:
        """Record the epoch as the best so far if its error is finite."""
        if math.isfinite(error):
            self.best = Best(error, epoch, self.net.params.copy())

    def _error(self, held_out: Samples) -> float:
        """Fraction of wrong classes, mean squared error, or loss."""
        net = self.net
        # If the training is about to diverge, these predictions may overflow first.
        with np.errstate(over="ignore", invalid="ignore"):
            z = net.predictor(held_out.x, False, net.n_threads)
            if not self.by_error:
                return net.model.mean_loss(z.T.copy(), held_out.targets, held_out.weights)
            if net.is_regression:
                wrong = np.square(z - held_out.targets, dtype=np.float64).mean(axis=1)
            else:
                wrong = z.argmax(axis=1) != held_out.targets[:, 0]
        if not len(held_out.weights):
            return float(wrong.mean())
        return float(np.average(wrong, weights=held_out.weights))

    def _look_at_the_clock(self, limit: float) -> None:
        """Stop if the time limit has passed; plan the number of epochs that fits the limit.

        The plan is made after the first epoch and updated during the first fifth of the time.
        """
        done, seconds = len(self.losses), time.perf_counter() - self.started
        if seconds >= limit and self.step < self.total:
            self.stopped = "time limit"
        elif seconds <= 0.2 * limit or done == 1:
            possible = max(done, int(0.95 * limit * done / seconds))
            self.total = min(self.asked, possible * self.batches)

    def diverged(self, losses: np.ndarray) -> None:
        """Stop; raise DivergenceError if no epoch was completed."""
        if self.best.epoch < 0:
            rate = self.state.in_use.learning_rate
            raise DivergenceError(self.step + 1, float(losses[-1]), rate)
        self.stopped = "diverged"

    def interrupted(self) -> None:
        """Raise KeyboardInterrupt if no epoch was completed: there are no parameters to keep."""
        if self.best.epoch < 0:
            raise KeyboardInterrupt

    def finished(self) -> None:
        """Write the last checkpoint and set the parameters of the best epoch."""
        if self.stopped == "epochs" and self.total < self.asked:
            self.stopped = "time limit"
        if self.checkpoints is not None and self.stopped in ("epochs", "interrupted"):
            self.checkpoints.save(self.point())
        assert self.best.params is not None  # set by __init__
        self.net.params = self.best.params
