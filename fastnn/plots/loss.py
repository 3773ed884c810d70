"""Loss curves of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.plots.axes import COLORS, GRAY, new_axes, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.training.history import History


def loss_curve(history: History, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Plot training and validation loss over the epochs.

    Parameters
    ----------
    history : History
        Result of ``Network.fit``.
    ax : matplotlib Axes, optional
        Axes to draw into; default: a new figure.
    title : str, optional
        Title above the axes.

    Returns
    -------
    matplotlib Axes
        The loss axis is logarithmic if all losses are positive and span more than a factor of
        three; the epoch axis is logarithmic for more than 1,000 epochs.

    Examples
    --------
    >>> import fastnn
    >>> history = fastnn.Network([1, 2]).fit([[0], [1]], [0, 1])
    >>> ax = fastnn.plots.loss_curve(history, title="two samples")
    """
    ax = ax if ax is not None else new_axes((6.4, 4.0))
    curves = [("training", np.asarray(history.loss), COLORS[0], "-")]
    if history.validation_loss is not None:
        curves.append(("validation", np.asarray(history.validation_loss), COLORS[5], "--"))
    losses = np.concatenate([values for _, values, _, _ in curves])
    logarithmic = bool(len(losses)) and losses.min() > 0 and losses.max() > 3 * losses.min()
    top = None if logarithmic or len(curves) < 2 else _highest_shown(*(c[1] for c in curves))
    for label, values, color, style in curves:
        epochs = np.arange(1, len(values) + 1)
        marker, clip = "o" if len(values) == 1 else None, top is not None
        ax.plot(
            epochs, values, style, color=color, lw=1.6, marker=marker, label=label, clip_on=clip
        )
    if top is not None:
        ax.set_ylim(losses.min() - 0.05 * (top - losses.min()), top)
    if history.best_epoch is not None:
        ax.axvline(history.best_epoch + 1, color=GRAY, lw=1, ls=":", label="best epoch")

    if logarithmic:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        ax.set_yscale("log")
        # If the range is short, tick labels such as 0.2 between the powers of ten.
        few = losses.max() < 100 * losses.min()
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    n_epochs = len(history.loss)
    if n_epochs > 1000:
        from matplotlib.ticker import FuncFormatter

        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if n_epochs > 1:
        ax.set_xlim(1, n_epochs)
    if n_epochs < 10:
        from matplotlib.ticker import MaxNLocator

        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.grid(color="#DDDDDD", lw=0.6)
    ax.set_axisbelow(True)
    style_axes(ax)
    if len(ax.get_legend_handles_labels()[1]) > 1:
        ax.legend(frameon=False)
    if title:
        ax.set_title(title, loc="left", fontsize=11, parse_math=False)
    return ax


def _highest_shown(training: np.ndarray, validation: np.ndarray) -> float | None:
    """Where the axis ends if the validation loss leaves the training loss far behind; else None.

    A likelihood that is too sure of itself may be hundreds; the rest would be a flat line.
    """
    if len(training) < 2 or not np.isfinite(training).all():
        return None
    spread = np.ptp(training)
    top = max(training.max(), np.nanmin(validation) + spread)
    return float(top + 0.5 * spread) if np.nanmax(validation) > top + 5 * spread else None
