"""The course's experiments for the page: settings other than the defaults, and what to observe.

``tests/play/test_presets.py`` trains all presets and checks the statements of the sentences.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Preset(NamedTuple):
    """Settings of an experiment.

    Attributes
    ----------
    name, title : str
    see : str
        One sentence that says what to observe.
    group : str
        Heading in the list of presets.
    settings : dict
        Fields of :class:`fastnn.play.settings.PlaySettings` that differ from the defaults.
    """

    name: str
    title: str
    see: str
    group: str
    settings: dict[str, Any]


def _rings(factor: float, noise: float, activation: str = "tanh") -> dict[str, Any]:
    """A 2-8-8-8-2 network on two circles, as in ``fastnn experiments --only circles``."""
    return {
        "data": "circles", "samples": 500, "noise": noise, "factor": factor,
        "hidden": [8, 8, 8], "activation": [activation] * 3, "initializer": "auto",
        "optimizer": "adam", "learning_rate": 0.01, "steps": 1_500,
    }  # fmt: skip


def _depth(layers: int) -> dict[str, Any]:
    """Layers of eight units, as in ``fastnn experiments --only layers``."""
    return {
        "hidden": [8] * layers, "activation": ["tanh"] * layers,
        "learning_rate": 0.5, "steps": 3_000,
    }  # fmt: skip


_ALL = [
    Preset(
        "tanh", "tanh",
        "Three units, each a soft step across the plane; the boundary is their smooth sum.",
        "Three activations", {},
    ),
    Preset(
        "sigmoid", "sigmoid",
        "A sigmoid is a tanh of half the slope, shifted: nearly the same boundary as tanh.",
        "Three activations", {"activation": ["sigmoid"]},
    ),
    Preset(
        "relu", "relu",
        "Each unit is zero on one side of a line: the boundary consists of straight pieces.",
        "Three activations", {"activation": ["relu"]},
    ),
    Preset(
        "units-1", "1 unit",
        "One unit makes one straight line, however long it is trained.",
        "Units", {"hidden": [1]},
    ),
    Preset(
        "units-3", "3 units",
        "Three units are enough for the bend of the moons.",
        "Units", {"hidden": [3]},
    ),
    Preset(
        "units-5", "5 units",
        "The training loss falls a little more; the accuracy on fresh points hardly changes.",
        "Units", {"hidden": [5]},
    ),
    Preset(
        "units-15", "15 units",
        "The boundary bends around single points: better on them, no better on fresh ones.",
        "Units", {"hidden": [15]},
    ),
    *[
        Preset(f"layers-{n}", f"{n} layer{'s' if n > 1 else ''}", see, "Layers", _depth(n))
        for n, see in (
            (1, "One layer of eight units, 3,000 steps: after so few the boundary is still soft."),
            (2, "A second layer combines the steps of the first: a lower loss in as many steps."),
            (3, "The thumbnails of the later layers already look like the answer."),
            (4, "Accuracy on fresh points no longer gains from depth."),
            (5, "Five layers start more slowly; replay shows the plateau before the loss falls."),
        )
    ],
    Preset(
        "rings", "Separate rings",
        "Factor 0.5, noise 0.1: a closed curve between the rings is right nearly always.",
        "Two rings", _rings(0.5, 0.1),
    ),
    Preset(
        "rings-relu", "Separate rings, relu",
        "The same rings with relu: the closed curve is a polygon.",
        "Two rings", _rings(0.5, 0.1, "relu"),
    ),
    Preset(
        "rings-overlap", "Overlapping rings",
        "Factor 0.8, noise 0.2: nobody can exceed 0.689 on fresh points; more in training is noise "
        "learned by heart.",
        "Two rings", _rings(0.8, 0.2),
    ),
    Preset(
        "quantiles", "Three classes",
        "Gaussian quantiles have no noise: a disc, a ring around it, and the rest.",
        "More", {
            "data": "quantiles", "samples": 500, "classes": 3, "hidden": [8, 8],
            "activation": ["tanh", "tanh"], "initializer": "auto", "optimizer": "adam",
            "learning_rate": 0.01, "steps": 1_500,
        },
    ),
    Preset(
        "spirals", "Three spirals",
        "What is far from linear takes more units; remove some and watch the arms melt together.",
        "More", {
            "data": "spirals", "samples": 400, "classes": 3, "noise": 0.05, "hidden": [12, 12],
            "activation": ["tanh", "tanh"], "initializer": "auto", "optimizer": "adam",
            "learning_rate": 0.02, "steps": 3_000,
        },
    ),
    Preset(
        "xor-linear", "xor without a hidden layer",
        "Without a hidden layer the boundary is a straight line, and half of xor stays wrong.",
        "More", {"data": "xor", "noise": 0.05, "hidden": [], "activation": [], "steps": 2_000},
    ),
    Preset(
        "overfit", "Learned by heart",
        "Thirty points, noise and 1,000 parameters: right on all it was trained with, far below "
        "the best possible on fresh points.",
        "More", {
            "samples": 30, "noise": 0.5, "hidden": [30, 30], "activation": ["relu", "relu"],
            "initializer": "auto", "optimizer": "adam", "learning_rate": 0.01, "steps": 3_000,
            "l2": 0.0,
        },
    ),
    Preset(
        "nan", "NaN on purpose",
        "Features a thousand times as large and a learning rate of 2: relu's weights explode.",
        "More", {
            "activation": ["relu"], "scale": 1_000.0, "dtype": "float32", "steps": 2_000,
        },
    ),
]  # fmt: skip

PRESETS: list[dict[str, Any]] = [preset._asdict() for preset in _ALL]
