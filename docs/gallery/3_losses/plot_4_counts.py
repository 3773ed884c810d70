"""
Counts
======

Counts are non-negative, and their variance increases with the mean. With the Poisson loss the
network predicts their rate.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

rng = np.random.default_rng(0)
hours = rng.uniform(0, 24, (600, 1))
rate = 1 + 8 * np.exp(-((hours - 8) ** 2) / 4) + 12 * np.exp(-((hours - 17) ** 2) / 6)
counts = rng.poisson(rate[:, 0])
net = fastnn.Network([1, 16, 1], loss="poisson", standardize=True, random_state=0)
net.fit(hours, counts, optimizer=fastnn.Adam(0.02), epochs=1500)

grid = np.linspace(0, 24, 300)[:, None]
figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
ax.scatter(hours, counts, s=8, color="0.7", label="counts")
ax.plot(grid, net.predict(grid), lw=2, label="predicted rate")
ax.set(xlabel="hour", ylabel="count", xticks=range(0, 25, 6))
_ = ax.legend(frameon=False)
