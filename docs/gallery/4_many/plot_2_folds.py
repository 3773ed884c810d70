"""
Cross-validation
================

Five folds of eight sizes: forty networks in one call.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(200, noise=0.3, random_state=0)
parts = np.array_split(np.random.default_rng(0).permutation(len(X)), 5)
sizes = [1, 2, 3, 4, 8, 16, 32, 64]
fits = [
    fastnn.Fit(
        fastnn.Network([2, size, 2], random_state=k),
        rows=np.setdiff1d(np.arange(len(X)), part),
        validation_rows=part,
    )
    for size in sizes
    for k, part in enumerate(parts)
]
histories = fastnn.fit_many(fits, X, y, optimizer=fastnn.Adam(0.02), epochs=500)

train = np.reshape([history.loss[-1] for history in histories], (8, 5))
validation = np.reshape([history.validation_loss[-1] for history in histories], (8, 5))
figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
for losses, label in ((train, "training"), (validation, "validation")):
    ax.errorbar(sizes, losses.mean(axis=1), losses.std(axis=1), marker="o", capsize=3, label=label)
ax.set(xlabel="hidden units", ylabel="loss, mean and deviation of 5 folds", xscale="log")
ax.set_xticks(sizes, sizes)
_ = ax.legend(frameon=False)
