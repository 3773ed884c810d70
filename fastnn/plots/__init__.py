"""Figures: decision boundaries, prediction errors, loss curves.

All functions draw into the given axes, or into a new pyplot figure, and return the axes.
"""

from fastnn.plots.axes import COLORS, MARKERS
from fastnn.plots.boundary import decision_boundary
from fastnn.plots.errors import confusion_matrix, importances, predictions, reliability
from fastnn.plots.loss import loss_curve

__all__ = [
    "COLORS",
    "MARKERS",
    "confusion_matrix",
    "decision_boundary",
    "importances",
    "loss_curve",
    "predictions",
    "reliability",
]
