"""
Weights of the first layer
==========================

Each unit of the first layer has a weight for every pixel. Shown as images, they reveal the strokes
to which the unit responds.
"""

import matplotlib.pyplot as plt

import fastnn

data = fastnn.datasets.load("digits")
X = data.inputs(data.X)
net = fastnn.Network([64, 16, 10], activation="tanh", l2=1e-3, random_state=0)
history = net.fit(X, data.y, optimizer=fastnn.Adam(0.01), epochs=60, batch_size=64)
print(f"accuracy {net.score(X, data.y):.3f}")

figure, axes = plt.subplots(2, 8, figsize=(9, 2.6), layout="constrained")
limit = abs(net.weights[0]).max()
for ax, weights in zip(axes.flat, net.weights[0].T, strict=True):
    image = ax.imshow(weights.reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set_axis_off()
_ = figure.colorbar(image, ax=axes, label="weight")
