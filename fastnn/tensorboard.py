"""TensorBoard summaries of a training, written with tensorboardX (without TensorFlow)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.extras import require
from fastnn.training.history import Progress
from fastnn.validation import as_integer

if TYPE_CHECKING:
    from fastnn.network import Network

# Maximum fraction of the training time for scalars, and the same for score and histograms.
SHARE = 0.05


class TensorBoard:
    """Callback of :meth:`fastnn.Network.fit` that writes summaries for TensorBoard.

    Scalars are the loss of the last batch, loss and score on the validation data if any, and the
    score on some training samples. Histograms show the weights and biases of each layer, and the
    gradients of the objective on those samples (without dropout). Summaries are written whenever
    callbacks are called, but at most for a tenth of the time, and at the last step. To view them
    use ``tensorboard --logdir FOLDER``.

    Parameters
    ----------
    folder : path
        Folder of the summaries, created if absent. With one folder per run TensorBoard can
        compare runs.
    X : array-like, shape (samples, features), optional
        Training data; without them no training score and no gradients are written.
    y : array-like, shape (samples,) or (samples, outputs), optional
        Targets, one per sample.
    samples : int, default=1000
        Maximum number of rows of ``X`` to use, evenly spaced.
    settings : mapping, optional
        Settings to show as a table of text.
    suffix : str, optional
        Suffix of the name of the event file.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    OSError
        If the folder is not writable.

    Examples
    --------
    >>> from fastnn import Network
    >>> from fastnn.tensorboard import TensorBoard
    >>> X, y = [[0.0], [1.0]], [0, 1]
    >>> with TensorBoard("runs/board/first", X, y) as board:
    ...     history = Network([1, 4, 2]).fit(X, y, callbacks=[board])
    """

    def __init__(
        self,
        folder: str | Path,
        X: Any = None,
        y: Any = None,
        *,
        samples: int = 1000,
        settings: Mapping[str, Any] | None = None,
        suffix: str = "",
    ) -> None:
        samples = as_integer("samples", samples, 1)
        if (X is None) != (y is None):
            raise ValueError("give both X and y, or neither")
        self._sample = None
        if X is not None:
            X, y = np.asarray(X), np.asarray(y)
            if X.shape[:1] != y.shape[:1] or not len(X):
                raise ValueError(
                    f"X and y must have the same number of samples, at least one; "
                    f"got shapes {X.shape} and {y.shape}"
                )
            rows = np.linspace(0, len(X) - 1, min(samples, len(X))).astype(np.int64)
            self._sample = X[rows], y[rows]
        self._writer = _writer(folder, suffix)
        self._network: Network | None = None
        self._offset = self._step = 0
        self._scalars: dict[str, float | None] = {}  # of the last call, if not yet written
        # When the next scalars and histograms may be written, and the step of the last histograms.
        self._scalars_due = self._histograms_due = 0.0
        self._histograms_step = -1
        if settings:
            lines = [f"| {name} | {_cell(value)} |" for name, value in settings.items()]
            table = "\n".join(["| setting | value |", "|---|---|", *lines])
            self._writer.add_text("settings", table, 0)

    def __call__(self, progress: Progress) -> None:
        """Write the summaries that are due (a callback of ``fit``)."""
        if self._network is not None and self._offset + progress.step <= self._step:
            self._offset = self._step  # a further call of fit: continue the count of steps
        self._network, self._step = progress.network, self._offset + progress.step
        self._scalars = {"loss/training": progress.loss}
        if progress.validation_loss is not None:
            self._scalars["loss/validation"] = progress.validation_loss
            self._scalars["score/validation"] = progress.validation_score
        if time.perf_counter() >= self._scalars_due:
            self._scalars_due = _later(self._write_scalars)
        if time.perf_counter() >= self._histograms_due:
            self._histograms_due = _later(self._write_histograms)

    def _write_scalars(self) -> None:
        for name, value in self._scalars.items():
            self._writer.add_scalar(name, value, self._step)
        self._scalars = {}

    def _write_histograms(self) -> None:
        """Write score and histograms of the current network."""
        net, step = self._network, self._step
        assert net is not None, "a callback of fit is told the network first"
        groups = {"weights": net.weights, "biases": net.biases}
        # A diverging network may overflow here before the training loss does.
        with np.errstate(over="ignore", invalid="ignore"):
            if self._sample is not None:
                self._writer.add_scalar("score/training", net.score(*self._sample), step)
                gradients = net.unflatten(net.gradients(*self._sample))
                groups["weight_gradients"], groups["bias_gradients"] = gradients
        for name, arrays in groups.items():
            for layer, array in enumerate(arrays, 1):
                if np.isfinite(array).all():
                    self._writer.add_histogram(f"layer{layer}/{name}", np.ravel(array), step)
        self._histograms_step = step

    def add_results(
        self,
        settings: Mapping[str, str | bool | float],
        results: Mapping[str, float],
        *,
        name: str | None = None,
    ) -> None:
        """Write a row of TensorBoard's table of hyperparameters (HPARAMS).

        Parameters
        ----------
        settings : mapping
            Columns of the table.
        results : mapping of str to float
            Results of the training, written as scalars ``results/NAME`` at the last step.
        name : str, optional
            Name of the row; runs with equal settings and no name share a row.

        Examples
        --------
        >>> import fastnn
        >>> X, y = [[0.0], [1.0]], [0, 1]
        >>> net = fastnn.Network([1, 4, 2], random_state=0)
        >>> with fastnn.tensorboard.TensorBoard("runs/board/rate-0.01") as board:
        ...     history = net.fit(X, y, optimizer=fastnn.Adam(0.01), callbacks=[board])
        ...     board.add_results({"learning_rate": 0.01}, {"score": net.score(X, y)})
        """
        from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
        from tensorboardX.summary import hparams

        tagged = {f"results/{key}": float(value) for key, value in results.items()}
        experiment, start, end = hparams(dict(settings), tagged)
        if name is not None:  # tensorboardX has no argument for the name
            plugin = start.value[0].metadata.plugin_data
            content = HParamsPluginData.FromString(plugin.content)
            content.session_start_info.group_name = name
            plugin.content = content.SerializeToString()
        for summary in (experiment, start, end):
            self._writer.file_writer.add_summary(summary, self._step)
        for tag, value in tagged.items():
            self._writer.add_scalar(tag, value, self._step)

    def close(self) -> None:
        """Write the last state, and close the file.

        Examples
        --------
        >>> import pathlib, fastnn
        >>> board = fastnn.tensorboard.TensorBoard("runs/board/second")
        >>> net = fastnn.Network([1, 4, 2], random_state=0)
        >>> history = net.fit([[0.0], [1.0]], [0, 1], callbacks=[board])
        >>> board.close()
        >>> len(list(pathlib.Path("runs/board/second").glob("events.*")))
        1
        """
        if self._writer is None:
            return
        try:
            if self._network is not None:
                self._write_scalars()
                if self._histograms_step < self._step:
                    self._write_histograms()
        finally:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _later(write: Callable[[], None]) -> float:
    """Call ``write``; return when to call it again to spend at most ``SHARE`` of the time."""
    before = time.perf_counter()
    write()
    now = time.perf_counter()
    return now + (now - before) / SHARE


def _writer(folder: str | Path, suffix: str) -> Any:
    board = require("tensorboardX", "writing summaries")
    return board.SummaryWriter(str(folder), filename_suffix=suffix)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
