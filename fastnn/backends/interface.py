"""Named tuples that the kernels of every backend take as arguments.

The compiled backends convert them: Numba to named tuples with the same fields, in which pointers
replace the arrays, Cython to C structs. See :mod:`fastnn.backends` for the functions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Net(NamedTuple):
    """A network without its parameters.

    Attributes
    ----------
    header, layers, constants : ndarray
        As in :class:`fastnn.backends.plan.Plan`.
    loss : int
        A code of :mod:`fastnn.backends.codes`.
    l2 : float
        The objective includes ``l2 / 2`` times the sum of the squared weights.
    """

    header: np.ndarray
    layers: np.ndarray
    constants: np.ndarray
    loss: int
    l2: float = 0.0


class Data(NamedTuple):
    """Training data and how batches are formed from them.

    Attributes
    ----------
    x, targets : ndarray
        If ``sampling`` is CONSECUTIVE, ``(features, samples)`` and ``(targets, samples)``, made by
        :func:`fastnn.backends.plan.batch_matrices`: the batches follow one another in memory,
        each ``(features, batch)``. Otherwise ``(samples, features)`` and ``(samples, targets)``;
        the kernels gather the rows of each batch.
    indices : ndarray of int32, shape (stored,) or (0,)
    indptr : ndarray of int64, shape (samples + 1,) or (0,)
        If not empty, ``x`` is sparse (CSR) and has shape (1, stored): the stored values of sample
        s are ``x[0, indptr[s]:indptr[s + 1]]``, and ``indices`` has the column of each.
    sample_weight : ndarray, shape (samples,) or (0,)
        Empty if all weights are one.
    batch_size : int
        The last batch of an epoch has the remaining samples.
    sampling : int
        CONSECUTIVE, SHUFFLED or GIVEN_ORDER of :mod:`fastnn.backends.codes`.
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
    constants : ndarray of float64, shape (parts, RULE_CONSTANTS)
        Columns 0 to 2: hyperparameters of the rule (see ``update``). CLIP_NORM: largest norm of
        the gradient; CLIP_VALUE: largest absolute value of its entries; AVERAGE_DECAY: decay of
        the moving average of the parameters; each of these three is 0 if not used. RATE_FACTOR:
        factor of the learning rate. Either one row for all parameters, or for each row of the
        plan one for its weights and one for its biases, and a last row for ``front``. Only the
        factor and Adam's epsilon may differ between rows.
    decay : float
        Weight decay: each step first multiplies the weights by ``1 - rate * decay``.
    front : ndarray, shape (0, 0) or (features, units + 3)
        If not empty, each feature has a trainable factor s. Row i has the weights ``W[i]``
        (units), ``s[i]`` and the two moments of ``s[i]``; it is read and overwritten. The first
        layer's weights in ``params`` are the products ``s[i] W[i]``; its moments are those of W.
        Cannot be combined with clipping or with the moving average.
    """

    code: int
    constants: np.ndarray
    decay: float
    front: np.ndarray = np.empty((0, 0), np.float32)

    def part(self, index: int) -> Rule:
        """Return the rule for one part of the parameters, a row of ``constants``."""
        return (
            self if len(self.constants) == 1 else self._replace(constants=self.constants[[index]])
        )


class Chunk(NamedTuple):
    """Consecutive training steps that one call of ``train`` executes.

    Attributes
    ----------
    learning_rates : ndarray of float64, shape (steps,)
        One per step.
    first_step : int
        Steps since the network was created; determines epoch and batch.
    first_count : int
        Updates since the optimiser was created.
    seed : int
        Seed of shuffling and dropout.
    """

    learning_rates: np.ndarray
    first_step: int
    first_count: int
    seed: int


class Team(NamedTuple):
    """The calling thread and the team of threads that call ``train`` together.

    Attributes
    ----------
    thread, n_threads : int
        Number of the calling thread, from 0, and of threads in the team.
    sync : ndarray of int64, shape (SYNC_SIZE,)
        Shared by the threads; zero before the call. Setting ``sync[SYNC_ABORT]`` makes threads
        that still wait for the others to start return without a step. The NumPy kernels, which
        use one thread, return before the next step.
    """

    thread: int
    n_threads: int
    sync: np.ndarray


class Memory(NamedTuple):
    """Scratch memory of a training; its contents are undefined between calls.

    Attributes
    ----------
    grads : ndarray, shape (groups, n_params)
        Partial sums of the gradient.
    order : ndarray of int64, shape (samples,) or (0,)
        Order of the samples in an epoch. If they are shuffled, the kernels write it. If the caller
        passes the order, it has the rows of an epoch, which may be fewer than all rows.
    work : ndarray, shape (n_threads, size)
        One row per thread.
    """

    grads: np.ndarray
    order: np.ndarray
    work: np.ndarray
