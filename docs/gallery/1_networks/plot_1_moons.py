"""
Two moons
=========

The default example: a network of three tanh units separates two half circles.
"""

from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(200, noise=0.2, random_state=0)
net = fastnn.Network([2, 3, 2], activation="tanh", l2=5e-5, dtype="float64", random_state=0)
history = net.fit(X, y, optimizer=fastnn.SGD(learning_rate=2.0), epochs=20_000)
print(f"{history.steps:,} steps, accuracy {net.score(X, y):.3f}")

# %%
# The shading is the probability of the more probable class; the line is where it is one half.

_ = fastnn.plots.decision_boundary(net, X, y)

# %%
# The loss of the training, on logarithmic axes.

_ = history.plot()
