"""
How many units?
===============

One unit gives a straight line; two or three are enough for the moons. Fifty are more than the data
need.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(200, noise=0.2, random_state=0)
sizes = [1, 2, 3, 50]
networks = [fastnn.Network([2, size, 2], random_state=0) for size in sizes]
fastnn.fit_many(networks, X, y, optimizer=fastnn.Adam(0.02), epochs=3000)

figure, axes = plt.subplots(2, 2, figsize=(8, 6.5), layout="constrained", sharex=True, sharey=True)
for ax, size, net in zip(axes.flat, sizes, networks, strict=True):
    title = f"{size} unit{'s' if size > 1 else ''}, {net.score(X, y):.3f}"
    fastnn.plots.decision_boundary(net, X, y, ax=ax, title=title)
    ax.get_legend().remove()
    ax.label_outer()
