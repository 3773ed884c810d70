"""Common style and drawing functions of all figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastnn.experiments.jobs import Run
    from fastnn.network import Network

# Okabe and Ito (2008): eight colours that are distinguishable with colour blindness.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, GREY = "#CC79A7", "#56B4E9", "#000000", "#666666"

# Each activation has the same colour, marker and line style in all figures.
ACTIVATION_STYLE = {
    "tanh": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "sigmoid": {"color": VERMILION, "marker": "s", "linestyle": "--"},
    "relu": {"color": GREEN, "marker": "^", "linestyle": "-."},
}
_OTHERS = ((PURPLE, "D", ":"), (ORANGE, "v", "-"), (SKY, "P", "--"), (BLACK, "X", "-."))

# Colour and marker of each class.
CLASS_STYLE = ((BLUE, "o"), (ORANGE, "^"), (PURPLE, "s"))

_SETTINGS: dict[str, Any] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.constrained_layout.w_pad": 0.09,
    "figure.constrained_layout.h_pad": 0.09,
    "savefig.dpi": 150,
    "svg.fonttype": "path",
    "svg.hashsalt": "fastnn",
    "image.interpolation": "bilinear",
}


@contextmanager
def drawing() -> Iterator[None]:
    """Context with Matplotlib's defaults and the settings above, independent of the user's."""
    mpl = require("matplotlib", "a figure")
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def activation_style(name: str) -> dict[str, Any]:
    """Colour, marker and line style of an activation."""
    if name in ACTIVATION_STYLE:
        return dict(ACTIVATION_STYLE[name])
    color, marker, line = _OTHERS[sum(map(ord, name)) % len(_OTHERS)]
    return {"color": color, "marker": marker, "linestyle": line}


def panels(
    count: int,
    columns: int,
    *,
    size: tuple[float, float] = (3.1, 3.1),
    extra_height: float = 0.0,
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """Create a figure of ``count`` panels, filled row by row.

    Parameters
    ----------
    count, columns : int
        Number of panels, and maximum number of columns.
    size : tuple of float
        Width and height of a panel in inches.
    extra_height : float
        Additional height in inches, for a legend of the figure.
    **options
        Passed to :meth:`matplotlib.figure.Figure.subplots`.

    Returns
    -------
    figure : Figure
    axes : list of Axes
    """
    from matplotlib.figure import Figure

    columns = min(count, columns)
    rows = -(-count // columns)
    figure = Figure(
        figsize=(size[0] * columns, size[1] * rows + extra_height), layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def scatter(
    ax: Axes, X: np.ndarray, y: np.ndarray, *, size: float = 16, label: bool = False
) -> None:
    """Draw points by class, with dark edges so that they are visible on any background."""
    for k in np.unique(y).astype(int):
        color, marker = CLASS_STYLE[k % len(CLASS_STYLE)]
        chosen = y == k
        ax.scatter(
            X[chosen, 0],
            X[chosen, 1],
            # A triangle looks smaller than a disc of the same area.
            s=size * (1.3 if marker == "^" else 1.0),
            c=color,
            marker=marker,
            edgecolors="#1a1a1a",
            linewidths=0.4,
            label=f"class {k}" if label else None,
            zorder=3,
        )


def frame(X: np.ndarray, margin: float = 0.35) -> tuple[float, float, float, float]:
    """Axis limits around points: left, right, bottom, top."""
    low, high = X.min(axis=0) - margin, X.max(axis=0) + margin
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def set_frame(ax: Axes, limits: tuple[float, float, float, float]) -> None:
    """Set the axis limits, with equal scales on both axes."""
    ax.set_xlim(limits[0], limits[1])
    ax.set_ylim(limits[2], limits[3])
    ax.set_aspect("equal")


def boundary(
    ax: Axes,
    network: Network,
    X: np.ndarray,
    y: np.ndarray,
    limits: tuple[float, float, float, float],
    *,
    title: str = "",
    size: float = 12,
    resolution: int = 181,
) -> None:
    """Draw probabilities as background colours, the decision boundaries, and the points."""
    from matplotlib.colors import to_rgb

    across = np.linspace(limits[0], limits[1], resolution)
    up = np.linspace(limits[2], limits[3], resolution)
    grid = np.stack(np.meshgrid(across, up), axis=-1)
    p = network.predict_proba(grid.reshape(-1, 2)).reshape(resolution, resolution, -1)
    colors = np.array([to_rgb(CLASS_STYLE[k][0]) for k in range(p.shape[2])])
    ground = 1 - 0.32 * (p @ (1 - colors))
    ax.imshow(
        ground.clip(0, 1), extent=limits, origin="lower", aspect="equal", interpolation="bilinear"
    )
    for k in range(1 if p.shape[2] == 2 else p.shape[2]):
        margin = p[..., k] - np.delete(p, k, axis=2).max(axis=2)
        if margin.min() < 0 < margin.max():
            ax.contour(across, up, margin, levels=[0.0], colors=BLACK, linewidths=1.4)
    scatter(ax, X, y, size=size)
    set_frame(ax, limits)
    ax.set_title(title)


def boundaries(
    runs: Sequence[tuple[str, Run]],
    X: np.ndarray,
    y: np.ndarray,
    narrow: bool,
    *,
    sizes: tuple[tuple[float, float], tuple[float, float]] = ((4.2, 3.4), (3.2, 2.8)),
    columns: tuple[int, int] = (1, 3),
    margin: float = 0.35,
    points: float = 12,
    short: bool = False,
) -> Figure:
    """Draw decision boundaries with the same points and axes, and accuracies in the titles.

    Parameters
    ----------
    runs : sequence of (setting, run)
        Title and run of each panel.
    X, y : ndarray
        Points and classes.
    narrow : bool
        Whether to use the narrow layout.
    sizes, columns : tuple
        Size of a panel and number of columns, in the narrow and in the wide layout.
    margin : float
        Margin around the points.
    points : float
        Size of the markers.
    short : bool
        Whether to explain the accuracies in the title of the figure rather than of each panel.

    Returns
    -------
    Figure
    """
    columns_here = columns[0 if narrow else 1]
    figure, axes = panels(
        len(runs), columns_here, size=sizes[0 if narrow else 1], sharex=True, sharey=True
    )
    for ax, (setting, run) in zip(axes, runs, strict=True):
        train, held_out = run.measured["train_accuracy"], run.measured["held_out_accuracy"]
        numbers = f"training {train:.3f}, held out {held_out:.3f}"
        if short:
            numbers = f"{train:.3f} / {held_out:.3f}"
        title = f"{setting}\n{numbers}"
        boundary(ax, run.network, X, y, frame(X, margin), title=title, size=points)
    if short:
        figure.suptitle("Accuracy: training / held out", fontsize=10)
    labels(axes, columns_here)
    return figure


def labels(axes: Sequence[Axes], columns: int, x: str = "$x_1$", y: str = "$x_2$") -> None:
    """Set axis labels on the outer panels only."""
    columns = min(columns, len(axes))
    for i, ax in enumerate(axes):
        if i + columns >= len(axes):
            ax.set_xlabel(x)
        if i % columns == 0:
            ax.set_ylabel(y)


def error_line(
    ax: Axes,
    x: Sequence[float],
    records: Sequence[dict[str, Any]],
    *,
    label: str,
    **style: Any,
) -> None:
    """Draw means joined by a line, with error bars of one standard error."""
    ax.errorbar(
        x,
        [record["mean"] for record in records],
        yerr=[record["se"] for record in records],
        capsize=2.5,
        markersize=5,
        linewidth=1.5,
        label=label,
        **style,
    )


def spread(
    ax: Axes, position: float, record: dict[str, Any], *, color: str, marker: str, filled: bool
) -> None:
    """Draw all values as small points, and their mean as a bar."""
    values = np.asarray(record["values"])
    # Side by side in the order of the runs: deterministic and without overlaps.
    offset = np.linspace(-0.13, 0.13, len(values)) if len(values) > 1 else np.zeros(1)
    ax.scatter(
        position + offset,
        values,
        s=16,
        marker=marker,
        facecolors=color if filled else "white",
        edgecolors=color,
        linewidths=1.0,
        zorder=3,
    )
    ax.plot([position - 0.2, position + 0.2], [record["mean"]] * 2, color=BLACK, lw=2, zorder=4)


def spread_both(ax: Axes, position: float, record: dict[str, Any], activation: str) -> None:
    """Draw accuracies of the runs of an activation: training (left, open), held-out (filled)."""
    look = activation_style(activation)
    for shift, key, filled in (
        (-0.21, "train_accuracy", False),
        (0.21, "held_out_accuracy", True),
    ):
        spread(
            ax, position + shift, record[key],
            color=look["color"], marker=look["marker"], filled=filled,
        )  # fmt: skip
