"""
Dropout
=======

Units are switched off at random during training, which increases the training loss. On validation
data a little dropout helps here, much does not.
"""

import matplotlib.pyplot as plt

import fastnn

data = fastnn.datasets.load("digits")
train, test = fastnn.datasets.train_test_split(data.y, 0.7, seed=0, stratify=True)
X = data.inputs(data.X)
rates = [0.0, 0.2, 0.5]
networks = [
    fastnn.Network([64, 128, 128, 10], activation="relu", dropout=rate, random_state=0)
    for rate in rates
]
histories = fastnn.fit_many(
    networks,
    X[train],
    data.y[train],
    validation_data=(X[test], data.y[test]),
    epochs=80,
    batch_size=64,
)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
for rate, history in zip(rates, histories, strict=True):
    axes[0].semilogy(history.loss, label=f"dropout {rate:g}")
    axes[1].semilogy(history.validation_loss, label=f"{history.validation_score[-1]:.3f}")
axes[0].set(xlabel="epoch", ylabel="loss", title="training (with units switched off)")
axes[1].set(xlabel="epoch", title="validation")
axes[0].legend(frameon=False)
_ = axes[1].legend(title="accuracy", frameon=False)
