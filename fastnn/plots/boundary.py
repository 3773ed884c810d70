"""Decision boundaries of networks with two features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.plots.axes import COLORS, MARKERS, new_axes, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.network import Network
    from fastnn.network.ensemble import Ensemble


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
    TypeError
        If ``net`` is an estimator.
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
    ax = ax if ax is not None else new_axes((6.4, 5.2))

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
    style_axes(ax)
    if title:
        ax.set_title(title, loc="left", fontsize=11, parse_math=False)
    return ax


def _checked(net: Network | Ensemble, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return samples and targets as arrays; raise unless there are two features and one target."""
    if not hasattr(net, "n_features"):
        raise TypeError(
            f"net must be a Network or an Ensemble; got {type(net).__name__}; for estimators "
            "scikit-learn has DecisionBoundaryDisplay"
        )
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
