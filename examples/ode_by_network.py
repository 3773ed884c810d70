"""An ordinary differential equation whose right-hand side is a network, solved by SciPy.

A network learns the pendulum's acceleration from samples; SciPy then integrates what was learned.
``solve_ivp`` calls Python, so that the right-hand side is one compiled function; ``quad`` takes a C
function and stays out of Python altogether: it sums up the torque over half a turn.
"""

from collections.abc import Callable

import numba
import numpy as np
from scipy import LowLevelCallable
from scipy.integrate import quad, solve_ivp

import fastnn

FRICTION = 0.1


def train() -> fastnn.Network:
    """Angle in, acceleration by gravity out."""
    angle = np.linspace(-4, 4, 400)[:, None]
    net = fastnn.Network(
        [1, 16, 16, 1], loss="squared_error", dtype="float64", standardize=True, random_state=0
    )
    net.fit(angle, -np.sin(angle), epochs=100, optimizer="lm")
    return net


def right_hand_side(net: fastnn.Network) -> Callable:
    """``f(t, (angle, speed))`` in compiled code."""
    acceleration = net.numba_predict()

    @numba.njit
    def f(t, y):  # noqa: ANN001, ANN202
        dy = np.empty(2)
        acceleration(y[:1], dy[1:])
        dy[0] = y[1]
        dy[1] -= FRICTION * y[1]
        return dy

    return f


def main() -> tuple[float, float]:
    """Largest error of the angle over 10 seconds, and error of the integral of the torque."""
    net = train()
    times = np.linspace(0, 10, 200)
    settings = {"t_span": (0, 10), "y0": [2.0, 0.0], "t_eval": times, "rtol": 1e-6}
    learned = solve_ivp(right_hand_side(net), **settings)
    true = solve_ivp(lambda t, y: [y[1], -np.sin(y[0]) - FRICTION * y[1]], **settings)
    torque, _ = quad(LowLevelCallable(net.cfunc("integrand").ctypes), 0, np.pi)
    return float(np.abs(learned.y[0] - true.y[0]).max()), abs(torque + 2)


if __name__ == "__main__":
    print("error of the angle {:.4f}, of the integral {:.5f}".format(*main()))
