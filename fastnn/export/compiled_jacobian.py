"""Value and Jacobian of a network for compiled code.

The forward pass is that of :mod:`fastnn.export.compiled`, but each hidden layer also stores the
slopes of its units. It is followed by a backward pass through the transposed weights for each
output or, if there are fewer features, by a forward pass for each feature. Such a pass starts with
a unit vector, whose product with the first matrix of weights is simply a row of that matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import njit, types

from fastnn.backends import codes
from fastnn.backends.numba.activations import activate, activate_backward
from fastnn.backends.numba.compiling import FASTMATH, inner, noalias
from fastnn.backends.numba.losses import transform_rows
from fastnn.backends.numba.pointers import Matrix, at, cast_like, copy, fill
from fastnn.export.compiled_parts import (
    CompiledLayer,
    compiled_layers,
    concatenate_read_only,
    constant_table,
    make_product,
    make_standardize,
    pad_rows,
    pointer_argument,
    softmax_sample,
    stack_buffer,
)

if TYPE_CHECKING:
    from fastnn.network import Network


def _layer(layer: CompiledLayer, slope_offset: int, number: Any) -> Any:
    """Function ``(x, table, slopes, out)``: a dense layer; its slopes begin at ``slope_offset``."""
    n_in, _, lanes, offset, activation, alpha = layer
    product, net_inputs = make_product(n_in, lanes, number), stack_buffer(lanes, number)
    size = constant_table(np.array([lanes]))
    needs_z = activation in codes.NEEDS_NET_INPUT

    @inner
    def forward(x, table, slopes, out):  # noqa: ANN001, ANN202
        z = net_inputs()
        product(x, at(table, offset), out)
        own_slopes, n = at(slopes, slope_offset), size()[0]
        fill(cast_like(out, 1.0), n, own_slopes)
        if activation != codes.IDENTITY:
            if needs_z:
                copy(out, n, z)
            activate(activation, alpha, n, out)
            activate_backward(z, out, activation, alpha, n, own_slopes)

    return forward


def _compose(first: Any, second: Any, stack: Any) -> Any:
    """Function ``(x, table, slopes, out)``: first, then second."""

    @inner
    def both(x, table, slopes, out):  # noqa: ANN001, ANN202
        intermediate = stack()
        first(x, table, slopes, intermediate)
        second(intermediate, table, slopes, out)

    return both


def _pass_step(slope_offset: int, offset: int, n_in: int, lanes: int, number: Any) -> Any:
    """Function ``(d, table, slopes, out)``: ``d`` times the slopes, then times a matrix."""
    product = make_product(n_in, lanes, number, biases=False)
    size = constant_table(np.array([n_in]))

    @noalias
    def scale(slopes, n, d):  # noqa: ANN001, ANN202
        for j in range(n):
            d[j] = d[j] * slopes[j]

    @inner
    def step(d, table, slopes, out):  # noqa: ANN001, ANN202
        scale(at(slopes, slope_offset), size()[0], d)
        product(d, at(table, offset), out)

    return step


def _make_standardize_with_slopes(net: Network) -> tuple[Any, Any]:
    """Functions ``(x, table, slopes, out)`` that standardises, and ``(x, out)``, its slopes."""
    shift, scale, clip = net.scales.input_shift, net.scales.input_scale, net.smooth_clip
    assert shift is not None
    assert scale is not None
    apply, features = make_standardize(shift, scale, clip), net.n_features
    numbers, clips, factor = (
        constant_table(np.concatenate([shift, scale])),
        clip is not None,
        1.0 / (clip or 1.0),
    )

    @inner
    def standardize(x, table, slopes, out):  # noqa: ANN001, ANN202
        apply(x, table, out)

    @noalias
    def input_slopes(x, out):  # noqa: ANN001, ANN202
        shifts = numbers()
        for j in range(features):
            slope = shifts[features + j]
            if clips:
                z = (x[j] - shifts[j]) * slope * factor
                slope = slope / ((1.0 + z * z) * np.sqrt(1.0 + z * z))
            out[j] = slope

    return standardize, input_slopes


@inner
def _skip_input_slopes(x, out):  # noqa: ANN001, ANN202
    """Placeholder if features are not scaled."""


def _copy_step(n: int) -> Any:
    """Function ``(d, table, slopes, out)`` that copies ``d``, for a network with one layer."""
    size = constant_table(np.array([n]))

    @inner
    def copy_vector(d, table, slopes, out):  # noqa: ANN001, ANN202
        copy(d, size()[0], out)

    return copy_vector


def _passes(
    net: Network, layers: list[CompiledLayer], slope_offsets: list[int], number: Any
) -> Any:
    """The passes for the Jacobian, after the forward pass.

    Returns
    -------
    backward : bool
        Whether there is a backward pass per output; otherwise a forward pass per feature.
    rows : int
        Number of passes.
    row_lanes, lanes : int
        Padded lengths of the vectors with which a pass starts and ends.
    chain : function
        ``(d, table, slopes, out)``, the pass after its first vector.
    values : ndarray
        All matrices, in one array.
    """
    backward = net.n_outputs <= net.n_features
    if backward:  # from the last layer to the first
        tables = [pad_rows(np.ascontiguousarray(w.T)) for w in net.weights[::-1]]
        slope_offsets = slope_offsets[::-1]
    else:
        tables = [pad_rows(w) for w in net.weights]
    offset, chain, width = tables[0].size, None, tables[0].shape[1]
    for slope_offset, table in zip(slope_offsets, tables[1:], strict=True):
        rows, lanes = table.shape
        step = _pass_step(slope_offset, offset, rows, lanes, number)
        chain = step if chain is None else _compose(chain, step, stack_buffer(width, number))
        offset, width = offset + table.size, lanes
    if chain is None:
        chain = _copy_step(width)
    return backward, len(tables[0]), tables[0].shape[1], width, chain, concatenate_read_only(tables)


def compile_jacobian_pointers(net: Network, output: str) -> Any:
    """Compiled ``(x, out, jac)`` on bare pointers, with a copy of the network's weights.

    Parameters
    ----------
    net : Network
    output : {"proba", "logits"}

    Returns
    -------
    function
        For other compiled code; ``jac`` is (outputs, features) in row-major order.
    """
    number = numba.from_dtype(net.dtype)
    scales, features, n_outputs = net.scales, net.n_features, net.n_outputs
    layers, values = compiled_layers(net)
    slope_offsets = np.cumsum([0, *[layer.lanes for layer in layers]]).tolist()
    backward, rows, row_lanes, lanes, chain, second = _passes(
        net, layers, slope_offsets[:-2], number
    )
    forward, width = None, features
    standardizes = scales.input_shift is not None
    input_slopes = _skip_input_slopes
    if standardizes:
        forward, input_slopes = _make_standardize_with_slopes(net)
    for layer, slope_offset in zip(layers, slope_offsets, strict=False):
        layer_pass = _layer(layer, slope_offset, number)
        if forward is not None:
            layer_pass = _compose(forward, layer_pass, stack_buffer(width, number))
        forward = layer_pass
        width = layer.lanes
    table, passes = constant_table(values), constant_table(second)
    z_stack, slope_stack = stack_buffer(width, number), stack_buffer(slope_offsets[-1], number)
    row_stack, result_stack = stack_buffer(row_lanes, number), stack_buffer(lanes, number)
    input_stack = stack_buffer(features, types.float64)
    row_size = constant_table(np.array([row_lanes]))

    @inner
    def all_passes(slopes, jac):  # noqa: ANN001, ANN202
        d, result = row_stack(), result_stack()
        for r in range(rows):
            row = at(passes(), r * row_lanes)
            copy(row, row_size()[0], d)
            chain(d, passes(), slopes, result)
            if backward:
                for i in range(features):
                    jac[r * features + i] = cast_like(jac, result[i])
            else:
                for k in range(n_outputs):
                    jac[k * features + r] = cast_like(jac, result[k])

    finish_outputs = _make_finish_outputs(net, output)

    @inner
    def value_and_jacobian(x, out, jac):  # noqa: ANN001, ANN202
        z, slopes = z_stack(), slope_stack()
        forward(x, table(), slopes, z)
        all_passes(slopes, jac)
        if standardizes:
            factors = input_stack()
            input_slopes(x, factors)
            for k in range(n_outputs):
                for i in range(features):
                    jac[k * features + i] = cast_like(jac, jac[k * features + i] * factors[i])
        finish_outputs(z, out, jac)

    return value_and_jacobian


def _make_finish_outputs(net: Network, output: str) -> Any:
    """Function ``(z, out, jac)``: convert net inputs and their Jacobian to those of outputs."""
    scales, features, n_outputs, loss = net.scales, net.n_features, net.n_outputs, net.model.loss
    transform = output == "proba"
    softmax = transform and net.loss_name == "cross_entropy"
    sigmoid = transform and net.loss_name == "binary_cross_entropy"
    exponential = transform and net.loss_name == "poisson"
    scaled = transform and scales.target_shift is not None
    shift = scale = constant_table(np.zeros(1))
    if scaled and scales.target_shift is not None and scales.target_scale is not None:
        shift = constant_table(scales.target_shift.copy())
        scale = constant_table(scales.target_scale.copy())

    @inner
    def finish_outputs(z, out, jac):  # noqa: ANN001, ANN202
        if softmax:
            softmax_sample(n_outputs, z)
            for i in range(features):
                mean = z[0] * jac[i]
                for k in range(1, n_outputs):
                    mean += z[k] * jac[k * features + i]
                for k in range(n_outputs):
                    jac[k * features + i] = cast_like(jac, z[k] * (jac[k * features + i] - mean))
        elif transform:
            transform_rows(loss, Matrix(z, 1, n_outputs, n_outputs))
        for k in range(n_outputs):
            factor, value = cast_like(jac, 1.0), z[k]
            if sigmoid:
                factor = cast_like(jac, value * (cast_like(z, 1.0) - value))
            elif exponential:
                factor = cast_like(jac, value)
            if scaled:
                factor = cast_like(jac, 1.0 / scale()[k])
                out[k] = cast_like(out, value / scale()[k] + shift()[k])
            else:
                out[k] = cast_like(out, value)
            if sigmoid or exponential or scaled:
                for i in range(features):
                    jac[k * features + i] = jac[k * features + i] * factor

    return finish_outputs


def numba_jacobian(net: Network, output: str) -> Callable:
    """Implementation of :meth:`fastnn.Network.numba_predict` with ``derivative="jacobian"``."""
    number = numba.from_dtype(net.dtype)
    network = compile_jacobian_pointers(net, output)
    standardizes = net.scales.input_shift is not None
    both = {number, types.float64}
    kinds = both if standardizes else {number}
    x_pointer = pointer_argument("x", kinds, False)
    out_pointer = pointer_argument("out", kinds, True)
    jac_pointer = pointer_argument("jac", kinds, True, 2)
    features, outputs = net.n_features, net.n_outputs
    wrong_x = f"x must have shape ({features},), one number per feature"
    wrong_out = f"out must have shape ({outputs},), one number an output"
    wrong_jac = f"jac must have shape ({outputs}, {features}), a row an output"

    @njit(nogil=True, error_model="numpy", fastmath=FASTMATH)
    def predict(x, out, jac):  # noqa: ANN001, ANN202
        x_, out_, jac_ = x_pointer(x), out_pointer(out), jac_pointer(jac)
        if x.shape[0] != features:
            raise ValueError(wrong_x)
        if out.shape[0] != outputs:
            raise ValueError(wrong_out)
        if jac.shape[0] != outputs or jac.shape[1] != features:
            raise ValueError(wrong_jac)
        network(x_, out_, jac_)

    return predict
