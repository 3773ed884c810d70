"""
An ensemble
===========

The mean of 30 networks, each trained on a bootstrap sample, has a smoother boundary than a single
network.
"""

import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap
from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay

import fastnn

X, y = make_moons(150, noise=0.3, random_state=0)
X_new, y_new = make_moons(5_000, noise=0.3, random_state=1)
one = fastnn.MLPClassifier((32,), learning_rate_init=0.02, max_iter=1000, random_state=0)
ensemble = fastnn.MLPBaggingClassifier(one, n_estimators=30, random_state=0)

blue, orange = fastnn.plots.COLORS[:2]
colours = LinearSegmentedColormap.from_list("classes", [blue, "white", orange])
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.8), layout="constrained", sharey=True)
for ax, model, name in zip(axes, (one, ensemble), ("one network", "30 networks"), strict=True):
    model.fit(X, y)
    DecisionBoundaryDisplay.from_estimator(
        model, X, response_method="predict_proba", cmap=colours, alpha=0.6, ax=ax
    )
    ax.scatter(*X.T, c=y, cmap=colours, s=22, edgecolors="white", linewidths=0.5)
    ax.set_title(f"{name}, new samples {model.score(X_new, y_new):.3f}")
