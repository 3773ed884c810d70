"""Value, first and second directional derivative, for losses that contain derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.backends.numpy import taylor, taylor_gradient
from fastnn.memory import check_memory
from fastnn.network.custom import CustomActivation
from fastnn.network.derivatives import check_features
from fastnn.network.output_function import OutputFunction
from fastnn.validation import as_array, check_finite

if TYPE_CHECKING:
    from fastnn.network.network import Network


class Taylor(NamedTuple):
    """Result of :meth:`fastnn.Network.taylor`.

    Attributes
    ----------
    value, first, second : ndarray, shape (samples, outputs)
        Outputs with their first and second directional derivatives.
    value_by_params, first_by_params, second_by_params : ndarray, or None
        Jacobians of the three with respect to the parameters, (samples, outputs, n_params), if
        requested.
    """

    value: np.ndarray
    first: np.ndarray
    second: np.ndarray
    value_by_params: np.ndarray | None = None
    first_by_params: np.ndarray | None = None
    second_by_params: np.ndarray | None = None


def compute_taylor(net: Network, X: Any, u: Any, by_params: bool) -> Taylor:
    """Implementation of :meth:`fastnn.Network.taylor`."""
    spec, scales, model = net.spec, net.scales, net.model
    for pair in spec.activation:
        if isinstance(pair, CustomActivation):
            raise ValueError(f"taylor needs second derivatives, which {pair!r} does not have")
    features, x = check_features(net, X)
    u = as_array("u", u)
    if u.shape not in ((spec.n_features,), features.shape) or u.dtype.kind not in "fiub":
        raise ValueError(
            f"u must be numbers of shape {features.shape} or ({spec.n_features},); "
            f"got {u.dtype} of shape {u.shape}"
        )
    u = np.broadcast_to(u, features.shape).astype(np.float64)
    check_finite("u", u)
    slope, curvature = scales.input_derivatives(features, spec)
    curve = np.zeros((3, *x.shape), spec.dtype)
    curve[0] = x
    curve[1] = u if slope is None else u * slope
    if curvature is not None:
        curve[2] = curvature * u**2
    out, caches = taylor(model.net, np.ascontiguousarray(curve.transpose(0, 2, 1)), model.params)
    z = out.transpose(0, 2, 1)
    # for poisson the derivatives are of z, the logarithm of the predictions, not of exp(z)
    kind = "predict" if spec.is_regression and spec.loss != "poisson" else "logits"
    scale = OutputFunction(spec, scales, kind).target_scale
    value, first, second = z if scale is None else z / scale
    if scale is not None:
        value = value + scales.target_shift
    if not by_params:
        return Taylor(value, first, second)
    shape = (3, len(x), spec.n_outputs, net.n_params)
    check_memory(
        f"three Jacobians of {len(x):,} samples by {net.n_params:,} parameters",
        2 * int(np.prod(shape)) * spec.dtype.itemsize,
    )
    jacobians = np.empty(shape, spec.dtype if scale is None else np.float64)
    rows = np.empty((net.n_params, len(x)), spec.dtype)
    for order in range(3):
        for k in range(spec.n_outputs):
            vector = np.zeros_like(out)
            vector[order, k] = 1 if scale is None else 1 / scale[k]
            taylor_gradient(model.net, caches, vector, model.params, rows)
            jacobians[order, :, k] = rows.T
    return Taylor(value, first, second, *jacobians)
