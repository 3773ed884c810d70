"""
Minimising a learned function
=============================

A network learns Himmelblau's function from 1,000 samples. SciPy then minimises it over the inputs
with exact gradients from ``net.jacobian``: from every start about a dozen calls find one of the
four minima.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import fastnn


def himmelblau(x, y):
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


rng = np.random.default_rng(0)
X = rng.uniform(-5, 5, (1000, 2))
net = fastnn.Network(
    [2, 32, 32, 1], loss="squared_error", standardize=True, dtype="float64", random_state=0
)
net.fit(X, np.log1p(himmelblau(*X.T)), optimizer=fastnn.Adam(0.005), epochs=300, batch_size=50)


def value_and_gradient(x):
    x = x[None]
    return net.predict(x)[0], net.jacobian(x)[0, 0]


starts = rng.uniform(-4, 4, (12, 2))
found = [minimize(value_and_gradient, x, jac=True, bounds=[(-5, 5)] * 2) for x in starts]

grid = np.linspace(-5, 5, 201)
points = np.stack(np.meshgrid(grid, grid), axis=-1)
figure, ax = plt.subplots(figsize=(6, 5), layout="constrained")
surface = net.predict(points.reshape(-1, 2)).reshape(201, 201)
colors = ax.contourf(grid, grid, surface, 20, cmap="viridis")
for start, end in zip(starts, found, strict=True):
    ax.annotate("", end.x, start, arrowprops={"arrowstyle": "->", "color": "white"})
ax.plot(*starts.T, "o", color="white", markersize=4)
ax.plot(*np.array([end.x for end in found]).T, "*", color="red", markersize=11)
calls = np.mean([end.nfev for end in found])
ax.set(title=f"{calls:.0f} calls of the network from a start", xlabel="x", ylabel="y")
_ = figure.colorbar(colors, label="log(1 + f), learned")
