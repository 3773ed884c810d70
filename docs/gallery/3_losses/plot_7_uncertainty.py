"""
Uncertainty
===========

Five methods on the same data, with noise that increases to the right and without data between the
dotted lines. The Gaussian loss and quantiles describe the noise, an ensemble shows where data are
missing, and conformal intervals have the chosen coverage.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import fastnn

warnings.simplefilter("ignore")  # of max_iter, which is meant to be reached
rng = np.random.default_rng(0)


def draw(n):
    x = rng.uniform(0, 4, (n, 1))
    x = x[(x[:, 0] < 1.5) | (x[:, 0] > 2.3)]
    return x, np.sin(2 * x[:, 0]) + (0.05 + 0.15 * x[:, 0]) * rng.standard_normal(len(x))


x, t = draw(800)
x_new, t_new = draw(10_000)
grid = np.linspace(-0.5, 4.5, 300)[:, None]
settings = {"max_iter": 150, "learning_rate_init": 0.01, "tol": 0, "batch_size": 50}

gaussian = fastnn.MLPRegressor("gaussian", (16,), random_state=0, **settings)
quantiles = fastnn.MLPRegressor(
    "quantile", (16,), quantile=(0.05, 0.5, 0.95), random_state=0, **settings
)
plain = fastnn.MLPRegressor(hidden_layer_sizes=(16,), random_state=0, **settings)
ensemble = fastnn.MLPBaggingRegressor(
    fastnn.MLPRegressor("gaussian", (16,), **settings), n_estimators=10, random_state=0
)
conformal = fastnn.ConformalRegressor(plain, random_state=0)
adaptive = fastnn.ConformalRegressor(gaussian, random_state=0)
models = (gaussian, quantiles, ensemble, conformal, adaptive)
for model in models:
    model.fit(x, t)


def normal(model, x):
    mean, std = model.predict(x, return_std=True)
    return mean, mean - 1.645 * std, mean + 1.645 * std


def of_quantiles(model, x):
    low, middle, high = model.predict(x).T
    return middle, low, high


def interval(model, x):
    return model.predict(x), *model.predict_interval(x, coverage=0.9)


panels = {
    "loss gaussian": (gaussian, normal),
    "loss quantile": (quantiles, of_quantiles),
    "ensemble of Gaussians": (ensemble, normal),
    "conformal": (conformal, interval),
    "conformal, of the Gaussian": (
        adaptive,
        lambda m, x: (m.estimator_.predict(x), *m.predict_interval(x)),
    ),
}
figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), layout="constrained", sharex=True, sharey=True)
for ax, (title, (model, band)) in zip(axes.flat, panels.items(), strict=False):
    _, low, high = band(model, x_new)
    share = ((low <= t_new) & (t_new <= high)).mean()
    middle, low, high = band(model, grid)
    ax.scatter(x, t, s=4, color="0.75")
    ax.fill_between(grid[:, 0], low, high, alpha=0.3, lw=0)
    ax.plot(grid, middle, lw=2)
    for edge in (1.5, 2.3):
        ax.axvline(edge, color="0.5", ls=":", lw=1)
    ax.set_title(f"{title}: {share:.1%}", loc="left", fontsize=10)
    ax.set(ylim=(-3, 3))
axes.flat[-1].set_axis_off()
_ = axes.flat[-1].text(
    0.1,
    0.5,
    "Shares of new targets that lie\nwithin the bands, which are\nmeant to hold 90%.",
    fontsize=10,
)
