"""Conversion of networks to scikit-learn's MLP and back."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.export.from_models import describe
from fastnn.export.pipeline import final_estimator
from fastnn.export.plain import PlainNetwork
from fastnn.network import Network

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor

_SKLEARN_NAMES = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}


def to_sklearn(model: Network | MLPClassifier | MLPRegressor | PlainNetwork) -> Any:
    """Convert a network to a fitted ``sklearn.neural_network`` MLP with the same predictions.

    The scales of a network that standardises are folded into its first and last layer, and two
    softmax outputs become one logistic output, as in scikit-learn.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, Pipeline or PlainNetwork
        The model to export. Parameters of an estimator are copied if scikit-learn has them.

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor

    Raises
    ------
    ValueError
        If scikit-learn does not have the activation, or if the activations of layers differ.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> mlp = fastnn.export.to_sklearn(net)
    >>> type(mlp).__name__
    'MLPClassifier'
    """
    from sklearn import neural_network
    from sklearn.preprocessing import LabelBinarizer

    plain = describe(model).folded()
    names = {layer.activation for layer in plain.layers[:-1]} or {"identity"}
    unknown = sorted(names - set(_SKLEARN_NAMES))
    if unknown:
        raise ValueError(
            f"scikit-learn's MLP has no {', '.join(unknown)}; "
            f"it has {', '.join(_SKLEARN_NAMES.values())}"
        )
    if len(names) > 1:
        raise ValueError(
            "scikit-learn's MLP has one activation for all hidden layers; "
            f"got {', '.join(sorted(names))}"
        )
    if plain.output == "softmax" and plain.n_outputs == 2:
        w, b = plain.layers[-1].weights, plain.layers[-1].biases
        last = replace(plain.layers[-1], weights=w[:, 1:] - w[:, :1], biases=b[1:] - b[:1])
        plain = replace(plain, layers=(*plain.layers[:-1], last), loss="binary_cross_entropy")

    kind = "MLPRegressor" if plain.is_regression else "MLPClassifier"
    mlp = getattr(neural_network, kind)()
    source = final_estimator(model)
    if not isinstance(source, Network | PlainNetwork):
        _copy_parameters(source, mlp)
    mlp.set_params(
        hidden_layer_sizes=tuple(plain.sizes[1:-1]), activation=_SKLEARN_NAMES[names.pop()]
    )
    mlp.coefs_ = [layer.weights.copy() for layer in plain.layers]
    mlp.intercepts_ = [layer.biases.copy() for layer in plain.layers]
    mlp.n_layers_, mlp.n_outputs_ = len(plain.sizes), plain.n_outputs
    mlp.n_features_in_ = plain.sizes[0]
    mlp.out_activation_ = "logistic" if plain.output == "sigmoid" else plain.output
    mlp.n_iter_, mlp.t_, mlp.loss_ = 0, 0, float("nan")
    for name in ("n_iter_", "t_", "loss_", "loss_curve_"):
        if hasattr(source, name):
            setattr(mlp, name, copy.copy(getattr(source, name)))
    if hasattr(model, "feature_names_in_"):
        mlp.feature_names_in_ = copy.copy(model.feature_names_in_)
    if kind == "MLPClassifier":
        labels = np.eye(plain.n_outputs, dtype=int) if plain.is_multilabel else plain.labels
        mlp._label_binarizer = LabelBinarizer().fit(labels)
        mlp.classes_ = mlp._label_binarizer.classes_
    return mlp


def _copy_parameters(source: Any, target: Any) -> None:
    """Copy the constructor arguments of an estimator to another, if they are valid there."""
    known = target.get_params(deep=False)
    for name, value in source.get_params(deep=False).items():
        if name in known:
            default = known[name]
            target.set_params(**{name: value})
            try:
                target._validate_params()
            except ValueError:  # e.g. a solver or activation that the target does not have
                target.set_params(**{name: default})


def from_sklearn(mlp: Any, backend: str = "auto") -> MLPClassifier | MLPRegressor:
    """Create an estimator with the parameters and predictions of scikit-learn's MLP.

    Parameters
    ----------
    mlp : sklearn.neural_network.MLPClassifier or MLPRegressor
        The fitted model.
    backend : {"auto", "cython", "numba", "numpy"}
        Backend of the estimator.

    Returns
    -------
    MLPClassifier or MLPRegressor
        ``partial_fit`` and ``warm_start`` continue from its weights, but with new moments of the
        optimizer.

    Raises
    ------
    TypeError
        If ``mlp`` has another type.
    ValueError
        If ``mlp`` is not fitted.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from fastnn.export import from_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> theirs = MLPClassifier(solver="lbfgs", max_iter=20000, random_state=0).fit(X, y)
    >>> ours = from_sklearn(theirs)
    >>> bool((ours.predict(X) == theirs.predict(X)).all())
    True
    """
    from sklearn import neural_network
    from sklearn.utils.validation import check_is_fitted

    from fastnn import estimators

    kinds = (neural_network.MLPClassifier, neural_network.MLPRegressor)
    if not isinstance(mlp, kinds):
        raise TypeError(
            f"mlp must be scikit-learn's MLPClassifier or MLPRegressor; got {type(mlp).__name__}"
        )
    check_is_fitted(mlp)
    ours = estimators.MLPClassifier if isinstance(mlp, kinds[0]) else estimators.MLPRegressor
    known = ours._get_param_names()
    parameters = {k: v for k, v in mlp.get_params(deep=False).items() if k in known}
    model = ours(**{**parameters, "backend": backend})
    model._validate_params()
    for name, value in vars(mlp).items():
        if name.endswith("_") or name in ("_label_binarizer", "_no_improvement_count"):
            setattr(model, name, copy.deepcopy(value))
    return model
