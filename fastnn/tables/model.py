"""``TableModel``: an encoding of a table, followed by a network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastnn.tables.encoding import Encoding
from fastnn.tables.target import known_targets

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor
    from fastnn.network import Network
    from fastnn.network.ensemble import Ensemble


class NoCompiledCalls:
    """Mixin for models of tables, which compiled code cannot call, unlike their networks."""

    @property
    def numba_predict(self) -> NoReturn:
        """Raise AttributeError; compiled code calls the network with encoded rows."""
        raise AttributeError(_numbers_needed(self, "numba_predict"))

    @property
    def cfunc(self) -> NoReturn:
        """Raise AttributeError; compiled code calls the network with encoded rows."""
        raise AttributeError(_numbers_needed(self, "cfunc"))


def _numbers_needed(model: Any, name: str) -> str:
    from fastnn.network import Network

    if isinstance(model, TableModel):
        network, encoding = "model.network", "model.encoding"
        if type(model.network).__name__ == "Ensemble":
            network = "model.network.networks[k]"
        elif not isinstance(model.network, Network):  # an estimator
            network = "fastnn.export.describe(model.network).to_network()"
    else:
        several = len(getattr(model, "networks_", ())) > 1
        network, encoding = "model.networks_[k]" if several else "model.network_", "model.encoding_"
    return (
        f"{name} takes numbers, not tables: call {network}.{name}() and give the result "
        f"rows of {encoding}.transform(table)"
    )


@dataclass(frozen=True)
class TableModel(NoCompiledCalls):
    """A network with the encoding of the columns of a table; it predicts from tables.

    Attributes
    ----------
    encoding : Encoding
        Encoding of the columns.
    network : Network, Ensemble, MLPClassifier or MLPRegressor
        Model of the encoded columns.

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
    network: Network | Ensemble | MLPClassifier | MLPRegressor

    @property
    def classes_(self) -> np.ndarray | None:
        """Labels in the order of the probabilities; None for a regression."""
        return getattr(self.network, "classes_", None)

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Predict labels or values for the rows of a table.

        Parameters
        ----------
        X : table with the columns of training
            As for :class:`fastnn.tables.TableEncoder`.
        return_std : bool, default=False
            Also return standard deviations: those predicted with the loss "gaussian", or those
            among the networks of an ensemble.

        Returns
        -------
        ndarray, shape (rows,)
        deviations : ndarray, shape (rows,)
            Only with ``return_std``.

        Examples
        --------
        >>> import fastnn
        >>> from fastnn.tables import Encoding, TableModel
        >>> table = {"size": [1.0, 2.0, None, 4.0], "colour": ["red", "blue", "red", "green"]}
        >>> encoding = Encoding.fit(table)
        >>> net = fastnn.Network([encoding.n_outputs, 8, 2], standardize=True, random_state=0)
        >>> history = net.fit(encoding.transform(table), ["a", "b", "a", "b"], epochs=500)
        >>> model = TableModel(encoding, net)
        >>> model.predict({"colour": ["blue", "red"], "size": [2.0, 1.0]}).tolist()
        ['b', 'a']
        """
        options: Any = {"return_std": True} if return_std else {}
        return self.network.predict(self.encoding.transform(X), **options)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, shape (rows, classes).

        Examples
        --------
        >>> import fastnn
        >>> from fastnn.tables import Encoding, TableModel
        >>> table = {"size": [1.0, 2.0, None, 4.0], "colour": ["red", "blue", "red", "green"]}
        >>> encoding = Encoding.fit(table)
        >>> net = fastnn.Network([encoding.n_outputs, 8, 2], standardize=True, random_state=0)
        >>> history = net.fit(encoding.transform(table), ["a", "b", "a", "b"], epochs=500)
        >>> model = TableModel(encoding, net)
        >>> model.predict_proba(table).round().astype(int)
        array([[1, 0],
               [0, 1],
               [1, 0],
               [0, 1]])
        """
        model: Any = self.network
        return model.predict_proba(self.encoding.transform(X))

    def out_of_range(self, X: Any) -> np.ndarray:
        """Find rows far outside the range of the training data.

        Parameters
        ----------
        X : table with the columns of training
            As for :class:`fastnn.tables.TableEncoder`.

        Returns
        -------
        ndarray of bool, shape (rows,)
            See :meth:`fastnn.Network.out_of_range`.

        Raises
        ------
        ValueError
            If ``network`` is an estimator, which does not store the range.

        Examples
        --------
        >>> import fastnn
        >>> from fastnn.tables import Encoding, TableModel
        >>> table = {"size": [1.0, 2.0, None, 4.0], "colour": ["red", "blue", "red", "green"]}
        >>> encoding = Encoding.fit(table)
        >>> net = fastnn.Network([encoding.n_outputs, 8, 2], standardize=True, random_state=0)
        >>> history = net.fit(encoding.transform(table), ["a", "b", "a", "b"], epochs=500)
        >>> model = TableModel(encoding, net)
        >>> model.out_of_range({"size": [2.0, 1.0], "colour": ["red", "red"]})
        array([False, False])
        """
        find = getattr(self.network, "out_of_range", None)
        if find is None:
            raise ValueError(
                f"a {type(self.network).__name__} has no record of the range of the training data"
            )
        return find(self.encoding.transform(X))

    def score(self, X: Any, y: Any) -> float:
        """Accuracy, or R^2 for a regression; rows without a target are left out.

        Texts are compared with classes that are numbers as numbers (``"1"`` is 1), as in a file.

        Examples
        --------
        >>> import fastnn
        >>> from fastnn.tables import Encoding, TableModel
        >>> table = {"size": [1.0, 2.0, None, 4.0], "colour": ["red", "blue", "red", "green"]}
        >>> encoding = Encoding.fit(table)
        >>> net = fastnn.Network([encoding.n_outputs, 8, 2], standardize=True, random_state=0)
        >>> history = net.fit(encoding.transform(table), ["a", "b", "a", "b"], epochs=500)
        >>> model = TableModel(encoding, net)
        >>> model.score(table, ["a", "b", "a", "b"])
        1.0
        """
        encoded = self.encoding.transform(X)
        values, known = known_targets(y, self.classes_)
        if len(known) != len(encoded):
            raise ValueError(f"y has {len(known)} targets; X has {len(encoded)} rows")
        return self.network.score(encoded[known], values)

    def save(self, path: str | os.PathLike, *, training: dict[str, Any] | None = None) -> None:
        """Write a model file; see :func:`fastnn.storage.save`.

        Examples
        --------
        >>> import fastnn
        >>> from fastnn.tables import Encoding, TableModel
        >>> table = {"size": [1.0, 2.0, None, 4.0], "colour": ["red", "blue", "red", "green"]}
        >>> encoding = Encoding.fit(table)
        >>> net = fastnn.Network([encoding.n_outputs, 8, 2], standardize=True, random_state=0)
        >>> history = net.fit(encoding.transform(table), ["a", "b", "a", "b"], epochs=500)
        >>> model = TableModel(encoding, net)
        >>> model.save("colours.safetensors")
        >>> fastnn.load("colours.safetensors").predict(table).tolist()
        ['a', 'b', 'a', 'b']
        """
        from fastnn import storage

        storage.save(self, path, training=training)
