"""The training loop.

The images are held in memory as bytes, and one call of TensorFlow runs a chunk of steps:
Python computes the order of the images and the learning rates of each chunk. Shuffling and dropout
depend on the seed and the number of the epoch or step alone, so that a resumed run gives the same
result as an uninterrupted one.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.cnn import data, runs
from fastnn.cnn.model import PREDICT_BATCH, Network
from fastnn.cnn.optimizers import Optimizer
from fastnn.cnn.runtime import tf
from fastnn.cnn.settings import Settings
from fastnn.cnn.terminal import interrupts
from fastnn.errors import DivergenceError
from fastnn.training.schedules import SCHEDULES

REPORT_EVERY = 100
EVALUATE_EVERY = 1100
# A call of TensorFlow cannot be interrupted; it takes about 0.05 s with the usual batches. Must
# divide both numbers above.
STEPS_PER_CALL = 5

ADVICE = "or another update rule or initialiser"


def order(n: int, batch_size: int, seed: int, first: int, last: int) -> np.ndarray:
    """Row indices of the batches of some steps.

    The shuffled epochs are concatenated, so that a batch may span two epochs.

    Parameters
    ----------
    n : int
        Number of training images.
    batch_size, seed : int
    first, last : int
        Range of steps, ``last`` excluded.

    Returns
    -------
    ndarray of int32, shape (last - first, batch_size)
    """
    start, stop = first * batch_size, last * batch_size
    epochs = range(start // n, -(-stop // n))
    rows = np.concatenate([_order_of_epoch(n, seed, k) for k in epochs])
    offset = epochs[0] * n
    return rows[start - offset : stop - offset].reshape(-1, batch_size).astype(np.int32)


@functools.lru_cache(maxsize=2)
def _order_of_epoch(n: int, seed: int, epoch: int) -> np.ndarray:
    """Order of the images in an epoch; kept, since several calls take parts of it."""
    return np.random.default_rng((seed, epoch)).permutation(n)


class Trainer:
    """A run in progress.

    Parameters
    ----------
    settings : Settings
        All filled in.
    images : fastnn.cnn.data.Images
    folder : Path
        Run folder, in which the files are written.
    say : callable
        Called with every line of the log.
    """

    def __init__(
        self, settings: Settings, images: data.Images, folder: Path, say: Callable[[str], None]
    ) -> None:
        self.settings, self.images, self.folder, self.say = settings, images, folder, say
        self.network = Network(settings)
        self.optimizer = Optimizer(settings.optimizer, self.network.params)
        self.step, self.seconds, self.step_seconds = 0, 0.0, 0.0
        self.errors: list[dict[str, float]] = []
        self._train_images, self._train_labels = map(tf.constant, images.train)
        batch = settings.batch_size
        self._compiled_steps = tf.function(
            self._steps,
            input_signature=[
                tf.TensorSpec((None, batch), tf.int32),
                tf.TensorSpec((None,), tf.float32),
                tf.TensorSpec((), tf.int32),
            ],
        )
        self._compiled_measure = tf.function(
            self._measure, input_signature=[tf.TensorSpec((batch,), tf.int32)]
        )

    def restore(self, description: runs.Description, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of a checkpoint.

        Parameters
        ----------
        description : runs.Description
        arrays : dict of str to ndarray
        """
        self.step, self.errors = description.step, list(description.errors)
        self.seconds, self.step_seconds = description.seconds, description.step_seconds
        self.network.set_weights(arrays)
        for name, slot in self.optimizer.slots.items():
            slot.assign(arrays[name])

    # --- TensorFlow ---------------------------------------------------------------

    def _batch(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:  # pragma: no cover, a graph
        return tf.gather(self._train_images, rows), tf.gather(self._train_labels, rows)

    def _steps(
        self, rows: tf.Tensor, rates: tf.Tensor, first: tf.Tensor
    ) -> tf.Tensor:  # pragma: no cover, a graph
        """Run one step per row; the sum of the losses, or NaN if a parameter is not finite."""
        total = tf.constant(0.0)
        for k in tf.range(tf.shape(rows)[0]):
            images, labels = self._batch(rows[k])
            step = first + k
            with tf.GradientTape() as tape:
                logits = self.network.logits(images, (self.settings.seed, step))
                loss = cross_entropy(labels, logits, self.settings.label_smoothing)
            gradients = tape.gradient(loss, self.network.params)
            self.optimizer.apply(gradients, rates[k], step + 1)
            total += loss
        # relu and pooling can discard NaN, so that a finite loss does not imply finite parameters
        sums = [tf.reduce_sum(variable) for variable in self.network.params.values()]
        return total + 0 * tf.add_n(sums)

    def _measure(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:  # pragma: no cover, a graph
        """Loss and accuracy of a batch, without dropout."""
        images, labels = self._batch(rows)
        logits = self.network.logits(images)
        hits = tf.equal(tf.argmax(logits, 1, tf.int32), labels)
        return cross_entropy(labels, logits), tf.reduce_mean(tf.cast(hits, tf.float32))

    # --- the run ------------------------------------------------------------------

    def run(self, summaries: Any = None, progress: Callable[[int], None] | None = None) -> str:
        """Train to the last step or until Ctrl-C.

        Parameters
        ----------
        summaries : fastnn.cnn.summaries.Summaries, optional
        progress : callable, optional
            Called with the number of steps done.

        Returns
        -------
        {"steps", "interrupted"}
        """
        settings = self.settings
        n, batch, seed = len(self.images.train[0]), settings.batch_size, settings.seed
        self._started = time.perf_counter() - self.seconds
        with interrupts() as interrupted:
            if self.step and self.step % EVALUATE_EVERY == 0 and not self.evaluated:
                self.evaluate(summaries, interrupted.is_set)  # Ctrl-C had ended this evaluation
            while self.step < settings.steps and not interrupted.is_set():
                first = self.step
                last = min(first - first % STEPS_PER_CALL + STEPS_PER_CALL, settings.steps)
                rows = order(n, batch, seed, first, last)
                if first % REPORT_EVERY == 0:
                    self.report(rows[0], summaries)
                before = time.perf_counter()
                total = self._compiled_steps(rows, self.rates(first, last), first)
                loss = float(total) / len(rows)
                self.step_seconds += time.perf_counter() - before
                if not np.isfinite(loss):
                    raise DivergenceError(last, loss, settings.learning_rate, ADVICE)
                self.step = last
                if progress is not None:
                    progress(last)
                if last % EVALUATE_EVERY == 0:
                    self.evaluate(summaries, interrupted.is_set)
                    if self.evaluated:
                        self.save_checkpoint()
        self.seconds = time.perf_counter() - self._started
        return "steps" if self.step >= settings.steps else "interrupted"

    def rates(self, first: int, last: int) -> np.ndarray:
        """Learning rates of some steps."""
        steps = np.arange(first, last)
        rates = np.full(len(steps), self.settings.learning_rate)
        if self.settings.schedule != "constant":
            rates *= SCHEDULES[self.settings.schedule](steps / self.settings.steps)
        return rates.astype(np.float32)

    def report(self, rows: np.ndarray, summaries: Any) -> None:
        """Log loss and accuracy of one batch, and write its summaries."""
        loss, accuracy = (float(value) for value in self._compiled_measure(rows))
        self.say(f"step {self.step}, training accuracy {accuracy:g}")
        if summaries is not None:
            images, labels = self.images.train
            summaries.step(self.step, images[rows], labels[rows], loss, accuracy)

    @property
    def evaluated(self) -> bool:
        """Whether the errors of the current step are known."""
        return bool(self.errors) and self.errors[-1]["step"] == self.step

    def evaluate(
        self, summaries: Any = None, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        """Compute, log and store the current validation and test errors.

        Parameters
        ----------
        summaries : fastnn.cnn.summaries.Summaries, optional
        cancelled : callable, optional
            Called before each batch of images; if it returns True, the evaluation ends without
            errors.
        """
        errors = []
        for images, labels in (self.images.validation, self.images.test):
            hits = np.empty(len(images), bool)
            for start in range(0, len(images), PREDICT_BATCH):
                if cancelled():
                    return
                rows = slice(start, start + PREDICT_BATCH)
                hits[rows] = self.network.predict(images[rows]) == labels[rows]
            errors.append(1 - float(hits.mean()))
        validation, test = errors
        self.say(f"step {self.step}, validation error {validation:g}, test error {test:g}")
        self.errors.append({"step": self.step, "validation_error": validation, "test_error": test})
        if summaries is not None:
            summaries.errors(self.step, validation, test)

    def describe(self, **fields: Any) -> runs.Description:
        """Metadata for the files of this run."""
        return runs.Description(
            settings=self.settings,
            step=self.step,
            seconds=self.seconds,
            step_seconds=self.step_seconds,
            errors=self.errors,
            **fields,
        )

    def save_checkpoint(self) -> None:
        """Write a checkpoint, from which the run can be resumed."""
        self.seconds = time.perf_counter() - self._started
        slots = {name: slot.numpy() for name, slot in self.optimizer.slots.items()}
        arrays = self.network.get_weights() | slots
        runs.write(self.folder / runs.CHECKPOINT_FILE, self.describe(), arrays)


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """Mean cross-entropy over the batch."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if smoothing:  # additional loss for targets (1 - smoothing) one_hot + smoothing / 10
        of_label = tf.gather(logits, labels, batch_dims=1)
        losses += smoothing * (of_label - tf.reduce_mean(logits, 1))
    return tf.reduce_mean(losses)
