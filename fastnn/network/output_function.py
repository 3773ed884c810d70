"""The function between the net inputs of the last layer and the outputs, and its derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.validation import one_of

if TYPE_CHECKING:
    from fastnn.backends.model import Model
    from fastnn.network.scales import Scales
    from fastnn.network.spec import NetworkSpec

OUTPUT_KINDS = ("logits", "proba", "predict")
_KINDS = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "poisson": "exp"}


class OutputFunction:
    """The function after the net inputs z of the last layer: an activation, then target units.

    In the methods, ``p`` denotes the activations of z before the conversion to the units of the
    targets, ``(samples, outputs)``.

    Parameters
    ----------
    spec : NetworkSpec
    scales : Scales
    of : {"logits", "proba", "predict"} or None
        Meaning of the outputs; None for "predict".

    Attributes
    ----------
    kind : str
        "softmax", "sigmoid", "exp" or "identity".
    pair : bool
        Whether a single sigmoid gives the probabilities of two classes.
    n : int
        Number of outputs.
    target_scale : ndarray or None
    """

    def __init__(self, spec: NetworkSpec, scales: Scales, of: str | None) -> None:
        if of is None:
            of = "predict"
        if of != "logits":
            one_of("of", of, OUTPUT_KINDS)
            if (of == "predict") != spec.is_regression:
                allowed = "predict" if spec.is_regression else "proba"
                raise ValueError(
                    f"of must be logits or {allowed} for the loss {spec.loss_name}; got {of!r}"
                )
        self.kind = "identity" if of == "logits" else _KINDS.get(spec.loss_name, "identity")
        self.pair = self.kind == "sigmoid" and spec.n_outputs == 1
        self.n = 2 if self.pair else spec.n_outputs
        self.target_scale = scales.target_scale if of == "predict" else None

    def values(self, model: Model, scales: Scales, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``p`` and the outputs, from net inputs ``(samples, outputs)``."""
        p = z
        if self.kind != "identity":
            columns = np.ascontiguousarray(z.T)
            model.transform(columns)
            p = np.ascontiguousarray(columns.T)
        values = p if self.target_scale is None else scales.outputs(p)
        return p, np.hstack([1 - values, values]) if self.pair else values

    def jvp(self, p: np.ndarray, dz: np.ndarray) -> np.ndarray:
        """Tangents ``(samples, outputs, n)`` of the outputs from those of the net inputs."""
        p = p[..., None]
        if self.kind == "softmax":
            dz = p * (dz - (p * dz).sum(axis=1, keepdims=True))
        elif self.kind == "sigmoid":
            dz = p * (1 - p) * dz
        elif self.kind == "exp":
            dz = p * dz
        if self.target_scale is not None:
            dz = dz / self.target_scale[:, None]
        return np.concatenate([-dz, dz], axis=1) if self.pair else dz

    def vjp(self, p: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Convert derivatives by the outputs, ``(samples, outputs)``, to those by net inputs."""
        v = self._inner(v)
        if self.kind == "softmax":
            return p * (v - (p * v).sum(axis=1, keepdims=True))
        if self.kind == "sigmoid":
            return p * (1 - p) * v
        return p * v if self.kind == "exp" else v

    def vjp_tangent(self, p: np.ndarray, v: np.ndarray, dz: np.ndarray) -> np.ndarray:
        """Directional derivative of :meth:`vjp` as the net inputs change along ``dz``."""
        v = self._inner(v)
        if self.kind == "softmax":
            dp = p * (dz - (p * dz).sum(axis=1, keepdims=True))
            mean = (p * v).sum(axis=1, keepdims=True)
            return dp * (v - mean) - p * (dp * v).sum(axis=1, keepdims=True)
        if self.kind == "sigmoid":
            return p * (1 - p) * (1 - 2 * p) * dz * v
        return p * dz * v if self.kind == "exp" else np.zeros_like(v)

    def _inner(self, v: np.ndarray) -> np.ndarray:
        """Convert derivatives by the outputs to derivatives by ``p``."""
        if self.pair:
            v = v[:, 1:] - v[:, :1]
        return v if self.target_scale is None else v / self.target_scale
