"""Poisson's equation in one and two dimensions, solved by a network and Levenberg-Marquardt.

The solution is sought as ``g N``: g is zero on the boundary, N a network. In the residuals of
``-laplace(g N) = f`` at some points are the network's second derivatives by its inputs. These, and
their Jacobian by the parameters, come from :meth:`fastnn.Network.taylor`; SciPy's
Levenberg-Marquardt does the rest. The solutions are ``sin(pi x)`` and ``sin(pi x) sin(pi y)``.
"""

import time
from collections.abc import Callable

import numpy as np
from scipy.optimize import least_squares

import fastnn


def boundary(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The product g of all x (1 - x), and its first and second derivative by coordinate k."""
    parts = 4 * x * (1 - x)
    others = np.delete(parts, k, axis=1).prod(axis=1)
    return parts.prod(axis=1), others * 4 * (1 - 2 * x[:, k]), others * -8


def equation(
    net: fastnn.Network, x: np.ndarray, f: np.ndarray
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Residuals as a function of the parameters, and their Jacobian."""
    samples, dimensions = x.shape

    def both(params: np.ndarray, by_params: bool) -> np.ndarray:
        net.params = params
        total = np.zeros((samples, net.n_params if by_params else 1))
        for k in range(dimensions):
            g, g1, g2 = (part[:, None] for part in boundary(x, k))
            # features lie between -1 and 1, twice as far as the coordinates
            n = net.taylor(2 * x - 1, 2 * np.eye(dimensions)[k], by_params=by_params)
            parts = n[3:] if by_params else n[:3]
            value, first, second = (part.reshape(samples, -1) for part in parts)
            total += g2 * value + 2 * g1 * first + g * second
        return total

    def residuals(params: np.ndarray) -> np.ndarray:
        return both(params, False)[:, 0] + f

    return residuals, lambda params: both(params, True)


def solve(dimensions: int, units: int, points: int) -> tuple[float, float]:
    """Largest error between the points and seconds."""
    axes = np.meshgrid(*[(np.arange(points) + 0.5) / points] * dimensions, indexing="ij")
    x = np.stack([axis.ravel() for axis in axes], axis=1)
    f = dimensions * np.pi**2 * np.sin(np.pi * x).prod(axis=1)
    net = fastnn.Network(
        [dimensions, units, 1],
        loss="squared_error",
        initializer="nguyen_widrow",
        dtype="float64",
        random_state=0,
    )
    before = time.perf_counter()
    residuals, jacobian = equation(net, x, f)
    found = least_squares(
        residuals, net.params.copy(), jacobian, method="lm", ftol=1e-15, xtol=1e-12, max_nfev=200
    )
    seconds = time.perf_counter() - before
    net.params = found.x
    x = np.random.default_rng(0).uniform(size=(2000, dimensions))
    solution = boundary(x, 0)[0] * net.predict(2 * x - 1)
    return float(np.abs(solution - np.sin(np.pi * x).prod(axis=1)).max()), seconds


def main() -> list[tuple[float, float]]:
    """Error and seconds, in one dimension and in two."""
    return [solve(1, 10, 40), solve(2, 30, 18)]


if __name__ == "__main__":
    for dimensions, (error, seconds) in enumerate(main(), 1):
        print(f"{dimensions} dimensions: largest error {error:.1e} after {seconds:.2f} s")
