"""Contents of the model file of an estimator, other than its network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from fastnn.estimators.solvers import SolverState

if TYPE_CHECKING:
    from fastnn.estimators.base import BaseMLP
    from fastnn.network import Network

# Attributes, without the trailing underscore, with one entry per epoch.
_CURVES = ("loss_curve", "validation_scores", "validation_loss_curve")


def fields_of(estimator: BaseMLP) -> dict[str, Any]:
    """Parameters and fitted attributes of an estimator as plain data."""
    check_is_fitted(estimator)
    parameters = {
        name: _plain(value)
        for name, value in estimator.get_params(deep=False).items()
        if name != "backend"
    }
    if not isinstance(parameters["random_state"], int):
        parameters["random_state"] = None
    if parameters["n_iter_no_change"] == np.inf:
        parameters["n_iter_no_change"] = None
    if callable(parameters["scoring"]):
        parameters["scoring"] = None
    if isinstance(parameters.get("class_weight"), dict):
        items = parameters["class_weight"].items()
        parameters["class_weight"] = [[_plain(key), _plain(value)] for key, value in items]
    names = getattr(estimator, "feature_names_in_", None)
    fitted = {
        "n_iter": int(estimator.n_iter_),
        "t": int(estimator.t_),
        "loss": _number(estimator.loss_),
        "best_loss": _number(getattr(estimator, "best_loss_", None)),
        "best_validation_score": _number(getattr(estimator, "best_validation_score_", None)),
        "no_improvement_count": int(getattr(estimator, "_no_improvement_count", 0)),
        "feature_names": None if names is None else names.tolist(),
        "target_type": None,
        "labels": None,
    }
    for name in _CURVES:
        curve = getattr(estimator, f"{name}_", None)
        fitted[name] = None if curve is None else [_number(value) for value in curve]
    if hasattr(estimator, "classes_"):
        fitted["target_type"] = estimator._label_binarizer.y_type_
        fitted["labels"] = {
            "dtype": estimator.classes_.dtype.str,
            "values": estimator.classes_.tolist(),
        }
    return {"parameters": parameters, "fitted": fitted}


def from_fields(
    cls: type[BaseMLP], fields: dict[str, Any], network: Network, backend: str
) -> BaseMLP:
    """Create an estimator from the result of :func:`fields_of`.

    Raises
    ------
    ValueError
        If the parameters are not those of the class, or do not match the network.
    """
    parameters, fitted = dict(fields["parameters"]), fields["fitted"]
    unknown = set(parameters) - (set(cls._get_param_names()) - {"backend"})
    # parameters added in later versions get their defaults
    missing = set(cls._get_param_names()) - {"backend", *cls._NEWER_PARAMETERS} - set(parameters)
    if unknown | missing:
        name_in_errors = ", ".join(sorted(unknown | missing))
        raise ValueError(f"parameters unknown or missing: {name_in_errors}")
    for name in ("hidden_layer_sizes", "activation", "dropout", "quantile"):
        if isinstance(parameters.get(name), list):
            parameters[name] = tuple(parameters[name])
    if parameters["n_iter_no_change"] is None:
        parameters["n_iter_no_change"] = np.inf
    if isinstance(parameters.get("class_weight"), list):
        parameters["class_weight"] = dict(parameters["class_weight"])
    self = cls(backend=backend, **parameters)
    self._validate_params()
    if fitted["labels"] is not None:
        self.classes_ = np.array(fitted["labels"]["values"], fitted["labels"]["dtype"])
        multilabel = fitted["target_type"] == "multilabel-indicator"
        self._label_binarizer = LabelBinarizer().fit(
            np.eye(len(self.classes_), dtype=int) if multilabel else self.classes_
        )
    self.out_activation_ = self._output_activation()
    self.coefs_, self.intercepts_ = network.weights, network.biases
    self.n_layers_, self.n_outputs_ = len(network.layer_sizes), network.n_outputs
    self.n_features_in_ = network.n_features
    if fitted["feature_names"] is not None:
        self.feature_names_in_ = np.array(fitted["feature_names"], object)
    self.n_iter_, self.t_ = fitted["n_iter"], fitted["t"]
    self.loss_ = float("nan") if fitted["loss"] is None else fitted["loss"]
    if fitted["loss_curve"] is not None:
        for name in _CURVES:
            values = fitted[name]
            if values is not None:
                values = [float("nan") if value is None else value for value in values]
            setattr(self, f"{name}_", values)
        self.best_loss_ = fitted["best_loss"]
        self.best_validation_score_ = fitted["best_validation_score"]
        self._no_improvement_count = fitted["no_improvement_count"]
    hidden = list(network.layer_sizes[1:-1])
    if np.atleast_1d(np.asarray(self.hidden_layer_sizes)).tolist() != hidden:
        raise ValueError(f"hidden_layer_sizes are not those of the network, {hidden}")
    made, kept = self._network().get_config(), network.get_config()
    for name in ("activation", "alpha", "dropout", "loss", *self._loss_settings()):
        if made[name] != kept[name]:
            raise ValueError(f"{name} is not that of the network, {kept[name]}")
    return self


def resume(estimator: BaseMLP, fields: dict[str, Any], moments: np.ndarray) -> None:
    """Restore the state of a training from a model file."""
    rate = fields["learning_rate"]
    state = SolverState(learning_rate=estimator.learning_rate_init if rate is None else rate)
    state.resume(fields, moments, estimator._network().params)
    estimator._optimizer = state


def _plain(value: Any) -> Any:
    """Convert a parameter to JSON types."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, type):
        return np.dtype(value).name
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    return value


def _number(value: float | None) -> float | None:
    """Convert a number for JSON: None if it is not finite."""
    return float(value) if value is not None and np.isfinite(value) else None
