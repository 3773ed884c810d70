"""Figures: decision boundaries, prediction errors, loss curves.

All functions draw into the given axes, or into a new pyplot figure, and return the axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.network import Network
    from fastnn.network.ensemble import Ensemble
    from fastnn.training.history import History

# Okabe and Ito's palette, suited for colour-blind readers, highest contrast first.
COLORS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#000000",
)
MARKERS = "osD^vPX*"

_GRAY = "#555555"


def decision_boundary(
    net: Network | Ensemble,
    X: Any,
    y: Any,
    *,
    ax: Axes | None = None,
    feature_names: Sequence[str] | None = None,
    title: str | None = None,
    resolution: int = 300,
) -> Axes:
    """Plot the predictions of a network with two features, and the samples.

    With two classes, the background shows the probability; with more, the most probable class,
    with a strength that increases with its probability. Lines separate the predicted classes. For
    a regression, the background shows the predicted values.

    Parameters
    ----------
    net : Network
        A trained network with two features.
    X : array-like, shape (samples, 2)
        Samples, one per row.
    y : array-like, shape (samples,)
        Targets, one per sample.
    ax : matplotlib Axes, optional
        Axes to draw into; default: a new figure.
    feature_names : sequence of str, optional
        Labels of the axes.
    title : str, optional
        Title above the axes.
    resolution : int, default=300
        Number of grid points along each axis.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the network does not have two features and one target.

    Notes
    -----
    This is similar to scikit-learn's ``DecisionBoundaryDisplay``, which is not used because
    importing scikit-learn takes longer than training the network and plotting together.

    Examples
    --------
    >>> import fastnn
    >>> data = fastnn.datasets.load("moons")
    >>> net = fastnn.Network([2, 8, 2], random_state=0)
    >>> history = net.fit(data.X, data.y)
    >>> ax = fastnn.plots.decision_boundary(net, data.X, data.y, resolution=50)
    """
    X, y = _checked(net, X, y)
    ax = ax if ax is not None else _new_axes((6.4, 5.2))

    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.08 * np.where(high > low, high - low, 1.0)
    x0, x1 = np.meshgrid(
        np.linspace(low[0] - margin[0], high[0] + margin[0], resolution),
        np.linspace(low[1] - margin[1], high[1] + margin[1], resolution),
    )
    grid = np.column_stack([x0.ravel(), x1.ravel()])
    if net.is_regression:
        _draw_values(ax, x0, x1, net.predict_point(grid).reshape(x0.shape), X, y)
    else:
        _draw_classes(ax, x0, x1, net.predict_proba(grid), _classes(net, y), X, y)

    names = feature_names if feature_names is not None else ("x0", "x1")
    # do not parse dollar signs in names as formulas
    ax.set_xlabel(names[0], parse_math=False)
    ax.set_ylabel(names[1], parse_math=False)
    ax.set_xlim(x0[0, 0], x0[0, -1])
    ax.set_ylim(x1[0, 0], x1[-1, 0])
    _tidy(ax)
    if title:
        ax.set_title(title, loc="left", fontsize=11, parse_math=False)
    return ax


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
    ax = ax if ax is not None else _new_axes((6.4, 5.2))
    rows = [np.array([((y == a) & (predicted == b)).sum() for b in labels]) for a in labels]
    table = np.array(rows)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = [_plain(label)[:20] for label in labels]
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
    ax = ax if ax is not None else _new_axes((6.4, 5.2))
    ends = [min(y.min(), predicted.min()), max(y.max(), predicted.max())]
    ax.plot(ends, ends, color=_GRAY, linewidth=1)
    ax.scatter(y, predicted, s=10, alpha=0.5, color=COLORS[0], linewidths=0, rasterized=True)
    ax.set_xlabel(_plain(target_name))
    ax.set_ylabel("predicted")
    _tidy(ax)
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
    ax = ax if ax is not None else _new_axes((6.4, 0.28 * len(names) + 1))
    places = np.arange(len(names))[::-1]
    spread = falls.std(axis=1) if falls.shape[1] > 1 else None
    ax.barh(places, falls.mean(axis=1), xerr=spread, color=COLORS[0], ecolor=_GRAY)
    ax.set_yticks(places, [_plain(name)[:40] for name in names])
    ax.set_xlabel(f"decrease of {_plain(score)}")
    _tidy(ax)
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
    ax = ax if ax is not None else _new_axes((6.4, 4.8))
    ax.plot([0, 1], [0, 1], color=_GRAY, linewidth=1)
    ax.plot(predicted, observed, color=COLORS[0], linewidth=1.2)
    ax.scatter(predicted, observed, s=20 + 180 * counts / counts.max(), color=COLORS[0], alpha=0.7)
    ax.set_xlabel(_plain(label))
    ax.set_ylabel("observed frequency")
    _tidy(ax)
    return ax


def _plain(name: object) -> str:
    """Convert a name to text with dollar signs escaped, which would start a formula."""
    return str(name).replace("$", r"\$")


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
    ax = ax if ax is not None else _new_axes((6.4, 4.0))
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
        ax.axvline(history.best_epoch + 1, color=_GRAY, lw=1, ls=":", label="best epoch")

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
    _tidy(ax)
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


def _checked(net: Network | Ensemble, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return samples and targets as arrays; raise unless there are two features and one target."""
    if net.n_features != 2:
        raise ValueError(
            f"a decision boundary can be drawn over 2 features; the network has {net.n_features}"
        )
    one_target = net.is_regression or net.loss_name == "binary_cross_entropy"
    if one_target and net.spec.n_targets > 1:
        n_targets = net.spec.n_targets
        raise ValueError(f"a decision boundary needs one target; the network has {n_targets}")
    X, y = np.asarray(X, np.float64), np.asarray(y)
    if X.ndim != 2 or X.shape[1] != 2 or len(X) == 0:
        raise ValueError(f"X must have shape (samples, 2); got {X.shape}")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (len(X),):
        raise ValueError(f"y must have shape ({len(X)},); got {y.shape}")
    return X, y


def _new_axes(size: tuple[float, float]) -> Axes:
    """Axes of a new pyplot figure, which notebooks display."""
    plt = require("matplotlib.pyplot", "a figure")
    return plt.subplots(figsize=size, layout="constrained")[1]


def _classes(net: Network | Ensemble, y: np.ndarray) -> np.ndarray:
    """Labels in the order of the outputs."""
    if net.classes_ is not None:
        return net.classes_
    n_classes = max(net.n_outputs, 2)
    present = np.unique(y)
    return present if len(present) == n_classes else np.arange(n_classes)


def _draw_classes(
    ax: Axes,
    x0: np.ndarray,
    x1: np.ndarray,
    probabilities: np.ndarray,
    classes: np.ndarray,
    X: np.ndarray,
    y: np.ndarray,
) -> None:
    """Draw shades by probability, lines between the classes, and samples by label."""
    n_classes = len(classes)
    colors = [_color(k, n_classes) for k in range(n_classes)]
    cube = probabilities.reshape(*x0.shape, n_classes)
    (_shade_two if n_classes == 2 else _shade_many)(ax, x0, x1, cube, colors)
    size = float(np.clip(9000 / len(X), 4, 38))
    for k, label in enumerate(classes):
        mine = y == label
        ax.scatter(
            X[mine, 0],
            X[mine, 1],
            s=size,
            color=colors[k],
            marker=MARKERS[k % len(MARKERS)],
            edgecolors="white",
            linewidths=0.7 if size > 10 else 0.2,
            zorder=2,
            label=f" {label}" if str(label).startswith("_") else str(label),  # "_" hides it
        )
    if n_classes <= 12:
        legend = ax.legend(
            title="class",
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
            alignment="left",
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _shade_two(ax: Axes, x0: np.ndarray, x1: np.ndarray, cube: np.ndarray, colors: list) -> None:
    """Draw shades from one class over white to the other, with a line at probability 1/2."""
    from matplotlib.colors import LinearSegmentedColormap

    first, second = colors
    steps: Any = [
        _mix(first, 0.55), _mix(first, 0.2), "#FFFFFF", _mix(second, 0.2), _mix(second, 0.55)
    ]  # fmt: skip
    shades = LinearSegmentedColormap.from_list("classes", steps)
    levels = np.linspace(0.0, 1.0, 41)
    ax.contourf(x0, x1, cube[..., 1], levels=levels, cmap=shades, zorder=0)
    ax.contour(x0, x1, cube[..., 1], levels=[0.5], colors="#222222", linewidths=1.5, zorder=1)


def _shade_many(ax: Axes, x0: np.ndarray, x1: np.ndarray, cube: np.ndarray, colors: list) -> None:
    """Draw the colour of the most probable class, with lines around each class."""
    from matplotlib.colors import to_rgb

    winner, n_classes = cube.argmax(axis=-1), len(colors)
    # 0 (nearly white) where all classes are equally probable, 1 where the network is certain.
    sure = (cube.max(axis=-1) - 1 / n_classes) / (1 - 1 / n_classes)
    table = np.array([to_rgb(color) for color in colors])
    strength = (0.08 + 0.47 * sure)[..., None]
    ax.imshow(
        1 - strength * (1 - table[winner]),
        origin="lower",
        extent=(x0[0, 0], x0[0, -1], x1[0, 0], x1[-1, 0]),
        aspect="auto",
        interpolation="bilinear",
        zorder=0,
    )
    for k in np.unique(winner):
        others = np.delete(cube, k, axis=-1).max(axis=-1)
        lead = cube[..., k] - others
        if (lead > 0).any() and (lead < 0).any():
            ax.contour(x0, x1, lead, levels=[0.0], colors="#222222", linewidths=1.2, zorder=1)


def _draw_values(
    ax: Axes, x0: np.ndarray, x1: np.ndarray, values: np.ndarray, X: np.ndarray, y: np.ndarray
) -> None:
    """Draw a map of the values, and the samples in the same colours."""
    from matplotlib.colors import Normalize

    y = y.astype(np.float64)
    low, high = min(values.min(), y.min()), max(values.max(), y.max())
    norm = Normalize(low, high if high > low else low + 1.0)
    surface = ax.contourf(
        x0,
        x1,
        values,
        levels=np.linspace(low, high if high > low else low + 1.0, 41),
        norm=norm,
        zorder=0,
    )
    ax.scatter(
        X[:, 0],
        X[:, 1],
        c=y,
        norm=norm,
        cmap=surface.cmap,
        edgecolors="white",
        linewidths=0.7,
        s=32,
        zorder=2,
    )
    from matplotlib.ticker import MaxNLocator

    ax.figure.colorbar(surface, ax=ax, ticks=MaxNLocator(7), label="value")


def _color(k: int, n_classes: int) -> Any:
    """Colour of a class: from the palette, or from a colormap if there are more classes."""
    if n_classes <= len(COLORS):
        return COLORS[k]
    from matplotlib import colormaps

    return colormaps["turbo"](k / (n_classes - 1))


def _mix(color: Any, strength: float) -> tuple[float, ...]:
    """Mix a colour with white; strength 1 keeps the colour."""
    from matplotlib.colors import to_rgb

    return tuple(1 - strength * (1 - part) for part in to_rgb(color))


def _tidy(ax: Axes) -> None:
    """Remove two spines and draw the rest in gray."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(_GRAY)
    ax.tick_params(colors=_GRAY, labelcolor="#222222", labelsize=9)
