"""User-defined activations and losses: pairs of functions that the kernels call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, ClassVar

import numpy as np

from fastnn.backends import codes


@dataclass(frozen=True, repr=False)
class _CustomFunction:
    """Base class of :class:`CustomActivation` and :class:`CustomLoss`."""

    f: Callable
    df: Callable
    name: str | None = None

    kind: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]]
    reserved_names: ClassVar[frozenset[str]]
    _compiled: ClassVar[dict[str, Any]]  # set per instance; no field, so that == ignores it

    def __post_init__(self) -> None:
        names = ", ".join(self.arguments)
        for argument in ("f", "df"):
            function = getattr(self, argument)
            if not callable(function):
                raise ValueError(f"{argument} must be a function of ({names}); got {function!r}")
            try:
                inspect.signature(_python_function(function)).bind(*self.arguments)
            except TypeError as error:
                raise ValueError(f"{argument} must be a function of ({names}): {error}") from None
            except ValueError:  # no signature, as for some C functions: checked when called
                pass
        name = self.name
        if name is None:
            name = getattr(self.f, "__name__", type(self.f).__name__)
        if not isinstance(name, str) or not name:
            raise ValueError(f"name must be a string that is not empty; got {name!r}")
        if name in self.reserved_names:
            raise ValueError(f"name must not be that of a built-in {self.kind}; got {name!r}")
        object.__setattr__(self, "name", name)
        # Compiled functions by dtype. The kernels know only their addresses, so whatever uses the
        # addresses must keep a reference to the pair.
        object.__setattr__(self, "_compiled", {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def __deepcopy__(self, memo: dict) -> _CustomFunction:
        return self  # immutable

    def __reduce__(self) -> tuple:
        # addresses are valid in one process only
        return type(self), (self.f, self.df, self.name)

    def for_kernels(self, backend: str, dtype: np.dtype) -> float | _CustomFunction:
        """Return the value the kernels read in place of the constant of a built-in function.

        Parameters
        ----------
        backend : {"numba", "numpy"}
        dtype : numpy dtype
            float32 or float64.

        Returns
        -------
        float or _Pair
            For Numba the address of a compiled function, exact because addresses have fewer than
            53 bits; for NumPy the pair itself.

        Raises
        ------
        ValueError
            If the backend cannot call the functions, or they do not return one real number.

        Examples
        --------
        >>> import fastnn
        >>> square = fastnn.CustomActivation(lambda z: z * z, lambda z: 2 * z, name="square")
        >>> square.for_kernels("numpy", "float32") is square
        True
        """
        if backend == "numpy":
            for argument in ("f", "df"):
                self._check_call(argument, dtype)
            return self
        if backend != "numba":
            raise ValueError(
                f"backend {backend!r} cannot call Python functions ({self.kind} {self.name!r}); "
                "use backend='numba' or 'numpy'"
            )
        name = np.dtype(dtype).name
        if name not in self._compiled:
            self._compiled[name] = _compile_rows(self, name)
        return float(self._compiled[name].address)

    def _check_call(self, argument: str, dtype: np.dtype) -> None:
        """Call a function once in the same way as the NumPy kernels."""
        numbers = np.array([0.5, 0.25], dtype)[: len(self.arguments)]
        try:
            value = _python_function(getattr(self, argument))(*numbers)
        except Exception as error:
            raise ValueError(
                f"{argument} of {self!r} fails for {tuple(map(float, numbers))}: {error}"
            ) from error
        if np.ndim(value) or np.asarray(value).dtype.kind not in "fiub":
            raise ValueError(f"{argument} of {self!r} must give a real number; it gave {value!r}")


class CustomActivation(_CustomFunction):
    """A user-defined activation, for the NumPy and Numba backends.

    Accepted in place of the name of an activation. ``backend="auto"`` then chooses Numba, which
    compiles the functions once per process; the NumPy backend calls them for each number. Pickle
    files contain a reference to the functions; model files and exports cannot contain them.

    Parameters
    ----------
    f : function
        ``f(z)``: a function of one number that Numba can compile, or that is compiled by
        ``numba.njit``. An arithmetic error counts as NaN.
    df : function
        ``df(z)``, the derivative of ``f``.
    name : str, optional
        Default: the name of ``f``.

    Raises
    ------
    ValueError
        If they are not functions of one argument. Functions that a backend cannot call are an
        error when the network is created.

    Examples
    --------
    >>> import fastnn, numpy as np
    >>> from sklearn.datasets import make_moons
    >>> def squash(z):
    ...     return z / np.sqrt(1 + z * z)
    >>> def slope(z):
    ...     return (1 + z * z) ** -1.5
    >>> squashing = fastnn.CustomActivation(squash, slope)
    >>> X, y = make_moons(100, noise=0.1, random_state=0)
    >>> net = fastnn.Network([2, 8, 2], activation=squashing, backend="numpy", random_state=0)
    >>> history = net.fit(X, y, optimizer=fastnn.Adam(0.1), epochs=100)
    >>> bool(net.score(X, y) > 0.9)
    True
    """

    kind = "activation"
    arguments = ("z",)
    reserved_names = frozenset(codes.ACTIVATIONS)


class CustomLoss(_CustomFunction):
    """A user-defined loss for regression, for the NumPy and Numba backends.

    Accepted by :class:`fastnn.Network` and :class:`fastnn.MLPRegressor` as ``loss``. The outputs
    are the net inputs of the last layer, and the loss of a sample is summed over the outputs.
    Otherwise the same applies as for :class:`CustomActivation`.

    Parameters
    ----------
    f : function
        ``f(z, t)``, the loss of output z for target t; takes and returns numbers.
    df : function
        ``df(z, t)``: its derivative with respect to z.
    name : str, optional
        Default: the name of ``f``.

    Raises
    ------
    ValueError
        If ``f`` or ``df`` is not a function of two arguments.

    Examples
    --------
    >>> import fastnn, numpy as np
    >>> def log_cosh(z, t):
    ...     return np.logaddexp(z - t, t - z) - np.log(2)
    >>> def slope(z, t):
    ...     return np.tanh(z - t)
    >>> loss = fastnn.CustomLoss(log_cosh, slope)
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> net = fastnn.Network([1, 1], loss=loss, backend="numpy", random_state=0)
    >>> history = net.fit(X, 2 * X[:, 0] + 1, optimizer=fastnn.Adam(0.1), epochs=300)
    >>> bool(abs(net.predict([[0.5]])[0] - 2) < 0.01)
    True
    """

    kind = "loss"
    arguments = ("z", "t")
    reserved_names = frozenset(codes.LOSSES)


def _python_function(function: Callable) -> Callable:
    """The Python function from which a function was compiled, or the function itself."""
    return getattr(function, "py_func", function)


@functools.lru_cache(maxsize=64)  # by equality: each task of a joblib worker unpickles a new pair
def _compile_rows(pair: _CustomFunction, dtype: str) -> Any:
    """Compile a C function over contiguous values, which the Numba kernels call by its address.

    For an activation ``(backward, n, z, out)``: ``out = f(z)``, where ``out`` may be ``z``, or if
    ``backward`` ``out *= df(z)``. For a loss ``(n, targets, weight, scale, losses, out)``:
    ``losses += weight f(out, targets)``, then ``out = df(out, targets) weight scale``.
    """
    from numba import cfunc, types

    number = getattr(types, dtype)
    f, df = (_compiled(pair, argument, number) for argument in ("f", "df"))
    pointer = types.CPointer(number)

    if pair.kind == "activation":

        @cfunc(types.void(types.intp, types.intp, pointer, pointer), error_model="numpy")
        def rows(backward, n, z, out):  # noqa: ANN001, ANN202
            if backward:
                for s in range(n):
                    out[s] = out[s] * df(z[s])
            else:
                for s in range(n):
                    out[s] = f(z[s])

        return rows

    signature = types.void(types.intp, pointer, pointer, number, pointer, pointer)

    @cfunc(signature, error_model="numpy")
    def loss_rows(n, targets, weight, scale, losses, out):  # noqa: ANN001, ANN202
        for s in range(n):
            z = out[s]
            losses[s] += f(z, targets[s]) * weight[s]
            out[s] = df(z, targets[s]) * (weight[s] * scale)

    return loss_rows


def _compiled(pair: _CustomFunction, argument: str, number: Any) -> Any:
    """Compile one function of a pair with Numba for one type; it returns NaN where it raises."""
    import numba
    from numba import types

    function = getattr(pair, argument)
    options = getattr(function, "targetoptions", {})
    function = _python_function(function)
    if not isinstance(function, FunctionType):
        raise ValueError(
            f"{argument} of {pair!r} cannot be compiled by Numba: it must be written in Python, "
            f"with def or lambda; got {function!r}"
        )
    # Division by zero gives infinity, as in the kernels.
    compiled = numba.njit(error_model="numpy", fastmath=options.get("fastmath", False))(function)
    try:
        compiled.compile((number,) * len(pair.arguments))
    except Exception as error:  # Numba raises many kinds
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if not line.startswith("Failed in")), repr(error))
        raise ValueError(f"{argument} of {pair!r} cannot be compiled by Numba: {reason}") from error
    (signature,) = compiled.nopython_signatures
    if not isinstance(signature.return_type, types.Float | types.Integer | types.Boolean):
        raise ValueError(
            f"{argument} of {pair!r} must give a real number; it gives {signature.return_type}"
        )

    # Functions that cannot raise are still vectorised.
    @numba.njit(error_model="numpy")
    def value_or_nan(*numbers):  # noqa: ANN002, ANN202
        try:
            value = number(compiled(*numbers))
        except Exception:
            value = number(np.nan)
        return value

    return value_or_nan
