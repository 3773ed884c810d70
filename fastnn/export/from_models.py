"""Conversion of trained models to a list of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.export.pipeline import describe_pipeline, is_pipeline
from fastnn.export.plain import DEFAULT_LOSSES, OUTPUTS, SCALES, Layer, PlainNetwork
from fastnn.network import Network

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor


def describe(model: Network | MLPClassifier | MLPRegressor | PlainNetwork) -> PlainNetwork:
    """Convert a trained model to a list of layers.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, Pipeline or PlainNetwork
        Estimators must be fitted. With the loss gaussian the outputs are mean and logarithm of the
        variance; several quantiles are outputs that are not sorted. A pipeline of scikit-learn may
        contain StandardScaler, MinMaxScaler, MaxAbsScaler and RobustScaler before its estimator,
        and a TransformedTargetRegressor one of these for the targets.

    Returns
    -------
    PlainNetwork
        Its weights and biases are copies.

    Raises
    ------
    TypeError
        If the model has another type.
    ValueError
        If a parameter is not finite, or if a step of a pipeline is not linear.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> from fastnn.export import describe
    >>> len(describe(net).layers)
    2
    """
    if isinstance(model, PlainNetwork):
        return model
    if not isinstance(model, Network) and is_pipeline(model):
        return describe_pipeline(model, describe)
    net, classes = _network_and_classes(model)
    for name, array in net.arrays().items():
        if not np.isfinite(array).all():
            raise ValueError(f"not exported, {name} is not finite")
    layers = []
    names = [*net.activations, "identity"]
    for activation in names:
        if not isinstance(activation, str):
            raise ValueError(f"not exported, only built-in activations can be; got {activation!r}")
    for k, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        dropout = net.dropout[k] if k < len(net.dropout) else 0.0
        layers.append(Layer(w.copy(), b.copy(), names[k], net.spec.alphas[k], dropout))
    # Custom losses, which are code, and losses with several outputs per target are exported as
    # squared_error, whose outputs are the net inputs.
    named = net.loss_name in OUTPUTS and net.spec.outputs_per_target == 1
    return PlainNetwork(
        tuple(layers),
        net.loss_name if named else DEFAULT_LOSSES["identity"],
        classes,
        targets_1d=net.targets_1d,
        smooth_clip=net.smooth_clip if net.scales.input_shift is not None else None,
        **{name: net.arrays().get(name) for name in SCALES},
    )


def _network_and_classes(
    model: Network | MLPClassifier | MLPRegressor,
) -> tuple[Network, np.ndarray | None]:
    """The network of a model, and the labels in the order of its probabilities."""
    if isinstance(model, Network):
        return model, model.classes_
    from fastnn.estimators import MLPClassifier, MLPRegressor

    if type(model).__name__ == "Ensemble":
        raise TypeError(
            "an ensemble is several networks, which ONNX and C average; other exports have "
            "one: give one of its networks"
        )
    if hasattr(model, "encoding") or hasattr(model, "encoding_"):
        own = "_" if hasattr(model, "encoding_") else ""
        raise TypeError(
            "this export takes numbers, not tables; ONNX and C take tables. Export "
            f"model.network{own}, and give the result model.encoding{own}.transform(table)"
        )
    if not isinstance(model, MLPClassifier | MLPRegressor):
        raise TypeError(
            "model must be a Network, MLPClassifier or MLPRegressor, or a pipeline that ends "
            "in one of these; "
            f"got {type(model).__name__}"
        )
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    net, classes = model._network(), None
    if isinstance(model, MLPClassifier) and not (
        net.loss_name == "binary_cross_entropy" and net.n_outputs > 1
    ):
        classes = model.classes_
        if len(classes) == 1:  # fitted to a single class
            classes = np.repeat(classes, 2)
    return net, classes
