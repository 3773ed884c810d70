"""Ensembles: networks whose predictions are averaged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.network.network import Network
from fastnn.network.scales import FAR


class Ensemble:
    """Average of several networks with the same inputs and targets.

    For a classification probabilities are averaged, for a regression predictions. Ensembles are
    the result of :class:`fastnn.TabularSearchClassifier` and ``fastnn search``, and of
    :class:`fastnn.TabularClassifier` and ``fastnn train`` with several members.

    Parameters
    ----------
    networks : sequence of Network
        Trained networks with equal numbers of features and outputs and the same loss:
        cross_entropy, or any loss for regression.
    weights : array-like, shape (networks,), optional
        Positive relative weights; default: equal ones.

    Attributes
    ----------
    networks : list of Network
    weights : ndarray of float64, shape (networks,)
        The normalised weights; their sum is 1.
    classes_ : ndarray or None
        Labels in the order of the probabilities; None for a regression.

    Raises
    ------
    ValueError
        If there is no network, or if the networks do not match.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> nets = [fastnn.Network([4, 8, 3], standardize=True, random_state=k) for k in range(3)]
    >>> histories = fastnn.fit_many(nets, X, y, epochs=200, batch_size=32)
    >>> fastnn.Ensemble(nets).score(X, y) > 0.9
    True
    """

    def __init__(self, networks: Sequence[Network], weights: Any = None) -> None:
        self.networks = list(networks)
        if not self.networks:
            raise ValueError("networks must have at least one network")
        count = len(self.networks)
        weights_ = np.ones(count) if weights is None else np.asarray(weights, np.float64)
        if weights_.shape != (count,) or not (np.isfinite(weights_) & (weights_ > 0)).all():
            raise ValueError(f"weights must be {count} positive numbers; got {weights!r}")
        with np.errstate(over="ignore"):
            total = weights_.sum()  # if close to 1, as for weights from a file, keep the bits
        if total == np.inf:
            weights_ = weights_ / weights_.max()
            total = weights_.sum()
        self.weights = weights_ if abs(total - 1.0) < 1e-12 else weights_ / total
        first = self.networks[0]
        for k, net in enumerate(self.networks):
            if not (net.is_regression or net.loss_name == "cross_entropy"):
                raise ValueError(
                    f"networks[{k}] has the loss {net.loss_name}; cross_entropy or one"
                )
            for name in ("n_features", "n_outputs", "loss_name", "dtype", "targets_1d"):
                value, wanted = getattr(net, name), getattr(first, name)
                if value != wanted:
                    raise ValueError(f"networks[{k}] has {name} {value}; networks[0] has {wanted}")
            if not np.array_equal(net.classes_, first.classes_):  # type: ignore[arg-type]
                raise ValueError(f"networks[{k}] knows other classes than networks[0]")

    def __len__(self) -> int:
        return len(self.networks)

    def __repr__(self) -> str:
        return f"Ensemble of {len(self)} networks, {self.n_params:,} parameters"

    # --- attributes -------------------------------------------------------------------

    @property
    def first(self) -> Network:
        """The first network; features, outputs and classes are the same in all networks."""
        return self.networks[0]

    @property
    def classes_(self) -> np.ndarray | None:
        """Labels in the order of the probabilities; None for a regression."""
        return self.first.classes_

    @property
    def n_params(self) -> int:
        """Number of weights and biases of all networks."""
        return sum(net.n_params for net in self.networks)

    @property
    def n_threads(self) -> int | None:
        """Maximum number of threads for prediction."""
        return self.first.n_threads

    @n_threads.setter
    def n_threads(self, value: int | None) -> None:
        for net in self.networks:
            net.n_threads = value

    def __getattr__(self, name: str) -> Any:
        """Attributes common to all networks; layer sizes are those of the first network."""
        if name in _COMMON_ATTRIBUTES and "networks" in self.__dict__:
            return getattr(self.first, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # --- predictions ------------------------------------------------------------------

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the weighted mean of the networks' probabilities.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.

        Returns
        -------
        ndarray, shape (samples, classes)

        Raises
        ------
        ValueError
            If the networks are regressions.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.arange(8.0)[:, None], [0, 0, 0, 0, 1, 1, 1, 1]
        >>> nets = [fastnn.Network([1, 8, 2], standardize=True, random_state=k) for k in range(2)]
        >>> histories = fastnn.fit_many(nets, X, y, epochs=100)
        >>> mean = fastnn.Ensemble(nets, weights=[1, 3]).predict_proba(X)
        >>> first, second = (net.predict_proba(X) for net in nets)
        >>> np.allclose(mean, 0.25 * first + 0.75 * second)
        True
        """
        return self._mean([net.predict_proba for net in self.networks], X)

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Predict the most probable classes, or the weighted mean of the networks' values.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        return_std : bool, default=False
            For a regression: also return the standard deviation over the networks. With the loss
            gaussian it includes the variance predicted by each network.

        Returns
        -------
        predicted : ndarray, shape (samples,), or (samples, outputs) with several outputs
        std : ndarray of the same shape
            Standard deviations, with ``return_std``.

        Raises
        ------
        ValueError
            If ``return_std`` is True for a classification.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> x = np.linspace(-1, 1, 50)[:, None]
        >>> networks = [
        ...     fastnn.Network([1, 8, 1], loss="squared_error", random_state=k) for k in range(3)
        ... ]
        >>> histories = fastnn.fit_many(networks, x, x[:, 0] ** 2, epochs=20)
        >>> mean, std = fastnn.Ensemble(networks).predict(x, return_std=True)
        >>> mean.shape, std.shape
        ((50,), (50,))
        """
        if return_std:
            return self._mean_and_std(X)
        if self.first.is_regression:
            return self._mean([net.predict for net in self.networks], X)
        chosen = self.predict_proba(X).argmax(axis=1)
        return chosen if self.classes_ is None else self.classes_[chosen]

    def predict_point(self, X: Any) -> np.ndarray:
        """Predict labels, or, for a regression with any loss, one value per target.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.

        Returns
        -------
        ndarray, shape (samples,) or (samples, targets)
            As for :meth:`fastnn.Network.predict_point`.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> x = np.linspace(-1, 1, 50)[:, None]
        >>> nets = [
        ...     fastnn.Network([1, 8, 3], loss="quantile", quantile=[0.1, 0.5, 0.9], random_state=k)
        ...     for k in range(2)
        ... ]
        >>> histories = fastnn.fit_many(nets, x, x[:, 0] ** 2, epochs=20)
        >>> ensemble = fastnn.Ensemble(nets)
        >>> ensemble.predict(x).shape, ensemble.predict_point(x).shape
        ((50, 3), (50,))
        """
        if self.first.is_regression:
            return self._mean([net.predict_point for net in self.networks], X)
        return self.predict(X)

    def _mean_and_std(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the mixture of the networks."""
        if not self.first.is_regression:
            raise ValueError("return_std is for regressions; for classes see predict_proba")
        means, variances = [], []
        for net in self.networks:
            predicted = (
                net.predict(X, return_std=True) if net.loss_name == "gaussian" else net.predict(X)
            )
            is_pair = isinstance(predicted, tuple)
            mean, std = predicted if is_pair else (predicted, np.zeros_like(predicted))
            means.append(mean.astype(np.float64))
            variances.append(np.square(std, dtype=np.float64))
        mean = np.average(means, axis=0, weights=self.weights)
        spread = np.square(np.asarray(means) - mean) + np.asarray(variances)
        deviation = np.sqrt(np.average(spread, axis=0, weights=self.weights))
        return mean.astype(predicted[0].dtype), deviation.astype(predicted[0].dtype)

    def _mean(self, methods: Sequence[Any], X: Any) -> np.ndarray:
        """Weighted mean of the results of the methods, in their dtype."""
        total: Any = 0.0
        for method, weight in zip(methods, self.weights, strict=True):
            predicted = method(X)
            total = total + weight * predicted.astype(np.float64)
        return total.astype(predicted.dtype)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy, or R^2 of a regression.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        y : array-like, shape (samples,) or (samples, outputs)
            Targets, one per sample.
        sample_weight : array-like, shape (samples,), optional
            Weight of each sample; default: 1.

        Returns
        -------
        float

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.arange(8.0)[:, None], [0, 0, 0, 0, 1, 1, 1, 1]
        >>> nets = [fastnn.Network([1, 8, 2], standardize=True, random_state=k) for k in range(2)]
        >>> histories = fastnn.fit_many(nets, X, y, epochs=100)
        >>> fastnn.Ensemble(nets).score(X, y) > 0.8
        True
        """
        from sklearn.metrics import accuracy_score, r2_score

        measure = r2_score if self.first.is_regression else accuracy_score
        return float(measure(y, self.predict_point(X), sample_weight=sample_weight))

    def loss(self, X: Any, y: Any) -> float:
        """Return the mean loss of the averaged predictions, without label smoothing and L2.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        y : array-like, shape (samples,) or (samples, outputs)
            Targets, one per sample.

        Returns
        -------
        float
            The cross-entropy; for squared_error, half the squared error summed over the outputs,
            in the standardised units of the first network; for other losses, the weighted mean of
            the losses of the networks.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.arange(8.0)[:, None], [0, 0, 0, 0, 1, 1, 1, 1]
        >>> nets = [fastnn.Network([1, 8, 2], standardize=True, random_state=k) for k in range(2)]
        >>> histories = fastnn.fit_many(nets, X, y, epochs=100)
        >>> losses = [net.loss(X, y) for net in nets]
        >>> bool(fastnn.Ensemble(nets).loss(X, y) <= np.mean(losses))
        True
        """
        y = np.asarray(y)
        if self.first.is_regression and self.loss_name != "squared_error":
            return float(
                np.average([net.loss(X, y) for net in self.networks], weights=self.weights)
            )
        if self.first.is_regression:
            scale = self.first.scales.target_scale
            error = (y - self.predict(X)).reshape(len(y), -1) * (1.0 if scale is None else scale)
            return float(0.5 * np.square(error).sum(axis=1).mean())
        proba = self.predict_proba(X).astype(np.float64)
        indices = y.astype(int) if self.classes_ is None else np.searchsorted(self.classes_, y)
        label_proba = np.take_along_axis(proba, indices[:, None], axis=1)
        return float(-np.log(np.maximum(label_proba, np.finfo(np.float32).tiny)).mean())

    def out_of_range(self, X: Any, deviations: float = FAR) -> np.ndarray:
        """Find samples far outside the training range of all networks; see ``Network``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.arange(8.0)[:, None], [0, 0, 0, 0, 1, 1, 1, 1]
        >>> nets = [fastnn.Network([1, 8, 2], standardize=True, random_state=k) for k in range(2)]
        >>> histories = fastnn.fit_many(nets, X, y, epochs=100)
        >>> fastnn.Ensemble(nets).out_of_range([[5.0], [500.0]])
        array([False,  True])
        """
        return np.all([net.out_of_range(X, deviations) for net in self.networks], axis=0)

    def save(self, path: str | os.PathLike, *, training: dict[str, Any] | None = None) -> None:
        """Write a model file; :func:`fastnn.load` reads it. See :func:`fastnn.storage.save`.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.arange(8.0)[:, None], [0, 0, 0, 0, 1, 1, 1, 1]
        >>> nets = [fastnn.Network([1, 8, 2], standardize=True, random_state=k) for k in range(2)]
        >>> histories = fastnn.fit_many(nets, X, y, epochs=100)
        >>> fastnn.Ensemble(nets).save("ensemble.safetensors")
        >>> fastnn.load("ensemble.safetensors")
        Ensemble of 2 networks, 68 parameters
        """
        from fastnn.storage import save

        save(self, path, training=training)


_COMMON_ATTRIBUTES = {
    *("backend", "dtype", "is_regression", "loss_name", "n_features", "n_outputs", "scales"),
    *("standardize", "targets_1d", "layer_sizes", "activations", "spec", "quantile"),
}
