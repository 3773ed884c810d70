"""The points, and the best accuracy that anyone can have on them."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.datasets import make_circles, make_moons

from fastnn.experiments.moons import best_moons_accuracy
from fastnn.experiments.rings import best_accuracy as best_of_rings
from fastnn.play.data import CENTERS, Points, best_accuracy, make_data, spiral
from fastnn.play.settings import PlaySettings


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.37])
def test_moons_and_circles_are_those_of_scikit_learn(noise):
    for name, theirs in (
        ("moons", make_moons(60, noise=noise or None, random_state=3)),
        ("circles", make_circles(60, noise=noise or None, factor=0.4, random_state=3)),
    ):
        X, y = make_data(name, 60, noise=noise, factor=0.4, seed=3)
        np.testing.assert_allclose(X, theirs[0], rtol=0, atol=1e-15)
        np.testing.assert_array_equal(y, theirs[1])


@pytest.mark.parametrize("name", ["blobs", "spirals", "quantiles"])
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_data_have_the_classes_asked_for(name, classes):
    X, y = make_data(name, 120, classes=classes, noise=0.1)
    assert X.shape == (120, 2)
    assert np.bincount(y).tolist() == [120 // classes] * classes


def test_unknown_data():
    with pytest.raises(ValueError, match="no data 'mons'"):
        make_data("mons")


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.5])
def test_best_on_moons(noise):
    assert best_accuracy("moons", noise) == pytest.approx(best_moons_accuracy(noise), abs=1e-5)


@pytest.mark.parametrize(("factor", "noise"), [(0.5, 0.1), (0.8, 0.2), (0.9, 0.5)])
def test_best_on_circles(factor, noise):
    by_integral, _ = best_of_rings(factor, noise)
    assert best_accuracy("circles", noise, factor=factor) == pytest.approx(by_integral, abs=1e-5)


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_best_on_two_blobs(noise):
    """Half the distance of the centres, in deviations, in the normal distribution."""
    z = math.dist(CENTERS[0], CENTERS[1]) / 2 / noise
    exact = 0.5 * math.erfc(-z / math.sqrt(2))
    assert best_accuracy("blobs", noise) == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize("noise", [0.05, 0.3, 1.0])
def test_best_on_xor(noise):
    """The rule that is the best, on many points."""
    X, y = make_data("xor", 400_000, noise=noise, seed=1)
    right = ((X[:, 0] * X[:, 1] > 0) == y).mean()
    assert best_accuracy("xor", noise) == pytest.approx(right, abs=4 * 0.5 / math.sqrt(400_000))


def test_best_on_spirals():
    """The class of the higher density, on many points."""
    noise, n = 0.2, 5_000
    X, y = make_data("spirals", n, noise=noise, classes=3, seed=1)
    t = np.linspace(0, 1, 200)
    arms = [spiral(t, np.full(len(t), arm), 3) for arm in range(3)]
    logs = [logsumexp(-((X[:, None] - arm) ** 2).sum(-1) / (2 * noise**2), axis=1) for arm in arms]
    right = (np.argmax(logs, axis=0) == y).mean()
    assert best_accuracy("spirals", noise, 3) == pytest.approx(right, abs=4 * 0.5 / math.sqrt(n))


def test_best_without_noise_and_of_drawn_points():
    assert best_accuracy("quantiles", 0.2, 3) == best_accuracy("moons", 0.0) == 1.0
    assert best_accuracy("points") is None


def test_held_out_points_are_not_trained_with():
    points = Points(PlaySettings(held_out=0.25, samples=80))
    assert sorted([*points.train, *points.test]) == list(range(80))
    assert len(points.test) == 20
    X, _ = points.of_test
    np.testing.assert_array_equal(X, points.X[points.test])


def test_fresh_points_where_nothing_is_held_out():
    points = Points(PlaySettings(samples=80, scale=10.0))
    X, y = points.of_test
    assert len(y) == 2000
    assert np.abs(X).max() > 10
    drawn = [(0.0, 0.0, 0), (1.0, 1.0, 1)]
    assert Points(PlaySettings(data="points", points=drawn)).of_test is None


def test_limits_have_the_points_and_stand_still():
    for noise in (0.1, 0.11):
        settings = PlaySettings(noise=noise)
        points = Points(settings)
        left, right, bottom, top = limits = points.limits(settings)
        assert right - left == top - bottom
        assert ((points.X - [left, bottom]) > 0).all()
        assert ((points.X - [right, top]) < 0).all()
        assert limits == Points(PlaySettings(noise=0.1)).limits(settings)
    drawn = PlaySettings(data="points", points=[(-1, 0, 0), (1, 1.5, 1)])
    assert Points(drawn).limits(drawn) == [-2, 2, -2, 2]
    far = PlaySettings(data="points", points=[(1e6, 0, 0), (1e6 + 1, 1e-3, 1)])
    left, right, bottom, top = Points(far).limits(far)
    assert 1e6 - 1 < left < 1e6
    assert 1e6 + 1 < right < 1e6 + 2
    assert -1e-3 < bottom < 0
    assert 1e-3 < top < 2e-3
