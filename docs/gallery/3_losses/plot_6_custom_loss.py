"""
A custom loss
=============

An asymmetric squared error, for which too small predictions cost three times as much as too large
ones, defined by a function and its derivative.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn


def asymmetric(z, t):
    factor = 3.0 if z < t else 1.0
    return 0.5 * factor * (z - t) ** 2


def slope(z, t):
    factor = 3.0 if z < t else 1.0
    return factor * (z - t)


rng = np.random.default_rng(0)
x = rng.uniform(0, 6, (400, 1))
t = np.sin(x[:, 0]) + rng.normal(0, 0.4, 400)
grid = np.linspace(0, 6, 200)[:, None]
figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
ax.scatter(x, t, s=6, color="0.7")
for loss in ("squared_error", fastnn.CustomLoss(asymmetric, slope)):
    net = fastnn.Network([1, 16, 1], loss=loss, random_state=0)
    net.fit(x, t, optimizer=fastnn.Adam(0.01), epochs=600)
    ax.plot(grid, net.predict(grid), lw=2, label=net.loss_name)
ax.set(xlabel="x", ylabel="target")
_ = ax.legend(frameon=False)
