"""
Quantiles
=========

One network with the loss "quantile" estimates five quantiles, which describe the distribution of
the targets.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

rng = np.random.default_rng(0)
x = rng.uniform(0, 4, (1000, 1))
t = x[:, 0] + rng.normal(0, 0.2 + 0.4 * x[:, 0])
shares = [0.05, 0.25, 0.5, 0.75, 0.95]
net = fastnn.Network([1, 16, 5], loss="quantile", quantile=shares, standardize=True, random_state=0)
net.fit(x, t, optimizer=fastnn.Adam(0.01), epochs=500)

grid = np.linspace(0, 4, 200)[:, None]
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.scatter(x, t, s=5, color="0.7")
lines = zip(shares, net.predict(x).T, net.predict(grid).T, strict=True)
for q, predicted, line in lines:
    below = (t < predicted).mean()
    ax.plot(grid, line, lw=2, label=f"{q:.0%}: {below:.1%} lie below")
ax.set(xlabel="x", ylabel="target")
_ = ax.legend(frameon=False, loc="upper left")
