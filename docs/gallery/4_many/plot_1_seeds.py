"""
How much depends on the seed?
=============================

A hundred networks of each size with different seeds, trained in one call. A single run is one
sample of this distribution.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(200, noise=0.2, random_state=0)
new = make_moons(5_000, noise=0.2, random_state=1)
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for size in (2, 3, 8):
    networks = [fastnn.Network([2, size, 2], l2=1e-4, random_state=seed) for seed in range(100)]
    fastnn.fit_many(networks, X, y, optimizer=fastnn.Adam(0.02), epochs=1000)
    scores = [net.score(*new) for net in networks]
    ax.hist(scores, 60, range=(0.84, 0.98), alpha=0.6, label=f"{size} units")
ax.set(xlabel="accuracy on new samples", ylabel="networks", yscale="log")
_ = ax.legend(frameon=False)
