"""Data sets and networks for the tests of ``fit``."""

from sklearn.datasets import make_moons, make_regression

import fastnn

MOONS = make_moons(150, noise=0.2, random_state=1)


def regression():
    X, y = make_regression(120, 6, noise=5.0, random_state=0)
    return X, y / y.std()


def moons_net(backend="numpy", **settings):
    settings = {"dtype": "float64", "random_state": 3, "dropout": 0.2, "l2": 1e-3} | settings
    return fastnn.Network([2, 8, 6, 2], backend=backend, **settings)
