"""History and progress of a training run, and early stopping."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.training.optimizer import check_bounds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.network import Network


@dataclass(repr=False)
class History:
    """Losses and scores recorded by one call of ``fit``.

    Attributes
    ----------
    loss : ndarray of float64, shape (epochs,)
        Mean of the objective over the batches of each epoch, computed before each step (as in
        Keras and scikit-learn).
    validation_loss, validation_score : ndarray of float64, shape (epochs,) or None
        On the validation data after each epoch.
    seconds : float
        Wall-clock time of the training.
    steps : int
        Number of updates.
    stopped : str
        Reason for the end: "epochs", "early stopping", "callback" or "interrupted"; with
        :class:`fastnn.LevenbergMarquardt` also "gradient", "damping" or "goal".
    best_epoch : int or None
        Epoch (counted from 0) whose parameters were restored by early stopping.
    compile_seconds : float
        Time for compiling or loading kernels (Numba), not included in ``seconds``.

    Examples
    --------
    >>> from fastnn import Network
    >>> history = Network([1, 2]).fit([[0], [1]], [0, 1], epochs=20)
    >>> history.epochs, history.steps, history.stopped
    (20, 20, 'epochs')
    >>> history.loss.shape
    (20,)
    """

    loss: np.ndarray
    validation_loss: np.ndarray | None = None
    validation_score: np.ndarray | None = None
    seconds: float = 0.0
    steps: int = 0
    stopped: str = "epochs"
    best_epoch: int | None = None
    compile_seconds: float = 0.0

    def __repr__(self) -> str:
        """Summary in one line, with the last losses only."""
        parts = [f"epochs={self.epochs}", f"steps={self.steps}"]
        for name in ("loss", "validation_loss", "validation_score"):
            values = getattr(self, name)
            if values is not None and len(values):
                parts.append(f"{name}[-1]={values[-1]:.6g}")
        if self.best_epoch is not None:
            parts.append(f"best_epoch={self.best_epoch}")
        return f"History({', '.join(parts)}, seconds={self.seconds:.3g}, stopped={self.stopped!r})"

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return len(self.loss)

    @property
    def steps_per_second(self) -> float:
        """Updates per second; NaN if no time was measured."""
        return self.steps / self.seconds if self.seconds else float("nan")

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot the loss curves; see :func:`fastnn.plots.loss_curve`.

        Examples
        --------
        >>> from fastnn import Network
        >>> history = Network([1, 2]).fit([[0], [1]], [0, 1])
        >>> ax = history.plot()
        >>> ax.get_ylabel()
        'loss'
        """
        from fastnn.plots import loss_curve

        return loss_curve(self, ax=ax)

    def to_dict(self) -> dict[str, Any]:
        """Recorded columns by name.

        Examples
        --------
        >>> from fastnn import Network
        >>> history = Network([1, 2]).fit([[0], [1]], [0, 1], epochs=2)
        >>> list(history.to_dict())
        ['epoch', 'loss']
        """
        columns = {
            "epoch": np.arange(1, self.epochs + 1),
            "loss": self.loss,
            "validation_loss": self.validation_loss,
            "validation_score": self.validation_score,
        }
        return {name: values for name, values in columns.items() if values is not None}


@dataclass
class Progress:
    """The state of a training, as passed to callbacks.

    Attributes
    ----------
    network : Network
        The network being trained.
    epoch, epochs : int
        Number of finished and of requested epochs.
    step, steps : int
        Number of finished and of requested steps.
    loss : float
        Objective of the last batch, before its update.
    validation_loss, validation_score : float or None
        Loss and score of the last validation.
    seconds : float
        Time since the start of the training.

    Examples
    --------
    >>> from fastnn import Network
    >>> def enough(progress):
    ...     return progress.loss < 0.1  # True ends the training
    >>> net = Network([1, 2], random_state=0)
    >>> history = net.fit(
    ...     [[0], [1]], [0, 1], optimizer="sgd", epochs=1_000_000, callbacks=[enough]
    ... )
    >>> history.stopped
    'callback'
    """

    network: Network
    epochs: int
    steps: int
    epoch: int = 0
    step: int = 0
    loss: float = float("nan")
    validation_loss: float | None = None
    validation_score: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when the validation loss no longer decreases, and restore the best parameters.

    Parameters
    ----------
    patience : int, default=10
        Number of epochs without improvement after which training stops.
    min_delta : float, default=0
        Minimum decrease that counts as an improvement.

    Examples
    --------
    >>> import fastnn
    >>> data = fastnn.datasets.load("moons")
    >>> net = fastnn.Network([2, 8, 2], random_state=0)
    >>> history = net.fit(
    ...     data.X, data.y, epochs=500, validation_fraction=0.2,
    ...     early_stopping=fastnn.EarlyStopping(patience=30),
    ... )
    >>> 0 <= history.best_epoch < history.epochs
    True
    """

    patience: int = 10
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1; got {self.patience!r}")
        check_bounds("min_delta", self.min_delta, 0.0, float("inf"))


@dataclass
class BestEpoch:
    """The best epoch so far (-1 if none), with its validation loss and parameters."""

    loss: float = float("inf")
    epoch: int = -1
    params: np.ndarray | None = field(default=None, repr=False)
