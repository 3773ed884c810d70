"""
L2
==

A penalty on large weights gives a smoother boundary. If it is too large, the model is too simple.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(100, noise=0.35, random_state=0)
X_new, y_new = make_moons(10_000, noise=0.35, random_state=1)
strengths = [0.0, 1e-3, 1e-2, 1e-1]
networks = [fastnn.Network([2, 50, 50, 2], l2=l2, random_state=0) for l2 in strengths]
fastnn.fit_many(networks, X, y, optimizer=fastnn.Adam(0.005), epochs=1000)

figure, axes = plt.subplots(2, 2, figsize=(8, 6.5), layout="constrained", sharex=True, sharey=True)
for ax, l2, net in zip(axes.flat, strengths, networks, strict=True):
    title = f"l2={l2:g}, new samples {net.score(X_new, y_new):.3f}"
    fastnn.plots.decision_boundary(net, X, y, ax=ax, title=title)
    ax.get_legend().remove()
    ax.label_outer()
