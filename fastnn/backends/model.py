"""A network as the kernels take it: its backend, plans and parameters."""

from __future__ import annotations

import threading
from functools import partial
from types import ModuleType

import numpy as np

from fastnn.backends import codes
from fastnn.backends.numpy import input_curvature
from fastnn.backends.plan import Plan, aligned_empty, make_plan
from fastnn.backends.tuning import tuning

_MOST_PLANS = 8  # kept for batch sizes, since a call of a few steps would notice their making


class Model:
    """Parameters, with what the kernels need to compute with them.

    Parameters
    ----------
    kernels : module
        A backend.
    layer_sizes : sequence of int
    activations : list of int
        Codes of the dense layers; see :func:`fastnn.backends.plan.make_plan`, also for the rest.
    constants : list
    dropout : sequence of float
    loss : int
        Code of the loss.
    dtype : numpy dtype

    Attributes
    ----------
    plan : Plan
        Without dropout, for predictions and full-batch gradients.
    params : ndarray, shape (n_params,)
    weights, biases : list of ndarray
        Views of ``params``.
    is_threaded : bool
        Whether several threads can share the work.
    uses_blas : bool
        Whether a layer's products may go through BLAS.
    """

    def __init__(
        self,
        kernels: ModuleType,
        layer_sizes: tuple[int, ...],
        activations: list[int],
        constants: list,
        dropout: tuple[float, ...],
        loss: int,
        dtype: np.dtype,
    ) -> None:
        self.kernels, self.loss, self.dtype, self.dropout = kernels, loss, dtype, list(dropout)
        self._layers = layer_sizes, activations, constants
        self._make_plan = partial(
            make_plan,
            list(layer_sizes),
            activations,
            constants,
            n_targets=1 if loss == codes.CROSS_ENTROPY else layer_sizes[-1],
            itemsize=dtype.itemsize,
            kernels=kernels,
        )
        self.plan = self._make_plan([])
        self.net = self.plan.net(loss)
        # NumPy's BLAS has threads of its own.
        self.is_threaded = kernels.NAME != "numpy"
        self.uses_blas = bool(self.plan.layers[:, codes.BLAS].any())
        self.params = aligned_empty((self.plan.n_params,), dtype)
        self.weights, self.biases = self.unflatten(self.params)
        self._batch_plans: dict[tuple[int, bool], Plan] = {}
        self._scratch = threading.local()

    def batch_plan(self, batch_size: int, sparse: bool = False) -> Plan:
        """The plan for training with batches of some size."""
        key = batch_size, sparse
        plan = self._batch_plans.get(key)
        if plan is None or plan.tuning is not tuning():
            if len(self._batch_plans) >= _MOST_PLANS:
                self._batch_plans.clear()
            plan = self._make_plan(self.dropout, batch_size=batch_size, sparse=sparse)
            self._batch_plans[key] = plan
        return plan

    def without_first_layer(self) -> Model:
        """The layers behind the first, for predictions; the parameters are shared."""
        sizes, activations, constants = self._layers
        layers = sizes[1:], activations[1:], constants[1:]
        rest = Model(self.kernels, *layers, (), self.loss, self.dtype)
        rest.params = self.params[-rest.plan.n_params :]
        rest.weights, rest.biases = self.weights[1:], self.biases[1:]
        return rest

    def unflatten(self, vector: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Views of a flat vector as weights and biases of the layers."""
        weights, biases = [], []
        for row in self.plan.dense_rows():
            start, middle = row[codes.WEIGHTS], row[codes.BIASES]
            weights.append(vector[start:middle].reshape(row[codes.FAN_IN], row[codes.FAN_OUT]))
            biases.append(vector[middle : middle + row[codes.FAN_OUT]])
        return weights, biases

    def workspace(self) -> np.ndarray:
        """Scratch memory of ``plan``, one for each Python thread."""
        if not hasattr(self._scratch, "work"):
            self._scratch.work = self.plan.workspace(self.dtype)
        return self._scratch.work

    def forward(self, x: np.ndarray, transform: bool, out: np.ndarray) -> bool:
        """Predictions or net inputs of samples into ``out``; whether ``x`` is finite."""
        try:
            work = self._scratch.work
        except AttributeError:
            work = self.workspace()
        return self.kernels.forward(self.net, x, transform, self.params, work, out)

    def input_gradients(self, x: np.ndarray, vectors: np.ndarray, out: np.ndarray) -> None:
        """Vectors ``(samples or 1, n, outputs)`` times the Jacobian of samples, into ``out``."""
        work = self.workspace()
        self.kernels.input_gradients(self.net, x, vectors, self.params, work, out)

    def output_tangents(self, x: np.ndarray, vectors: np.ndarray, out: np.ndarray) -> None:
        """The Jacobian of samples times vectors ``(samples or 1, n, features)``, into ``out``."""
        work = self.workspace()
        self.kernels.output_tangents(self.net, x, vectors, self.params, work, out)

    def input_curvature(
        self,
        x: np.ndarray,
        direction: np.ndarray,
        vector: np.ndarray,
        tangent: np.ndarray,
        out: np.ndarray,
    ) -> None:
        """Change of a vector times the Jacobian along a direction, into ``out``; by NumPy."""
        work = self.workspace()
        input_curvature(self.net, x, direction, vector, tangent, self.params, work, out)

    def loss_and_grad(
        self,
        x: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        l2: float,
        grads: np.ndarray,
    ) -> float:
        """Mean loss with L2 of ``(features, samples)``; its gradient goes into ``grads[0]``."""
        net = self.plan.net(self.loss, l2)
        return self.kernels.loss_and_grad(
            net, x, targets, weights, 0, 0, self.params, self.workspace(), grads
        )

    def mean_loss(self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
        """Weighted mean of the loss over net inputs ``(outputs, samples)``, which are overwritten.

        Parameters
        ----------
        logits : ndarray, shape (outputs, samples)
        targets : ndarray, shape (samples, 1 or outputs)
        weights : ndarray, shape (samples,) or (0,)
        """
        total = float(weights.sum(dtype=np.float64)) if len(weights) else float(len(targets))
        summed = self.kernels.output_loss(
            logits,
            np.ascontiguousarray(targets.T),
            weights,
            self.loss,
            self.plan.constants[-1],
            1.0 / total,
            logits,
        )
        return float(summed) / total

    def transform(self, outputs: np.ndarray) -> None:
        """Net inputs ``(outputs, samples)`` become predictions."""
        self.kernels.output_transform(self.loss, outputs)

    def penalty(self, l2: float) -> float:
        """``l2 / 2`` times the sum of the squared weights."""
        return 0.5 * l2 * sum(float(np.vdot(w, w)) for w in self.weights) if l2 else 0.0
