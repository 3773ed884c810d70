"""Warn if training achieved nothing and the scale of the data is the likely cause."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastnn.network.custom import CustomLoss
from fastnn.network.prediction import Predictor, point_prediction
from fastnn.network.spec import NetworkSpec

MIN_STEPS = 50  # after fewer steps, there is no warning
# Root mean squares of a column beyond these are far from those of standardised data, for which
# initial weights and learning rates are made: units saturate, or gradients are small or explode.
MIN_RMS, MAX_RMS = 0.02, 20.0
MIN_GAIN = 0.01  # fraction of the loss of a constant; a smaller gain counts as none
_CHECKED_ELEMENTS = 1 << 15  # size of the sample that is checked


def warn_unscaled(
    predictor: Predictor,
    x: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    names: Any,
    advice: tuple[str, str],
    stacklevel: int,
) -> None:
    """Warn if predictions are no better than a constant, and data are far from standardised.

    Parameters
    ----------
    predictor : Predictor
    x : ndarray, shape (samples, features)
        What was trained with, not standardised.
    targets : ndarray, shape (samples, 1 or targets)
    weights : ndarray, shape (samples,) or (0,)
    names : sequence of str, or None
        Of the features.
    advice : tuple of str
        What to do about features, and about real targets.
    stacklevel : int
        That of the user's call.
    """
    spec = predictor.spec
    count = min(len(x), max(20, min(512, _CHECKED_ELEMENTS // x.shape[1])))
    rows = np.linspace(0, len(x) - 1, count).astype(np.intp)
    samples, sample_targets = x[rows], targets[rows].astype(np.float64)
    finding, remedy = _find_far_column(samples, "X", names), advice[0]
    if finding is None and spec.is_regression:
        finding, remedy = _find_far_column(sample_targets, "y", None), advice[1]
    if finding is None or isinstance(spec.loss, CustomLoss):
        return
    sample_weights = weights[rows].astype(np.float64) if len(weights) else np.ones(count)
    if sample_weights.sum() > 0 and _is_no_better_than_constant(
        predictor, samples, sample_targets, sample_weights
    ):
        warnings.warn(
            f"predictions for the training samples are no better than a constant, and {finding}; "
            f"networks need numbers near 0 with a deviation about 1: {remedy}",
            stacklevel=stacklevel,
        )


def _find_far_column(matrix: np.ndarray, name: str, names: Any) -> str | None:
    """The column that is furthest from standardised ones, and its range."""
    with np.errstate(over="ignore", under="ignore"):
        rms = np.sqrt(np.mean(np.square(matrix, dtype=np.float64), axis=0))
    varies = np.ptp(matrix, axis=0) > 0
    if rms.max() > MAX_RMS:
        column = int(rms.argmax())
    elif varies.any() and rms[varies].max() < MIN_RMS:
        column = int(np.where(varies, rms, 0.0).argmax())
    else:
        return None
    if name == "y" and matrix.shape[1] == 1:
        which = "y"
    else:
        which = f"column {column if names is None else repr(names[column])} of {name}"
    values = matrix[:, column]
    return f"{which} lies in [{values.min():.10g}, {values.max():.10g}]"


def _is_no_better_than_constant(
    predictor: Predictor, x: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> bool:
    """Whether a constant does as well for these samples, in weighted squares or log loss."""
    spec: NetworkSpec = predictor.spec
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        outputs = predictor(np.ascontiguousarray(x), True, 1).astype(np.float64)
        weights = weights / weights.sum()
        varies = np.ptp(targets[weights > 0], axis=0) > 0
        if spec.is_regression:
            outputs = point_prediction(outputs, spec)
            spread = weights @ np.square(targets - weights @ targets)
            if spec.loss == "quantile":  # far from the mean as it should be: does it vary at all?
                gain = weights @ np.square(outputs - weights @ outputs) / spread
            else:
                gain = 1 - weights @ np.square(targets - outputs) / spread
            return bool(np.all(varies & ~(gain >= MIN_GAIN)))
        if not varies.any():  # its log loss would be zero but for rounding
            return False
        if spec.loss == "cross_entropy":
            targets = np.eye(spec.n_outputs)[targets[:, 0].astype(np.intp)]
        else:  # each output and what is left to 1
            outputs, targets = (
                np.stack([p, 1 - p], axis=-1).reshape(len(p), -1) for p in (outputs, targets)
            )
        loss, constant = _log_loss(outputs, targets, weights), (weights @ targets)[None]
        return loss >= (1 - MIN_GAIN) * _log_loss(constant, targets, weights)


def _log_loss(p: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    return float(-(weights @ (targets * np.log(np.maximum(p, 1e-300))).sum(axis=1)))
