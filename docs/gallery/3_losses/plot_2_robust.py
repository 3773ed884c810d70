"""
Outliers
========

A tenth of the targets are outliers. They affect the fit with squared error strongly, those with
absolute error and Huber loss hardly.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

rng = np.random.default_rng(0)
x = rng.uniform(-3, 3, (200, 1))
t = np.sin(x[:, 0]) + rng.normal(0, 0.1, 200)
t[rng.choice(200, 20, replace=False)] += rng.uniform(2, 6, 20)
losses = ["squared_error", "absolute_error", "huber"]
networks = [
    fastnn.Network([1, 16, 1], loss=loss, delta=0.2, l2=1e-3, random_state=0) for loss in losses
]
fastnn.fit_many(networks, x, t, optimizer=fastnn.Adam(0.01), epochs=2000)

grid = np.linspace(-3, 3, 300)[:, None]
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.scatter(x, t, s=12, color="0.6")
for name, net in zip(losses, networks, strict=True):
    ax.plot(grid, net.predict(grid), lw=2, label=name)
ax.set(xlabel="x", ylabel="target")
_ = ax.legend(frameon=False)
