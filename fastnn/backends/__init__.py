"""Backends: modules with the same kernels, loaded when asked for.

Each of the packages ``numpy``, ``numba`` and ``cython`` has, with the
same arguments in the same order (arrays read, numbers, arrays written):

| of a layer | |
|---|---|
| ``dense_forward(x, w, b, out)`` | net inputs |
| ``dense_backward_params(x, dz, accumulate, dw, db)`` | gradients of weights, biases |
| ``dense_backward_inputs(w, dz, dx)`` | gradient of the input |
| ``activation_forward(z, activation, alpha, out)`` | output |
| ``activation_backward(z, a, activation, alpha, da)`` | da becomes dz |
| ``dropout_forward(x, rate, key, first, out)``, ``dropout_backward(rate, key, first, da)`` | |
| ``output_loss(logits, targets, sample_weight, loss, constants, scale, dlogits)`` | summed loss |
| ``output_transform(loss, out)`` | softmax, sigmoid, exp |
| ``update(grads, l2, rule, learning_rate, count, params, moments)`` | |
| ``shuffle(seed, epoch, order)`` | |
| ``compress(x, first, last, indptr, indices, values)`` | dense rows become sparse ones |

| of a network | |
|---|---|
| ``forward(net, x, transform, params, work, out)`` | is x finite |
| ``loss_and_grad(net, x, targets, sample_weight, seed, step, params, work, grads)`` | |
| ``train(net, data, rule, chunk, team, params, moments, memory, losses)`` | a chunk of steps |
| ``input_gradients(net, x, vectors, params, work, out)`` | vectors times the Jacobian |
| ``output_tangents(net, x, vectors, params, work, out)`` | the Jacobian times vectors |
| ``sample_gradients(net, x, vectors, params, work, out)`` | the same by the parameters |
| ``tape_forward(net, x, seed, step, params, work, out)`` | is x finite |
| ``tape_backward(net, x, d_outputs, seed, step, params, work, grads, d_inputs)`` | gradient |
| ``apply_gradient(net, grads, rule, learning_rate, count, params, moments)`` | is it finite |

``net``, ``data``, ``rule``, ``chunk``, ``team`` and ``memory`` are the named tuples of
:mod:`fastnn.backends.interface`; :mod:`fastnn.backends.numpy` documents every function. It alone
has ``input_curvature``, ``taylor`` and ``taylor_gradient``, for second derivatives, which networks
of all backends use.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from types import ModuleType

from fastnn.extras import install_command

# Fastest first: "auto" takes the first that is there.
BACKENDS = ("cython", "numba", "numpy")

_HOW_TO_GET = {
    "cython": (
        "the compiled extension is not installed; "
        "install a C compiler and then fastnn again "
        "(in its source folder: pip install --force-reinstall --no-deps .)"
    ),
    "numba": f"Numba is not installed; install it with: {install_command('numba')}",
}

_SLOW = (
    "no compiled backend is installed, so the slow NumPy kernels are used; install one with: "
    f"{install_command('numba')}, or install a C compiler and then fastnn again "
    '(backend="numpy" uses them without this warning)'
)

_NOT_COMPILED = (
    "Numba, which compiles custom functions, is not installed, so NumPy calls them number by "
    f"number; install it with: {install_command('numba')} "
    '(backend="numpy" does so without this warning)'
)


def load(name: str = "auto") -> ModuleType:
    """Load a backend.

    Parameters
    ----------
    name : {"auto", "cython", "numba", "numpy"}
        "auto" takes the fastest that is there, and warns if that is NumPy.

    Returns
    -------
    module
        With the kernels listed above.

    Raises
    ------
    ValueError
        If there is no backend of that name.
    ImportError
        If it is not installed; the message says how to get it.

    Examples
    --------
    >>> from fastnn import backends
    >>> backends.load("numpy").__name__
    'fastnn.backends.numpy'
    """
    if name == "auto":
        name = available()[0]
        if name == "numpy":
            warnings.warn(_SLOW, RuntimeWarning, stacklevel=1)  # once, whoever asks
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)} or auto; got {name!r}")
    reason = why_missing(name)
    if reason:
        raise ImportError(f"backend {name!r}: {reason}")
    return importlib.import_module(f"fastnn.backends.{name}")


def of_custom_functions() -> str:
    """The backend that "auto" is with functions of the user's own."""
    if why_missing("numba") is None:
        return "numba"
    warnings.warn(_NOT_COMPILED, RuntimeWarning, stacklevel=1)
    return "numpy"


def why_missing(name: str) -> str | None:
    """Reason why a backend cannot be loaded and how to get it; None if it is there.

    Examples
    --------
    >>> from fastnn import backends
    >>> backends.why_missing("numpy") is None
    True
    """
    found: object = True
    if name == "cython":
        found = importlib.util.find_spec("fastnn.backends._cython_baseline_float32")
    elif name == "numba":
        found = importlib.util.find_spec("numba")
    return None if found else _HOW_TO_GET[name]


def available() -> list[str]:
    """Names of the backends that are there, fastest first.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.available_backends()  # doctest: +SKIP
    ['cython', 'numba', 'numpy']
    """
    return [name for name in BACKENDS if why_missing(name) is None]
