"""
Activation functions
====================

The same network with six activations. Boundaries of tanh are smooth, those of relu piecewise
linear.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(200, noise=0.2, random_state=0)
names = ["tanh", "sigmoid", "relu", "elu", "silu", "mish"]
networks = [fastnn.Network([2, 8, 2], activation=name, l2=1e-4, random_state=1) for name in names]
fastnn.fit_many(networks, X, y, optimizer=fastnn.Adam(0.02), epochs=1500)

figure, axes = plt.subplots(2, 3, figsize=(9, 6), layout="constrained", sharex=True, sharey=True)
for ax, name, net in zip(axes.flat, names, networks, strict=True):
    fastnn.plots.decision_boundary(net, X, y, ax=ax, title=f"{name}, {net.score(X, y):.3f}")
    ax.get_legend().remove()
    ax.label_outer()
