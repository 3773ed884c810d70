"""
Samples from a learned density
==============================

Hamiltonian Monte Carlo needs the gradient of a log-density, here of a ring-shaped one learned by a
network. ``net.vjp`` computes the gradients of 400 chains in one call.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn


def log_density(x):
    radius, angle = np.hypot(*x.T), np.arctan2(*x.T)
    return -4 * (radius - 2) ** 2 + np.cos(3 * angle)


rng = np.random.default_rng(0)
X = rng.uniform(-3.5, 3.5, (4000, 2))
net = fastnn.Network(
    [2, 32, 32, 1],
    loss="squared_error",
    activation="silu",
    standardize=True,
    dtype="float64",
    random_state=0,
)
net.fit(X, log_density(X), optimizer=fastnn.Adam(0.005), epochs=150, batch_size=50)


def gradient(x):
    return net.vjp(x, [1.0])


def energy(x, p):
    return net.predict(x) - 0.5 * (p**2).sum(axis=1)


position, size, kept, accepted = rng.normal(size=(400, 2)), 0.08, [], []
for draw in range(60):
    momentum = rng.normal(size=position.shape)
    x, p = position, momentum + size / 2 * gradient(position)
    for step in range(15):
        x = x + size * p
        p = p + (size if step < 14 else size / 2) * gradient(x)
    keep = rng.random(400) < np.exp(np.minimum(energy(x, p) - energy(position, momentum), 0))
    keep &= (np.abs(x) < 3.5).all(axis=1)
    position = np.where(keep[:, None], x, position)
    accepted.append(keep.mean())
    if draw >= 20:
        kept.append(position)

figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained", sharex=True, sharey=True)
grid = np.linspace(-3.5, 3.5, 201)
points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
axes[0].contourf(grid, grid, np.exp(net.predict(points)).reshape(201, 201), 20)
axes[0].set_title("the density that the network learned")
axes[1].plot(*np.concatenate(kept).T, ".", markersize=1, alpha=0.4)
axes[1].set_title(f"samples, {np.mean(accepted):.0%} of the moves accepted")
for ax in axes:
    ax.set_aspect("equal")
