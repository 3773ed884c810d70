"""Networks called from compiled code: ``Network.numba_predict`` and ``Network.cfunc``.

A call processes one sample, so the loops run along the units of a layer. The weights are copied
with their rows padded to whole vectors. Sizes, activations and offsets are constants of the
compiled code, so that LLVM can unroll short loops. Outputs of hidden layers are on the stack. The
elementary functions are those of the Numba backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import njit, types

from fastnn.backends import codes
from fastnn.backends.numba.activations import activate
from fastnn.backends.numba.compiling import FASTMATH, inner, optimized
from fastnn.backends.numba.losses import transform_rows
from fastnn.backends.numba.pointers import Matrix, at, cast_like
from fastnn.export.compiled_parts import (
    CompiledLayer,
    compiled_layers,
    constant_table,
    make_product,
    make_standardize,
    pointer_argument,
    softmax_sample,
    stack_buffer,
)

if TYPE_CHECKING:
    from fastnn.network import Network


def _layer(compiled_layer: CompiledLayer, number: Any) -> Any:
    """Function ``(x, table, out)``: one dense layer."""
    n_in, _, lanes, offset, activation, alpha = compiled_layer
    product = make_product(n_in, lanes, number)
    # Not a compile-time constant: LLVM would unroll a short loop before it could vectorise it.
    size = constant_table(np.array([lanes]))

    # Optimised on its own: if all layers are one function for LLVM, a call takes 1.6 times as long.
    @optimized
    def layer(x, table, out):  # noqa: ANN001, ANN202
        product(x, at(table, offset), out)
        if activation != codes.IDENTITY:
            activate(activation, alpha, size()[0], out)

    return layer


def _compose(first: Any, second: Any, stack: Any) -> Any:
    """Function ``(x, table, out)``: first, then second, with the result of first on the stack."""

    @inner
    def both(x, table, out):  # noqa: ANN001, ANN202
        intermediate = stack()
        first(x, table, intermediate)
        second(intermediate, table, out)

    return both


def compile_pointers(net: Network, output: str) -> Any:
    """Compiled ``(x, out)`` on bare pointers, with a copy of the network's weights.

    Parameters
    ----------
    net : Network
    output : {"proba", "logits"}

    Returns
    -------
    function
        For other compiled code. If the network standardises, ``x`` may be float64 for any dtype
        of the network; if it converts outputs to the units of the targets, so may ``out``.
    """
    number = numba.from_dtype(net.dtype)
    scales, model = net.scales, net.model
    layers, values = compiled_layers(net)
    chain, width = None, net.n_features
    if scales.input_shift is not None and scales.input_scale is not None:
        chain = make_standardize(scales.input_shift, scales.input_scale, net.smooth_clip)
    for compiled_layer in layers:
        layer = _layer(compiled_layer, number)
        chain = layer if chain is None else _compose(chain, layer, stack_buffer(width, number))
        width = compiled_layer.lanes
    table, stack = constant_table(values), stack_buffer(width, number)

    n_outputs = net.n_outputs
    softmax = output == "proba" and net.loss_name == "cross_entropy"
    transform, loss = output == "proba", model.loss
    scaled = scales.target_shift is not None and output == "proba"
    shift = scale = table
    if scaled and scales.target_shift is not None and scales.target_scale is not None:
        shift = constant_table(scales.target_shift.copy())
        scale = constant_table(scales.target_scale.copy())

    @inner
    def predict(x, out):  # noqa: ANN001, ANN202
        z = stack()
        chain(x, table(), z)
        if softmax:
            softmax_sample(n_outputs, z)
        elif transform:  # elementwise: outputs are treated as samples of a single unit
            transform_rows(loss, Matrix(z, 1, n_outputs, n_outputs))
        for unit in range(n_outputs):
            if scaled:
                out[unit] = cast_like(out, z[unit] / scale()[unit] + shift()[unit])
            else:
                out[unit] = cast_like(out, z[unit])

    return predict


def _compile_double_pointers(net: Network, output: str) -> Any:
    """Like :func:`compile_pointers`, but x and out are float64 for any dtype of the network."""
    number, network = numba.from_dtype(net.dtype), compile_pointers(net, output)
    if net.dtype == np.float64:
        return network
    x_may_be_double, out_may_be_double = _takes_double(net, output)
    features, outputs = net.n_features, net.n_outputs
    inputs, results = stack_buffer(features, number), stack_buffer(outputs, number)

    @inner
    def cast(source, n, target):  # noqa: ANN001, ANN202
        for j in range(n):
            target[j] = cast_like(target, source[j])

    if x_may_be_double and out_may_be_double:
        return network
    if x_may_be_double:

        @inner
        def predict(x, out):  # noqa: ANN001, ANN202
            z = results()
            network(x, z)
            cast(z, outputs, out)

    else:

        @inner
        def predict(x, out):  # noqa: ANN001, ANN202
            x_, z = inputs(), results()
            cast(x, features, x_)
            network(x_, z)
            cast(z, outputs, out)

    return predict


def _takes_double(net: Network, output: str) -> tuple[bool, bool]:
    """Whether the compiled network accepts float64 for x, and for out, for any of its dtypes."""
    return (
        net.scales.input_shift is not None,
        net.scales.target_shift is not None and output == "proba",
    )


def numba_predict(net: Network, output: str) -> Callable:
    """Implementation of :meth:`fastnn.Network.numba_predict`."""
    number = numba.from_dtype(net.dtype)
    network = compile_pointers(net, output)
    x_may_be_double, out_may_be_double = _takes_double(net, output)
    both = {number, types.float64}
    x_pointer = pointer_argument("x", both if x_may_be_double else {number}, False)
    out_pointer = pointer_argument("out", both if out_may_be_double else {number}, True)
    features, outputs = net.n_features, net.n_outputs
    wrong_x = f"x must have shape ({features},), one number per feature"
    wrong_out = f"out must have shape ({outputs},), one number an output"

    @njit(nogil=True, error_model="numpy", fastmath=FASTMATH)
    def predict(x, out):  # noqa: ANN001, ANN202
        x_, out_ = x_pointer(x), out_pointer(out)
        if x.shape[0] != features:
            raise ValueError(wrong_x)
        if out.shape[0] != outputs:
            raise ValueError(wrong_out)
        network(x_, out_)

    return predict


class CFunction:
    """A network as a C function; see :meth:`fastnn.Network.cfunc`.

    Attributes
    ----------
    address : int
        Address of the function, valid as long as this object or its ``ctypes`` is alive.
    ctypes : ctypes function
        For ``scipy.LowLevelCallable`` and ctypes; keeps the function alive.
    signature : str
        Type of the function in C.
    """

    def __init__(self, function: Any, signature: str) -> None:
        self.address: int = function.address
        self.ctypes = function.ctypes
        self.ctypes.owner = function  # keeps the code alive, which references the weights
        self.signature = signature

    def __repr__(self) -> str:
        return f"CFunction({self.signature!r}, address={self.address:#x})"


def cfunc(net: Network, signature: str, output: str) -> CFunction:
    """Implementation of :meth:`fastnn.Network.cfunc`."""
    if signature not in ("predict", "value_and_jacobian"):
        return _cfunc_of_doubles(net, signature, output)
    address = types.CPointer(numba.from_dtype(net.dtype))
    real = "float" if net.dtype == np.float32 else "double"
    if signature == "value_and_jacobian":
        from fastnn.export.compiled_jacobian import compile_jacobian_pointers

        both = compile_jacobian_pointers(net, output)

        def value_and_jacobian(x, out, jac):  # noqa: ANN001, ANN202
            both(x, out, jac)

        return CFunction(
            numba.cfunc(types.void(address, address, address))(value_and_jacobian),
            f"void (const {real} *, {real} *, {real} *)",
        )
    network = compile_pointers(net, output)

    def predict(x, out):  # noqa: ANN001, ANN202
        network(x, out)

    return CFunction(
        numba.cfunc(types.void(address, address))(predict), f"void (const {real} *, {real} *)"
    )


def _cfunc_of_doubles(net: Network, signature: str, output: str) -> CFunction:
    """C functions with arguments of type double for any dtype of the network."""
    network, address = _compile_double_pointers(net, output), types.CPointer(types.double)
    if signature == "predict_double":

        def predict(x, out):  # noqa: ANN001, ANN202
            network(x, out)

        return CFunction(
            numba.cfunc(types.void(address, address))(predict), "void (const double *, double *)"
        )
    features, result = net.n_features, stack_buffer(1, types.double)

    def integrand(n, x):  # noqa: ANN001, ANN202
        if n != features:
            return np.nan
        out = result()
        network(x, out)
        return out[0]

    signature_ = types.double(types.intc, address)
    return CFunction(numba.cfunc(signature_)(integrand), "double (int, double *)")
