"""A network behind the encoding of a table."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.tables.encoding import Encoding
from fastnn.tables.target import table_target

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor
    from fastnn.network import Network


@dataclass(frozen=True)
class TableModel:
    """A network that takes a table as it is; what ``fastnn train`` makes of one with text or gaps.

    Attributes
    ----------
    encoding : Encoding
        How columns become the network's inputs.
    network : Network, MLPClassifier or MLPRegressor
        Trained with encoded columns.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn.tables import Encoding, TableModel
    >>> table = {"size": [1.0, 2.0, None, 4.0], "colour": ["red", "blue", "red", "green"]}
    >>> encoding = Encoding.fit(table)
    >>> net = fastnn.Network([encoding.n_outputs, 8, 2], random_state=0)
    >>> history = net.fit(encoding.transform(table), ["a", "b", "a", "b"], epochs=500)
    >>> TableModel(encoding, net).predict({"size": [2.0], "colour": ["blue"]}).tolist()
    ['b']
    """

    encoding: Encoding
    network: Network | MLPClassifier | MLPRegressor

    @property
    def classes_(self) -> np.ndarray | None:
        """Labels in the order of the probabilities; None of a regression."""
        return getattr(self.network, "classes_", None)

    def predict(self, X: Any) -> np.ndarray:
        """Labels or numbers for the rows of a table.

        Parameters
        ----------
        X : table with the columns of training
            As for :class:`fastnn.tables.TableEncoder`.

        Returns
        -------
        ndarray, shape (rows,)
        """
        return self.network.predict(self.encoding.transform(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, shape (rows, classes)."""
        model: Any = self.network
        return model.predict_proba(self.encoding.transform(X))

    def score(self, X: Any, y: Any) -> float:
        """Accuracy, or R^2 of a regression; rows without a target do not count."""
        task = "regression" if self.classes_ is None else "classification"
        column = table_target(y, task)
        encoded = self.encoding.transform(X)[column.known]
        return self.network.score(encoded, column.values)

    def save(self, path: str | os.PathLike, *, training: dict[str, Any] | None = None) -> None:
        """Write a model file; see :func:`fastnn.storage.save`."""
        from fastnn import storage

        storage.save(self, path, training=training)
