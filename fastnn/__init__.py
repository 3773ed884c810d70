"""Fast training of small dense neural networks on a CPU."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fastnn.backends import available as available_backends
    from fastnn.errors import DivergenceError, ModelFormatError
    from fastnn.estimators import JoblibBackend, MLPClassifier, MLPRegressor
    from fastnn.estimators.bagging import MLPBaggingClassifier, MLPBaggingRegressor
    from fastnn.estimators.conformal import ConformalClassifier, ConformalRegressor
    from fastnn.network import Network
    from fastnn.network.custom import CustomActivation, CustomLoss
    from fastnn.network.ensemble import Ensemble
    from fastnn.network.many import Fit, fit_many
    from fastnn.network.tape import Tape
    from fastnn.storage import load
    from fastnn.tables import TableEncoder, TableModel
    from fastnn.tables.classifier import TabularClassifier
    from fastnn.tables.regressor import TabularRegressor
    from fastnn.tables.searchers import TabularSearchClassifier, TabularSearchRegressor
    from fastnn.training.history import EarlyStopping, History, Progress
    from fastnn.training.optimizers import SGD, AdaGrad, Adam, AdamW, LevenbergMarquardt, RMSprop
    from fastnn.training.posterior import Posterior

# Imported at first use, so that ``import fastnn`` is fast.
_WHERE = {
    "Network": "network",
    "Ensemble": "network.ensemble",
    "Fit": "network.many",
    "fit_many": "network.many",
    "Tape": "network.tape",
    "SGD": "training.optimizers",
    "AdaGrad": "training.optimizers",
    "Adam": "training.optimizers",
    "AdamW": "training.optimizers",
    "LevenbergMarquardt": "training.optimizers",
    "RMSprop": "training.optimizers",
    "Posterior": "training.posterior",
    "CustomActivation": "network.custom",
    "CustomLoss": "network.custom",
    "DivergenceError": "errors",
    "ModelFormatError": "errors",
    "EarlyStopping": "training.history",
    "History": "training.history",
    "Progress": "training.history",
    "load": "storage",
    "TableEncoder": "tables",
    "TableModel": "tables",
    "ConformalClassifier": "estimators.conformal",
    "ConformalRegressor": "estimators.conformal",
    "JoblibBackend": "estimators",
    "MLPBaggingClassifier": "estimators.bagging",
    "MLPBaggingRegressor": "estimators.bagging",
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "TabularClassifier": "tables.classifier",
    "TabularRegressor": "tables.regressor",
    "TabularSearchClassifier": "tables.searchers",
    "TabularSearchRegressor": "tables.searchers",
}
_MODULES = {
    "backends": "backends",
    "cnn": "cnn",
    "codes": "backends.codes",
    "datasets": "datasets",
    "experiments": "experiments",
    "export": "export",
    "plots": "plots",
    "storage": "storage",
    "tables": "tables",
    "tensorboard": "tensorboard",
}

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "ConformalClassifier",
    "ConformalRegressor",
    "CustomActivation",
    "CustomLoss",
    "DivergenceError",
    "EarlyStopping",
    "Ensemble",
    "Fit",
    "History",
    "JoblibBackend",
    "LevenbergMarquardt",
    "MLPBaggingClassifier",
    "MLPBaggingRegressor",
    "MLPClassifier",
    "MLPRegressor",
    "ModelFormatError",
    "Network",
    "Posterior",
    "Progress",
    "RMSprop",
    "TableEncoder",
    "TableModel",
    "TabularClassifier",
    "TabularRegressor",
    "TabularSearchClassifier",
    "TabularSearchRegressor",
    "Tape",
    "available_backends",
    "fit_many",
    "load",
]


def __getattr__(name: str) -> Any:
    if name == "available_backends":
        from fastnn.backends import available

        return available
    if name in _WHERE:
        return getattr(importlib.import_module(f"fastnn.{_WHERE[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"fastnn.{_MODULES[name]}")
    raise AttributeError(f"module 'fastnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_MODULES])
