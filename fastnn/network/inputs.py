"""What comes in: samples, targets and class labels as the kernels take them; standardisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastnn.network.spec import NetworkSpec
from fastnn.validation import as_matrix, check_finite


@dataclass
class Scales:
    """Shifts and factors of features and real targets; None before they are learned.

    Attributes
    ----------
    input_shift, input_scale : ndarray, shape (features,), or None
    target_shift, target_scale : ndarray, shape (outputs,), or None
        None too where targets are not scaled.
    """

    input_shift: np.ndarray | None = None
    input_scale: np.ndarray | None = None
    target_shift: np.ndarray | None = None
    target_scale: np.ndarray | None = None

    @classmethod
    def learned(cls, spec: NetworkSpec, x: np.ndarray, targets: np.ndarray) -> Scales:
        """Those that give features (and real targets) mean 0 and standard deviation 1."""
        of_targets = shift_and_scale(targets) if spec.scales_targets else (None, None)
        return cls(*shift_and_scale(x), *of_targets)

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """Samples standardised."""
        return x if self.input_shift is None else (x - self.input_shift) * self.input_scale

    def targets(self, targets: np.ndarray) -> np.ndarray:
        """Real targets standardised."""
        if self.target_shift is None:
            return targets
        return (targets - self.target_shift) * self.target_scale

    def outputs(self, z: np.ndarray) -> np.ndarray:
        """Predictions in the units of the targets."""
        return z if self.target_shift is None else z / self.target_scale + self.target_shift

    def arrays(self) -> dict[str, np.ndarray]:
        """Those that have been learned, by name."""
        return {name: array for name, array in vars(self).items() if array is not None}


def shift_and_scale(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and 1 / standard deviation of the columns (1 where a column is constant)."""
    mean = matrix.mean(axis=0, dtype=np.float64)
    deviation = matrix.std(axis=0, dtype=np.float64)
    # A constant column's computed deviation is rounding, not zero.
    constant = deviation <= 10 * np.finfo(matrix.dtype).eps * np.maximum(np.abs(mean), 1e-30)
    scale = 1.0 / np.where(constant, 1.0, deviation)
    return mean.astype(matrix.dtype), scale.astype(matrix.dtype)


class Targets(NamedTuple):
    """Targets as the kernels take them, and what they tell about the user's.

    Attributes
    ----------
    matrix : ndarray, shape (samples, 1 or outputs)
        Class indices, or a column per output.
    classes : ndarray or None
        Labels in the order of the outputs; None if the targets are no labels.
    is_1d : bool or None
        Whether real targets came as a vector; None for labels.
    """

    matrix: np.ndarray
    classes: np.ndarray | None
    is_1d: bool | None


def encode_targets(
    spec: NetworkSpec,
    y: Any,
    n_samples: int,
    classes: np.ndarray | None,
    name: str = "y",
    training: bool = False,
) -> Targets:
    """Check a user's targets and convert them.

    Parameters
    ----------
    spec : NetworkSpec
    y : array-like, shape (samples,) or (samples, outputs)
    n_samples : int
    classes : ndarray or None
        Labels that the network knows already.
    name : str
        For messages.
    training : bool
        Then there must be at least two classes.
    """
    array = np.asarray(y)
    if array.shape[:1] != (n_samples,):
        raise ValueError(f"{name} has shape {array.shape}; X has {n_samples} samples")
    if spec.has_target_columns:
        flat = array.ndim == 1
        return Targets(_columns(spec, array[:, None] if flat else array, name), classes, flat)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D labels; got shape {array.shape}")
    indices, classes = _class_indices(spec, array, classes, name, training)
    return Targets(indices, classes, None)


def _columns(spec: NetworkSpec, array: np.ndarray, name: str) -> np.ndarray:
    """Real numbers or 0/1 columns, in the loss's domain."""
    matrix = as_matrix(name, array, None, spec.dtype)
    if matrix.shape[1] != spec.n_outputs:
        raise ValueError(
            f"{name} has {matrix.shape[1]} columns; the network has {spec.n_outputs} outputs"
        )
    if spec.loss_name == "binary_cross_entropy" and not ((matrix >= 0) & (matrix <= 1)).all():
        raise ValueError(f"{name} must lie in [0, 1] for binary_cross_entropy")
    if spec.loss_name == "poisson" and (matrix < 0).any():
        raise ValueError(f"{name} must not be negative for poisson; got {matrix.min():g}")
    return matrix


def _class_indices(
    spec: NetworkSpec,
    labels: np.ndarray,
    classes: np.ndarray | None,
    name: str,
    training: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as class indices (samples, 1), and the labels' order."""
    if labels.dtype.kind == "f":
        check_finite(name, labels)
        if (labels != np.floor(labels)).any():
            raise ValueError(f"{name} must be class labels; got real numbers")
    try:
        present = np.unique(labels)
    except TypeError:
        raise ValueError(f"{name} must be labels of one type, all numbers or all strings") from None
    if classes is None:
        if training and len(present) < 2:
            raise ValueError(
                f"{name} has a single class, {present.tolist()[0]!r}; at least two are needed"
            )
        classes = _new_classes(present, spec.n_classes, name)
    positions = np.searchsorted(classes, labels).clip(0, len(classes) - 1)
    unknown = classes[positions] != labels
    if unknown.any():
        raise ValueError(f"{name} has a label unknown to the network: {labels[unknown][0]!r}")
    return positions.astype(spec.dtype)[:, None], classes


def _new_classes(present: np.ndarray, n_classes: int, name: str) -> np.ndarray:
    """The classes that labels stand for: themselves, or the numbers from 0 on."""
    if len(present) == n_classes:
        return present
    small_numbers = (
        len(present) < n_classes
        and present.dtype.kind in "iub"
        and present[0] >= 0
        and present[-1] < n_classes
    )
    if not small_numbers:
        raise ValueError(f"{name} has {len(present)} classes; the network tells {n_classes} apart")
    return np.arange(n_classes)
