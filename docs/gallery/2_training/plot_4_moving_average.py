"""
Averaging the parameters
========================

With small batches and a large learning rate the parameters fluctuate. With ``ema`` their moving
average is used for predictions.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(300, noise=0.25, random_state=0)
new = make_moons(5_000, noise=0.25, random_state=1)
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for ema in (None, 0.99):
    net = fastnn.Network([2, 16, 2], random_state=0)
    rule = fastnn.Adam(0.05, ema=ema)
    losses = []
    for _ in range(60):
        net.fit(X, y, optimizer=rule, epochs=1, batch_size=8)
        losses.append(net.loss(*new))
    ax.plot(losses, label=f"ema={ema}")
ax.set(xlabel="epoch", ylabel="loss of new samples")
_ = ax.legend(frameon=False)
