"""
Update rules
============

The loss of six update rules, each with a suitable learning rate.
"""

import matplotlib.pyplot as plt

import fastnn

data = fastnn.datasets.load("digits")
X = data.inputs(data.X)
rules = {
    "SGD(0.1)": fastnn.SGD(0.1),
    "SGD(0.1, momentum=0.9)": fastnn.SGD(0.1, momentum=0.9),
    "AdaGrad(0.03)": fastnn.AdaGrad(0.03),
    "RMSprop(0.003)": fastnn.RMSprop(0.003),
    "Adam(0.003)": fastnn.Adam(0.003),
    "AdamW(0.003)": fastnn.AdamW(0.003),
}
fits = [
    fastnn.Fit(fastnn.Network([64, 32, 10], activation="relu", random_state=0), optimizer=rule)
    for rule in rules.values()
]
histories = fastnn.fit_many(fits, X, data.y, epochs=40, batch_size=64)

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name, history in zip(rules, histories, strict=True):
    ax.semilogy(history.loss, label=name, ls="--" if name.startswith("AdamW") else "-")
ax.set(xlabel="epoch", ylabel="training loss")
_ = ax.legend(frameon=False)
