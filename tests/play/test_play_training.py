"""A training of the page: the numbers of ``Network.fit``, snapshots, stops; code that says it."""

import contextlib
import io
import json
import shlex

import numpy as np
import pytest

import fastnn
from fastnn import cli
from fastnn.play import code, training
from fastnn.play.data import Points, make_data
from fastnn.play.frames import frame
from fastnn.play.settings import PlaySettings

POINTS = [(0.1 * k, (-1) ** k * 0.3 - 0.02 * k, k % 2) for k in range(12)]
SETTINGS = {
    "default": {},
    "batches": {"batch_size": 32, "optimizer": "adam", "learning_rate": 0.01, "steps": 700},
    "momentum": {"momentum": 0.9, "learning_rate": 0.1, "steps": 300, "dtype": "float32"},
    "held out": {"held_out": 0.3, "steps": 300, "standardize": True, "scale": 50.0},
    "deep": {
        "hidden": [4, 3], "activation": ["relu", "gelu"], "dropout": 0.2, "steps": 200,
        "data": "spirals", "classes": 3, "noise": 0.1, "batch_size": 50, "data_seed": 4, "seed": 5,
    },
    "linear": {"hidden": [], "activation": [], "steps": 100, "data": "circles", "factor": 0.7},
    "quantiles": {"data": "quantiles", "classes": 4, "steps": 50, "learning_rate": 0.5},
    "points": {"data": "points", "points": POINTS, "steps": 150, "learning_rate": 0.5},
}  # fmt: skip
each = pytest.mark.parametrize(
    "settings", [PlaySettings.check(given) for given in SETTINGS.values()], ids=list(SETTINGS)
)


def test_default_is_the_course_run():
    X, y = make_data("moons")
    net = fastnn.Network(
        [2, 3, 2], l2=5e-5, initializer="lecun_normal", dtype="float64", random_state=0
    )
    history = net.fit(X, y, optimizer=fastnn.SGD(learning_rate=2.0), epochs=20_000)
    result = training.train(PlaySettings())
    np.testing.assert_array_equal(result.network.params, net.params)
    np.testing.assert_array_equal(np.concatenate(result.losses), history.loss)
    loss, accuracy, _, _ = result.scores[-1]
    assert (loss, accuracy) == (pytest.approx(net.loss(X, y), rel=1e-12), net.score(X, y))


@each
def test_numbers_are_those_of_one_fit(settings):
    result = training.train(settings)
    points = Points(settings)
    X, y = points.of_training
    net = fastnn.Network(**settings.network(len(points.classes)))
    history = net.fit(
        X,
        y,
        optimizer=settings.make_optimizer(),
        epochs=settings.epochs(len(y)),
        batch_size=settings.batch_size or None,
    )
    np.testing.assert_array_equal(result.network.params, net.params)
    # an epoch's mean over its batches is a product of matrices, rounded by their shape
    np.testing.assert_allclose(np.concatenate(result.losses), history.loss, rtol=1e-14)
    loss, accuracy, test_loss, test_accuracy = result.scores[-1]
    assert result.status == "done"
    assert loss == pytest.approx(net.loss(X, y), rel=1e-6)
    assert accuracy == net.score(X, y)
    if settings.data == "points":
        assert np.isnan([test_loss, test_accuracy]).all()
    else:
        assert test_loss == pytest.approx(net.loss(*points.of_test), rel=1e-6)
        assert test_accuracy == net.score(*points.of_test)


@each
def test_python_prints_the_numbers_of_the_page(settings):
    text = code.python(settings)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(text, "copied", "exec"), {})
    result = training.train(settings)
    numbers = [float(word) for word in out.getvalue().split()]
    assert numbers[0] == pytest.approx(np.concatenate(result.losses)[-1], rel=1e-14)
    assert numbers[1] == result.scores[-1][1]
    if settings.held_out:
        assert numbers[2] == result.scores[-1][3]


def save_points(settings, path):
    points = Points(settings)
    rows = [f"{x!r},{y!r},{k}" for (x, y), k in zip(points.X.tolist(), points.y, strict=True)]
    path.write_text("x0,x1,class\n" + "\n".join(rows) + "\n")


def test_python_of_many_points_reads_a_file(tmp_path, monkeypatch):
    points = [(float(x), float(y), int(k)) for (x, y), k in zip(*make_data("moons"), strict=True)]
    settings = PlaySettings(data="points", points=points, steps=40)
    monkeypatch.chdir(tmp_path)
    save_points(settings, tmp_path / code.FILE)
    text = code.python(settings)
    assert len(text) < 1000
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(text, "copied", "exec"), {})
    result = training.train(settings)
    assert float(out.getvalue().split()[0]) == np.concatenate(result.losses)[-1]


@each
def test_command_trains_such_a_network(settings, tmp_path, monkeypatch, capsys):
    if settings.steps > 1000:
        settings = settings.model_copy(update={"steps": 300})
    monkeypatch.chdir(tmp_path)
    save_points(settings, tmp_path / code.FILE)
    words = shlex.split(code.command(settings))
    assert words[:2] == ["fastnn", "train"]
    assert (words[2] == "moons") == (settings.data == "moons" and settings.scale == 1)
    assert cli.main([*words[1:], "--no-plots", "--no-report", "--json"]) == 0
    got = json.loads(capsys.readouterr().out)
    result = training.train(settings)
    if not settings.held_out:  # else other points are held out
        assert got["loss"] == pytest.approx(result.scores[-1][0], rel=1e-5)
        assert got["accuracy"] == result.scores[-1][1]


def test_snapshots_are_those_of_shorter_trainings():
    result = training.train(PlaySettings(steps=200))
    assert result.at[0] == 0
    assert result.at[-1] == 200
    assert len(result.at) == len(result.params) == len(result.scores)
    for index in (0, 3, len(result.at) // 2):
        if steps := result.at[index]:
            shorter = training.train(PlaySettings(steps=steps))
            np.testing.assert_array_equal(result.params[index], shorter.params[-1])
            assert result.scores[index] == shorter.scores[-1]
        else:
            net = fastnn.Network(**PlaySettings().network(2))
            np.testing.assert_array_equal(result.params[0], net.params.astype(np.float32))


@pytest.mark.parametrize("epochs", [1, 2, 7, 20_000])
@pytest.mark.parametrize("n_params", [2, 17, 1_000, 10_000])
def test_cuts(epochs, n_params):
    cuts = training.cuts(epochs, n_params)
    assert cuts[0] == 1
    assert cuts[-1] == epochs
    assert cuts == sorted(set(cuts))
    assert len(cuts) <= max(8, min(32, 300_000 // n_params)) + 1


def test_curve_is_thinned_out():
    at, losses = training.train(PlaySettings(steps=5000)).curve()
    assert at[0] == 0
    assert at[-1] == 4999
    assert len(at) == len(losses) <= training.CURVE_POINTS


def test_stop_ends_between_chunks():
    asked = []
    result = training.train(PlaySettings(steps=200_000), lambda: len(asked) > 20 or asked.append(1))
    assert result.status == "stopped"
    assert 0 < result.at[-1] < 200_000
    np.testing.assert_array_equal(result.params[-1], result.network.params.astype(np.float32))


def test_training_that_takes_too_long_says_so(monkeypatch):
    monkeypatch.setattr(training, "MAX_SECONDS", 0.0)
    result = training.train(PlaySettings())
    assert result.status == "time"
    assert result.message == (
        "stopped after 0 s, at step 1 of 20,000: take fewer steps or a smaller network"
    )


def test_divergence_is_explained():
    result = training.train(PlaySettings(activation=["relu"], scale=1e3, dtype="float32"))
    assert result.status == "diverged"
    assert "Try a learning rate below 2" in result.message
    assert np.isfinite(result.params).all()


def test_unfinished_results_are_shown(monkeypatch):
    monkeypatch.setattr(training, "SHOW_SECONDS", 0.0)
    shown = []
    result = training.train(PlaySettings(steps=500), show=lambda r: shown.append(r.at[-1]))
    assert shown == result.at[1:-1]


def test_class_of_held_out_points_only_counts_as_wrong():
    """Two of three points of class 2 are held out, of classes 0 and 1 half."""
    net = fastnn.Network([2, 2], random_state=0, dtype="float64")
    net.classes_ = np.array([0, 2])
    X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]])
    y = net.predict(X)
    loss, accuracy = training._measure(net, X, np.append(y[:2], 1), 0.25)
    assert accuracy == pytest.approx(2 / 3)
    assert loss == pytest.approx(net.loss(X[:2], y[:2]) + 0.25)
    assert np.isnan(training._measure(net, X, np.array([1, 1, 1]), 0.0)[0])


def test_losses_beyond_float32_are_a_frame():
    """A training that is about to diverge in float64; a warning would be an error here."""
    settings = PlaySettings(
        data="quantiles", samples=10, held_out=0.5, data_seed=1363349907, seed=95872739,
        hidden=[], activation=[], initializer="he_uniform", standardize=True, l2=1e-4,
        learning_rate=1e6, momentum=0.9, steps=400,
    )  # fmt: skip
    result = training.train(settings)
    _, losses = result.curve()
    assert losses.max() > np.finfo(np.float32).max
    assert losses.astype("<f8").tobytes() in frame(1, result)
