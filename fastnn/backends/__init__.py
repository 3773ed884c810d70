"""Backends: interchangeable implementations of the kernels, loaded on demand.

Each of the packages ``numpy``, ``numba`` and ``cython`` defines the following functions, with
the same arguments in the same order (input arrays, scalars, output arrays):

| for a single layer | |
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
| ``compress(x, first, last, indptr, indices, values)`` | converts dense rows to CSR |

| for a network | |
|---|---|
| ``forward(net, x, transform, params, work, out)`` | whether x is finite |
| ``loss_and_grad(net, x, targets, sample_weight, seed, step, params, work, grads)`` | |
| ``train(net, data, rule, chunk, team, params, moments, memory, losses)`` | a chunk of steps |
| ``input_gradients(net, x, vectors, params, work, out)`` | vectors times the Jacobian |
| ``output_tangents(net, x, vectors, params, work, out)`` | the Jacobian times vectors |
| ``sample_gradients(net, x, vectors, params, work, out)`` | the same w.r.t. the parameters |
| ``tape_forward(net, x, seed, step, params, work, out)`` | whether x is finite |
| ``tape_backward(net, x, d_outputs, seed, step, params, work, grads, d_inputs)`` | gradient |
| ``apply_gradient(net, grads, rule, learning_rate, count, params, moments)`` | whether finite |

``net``, ``data``, ``rule``, ``chunk``, ``team`` and ``memory`` are the named tuples of
:mod:`fastnn.backends.interface`; :mod:`fastnn.backends.numpy` documents every function. The
functions for second derivatives, ``input_curvature``, ``taylor`` and ``taylor_gradient``, exist
only in ``numpy``; networks of all backends use them.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from types import ModuleType

from fastnn.extras import install_command

# Fastest first: "auto" selects the first that is available.
BACKENDS = ("cython", "numba", "numpy")

_INSTALL_HINTS = {
    "cython": (
        "the compiled extension is not installed; "
        "install a C compiler and then fastnn again "
        "(in its source folder: pip install --force-reinstall --no-deps .)"
    ),
    "numba": f"Numba is not installed; install it with: {install_command('numba')}",
}

_SLOW_WARNING = (
    "no compiled backend is installed, so the slow NumPy kernels are used; install one with: "
    f"{install_command('numba')}, or install a C compiler and then fastnn again "
    '(backend="numpy" uses them without this warning)'
)

_NOT_COMPILED_WARNING = (
    "Numba, which compiles custom functions, is not installed, so NumPy calls them number by "
    f"number; install it with: {install_command('numba')} "
    '(backend="numpy" does so without this warning)'
)

_installed: set[str] = set()  # modules that have been found


def load(name: str = "auto") -> ModuleType:
    """Load a backend.

    Parameters
    ----------
    name : {"auto", "cython", "numba", "numpy"}
        "auto" selects the fastest available backend, and warns if that is NumPy.

    Returns
    -------
    module
        The backend, with the kernels listed above.

    Raises
    ------
    ValueError
        If there is no backend of that name.
    ImportError
        If the backend is not installed; the message says how to install it.

    Examples
    --------
    >>> from fastnn import backends
    >>> backends.load("numpy").__name__
    'fastnn.backends.numpy'
    """
    if name == "auto":
        name = next(name for name in BACKENDS if why_missing(name) is None)
        if name == "numpy":
            # stacklevel=1: located here, so that Python shows it once, not once per caller
            warnings.warn(_SLOW_WARNING, RuntimeWarning, stacklevel=1)
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)} or auto; got {name!r}")
    reason = why_missing(name)
    if reason:
        raise ImportError(f"backend {name!r}: {reason}")
    return importlib.import_module(f"fastnn.backends.{name}")


def default_for_custom_functions() -> str:
    """Return the backend that "auto" selects for networks with custom functions."""
    if why_missing("numba") is None:
        return "numba"
    warnings.warn(_NOT_COMPILED_WARNING, RuntimeWarning, stacklevel=1)
    return "numpy"


def why_missing(name: str) -> str | None:
    """Say why a backend cannot be loaded and how to install it; None if it is available.

    Examples
    --------
    >>> from fastnn import backends
    >>> backends.why_missing("numpy") is None
    True
    """
    needed = {"cython": "fastnn.backends._cython_baseline_float32", "numba": "numba"}.get(name)
    return None if needed is None or _is_installed(needed) else _INSTALL_HINTS[name]


def _is_installed(module: str) -> bool:
    """Whether a module can be imported; searched for until it is found."""
    if module not in _installed and importlib.util.find_spec(module):
        _installed.add(module)
    return module in _installed


def available() -> list[str]:
    """Return the names of the available backends, fastest first.

    Examples
    --------
    >>> import fastnn
    >>> print(fastnn.available_backends())  # doctest: +ELLIPSIS
    [...'numpy']
    """
    return [name for name in BACKENDS if why_missing(name) is None]
