"""The settings of a page as a Python script and as a command."""

from __future__ import annotations

import shlex
from typing import Any

from fastnn.datasets.builtin import N_SYNTHETIC
from fastnn.play.settings import NOISY, SEVERAL_CLASSES, PlaySettings

MAX_INLINE = 100  # user-defined points written into the script; more are read from a file
FILE = "points.csv"


def python(settings: PlaySettings) -> str:
    """A script that trains the same network, with the same results."""
    lines = ["import fastnn"]
    uses_numpy = settings.data == "points"
    if uses_numpy:
        lines.insert(0, "import numpy as np\n")
    else:
        lines.append("from fastnn.play.data import make_data")
    if settings.held_out:
        lines.append("from fastnn.datasets import train_test_split")
    lines += ["", *_data(settings)]
    train = "X, y"
    if settings.held_out:
        lines += [
            f"train, test = train_test_split(y, {settings.held_out!r}, {settings.data_seed}, "
            "stratify=True)"
        ]
        train = "X[train], y[train]"
    classes = (
        len({k for _, _, k in settings.points}) if settings.data == "points" else settings.n_classes
    )
    arguments = settings.network(classes)
    sizes = arguments.pop("layer_sizes")
    lines.append(f"net = fastnn.Network({sizes}, {_keywords(arguments)})")
    fit = {"epochs": "EPOCHS"} | (
        {"batch_size": settings.batch_size} if settings.batch_size else {}
    )
    rule = type(settings.make_optimizer()).__name__
    numbers: dict[str, Any] = {"learning_rate": settings.learning_rate}
    if settings.optimizer == "sgd" and settings.momentum:
        numbers["momentum"] = settings.momentum
    n_train = _n_train(settings)
    text = _keywords(fit).replace("'EPOCHS'", f"{settings.epochs(n_train):_}")
    lines.append(
        f"history = net.fit({train}, optimizer=fastnn.{rule}({_keywords(numbers)}), {text})"
    )
    lines.append(f"print(history.loss[-1], net.score({train}))")
    if settings.held_out:
        lines.append("print(net.score(X[test], y[test]))")
    return "\n".join(lines) + "\n"


def _data(settings: PlaySettings) -> list[str]:
    """Lines that define X and y."""
    if settings.data == "points" and len(settings.points) > MAX_INLINE:
        lines = [
            f'table = np.loadtxt("{FILE}", delimiter=",", skiprows=1)  # saved from the page',
            "X, y = table[:, :2], table[:, 2].astype(int)",
        ]
    elif settings.data == "points":
        rows = ",\n".join(f"    ({x!r}, {y!r}, {k})" for x, y, k in settings.points)
        lines = [
            f"points = np.array([\n{rows},\n])",
            "X, y = points[:, :2], points[:, 2].astype(int)",
        ]
    else:
        given: dict[str, Any] = {}
        if settings.data in NOISY:
            given["noise"] = settings.noise
        if settings.data in SEVERAL_CLASSES:
            given["classes"] = settings.classes
        if settings.data == "circles":
            given["factor"] = settings.factor
        given["seed"] = settings.data_seed
        lines = [f'X, y = make_data("{settings.data}", {settings.samples}, {_keywords(given)})']
    return lines if settings.scale == 1 else [*lines, f"X *= {settings.scale!r}"]


def _n_train(settings: PlaySettings) -> int:
    """Number of training points."""
    from fastnn.play.data import Points

    return len(Points(settings).train)


def _keywords(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def command(settings: PlaySettings) -> str:
    """A command that trains a network with the same settings on the same points.

    The held-out points differ from those of the page, as ``fastnn train`` selects its own.
    """
    built_in = (
        settings.data == "moons"
        and (settings.samples, settings.noise, settings.scale) == (N_SYNTHETIC, 0.2, 1.0)
        and settings.data_seed == settings.seed
    )
    one = len(set(settings.activation)) <= 1
    hidden = ",".join(map(str, settings.hidden)) or "none"
    options = [
        ("hidden", hidden),
        ("activation", (settings.activation[0] if one else ",".join(settings.activation))
         if settings.hidden else None),
        ("initializer", settings.initializer),
        ("l2", settings.l2),
        ("dropout", settings.dropout if settings.hidden and settings.dropout else None),
        ("optimizer", settings.optimizer),
        ("learning-rate", settings.learning_rate),
        ("momentum", settings.momentum if settings.optimizer == "sgd" and settings.momentum
         else None),
        ("epochs", settings.epochs(_n_train(settings))),
        ("batch-size", settings.batch_size),
        ("test", settings.held_out),
        ("seed", settings.seed),
        ("dtype", settings.dtype),
        ("backend", settings.backend if settings.backend != "auto" else None),
    ]  # fmt: skip
    words = ["fastnn", "train", "moons" if built_in else FILE]
    if not built_in:
        words += ["--target", "class"]
    words.append("--standardize" if settings.standardize else "--no-standardize")
    for name, value in options:
        if value is not None:
            words += [f"--{name}", str(value)]
    return shlex.join(words)
