"""Detection of rows far outside the training range of a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fastnn.datasets.table import listed
from fastnn.network.scales import FAR

if TYPE_CHECKING:
    from fastnn.network import Network
    from fastnn.network.ensemble import Ensemble
    from fastnn.tables import Encoding


def columns_behind(encoding: Encoding | None, names: Sequence[str]) -> list[str]:
    """Table column that each feature was encoded from; ``names`` if there is no encoding."""
    if encoding is None:
        return list(names)
    return [code.name for code in encoding.columns for _ in code.outputs()]


@dataclass
class OutOfRangeRows:
    """Counter of rows far outside the training range.

    Attributes
    ----------
    names : sequence of str
        Name of each feature, or of the table column that it was encoded from.
    rows, far : int
        Number of rows checked, and number of these that are far outside.
    where : list of str
        Names of the features that were far outside.
    known : bool
        Whether the model stores the training range.
    """

    names: Sequence[str]
    rows: int = 0
    far: int = 0
    where: list[str] = field(default_factory=list)
    known: bool = False

    def add(self, net: Network | Ensemble, X: np.ndarray) -> None:
        """Check some rows; rows with missing values are not counted."""
        if net.scales.input_low is None:
            return
        self.known = True
        complete = np.isfinite(X).all(axis=1)
        X = X if complete.all() else X[complete]
        self.rows += len(X)
        if not len(X) or not (mask := net.out_of_range(X)).any():
            return
        self.far += int(mask.sum())
        networks: Iterable[Network] = getattr(net, "networks", [net])
        far = np.all([each.scales.far_features(X[mask]) for each in networks], axis=0)
        found = [name for name, outside in zip(self.names, far, strict=False) if outside]
        self.where = list(dict.fromkeys([*self.where, *found]))

    def text(self) -> str | None:
        """Description of the rows far outside; None if there are none."""
        if not self.far:
            return None
        where = f" ({listed(self.where)})" if self.where else ""
        return (
            f"{self.far:,} of {self.rows:,} samples, more than {FAR:g} deviations outside the "
            f"training range{where}"
        )
