"""Networks of ``fastnn train`` and their training, for both presets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastnn.cli.defaults import CHECKPOINT_INTERVAL
from fastnn.cli.settings import TrainSettings, checkpoint_interval
from fastnn.network import Network

if TYPE_CHECKING:
    from fastnn.datasets import Dataset
    from fastnn.network.ensemble import Ensemble
    from fastnn.storage.checkpoints import CheckpointFile
    from fastnn.training.history import History


def _quantile(settings: TrainSettings) -> float | list[float]:
    """Quantile argument of the network: one quantile or several."""
    return settings.quantiles or (0.5 if settings.quantile is None else settings.quantile)


def make_network(dataset: Dataset, settings: TrainSettings) -> Network:
    """Create the untrained network for the data."""
    quantile = _quantile(settings)
    if dataset.task == "regression":
        n_outputs = 2 if settings.loss == "gaussian" else np.size(quantile)
    else:
        n_classes = len(np.unique(dataset.y))
        n_outputs = 1 if settings.loss == "binary_cross_entropy" else n_classes
        if n_classes < 2:
            raise ValueError(f"target {dataset.target_name!r} has a single class")
        if n_outputs == 1 and n_classes > 2:
            raise ValueError(f"binary_cross_entropy is for 2 classes; there are {n_classes}")
    activation, dropout = settings.activation, settings.dropout
    return Network(
        [dataset.X.shape[1], *settings.hidden, n_outputs],
        activation=activation[0] if len(activation) == 1 else activation,
        alpha=settings.alpha,
        loss=settings.loss,
        label_smoothing=settings.label_smoothing or 0.0,
        quantile=quantile,
        delta=1.0 if settings.delta is None else settings.delta,
        l2=settings.l2,
        dropout=(dropout or [0.0])[0] if len(dropout) < 2 else dropout,
        initializer=settings.initializer,
        standardize=settings.standardize,
        smooth_clip=settings.smooth_clip,
        backend=settings.backend,
        dtype=settings.dtype,
        random_state=settings.seed,
        n_threads=settings.threads,
    )


def fit_plain(
    net: Network,
    X: np.ndarray,
    y: np.ndarray,
    settings: TrainSettings,
    callbacks: Sequence[Any],
    checkpoint: CheckpointFile | None,
    resumed: bool,
    verbose: bool,
) -> History:
    """Train the network of the preset plain."""
    from fastnn.training.history import EarlyStopping

    sample_weight = None
    if settings.class_weight is not None:
        from sklearn.utils.class_weight import compute_sample_weight

        sample_weight = compute_sample_weight(settings.class_weight, y)
    return net.fit(
        X,
        y,
        optimizer=settings.make_optimizer(),
        epochs=settings.epochs,
        batch_size=settings.batch_size or None,
        sample_weight=sample_weight,
        validation_fraction=settings.validation,
        early_stopping=EarlyStopping(settings.patience) if settings.early_stopping else None,
        callbacks=callbacks,
        verbose=verbose,
        checkpoint=cast(Any, checkpoint),  # a CheckpointFile, which also stores the settings
        checkpoint_every=None if checkpoint is None else checkpoint_every(settings),
        resume=resumed,
    )


def fit_tabular(
    X: np.ndarray,
    y: np.ndarray,
    task: str,
    settings: TrainSettings,
    checkpoint: CheckpointFile | None,
    resumed: bool,
    verbose: bool,
) -> tuple[Network | Ensemble, History]:
    """Train the network of the preset tabular, or an ensemble of several."""
    from fastnn.tables.realmlp_training import BATCH_SIZE

    started = time.perf_counter()
    model = _tabular_estimator(X.shape[1], task, settings)
    with _progress_of_members(model, settings) if verbose else nullcontext():
        model.fit(
            X,
            y,
            checkpoint=checkpoint,
            checkpoint_every=None if checkpoint is None else checkpoint_every(settings),
            resume=resumed,
        )
    n_held_out = int(np.ceil(settings.validation * len(X)))
    batches = max(1, (len(X) - n_held_out) // BATCH_SIZE)
    return model._averaged(), _history_of_members(model, batches, time.perf_counter() - started)


def _tabular_estimator(n_features: int, task: str, settings: TrainSettings) -> Any:
    """Create the untrained estimator of the preset tabular."""
    from fastnn.tables.classifier import TabularClassifier
    from fastnn.tables.regressor import TabularRegressor

    options: dict[str, Any] = {
        "n_epochs": settings.epochs,
        "n_members": settings.members or 1,
        "validation_fraction": settings.validation,
        # encoded columns are always numbers; their kinds must not be detected again
        "columns": {f"x{k}": "number" for k in range(n_features)},
        "random_state": settings.seed,
        "n_threads": settings.threads,
        "backend": settings.backend,
        "dtype": settings.dtype,
        "time_limit": settings.time_limit,
    }
    if task == "classification":
        model: Any = TabularClassifier(class_weight=settings.class_weight, **options)
    else:
        model = TabularRegressor(
            loss=settings.loss or "squared_error",
            quantile=_quantile(settings),
            delta=1.0 if settings.delta is None else settings.delta,
            **options,
        )
    model._warns_of_copies = False  # it would name the encoded columns
    return model


@contextmanager
def _progress_of_members(model: Any, settings: TrainSettings) -> Iterator[None]:
    """Show the epochs of all members, which are trained in parallel threads."""
    from fastnn.training.lines import training_progress

    done: dict[int, int] = {}  # epochs of each member, keyed by the id of its list of losses
    lock = threading.Lock()

    def report(losses: list[float]) -> None:
        with lock:
            done[id(losses)] = len(losses)
            bar.set_completed(sum(done.values()), losses[-1])

    with training_progress(settings.epochs * model.n_members) as bar:
        model._after_epoch = report
        yield


def _history_of_members(model: Any, batches: int, seconds: float) -> History:
    """History of a fitted tabular estimator: the mean curves of its members.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
    batches : int
        Steps per epoch.
    seconds : float
        Time of the training.
    """
    from fastnn.training.history import History

    validated = bool(model.validation_curves_[0])
    curve = _mean_curve(model.validation_curves_) if validated else None
    # The curve is 1 - accuracy for classes; squared errors are of standardised targets with
    # variance 1, so that 1 - error is R^2.
    is_score = getattr(model, "loss", "squared_error") == "squared_error"
    return History(
        _mean_curve(model.loss_curves_),
        validation_loss=None if is_score else curve,
        validation_score=1 - curve if is_score and curve is not None else None,
        seconds=seconds,
        steps=batches * sum(map(len, model.loss_curves_)),
        stopped=model.stopped_,
        # members of an ensemble have different best epochs
        best_epoch=model.best_iter_[0] - 1 if validated and model.n_members == 1 else None,
    )


def _mean_curve(curves: Sequence[Sequence[float]]) -> np.ndarray:
    """Mean curve over the members; each epoch averages the members that reached it."""
    total, count = np.zeros((2, max(map(len, curves))))
    for curve in curves:
        total[: len(curve)] += curve
        count[: len(curve)] += 1
    return total / count


def checkpoint_every(settings: TrainSettings) -> int | timedelta | None:
    """Interval of checkpoints: epochs or time; None for never."""
    return checkpoint_interval(settings.checkpoint_every or CHECKPOINT_INTERVAL)
