"""
Early stopping
==============

The training loss keeps decreasing, but the validation loss increases again. Training stops when it
has not decreased for a while, and the parameters of the best epoch are restored.
"""

from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(150, noise=0.35, random_state=0)
net = fastnn.Network([2, 64, 64, 2], activation="relu", random_state=0)
history = net.fit(
    X,
    y,
    optimizer=fastnn.Adam(0.003),
    epochs=2000,
    batch_size=32,
    validation_fraction=0.3,
    early_stopping=fastnn.EarlyStopping(patience=100),
)
print(f"stopped after {history.epochs} epochs, best was {history.best_epoch + 1}")
_ = history.plot()
