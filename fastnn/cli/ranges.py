"""Rows far outside of what a model was trained on, and what is said of them."""

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
    """The column of the table behind each feature; ``names`` themselves without an encoding."""
    if encoding is None:
        return list(names)
    return [code.name for code in encoding.columns for _ in code.outputs()]


@dataclass
class FarRows:
    """Rows that were looked at, and those far outside.

    Attributes
    ----------
    names : sequence of str
        Of each feature, or of the column that it was made of.
    rows, far : int
    where : list of str
        Features that were outside.
    known : bool
        Whether the model knows the range of training.
    """

    names: Sequence[str]
    rows: int = 0
    far: int = 0
    where: list[str] = field(default_factory=list)
    known: bool = False

    def add(self, net: Network | Ensemble, X: np.ndarray) -> None:
        """Look at some rows; those with gaps do not count."""
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
        """What is said of them; None if there is nothing to be said."""
        if not self.far:
            return None
        where = f" ({listed(self.where)})" if self.where else ""
        return (
            f"{self.far:,} of {self.rows:,} samples, more than {FAR:g} deviations outside the "
            f"training range{where}"
        )
