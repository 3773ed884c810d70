"""Compute the coefficients of maths.h: ``python src_cython/coefficients.py``.

Each polynomial is a minimax approximation from the Remez exchange algorithm in mpmath, rounded to
the dtype. The Numba backend has the same coefficients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

DIGITS = 50
GRID = 400  # intervals between the points at which errors are computed


class Approximation(NamedTuple):
    """A polynomial P that minimises the maximum of ``weight(x) |P(x) - function(x)|``.

    The weight converts an error of P to an error of the function computed with it.
    """

    meaning: str
    function: Callable[[Any], Any]
    weight: Callable[[Any], Any]
    low: Callable[[], Any]  # ends of the interval, as functions of the current precision
    high: Callable[[], Any]
    degrees: dict[str, int]


def _exp(r):
    if abs(r) < 1e-12:
        return mp.mpf(1) / 2 + r / 6
    return (mp.expm1(r) - r) / r**2


def _coth(u):
    """Return (r coth(r) - 1) / r^2 for u = r^2; the constant term of r coth(r) is 1."""
    r = mp.sqrt(u)
    return (r * mp.coth(r) - 1) / u if u > 1e-8 else mp.mpf(1) / 3 - u / 45 + 2 * u**2 / 945


def _atanh(u):
    """Return (2 atanh(s) - 2 s) / s^3 for u = s^2."""
    s = mp.sqrt(u)
    return 2 * (mp.atanh(s) - s) / s**3 if u > 1e-8 else 2 * (mp.mpf(1) / 3 + u / 5 + u**2 / 7)


def _atanh_weight(u):
    """Return s^3 / (2 atanh(s)), which gives the relative error of the logarithm."""
    s = mp.sqrt(u)
    return s**3 / (2 * mp.atanh(s)) if s else mp.mpf(0)


def _mills(u):
    """Return (y + 5) (1 - cdf(y)) exp(y^2 / 2) for u = (y - 5) / (y + 5), y >= 0."""
    y = 5 * (1 + u) / (1 - u)
    return (y + 5) * mp.erfc(y / mp.sqrt(2)) / 2 * mp.exp(y**2 / 2)


APPROXIMATIONS = {
    "EXP": Approximation(
        "expm1(r) = r + r r EXP(r)",
        _exp,
        lambda r: mp.mpf(1),
        lambda: -mp.log(2) / 2,
        lambda: mp.log(2) / 2,
        {"float32": 4, "float64": 9},
    ),
    "COTH": Approximation(
        "r coth(r) = COTH(r r), of which the first is 1",
        _coth,
        lambda u: u / (1 + u * _coth(u)),
        lambda: mp.mpf(0),
        lambda: (mp.log(2) / 4) ** 2,
        {"float32": 1, "float64": 4},
    ),
    "LOG": Approximation(
        "2 atanh(s) = 2 s + s s s LOG(s s)",
        _atanh,
        _atanh_weight,
        lambda: mp.mpf(0),
        lambda: (3 - 2 * mp.sqrt(2)) ** 2,
        {"float32": 2, "float64": 6},
    ),
    "LOG1P": Approximation(
        "2 atanh(s) = 2 s + s s s LOG1P(s s)",
        _atanh,
        _atanh_weight,
        lambda: mp.mpf(0),
        lambda: mp.mpf(1) / 9,
        {"float32": 3, "float64": 9},
    ),
    "MILLS": Approximation(
        "1 - cdf(y) = exp(-y^2 / 2) MILLS(u) / (y + 5), u = (y - 5) / (y + 5), y <= 39",
        _mills,
        lambda u: 1 / _mills(u),
        lambda: mp.mpf(-1),
        lambda: mp.mpf(34) / 44,
        {"float32": 11, "float64": 21},
    ),
}


def _points(f: Approximation) -> list[Any]:
    low, high = f.low(), f.high()
    return [low + (high - low) * (1 - mp.cos(mp.pi * k / GRID)) / 2 for k in range(GRID + 1)]


def minimax(f: Approximation, degree: int) -> list[Any]:
    """Return the coefficients of the minimax polynomial, lowest degree first."""
    n = degree + 2
    points = _points(f)
    values, weights = [f.function(x) for x in points], [f.weight(x) for x in points]
    # start near the Chebyshev extrema, without the ends, where a weight may be zero
    chosen = [round(GRID * (2 * k + 1) / (2 * n)) for k in range(n)]
    while True:
        # find the polynomial with errors of equal size and alternating signs at the chosen points
        rows, right = mp.matrix(n, n), mp.matrix(n, 1)
        for i, p in enumerate(chosen):
            for k in range(degree + 1):
                rows[i, k] = weights[p] * points[p] ** k
            rows[i, degree + 1] = (-1) ** i
            right[i] = weights[p] * values[p]
        solution = mp.lu_solve(rows, right)
        polynomial = [solution[k] for k in range(degree + 1)]
        errors = [
            w * (mp.polyval(polynomial[::-1], x) - y)
            for x, y, w in zip(points, values, weights, strict=True)
        ]
        # then choose the point of largest error between two changes of its sign
        extrema: list[int] = []
        for p, error in enumerate(errors):
            if not extrema or error * errors[extrema[-1]] < 0:
                extrema.append(p)
            elif abs(error) > abs(errors[extrema[-1]]):
                extrema[-1] = p
        while len(extrema) > n:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        if extrema == chosen:
            return polynomial
        chosen = extrema


def coefficients(name: str, dtype: str) -> list[float]:
    """Return the minimax polynomial's coefficients, rounded to the dtype, lowest degree first."""
    f = APPROXIMATIONS[name]
    with mp.workdps(DIGITS):
        return [float(np.dtype(dtype).type(c)) for c in minimax(f, f.degrees[dtype])]


def largest_error(name: str, polynomial: list[float]) -> float:
    """Return the largest weighted error of a polynomial with these coefficients."""
    f = APPROXIMATIONS[name]
    with mp.workdps(DIGITS):
        return float(
            max(
                f.weight(x)
                * abs(mp.polyval([mp.mpf(c) for c in polynomial[::-1]], x) - f.function(x))
                for x in _points(f)
            )
        )


if __name__ == "__main__":
    for name, f in APPROXIMATIONS.items():
        print(f"{name}: {f.meaning}")
        for dtype in f.degrees:
            found = coefficients(name, dtype)
            print(f"  {dtype}, error {largest_error(name, found):.2e}: {found}")
