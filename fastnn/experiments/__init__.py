"""The course's experiments; each function gives numbers, figures and what they say.

>>> from fastnn import experiments
>>> result = experiments.data()
>>> result.data["class_counts"]
[100, 100]

``result.data`` holds every number, ``result.figure`` and ``result.figures`` the
figures. :func:`run` does them all and writes a report.
"""

from __future__ import annotations

from fastnn.experiments.activation_functions import activations
from fastnn.experiments.depth import layers
from fastnn.experiments.gradients import gradient_check
from fastnn.experiments.moons import data
from fastnn.experiments.more import more_data
from fastnn.experiments.result import Picture, Result, Table
from fastnn.experiments.rings import circles
from fastnn.experiments.runner import EXPERIMENTS, run
from fastnn.experiments.trouble import numerics
from fastnn.experiments.width import hidden_units

__all__ = [
    "EXPERIMENTS",
    "Picture",
    "Result",
    "Table",
    "activations",
    "circles",
    "data",
    "gradient_check",
    "hidden_units",
    "layers",
    "more_data",
    "numerics",
    "run",
]
