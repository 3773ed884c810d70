"""Convert targets and class labels to the form the kernels take."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.network.scales import Scales  # noqa: F401 (pickles of older versions look here)
from fastnn.network.spec import NetworkSpec
from fastnn.validation import (
    as_array,
    as_matrix,
    check_finite,
    first_few,
    refuse_missing_labels,
)


class Targets(NamedTuple):
    """Targets in the form the kernels take, with the form in which the user gave them.

    Attributes
    ----------
    matrix : ndarray, shape (samples, targets)
        Class indices in one column, or a column per target. A target has one output, or several
        with the losses gaussian and quantile.
    classes : ndarray or None
        Labels in the order of the outputs; None if the targets are not labels.
    is_1d : bool or None
        Whether real targets were given as a vector; None for labels.
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
    """Validate targets and convert them.

    Parameters
    ----------
    spec : NetworkSpec
    y : array-like, shape (samples,) or (samples, outputs)
    n_samples : int
    classes : ndarray or None
        Labels already known to the network.
    name : str
        Name of the argument in error messages.
    training : bool
        Whether to require at least two classes, if ``classes`` is None.
    """
    array = as_array(name, y)
    if array.shape[:1] != (n_samples,):
        raise ValueError(f"{name} has shape {array.shape}; X has {n_samples} samples")
    if spec.has_target_columns:
        flat = array.ndim == 1
        return Targets(_check_columns(spec, array[:, None] if flat else array, name), classes, flat)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(_explain_label_shape(spec, array, name))
    if spec.loss_name == "binary_cross_entropy" and _are_probabilities(array):
        return Targets(*_encode_probabilities(spec, array, classes, name), None)
    indices, classes = _class_indices(spec, array, classes, name, training)
    return Targets(indices, classes, None)


def _explain_label_shape(spec: NetworkSpec, array: np.ndarray, name: str) -> str:
    """Error message for targets with several columns where one label per sample is expected."""
    what = f"{name} must be 1-D labels, one per sample; got shape {array.shape}"
    if array.ndim == 2 and array.shape[1] == spec.n_classes:
        return f"{what}. For one-hot rows give {name}.argmax(axis=1)"
    return what


def _are_probabilities(targets: np.ndarray) -> bool:
    """Whether targets are probabilities: real numbers in [0, 1], not all of them 0 or 1."""
    if targets.dtype.kind != "f":
        return False
    inside = (targets >= 0) & (targets <= 1)
    return bool(inside.all() and (targets != np.floor(targets)).any())


def _encode_probabilities(
    spec: NetworkSpec, targets: np.ndarray, classes: np.ndarray | None, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Convert probabilities of the second class to targets of one sigmoid; classes are 0 and 1."""
    numbers = np.arange(2)
    if classes is not None and not (
        classes.dtype.kind in "iufb" and np.array_equal(classes, numbers)
    ):
        raise ValueError(
            f"{name} has probabilities, which need the labels 0 and 1; the network has the labels "
            f"{classes.tolist()}"
        )
    return targets.astype(spec.dtype)[:, None], numbers if classes is None else classes


def _check_columns(spec: NetworkSpec, array: np.ndarray, name: str) -> np.ndarray:
    """Check real targets or multilabel columns: their number and the domain of the loss."""
    matrix = as_matrix(name, array, None, spec.target_dtype)
    if matrix.shape[1] != spec.n_targets:
        has = f"{spec.n_outputs} outputs"
        if spec.n_targets < spec.n_outputs:
            has += f", {spec.outputs_per_target} for each target"
        raise ValueError(f"{name} has {matrix.shape[1]} columns; the network has {has}")
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
    """Convert labels to class indices, (samples, 1); also return the labels in order."""
    if labels.dtype.kind not in "biufOUSMm":
        raise ValueError(f"{name} must be class labels; got dtype {labels.dtype}")
    if labels.dtype.kind == "f":
        check_finite(name, labels)
        if (labels != np.floor(labels)).any():
            or_probability = " or in [0, 1]" if spec.loss_name == "binary_cross_entropy" else ""
            raise ValueError(f"{name} must be class labels{or_probability}; got real numbers")
    if classes is None or labels.dtype.kind == "O":
        try:
            present = np.unique(labels)
        except TypeError:
            refuse_missing_labels(name, labels)
            raise ValueError(
                f"{name} must be labels of one type, all numbers or all strings"
            ) from None
    if classes is None:
        if training and len(present) < 2:
            raise ValueError(
                f"{name} has a single class, {present.tolist()[0]!r}; at least two are needed"
            )
        classes = _new_classes(present, spec.n_classes, name)
    try:
        if (labels.dtype.kind == "m") != (classes.dtype.kind == "m"):
            raise TypeError  # NumPy would compare timedelta64 with integers
        positions = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
        unknown = classes[positions] != labels
    except TypeError:
        raise ValueError(
            f"{name} has labels of another type ({labels.dtype}) than the network, which knows "
            f"{first_few(classes.tolist())}"
        ) from None
    if unknown.any():
        label = labels[unknown][:1].tolist()[0]
        raise ValueError(
            f"{name} has a label unknown to the network: {label!r}; "
            f"it knows {first_few(classes.tolist())}"
        )
    return positions.astype(spec.dtype)[:, None], classes


def _new_classes(present: np.ndarray, n_classes: int, name: str) -> np.ndarray:
    """Classes of the labels: the labels present, or 0 to ``n_classes - 1`` if some are absent."""
    if len(present) == n_classes:
        return present
    small_numbers = (
        len(present) < n_classes
        and present.dtype.kind in "iub"
        and present[0] >= 0
        and present[-1] < n_classes
    )
    if not small_numbers:
        raise ValueError(f"{name} has {len(present)} classes; the network has {n_classes}")
    return np.arange(n_classes)
