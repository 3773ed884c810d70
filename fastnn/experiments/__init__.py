"""The experiments of the course; each function returns numbers, figures and findings.

>>> from fastnn import experiments
>>> result = experiments.data()
>>> result.data["class_counts"]
[100, 100]

``result.data`` contains all numbers; ``result.figure`` is the first figure, and
``result.figures`` are all of them. :func:`run` runs all experiments and writes a report.

| file | contents |
|---|---|
| ``moons.py`` | the two moons, and the best possible accuracy on them |
| ``activation_functions.py``, ``width.py``, ``depth.py`` | networks on the moons |
| ``rings.py``, ``more.py`` | networks on two rings; on three classes and on digits |
| ``trouble.py``, ``formulas.py`` | where the formulas of the book fail; these formulas |
| ``gradients.py`` | gradients compared with finite differences and the complex step |
| ``jobs.py``, ``style.py``, ``result.py`` | shared: training, figures, results of experiments |
| ``runner.py``, ``report.py``, ``claims.py`` | all experiments in one run, and their report |
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
