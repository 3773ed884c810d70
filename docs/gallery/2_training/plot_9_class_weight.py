"""
Imbalanced classes
==================

One sample in fifteen belongs to the second class. With balanced weights the network finds more of
them, with more false positives.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.utils.class_weight import compute_sample_weight

import fastnn


def imbalanced(seed):
    return make_moons((1400, 100), noise=0.35, random_state=seed)


(X, y), (X_new, y_new) = imbalanced(0), imbalanced(1)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
for ax, class_weight in zip(axes, (None, "balanced"), strict=True):
    net = fastnn.Network([2, 16, 2], l2=1e-3, random_state=0)
    weights = compute_sample_weight(class_weight, y)
    net.fit(X, y, sample_weight=weights, optimizer=fastnn.Adam(0.02), epochs=300)
    ConfusionMatrixDisplay.from_predictions(
        y_new, net.predict(X_new), normalize="true", cmap="Blues", ax=ax, colorbar=False
    )
    ax.set_title(f"weights: {class_weight}")
