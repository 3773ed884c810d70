"""Convert the layers of another library's model, one after the other, to a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fastnn.backends import codes
from fastnn.export.plain import DEFAULT_LOSSES, OUTPUTS, Layer, PlainNetwork
from fastnn.network import Network


class Affine(NamedTuple):
    """The map ``x * factor + offset`` per feature, such as a normalisation layer in prediction.

    Attributes
    ----------
    where : str
        Description of the layer, for messages.
    factor, offset : ndarray of float64, shape (features,) or (1,)
    """

    where: str
    factor: np.ndarray
    offset: np.ndarray

    def compose(self, other: Affine) -> Affine:
        """Compose with another map, which is applied after this one."""
        offset = self.offset * other.factor + other.offset
        return Affine(other.where, self.factor * other.factor, offset)

    def broadcast(self, features: int) -> Affine:
        """Broadcast factor and offset to ``features`` elements."""
        for numbers in (self.factor, self.offset):
            if len(numbers) not in (1, features):
                raise ValueError(
                    f"{self.where}: has {len(numbers)} numbers; the dense layer has {features}"
                )
        factor, offset = (np.broadcast_to(n, features) for n in (self.factor, self.offset))
        return Affine(self.where, factor, offset)


class LayerCollector:
    """Collects layers in order; :meth:`network` creates a network from them.

    Parameters
    ----------
    loss : str or None
        None chooses the loss by the output: softmax, sigmoid, exp or none.
    """

    def __init__(self, loss: str | None) -> None:
        if loss is not None and loss not in OUTPUTS:
            raise ValueError(f"loss must be one of {', '.join(OUTPUTS)}; got {loss!r}")
        self.loss = loss
        self.layers: list[Layer] = []
        self.output: str | None = None
        self.scales: dict[str, np.ndarray] = {}
        self.smooth_clip: float | None = None
        self.pending = False  # whether the last dense layer has no activation yet
        # maps applied to the net inputs of the last dense layer, and to the inputs of the next
        self.after: Affine | None = None
        self.before: Affine | None = None

    def dense(self, where: str, weights: Any, biases: Any) -> None:
        """Add a dense layer, weights (fan_in, fan_out)."""
        self._close_affine(where)
        w = np.array(weights)
        if w.dtype not in (np.float32, np.float64):
            w = w.astype(np.float32)
        b = np.zeros(w.shape[1], w.dtype) if biases is None else np.array(biases, w.dtype)
        if self.before is not None:
            w, b = self._scaled_inputs(w, b)
        self.layers.append(Layer(w, b))
        self.pending = True

    def _scaled_inputs(self, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fold the map before a dense layer into its weights and biases."""
        assert self.before is not None
        _, factor, offset = self.before.broadcast(len(w))
        self.before = None
        first = not self.layers and not self.scales
        if first and (factor > 0).all():  # exactly representable by the network's own scales
            self.scales |= {"input_shift": -offset / factor, "input_scale": factor.copy()}
            return w, b
        wide = w.astype(np.float64)
        return (wide * factor[:, None]).astype(w.dtype), (b + offset @ wide).astype(b.dtype)

    def affine(self, where: str, factor: Any, offset: Any) -> None:
        """Add ``x * factor + offset``, with one value for all features or one for each."""
        self._check_not_finished(where)
        numbers = (np.atleast_1d(np.asarray(n, np.float64)).ravel() for n in (factor, offset))
        new_map = Affine(where, *numbers)
        name = "after" if self.pending else "before"
        previous = getattr(self, name)
        setattr(self, name, new_map if previous is None else previous.compose(new_map))

    def standardize(self, where: str, shift: Any, scale: Any, smooth_clip: float) -> None:
        """Add the standardisation and smooth clipping of features."""
        if self.layers or self.before is not None or self.scales:
            raise ValueError(f"{where}: features can be clipped before all else only")
        self.scales = {"input_shift": np.array(shift), "input_scale": np.array(scale)}
        self.smooth_clip = smooth_clip

    def activation(self, where: str, name: str, alpha: float = 0.0) -> None:
        """Add an activation: one of this package, "softmax", "exp" or "identity"."""
        if name == "identity":
            return
        self._close_affine(where)
        if not self.pending:
            raise ValueError(f"{where}: {name} does not follow a dense layer")
        self.pending = False
        if name in ("softmax", "exp"):
            self.output = name
            return
        self.layers[-1] = replace(self.layers[-1], activation=name, alpha=alpha)

    def dropout(self, where: str, rate: float) -> None:
        """Add dropout, which affects training only."""
        if not self.layers:
            raise ValueError(f"{where}: dropout of the inputs is not supported")
        self._close_affine(where)
        self.pending = False
        self.layers[-1] = replace(self.layers[-1], dropout=float(rate))

    def _close_affine(self, where: str) -> None:
        """Called before a layer that is not affine: fold pending maps into the last dense layer."""
        self._check_not_finished(where)
        self._fold_after()

    def _fold_after(self) -> None:
        if self.after is not None:
            last = self.layers[-1]
            _, factor, offset = self.after.broadcast(len(last.biases))
            w = (last.weights * factor).astype(last.weights.dtype)
            b = (last.biases * factor + offset).astype(last.biases.dtype)
            self.layers[-1], self.after = replace(last, weights=w, biases=b), None

    def _check_not_finished(self, where: str) -> None:
        if self.output is not None or "target_shift" in self.scales:
            raise ValueError(f"{where}: nothing can follow the output")

    def network(self, classes: Sequence | None, backend: str) -> Network:
        """Create the Network."""
        if not self.layers:
            raise ValueError("the model has no dense layer")
        if self.before is not None:
            raise ValueError(f"{self.before.where}: nothing can follow the outputs' activation")
        last, output = self.layers[-1], self.output or "identity"
        if last.activation == "sigmoid":
            output = "sigmoid"
        elif last.activation != "identity":
            raise ValueError(
                f"the outputs have the activation {last.activation}; "
                "a Network has softmax, sigmoid, exp or none there"
            )
        loss = self.loss or DEFAULT_LOSSES[output]
        if output not in ("identity", OUTPUTS[loss]):
            raise ValueError(f"the loss {loss} does not fit outputs of {output}")
        output = OUTPUTS[loss]
        self._scale_outputs(loss)
        last = self.layers[-1]
        if self.scales.get("target_shift") is not None and output != "identity":
            raise ValueError(f"outputs of {output} are not shifted or scaled")
        self.layers[-1] = replace(last, activation="identity", dropout=0.0)
        labels = None
        if classes is not None:
            n_classes = max(len(last.biases), 2)
            if loss in codes.REGRESSION or (output == "sigmoid" and len(last.biases) > 1):
                raise ValueError("classes are for softmax, or for one sigmoid")
            labels = np.asarray(classes)
            if labels.shape != (n_classes,) or (labels[:-1] >= labels[1:]).any():
                raise ValueError(f"classes must be {n_classes} labels in ascending order")
        dtype = np.result_type(*(layer.weights for layer in self.layers))
        scales: dict[str, Any] = dict(self.scales)
        plain = PlainNetwork(
            tuple(self.layers), loss, labels, smooth_clip=self.smooth_clip, **scales
        )
        return plain.astype(dtype).to_network(backend)

    def _scale_outputs(self, loss: str) -> None:
        """Convert a final map of a regression to the scales of the targets, or fold it."""
        if self.after is None:
            return
        _, factor, offset = self.after.broadcast(len(self.layers[-1].biases))
        if loss in codes.SCALED_TARGETS and (factor > 0).all():
            self.scales |= {"target_shift": offset.copy(), "target_scale": 1 / factor}
            self.after = None
        self._fold_after()
