"""What the kernels of every backend take: values that belong together, as named tuples.

The compiled backends read the same fields: Numba as named tuples of its own, whose arrays have
become pointers, Cython as C structs. See :mod:`fastnn.backends` for the functions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Net(NamedTuple):
    """A network without its parameters.

    Attributes
    ----------
    header, layers, constants : ndarray
        Those of a :class:`fastnn.backends.plan.Plan`.
    loss : int
        A code of :mod:`fastnn.backends.codes`.
    l2 : float
        The objective has ``l2 / 2`` times the sum of the squared weights.
    """

    header: np.ndarray
    layers: np.ndarray
    constants: np.ndarray
    loss: int
    l2: float = 0.0


class Data(NamedTuple):
    """Training data and how they become batches.

    Attributes
    ----------
    x, targets : ndarray
        If consecutive, ``(features, samples)`` and ``(targets, samples)``, made by
        :func:`fastnn.backends.plan.batch_matrices`: the batches one after the other, each
        ``(features, batch)``. Else ``(samples, features)`` and ``(samples, targets)``: the
        rows of a batch are gathered.
    indices : ndarray of int32, shape (stored,) or (0,)
    indptr : ndarray of int64, shape (samples + 1,) or (0,)
        With them ``x`` is sparse (CSR), of shape (1, stored): sample s has the numbers
        ``indptr[s]`` to ``indptr[s + 1]``, each in the column of ``indices``.
    sample_weight : ndarray, shape (samples,) or (0,)
        Empty for all ones.
    batch_size : int
        The last batch of an epoch takes what is left.
    sampling : int
        CONSECUTIVE, SHUFFLED or GIVEN_ORDER, of :mod:`fastnn.backends.codes`.
    """

    x: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    targets: np.ndarray
    sample_weight: np.ndarray
    batch_size: int
    sampling: int


class Rule(NamedTuple):
    """An update rule.

    Attributes
    ----------
    code : int
        A code of :mod:`fastnn.backends.codes`.
    constants : ndarray of float64, shape (parts, 7)
        The rule's three (see ``update``); then the largest norm of a gradient, the largest entry
        of a gradient, and the decay of the average of the parameters, each 0 for none; then a
        factor of the learning rate. One row for all parameters, or one for each part of them:
        the weights of each row of the plan and its biases; then one for ``front``. Of parts,
        only the factor and Adam's epsilon may differ.
    decay : float
        Weight decay: each step first shrinks the weights by the factor ``1 - rate decay``.
    front : ndarray, shape (0, 0) or (features, units + 3)
        With rows, each feature has a trained factor s, and the first layer's weights among the
        parameters are s W: a row is W (units), s, and the moments of s. Read and overwritten; the
        first layer's moments are those of W. Neither with clipping nor with an average.
    """

    code: int
    constants: np.ndarray
    decay: float
    front: np.ndarray = np.empty((0, 0), np.float32)

    def part(self, index: int) -> Rule:
        """The rule of one part of the parameters."""
        return (
            self if len(self.constants) == 1 else self._replace(constants=self.constants[[index]])
        )


class Chunk(NamedTuple):
    """Consecutive training steps that one call of ``train`` does.

    Attributes
    ----------
    learning_rates : ndarray of float64, shape (steps,)
        One per step.
    first_step : int
        Steps since the network was made, which gives epoch and batch.
    first_count : int
        Updates since the optimiser was made.
    seed : int
        Of shuffling and dropout.
    """

    learning_rates: np.ndarray
    first_step: int
    first_count: int
    seed: int


class Team(NamedTuple):
    """The threads that call ``train`` together, each with its own number.

    Attributes
    ----------
    thread, n_threads : int
    sync : ndarray of int64, shape (SYNC_SIZE,)
        Shared by the threads; zero before the call. Whoever sets ``sync[SYNC_ABORT]`` has those
        that wait at the start leave, with no step done.
    """

    thread: int
    n_threads: int
    sync: np.ndarray


class Memory(NamedTuple):
    """Scratch memory of a training; its contents mean nothing between calls.

    Attributes
    ----------
    grads : ndarray, shape (groups, n_params)
        Partial sums of the gradient.
    order : ndarray of int64, shape (samples,) or (0,)
        Order of the samples. Where they are shuffled the kernels write it; where it is given it
        has the rows of an epoch, perhaps not all of them.
    work : ndarray, shape (n_threads, size)
    """

    grads: np.ndarray
    order: np.ndarray
    work: np.ndarray
