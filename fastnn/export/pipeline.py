"""Convert scikit-learn's pipelines that end in an estimator of this package to layers.

Linear scalers become the scales with which a network standardises, in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastnn.export.plain import PlainNetwork

FOLDED = "StandardScaler, MinMaxScaler, MaxAbsScaler and RobustScaler"


def is_pipeline(model: Any) -> bool:
    """Whether a model is a Pipeline, or a TransformedTargetRegressor."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline

    return isinstance(model, Pipeline | TransformedTargetRegressor)


def final_estimator(model: Any) -> Any:
    """The last step of a pipeline, or the model itself."""
    while is_pipeline(model):
        model = model.steps[-1][1] if hasattr(model, "steps") else _regressor(model)
    return model


def describe_pipeline(model: Any, describe: Callable[[Any], PlainNetwork]) -> PlainNetwork:
    """Implementation of :func:`fastnn.export.describe`, which converts the last step."""
    from sklearn.utils.validation import check_is_fitted

    if not hasattr(model, "steps"):
        return scaled_targets(model, describe(_regressor(model)))
    check_is_fitted(model)
    shift, factor = np.zeros(1), np.ones(1)
    for name, step in model.steps[:-1]:
        own_shift, own_factor = _linear(name, step)
        # ((x - shift) factor - own_shift) own_factor
        shift, factor = shift + own_shift / factor, factor * own_factor
    plain = describe(model.steps[-1][1])
    if plain.input_shift is not None and plain.input_scale is not None:  # nested pipelines
        shift, factor = shift + plain.input_shift / factor, factor * plain.input_scale
    if (factor == 1).all() and (shift == 0).all():
        return plain
    features = plain.sizes[0]
    shift, factor = (np.broadcast_to(n, features).copy() for n in (shift, factor))
    return replace(plain, input_shift=shift, input_scale=factor)


def _regressor(model: Any) -> Any:
    """The fitted regressor of a TransformedTargetRegressor."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    return model.regressor_


def scaled_targets(model: Any, plain: PlainNetwork) -> PlainNetwork:
    """Add the scaling of the targets to a regression."""
    if model.func is not None or model.inverse_func is not None:
        raise ValueError(
            "func and inverse_func of TransformedTargetRegressor cannot be exported; "
            f"of transformers {FOLDED} can"
        )
    shift, factor = _linear("transformer", model.transformer_)
    if plain.output != "identity" or plain.target_shift is not None:
        raise ValueError("targets that are scaled twice, or are exponentials, cannot be exported")
    outputs = plain.n_outputs
    shift, factor = (np.broadcast_to(n, outputs).copy() for n in (shift, factor))
    return replace(plain, target_shift=shift, target_scale=factor)


def _linear(name: str, step: Any) -> tuple[np.ndarray, np.ndarray]:
    """Shift and factor of a step that computes ``(x - shift) * factor``."""
    from sklearn import preprocessing

    nothing, one = np.zeros(1), np.ones(1)
    if step is None or step == "passthrough":
        return nothing, one
    if isinstance(step, preprocessing.FunctionTransformer) and step.func is None:
        return nothing, one
    if getattr(step, "clip", False):
        raise ValueError(f"step {name!r}: {type(step).__name__} with clip=True cannot be exported")
    kind = type(step)  # not isinstance: a subclass may compute something else
    if kind is preprocessing.StandardScaler:
        shift = step.mean_ if step.with_mean else nothing
        factor = 1 / step.scale_.astype(np.float64) if step.with_std else one
    elif kind is preprocessing.MinMaxScaler:
        factor = step.scale_.astype(np.float64)
        shift = -step.min_ / factor
    elif kind is preprocessing.MaxAbsScaler:
        shift, factor = nothing, 1 / step.scale_.astype(np.float64)
    elif kind is preprocessing.RobustScaler:
        shift = step.center_ if step.with_centering else nothing
        factor = 1 / step.scale_.astype(np.float64) if step.with_scaling else one
    elif kind.__name__ == "TableEncoder":
        raise ValueError(
            f"step {name!r}: this export takes numbers, not tables; ONNX and C take tables. Export "
            "the steps behind it, and give the result what the encoder's transform(table) gives"
        )
    else:
        raise ValueError(
            f"step {name!r} ({kind.__name__}) cannot be exported; of transformers {FOLDED} can. "
            "Whole pipelines become ONNX by skl2onnx, after fastnn.export.register_skl2onnx()"
        )
    return np.asarray(shift, np.float64), factor
