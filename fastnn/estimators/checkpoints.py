"""Checkpoints of the estimators: the complete state of ``fit`` at the end of an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse

from fastnn.estimators.parameters import STOCHASTIC_SOLVERS
from fastnn.estimators.solvers import Data
from fastnn.training.checkpoints import (
    CheckpointEvery,
    Checkpoints,
    RunFingerprint,
    digest,
    plain,
)
from fastnn.training.history import BestEpoch

if TYPE_CHECKING:
    from fastnn.estimators.base import BaseMLP
    from fastnn.storage.checkpoints import Checkpoint

# Parameters that may differ when a training is resumed.
_MAY_DIFFER = ("max_iter", "verbose", "warm_start", "random_state", "backend")


class CheckpointOptions(NamedTuple):
    """The arguments of ``fit`` about checkpoints.

    Attributes
    ----------
    checkpoint : path or None
    every : int, timedelta or None
    kept : Checkpoint or None
        The checkpoint from which to resume.
    """

    checkpoint: Any
    every: CheckpointEvery
    kept: Checkpoint | None

    @classmethod
    def of(
        cls, estimator: BaseMLP, checkpoint: Any, every: CheckpointEvery, resume: Any
    ) -> CheckpointOptions | None:
        """Validate the arguments; return None if no checkpoints are requested."""
        if checkpoint is None and not resume:
            if every is not None:
                raise ValueError("checkpoint_every needs checkpoint, the file to write")
            return None
        if estimator.solver not in (*STOCHASTIC_SOLVERS, "lm"):
            raise ValueError(
                f"checkpoints need a stochastic solver or 'lm'; solver is {estimator.solver!r}"
            )
        from fastnn.storage.checkpoints import to_resume

        kind = type(estimator).__name__
        return cls(checkpoint, every, to_resume(checkpoint, resume, estimator.backend, kind))

    def begin(
        self, estimator: BaseMLP, data: Data, validation: Data | None
    ) -> tuple[Checkpoints | None, dict[str, Any]]:
        """Called before the epochs draw random numbers; restores their state if resuming.

        Parameters
        ----------
        estimator : BaseMLP
        data : Data
        validation : Data or None
            The ``validation_data`` of ``fit``.

        Returns
        -------
        checkpoints : Checkpoints or None
        random : dict
            State of the random generator.
        """
        fingerprint = _fingerprint(estimator, data, validation)
        random_state = estimator._random_state
        if self.kept is not None:
            self.kept.check(fingerprint, ("max_iter", estimator.max_iter))
            if self.kept.position.random is None:
                raise ValueError(f"{self.kept.path}: has no state of random numbers")
            _restore_random_state(random_state, self.kept.position.random)
        random = _random_state_to_dict(random_state)
        if self.checkpoint is None:
            return None, random
        from fastnn.storage.checkpoints import CheckpointFile, checkpoints

        file = CheckpointFile.of(self.checkpoint)
        return checkpoints(estimator, file, self.every, fingerprint), random


def restore_checkpoint(estimator: BaseMLP, kept: Checkpoint) -> None:
    """Copy the state of a checkpoint to an estimator, except its random generator."""
    other = kept.model
    estimator._network().params[:] = other._network().params
    estimator._optimizer = other._optimizer
    for name in (
        "n_iter_",
        "t_",
        "loss_",
        "best_loss_",
        "loss_curve_",
        "validation_scores_",
        "validation_loss_curve_",
        "best_validation_score_",
        "_no_improvement_count",
    ):
        setattr(estimator, name, getattr(other, name))
    # files store None instead of infinity
    if estimator.best_loss_ is None and not estimator.early_stopping:
        estimator.best_loss_ = np.inf
    if estimator.best_validation_score_ is None and estimator.validation_scores_ is not None:
        estimator.best_validation_score_ = -np.inf
    if estimator.early_stopping:
        estimator._best_params = kept.position.best.params


def best_of(estimator: BaseMLP) -> BestEpoch:
    """The parameters that early stopping would restore."""
    if not estimator.early_stopping:
        return BestEpoch()
    return BestEpoch(0.0, estimator.n_iter_, estimator._best_params)


def _fingerprint(estimator: BaseMLP, data: Data, validation: Data | None) -> RunFingerprint:
    """Settings and data that must be equal when a training is resumed; epochs may differ."""
    parameters = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if name not in _MAY_DIFFER and (name != "scoring" or not callable(value))
    }
    if isinstance(parameters.get("class_weight"), dict):
        parameters["class_weight"] = list(parameters["class_weight"].items())
    net = estimator._network()
    settings = {"backend": net.backend, "layer_sizes": list(net.layer_sizes), **parameters}
    settings["dtype"] = net.dtype.name
    if hasattr(estimator, "classes_"):
        settings["classes"] = estimator.classes_.tolist()
    if estimator._depends_on_max_iter:
        settings["max_iter"] = estimator.max_iter
    arrays = {"X": _arrays(data.x), "y": [data.targets], "sample_weight": [data.weights]}
    if validation is not None:
        arrays["validation_data"] = [*_arrays(validation.x), validation.targets, validation.weights]
    return RunFingerprint(plain(settings), {name: digest(*parts) for name, parts in arrays.items()})


def _arrays(x: Any) -> list[np.ndarray]:
    """Arrays of dense or sparse samples."""
    return [x.data, x.indices, x.indptr] if scipy.sparse.issparse(x) else [x]


def _random_state_to_dict(random_state: np.random.RandomState) -> dict[str, Any]:
    state: Any = random_state.get_state(legacy=True)
    _, key, pos, has_gauss, gauss = state
    return {
        "key": key.tolist(),
        "pos": int(pos),
        "has_gauss": int(has_gauss),
        "gauss": float(gauss),
    }


def _restore_random_state(random_state: np.random.RandomState, state: dict[str, Any]) -> None:
    key = np.array(state["key"], np.uint32)
    random_state.set_state(("MT19937", key, state["pos"], state["has_gauss"], state["gauss"]))
