"""Forward, backward and update for compiled code: ``Network.numba_tape``.

The kernels are not compiled into the caller. Their machine code is called, the same that
``Network.forward`` uses, so that results are bit-identical and callers compile fast. A tape is an
array with the number of rows and of updates, the inputs, the outputs, if needed slopes of the
inputs, partial gradients, and the scratch memory of the kernels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from fastnn import backends
from fastnn.backends.numba.pointers import at, cast_like, reinterpret
from fastnn.backends.numba.tape import _apply_gradient, _tape_backward, _tape_forward
from fastnn.backends.plan import ALIGNMENT, aligned_zeros
from fastnn.export.compiled_parts import pointer_argument

if TYPE_CHECKING:
    from fastnn.backends.interface import Net
    from fastnn.backends.model import Model, TapeMemory
    from fastnn.network import Network

compiled = njit(nogil=True, error_model="numpy")  # no fastmath: operations keep NumPy's order


class NumbaTape(NamedTuple):
    """Functions for compiled code and a tape; see :meth:`fastnn.Network.numba_tape`."""

    forward: Callable
    backward: Callable
    apply: Callable
    tape: np.ndarray


def _shared_array(array: np.ndarray) -> Any:
    """Create a function that returns an existing array, not a copy, and keeps it alive."""
    kind = numba.typeof(array)

    @intrinsic
    def get(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            struct, size = context.make_array(kind)(context, builder), context.get_value_type
            address = context.add_dynamic_addr(builder, array.ctypes.data, "array of a network")

            def numbers(values: tuple[int, ...]) -> Any:
                return cgutils.pack_array(builder, [size(types.intp)(v) for v in values])

            populate_array(
                struct,
                data=builder.bitcast(address, struct.data.type),
                shape=numbers(array.shape),
                strides=numbers(array.strides),
                itemsize=size(types.intp)(array.itemsize),
                meminfo=None,
            )
            return struct._getvalue()

        return kind(), codegen

    return get


def _call_machine_code(dispatcher: Any, arguments: tuple[types.Type, ...]) -> Any:
    """Create a function ``(tuple of arguments)`` that calls the machine code of a kernel."""
    dispatcher.compile(arguments)
    code = dispatcher.overloads[arguments]
    address = code.library.get_pointer_to_function(code.fndesc.llvm_func_name)
    result = code.signature.return_type

    @intrinsic
    def call_address(typingctx: Any, given: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = [
                context.cast(builder, value, kind, wanted)
                for value, kind, wanted in zip(
                    cgutils.unpack_tuple(builder, args[0]), given, arguments, strict=True
                )
            ]
            function = context.call_conv.get_function_type(result, arguments)
            pointer = context.add_dynamic_addr(builder, address, "kernel")
            pointer = builder.bitcast(pointer, function.as_pointer())
            status, value = context.call_conv.call_function(
                builder, pointer, result, arguments, values
            )
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            return value

        return result(given), codegen

    return call_address


def _standardize(net: Network) -> Any:
    """Create a function ``(x, n, out, slopes)`` that standardises samples as ``Scales`` does.

    ``slopes`` are the derivatives with respect to the features; written only if they depend on the
    sample.
    """
    scales, features, bound = net.scales, net.n_features, net.smooth_clip
    if scales.input_shift is None or scales.input_scale is None:

        @compiled
        def cast(x, n, out, slopes):  # noqa: ANN001, ANN202
            for i in range(n * features):
                out[i] = cast_like(out, x[i])

        return cast
    clips, limit = bound is not None, bound or 1.0
    shift, scale, high, low, factor = scales.input_standardizer
    single = factor is not None and net.dtype == np.float32
    if not single:
        high = low = factor = np.zeros(1, np.float32)
    one, limit_single = np.float32(1), np.float32(limit)

    @compiled
    def standardize(x, n, out, slopes):  # noqa: ANN001, ANN202
        for i in range(n * features):
            j = i % features
            z = (np.float64(x[i]) - shift[j]) * scale[j]
            if clips:
                inside = 1 / (1 + np.square(z / limit))
                slopes[i] = scale[j] * (inside * np.sqrt(inside))
            if single and is_single(x):
                s = ((np.float32(x[i]) - high[j]) - low[j]) * factor[j]
                if clips:
                    s = s / math.hypot(one, s / limit_single)
                out[i] = cast_like(out, s)
            else:
                if clips:
                    z = z / math.hypot(1.0, z / limit)
                out[i] = cast_like(out, z)

    return standardize


@intrinsic
def is_single(typingctx, pointer):  # noqa: ANN001, ANN201
    """Whether a pointer points to float32."""
    value = pointer.dtype == types.float32

    def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
        return context.get_constant(types.boolean, value)

    return types.boolean(pointer), codegen


class _Layout(NamedTuple):
    """Positions of the parts of a tape, and its size, in elements of the network's dtype."""

    x: int
    z: int
    slopes: int
    grads: int
    work: int
    size: int

    @classmethod
    def of(cls, net: Network, memory: TapeMemory) -> _Layout:
        """Align each part to a cache line; the first line contains the counts."""
        rows, itemsize = memory.key[0], net.dtype.itemsize
        line = ALIGNMENT // itemsize
        slopes = rows * net.n_features * 8 // itemsize if net.smooth_clip is not None else 0
        grads = memory.grads.size if len(memory.grads) > 1 else 0
        parts = (rows * net.n_features, rows * net.n_outputs, slopes, grads, memory.work.size)
        # plus a line at the end, since kernels read whole vectors beyond the end of the last row
        lines = [line, *(-(-part // line) * line for part in parts), line]
        return cls._make([*itertools.accumulate(lines[:-2]), sum(lines)])


def numba_tape(net: Network, max_rows: int, of: str | None, training: bool) -> NumbaTape:
    """Implementation of :meth:`fastnn.Network.numba_tape`; the training must have begun."""
    model = net.model
    if model.kernels.NAME != "numba":
        model = net.spec.model(backends.load("numba"))
    memory = model.acquire_tape(max_rows, training)
    model.release_tape(memory)  # only its shapes and its plan are used
    layout = _Layout.of(net, memory)
    shift, scale = net.scales.target_shift, net.scales.target_scale
    if of == "logits" or shift is None or scale is None:
        shift = scale = None
    forward = _forward(net, memory, layout, shift, scale)
    backward = _backward(net, memory, layout, scale)
    forward.owner = backward.owner = net.spec  # keeps custom functions alive, which kernels call
    tape = aligned_zeros((layout.size,), net.dtype)
    return NumbaTape(forward, backward, _apply(net, model), tape)


def _net_of(net: Net) -> Any:
    """Create a function that returns a network in the form the kernels take."""
    header, layers, constants = (_shared_array(array) for array in net[:3])
    loss, l2 = net.loss, net.l2

    @compiled
    def get():  # noqa: ANN202
        return header(), layers(), constants(), loss, l2

    return get


def _types_of(net: Net, seed: int, dtype: types.Type) -> tuple[Any, Any, tuple[Any, ...]]:
    """Types of the arguments of the kernels: network, matrix, and those from the seed on."""
    vector, matrix = (types.Array(dtype, ndim, "C") for ndim in (1, 2))
    return (
        numba.typeof(tuple(net)),
        matrix,
        (numba.typeof(seed), types.int64, vector, matrix, matrix),
    )


def _forward(
    net: Network,
    memory: TapeMemory,
    layout: _Layout,
    shift: np.ndarray | None,
    scale: np.ndarray | None,
) -> Any:
    """Create the function ``(tape, X, out)``."""
    number, features, n_outputs = numba.from_dtype(net.dtype), net.n_features, net.n_outputs
    x_at, z_at, slopes_at, _, work_at, size = layout
    max_rows, work_shape, seed = memory.key[0], memory.work.shape, net.state.seed
    net_type, matrix, rest = _types_of(memory.net, seed, number)
    run = _call_machine_code(_tape_forward, (net_type, matrix, *rest))
    counts = net.state.shared_counter()
    net_, params, counter = (
        _net_of(memory.net),
        _shared_array(net.params),
        _shared_array(counts),
    )
    standardize, scaled = _standardize(net), shift is not None
    if shift is None or scale is None:
        shift = scale = np.zeros(1)
    tape_pointer, x_pointer, out_pointer = _arguments(number, tape=1, X=2, out=2)
    wrong_tape = f"tape must have shape ({size},), as that of numba_tape"
    wrong_x = f"X must have shape (rows, {features}) with 1 to {max_rows} rows"
    wrong_out = f"out must have shape (rows of X, {n_outputs})"

    @compiled
    def forward(tape, X, out):  # noqa: ANN001, ANN202
        tape_, x_, out_ = tape_pointer(tape), x_pointer(X), out_pointer(out)
        n = X.shape[0]
        if tape.shape[0] != size:
            raise ValueError(wrong_tape)
        if n < 1 or n > max_rows or X.shape[1] != features:
            raise ValueError(wrong_x)
        if out.shape[0] != n or out.shape[1] != n_outputs:
            raise ValueError(wrong_out)
        counts = reinterpret(tape_, np.int64)
        counts[0], counts[1] = n, counter()[0]
        standardize(x_, n, at(tape_, x_at), reinterpret(at(tape_, slopes_at), np.float64))
        x, z = at(tape_, x_at), at(tape_, z_at)
        work = carray(at(tape_, work_at), work_shape)
        x, z_ = carray(x, (n, features)), carray(z, (n, n_outputs))
        run((net_(), x, seed, counts[1], params(), work, z_))
        for i in range(n * n_outputs):
            if scaled:
                out_[i] = cast_like(out_, z[i] / scale[i % n_outputs] + shift[i % n_outputs])
            else:
                out_[i] = cast_like(out_, z[i])

    return forward


def _backward(net: Network, memory: TapeMemory, layout: _Layout, scale: np.ndarray | None) -> Any:
    """Create the function ``(tape, d_outputs, gradient, d_inputs=None)``."""
    number, features, n_outputs = numba.from_dtype(net.dtype), net.n_features, net.n_outputs
    x_at, z_at, slopes_at, grads_at, work_at, size = layout
    work_shape, (groups, n_params) = memory.work.shape, memory.grads.shape
    seed, clips, scaled = net.state.seed, net.smooth_clip is not None, scale is not None
    net_type, matrix, rest = _types_of(memory.net, seed, number)
    run = _call_machine_code(_tape_backward, (net_type, matrix, matrix, *rest, matrix))
    counts = net.state.shared_counter()
    net_, params, counter = (
        _net_of(memory.net),
        _shared_array(net.params),
        _shared_array(counts),
    )
    factor = net.scales.input_scale if net.scales.input_scale is not None else np.ones(features)
    if scale is None:
        scale = np.zeros(1)
    tape_pointer, d_pointer, d_inputs_pointer = _arguments(number, tape=1, d_outputs=2, d_inputs=2)
    gradient_pointer = pointer_argument("gradient", {number}, True)
    wrong_tape = f"tape must have shape ({size},), as that of numba_tape"
    wrong_d = f"d_outputs must have shape (rows of X, {n_outputs})"
    wrong_gradient = f"gradient must have shape ({n_params},)"
    wrong_d_inputs = f"d_inputs must have shape (rows of X, {features})"
    changed = "the parameters have changed since forward; call forward again"

    @compiled
    def backward(tape, d_outputs, gradient, d_inputs=None):  # noqa: ANN001, ANN202
        tape_, d_, gradient_ = tape_pointer(tape), d_pointer(d_outputs), gradient_pointer(gradient)
        if tape.shape[0] != size:
            raise ValueError(wrong_tape)
        counts = reinterpret(tape_, np.int64)
        n, wanted = counts[0], np.int64(0)
        if d_outputs.shape[0] != n or d_outputs.shape[1] != n_outputs:
            raise ValueError(wrong_d)
        if gradient.shape[0] != n_params:
            raise ValueError(wrong_gradient)
        if d_inputs is not None:
            if d_inputs.shape[0] != n or d_inputs.shape[1] != features:
                raise ValueError(wrong_d_inputs)
            wanted = n
        if counts[1] != counter()[0]:
            raise ValueError(changed)
        x, dz = at(tape_, x_at), at(tape_, z_at)
        for i in range(n * n_outputs):
            dz[i] = cast_like(dz, d_[i] / scale[i % n_outputs] if scaled else d_[i])
        sums = gradient_ if groups == 1 else at(tape_, grads_at)
        work = carray(at(tape_, work_at), work_shape)
        x_, dz_ = carray(x, (n, features)), carray(dz, (n, n_outputs))
        dx_, sums_ = carray(x, (wanted, features)), carray(sums, (groups, n_params))
        run((net_(), x_, dz_, seed, counts[1], params(), work, sums_, dx_))
        if groups > 1:
            for i in range(n_params):
                gradient_[i] = sums[i]
        if d_inputs is not None:
            slopes, dx = reinterpret(at(tape_, slopes_at), np.float64), d_inputs_pointer(d_inputs)
            for i in range(n * features):
                dx[i] = cast_like(dx, x[i] * (slopes[i] if clips else factor[i % features]))

    return backward


def _apply(net: Network, model: Model) -> Any:
    """Create the function ``(gradient, learning_rate=...)``."""
    state, plan_net = net.state, model.plan.net(model.loss, net.l2)
    optimizer, n_params = state.in_use, net.n_params
    number, rule = numba.from_dtype(net.dtype), optimizer.for_kernels()
    net_, params, moments, counter = (
        _net_of(plan_net),
        *(_shared_array(array) for array in (net.params, state.moments, state.shared_counter())),
    )
    code, constants, decay, front = (
        rule.code,
        _shared_array(rule.constants),
        rule.decay,
        _shared_array(rule.front),
    )
    vector, matrix = (types.Array(number, ndim, "C") for ndim in (1, 2))
    rule_type, net_type = numba.typeof(tuple(rule)), numba.typeof(tuple(plan_net))
    arguments = (net_type, vector, rule_type, types.float64, types.int64, vector, matrix)
    run = _call_machine_code(_apply_gradient, arguments)
    clips = bool(optimizer.clip_norm or optimizer.clip_value)
    own = _shared_array(np.empty(n_params, net.dtype))  # the kernel clips in place
    rate = float(optimizer.learning_rate)
    gradient_pointer = pointer_argument("gradient", {number}, False)
    wrong_gradient = f"gradient must have shape ({n_params},)"

    @compiled
    def apply(gradient, learning_rate=rate):  # noqa: ANN001, ANN202
        gradient_, count = gradient_pointer(gradient), counter()[0] + 1
        if gradient.shape[0] != n_params:
            raise ValueError(wrong_gradient)
        if not 0 <= learning_rate < np.inf:
            raise ValueError("learning_rate must be a finite number, at least 0")
        if count <= 0:
            raise ValueError("another training has begun since numba_tape; call it again")
        used = carray(gradient_, (n_params,))
        if clips:
            own()[:] = used
            used = own()
        rule_ = code, constants(), decay, front()
        if not run((net_(), used, rule_, np.float64(learning_rate), count, params(), moments())):
            raise ValueError("gradient contains NaN or infinity")
        counter()[0] = count

    return apply


def _arguments(number: types.Float, **dims: int) -> list[Any]:
    """Functions that return the addresses of arrays.

    1-D arrays must be of type ``number``, 2-D arrays of float32 or float64.
    """
    found = []
    for name, ndim in dims.items():
        dtypes: set[types.Type] = {number} if ndim == 1 else {types.float32, types.float64}
        written = name not in ("X", "d_outputs")
        found.append(pointer_argument(name, dtypes, written, ndim, reason=""))
    return found
