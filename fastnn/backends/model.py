"""A network in the form the kernels take: backend, plans and parameters."""

from __future__ import annotations

import threading
from functools import partial
from types import ModuleType
from typing import NamedTuple

import numpy as np

from fastnn.backends import codes
from fastnn.backends.interface import Net, Rule
from fastnn.backends.numpy import input_curvature
from fastnn.backends.plan import Plan, aligned_empty, make_plan
from fastnn.backends.tuning import tuning
from fastnn.validation import BLAS_ELEMENTS

_MAX_KEPT_BYTES = 1 << 18  # training memory that is kept between calls
_MAX_CACHED_PLANS = 8  # plans cached by batch size, since making one would slow down short calls


class TapeMemory(NamedTuple):
    """Memory that a forward pass leaves for the backward pass.

    Attributes
    ----------
    key : tuple
        Number of samples, and whether there is dropout.
    net : Net
        The network with its plan.
    work : ndarray, shape (blocks, size)
    grads : ndarray, shape (groups, n_params)
    """

    key: tuple[int, bool]
    net: Net
    work: np.ndarray
    grads: np.ndarray


class Model:
    """A network in the form the kernels take.

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
        if hasattr(kernels, "for_dtype"):  # compiled for each dtype
            kernels = kernels.for_dtype(dtype)
        self.kernels, self.loss, self.dtype, self.dropout = kernels, loss, dtype, list(dropout)
        self._layers = layer_sizes, activations, constants
        per_target = codes.outputs_per_target(loss, constants[len(activations) - 1 :])
        n_targets = 1 if loss == codes.CROSS_ENTROPY else layer_sizes[-1] // per_target
        self._make_plan = partial(
            make_plan,
            list(layer_sizes),
            activations,
            constants,
            n_targets=n_targets,
            itemsize=dtype.itemsize,
            kernels=kernels,
        )
        self.plan = self._make_plan([])
        self.net = self.plan.net(loss)
        # The BLAS of NumPy uses threads itself.
        self.is_threaded = kernels.NAME != "numpy"
        self.uses_blas = bool(self.plan.layers[:, codes.WIDE].any())
        self.params = aligned_empty((self.plan.n_params,), dtype)
        self.weights, self.biases = self.unflatten(self.params)
        self._batch_plans: dict[tuple[int, bool], Plan] = {}
        self._scratch = threading.local()
        no_memory = np.empty((0, 0), dtype)
        self._training_memory: tuple[Plan | None, np.ndarray, np.ndarray]
        self._training_memory = None, no_memory, no_memory
        # Held by a call that trains the network; see fastnn.training.run.exclusive_training.
        self.training_lock = threading.Lock()
        self._tapes: dict[tuple[int, bool], list[TapeMemory]] = {}

    def batch_plan(self, batch_size: int, sparse: bool = False) -> Plan:
        """Return the plan for training with batches of this size."""
        key = batch_size, sparse
        plan = self._batch_plans.get(key)
        if plan is None or plan.tuning is not tuning():
            if len(self._batch_plans) >= _MAX_CACHED_PLANS:
                self._batch_plans.clear()
            plan = self._make_plan(self.dropout, batch_size=batch_size, sparse=sparse)
            self._batch_plans[key] = plan
        return plan

    def training_memory(
        self, plan: Plan, n_threads: int, sparse: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return memory for partial gradient sums and scratch memory for ``n_threads`` threads.

        That of the last small plan is kept, since allocating it takes longer than a training step.
        It may be used only while ``training_lock`` is held.
        """
        kept_plan, grads, work = self._training_memory
        if kept_plan is plan and len(work) == n_threads:
            return grads, work
        grads, work = (
            plan.gradient_groups(self.dtype),
            plan.workspace(self.dtype, n_threads, sparse),
        )
        if grads.nbytes + work.nbytes <= _MAX_KEPT_BYTES:
            self._training_memory = plan, grads, work
        return grads, work

    def without_first_layer(self) -> Model:
        """Return a model of all layers but the first, for predictions; it shares the parameters."""
        sizes, activations, constants = self._layers
        layers = sizes[1:], activations[1:], constants[1:]
        rest = Model(self.kernels, *layers, (), self.loss, self.dtype)
        rest.params = self.params[-rest.plan.n_params :]
        rest.weights, rest.biases = self.weights[1:], self.biases[1:]
        return rest

    def unflatten(self, vector: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return views of a flat vector as weights and biases of the layers."""
        weights, biases = [], []
        for row in self.plan.dense_rows():
            start, middle = row[codes.WEIGHTS], row[codes.BIASES]
            weights.append(vector[start:middle].reshape(row[codes.FAN_IN], row[codes.FAN_OUT]))
            biases.append(vector[middle : middle + row[codes.FAN_OUT]])
        return weights, biases

    def workspace(self) -> np.ndarray:
        """Return scratch memory for ``plan``; each Python thread has its own."""
        if not hasattr(self._scratch, "work"):
            self._scratch.work = self.plan.workspace(self.dtype)
        return self._scratch.work

    def forward(self, x: np.ndarray, transform: bool, out: np.ndarray) -> bool:
        """Compute predictions or net inputs of samples; return whether ``x`` is finite."""
        try:
            work = self._scratch.work
        except AttributeError:
            work = self.workspace()
        return self.kernels.forward(self.net, x, transform, self.params, work, out)

    def input_gradients(self, x: np.ndarray, vectors: np.ndarray, out: np.ndarray) -> None:
        """Compute vector-Jacobian products of vectors ``(samples or 1, n, outputs)``."""
        work = self.workspace()
        self.kernels.input_gradients(self.net, x, vectors, self.params, work, out)

    def output_tangents(self, x: np.ndarray, vectors: np.ndarray, out: np.ndarray) -> None:
        """Compute Jacobian-vector products of vectors ``(samples or 1, n, features)``."""
        work = self.workspace()
        self.kernels.output_tangents(self.net, x, vectors, self.params, work, out)

    def sample_gradients(self, x: np.ndarray, vectors: np.ndarray, out: np.ndarray) -> None:
        """Compute vector-Jacobian products with respect to the parameters.

        ``vectors`` are ``(samples or 1, n, outputs)``, ``out`` is ``(n_params, n, samples)``.
        """
        work = self.workspace()
        self.kernels.sample_gradients(self.net, x, vectors, self.params, work, out)

    def input_curvature(
        self,
        x: np.ndarray,
        direction: np.ndarray,
        vector: np.ndarray,
        tangent: np.ndarray,
        out: np.ndarray,
    ) -> None:
        """Differentiate a vector-Jacobian product along a direction, with the NumPy kernel."""
        work = self.workspace()
        input_curvature(self.net, x, direction, vector, tangent, self.params, work, out)

    def tape_forward(
        self, x: np.ndarray, training: bool, seed: int, step: int, out: np.ndarray
    ) -> tuple[TapeMemory, bool]:
        """Compute the net inputs of the last layer.

        Returns the memory for :meth:`tape_backward`, and whether ``x`` is finite.

        Parameters
        ----------
        x : ndarray, shape (samples, features)
        training : bool
            Whether there is dropout.
        seed, step : int
            The dropout masks' random streams.
        out : ndarray, shape (samples, outputs)
        """
        memory = self.acquire_tape(len(x), training)
        work, params = memory.work, self.params
        return memory, self.kernels.tape_forward(memory.net, x, seed, step, params, work, out)

    def tape_backward(
        self,
        x: np.ndarray,
        d_outputs: np.ndarray,
        seed: int,
        step: int,
        memory: TapeMemory,
        d_inputs: np.ndarray | None,
    ) -> np.ndarray:
        """Return the parameter gradient; write the one w.r.t. ``x`` to ``d_inputs``, if given."""
        _, net, work, grads = memory
        if single := len(grads) == 1:  # compute directly into an array for the caller
            grads = np.empty_like(grads)
        dx = x[:0] if d_inputs is None else d_inputs
        self.kernels.tape_backward(net, x, d_outputs, seed, step, self.params, work, grads, dx)
        return grads[0] if single else grads[0].copy()

    def acquire_tape(self, samples: int, training: bool) -> TapeMemory:
        """Return memory that was released, or new memory; for dropout if ``training``."""
        dropout = training and any(self.dropout)
        key = samples, dropout
        unused = self._tapes.get(key)
        if unused:
            return unused.pop()
        plan = self.batch_plan(samples) if dropout or not any(self.dropout) else self.plan
        size = int(plan.header[codes.WORK_SIZE]) + plan.first_layer[0] * plan.block_size
        work = aligned_empty((-(-samples // plan.block_size), size), self.dtype)
        groups = min(plan.groups, len(work)) if self.is_threaded else 1
        grads = aligned_empty((groups, plan.n_params), self.dtype)
        return TapeMemory(key, plan.net(self.loss), work, grads)

    def release_tape(self, memory: TapeMemory) -> None:
        """Keep the memory of a tape that is no longer referenced, to use it again."""
        tapes = self._tapes
        if memory.key not in tapes:
            if len(tapes) >= _MAX_CACHED_PLANS:
                tapes.clear()
            tapes[memory.key] = []
        tapes[memory.key].append(memory)

    def apply_gradient(
        self,
        gradient: np.ndarray,
        l2: float,
        rule: Rule,
        learning_rate: float,
        count: int,
        moments: np.ndarray,
    ) -> bool:
        """Update the parameters unless the gradient is not finite; return whether it is."""
        net = self.plan.net(self.loss, l2) if l2 else self.net
        return self.kernels.apply_gradient(
            net, gradient, rule, learning_rate, count, self.params, moments
        )

    def loss_and_grad(
        self,
        x: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        l2: float,
        grads: np.ndarray,
    ) -> float:
        """Return the objective of ``(features, samples)``; write its gradient to ``grads[0]``.

        Many samples are processed in pieces, as for predictions, so that Ctrl-C takes effect. The
        sum over the pieces is in float64.
        """
        net, limits, samples = self.plan.net(self.loss, l2), tuning(), x.shape[1]

        def compute(x: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
            return self.kernels.loss_and_grad(
                net, x, targets, weights, 0, 0, self.params, self.workspace(), grads
            )

        passes = 3  # one forward, two backward
        work = passes * samples * self.plan.n_params
        pieces = max(work // limits.piece_work, passes * samples // limits.piece_samples)
        blocks = samples // self.plan.block_size
        pieces = min(pieces, blocks)
        total = float(weights.sum(dtype=np.float64)) if len(weights) else float(samples)
        if pieces < 2 or total <= 0:
            return compute(x, targets, weights)
        loss, gradient = 0.0, np.zeros(self.plan.n_params)
        bounds = [k * blocks // pieces * self.plan.block_size for k in range(pieces)] + [samples]
        for piece in map(slice, bounds, bounds[1:]):
            part_weights = weights[piece]
            share = float(piece.stop - piece.start)
            if len(part_weights):
                share = float(part_weights.sum(dtype=np.float64))
            if share > 0:
                columns = np.ascontiguousarray(x[:, piece]), np.ascontiguousarray(targets[:, piece])
                loss += share / total * compute(*columns, part_weights)
                gradient += share / total * grads[0]
        grads[0] = gradient
        return loss

    def mean_loss(self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
        """Return the weighted mean loss of net inputs, which are overwritten.

        Parameters
        ----------
        logits : ndarray, shape (outputs, samples)
        targets : ndarray, shape (samples, targets)
        weights : ndarray, shape (samples,) or (0,)
        """
        total = float(weights.sum(dtype=np.float64)) if len(weights) else float(len(targets))
        summed = self.kernels.output_loss(
            logits,
            np.ascontiguousarray(targets.T),
            weights,
            self.loss,
            self.plan.constants[len(self.plan.layers) - 1 :],
            1.0 / total,
            logits,
        )
        return float(summed) / total

    def transform(self, outputs: np.ndarray) -> None:
        """Transform net inputs ``(outputs, samples)`` to predictions in place."""
        self.kernels.output_transform(self.loss, outputs)

    def penalty(self, l2: float) -> float:
        """Return ``l2 / 2`` times the sum of the squared weights."""
        return 0.5 * l2 * sum(map(_sum_of_squares, self.weights)) if l2 else 0.0


def _sum_of_squares(weights: np.ndarray) -> float:
    """Sum of squares in parts that BLAS computes without threads, which would delay a training."""
    flat = weights.reshape(-1)
    parts = (flat[i : i + BLAS_ELEMENTS] for i in range(0, flat.size, BLAS_ELEMENTS))
    return sum(float(np.vdot(part, part)) for part in parts)
