"""Built-in data sets, and data from files, as NumPy arrays.

>>> from fastnn import datasets
>>> data = datasets.load("moons")
>>> data.X.shape, data.task
((200, 2), 'classification')
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnn.datasets.builtin import BUILT_IN, N_SYNTHETIC
    from fastnn.datasets.dataset import Dataset, check_range, scaled
    from fastnn.datasets.loading import load, load_features
    from fastnn.datasets.mnist import MNIST_FILES, MNIST_MIRRORS, cache_dir
    from fastnn.datasets.reading import SUFFIXES
    from fastnn.datasets.splitting import train_test_split
    from fastnn.datasets.targets import TASKS
    from fastnn.datasets.writing import write_atomically

# Submodules are imported on first use, so that writing a file does not import the readers.
_WHERE = {
    "BUILT_IN": "builtin",
    "MNIST_FILES": "mnist",
    "MNIST_MIRRORS": "mnist",
    "N_SYNTHETIC": "builtin",
    "SUFFIXES": "reading",
    "TASKS": "targets",
    "Dataset": "dataset",
    "cache_dir": "mnist",
    "check_range": "dataset",
    "load": "loading",
    "load_features": "loading",
    "scaled": "dataset",
    "train_test_split": "splitting",
    "write_atomically": "writing",
}

__all__ = [
    "BUILT_IN",
    "MNIST_FILES",
    "MNIST_MIRRORS",
    "N_SYNTHETIC",
    "SUFFIXES",
    "TASKS",
    "Dataset",
    "cache_dir",
    "check_range",
    "load",
    "load_features",
    "scaled",
    "train_test_split",
    "write_atomically",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"fastnn.datasets.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
