"""Summaries of a run for TensorBoard.

One compiled function computes the statistics and histograms of all quantities and returns them as
one array. The events are assembled from it in Python, which costs less than one TensorFlow
operation per summary.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.cnn.data import SIDE
from fastnn.cnn.model import N_CLASSES, Network
from fastnn.cnn.runtime import tf
from fastnn.cnn.settings import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATISTICS = ("min", "max", "mean", "standard_deviation")
BUCKETS = 30
FILTER_PIXELS = 12  # side of the square drawn for each weight of a filter
MAX_MISCLASSIFIED = 40

# Settings and results shown in TensorBoard's table of hyperparameters.
HPARAMS = (
    "preset", "data", "activation", "init", "optimizer", "learning_rate", "schedule", "batch_size",
    "steps", "dropout", "label_smoothing", "seed", "pool_first", "precision",
)  # fmt: skip
METRICS = ("test_accuracy", "validation_accuracy", "seconds")


class Summaries:
    """Writer of the event file of a run.

    Parameters
    ----------
    folder : path
        Run folder, in which the event file is written.
    network : Network
    settings : Settings
        The settings of the run, all filled in.
    level : {"light", "full"}
        light: losses, accuracies and errors, the graph, images, hyperparameters. full: also
        minimum, maximum, mean, standard deviation and histogram of 17 quantities: weights, biases
        and net inputs of the four layers, activations of three, outputs of two pooling layers.
    """

    def __init__(
        self, folder: str | Path, network: Network, settings: Settings, level: str
    ) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder))
        self._network = network
        batch = tf.TensorSpec((None, SIDE, SIDE, 1), tf.uint8, name="images")
        self._statistics = None
        if level == "full":
            self._statistics = tf.function(
                self._compute, input_signature=[batch], autograph=False
            ).get_concrete_function()
            self._quantities = [*network.params, *self._traced]
        graph = tf.function(network.logits, input_signature=[batch], autograph=False)
        self._event(0, graph_def=graph.get_concrete_function().graph.as_graph_def())
        for summary in _hyperparameters(settings, Path(folder)):
            self._event(0, summary=summary)

    # --- called by the training loop ----------------------------------------------

    def step(
        self, step: int, images: np.ndarray, labels: np.ndarray, loss: float, accuracy: float
    ) -> None:
        """Write the state before a step.

        Parameters
        ----------
        step : int
            Number of steps completed.
        images : ndarray of uint8, shape (batch, 28, 28, 1)
            Batch of the coming step.
        labels : ndarray of int, shape (batch,)
        loss, accuracy : float
            On this batch, without dropout.
        """
        values = [_scalar("training/loss", loss), _scalar("training/accuracy", accuracy)]
        if self._statistics is not None:
            rows = self._statistics(tf.constant(images)).numpy()
            for name, row in zip(self._quantities, rows, strict=True):
                values += [
                    _scalar(f"{name}/{statistic}", value)
                    for statistic, value in zip(STATISTICS, row, strict=False)
                ]
                if np.isfinite(row[:2]).all():
                    values.append(_histogram(name, row[0], row[1], row[len(STATISTICS) :]))
        self._write(step, values)

    def errors(self, step: int, validation_error: float, test_error: float) -> None:
        """Write the errors of an evaluation and the current filters of the first layer.

        Parameters
        ----------
        step : int
        validation_error, test_error : float
        """
        filters = _png(filters_picture(self._network.params["conv1/weights"].numpy()))
        self._write(
            step,
            [
                _scalar("errors/validation", validation_error),
                _scalar("errors/test", test_error),
                _image("images/conv1_filters", filters),
            ],
        )

    def finish(
        self,
        network: Network,
        test_images: np.ndarray,
        test_labels: np.ndarray,
        predictions: np.ndarray,
        metrics: dict[str, Any],
    ) -> None:
        """Write the results of a finished run.

        Parameters
        ----------
        network : Network
        test_images : ndarray of uint8, shape (images, 28, 28, 1)
        test_labels, predictions : ndarray of int, shape (images,)
        metrics : dict
            With ``test_accuracy``, ``validation_accuracy``, ``seconds`` and ``steps_done``.
        """
        from tensorboard.plugins.hparams import api_pb2
        from tensorboard.plugins.hparams.summary import session_end_pb

        step = int(metrics["steps_done"])
        values = [_scalar(f"results/{name}", metrics[name]) for name in METRICS]
        for name, figure in (
            ("confusion_matrix", confusion_figure(test_labels, predictions)),
            ("misclassified", misclassified_figure(test_images, test_labels, predictions)),
        ):
            if figure is not None:
                values.append(_image(f"images/{name}", _figure_png(figure)))
        self._write(step, values)
        self._event(step, summary=session_end_pb(api_pb2.STATUS_SUCCESS))

    def close(self) -> None:
        """Write pending events and close the file."""
        self._writer.close()

    # --- statistics ---------------------------------------------------------------

    def _compute(self, images: tf.Tensor) -> tf.Tensor:
        """Statistics and histogram counts, one row per quantity."""
        traced = self._network.trace(images)
        self._traced = list(traced)
        return tf.stack(
            [_statistics(value) for value in (*self._network.params.values(), *traced.values())]
        )

    # --- events -------------------------------------------------------------------

    def _write(self, step: int, values: Iterable[Any]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._event(step, summary=Summary(value=values))

    def _event(self, step: int, summary: Any = None, graph_def: Any = None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), step=step)
        if graph_def is not None:
            event.graph_def = graph_def.SerializeToString()
        else:
            event.summary.ParseFromString(summary.SerializeToString())
        self._writer.add_event(event)


def _hyperparameters(settings: Settings, folder: Path) -> list[Any]:
    """Summaries that define the table of hyperparameters and the row of this run."""
    from tensorboard.plugins.hparams import api_pb2, summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    chosen = {name: getattr(settings, name) for name in HPARAMS}
    types = {
        str: api_pb2.DATA_TYPE_STRING,
        bool: api_pb2.DATA_TYPE_BOOL,
        int: api_pb2.DATA_TYPE_FLOAT64,
        float: api_pb2.DATA_TYPE_FLOAT64,
    }
    columns = [
        api_pb2.HParamInfo(name=name, type=types[type(value)]) for name, value in chosen.items()
    ]
    metrics = [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(tag=f"results/{name}"), display_name=name.replace("_", " ")
        )
        for name in METRICS
    ]
    # Without a unique trial id, runs with equal settings would share a row.
    row = hparams_pb(chosen, trial_id=str(folder.resolve()))
    return [summary.experiment_pb(columns, metrics), row]


def _statistics(value: tf.Tensor) -> tf.Tensor:
    """Minimum, maximum, mean, standard deviation, and the number of values in each bucket."""
    value = tf.reshape(tf.cast(value, tf.float32), [-1])
    low, high = tf.reduce_min(value), tf.reduce_max(value)
    mean = tf.reduce_mean(value)
    deviation = tf.sqrt(tf.reduce_mean(tf.square(value - mean)))
    scaled = tf.math.divide_no_nan(value - low, high - low) * BUCKETS
    # the maximum belongs to the last bucket; with values that are not finite the counts are unused
    places = tf.clip_by_value(tf.cast(scaled, tf.int32), 0, BUCKETS - 1)
    counts = tf.math.bincount(places, minlength=BUCKETS, maxlength=BUCKETS, dtype=tf.float32)
    return tf.concat([[low, high, mean, deviation], counts], 0)


def _value(tag: str, array: np.ndarray, metadata: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.util.tensor_util import make_tensor_proto

    return Summary.Value(tag=tag, tensor=make_tensor_proto(array), metadata=metadata)


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.plugins.scalar import metadata

    return _value(tag, np.asarray(value, np.float32), metadata.create_summary_metadata("", ""))


def _histogram(tag: str, low: float, high: float, counts: np.ndarray) -> Any:
    from tensorboard.plugins.histogram import metadata

    edges = np.linspace(np.float64(low), np.float64(high), BUCKETS + 1)
    buckets = np.stack([edges[:-1], edges[1:], counts.astype(np.float64)], axis=1)
    if low == high:  # TensorBoard's convention for equal values: all of them in the last bucket
        buckets[:, 2] = 0
        buckets[-1, 2] = counts.sum()
    return _value(tag, buckets, metadata.create_summary_metadata("", ""))


def _image(tag: str, png: tuple[int, int, bytes]) -> Any:
    from tensorboard.plugins.image import metadata

    width, height, contents = png
    array = np.array([str(width).encode(), str(height).encode(), contents], dtype=object)
    return _value(tag, array, metadata.create_summary_metadata("", "", converted_to_tensor=True))


# --- pictures -----------------------------------------------------------------


def filters_picture(weights: np.ndarray) -> np.ndarray:
    """The filters of the first layer side by side, eight per row; zero is grey.

    Parameters
    ----------
    weights : ndarray, shape (height, width, 1, filters)

    Returns
    -------
    ndarray of uint8, shape (rows, columns)
    """
    height, width, _, n = weights.shape
    columns, rows = 8, -(-n // 8)
    largest = np.abs(weights).max() or 1.0
    # each filter is followed by a white row and a white column
    picture = np.full((rows, columns, height + 1, width + 1), 255, np.uint8)
    grey = np.rint(127.5 + 127.5 * weights[:, :, 0] / largest).astype(np.uint8)
    for k in range(n):
        picture[k // columns, k % columns, :height, :width] = grey[:, :, k]
    picture = picture.swapaxes(1, 2).reshape(rows * (height + 1), columns * (width + 1))
    return picture[:-1, :-1].repeat(FILTER_PIXELS, axis=0).repeat(FILTER_PIXELS, axis=1)


def confusion_figure(labels: np.ndarray, predictions: np.ndarray) -> Figure:
    """The confusion matrix.

    Parameters
    ----------
    labels, predictions : ndarray of int, shape (images,)

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    counts = np.zeros((N_CLASSES, N_CLASSES), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6.0, 5.6), dpi=100, layout="constrained")
    ax = figure.subplots()
    # the square root makes the few errors visible beside the large diagonal
    ax.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[i, j] > 0.3 else "black"
        ax.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", color=colour, fontsize=9)
    ax.set(
        xticks=range(N_CLASSES),
        yticks=range(N_CLASSES),
        xlabel="guess",
        ylabel="truth",
        title=f"{np.trace(counts):,} of {counts.sum():,} test images are right",
    )
    return figure


def misclassified_figure(
    images: np.ndarray, labels: np.ndarray, predictions: np.ndarray
) -> Figure | None:
    """Misclassified images with true and predicted digits.

    Parameters
    ----------
    images : ndarray of uint8, shape (images, 28, 28, 1)
    labels, predictions : ndarray of int, shape (images,)

    Returns
    -------
    matplotlib.figure.Figure or None
        The first forty misclassified images; None if there are none.
    """
    from matplotlib.figure import Figure

    wrong = np.flatnonzero(labels != predictions)
    shown = wrong[:MAX_MISCLASSIFIED]
    if not len(shown):
        return None
    columns = 8
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(7.2, 0.5 + 1.1 * rows), dpi=100, layout="constrained")
    some = f", the first {len(shown)}" if len(shown) < len(wrong) else ""
    figure.suptitle(f"{len(wrong):,} misclassified test images{some}: truth → guess", fontsize=10)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, k in zip(axes, shown, strict=False):
        ax.imshow(images[k, :, :, 0], cmap="gray_r", vmin=0, vmax=255)
        ax.set_title(f"{labels[k]} → {predictions[k]}", fontsize=9)
    return figure


def _png(picture: np.ndarray) -> tuple[int, int, bytes]:
    """Width, height and PNG file of a grey picture."""
    from PIL import Image

    contents = io.BytesIO()
    Image.fromarray(picture).save(contents, format="PNG")
    return picture.shape[1], picture.shape[0], contents.getvalue()


def _figure_png(figure: Figure) -> tuple[int, int, bytes]:
    """Width, height and PNG file of a figure."""
    contents = io.BytesIO()
    figure.savefig(contents, format="png")
    width, height = (figure.get_size_inches() * figure.dpi).astype(int)
    return int(width), int(height), contents.getvalue()
