"""Derivatives of a network's outputs with respect to its inputs, in the caller's units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastnn.memory import check_memory
from fastnn.network.custom import CustomActivation
from fastnn.network.features import by_name
from fastnn.network.output_function import OutputFunction
from fastnn.network.sparse import is_sparse
from fastnn.validation import as_array, as_matrix, check_finite

if TYPE_CHECKING:
    from fastnn.backends.model import Model
    from fastnn.network.network import Network
    from fastnn.network.prediction import Predictor
    from fastnn.network.scales import Scales
    from fastnn.network.spec import NetworkSpec
    from fastnn.network.taylor import Taylor


class Differentiable:
    """Derivatives of a network with respect to its inputs.

    All derivatives are exact, without dropout, and in the units of the features and predictions:
    they include standardisation, ``smooth_clip`` and the scale of the targets. At the kink of a
    piecewise linear activation the convention of training is used (``relu'(0) = 0``).
    """

    spec: NetworkSpec
    model: Model
    predictor: Predictor
    scales: Scales
    n_threads: int | None

    def jacobian(self, X: Any, *, of: str | None = None) -> np.ndarray:
        """Derivatives of the outputs with respect to the features, for each sample.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        of : {"logits", "proba", "predict"}, optional
            Function to differentiate. "predict": the predictions of a regression (the default for
            regressions). "proba": the probabilities of :meth:`predict_proba` (the default for
            classifications). "logits": the net inputs of the last layer, for a regression in
            standardised units.

        Returns
        -------
        ndarray, shape (samples, outputs, features)
            In the network's dtype, or float64 if the network standardises. A single output of
            binary_cross_entropy has two probabilities and therefore two rows.

        Raises
        ------
        ValueError
            If an argument is invalid: X is sparse or not finite, or ``of`` does not fit the loss.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([3, 8, 2], loss="squared_error", random_state=0)
        >>> net.jacobian(np.zeros((5, 3))).shape
        (5, 2, 3)
        """
        point = _EvaluationPoint(self, X, of)
        spec, samples = self.spec, len(point.x)
        # one backward pass per output, or one forward pass per feature, whichever is fewer
        if spec.n_outputs <= spec.n_features:
            jacobian = self._gradients(point.x, np.eye(spec.n_outputs, dtype=spec.dtype)[None])
        else:
            units = np.eye(spec.n_features, dtype=spec.dtype)[None]
            jacobian = self._tangents(point.x, units).transpose(0, 2, 1)
        jacobian = point.outputs.jvp(point.p, jacobian)
        if point.slope is not None:
            jacobian = jacobian * point.slope[:, None, :]
        return np.ascontiguousarray(jacobian).reshape(samples, -1, spec.n_features)

    def jacobian_by_params(self, X: Any, *, of: str | None = None) -> np.ndarray:
        """Derivatives of the outputs with respect to the parameters, for each sample.

        For custom least-squares problems (``scipy.optimize.least_squares(jac=...)``). The result
        has ``samples * outputs * n_params`` numbers.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        of : {"logits", "proba", "predict"}, optional
            As for :meth:`jacobian`.

        Returns
        -------
        ndarray, shape (samples, outputs, n_params)
            In the network's dtype, or float64 if the network standardises. The parameters are in
            the order of ``params``.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([3, 8, 2], loss="squared_error", random_state=0)
        >>> net.jacobian_by_params(np.zeros((5, 3))).shape
        (5, 2, 50)
        """
        point, spec = _EvaluationPoint(self, X, of), self.spec
        shape = self.model.plan.n_params, spec.n_outputs, len(point.x)
        n_bytes = math.prod(shape) * spec.dtype.itemsize
        check_memory(
            f"the Jacobian of {shape[2]:,} samples by {shape[0]:,} parameters", 2 * n_bytes
        )
        rows = np.empty(shape, spec.dtype)
        self.model.sample_gradients(point.x, np.eye(spec.n_outputs, dtype=spec.dtype)[None], rows)
        jacobian = point.outputs.jvp(point.p, rows.transpose(2, 1, 0))
        return np.ascontiguousarray(jacobian)

    def vjp(self, X: Any, v: Any, *, of: str | None = None) -> np.ndarray:
        """Vector-Jacobian product: gradient of ``v @ outputs`` with respect to the features.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        v : array-like, shape (samples, outputs) or (outputs,)
            One vector per sample, or one for all.
        of : {"logits", "proba", "predict"}, optional
            As for :meth:`jacobian`.

        Returns
        -------
        ndarray, shape (samples, features)

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> net.vjp([[0.0, 1.0]], [[1.0, 0.0]]).shape  # of the first output, by the features
        (1, 2)
        """
        point = _EvaluationPoint(self, X, of)
        v = point.vectors("v", v, point.outputs.n)
        vector = self._kernel_vectors(point.outputs.vjp(point.p, v))
        return point.times_input_slope(self._gradients(point.x, vector[:, None])[:, 0])

    def jvp(self, X: Any, v: Any, *, of: str | None = None) -> np.ndarray:
        """Jacobian-vector product: derivative of the outputs along the direction ``v``.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        v : array-like, shape (samples, features) or (features,)
            One vector per sample, or one for all.
        of : {"logits", "proba", "predict"}, optional
            As for :meth:`jacobian`.

        Returns
        -------
        ndarray, shape (samples, outputs)

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> net.jvp([[0.0, 1.0]], [[1.0, 0.0]]).shape  # of all outputs, along the first feature
        (1, 2)
        """
        point = _EvaluationPoint(self, X, of)
        v = point.times_input_slope(point.vectors("v", v, self.spec.n_features))
        tangents = self._tangents(point.x, self._kernel_vectors(v)[:, None])
        return point.outputs.jvp(point.p, tangents.transpose(0, 2, 1))[:, :, 0]

    def hvp(self, X: Any, v: Any, u: Any, *, of: str | None = None) -> np.ndarray:
        """Hessian-vector product: derivative of ``vjp(X, v)`` along the direction ``u``.

        It is computed by the NumPy kernels with every backend.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        v : array-like, shape (samples, outputs) or (outputs,)
            Weights of the outputs: the Hessian is that of ``v @ outputs``.
        u : array-like, shape (samples, features) or (features,)
            A direction for each sample, or one for all samples.
        of : {"logits", "proba", "predict"}, optional
            As for :meth:`jacobian`.

        Returns
        -------
        ndarray, shape (samples, features)

        Raises
        ------
        ValueError
            As for :meth:`jacobian`, and if there is a :class:`fastnn.CustomActivation`, which has
            no second derivative.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> net.hvp([[0.0, 1.0]], [[1.0, 0.0]], [[1.0, 0.0]]).shape
        (1, 2)
        """
        for pair in self.spec.activation:
            if isinstance(pair, CustomActivation):
                raise ValueError(f"hvp needs second derivatives, which {pair!r} does not have")
        point = _EvaluationPoint(self, X, of)
        v = point.vectors("v", v, point.outputs.n)
        u = point.vectors("u", u, self.spec.n_features)
        direction = self._kernel_vectors(point.times_input_slope(u))
        tangents = self._tangents(point.x, direction[:, None])[:, 0]
        vector = self._kernel_vectors(point.outputs.vjp(point.p, v))
        tangent = self._kernel_vectors(point.outputs.vjp_tangent(point.p, v, tangents))
        product = np.empty_like(direction)
        self.model.input_curvature(point.x, direction, vector, tangent, product)
        product = point.times_input_slope(product)
        if point.curvature is not None:
            product += self._gradients(point.x, vector[:, None])[:, 0] * point.curvature * u
        return product

    def taylor(self, X: Any, u: Any, *, by_params: bool = False) -> Taylor:
        """Value, first and second derivative of the outputs along the direction ``u``.

        For residuals of differential equations, with unit vectors as ``u``; the Jacobians with
        respect to the parameters are those for least squares.
        It is computed by the NumPy kernels with every backend.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        u : array-like, shape (samples, features) or (features,)
            A direction for each sample, or one for all samples.
        by_params : bool, default=False
            Also return the Jacobians with respect to the parameters.

        Returns
        -------
        fastnn.network.taylor.Taylor
            ``value``, ``first`` and ``second`` and, with ``by_params``, ``value_by_params``,
            ``first_by_params`` and ``second_by_params``. The outputs are the values of
            ``predict`` for a regression (their logarithms for poisson), the logits for a
            classification.

        Raises
        ------
        ValueError
            If an argument is invalid, and for a :class:`fastnn.CustomActivation`, which has no
            second derivative.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 8, 1], loss="squared_error", random_state=0)
        >>> X = np.zeros((5, 2))
        >>> laplacian = net.taylor(X, [1, 0]).second + net.taylor(X, [0, 1]).second
        >>> laplacian.shape
        (5, 1)
        """
        from fastnn.network.taylor import compute_taylor

        return compute_taylor(cast("Network", self), X, u, by_params)

    # --- derivatives of the net inputs of the last layer by the inputs of the first ---

    def _kernel_vectors(self, v: np.ndarray) -> np.ndarray:
        """Vectors in the form the kernels take."""
        return np.ascontiguousarray(v, self.spec.dtype)

    def _gradients(self, x: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Products of vectors ``(samples or 1, n, outputs)`` and the Jacobian."""
        out = np.empty((len(x), vectors.shape[1], x.shape[1]), x.dtype)
        return self._in_pieces(self.model.input_gradients, x, vectors, out)

    def _tangents(self, x: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Products of the Jacobian and vectors ``(samples or 1, n, features)``."""
        out = np.empty((len(x), vectors.shape[1], self.spec.n_outputs), x.dtype)
        return self._in_pieces(self.model.output_tangents, x, vectors, out)

    def _in_pieces(
        self, kernel: Any, x: np.ndarray, vectors: np.ndarray, out: np.ndarray
    ) -> np.ndarray:
        """Call a kernel for all samples, in several threads if there are many samples."""
        same = len(vectors) == 1

        def run(rows: slice) -> bool:
            kernel(x[rows], vectors if same else vectors[rows], out[rows])
            return True

        passes = 1 + vectors.shape[1]
        self.predictor.in_pieces(run, len(x), passes, self.n_threads)
        return out


class _EvaluationPoint:
    """Samples at which derivatives are taken, with the functions before and after the layers.

    Attributes
    ----------
    x : ndarray, shape (samples, features)
        Inputs of the first layer.
    outputs : OutputFunction
        The function to differentiate.
    p : ndarray, shape (samples, outputs)
        Predictions in the units of training; empty unless ``outputs`` needs them.
    slope, curvature : ndarray of float64, shape (samples, features) or (1, features), or None
        First and second derivative of ``x`` with respect to the caller's features; None for 1
        and for 0.
    """

    def __init__(self, net: Any, X: Any, of: str | None) -> None:
        spec, scales = net.spec, net.scales
        if of is None and not spec.is_regression:
            of = "proba"
        self.outputs = OutputFunction(spec, scales, of)
        self.features, self.x = check_features(net, X)
        self.slope, self.curvature = scales.input_derivatives(self.features, spec)
        self.dtype = np.dtype(np.float64) if self.slope is not None else spec.dtype
        self.p = np.empty(0)
        if self.outputs.kind != "identity":
            self.p = net.predictor(self.x, True, net.n_threads).astype(self.dtype, copy=False)

    def vectors(self, name: str, value: Any, columns: int) -> np.ndarray:
        """Check vectors, given per sample or once for all, and broadcast them to one per sample."""
        array, samples = as_array(name, value), len(self.x)
        if array.ndim == 1 and columns == 1 and len(array) == samples:
            array = array[:, None]
        if array.shape not in ((columns,), (samples, columns)):
            raise ValueError(
                f"{name} must have shape ({samples}, {columns}) or ({columns},); got {array.shape}"
            )
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} must be real numbers; got dtype {array.dtype}")
        array = np.broadcast_to(array, (samples, columns)).astype(self.dtype)
        check_finite(name, array)
        return array

    def times_input_slope(self, x: np.ndarray) -> np.ndarray:
        """Multiply by the derivative of the first layer's inputs with respect to the features."""
        return x if self.slope is None else x * self.slope


def check_features(net: Any, X: Any, finite: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return the validated samples, unscaled, and the inputs of the first layer.

    With ``finite=False`` NaN is not checked here but by a kernel.
    """
    spec = net.spec
    if is_sparse(X):
        raise ValueError("X is a sparse matrix; derivatives need an array: X.toarray()")
    # validated before scaling, in the caller's precision
    X = by_name("X", X, net.feature_names)
    features = as_matrix("X", X, spec.n_features, spec.input_dtype, finite)
    return features, net.scales.inputs(features, spec) if spec.standardize else features
