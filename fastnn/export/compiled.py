"""Networks called from compiled code: what ``Network.numba_predict`` and ``cfunc`` give.

One sample at a time, so that the loops run along a layer's units. The weights are copied with
their rows padded to whole vectors; sizes, activations and offsets are constants of the compiled
code, so that LLVM unrolls what is small and loops over what is not. What lies between two layers
stands on the stack. The elementary functions are the Numba backend's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastnn.backends import codes
from fastnn.backends.numba.activations import activate
from fastnn.backends.numba.compiling import FASTMATH, distinct, inner
from fastnn.backends.numba.losses import transform_block
from fastnn.backends.numba.maths import exp_negative
from fastnn.backends.numba.pointers import Matrix, at, like
from fastnn.backends.plan import aligned_empty

if TYPE_CHECKING:
    from fastnn.network import Network

VECTOR_BYTES = 32  # one register of AVX2, two of SSE or NEON
TILE = 4  # vectors of units that are summed at a time, in registers


def _stack(units: int, dtype: types.Type) -> Any:
    """Function that gives ``units`` numbers of the stack.

    The memory belongs to the entry block of the function it is compiled into, so that a loop
    around the call does not take more and more of it.
    """

    @intrinsic
    def stack(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            element = context.get_value_type(dtype)
            array = cgutils.alloca_once(builder, ir.ArrayType(element, units))
            array.align = 64
            return builder.bitcast(array, element.as_pointer())

        return types.CPointer(dtype)(), codegen

    return stack


def _table(array: np.ndarray) -> Any:
    """Function that gives the address of an array, which it keeps alive.

    A dynamic address: code that holds one refuses Numba's cache, where it would outlive the array.
    """
    result = types.CPointer(numba.from_dtype(array.dtype))

    @intrinsic
    def table(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            address = context.add_dynamic_addr(builder, array.ctypes.data, "weights of a network")
            return builder.bitcast(address, context.get_value_type(result))

        return result(), codegen

    return table


def _product(n_in: int, units: int, dtype: types.Float) -> Any:
    """Function ``(x, w, out)``: biases, the first row of w, plus x times its other rows.

    Written in LLVM's vectors, because what the compiler makes of a loop of eight is chance.
    ``units`` is a whole number of vectors.
    """
    lanes = VECTOR_BYTES // (dtype.bitwidth // 8)
    flags = ("contract", "reassoc", "nsz")

    @intrinsic
    def product(typingctx: Any, x: Any, w: Any, out: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x_, w_, out_ = args
            number, size = context.get_value_type(dtype), context.get_value_type(types.intp)
            vector = ir.VectorType(number, lanes)
            lane = ir.IntType(32)

            def vector_at(pointer: Any, offset: Any) -> Any:
                return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())

            def load(pointer: Any, offset: Any) -> Any:
                return builder.load(vector_at(pointer, offset), align=dtype.bitwidth // 8)

            def tile(first: Any, vectors: int) -> None:
                offsets = [builder.add(first, size(v * lanes)) for v in range(vectors)]
                sums = [cgutils.alloca_once_value(builder, load(w_, offset)) for offset in offsets]
                with cgutils.for_range(builder, size(n_in)) as loop:
                    value = builder.load(builder.gep(x_, [loop.index]))
                    spread = builder.insert_element(vector(ir.Undefined), value, lane(0))
                    spread = builder.shuffle_vector(
                        spread, vector(ir.Undefined), ir.VectorType(lane, lanes)([0] * lanes)
                    )
                    row = builder.mul(builder.add(loop.index, size(1)), size(units))
                    for total, offset in zip(sums, offsets, strict=True):
                        term = builder.fmul(load(w_, builder.add(row, offset)), spread, flags)
                        builder.store(builder.fadd(builder.load(total), term, flags), total)
                for total, offset in zip(sums, offsets, strict=True):
                    builder.store(
                        builder.load(total), vector_at(out_, offset), align=dtype.bitwidth // 8
                    )

            width = TILE * lanes
            if units >= width:
                with cgutils.for_range(builder, size(units // width)) as loop:
                    tile(builder.mul(loop.index, size(width)), TILE)
            if units % width:
                tile(size(units // width * width), units % width // lanes)
            return context.get_dummy_value()

        return types.void(x, w, out), codegen

    return product


def _argument(name: str, dtypes: set[types.Type], written: bool) -> Any:
    """Function that gives the address of an argument, or an error when its type is wrong."""
    allowed = " or ".join(sorted(map(str, dtypes)))
    why = "the network's dtype" if len(dtypes) == 1 else "as the network standardises"

    @intrinsic
    def pointer(typingctx: Any, array: Any) -> Any:
        if not (
            isinstance(array, types.Array)
            and array.ndim == 1
            and array.layout == "C"
            and array.dtype in dtypes
            and (array.mutable or not written)
        ):
            raise TypingError(
                f"{name} must be a C-contiguous {'writeable ' if written else ''}1-D array of "
                f"{allowed}, {why}; got {array}"
            )

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.make_array(array)(context, builder, args[0]).data

        return types.CPointer(array.dtype)(array), codegen

    return pointer


def _layer(
    n_in: int, units: int, lanes: int, offset: int, activation: int, alpha: float, number: Any
) -> Any:
    """Function ``(x, table, out)``: one dense layer."""
    product = _product(n_in, lanes, number)
    # Were the number a constant, LLVM would unroll a short loop before it could vectorise it.
    size = _table(np.array([lanes]))

    @inner
    def layer(x, table, out):  # noqa: ANN001, ANN202
        product(x, at(table, offset), out)
        if activation != codes.IDENTITY:
            activate(activation, alpha, size()[0], out)

    return layer


def _then(first: Any, second: Any, stack: Any) -> Any:
    """Function ``(x, table, out)``: one after the other, the result of the first on the stack."""

    @inner
    def both(x, table, out):  # noqa: ANN001, ANN202
        between = stack()
        first(x, table, between)
        second(between, table, out)

    return both


@inner
def _softmax(n, z):  # noqa: ANN001, ANN202
    """Net inputs of one sample become probabilities."""
    top = z[0]
    for unit in range(1, n):
        top = top if z[unit] < top else z[unit]
    total = like(z, 0.0)
    for unit in range(n):
        z[unit] = exp_negative(z[unit] - top)
    for unit in range(n):
        total += z[unit]
    for unit in range(n):
        z[unit] = z[unit] / total


def pointers(net: Network, output: str) -> Any:
    """Compiled ``(x, out)`` on bare pointers, with a copy of the network's weights.

    Parameters
    ----------
    net : Network
    output : {"proba", "logits"}

    Returns
    -------
    function
        For other compiled code. Where the network standardises, ``x`` may be float64 whatever
        its dtype; where it brings targets back to their units, ``out`` too.
    """
    number = numba.from_dtype(net.dtype)
    per_vector = VECTOR_BYTES // net.dtype.itemsize
    rows, chain, offset = [], None, 0
    scales, model = net.scales, net.model
    if scales.input_shift is not None and scales.input_scale is not None:
        chain = _standardize(scales.input_shift, scales.input_scale, net.smooth_clip)
    before = net.n_features
    constants = [*model.plan.constants[:-1], 0.0]  # the last one belongs to the loss
    for row, alpha, w, b in zip(model.plan.layers, constants, net.weights, net.biases, strict=True):
        n_in, units = w.shape
        lanes = -(-units // per_vector) * per_vector
        padded = np.zeros((n_in + 1, lanes), net.dtype)
        padded[0, :units], padded[1:, :units] = b, w
        rows.append(padded.ravel())
        layer = _layer(n_in, units, lanes, offset, int(row[codes.ACTIVATION]), float(alpha), number)
        chain = layer if chain is None else _then(chain, layer, _stack(before, number))
        offset, before = offset + padded.size, lanes
    values = aligned_empty((offset,), net.dtype)
    np.concatenate(rows, out=values)
    values.setflags(write=False)
    table, stack = _table(values), _stack(before, number)

    n_outputs = net.n_outputs
    softmax = output == "proba" and net.loss_name == "cross_entropy"
    transform, loss = output == "proba", model.loss
    scaled = scales.target_shift is not None and output == "proba"
    shift = scale = table
    if scaled and scales.target_shift is not None and scales.target_scale is not None:
        shift, scale = _table(scales.target_shift.copy()), _table(scales.target_scale.copy())

    @inner
    def predict(x, out):  # noqa: ANN001, ANN202
        z = stack()
        chain(x, table(), z)
        if softmax:
            _softmax(n_outputs, z)
        elif transform:  # the others are elementwise: one unit of several samples, so to say
            transform_block(loss, Matrix(z, 1, n_outputs, n_outputs))
        for unit in range(n_outputs):
            if scaled:
                out[unit] = like(out, z[unit] / scale()[unit] + shift()[unit])
            else:
                out[unit] = like(out, z[unit])

    return predict


def _standardize(shift: np.ndarray, scale: np.ndarray, smooth_clip: float | None) -> Any:
    """Function ``(x, table, out)``: shift, scale and clip in float64; it has its own table."""
    features, clips, factor = len(shift), smooth_clip is not None, 1.0 / (smooth_clip or 1.0)
    own = _table(np.concatenate([shift, scale]))

    @distinct
    def standardize(x, table, out):  # noqa: ANN001, ANN202
        numbers = own()
        for j in range(features):
            z = (x[j] - numbers[j]) * numbers[features + j]
            if clips:
                z = z / np.sqrt(1.0 + (z * factor) * (z * factor))
            out[j] = like(out, z)

    return standardize


def _double_pointers(net: Network, output: str) -> Any:
    """As :func:`pointers`, but x and out are float64 whatever the network's dtype."""
    number, network = numba.from_dtype(net.dtype), pointers(net, output)
    if net.dtype == np.float64:
        return network
    takes, gives = _accepts_double(net, output)
    features, outputs = net.n_features, net.n_outputs
    inputs, results = _stack(features, number), _stack(outputs, number)

    @inner
    def cast(source, n, target):  # noqa: ANN001, ANN202
        for j in range(n):
            target[j] = like(target, source[j])

    if takes and gives:
        return network
    if takes:

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


def _accepts_double(net: Network, output: str) -> tuple[bool, bool]:
    """Whether the compiled network takes, and gives, float64 whatever its dtype."""
    return (
        net.scales.input_shift is not None,
        net.scales.target_shift is not None and output == "proba",
    )


def numba_predict(net: Network, output: str) -> Callable:
    """See :meth:`fastnn.Network.numba_predict`."""
    number = numba.from_dtype(net.dtype)
    network = pointers(net, output)
    takes, gives = _accepts_double(net, output)
    both = {number, types.float64}
    x_pointer = _argument("x", both if takes else {number}, False)
    out_pointer = _argument("out", both if gives else {number}, True)
    features, outputs = net.n_features, net.n_outputs
    wrong_x = f"x must have shape ({features},), one number a feature"
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
        Good as long as this object, or its ``ctypes``, lives.
    ctypes : ctypes function
        For ``scipy.LowLevelCallable`` and ctypes; keeps the function alive.
    signature : str
        Its type in C.
    """

    def __init__(self, function: Any, signature: str) -> None:
        self.address: int = function.address
        self.ctypes = function.ctypes
        self.ctypes.owner = function  # holds the code, which holds the weights
        self.signature = signature

    def __repr__(self) -> str:
        return f"CFunction({self.signature!r}, address={self.address:#x})"


def cfunc(net: Network, signature: str, output: str) -> CFunction:
    """See :meth:`fastnn.Network.cfunc`."""
    if signature != "predict":
        return _cfunc_of_doubles(net, signature, output)
    network, address = pointers(net, output), types.CPointer(numba.from_dtype(net.dtype))

    def predict(x, out):  # noqa: ANN001, ANN202
        network(x, out)

    real = "float" if net.dtype == np.float32 else "double"
    return CFunction(
        numba.cfunc(types.void(address, address))(predict), f"void (const {real} *, {real} *)"
    )


def _cfunc_of_doubles(net: Network, signature: str, output: str) -> CFunction:
    """Those whose numbers are double whatever the network's dtype."""
    network, address = _double_pointers(net, output), types.CPointer(types.double)
    if signature == "predict_double":

        def predict(x, out):  # noqa: ANN001, ANN202
            network(x, out)

        return CFunction(
            numba.cfunc(types.void(address, address))(predict), "void (const double *, double *)"
        )
    features, result = net.n_features, _stack(1, types.double)

    def integrand(n, x):  # noqa: ANN001, ANN202
        if n != features:
            return np.nan
        out = result()
        network(x, out)
        return out[0]

    signature_ = types.double(types.intc, address)
    return CFunction(numba.cfunc(signature_)(integrand), "double (int, double *)")
