"""Pictures of the gallery look like those of fastnn.plots and of the experiments."""

from __future__ import annotations

from typing import Any


def reset(gallery_conf: dict[str, Any], script: str) -> None:
    """Set colours and axes before each script; sphinx-gallery calls it."""
    import matplotlib as mpl

    from fastnn.plots import COLORS

    # The order of fastnn.plots but for yellow, which lines on white cannot have.
    colours = [*COLORS[:6], *COLORS[7:]]
    mpl.rcParams.update(
        {
            "axes.prop_cycle": mpl.cycler(color=colours),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 10.5,
            "legend.frameon": False,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
        }
    )
