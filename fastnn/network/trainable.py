"""The training of a network: whole fits, and steps with batches of the user's own."""

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
    from fastnn.storage.checkpoints import Kept
    from fastnn.training.checkpoints import CheckpointEvery, Checkpoints, Purpose


class Trainable:
    """What trains a network; a base of :class:`Network` alone."""

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
        """Train; calling it again goes on from where it was.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        y : array-like, shape (samples,) or (samples, outputs)
            Labels (integers or strings, not one-hot), 0/1 columns for multilabel, or numbers.
            Of binary_cross_entropy probabilities too, which stand for labels 0 and 1.
        optimizer : Optimizer or str, optional
            Update rule; default :class:`fastnn.Adam`. An equal one goes on with its
            moments, another starts with new ones. For small networks and accurate fits
            :class:`fastnn.LevenbergMarquardt`, by name "lm".
        epochs : int, default=100
            Passes over the data; most steps of :class:`fastnn.LevenbergMarquardt`.
        batch_size : int, optional
            Samples a step; the last batch of an epoch takes what is left. Default:
            all (full-batch training).
        shuffle : bool, default=True
            New order of the samples every epoch.
        sample_weight : array-like, shape (samples,), optional
            Not negative; the loss is the weighted mean.
        validation_data : tuple (X, y), optional
            Loss and score on it are recorded after every epoch.
        validation_fraction : float, default=0
            Share of the samples set aside for that, drawn from ``random_state``; their
            ``sample_weight`` weighs the validation loss.
        early_stopping : bool or EarlyStopping, optional
            Stop when the validation loss no longer falls; restores the best
            parameters. Needs validation data.
        callbacks : sequence of callables
            Called between chunks of steps (every 40 ms or so, or every epoch
            with validation) with a :class:`fastnn.Progress`; a true result stops.
        verbose : bool, default=False
            Progress on standard error: a bar where that is a terminal, else a line now and then.
        checkpoint : path, optional
            File to which all that the training needs to go on is written, now and then and at its
            end, Ctrl-C included. It is a model file too, which :func:`fastnn.load` reads.
        checkpoint_every : int or datetime.timedelta, optional
            Epochs between two checkpoints, or the time; default: a minute.
        resume : bool or path, default=False
            Go on from the checkpoint ``checkpoint`` if that file is there (else start), or from
            this one. The network then becomes that of the file, and ``epochs`` and the history
            count from the start of the training; the result has the bits of one that was never
            stopped. Network, data and arguments must be the same, but ``epochs`` may be more,
            and ``n_threads`` and ``callbacks`` others.

        Returns
        -------
        History

        Raises
        ------
        ValueError
            On bad arguments, before anything changed; among them a checkpoint of another training,
            of which the message says what differs.
        ModelFormatError
            If the checkpoint to go on from is damaged, or what is trained cannot be kept in one:
            custom functions.
        OSError
            If a checkpoint cannot be read or written. An earlier one then is as it was, and the
            network keeps its parameters.
        DivergenceError
            If the loss is not finite. The network keeps the parameters (with ``ema`` their
            average), moments and ``n_epochs_`` of the step before. If these parameters are not
            finite either, it goes back to its latest snapshot, with all of these of one earlier
            step of this call. Snapshots are taken between chunks of steps, as often as 2% of the
            time allows; of a network of more than a mebibyte without ``ema`` they have the
            parameters only, and its update rule then starts anew.

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
            purpose = fitting.purpose(net, job, validation_fraction)
            if kept is not None:
                kept.check(purpose, ("epochs", job.epochs))
            if checkpoint is not None:
                writer = self._checkpoints(checkpoint, checkpoint_every, purpose)
        elif checkpoint_every is not None:
            raise ValueError("checkpoint_every needs checkpoint, the file to write")
        if not verbose:
            history = fitting.train(net, job, [], checkpoints=writer, kept=kept)
            fitting.warn_useless(net, job, history, X)
            return history
        from fastnn.training.lines import training_progress

        with training_progress(job.epochs) as shown:
            history = fitting.train(net, job, [shown.callback], checkpoints=writer, kept=kept)
        fitting.warn_useless(net, job, history, X)
        return history

    def partial_fit(
        self,
        X: Any,
        y: Any,
        *,
        optimizer: Optimizer | str | None = None,
        sample_weight: Any = None,
    ) -> float:
        """One step with one batch, as for data that arrive bit by bit.

        The result is that of ``fit(X, y, epochs=1, optimizer=optimizer)`` to the bit; memory is
        kept between calls with batches of one size, so that a small step takes microseconds.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        y : array-like, shape (samples,) or (samples, outputs)
            As for :meth:`fit`. A first batch of integer labels from 0 on may lack some of the
            classes.
        optimizer : Optimizer or str, optional
            Update rule; default :class:`fastnn.Adam`. An equal one goes on with its moments.
        sample_weight : array-like, shape (samples,), optional
            Weight of each sample; by default all weigh alike.

        Returns
        -------
        float
            The objective of the batch, its loss and penalty, before the step.

        Raises
        ------
        ValueError
            On bad arguments, or with ``standardize`` before :meth:`fit` has learned the scales;
            nothing has changed.
        DivergenceError
            As :meth:`fit`.

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

    def _to_resume(self, checkpoint: Any, resume: Any) -> Kept | None:
        """The checkpoint to go on from; None for a training that starts anew."""
        if not resume:
            return None
        from fastnn.storage.checkpoints import to_resume

        return to_resume(checkpoint, resume, cast("Network", self).backend, "Network")

    def _checkpoints(
        self, checkpoint: Any, every: CheckpointEvery, purpose: Purpose
    ) -> Checkpoints:
        """What ``fit`` writes checkpoints with."""
        from fastnn.storage.checkpoints import CheckpointFile, checkpoints

        return checkpoints(cast("Network", self), CheckpointFile.of(checkpoint), every, purpose)
