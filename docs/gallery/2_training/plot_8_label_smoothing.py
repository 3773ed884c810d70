"""
Label smoothing
===============

A tenth of each target is distributed equally among all classes. The network makes no more errors,
but its probabilities are less extreme.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

data = fastnn.datasets.load("digits")
train, test = fastnn.datasets.train_test_split(data.y, 0.3, seed=0, stratify=True)
X, y = data.inputs(data.X), data.y
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for smoothing in (0.0, 0.1):
    net = fastnn.Network([64, 64, 10], activation="relu", label_smoothing=smoothing, random_state=0)
    net.fit(X[train], y[train], optimizer=fastnn.Adam(0.003), epochs=60, batch_size=64)
    largest = net.predict_proba(X[test]).max(axis=1)
    label = f"label_smoothing={smoothing:g}, accuracy {net.score(X[test], y[test]):.3f}"
    ax.hist(largest, np.linspace(0, 1, 41), alpha=0.6, label=label)
ax.set(xlabel="probability of the predicted class", ylabel="test samples", yscale="log")
_ = ax.legend(frameon=False, loc="upper left")
