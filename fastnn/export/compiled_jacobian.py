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
from fastnn.backends.numba.activations import activate, activate_back
from fastnn.backends.numba.compiling import FASTMATH, distinct, inner
from fastnn.backends.numba.losses import transform_block
from fastnn.backends.numba.pointers import Matrix, at, copy, fill, like
from fastnn.export.compiled_parts import (
    Frozen,
    argument_of,
    frozen,
    product_of,
    read_only_table,
    softmax_of_sample,
    stack_of,
    standardize_by,
    table_of,
    with_whole_vectors,
)

if TYPE_CHECKING:
    from fastnn.network import Network


def _layer(layer: Frozen, place: int, number: Any) -> Any:
    """Function ``(x, table, slopes, out)``: a dense layer; its slopes begin at ``place``."""
    n_in, _, lanes, offset, activation, alpha = layer
    product, net_inputs = product_of(n_in, lanes, number), stack_of(lanes, number)
    size = table_of(np.array([lanes]))
    needs_z = activation in codes.NEEDS_NET_INPUT

    @inner
    def forward(x, table, slopes, out):  # noqa: ANN001, ANN202
        z = net_inputs()
        product(x, at(table, offset), out)
        mine, n = at(slopes, place), size()[0]
        fill(like(out, 1.0), n, mine)
        if activation != codes.IDENTITY:
            if needs_z:
                copy(out, n, z)
            activate(activation, alpha, n, out)
            activate_back(z, out, activation, alpha, n, mine)

    return forward


def _then(first: Any, second: Any, stack: Any) -> Any:
    """Function ``(x, table, slopes, out)``: first, then second."""

    @inner
    def both(x, table, slopes, out):  # noqa: ANN001, ANN202
        between = stack()
        first(x, table, slopes, between)
        second(between, table, slopes, out)

    return both


def _link(place: int, offset: int, n_in: int, lanes: int, number: Any) -> Any:
    """Function ``(d, table, slopes, out)``: ``d`` times the slopes, then times a matrix."""
    product = product_of(n_in, lanes, number, biases=False)
    size = table_of(np.array([n_in]))

    @distinct
    def scale(slopes, n, d):  # noqa: ANN001, ANN202
        for j in range(n):
            d[j] = d[j] * slopes[j]

    @inner
    def link(d, table, slopes, out):  # noqa: ANN001, ANN202
        scale(at(slopes, place), size()[0], d)
        product(d, at(table, offset), out)

    return link


def _standard(net: Network) -> tuple[Any, Any]:
    """Functions ``(x, table, slopes, out)`` that standardises, and ``(x, out)``, its slopes."""
    shift, scale, clip = net.scales.input_shift, net.scales.input_scale, net.smooth_clip
    assert shift is not None
    assert scale is not None
    apply, features = standardize_by(shift, scale, clip), net.n_features
    numbers, clips, factor = (
        table_of(np.concatenate([shift, scale])),
        clip is not None,
        1.0 / (clip or 1.0),
    )

    @inner
    def standardize(x, table, slopes, out):  # noqa: ANN001, ANN202
        apply(x, table, out)

    @distinct
    def slopes_of(x, out):  # noqa: ANN001, ANN202
        shifts = numbers()
        for j in range(features):
            slope = shifts[features + j]
            if clips:
                z = (x[j] - shifts[j]) * slope * factor
                slope = slope / ((1.0 + z * z) * np.sqrt(1.0 + z * z))
            out[j] = slope

    return standardize, slopes_of


@inner
def _no_slopes(x, out):  # noqa: ANN001, ANN202
    """Placeholder if features are not scaled."""


def _passed_on(n: int) -> Any:
    """Function ``(d, table, slopes, out)`` that copies ``d``, for a network with one layer."""
    size = table_of(np.array([n]))

    @inner
    def pass_on(d, table, slopes, out):  # noqa: ANN001, ANN202
        copy(d, size()[0], out)

    return pass_on


def _passes(net: Network, layers: list[Frozen], places: list[int], number: Any) -> Any:
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
        tables = [with_whole_vectors(np.ascontiguousarray(w.T)) for w in net.weights[::-1]]
        places = places[::-1]
    else:
        tables = [with_whole_vectors(w) for w in net.weights]
    offset, chain, before = tables[0].size, None, tables[0].shape[1]
    for place, table in zip(places, tables[1:], strict=True):
        rows, lanes = table.shape
        link = _link(place, offset, rows, lanes, number)
        chain = link if chain is None else _then(chain, link, stack_of(before, number))
        offset, before = offset + table.size, lanes
    if chain is None:
        chain = _passed_on(before)
    return backward, len(tables[0]), tables[0].shape[1], before, chain, read_only_table(tables)


def jacobian_pointers(net: Network, output: str) -> Any:
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
    layers, values = frozen(net)
    places = np.cumsum([0, *[layer.lanes for layer in layers]]).tolist()
    backward, rows, row_lanes, lanes, chain, second = _passes(net, layers, places[:-2], number)
    forward, before = None, features
    standardizes = scales.input_shift is not None
    slopes_of = _no_slopes
    if standardizes:
        forward, slopes_of = _standard(net)
    for layer, place in zip(layers, places, strict=False):
        one = _layer(layer, place, number)
        forward = one if forward is None else _then(forward, one, stack_of(before, number))
        before = layer.lanes
    table, passes = table_of(values), table_of(second)
    z_stack, slope_stack = stack_of(before, number), stack_of(places[-1], number)
    row_stack, result_stack = stack_of(row_lanes, number), stack_of(lanes, number)
    input_stack, row_size = stack_of(features, types.float64), table_of(np.array([row_lanes]))

    @inner
    def all_passes(slopes, jac):  # noqa: ANN001, ANN202
        d, result = row_stack(), result_stack()
        for r in range(rows):
            row = at(passes(), r * row_lanes)
            copy(row, row_size()[0], d)
            chain(d, passes(), slopes, result)
            if backward:
                for i in range(features):
                    jac[r * features + i] = like(jac, result[i])
            else:
                for k in range(n_outputs):
                    jac[k * features + r] = like(jac, result[k])

    finish = _outputs(net, output)

    @inner
    def value_and_jacobian(x, out, jac):  # noqa: ANN001, ANN202
        z, slopes = z_stack(), slope_stack()
        forward(x, table(), slopes, z)
        all_passes(slopes, jac)
        if standardizes:
            of_inputs = input_stack()
            slopes_of(x, of_inputs)
            for k in range(n_outputs):
                for i in range(features):
                    jac[k * features + i] = like(jac, jac[k * features + i] * of_inputs[i])
        finish(z, out, jac)

    return value_and_jacobian


def _outputs(net: Network, output: str) -> Any:
    """Function ``(z, out, jac)``: convert net inputs and their Jacobian to those of outputs."""
    scales, features, n_outputs, loss = net.scales, net.n_features, net.n_outputs, net.model.loss
    transform = output == "proba"
    softmax = transform and net.loss_name == "cross_entropy"
    sigmoid = transform and net.loss_name == "binary_cross_entropy"
    exponential = transform and net.loss_name == "poisson"
    scaled = transform and scales.target_shift is not None
    shift = scale = table_of(np.zeros(1))
    if scaled and scales.target_shift is not None and scales.target_scale is not None:
        shift, scale = table_of(scales.target_shift.copy()), table_of(scales.target_scale.copy())

    @inner
    def finish(z, out, jac):  # noqa: ANN001, ANN202
        if softmax:
            softmax_of_sample(n_outputs, z)
            for i in range(features):
                mean = z[0] * jac[i]
                for k in range(1, n_outputs):
                    mean += z[k] * jac[k * features + i]
                for k in range(n_outputs):
                    jac[k * features + i] = like(jac, z[k] * (jac[k * features + i] - mean))
        elif transform:
            transform_block(loss, Matrix(z, 1, n_outputs, n_outputs))
        for k in range(n_outputs):
            factor, value = like(jac, 1.0), z[k]
            if sigmoid:
                factor = like(jac, value * (like(z, 1.0) - value))
            elif exponential:
                factor = like(jac, value)
            if scaled:
                factor = like(jac, 1.0 / scale()[k])
                out[k] = like(out, value / scale()[k] + shift()[k])
            else:
                out[k] = like(out, value)
            if sigmoid or exponential or scaled:
                for i in range(features):
                    jac[k * features + i] = jac[k * features + i] * factor

    return finish


def numba_jacobian(net: Network, output: str) -> Callable:
    """Implementation of :meth:`fastnn.Network.numba_predict` with ``derivative="jacobian"``."""
    number = numba.from_dtype(net.dtype)
    network = jacobian_pointers(net, output)
    standardizes = net.scales.input_shift is not None
    both = {number, types.float64}
    kinds = both if standardizes else {number}
    x_pointer = argument_of("x", kinds, False)
    out_pointer = argument_of("out", kinds, True)
    jac_pointer = argument_of("jac", kinds, True, 2)
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
