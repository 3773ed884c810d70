"""
A curve from noisy points
=========================

Regression with the squared error. The network learns the mean of the targets for each x.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

rng = np.random.default_rng(0)
x = rng.uniform(-3, 3, (200, 1))
t = np.sin(2 * x[:, 0]) + rng.normal(0, 0.25, 200)
net = fastnn.Network([1, 16, 16, 1], loss="squared_error", standardize=True, random_state=0)
net.fit(x, t, optimizer=fastnn.Adam(0.01), epochs=1000)

grid = np.linspace(-3, 3, 300)[:, None]
figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
ax.scatter(x, t, s=12, color="0.6", label="samples")
ax.plot(grid, np.sin(2 * grid), color="k", ls=":", label="without noise")
ax.plot(grid, net.predict(grid), lw=2, label=f"network, $R^2$ {net.score(x, t):.2f}")
ax.set(xlabel="x", ylabel="target")
_ = ax.legend(frameon=False)
