"""Stochastic training with scikit-learn's conventions, as a subclass of the training loop.

The conventions are those of scikit-learn's multi-layer perceptron, so that its loss curves are
reproduced. The order of an epoch is drawn from a RandomState. The L2 factor of a batch is
``alpha`` divided by the sum of its sample weights. The loss of an epoch is the mean of the losses
of its batches, weighted by their sizes. The squared error is halved and averaged, not summed,
over the outputs (though its gradient is that of the sum).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import get_scorer

from fastnn.estimators.callbacks import Callbacks
from fastnn.estimators.checkpoints import best_of
from fastnn.estimators.epoch_parts import Part, make_parts
from fastnn.estimators.solvers import NOT_FINITE, Data, SolverState
from fastnn.network import Network
from fastnn.training.checkpoints import Checkpoints, RunPosition
from fastnn.training.run import Run, batch_sizes, next_length
from fastnn.training.schedules import SCHEDULES

if TYPE_CHECKING:
    from fastnn.estimators.base import BaseMLP


class StateCopy:
    """Copy of the state at the end of an epoch, renewed as often as 2% of the time allow."""

    def __init__(self) -> None:
        self.contents: Any = None
        self.step, self.due = 0, 0.0

    def take(self, run: EpochRun) -> None:
        """Copy the current state, if that is due."""
        before = time.perf_counter()
        if before < self.due or run.checkpoints is None:
            return
        self.contents, self.step = run.checkpoints.pack(run.position()), run.step
        now = time.perf_counter()
        self.due = now + 50 * (now - before)


class EpochRun(Run):
    """The stochastic training of an estimator; updates the attributes of the estimator.

    Parameters
    ----------
    estimator : BaseMLP
    network : Network
        Its parameters are trained in place.
    state : SolverState
    data : Data
    held_out : Data or None
        Validation data for after every epoch.
    batch_size : int
        At most the number of samples.
    epochs : int
    context : Callbacks or None
    checkpoints, position
        As for :class:`Run`.
    random : dict or None
        State of the random generator at the start, for the checkpoints.

    Attributes
    ----------
    stopped : str
        As for :class:`Run`; also "no improvement" and "diverged".
    """

    state: SolverState

    def __init__(
        self,
        estimator: BaseMLP,
        network: Network,
        state: SolverState,
        data: Data,
        held_out: Data | None,
        batch_size: int,
        epochs: int,
        context: Callbacks | None,
        *,
        checkpoints: Checkpoints | None = None,
        position: RunPosition | None = None,
        random: dict[str, Any] | None = None,
    ) -> None:
        self.estimator, self.network, self.context = estimator, network, context
        self.random, self.state_copy = random, StateCopy()
        self.held_out, self.samples, self.alpha = held_out, len(data), float(estimator.alpha)
        sizes = batch_sizes(len(data), batch_size)
        # The order within one full batch affects only rounding.
        self.order = np.arange(len(data)) if estimator.shuffle and len(sizes) > 1 else None
        self.weights = data.weights
        self.epoch_parts = self._make_parts(data, batch_size)
        super().__init__(
            network.model,
            state,
            epochs,
            sizes,
            [part.batches for part in self.epoch_parts],
            n_threads=network.n_threads,
            checkpoints=checkpoints,
            position=position,
        )
        self.unit = self.batches
        self.losses_by_step = (
            network.loss_name == "squared_error" and network.n_outputs > 1 and self.alpha > 0
        )
        # Whether one call of the kernels can run several epochs.
        one_part = self.order is None and len(self.epoch_parts) == 1
        self.runs_many_epochs = one_part and not self.losses_by_step
        resumed = self.step // self.batches
        self.curve_start = len(estimator.loss_curve_) - resumed
        for _ in range(resumed if self.order is not None else 0):
            self._draw_order()
        self.chunk = 0, np.empty(0)
        self.call_length = 1  # number of steps of the next call of the kernels
        # L2 penalty at each step of the chunk, if each step has a call of its own
        self.penalties: np.ndarray | None = None
        self.one_epoch_per_chunk = (
            held_out is not None or context is not None or not self.runs_many_epochs
        )

    def _make_parts(self, data: Data, batch_size: int) -> list[Part]:
        """Split an epoch into parts; with sample weights each batch has its own L2 factor."""
        single_batches = len(data.weights) > 0 and self.alpha > 0
        return make_parts(self.network, data, batch_size, self.order, single_batches)

    def _l2(self, part: Part) -> float:
        """The L2 factor of the batches of a part."""
        total = float(part.batches.batch_size)
        if len(self.weights) and self.alpha:  # the part then has a single batch
            rows = part.samples if self.order is None else self.order[part.samples]
            total = float(self.weights[rows].sum(dtype=np.float64))
        return self.alpha / total if total > 0 else 0.0

    # --- chunks -------------------------------------------------------------------

    def max_steps(self) -> int:
        """Steps of one epoch, or of as many epochs as can run before training might stop."""
        if self.one_epoch_per_chunk:
            return self.batches
        estimator = self.estimator
        certain = estimator.n_iter_no_change + 1 - estimator._no_improvement_count
        return int(max(1, min(self.total // self.batches, certain))) * self.batches

    def rates(self, count: int) -> np.ndarray:
        """Learning rate of each step of the next epochs."""
        estimator, state, batches = self.estimator, self.state, self.batches
        if estimator.learning_rate in ("constant", "adaptive") and not estimator.warmup:
            return np.full(count, state.learning_rate)
        epochs = count // batches
        by_epoch = np.full((epochs, batches), state.learning_rate)
        if estimator.solver == "sgd" and estimator.learning_rate == "invscaling":
            samples_seen = estimator.t_ + self.samples * np.arange(1, epochs)
            by_epoch[1:] = self._inverse_scaling(samples_seen)[:, None]
        rates = by_epoch.ravel()
        steps = np.arange(state.epochs * batches, (state.epochs + epochs) * batches)
        if estimator.learning_rate in SCHEDULES:
            rates *= SCHEDULES[estimator.learning_rate](steps / (estimator.max_iter * batches))
        if estimator.warmup:
            rates *= np.minimum((steps + 1) / (estimator.warmup * batches), 1.0)
        return rates

    def _inverse_scaling(self, samples_seen: np.ndarray) -> np.ndarray:
        """Learning rates of "invscaling" after ``samples_seen`` samples.

        Takes an array in any case, since powers of arrays and of scalars can differ by rounding.
        """
        estimator = self.estimator
        return estimator.learning_rate_init / (samples_seen + 1) ** estimator.power_t

    def new_losses(self, count: int) -> np.ndarray:
        """Return the array for the next losses; stored with the number of epochs before them."""
        losses = np.empty(count)
        self.chunk = self.step // self.batches, losses
        return losses

    def begin(self) -> None:
        """Stop a resumed run that has already ended."""
        if self.start.is_over:
            self.stopped = "no improvement"

    def before_chunk(self) -> None:
        """Copy the state for Ctrl-C if due, and notify the callbacks."""
        if self.checkpoints is not None and self.step > self.start.steps:
            self.state_copy.take(self)
        if self.context is not None:
            self.context.begin_iteration()

    def train(self, rates: np.ndarray, losses: np.ndarray) -> int:
        """Do the steps of the next epochs, up to the first loss that is not finite."""
        if self.runs_many_epochs:
            return self._train_part(0, self.state.epochs, rates, losses)
        if self.losses_by_step:
            self.penalties = np.zeros(len(losses))
        begin = self.state.epochs
        for first in range(0, len(losses), self.batches):
            if self.order is not None:
                self._draw_order()
            epoch, step = begin + first // self.batches, first
            for index, part in enumerate(self.epoch_parts):
                chunk = slice(step, step + part.n_batches)
                penalties = None if self.penalties is None else self.penalties[chunk]
                done = self._train_part(index, epoch, rates[chunk], losses[chunk], penalties)
                step += done
                if done < part.n_batches:
                    return step
        return len(losses)

    def _draw_order(self) -> None:
        """Shuffle the samples for the next epoch."""
        permutation = np.arange(self.samples)
        self.estimator._random_state.shuffle(permutation)
        assert self.order is not None
        self.order[:] = self.order[permutation]  # in place: the parts reference this array

    def _train_part(
        self,
        index: int,
        epoch: int,
        rates: np.ndarray,
        losses: np.ndarray,
        penalties: np.ndarray | None = None,
    ) -> int:
        """Do the steps of one part; return the number of steps done.

        With ``penalties``, of which one is written before each step, each step is a call.
        """
        part, state = self.epoch_parts[index], self.state
        step, l2 = epoch * part.n_batches, self._l2(part)
        train = partial(
            part.batches.train,
            state,
            l2=l2,
            seed=(state.seed + index) % 2**31,
            pool=self.pool,
            n_threads=self.n_threads,
        )
        if penalties is None:
            return self._train_in_calls(train, step, rates, losses)
        for i in range(len(losses)):
            penalties[i] = self.model.penalty(l2)
            if not train(rates[i : i + 1], step + i, losses[i : i + 1]):
                return i
        return len(losses)

    def _train_in_calls(
        self, train: Callable[..., int], step: int, rates: np.ndarray, losses: np.ndarray
    ) -> int:
        """Do steps in several calls of the kernels, so that Ctrl-C takes effect within an epoch."""
        if len(losses) == 1:
            return train(rates, step, losses)
        done = 0
        while done < len(losses):
            some = slice(done, done + self.call_length)
            count, before = len(losses[some]), time.perf_counter()
            did = train(rates[some], step + done, losses[some])
            done += did
            if did < count:
                break
            seconds = time.perf_counter() - before
            self.call_length = next_length(self.call_length, count, seconds)
        return done

    def after_chunk(self, losses: np.ndarray) -> None:
        """Record the epochs and notify the callbacks."""
        for loss in self._epoch_losses(losses):
            if self._end_epoch(float(loss)):
                self.stopped = "no improvement"
        if self.context is not None:
            with self.state.average(self.model.params):
                if self.context.end_iteration():
                    self.stopped = "callback"

    def _epoch_losses(self, losses: np.ndarray) -> np.ndarray:
        """Losses of epochs from the losses of the first batches of the chunk.

        Only here the data term is averaged over the outputs: after Ctrl-C, the losses of all steps
        are as the kernels wrote them.
        """
        if self.penalties is not None:
            penalties = self.penalties[: len(losses)]
            losses = (losses - penalties) / self.network.n_outputs + penalties
        # Row by row: the rounding of a matrix product depends on the number of its rows.
        if self.batches == 1:
            means = losses.copy()
        else:
            weights = self.sizes / self.sizes.sum()
            means = np.array([row @ weights for row in losses.reshape(-1, self.batches)])
        if self.network.loss_name == "squared_error" and not self.losses_by_step:
            means /= self.network.n_outputs
        return means

    def interrupted(self) -> None:
        """Set counters and loss curve to the completed epochs."""
        estimator, batches, curve = self.estimator, self.batches, self.estimator.loss_curve_
        counted, losses = self.chunk
        completed = self.step // batches
        means = self._epoch_losses(losses[: (completed - counted) * batches])
        curve.extend(means[len(curve) - self.curve_start - counted :].tolist())
        estimator.t_ += (completed - estimator.n_iter_) * self.samples
        estimator.n_iter_ = completed
        estimator.loss_ = curve[-1] if curve else float("nan")

    def position(self) -> RunPosition:
        """Position of this run, at the end of an epoch."""
        return RunPosition(
            self.first_epoch,
            self.step,
            self.batches,
            time.perf_counter() - self.started,
            self.stopped == "no improvement",
            best=best_of(self.estimator),
            random=self.random,
        )

    def finished(self) -> None:
        """Write the last checkpoint: the current state, or after Ctrl-C the latest copy."""
        if self.checkpoints is None or self.stopped == "diverged":
            return
        if self.stopped != "interrupted":
            self.checkpoints.save(self.position())
        elif self.state_copy.step > self.checkpoints.step:
            self.checkpoints.write(self.state_copy.contents)

    def diverged(self, losses: np.ndarray) -> None:
        """Handle a loss that is not finite: raise, or stop if early stopping has parameters."""
        finished = (len(losses) - 1) // self.batches * self.batches
        if finished:
            self.after_chunk(losses[:finished])
        estimator = self.estimator
        if not estimator.early_stopping:
            raise ValueError(NOT_FINITE)
        self._count_epoch(float("nan"))
        self._record_validation(float("nan"), float("nan"))
        self.stopped = "diverged"

    # --- epochs -------------------------------------------------------------------

    def _count_epoch(self, loss: float) -> None:
        """Update counters and loss curve."""
        estimator = self.estimator
        estimator.loss_curve_.append(loss)
        estimator.n_iter_ += 1
        estimator.t_ += self.samples
        estimator.loss_ = loss

    def _end_epoch(self, loss: float) -> bool:
        """Record an epoch; return whether training stops."""
        estimator, state, params = self.estimator, self.state, self.model.params
        self._count_epoch(loss)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        if self.held_out is not None:
            with state.average(params):
                self._validate(self.held_out)
        scores, best = [], 0.0
        if self.held_out is not None:
            assert estimator.validation_scores_ is not None
            assert estimator.best_validation_score_ is not None
            scores, best = estimator.validation_scores_, estimator.best_validation_score_
        if estimator.early_stopping:
            worse = scores[-1] < best + estimator.tol
            if scores[-1] > best:
                with state.average(params):
                    estimator._best_params = params.copy()
        else:
            assert estimator.best_loss_ is not None
            worse = loss > estimator.best_loss_ - estimator.tol
            estimator.best_loss_ = min(loss, estimator.best_loss_)
        if self.held_out is not None:
            estimator.best_validation_score_ = max(best, scores[-1])
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if worse else 0
        if estimator.solver == "sgd" and estimator.learning_rate == "invscaling":
            state.learning_rate = float(self._inverse_scaling(np.array([estimator.t_]))[0])
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return False
        return self._handle_no_improvement()

    def _handle_no_improvement(self) -> bool:
        """React to a lack of improvement: return True to stop, or reduce the learning rate."""
        estimator, state = self.estimator, self.state
        stops, consequence = True, "Stopping."
        if estimator.solver == "sgd" and estimator.learning_rate == "adaptive":
            if state.learning_rate <= 1e-6:
                consequence = "Learning rate too small. Stopping."
            else:
                state.learning_rate /= 5.0
                estimator._no_improvement_count = 0
                stops, consequence = False, f"Setting learning rate to {state.learning_rate:f}"
        if estimator.verbose:
            what = "Validation score" if estimator.early_stopping else "Training loss"
            print(
                f"{what} did not improve more than tol={estimator.tol:f} "
                f"for {estimator.n_iter_no_change} consecutive epochs. {consequence}"
            )
        return stops

    def _record_validation(self, score: float, loss: float) -> None:
        """Append to both curves."""
        scores, losses = self.estimator.validation_scores_, self.estimator.validation_loss_curve_
        assert scores is not None
        assert losses is not None
        scores.append(score)
        losses.append(loss)

    def _validate(self, held_out: Data) -> None:
        """Append loss and score on held-out samples."""
        estimator, net, weights = self.estimator, self.network, held_out.weights
        # A diverging network may overflow here before the training loss does.
        with np.errstate(over="ignore", invalid="ignore"):
            z = np.ascontiguousarray(estimator._outputs(net, held_out.x, False).T)
            p = z.copy()
            net.model.transform(p)
            loss = net.model.mean_loss(z, held_out.targets, weights)
            if net.loss_name == "squared_error":
                loss /= net.n_outputs
            score = self._score(held_out, p.T, loss)
        self._record_validation(score, loss)
        if estimator.verbose:
            print(f"Validation score: {score:f}")

    def _score(self, held_out: Data, p: np.ndarray, loss: float) -> float:
        """The score monitored by early stopping, from predictions and loss."""
        estimator = self.estimator
        given = held_out.weights if len(held_out.weights) else None
        if estimator.scoring == "loss":
            return -loss
        labels = estimator._labels(held_out.targets)
        if estimator.scoring is None:
            if not np.isfinite(p).all():
                return float("nan")
            return estimator._default_score(labels, estimator._decide(p), given)
        scorer = get_scorer(estimator.scoring)
        # the held-out array has no feature names, so avoid scikit-learn's warning
        view = copy.copy(estimator)
        view.__dict__.pop("feature_names_in_", None)
        arguments: dict[str, Any] = {} if given is None else {"sample_weight": given}
        return float(scorer(view, held_out.x, labels, **arguments))
