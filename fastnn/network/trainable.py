"""The training of a network: ``fit``, and single steps with batches of the user."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from fastnn.network import fitting
from fastnn.network.second_order import check_checkpoint
from fastnn.network.step import Stepper
from fastnn.training.history import EarlyStopping, History, Progress
from fastnn.training.optimizers import LevenbergMarquardt, Optimizer, get_optimizer

if TYPE_CHECKING:
    from fastnn.network.network import Network
    from fastnn.storage.checkpoints import Checkpoint
    from fastnn.training.checkpoints import CheckpointEvery, Checkpoints, RunFingerprint


class Trainable:
    """Base class of :class:`Network`: training methods."""

    def fit(
        self,
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
        callbacks: Sequence[Callable[[Progress], bool | None]] = (),
        verbose: bool = False,
        checkpoint: str | os.PathLike | None = None,
        checkpoint_every: int | timedelta | None = None,
        resume: bool | str | os.PathLike = False,
    ) -> History:
        """Train the network; calling it again continues the training.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        y : array-like, shape (samples,) or (samples, outputs)
            Labels (integers or strings, not one-hot), 0/1 columns for multilabel, or numbers.
            For binary_cross_entropy also probabilities, with the labels 0 and 1.
        optimizer : Optimizer or str, optional
            Update rule; default :class:`fastnn.Adam`. If it equals that of the previous call, its
            moments are kept; otherwise it starts with new ones. For small networks and accurate
            fits use :class:`fastnn.LevenbergMarquardt` ("lm").
        epochs : int, default=100
            Passes over the data; maximum number of steps of :class:`fastnn.LevenbergMarquardt`.
        batch_size : int, optional
            Samples per step; the last batch of an epoch may be smaller. Default:
            all (full-batch training).
        shuffle : bool, default=True
            Shuffle the samples in every epoch.
        sample_weight : array-like, shape (samples,), optional
            Non-negative weights; the loss is the weighted mean.
        validation_data : tuple (X, y), optional
            Data on which loss and score are recorded after every epoch.
        validation_fraction : float, default=0
            Share of the samples to hold out as validation data, drawn with ``random_state``.
            The validation loss uses their ``sample_weight``.
        early_stopping : bool or EarlyStopping, optional
            Stop when the validation loss no longer decreases, and restore the best parameters.
            Needs validation data.
        callbacks : sequence of callables
            Called about every 40 ms, or after every epoch if there are validation data, with a
            :class:`fastnn.Progress`. If one returns a true value, training stops.
        verbose : bool, default=False
            Show progress on standard error: a bar on a terminal, otherwise occasional lines.
        checkpoint : path, optional
            File to which the state of the training is written regularly and at its end, also after
            Ctrl-C. It is a model file that :func:`fastnn.load` can read.
        checkpoint_every : int or datetime.timedelta, optional
            Number of epochs, or time, between checkpoints; default: one minute.
        resume : bool or path, default=False
            True: continue from the file ``checkpoint`` if it exists, otherwise start. A path:
            continue from this file. ``epochs`` and the history count from the start of the
            training, and the result is bitwise equal to that of an uninterrupted training.
            Network, data and arguments must be the same, except that ``epochs`` may be larger and
            ``n_threads`` and ``callbacks`` may differ.

        Returns
        -------
        History

        Raises
        ------
        ValueError
            If an argument is invalid, or the checkpoint is of another training; nothing is changed.
        ModelFormatError
            If the checkpoint is damaged, or the network has custom functions, which a checkpoint
            cannot contain.
        OSError
            If a checkpoint cannot be read or written. Earlier ones and the network are unchanged.
        DivergenceError
            If the loss is not finite. The network keeps the parameters (with ``ema`` their
            average), moments and ``n_epochs_`` of the step before. If these parameters are not
            finite either, those of an earlier step of this call are restored from a snapshot;
            snapshots of networks of more than 1 MiB without ``ema`` contain no moments.

        Examples
        --------
        >>> import fastnn
        >>> data = fastnn.datasets.load("moons")
        >>> net = fastnn.Network([2, 8, 2], random_state=0)
        >>> rule = fastnn.Adam(0.01)
        >>> history = net.fit(data.X, data.y, optimizer=rule, epochs=200, batch_size=50)
        >>> history.steps
        800
        >>> net.score(data.X, data.y) > 0.9
        True
        """
        net, kept = cast("Network", self), self._to_resume(checkpoint, resume)
        job = fitting.check_job(
            net,
            X,
            y,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            sample_weight=sample_weight,
            validation_data=validation_data,
            validation_fraction=validation_fraction,
            early_stopping=early_stopping,
            callbacks=callbacks,
            seed=None if kept is None else kept.model.state.seed,
        )
        writer = None
        if checkpoint is not None or kept is not None:
            if isinstance(job.optimizer, LevenbergMarquardt):
                check_checkpoint(net.dtype)
            fingerprint = fitting.fingerprint(net, job, validation_fraction)
            if kept is not None:
                kept.check(fingerprint, ("epochs", job.epochs))
            if checkpoint is not None:
                writer = self._checkpoints(checkpoint, checkpoint_every, fingerprint)
        elif checkpoint_every is not None:
            raise ValueError("checkpoint_every needs checkpoint, the file to write")
        if not verbose:
            history = fitting.train(net, job, [], checkpoints=writer, kept=kept)
            fitting.warn_if_unscaled(net, job, history, X)
            return history
        from fastnn.training.lines import training_progress

        with training_progress(job.epochs) as shown:
            history = fitting.train(net, job, [shown.callback], checkpoints=writer, kept=kept)
        fitting.warn_if_unscaled(net, job, history, X)
        return history

    def partial_fit(
        self,
        X: Any,
        y: Any,
        *,
        optimizer: Optimizer | str | None = None,
        sample_weight: Any = None,
    ) -> float:
        """Do one training step with one batch.

        The result is bitwise equal to that of ``fit(X, y, epochs=1, optimizer=optimizer)``. Memory
        is reused between calls with the same batch size, so that a small step takes microseconds.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        y : array-like, shape (samples,) or (samples, outputs)
            As for :meth:`fit`. The first batch need not contain all classes if the labels are the
            integers from 0.
        optimizer : Optimizer or str, optional
            Update rule; default :class:`fastnn.Adam`. Its moments are kept between calls.
        sample_weight : array-like, shape (samples,), optional
            Weight of each sample; default: 1.

        Returns
        -------
        float
            Loss of the batch with the L2 penalty, before the step.

        Raises
        ------
        ValueError
            If an argument is invalid, or with ``standardize`` before the first :meth:`fit`; nothing
            is changed.
        DivergenceError
            As for :meth:`fit`.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> net = fastnn.Network([1, 8, 1], loss="squared_error", random_state=0)
        >>> rng = np.random.default_rng(0)
        >>> for _ in range(2000):
        ...     x = rng.uniform(-1, 1, size=(32, 1))
        ...     loss = net.partial_fit(x, x**2, optimizer=fastnn.Adam(0.01))
        >>> bool(loss < 1e-3)
        True
        """
        net = cast("Network", self)
        if net.spec.standardize and net.scales.input_shift is None:
            raise ValueError(
                "standardize=True needs a call of fit first, which learns mean and deviation from "
                "all data; a batch may be too small for them"
            )
        size = len(X) if hasattr(X, "__len__") else 0
        stepper = net.stepper
        if stepper is None or stepper.batch_size != size or stepper.n_threads != net.n_threads:
            if size == 0:
                raise ValueError(f"X must have at least one sample; got {X!r}")
            net.stepper = stepper = Stepper(net, size)
        return stepper(X, y, get_optimizer(optimizer), sample_weight)

    def _to_resume(self, checkpoint: Any, resume: Any) -> Checkpoint | None:
        """The checkpoint from which to resume; None for a new training."""
        if not resume:
            return None
        from fastnn.storage.checkpoints import to_resume

        return to_resume(checkpoint, resume, cast("Network", self).backend, "Network")

    def _checkpoints(
        self, checkpoint: Any, every: CheckpointEvery, fingerprint: RunFingerprint
    ) -> Checkpoints:
        """The writer of the checkpoints of ``fit``."""
        from fastnn.storage.checkpoints import CheckpointFile, checkpoints

        return checkpoints(cast("Network", self), CheckpointFile.of(checkpoint), every, fingerprint)
