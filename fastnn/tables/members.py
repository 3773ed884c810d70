"""Training of the members of a tabular estimator: networks to be averaged, one per core."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import DivergenceError
from fastnn.memory import check_memory
from fastnn.network import Network
from fastnn.tables import realmlp, realmlp_training
from fastnn.tables.calibration import calibrate
from fastnn.tables.checkpoints import CheckpointOptions
from fastnn.tables.realmlp import Samples
from fastnn.tables.realmlp_training import Record
from fastnn.training.pool import Workers
from fastnn.training.team import is_interrupt
from fastnn.training.threads import default_threads

if TYPE_CHECKING:
    from fastnn.tables.base import BaseTabular


def train_members(
    estimator: BaseTabular,
    data: tuple,
    held_out: tuple | None,
    rng: np.random.RandomState,
    checkpointing: CheckpointOptions | None = None,
) -> list[tuple[Network, Record]]:
    """Train the members; several members are trained in parallel, with one thread each.

    Parameters
    ----------
    estimator : TabularClassifier or TabularRegressor
    data, held_out : tuple
        Encoded rows, targets and weights (None if all are equal).
    rng : RandomState
        Source of the seeds of the members.
    checkpointing : CheckpointOptions, optional
        The arguments of ``fit`` about checkpoints.

    Returns
    -------
    list of (Network, Record)
    """
    n_members: int = estimator.n_members
    n_parallel = min(estimator.n_threads or default_threads(), n_members)
    limit = estimator.time_limit
    if limit is not None:
        limit /= -(-n_members // n_parallel)
    check_memory(f"n_members={n_members:,}, a network each,", n_members * realmlp.MIN_BYTES)
    seeds = rng.randint(2**31 - 1, size=n_members)

    def train(k: int) -> tuple[Network, Record]:
        started = time.perf_counter()
        net = realmlp.new_network(
            data[0],
            data[1],
            estimator._n_classes(),
            **estimator._loss_of_network(),
            dtype=np.dtype(estimator.dtype).name,
            backend=estimator.backend,
            seed=int(seeds[k]),
            n_threads=estimator.n_threads if n_members == 1 else 1,
        )
        samples = _samples(net, *data)
        validation = None if held_out is None else _samples(net, *held_out)
        left = None if limit is None else limit - (time.perf_counter() - started)
        record = realmlp_training.train(
            net,
            samples,
            validation,
            estimator.n_epochs,
            by_error=estimator._by_error(),
            time_limit=left,
            after_epoch=getattr(estimator, "_after_epoch", None),
            checkpointing=None if checkpointing is None else checkpointing.of_member(k),
        )
        if estimator.calibrate and validation is not None:
            record = _calibrated(net, validation, record)
        net.n_threads = estimator.n_threads
        estimator._describe(net)
        return net, record

    return [train(0)] if n_members == 1 else _in_parallel(train, n_members, n_parallel)


def _calibrated(net: Network, held_out: Samples, record: Record) -> Record:
    """Calibrate; after Ctrl-C do it again from the start, since the training is complete."""
    before = net.params.copy()
    try:
        calibrate(net, held_out)
    except KeyboardInterrupt:
        net.params[:] = before
        calibrate(net, held_out)
        return dataclasses.replace(record, stopped="interrupted")
    return record


def _samples(net: Network, x: np.ndarray, targets: np.ndarray, weights: Any) -> Samples:
    """Scale encoded rows and their targets for a network."""
    scales, spec = net.scales, net.spec
    weights = np.empty(0, net.dtype) if weights is None else np.asarray(weights, net.dtype)
    targets = scales.targets(np.asarray(targets, np.float64), spec)
    return Samples(scales.inputs(x, spec), targets, weights)


def _in_parallel(
    train: Callable[[int], tuple[Network, Record]], n_members: int, n_threads: int
) -> list[tuple[Network, Record]]:
    """Train the members in parallel; return those that succeeded.

    After Ctrl-C, members that have not been started are left out.
    """
    with Workers(n_threads) as workers:
        futures = [workers.submit(train, k) for k in range(n_members)]
        try:
            while wait(futures, timeout=0.2).not_done:
                pass  # return to Python regularly, so that Ctrl-C is noticed
        except (KeyboardInterrupt, RuntimeError) as cause:
            workers.stop()
            if not is_interrupt(cause):
                raise
    done = [future for future in futures if not future.cancelled()]
    errors = [future.exception() for future in done]
    for error in errors:
        if error is not None and not isinstance(error, KeyboardInterrupt | DivergenceError):
            raise error
    results = [future.result() for future, error in zip(done, errors, strict=True) if not error]
    if not results:
        raise next((error for error in errors if error is not None), KeyboardInterrupt())
    return results
