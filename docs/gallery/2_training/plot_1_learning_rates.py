"""
Learning rates
==============

Small learning rates are slow, large ones oscillate or diverge. In between a factor of ten matters
little.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(200, noise=0.2, random_state=0)
rates = [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]
fits = [
    fastnn.Fit(
        fastnn.Network([2, 8, 2], dtype="float64", random_state=0),
        optimizer=fastnn.SGD(learning_rate=rate),
    )
    for rate in rates
]
histories = fastnn.fit_many(fits, X, y, epochs=2000)

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for k, (rate, history) in enumerate(zip(rates, histories, strict=True)):
    ax.loglog(range(1, 2001), history.loss, color=plt.cm.viridis(k / 5.5), label=f"{rate:g}")
ax.set(xlabel="epoch", ylabel="training loss")
_ = ax.legend(title="learning rate", loc="upper left", bbox_to_anchor=(1, 1))
