"""Checkpoints of the estimators for tables: one file per member."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastnn.training.checkpoints import (
    CheckpointEvery,
    Checkpoints,
    RunFingerprint,
    checkpoints_requested,
    digest,
    plain,
)

if TYPE_CHECKING:
    from fastnn.network import Network
    from fastnn.storage.checkpoints import Checkpoint, CheckpointFile
    from fastnn.tables.realmlp import Samples


class CheckpointOptions(NamedTuple):
    """The checkpoint arguments of ``fit``.

    Attributes
    ----------
    file : CheckpointFile
        The file of the first member. The files of the others, in the same folder, are called
        NAME-1 and so on.
    every : int, timedelta or None
    resume : bool
    """

    file: CheckpointFile
    every: CheckpointEvery
    resume: bool

    @classmethod
    def of(
        cls, estimator: Any, checkpoint: Any, every: CheckpointEvery, resume: Any
    ) -> CheckpointOptions | None:
        """Check the arguments; None if no checkpoints are requested."""
        if not checkpoints_requested(checkpoint, every, resume, "the file to write"):
            return None
        from fastnn.storage.checkpoints import CheckpointFile

        if estimator.time_limit is not None:
            raise ValueError(
                "checkpoints need time_limit=None: how many epochs there is time for depends on "
                f"the machine; got {estimator.time_limit!r}"
            )
        if estimator.random_state is None:
            raise ValueError(
                "checkpoints need random_state, a number, so that a resumed training holds out the "
                "same rows; got None"
            )
        return cls(CheckpointFile.of(checkpoint), every, resume)

    def of_member(self, k: int) -> CheckpointOptions:
        """The arguments for member ``k``."""
        path: Path = self.file.path
        own = path if k == 0 else path.with_name(f"{path.stem}-{k}{path.suffix}")
        return self._replace(file=self.file._replace(path=own))

    def kept(self, net: Network, fingerprint: RunFingerprint, epochs: int) -> Checkpoint | None:
        """Read and check the checkpoint from which to resume; None for a new training."""
        from fastnn.storage.checkpoints import to_resume

        kept = to_resume(self.file, self.resume, net.backend, "Network")
        if kept is not None:
            kept.check(fingerprint, ("n_epochs", epochs))
        return kept

    def writer(self, net: Network, fingerprint: RunFingerprint) -> Checkpoints:
        """The object that writes the checkpoints of a network's training."""
        from fastnn.storage.checkpoints import checkpoints

        return checkpoints(net, self.file, self.every, fingerprint)


def fingerprint_of(
    net: Network, data: Samples, held_out: Samples | None, **settings: Any
) -> RunFingerprint:
    """Settings and data that must be equal for a training to be resumed."""
    own = ("classes", "targets_1d", "n_epochs")
    config = {name: value for name, value in net.get_config().items() if name not in own}
    arrays = {"X": data.x, "y": data.targets, "sample_weight": data.weights}
    digests = {name: digest(array) for name, array in arrays.items()}
    if held_out is not None:
        parts = held_out.x, held_out.targets, held_out.weights
        digests["validation data"] = digest(*parts)
    return RunFingerprint(plain({"backend": net.backend, **config, **settings}), digests)
