"""Training through ``fit``: scikit-learn's loss curves, history, validation, early stopping."""

import warnings

import numpy as np
import pytest
from helpers import assert_bits
from sklearn.datasets import load_iris, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from training_cases import MOONS, moons_net, regression

import fastnn

SOLVERS = {
    "sgd": ({"solver": "sgd", "momentum": 0.0}, fastnn.SGD(0.1)),
    "momentum": (
        {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False},
        fastnn.SGD(0.1, momentum=0.9),
    ),
    "nesterov": (
        {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": True},
        fastnn.SGD(0.1, momentum=0.9, nesterov=True),
    ),
    "adam": (
        {"solver": "adam", "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-7},
        fastnn.Adam(0.1, beta_1=0.8, beta_2=0.99, epsilon=1e-7),
    ),
}


def iris(n_classes):
    X, y = load_iris(return_X_y=True)
    chosen = y < n_classes
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    # both orders of classes in every batch
    order = np.random.RandomState(0).permutation(chosen.sum())
    return X[chosen][order], y[chosen][order]


# data, loss, outputs, activation and its name there, batch
JOBS = {
    "three classes": (iris(3), "cross_entropy", 3, "tanh", "tanh", 30),
    "full batch": (iris(3), "cross_entropy", 3, "relu", "relu", 150),
    "two classes": (iris(2), "binary_cross_entropy", 1, "sigmoid", "logistic", 20),
    "regression": (regression(), "squared_error", 1, "tanh", "tanh", 40),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("job", JOBS)
def test_loss_curve_matches_scikit_learn(backend, job, solver):
    (X, y), loss, outputs, activation, theirs, batch_size = JOBS[job]
    settings, optimizer = SOLVERS[solver]
    alpha, epochs = 0.3, 50
    rate = 0.02 if job == "regression" else 0.1
    optimizer = type(optimizer)(**{**vars(optimizer), "learning_rate": rate})
    net = fastnn.Network(
        [X.shape[1], 7, 5, outputs],
        activation=activation,
        loss=loss,
        l2=alpha / batch_size,  # theirs is divided by the batch
        dtype="float64",
        random_state=0,
        backend=backend,
    )
    kind = MLPRegressor if loss == "squared_error" else MLPClassifier
    mlp = kind(
        hidden_layer_sizes=(7, 5),
        activation=theirs,
        alpha=alpha,
        batch_size=batch_size,
        learning_rate_init=rate,
        max_iter=1,
        shuffle=False,
        warm_start=True,
        tol=0.0,
        n_iter_no_change=1000,
        random_state=0,
        **settings,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mlp.fit(X, y)  # makes its arrays, which then get our numbers
        for ours, weights in zip(
            [*net.weights, *net.biases], [*mlp.coefs_, *mlp.intercepts_], strict=True
        ):
            weights[...] = ours
        mlp.set_params(max_iter=epochs)
        mlp.fit(X, y)
    history = net.fit(
        X, y, optimizer=optimizer, epochs=epochs, batch_size=batch_size, shuffle=False
    )
    expected = mlp.loss_curve_[-epochs:]
    assert expected[-1] < 0.9 * expected[0]  # it did learn
    np.testing.assert_allclose(history.loss, expected, rtol=0, atol=1e-8)
    for ours, weights in zip(
        [*net.weights, *net.biases], [*mlp.coefs_, *mlp.intercepts_], strict=True
    ):
        np.testing.assert_allclose(ours, weights, rtol=0, atol=1e-8)


def test_softmax_regression_finds_the_optimum(backend):
    # no hidden layer: convex, so that any solver must end where LogisticRegression's does
    X, y = iris(3)
    C = 1.0
    model = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(X, y)
    net = fastnn.Network(
        [4, 3], l2=1 / (C * len(X)), dtype="float64", random_state=0, backend=backend
    )
    net.fit(X, y, optimizer=fastnn.SGD(1.0, momentum=0.9), epochs=2000)
    assert np.abs(net.gradients(X, y)).max() < 1e-10
    np.testing.assert_allclose(net.predict_proba(X), model.predict_proba(X), atol=1e-6)


def test_history_is_the_mean_of_batch_losses():
    X, y = MOONS
    net, copy = (moons_net(dropout=0.0) for _ in range(2))
    history = net.fit(X, y, epochs=2, batch_size=40, shuffle=False, optimizer=fastnn.SGD(0.1))
    for epoch in range(2):
        total = 0.0
        for start in range(0, 150, 40):
            part = slice(start, start + 40)
            total += copy.loss(X[part], y[part]) * len(y[part])
            copy.params -= 0.1 * copy.gradients(X[part], y[part])
        np.testing.assert_allclose(history.loss[epoch], total / 150, rtol=1e-12)
    assert history.steps == 8
    assert history.epochs == 2
    assert history.stopped == "epochs"
    assert history.validation_loss is None


def test_losses_do_not_depend_on_the_number_of_epochs(backend):
    """Bitwise, also if the losses of many batches are averaged."""
    X, y = MOONS
    settings = {"batch_size": 15, "optimizer": fastnn.SGD(0.1)}
    whole = moons_net(backend=backend).fit(X, y, epochs=20, **settings).loss
    for epochs in range(1, 20):
        losses = moons_net(backend=backend).fit(X, y, epochs=epochs, **settings).loss
        assert_bits(losses, whole[:epochs])


def test_sample_weights_equal_repeated_samples(backend):
    # weight 3 is the sample three times, weight 0 is none
    X, y = MOONS
    weights = np.arange(150) % 4
    once, repeated = (moons_net(backend, dropout=0.0) for _ in range(2))
    once.fit(X, y, sample_weight=weights, epochs=20)
    repeated.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights), epochs=20)
    np.testing.assert_allclose(once.params, repeated.params, rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        once.loss(X, y, weights),
        once.loss(np.repeat(X, weights, axis=0), np.repeat(y, weights)),
        rtol=1e-12,
    )


def test_batch_of_zero_weight_has_no_effect(backend):
    X, y = MOONS
    weights = np.ones(150)
    weights[50:100] = 0
    net = moons_net(backend, dropout=0.0, l2=0.0)
    optimizer = fastnn.SGD(0.1)
    history = net.fit(
        X, y, sample_weight=weights, batch_size=50, shuffle=False, optimizer=optimizer, epochs=3
    )
    other = moons_net(backend, dropout=0.0, l2=0.0)
    kept = weights > 0
    other.fit(X[kept], y[kept], batch_size=50, shuffle=False, optimizer=optimizer, epochs=3)
    assert np.isfinite(history.loss).all()
    np.testing.assert_allclose(net.params, other.params, rtol=0, atol=1e-12)


def test_validation_data_is_recorded_after_every_epoch(backend):
    X, y = MOONS
    held = make_moons(60, noise=0.2, random_state=9)
    net, alone = moons_net(backend), moons_net(backend)
    history = net.fit(X, y, epochs=6, batch_size=32, validation_data=held)
    losses, scores = [], []
    for _ in range(6):
        alone.fit(X, y, epochs=1, batch_size=32)
        losses.append(alone.loss(*held))
        scores.append(alone.score(*held))
    assert_bits(net.params, alone.params)  # looking changes nothing
    np.testing.assert_allclose(history.validation_loss, losses, rtol=1e-12)
    np.testing.assert_allclose(history.validation_score, scores, rtol=1e-12)


@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy"])
def test_validation_scores_of_other_losses(backend, loss):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3))
    y = X @ rng.standard_normal((3, 2))
    y = y if loss == "squared_error" else (y > 0).astype(int)
    net = fastnn.Network([3, 4, 2], loss=loss, dtype="float64", random_state=0, backend=backend)
    history = net.fit(X[:30], y[:30], epochs=50, validation_data=(X[30:], y[30:]))
    np.testing.assert_allclose(history.validation_loss[-1], net.loss(X[30:], y[30:]), rtol=1e-12)
    np.testing.assert_allclose(history.validation_score[-1], net.score(X[30:], y[30:]), rtol=1e-12)


def test_validation_fraction_holds_out_samples(backend):
    X, y = MOONS
    net = moons_net(backend)
    history = net.fit(X, y, epochs=3, validation_fraction=0.2)
    assert len(history.validation_loss) == 3
    # held-out samples teach nothing: with other labels the training is the same
    held = np.random.RandomState(net.state.seed).permutation(150)[:30]
    other = moons_net(backend)
    flipped = y.copy()
    flipped[held] = 1 - flipped[held]
    changed = other.fit(X, flipped, epochs=3, validation_fraction=0.2)
    assert_bits(other.params, net.params)
    assert (changed.validation_loss != history.validation_loss).all()


def test_early_stopping_restores_the_best(backend):
    X, y = make_moons(40, noise=0.4, random_state=0)
    held = make_moons(40, noise=0.4, random_state=1)
    stopping = fastnn.EarlyStopping(patience=5)
    settings = {"optimizer": fastnn.Adam(0.05), "validation_data": held}
    net = moons_net(backend, dropout=0.0, l2=0.0)
    history = net.fit(X, y, epochs=2000, early_stopping=stopping, **settings)
    assert history.stopped == "early stopping"
    assert history.best_epoch == np.argmin(history.validation_loss)
    assert history.epochs == history.best_epoch + 5 + 1
    np.testing.assert_allclose(net.loss(*held), history.validation_loss.min(), rtol=1e-12)
    best = moons_net(backend, dropout=0.0, l2=0.0)
    best.fit(X, y, epochs=history.best_epoch + 1, **settings)
    assert_bits(net.params, best.params)


def test_min_delta_of_early_stopping():
    # no epoch improves that much: the first stays the best
    net = moons_net()
    stopping = fastnn.EarlyStopping(patience=3, min_delta=100.0)
    history = net.fit(*MOONS, epochs=50, early_stopping=stopping, validation_fraction=0.3)
    assert history.epochs == 4
    assert history.best_epoch == 0


def test_callbacks_receive_progress_and_can_stop(backend):
    seen = []

    def callback(progress):
        seen.append((progress.step, progress.epoch, progress.loss, progress.validation_loss))
        return progress.epoch == 4

    net = moons_net(backend)
    history = net.fit(
        *MOONS, epochs=50, batch_size=50, validation_fraction=0.1, callbacks=[callback]
    )
    assert history.stopped == "callback"
    assert history.epochs == net.n_epochs_ == 4
    assert len(history.loss) == len(history.validation_loss) == 4
    assert seen[-1][:2] == (12, 4)
    assert seen[-1][3] == history.validation_loss[-1]
    alone = moons_net(backend)
    alone.fit(*MOONS, epochs=4, batch_size=50, validation_fraction=0.1)
    assert_bits(net.params, alone.params)


def test_interrupt_ends_cleanly(backend):
    def callback(progress):
        if progress.step >= 3:
            raise KeyboardInterrupt

    net = moons_net(backend)
    history = net.fit(*MOONS, epochs=100_000, callbacks=[callback])
    assert history.stopped == "interrupted"
    assert history.epochs == history.steps == net.n_epochs_ >= 3
    assert np.isfinite(history.loss).all()
    # goes on as if nothing had happened
    net.fit(*MOONS, epochs=2)
    alone = moons_net(backend)
    alone.fit(*MOONS, epochs=history.epochs + 2)
    assert_bits(net.params, alone.params)


def test_validation_does_not_change_training_with_average(backend):
    """The average is shown for the validation, and the parameters are put back."""
    settings = {"optimizer": fastnn.Adam(0.05, ema=0.9), "epochs": 4, "batch_size": 50}
    nets = [moons_net(backend) for _ in range(2)]
    nets[0].fit(*MOONS, **settings)
    nets[1].fit(*MOONS, validation_data=MOONS, **settings)
    assert_bits(nets[1].params, nets[0].params)
    assert_bits(nets[1].state.moments, nets[0].state.moments)
