"""
How many units?
===============

One unit makes a straight line. From about three on the moons are separated; more units add freedom
that the data do not need.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(200, noise=0.2, random_state=0)
sizes = [1, 2, 3, 50]
networks = [fastnn.Network([2, size, 2], random_state=0) for size in sizes]
fastnn.fit_many(networks, X, y, optimizer=fastnn.Adam(0.02), epochs=3000)

figure, axes = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained", sharey=True)
for ax, size, net in zip(axes, sizes, networks, strict=True):
    title = f"{size} unit{'s' if size > 1 else ''}, {net.score(X, y):.3f}"
    fastnn.plots.decision_boundary(net, X, y, ax=ax, title=title)
    ax.label_outer()
