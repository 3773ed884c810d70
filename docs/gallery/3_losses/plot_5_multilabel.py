"""
Several labels at once
======================

With "binary_cross_entropy" each output has its own sigmoid. A sample may have any of three labels,
or none.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

rng = np.random.default_rng(0)
centres = np.array([[-0.5, 0.3], [0.5, 0.3], [0.0, -0.5]])
X = rng.uniform(-1.5, 1.5, (600, 2))
Y = (np.linalg.norm(X[:, None] - centres, axis=2) < 0.75).astype(int)
net = fastnn.Network([2, 32, 3], loss="binary_cross_entropy", random_state=0)
net.fit(X, Y, optimizer=fastnn.Adam(0.02), epochs=800)

side = np.linspace(-1.5, 1.5, 200)
grid = np.stack(np.meshgrid(side, side), axis=-1)
p = net.predict_proba(grid.reshape(-1, 2)).reshape(200, 200, 3)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained", sharey=True)
for k, ax in enumerate(axes):
    ax.contourf(side, side, p[..., k], np.linspace(0, 1, 11), cmap="Blues")
    ax.scatter(*X.T, s=6, c=np.where(Y[:, k], "k", "0.7"))
    ax.set(title=f"label {k}", xlabel="x0", aspect="equal")
_ = axes[0].set_ylabel("x1")
