"""
Learning-rate schedules
=======================

The estimators can change the learning rate during training. The curves are the training loss with
the same settings and five schedules.
"""

import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import fastnn

X, y = load_digits(return_X_y=True)
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for schedule in ("constant", "invscaling", "step", "cosine", "one_cycle"):
    model = fastnn.MLPClassifier(
        (32,),
        solver="sgd",
        learning_rate=schedule,
        learning_rate_init=0.2,
        batch_size=64,
        max_iter=40,
        n_iter_no_change=40,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that max_iter was reached
        model.fit(X / 16, y)
    ax.semilogy(model.loss_curve_, label=schedule)
ax.set(xlabel="epoch", ylabel="training loss")
_ = ax.legend(frameon=False)
