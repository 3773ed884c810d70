"""
A custom activation
===================

A function and its derivative, which Numba compiles into the training loop. Here it is the sine.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn


def sine(z):
    return np.sin(z)


def cosine(z):
    return np.cos(z)


x = np.linspace(-1, 1, 400)[:, None]
t = np.sin(25 * x) * np.exp(-(x**2))

figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.plot(x, t, color="0.6", lw=4, label="target")
for activation in ("tanh", fastnn.CustomActivation(sine, cosine)):
    net = fastnn.Network([1, 32, 1], activation=activation, loss="squared_error", random_state=0)
    net.weights[0][:] *= 15  # so that the units begin with frequencies like the target's
    net.fit(x, t, optimizer=fastnn.Adam(0.01), epochs=1000)
    ax.plot(x, net.predict(x), label=getattr(activation, "name", activation))
ax.set(xlabel="x", ylabel="prediction")
_ = ax.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.15))
