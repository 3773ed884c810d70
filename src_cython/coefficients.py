"""Find the polynomials of maths.h: ``python src_cython/coefficients.py``.

Each is the minimax polynomial of a function on an interval, by Remez exchange with 50 digits, then
rounded to the dtype. The error that is made as small as possible is that of what the polynomial is
used for, hence a weight. maths.h and the Numba backend have the same numbers; ``tests`` compare
the errors of these with what is found here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import mpmath as mp
import numpy as np

DIGITS = 50


class Approximation(NamedTuple):
    """A polynomial in x, ``weight(x) |polynomial(x) - function(x)|`` as small as possible.

    Attributes
    ----------
    function, weight : callable
    interval : tuple of callable
        Ends of the interval, as functions, since they have as many digits as are asked for.
    degrees : dict
        Degree for each dtype.
    """

    function: Callable
    weight: Callable
    interval: tuple[Callable, Callable]
    degrees: dict[str, int]


def _exp(r):
    return (mp.expm1(r) - r) / r**2 if r else mp.mpf(1) / 2


def _coth(u):
    r = mp.sqrt(u)
    return r * mp.coth(r) if u else mp.mpf(1)


def _log(u):
    s = mp.sqrt(u)
    return (2 * mp.atanh(s) - 2 * s) / s**3 if u else mp.mpf(2) / 3


APPROXIMATIONS = {
    # expm1(r) = r + r r EXP(r)
    "EXP": Approximation(
        _exp,
        lambda r: r**2,
        (lambda: -mp.log(2) / 2, lambda: mp.log(2) / 2),
        {"float32": 4, "float64": 9},
    ),
}


def minimax(f: Approximation, degree: int) -> tuple[list, mp.mpf]:
    """Coefficients, lowest first, and the largest weighted error, with ``DIGITS`` digits."""
    low, high = (end() for end in f.interval)
    n = degree + 2
    # Chebyshev nodes, without a node where the weight is zero
    nodes = [
        (low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (2 * k + 1) / (2 * n))
        for k in range(n)
    ]
    for _ in range(60):
        # weight (p - f) = +-e at the nodes
        rows = mp.matrix(n, n)
        right = mp.matrix(n, 1)
        for i, x in enumerate(nodes):
            for k in range(degree + 1):
                rows[i, k] = x**k
            rows[i, degree + 1] = (-1) ** i / f.weight(x)
            right[i] = f.function(x)
        solution = mp.lu_solve(rows, right)
        coefficients = [solution[k] for k in range(degree + 1)]
        nodes, sizes = _extrema(lambda x: f.weight(x) * (mp.polyval(coefficients[::-1], x) - f.function(x)), low, high, n)
        if max(sizes) - min(sizes) < 1e-6 * max(sizes):
            break
    return coefficients, max(sizes)
