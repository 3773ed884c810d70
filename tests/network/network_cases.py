"""Samples and small networks for the tests of ``Network``."""

from sklearn.datasets import make_moons

import fastnn

X, Y = make_moons(60, noise=0.2, random_state=1)


def make(sizes=(2, 4, 2), **settings):
    return fastnn.Network(
        list(sizes), **({"backend": "numpy", "dtype": "float64", "random_state": 0} | settings)
    )


NAN, INF = float("nan"), float("inf")
