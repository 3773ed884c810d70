"""The convolutional network and its training, on scikit-learn's digits and on MNIST."""

import doctest
import json
import re
import signal

import numpy as np
import pytest
from cnn_cases import CLOSE, N_PARAMS, TINY

from fastnn.cnn import data, export, runs, settings, trainer, training
from fastnn.cnn import model as models
from fastnn.cnn.optimizers import SLOTS, Optimizer
from fastnn.cnn.runtime import keras, tf
from fastnn.cnn.settings import Settings
from fastnn.cnn.trainer import STEPS_PER_CALL, Trainer, cross_entropy, order
from fastnn.errors import DivergenceError


def test_examples_of_docstrings():
    result = doctest.testmod(models)
    assert result.attempted > 20
    assert not result.failed


def test_digits_are_enlarged(digits):
    from sklearn.datasets import load_digits

    parts = (digits.train, digits.validation, digits.test)
    assert sum(len(X) for X, _ in parts) == 1797
    for X, y in parts:
        assert X.dtype == np.uint8
        assert X.shape == (len(y), 28, 28, 1)
        assert np.bincount(y, minlength=10).min() > 10
    # Means over the 64 areas of the old pixels: interpolation smooths, but moves nothing.
    small = load_digits().images
    large = data.enlarged(small)
    assert np.abs(large.mean((1, 2)) / 255 - small.mean((1, 2)) / 16).max() < 0.03
    for small_axis, large_axis in ((1, 1), (2, 2)):
        centers = [
            (values.sum(3 - axis) @ (np.arange(side) + 0.5)) / values.sum((1, 2)) / side
            for values, axis, side in ((small, small_axis, 8), (large, large_axis, 28))
        ]
        np.testing.assert_allclose(centers[1], centers[0], atol=0.015)


def test_first_images_of_mnist_are_for_validation(mnist):
    assert [len(part[0]) for part in (mnist.train, mnist.validation, mnist.test)] == [
        55_000,
        5_000,
        10_000,
    ]
    assert mnist.validation[1][:5].tolist() == [5, 0, 4, 1, 9]  # how MNIST begins
    assert mnist.test[1][:5].tolist() == [7, 2, 1, 0, 4]


def test_every_epoch_has_each_image_once_in_a_new_order():
    rows = order(10, 4, 7, 0, 5).ravel()
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()
    np.testing.assert_array_equal(
        order(10, 4, 7, 0, 9),
        np.vstack([order(10, 4, 7, k, k + 1) for k in range(9)]),
    )
    assert (order(10, 4, 8, 0, 5).ravel() != rows).any()


def test_start_is_the_course_s():
    net = models.Network(Settings())
    assert net.n_params == N_PARAMS
    for name, array in net.get_weights().items():
        if name.endswith("biases"):
            assert (array == np.float32(0.1)).all()
        else:
            assert np.abs(array).max() <= 0.2  # cut at two deviations
            # of a normal distribution of deviation 0.1 that is cut there
            assert array.std() == pytest.approx(0.088, abs=0.004)
    assert models.Network(Settings(activation="maxout")).n_params > N_PARAMS


@pytest.mark.parametrize("activation", settings.ACTIVATIONS)
def test_network_is_keras_own(activation, digits):
    """The same numbers as a model of Keras's layers, and as its trace."""
    net = models.Network(Settings(activation=activation, init="he_normal", seed=3))
    X = digits.test[0][:20]
    expected = export.to_keras(net)(X.astype(np.float32) / 255).numpy()
    np.testing.assert_allclose(net.predict_proba(X), expected, **CLOSE)
    traced = net.trace(tf.constant(X))
    assert list(traced) == [
        *(f"{a}/{b}" for a, b in (("conv1", "net_inputs"), ("conv1", "activations"))),
        "pool1/outputs",
        *("conv2/net_inputs", "conv2/activations", "pool2/outputs"),
        *("fc1/net_inputs", "fc1/activations", "fc2/net_inputs"),
    ]
    np.testing.assert_allclose(tf.nn.softmax(traced["fc2/net_inputs"]), expected, **CLOSE)
    first = models.Network(net.settings.model_copy(update={"pool_first": True}))
    np.testing.assert_array_equal(first.predict_proba(X), net.predict_proba(X))


def test_maxout_takes_the_larger_of_two():
    values = np.array([[1.0, 2.0, -3.0, -4.0]], np.float32)
    assert models.Maxout()(values).numpy().tolist() == [[2.0, -3.0]]


def test_dropout_is_in_training_alone(digits):
    net = models.Network(Settings(dropout=0.5, init="he_normal"))
    X = tf.constant(digits.test[0][:50])
    plain, one, same, other = (
        net.logits(X, seed).numpy() for seed in (None, (0, 1), (0, 1), (0, 2))
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert (one != plain).any()
    many = np.mean([net.logits(X, (0, k)) for k in range(50)], axis=0)
    # a mean of 50 draws: a seventh of their deviation, four times over for 500 numbers
    assert np.abs(many - plain).max() < 4.5 * one.std() / np.sqrt(50) + 0.05


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_that_of_keras(smoothing):
    rng = np.random.default_rng(0)
    logits = (5 * rng.standard_normal((20, 10))).astype(np.float32)
    labels = rng.integers(0, 10, 20, dtype=np.int32)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    expected = float(loss(np.eye(10)[labels], logits))
    found = float(cross_entropy(tf.constant(labels), tf.constant(logits), smoothing))
    assert found == pytest.approx(expected, rel=1e-5)  # float32 sums of ten numbers up to 20


@pytest.mark.parametrize("name", SLOTS)
def test_update_rules_are_those_of_keras(name):
    """Three steps with the same gradients."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal((4, 3)).astype(np.float32)
    ours, theirs = tf.Variable(start), keras.Variable(start)
    rule = Optimizer(name, {"w": ours})
    rate = settings.LEARNING_RATES[name]
    makers = {
        "sgd": lambda: keras.optimizers.SGD(rate),
        "momentum": lambda: keras.optimizers.SGD(rate, momentum=0.9),
        "adagrad": lambda: keras.optimizers.Adagrad(rate),
        "rmsprop": lambda: keras.optimizers.RMSprop(rate),
        "adam": lambda: keras.optimizers.Adam(rate),
        "adamw": lambda: keras.optimizers.AdamW(rate),
    }
    reference = makers[name]()
    for step in range(1, 4):
        gradient = rng.standard_normal((4, 3)).astype(np.float32)
        rule.apply({"w": tf.constant(gradient)}, tf.constant(np.float32(rate)), tf.constant(step))
        reference.apply([gradient], [theirs])
    moved = np.abs(ours.numpy() - start).max()
    assert moved > 0
    # rounding of parameters of order one; steps are of order 1e-4
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=5e-7)


@pytest.mark.parametrize(
    "bad", [np.zeros((3, 27, 28)), np.full((1, 28, 28), 2.0), np.zeros((2, 784), int)]
)
def test_images_of_another_form_are_refused(network, bad):
    with pytest.raises(ValueError, match=r"images must"):
        network.predict(bad)


def test_forms_of_images(network, digits):
    X = digits.test[0][:7]
    expected = network.predict(X)
    for same in (X[..., 0], X.reshape(7, 784), X / 255):
        np.testing.assert_array_equal(network.predict(same), expected)
    assert network.predict(X[0, :, :, 0]).tolist() == expected[:1].tolist()
    assert network.predict(X[:0]).tolist() == []
    with pytest.raises(ValueError, match="y must"):
        network.score(X, [1])


def test_run_learns(finished, digits, network):
    folder, result = finished
    assert result["stopped"] == "steps"
    assert result["steps_done"] == 60
    assert result["parameters"] == N_PARAMS
    assert result["test_accuracy"] > 0.9
    assert network.score(*digits.test) == pytest.approx(result["test_accuracy"])
    assert json.loads((folder / runs.RESULTS_FILE).read_text()) == result
    error = result["errors"][-1]
    first, *lines = (folder / runs.LOG_FILE).read_text().splitlines()
    assert re.fullmatch(r"step 0, training accuracy 0(\.\d+)?", first)
    assert lines == [
        f"step 60, validation error {error['validation_error']:g}, "
        f"test error {error['test_error']:g}",
        f"test accuracy {result['test_accuracy']:g}",
        f"The training takes {result['seconds']:f} second to finish",
    ]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        pytest.param(signal.SIGINT, 130, id="INT"),
        pytest.param(signal.SIGTERM, 143, id="TERM", marks=pytest.mark.slow),
    ],
)
def test_stopped_run_goes_on_as_if_it_had_not_been(
    run, tmp_path, digits, monkeypatch, number, expected
):
    """The same bits: weights, and with them shuffling, dropout, moments, learning rates."""
    training.train(Settings(**TINY, steps=50), tmp_path / "whole", images=digits, quiet=True)

    rates = Trainer.rates

    def interrupted(trainer, first, last):
        if first == 0:
            signal.raise_signal(number)
        return rates(trainer, first, last)

    monkeypatch.setattr(Trainer, "rates", interrupted)
    options = ["--data", "digits", "--preset", "fast", "--batch-size", "32", "--steps", "50"]
    code, out, err = run("train", *options, "--out", "stopped")
    assert (code, err) == (expected, "fastnn: interrupted\n")
    last = f"\nstep {STEPS_PER_CALL}, interrupted; validation and test errors not computed\n"
    assert last in out
    assert "accuracy" not in out.partition(last)[2]
    assert not (tmp_path / "stopped" / runs.MODEL_FILE).exists()
    assert runs.read(tmp_path / "stopped" / runs.CHECKPOINT_FILE)[0].step == STEPS_PER_CALL

    code, out, err = run("train", "--resume", "stopped", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["steps_done"] == 50
    whole, resumed = (
        runs.read(tmp_path / name / runs.MODEL_FILE)[1] for name in ("whole", "stopped")
    )
    for name, array in whole.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)


def test_evaluation_that_ctrl_c_ends_is_done_when_resumed(tmp_path, digits, monkeypatch):
    """Without errors of that step in the checkpoint; with all of them in the end."""
    monkeypatch.setattr(trainer, "EVALUATE_EVERY", 10)
    monkeypatch.setattr(trainer, "PREDICT_BATCH", 100)
    settings = Settings(**TINY, steps=20)
    whole = training.train(settings, tmp_path / "whole", images=digits, quiet=True)
    assert [error["step"] for error in whole["errors"]] == [10, 20]
    predict, calls = trainer.Network.predict, []

    def interrupted(network, images):
        calls.append(len(images))
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return predict(network, images)

    monkeypatch.setattr(trainer.Network, "predict", interrupted)
    stopped = training.train(settings, tmp_path / "stopped", images=digits, quiet=True)
    assert len(calls) == 3
    assert stopped["stopped"] == "interrupted"
    assert (stopped["steps_done"], stopped["errors"], stopped["test_accuracy"]) == (10, [], None)
    assert runs.read(tmp_path / "stopped" / runs.CHECKPOINT_FILE)[0].errors == []
    resumed = training.resume(tmp_path / "stopped", images=digits, quiet=True)
    assert resumed["errors"] == whole["errors"]


def test_diverging_run_says_so(tmp_path, digits):
    chosen = Settings(**TINY, steps=40, optimizer="sgd", learning_rate=1e6, schedule="constant")
    with pytest.raises(DivergenceError, match="learning rate below"):
        training.train(chosen, tmp_path, images=digits, quiet=True)
    assert not (tmp_path / runs.MODEL_FILE).exists()


def test_course_learns_mnist(mnist, tmp_path):
    """The course's settings for a moment: the loss falls, most digits are right."""
    trainer = Trainer(Settings(steps=60).completed(), mnist, tmp_path, lambda line: None)
    trainer.run()
    X, y = (part[:1000] for part in mnist.test)
    assert trainer.network.score(X, y) > 0.6


def _accuracies(mnist, folder, seeds, **chosen):
    accuracies = []
    for seed in range(seeds):
        result = training.train(Settings(seed=seed, **chosen), folder, images=mnist, quiet=True)
        accuracies.append(result["test_accuracy"])
    return np.mean(accuracies)


@pytest.mark.slow
def test_course_reaches_its_accuracy(mnist, tmp_path):
    assert _accuracies(mnist, tmp_path, 3, preset="course") >= 0.985


@pytest.mark.slow
def test_fast_reaches_the_course_s_best(mnist, tmp_path):
    assert _accuracies(mnist, tmp_path, 5, preset="fast") >= 0.9867


@pytest.mark.slow
def test_accurate_reaches_more(mnist, tmp_path):
    assert _accuracies(mnist, tmp_path, 5, preset="accurate") >= 0.9920
