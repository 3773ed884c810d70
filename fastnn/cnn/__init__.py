"""The convolutional network for MNIST, trained with TensorFlow.

>>> import fastnn.cnn
>>> settings = fastnn.cnn.Settings(preset="fast", data="digits", steps=20)
>>> settings.completed().batch_size
64

``fastnn.cnn.train(settings, folder)`` trains a network, ``fastnn.cnn.load(folder)`` loads the
trained network. TensorFlow is imported on the first use of ``Network``, ``train``, ``resume`` or
``load``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnn.cnn.model import Network
    from fastnn.cnn.runs import load
    from fastnn.cnn.settings import Settings
    from fastnn.cnn.training import resume, train

_WHERE = {
    "Network": "model",
    "Settings": "settings",
    "load": "runs",
    "resume": "training",
    "train": "training",
}

__all__ = ["Network", "Settings", "load", "resume", "train"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"fastnn.cnn.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'fastnn.cnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
