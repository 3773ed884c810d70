"""Palette, new axes and their style, common to all figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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

GRAY = "#555555"


def new_axes(size: tuple[float, float]) -> Axes:
    """Axes of a new pyplot figure, which notebooks display."""
    plt = require("matplotlib.pyplot", "a figure")
    return plt.subplots(figsize=size, layout="constrained")[1]


def style_axes(ax: Axes) -> None:
    """Remove two spines and draw the rest in gray."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(GRAY)
    ax.tick_params(colors=GRAY, labelcolor="#222222", labelsize=9)


def escape_dollars(name: object) -> str:
    """Convert a name to text with dollar signs escaped, which would start a formula."""
    return str(name).replace("$", r"\$")
