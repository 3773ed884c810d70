"""Figures of the errors of a model: confusion matrix, predictions, importances, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.plots.axes import COLORS, GRAY, escape_dollars, new_axes, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def confusion_matrix(
    y: Any, predicted: Any, *, ax: Axes | None = None, title: str | None = None, most: int = 25
) -> Axes:
    """Plot the confusion matrix: counts of samples by true and predicted class.

    Parameters
    ----------
    y : array-like, shape (samples,)
        True classes.
    predicted : array-like, shape (samples,)
        Predicted classes.
    ax : matplotlib Axes, optional
        Axes to draw into; default: a new figure.
    title : str, optional
        Title above the axes.
    most : int, default=25
        Maximum number of classes to show; if there are more, the most frequent ones.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from fastnn import plots
    >>> ax = plots.confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1])
    >>> ax.get_xlabel()
    'predicted'
    """
    y, predicted = np.asarray(y), np.asarray(predicted)
    labels, counts = np.unique(np.concatenate([y, predicted]), return_counts=True)
    if len(labels) > most:
        labels = np.sort(labels[np.argsort(-counts, kind="stable")[:most]])
    ax = ax if ax is not None else new_axes((6.4, 5.2))
    rows = [np.array([((y == a) & (predicted == b)).sum() for b in labels]) for a in labels]
    table = np.array(rows)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = [escape_dollars(label)[:20] for label in labels]
    ax.set_xticks(range(len(names)), names, rotation=90 if len("".join(names)) > 50 else 0)
    ax.set_yticks(range(len(names)), names)
    for i, j in np.ndindex(*table.shape):
        if table[i, j] and len(labels) <= 12:
            color = "white" if share[i, j] > 0.6 else "black"
            ax.text(j, i, f"{table[i, j]:,}", ha="center", va="center", color=color)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true class")
    if title:
        ax.set_title(title, loc="left", fontsize=11)
    return ax


def predictions(
    y: Any,
    predicted: Any,
    *,
    ax: Axes | None = None,
    target_name: str = "target",
    title: str | None = None,
    most: int = 5000,
) -> Axes:
    """Plot the predictions of a regression against the targets.

    Parameters
    ----------
    y, predicted : array-like, shape (samples,)
        Targets and predictions, one per sample.
    ax : matplotlib Axes, optional
        Axes to draw into; default: a new figure.
    target_name : str, default="target"
        Label of the horizontal axis.
    title : str, optional
        Title above the axes.
    most : int, default=5000
        Maximum number of samples to show; if there are more, evenly spaced ones.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from fastnn import plots
    >>> ax = plots.predictions([1.0, 2.0, 3.0], [1.1, 1.9, 3.2], target_name="mass")
    >>> ax.get_xlabel()
    'mass'
    """
    y, predicted = np.ravel(np.asarray(y)), np.ravel(np.asarray(predicted))
    if len(y) > most:
        rows = np.linspace(0, len(y) - 1, most).astype(np.int64)
        y, predicted = y[rows], predicted[rows]
    ax = ax if ax is not None else new_axes((6.4, 5.2))
    ends = [min(y.min(), predicted.min()), max(y.max(), predicted.max())]
    ax.plot(ends, ends, color=GRAY, linewidth=1)
    ax.scatter(y, predicted, s=10, alpha=0.5, color=COLORS[0], linewidths=0, rasterized=True)
    ax.set_xlabel(escape_dollars(target_name))
    ax.set_ylabel("predicted")
    style_axes(ax)
    if title:
        ax.set_title(title, loc="left", fontsize=11)
    return ax


def importances(
    names: Sequence[str], falls: Any, *, ax: Axes | None = None, score: str = "score"
) -> Axes:
    """Plot permutation importances: the decrease of a score when a column is permuted.

    Parameters
    ----------
    names : sequence of str
        Names of the columns, from top to bottom.
    falls : array-like, shape (len(names), repetitions)
        Decrease of the score. Bars show the mean, error bars the standard deviation.
    ax : matplotlib Axes, optional
        Axes to draw into; default: a new figure.
    score : str, default="score"
        Name of the score.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from fastnn import plots
    >>> ax = plots.importances(["width", "length"], [[0.02, 0.03], [0.31, 0.29]], score="accuracy")
    >>> ax.get_xlabel()
    'decrease of accuracy'
    """
    falls = np.asarray(falls)
    ax = ax if ax is not None else new_axes((6.4, 0.28 * len(names) + 1))
    places = np.arange(len(names))[::-1]
    spread = falls.std(axis=1) if falls.shape[1] > 1 else None
    ax.barh(places, falls.mean(axis=1), xerr=spread, color=COLORS[0], ecolor=GRAY)
    ax.set_yticks(places, [escape_dollars(name)[:40] for name in names])
    ax.set_xlabel(f"decrease of {escape_dollars(score)}")
    style_axes(ax)
    return ax


def reliability(
    predicted: Any,
    observed: Any,
    counts: Any,
    *,
    ax: Axes | None = None,
    label: str = "probability",
) -> Axes:
    """Plot a reliability diagram: observed frequency against predicted probability.

    Parameters
    ----------
    predicted, observed : array-like, shape (bins,)
        Mean predicted probability and observed frequency in each bin.
    counts : array-like of int, shape (bins,)
        Number of samples in each bin, shown by the size of the points.
    ax : matplotlib Axes, optional
        Axes to draw into; default: a new figure.
    label : str
        Label of the horizontal axis.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from fastnn import plots
    >>> ax = plots.reliability([0.1, 0.5, 0.9], [0.0, 0.6, 0.9], [30, 10, 40])
    >>> ax.get_ylabel()
    'observed frequency'
    """
    counts = np.asarray(counts)
    ax = ax if ax is not None else new_axes((6.4, 4.8))
    ax.plot([0, 1], [0, 1], color=GRAY, linewidth=1)
    ax.plot(predicted, observed, color=COLORS[0], linewidth=1.2)
    ax.scatter(predicted, observed, s=20 + 180 * counts / counts.max(), color=COLORS[0], alpha=0.7)
    ax.set_xlabel(escape_dollars(label))
    ax.set_ylabel("observed frequency")
    style_axes(ax)
    return ax
