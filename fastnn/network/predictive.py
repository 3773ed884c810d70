"""Predictions, scores, losses and gradients of a network."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastnn.network.features import by_name
from fastnn.network.inputs import encode_targets
from fastnn.network.prediction import Predictor, point_prediction, regression_result
from fastnn.network.scales import FAR, Scales
from fastnn.network.second_order import standard_deviations
from fastnn.network.sparse import as_rows, is_sparse, sparse_outputs
from fastnn.validation import as_array, as_matrix, as_real, as_weights

if TYPE_CHECKING:
    from fastnn.backends.model import Model
    from fastnn.network.network import Network
    from fastnn.network.spec import NetworkSpec
    from fastnn.training.posterior import Posterior

_FLOAT64 = np.dtype(np.float64)


class Predictive:
    """Base class of :class:`Network`: predictions, scores, losses and gradients."""

    spec: NetworkSpec
    model: Model
    predictor: Predictor
    scales: Scales
    n_threads: int | None
    classes_: np.ndarray | None
    targets_1d: bool
    posterior_: Posterior | None
    feature_names: list[str] | None

    def _inputs(self, X: Any, finite: bool = True) -> np.ndarray:
        """Samples in the form the kernels take; ``finite=False`` leaves the check for NaN out."""
        spec = self.spec
        if self.feature_names is not None:
            X = by_name("X", X, self.feature_names)
        x = as_matrix("X", X, spec.layer_sizes[0], spec.input_dtype, finite)
        return self.scales.inputs(x, spec) if spec.standardize else x

    def _outputs(self, X: Any, transform: bool) -> np.ndarray:
        """Predictions, or net inputs of the output layer, for samples as the user gave them."""
        if not is_sparse(X):
            return self.predictor(self._inputs(X, finite=False), transform, self.n_threads)
        inputs = partial(self._inputs, finite=False) if self.spec.standardize else None
        X = as_rows(X, self.spec.n_features)
        return sparse_outputs(self.predictor, X, transform, self.n_threads, inputs)

    def _targets(self, y: Any, sample_weight: Any, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets and sample weights in the form the kernels take."""
        targets = encode_targets(self.spec, y, n_samples, self.classes_).matrix
        if self.spec.standardize:
            targets = self.scales.targets(targets, self.spec)
        return targets, as_weights("sample_weight", sample_weight, n_samples, self.spec.dtype)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (samples, features)
            Samples, one per row.

        Returns
        -------
        ndarray, shape (samples, classes)
            With several outputs of binary_cross_entropy, the probability of each label.

        Raises
        ------
        ValueError
            If the network is a regression.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> net.predict_proba([[0.0, 1.0]]).sum(axis=1).round(6)
        array([1.], dtype=float32)
        """
        spec = self.spec
        if spec.is_regression:
            raise ValueError(
                f"predict_proba needs a loss of classification; this one is {spec.loss_name}"
            )
        p = self._outputs(X, True)
        if p.shape[1] == 1:  # binary_cross_entropy with a single output
            return np.hstack([1 - p, p])
        return p

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Predict labels, or the values of a regression.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (samples, features)
            Samples, one per row.
        return_std : bool, default=False
            Also return standard deviations in the units of the targets, including the noise: with
            the loss gaussian, and after ``LevenbergMarquardt(regularization="bayesian")``.

        Returns
        -------
        ndarray, shape (samples,) or (samples, targets)
            Values of a regression have the network's dtype, or float64 if the targets are
            standardised. Several quantiles add a last axis: (samples, quantiles), or (samples,
            targets, quantiles) with several targets.
        deviations : ndarray, of the same shape
            Standard deviations, with ``return_std``.

        Raises
        ------
        ValueError
            If ``X`` is invalid, or ``return_std`` is not supported by the network.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> net.predict([[0.0, 1.0], [1.0, 0.0]]).shape
        (2,)
        """
        regression = self.spec.is_regression
        z = self._outputs(X, regression)
        if regression:
            outputs = self.scales.outputs(z)
            if return_std and self.posterior_ is not None:
                std = standard_deviations(cast("Network", self), self.posterior_, self._inputs(X))
                values = regression_result(outputs, self.spec, self.targets_1d)
                return values, std[:, 0] if values.ndim == 1 else std
            return regression_result(outputs, self.spec, self.targets_1d, return_std)
        if return_std:
            raise ValueError(
                f"return_std needs a regression; the loss is {self.spec.loss_name}, see "
                "predict_proba"
            )
        if self.spec.loss_name == "binary_cross_entropy":
            chosen = (z > 0).astype(np.int64)
            if z.shape[1] > 1:
                return chosen
            chosen = chosen[:, 0]
        else:
            chosen = z.argmax(axis=1)
        return chosen if self.classes_ is None else self.classes_[chosen]

    def predict_point(self, X: Any) -> np.ndarray:
        """Predict labels, or, for a regression with any loss, one value per target.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (samples, features)
            Samples, one per row.

        Returns
        -------
        ndarray, shape (samples,) or (samples, targets)
            With several quantiles, the one nearest to the median; otherwise the result of
            :meth:`predict`.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> x = np.linspace(-1, 1, 50)[:, None]
        >>> net = fastnn.Network([1, 8, 3], loss="quantile", quantile=[0.1, 0.5, 0.9])
        >>> history = net.fit(x, x[:, 0])
        >>> net.predict(x).shape, net.predict_point(x).shape
        ((50, 3), (50,))
        """
        if self.spec.outputs_per_target == 1:
            return self.predict(X)
        z = point_prediction(self.scales.outputs(self._outputs(X, True)), self.spec)
        return z[:, 0] if self.targets_1d and z.shape[1] == 1 else z

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, or for a regression the coefficient of determination R^2.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (samples, features)
            Samples, one per row.
        y : array-like, shape (samples,) or (samples, outputs)
            Targets, one per sample.
        sample_weight : array-like, shape (samples,), optional
            Weight of each sample; default: 1.

        Returns
        -------
        float
            R^2 is computed from the mean with the loss gaussian, and from the quantile nearest to
            the median with several quantiles.

        Raises
        ------
        ValueError
            If an argument is invalid, including labels unknown to the network.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> 0 <= net.score([[0.0, 1.0], [1.0, 0.0]], [0, 1]) <= 1
        True
        """
        spec, y = self.spec, as_array("y", y)
        z = self._outputs(X, spec.is_regression)
        given = as_weights("sample_weight", sample_weight, len(z), _FLOAT64)
        weights = given if len(given) else None
        if spec.is_regression:
            from sklearn.metrics import r2_score

            if y.shape[:1] != (len(z),):
                raise ValueError(f"y has shape {y.shape}; X has {len(z)} samples")
            z = point_prediction(self.scales.outputs(z), spec)
            y = as_matrix("y", y[:, None] if y.ndim == 1 else y, z.shape[1], _FLOAT64)
            return float(r2_score(y, z, sample_weight=weights))
        targets = encode_targets(spec, y, len(z), self.classes_).matrix
        if spec.loss_name == "binary_cross_entropy":
            # multilabel: a sample is correct if all its labels are
            correct = ((z > 0) == (targets > 0.5)).all(axis=1)
        else:
            correct = z.argmax(axis=1) == targets[:, 0]
        return float(np.average(correct, weights=weights))

    def out_of_range(self, X: Any, deviations: float = FAR) -> np.ndarray:
        """Which samples are far outside the range of the training data.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        deviations : float, default=3
            Number of standard deviations by which a feature must lie below the smallest or above
            the largest value of the first ``fit``.

        Returns
        -------
        ndarray of bool, shape (samples,)
            True for samples with at least one such feature.

        Raises
        ------
        ValueError
            If the range is not known: ``standardize`` is False, the network is not fitted, or it
            was saved by fastnn 0.1.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([1, 3, 2], standardize=True, random_state=0)
        >>> history = net.fit([[0.0], [1.0]], [0, 1])
        >>> net.out_of_range([[0.5], [50.0]])
        array([False,  True])
        """
        if self.scales.input_low is None:
            raise ValueError(
                "the range of the training samples is not known: it is learned by fit of a "
                "network with standardize=True"
            )
        deviations = as_real("deviations", deviations, 0.0)
        x = as_matrix("X", by_name("X", X, self.feature_names), self.spec.n_features, None)
        return self.scales.far_outside(x, deviations)

    def loss(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the objective: mean loss plus ``l2 / 2`` times the sum of the squared weights.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (samples, features)
            Samples, one per row.
        y : array-like, shape (samples,) or (samples, outputs)
            Targets, one per sample.
        sample_weight : array-like, shape (samples,), optional
            Weight of each sample in the mean; equal weights by default.

        Returns
        -------
        float

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> net.loss([[0.0, 1.0]], [0]) < net.loss([[0.0, 1.0]], [1])
        True
        """
        logits = self._outputs(X, False)
        targets, weights = self._targets(y, sample_weight, len(logits))
        return self.predictor.objective_of(logits, targets, weights, self.spec.l2)

    def gradients(self, X: Any, y: Any, sample_weight: Any = None) -> np.ndarray:
        """Return the gradient of :meth:`loss`, without dropout.

        With the loss gaussian the gradient is modified by ``beta``.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`loss`.

        Returns
        -------
        ndarray, shape (n_params,)
            In the layout of ``params``; :meth:`unflatten` splits it by layer.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> X, y = [[0.0, 1.0], [1.0, 0.0]], [0, 1]
        >>> weights, biases = net.unflatten(net.gradients(X, y))
        >>> [layer.shape for layer in weights]
        [(2, 3), (3, 2)]
        """
        x = self._inputs(X)
        targets, weights = self._targets(y, sample_weight, len(x))
        grads = self.model.plan.gradient_groups(self.spec.dtype)
        x, targets = np.ascontiguousarray(x.T), np.ascontiguousarray(targets.T)
        self.model.loss_and_grad(x, targets, weights, self.spec.l2, grads)
        return grads[0].copy()
