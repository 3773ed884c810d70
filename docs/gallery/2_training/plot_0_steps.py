"""
A network while it learns
=========================

The boundary after 1, 30, 300 and 3,000 steps of gradient descent. Each call of ``fit`` continues
the training.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(200, noise=0.2, random_state=0)
net = fastnn.Network([2, 8, 2], random_state=0)
rule = fastnn.SGD(learning_rate=1.0)

figure, axes = plt.subplots(2, 2, figsize=(8, 6.5), layout="constrained", sharex=True, sharey=True)
for ax, steps in zip(axes.flat, (1, 30, 300, 3000), strict=True):
    net.fit(X, y, optimizer=rule, epochs=steps - net.n_epochs_)
    title = f"{steps:,} step{'s' if steps > 1 else ''}, loss {net.loss(X, y):.2f}"
    fastnn.plots.decision_boundary(net, X, y, ax=ax, title=title)
    ax.get_legend().remove()
    ax.label_outer()
