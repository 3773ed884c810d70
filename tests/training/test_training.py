"""Training through ``fit``: against scikit-learn, reproducible, stoppable."""

import dataclasses
import warnings

import numpy as np
import pytest
from helpers import assert_bits
from sklearn.datasets import load_iris, make_moons, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor

import fastnn
from fastnn.backends.tuning import tuned
from fastnn.training.team import ThreadTuner

MOONS = make_moons(150, noise=0.2, random_state=1)


# --- scikit-learn -----------------------------------------------------------------

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


def regression():
    X, y = make_regression(120, 6, noise=5.0, random_state=0)
    return X, y / y.std()


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


# --- the same again ---------------------------------------------------------------

WAYS = {
    "full batch": {},
    "in order": {"batch_size": 32, "shuffle": False},
    "shuffled": {"batch_size": 32},
}


def moons_net(backend="numpy", **settings):
    settings = {"dtype": "float64", "random_state": 3, "dropout": 0.2, "l2": 1e-3} | settings
    return fastnn.Network([2, 8, 6, 2], backend=backend, **settings)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_seed_gives_the_same_bits(backend, way, dtype):
    nets = [moons_net(backend, dtype=dtype) for _ in range(2)]
    losses = [net.fit(*MOONS, epochs=20, **WAYS[way]).loss for net in nets]
    assert_bits(nets[0].params, nets[1].params)
    assert_bits(losses[0], losses[1])
    other = moons_net(backend, dtype=dtype, random_state=4)
    assert (other.params != nets[0].params).any()


def test_one_seed_gives_one_result_in_all_backends(backend):
    # shuffling and dropout included; 1e-9 after a hundred steps, as for the kernels
    nets = [moons_net(name) for name in ("numpy", backend)]
    losses = [net.fit(*MOONS, epochs=20, batch_size=32).loss for net in nets]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-9)
    np.testing.assert_allclose(nets[1].params, nets[0].params, rtol=0, atol=1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_two_calls_equal_one(backend, way):
    optimizer = fastnn.Adam(0.01)
    once, twice = moons_net(backend), moons_net(backend)
    whole = once.fit(*MOONS, optimizer=optimizer, epochs=12, **WAYS[way])
    parts = [twice.fit(*MOONS, optimizer=optimizer, epochs=n, **WAYS[way]) for n in (5, 1, 6)]
    assert_bits(twice.params, once.params)
    # the mean over an epoch's batches may be summed in another order
    losses = np.concatenate([part.loss for part in parts])
    np.testing.assert_allclose(losses, whole.loss, rtol=1e-15)
    assert once.n_epochs_ == twice.n_epochs_ == 12


@pytest.mark.parametrize("seconds", [0.0, 10.0])
def test_bits_independent_of_chunk_length(backend, seconds):
    usual = moons_net(backend)
    usual.fit(*MOONS, epochs=30, batch_size=32)
    net = moons_net(backend)
    with tuned(chunk_seconds=seconds):
        net.fit(*MOONS, epochs=30, batch_size=32)
    assert_bits(net.params, usual.params)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_subnormal_bits_independent_of_chunk_length(backend, dtype):
    """Weights of inputs that are zero swing there through zero; also in two calls."""

    def network():
        net = fastnn.Network([4, 5, 2], backend=backend, dtype=dtype, l2=0.5, random_state=0)
        net.weights[0][:2] = np.finfo(dtype).tiny * np.geomspace(4, 1000, 10).reshape(2, 5)
        return net

    X, y = np.hstack([np.zeros((150, 2)), MOONS[0]]), MOONS[1]
    settings = {"batch_size": 50, "optimizer": fastnn.SGD(0.1, 0.9), "shuffle": False}
    nets = []
    for seconds in (0.0, 10.0):
        nets.append(network())
        with tuned(chunk_seconds=seconds):
            nets[-1].fit(X, y, epochs=50, **settings)
    stopped = network()
    for epochs in (17, 33):
        stopped.fit(X, y, epochs=epochs, **settings)
    for net in (stopped, nets[1]):
        assert_bits(net.params, nets[0].params)
        assert_bits(net.state.moments, nets[0].state.moments)
    assert (nets[0].weights[0][:2] != 0).any() or backend != "numpy"


@pytest.mark.parametrize("way", WAYS)
def test_bits_independent_of_threads(backend, way):
    X, y = make_moons(2500, noise=0.2, random_state=0)
    alone = moons_net(backend, n_threads=1)
    way = WAYS[way] | ({"batch_size": 1400} if "batch_size" in WAYS[way] else {})
    losses = alone.fit(X, y, epochs=5, **way).loss
    for n_threads in (2, 3):
        net = moons_net(backend, n_threads=n_threads)
        with tuned(work_per_thread=1):
            assert_bits(net.fit(X, y, epochs=5, **way).loss, losses)
        assert_bits(net.params, alone.params)


def test_another_optimizer_starts_with_new_moments(backend):
    net, other = moons_net(backend), moons_net(backend)
    net.fit(*MOONS, optimizer=fastnn.Adam(0.01), epochs=5)
    other.params[:] = net.params
    other.n_epochs_ = 5  # dropout goes on where it was
    net.fit(*MOONS, optimizer=fastnn.AdaGrad(), epochs=5)
    with pytest.warns(UserWarning, match="adagrad starts with new moments"):
        other.fit(*MOONS, optimizer=fastnn.AdaGrad(), epochs=5)
    assert_bits(net.params, other.params)


def test_dropout_differs_from_step_to_step(backend):
    net = moons_net(backend, dropout=0.5)
    net.params += 0.1  # no zeros: steps of 1e-300 vanish beside every parameter
    before = net.params.copy()
    losses = []
    for _ in range(5):
        losses.append(net.fit(*MOONS, optimizer=fastnn.SGD(1e-300), epochs=1).loss[0])
    assert_bits(net.params, before)  # nothing else could change the loss
    assert len(set(losses)) == 5
    assert net.loss(*MOONS) == net.loss(*MOONS)  # predictions drop nothing


# --- history ----------------------------------------------------------------------


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


# --- validation, stopping ---------------------------------------------------------


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


# --- divergence -------------------------------------------------------------------


def assert_trained_alike(net, other):
    """Parameters, moments and counters of the same step."""
    assert_bits(net.params, other.params)
    assert_bits(net.state.moments, other.state.moments)
    assert (net.state.updates, net.n_epochs_) == (other.state.updates, other.n_epochs_)


@pytest.mark.parametrize("validation", [0.0, 0.2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [None, 32])
def test_divergence_keeps_finite_parameters(backend, dtype, batch_size, validation):
    X, y = regression()
    arguments = {"activation": "relu", "loss": "squared_error", "dtype": dtype}
    arguments |= {"random_state": 0, "backend": backend}
    optimizer = fastnn.SGD(1e8)
    settings = {"optimizer": optimizer, "batch_size": batch_size, "shuffle": False}
    net = fastnn.Network([6, 5, 1], **arguments)
    with pytest.raises(fastnn.DivergenceError) as caught:
        net.fit(X, y, epochs=1000, validation_fraction=validation, **settings)
    error = caught.value
    assert f"step {error.step}" in str(error)
    assert "1e+08" in str(error)  # what to change
    assert not np.isfinite(error.loss)
    assert np.isfinite(net.params).all()


def test_divergence_keeps_the_previous_step(backend):
    # the last step's parameters are finite, its loss is not: nothing is undone
    X, y = regression()
    nets = [
        fastnn.Network(
            [6, 5, 1], loss="squared_error", dtype="float32", random_state=0, backend=backend
        )
        for _ in range(2)
    ]
    optimizer = fastnn.SGD(1e3, momentum=0.5)
    with pytest.raises(fastnn.DivergenceError) as caught:
        nets[0].fit(X, y, optimizer=optimizer, epochs=1000)
    assert caught.value.step > 1
    nets[1].fit(X, y, optimizer=optimizer, epochs=caught.value.step - 1)
    assert_trained_alike(*nets)


@pytest.mark.parametrize("rule", [fastnn.SGD, fastnn.Adam, fastnn.AdaGrad, fastnn.RMSprop])
def test_optimizer_bounds_are_enforced(rule):
    """Those of the rule itself and of all; the lower bound is one of the values, or is not."""
    own = dict.fromkeys(("momentum", "beta_1", "beta_2", "rho"), (0.0, 1.0, True))
    own |= dict.fromkeys(("learning_rate", "epsilon", "clip_norm"), (0.0, np.inf, False))
    own |= {"clip_value": (0.0, np.inf, False), "ema": (0.0, 1.0, False)}
    names = own.keys() & {field.name for field in dataclasses.fields(rule)}
    assert len(names) >= 4
    for name in names:
        low, high, closed = own[name]
        good = [np.nextafter(low, 1), min(np.nextafter(high, 0), 1e300)]
        bad = [-1e-300, high, np.nan, -np.inf, "1", None]
        (good if closed else bad).append(low)
        for value in good:
            assert getattr(rule(**{name: value}), name) == value
        for value in bad:
            if value is None and name in ("clip_norm", "clip_value", "ema"):
                continue
            with pytest.raises(ValueError, match=f"{name} must be a number"):
                rule(**{name: value})


def test_validation_does_not_change_training_with_average(backend):
    """The average is shown for the validation, and the parameters are put back."""
    settings = {"optimizer": fastnn.Adam(0.05, ema=0.9), "epochs": 4, "batch_size": 50}
    nets = [moons_net(backend) for _ in range(2)]
    nets[0].fit(*MOONS, **settings)
    nets[1].fit(*MOONS, validation_data=MOONS, **settings)
    assert_bits(nets[1].params, nets[0].params)
    assert_bits(nets[1].state.moments, nets[0].state.moments)


@pytest.mark.parametrize("ema", [None, 0.5])
def test_divergence_restores_one_snapshot(backend, ema):
    # parameters become infinite, and a finite output of tanh hides it: back to a snapshot
    X, y = [[1e30], [-1e30], [2e30]], [0, 1, 1]
    nets = []
    for _ in range(2):
        nets.append(fastnn.Network([1, 2, 2], dtype="float32", random_state=0, backend=backend))
        nets[-1].weights[0][:] *= 1e-30
    optimizer = fastnn.SGD(1e30, momentum=0.9, ema=ema)
    with pytest.raises(fastnn.DivergenceError) as caught:
        nets[0].fit(X, y, optimizer=optimizer, epochs=100)
    assert np.isfinite(nets[0].params).all()
    assert nets[0].n_epochs_ < caught.value.step
    if nets[0].n_epochs_:
        nets[1].fit(X, y, optimizer=optimizer, epochs=nets[0].n_epochs_)
        assert_trained_alike(*nets)
    else:
        assert_bits(nets[0].params, nets[1].params)
        assert not nets[0].state.moments.any()


def test_divergence_from_the_first_step(backend):
    net = fastnn.Network(
        [2, 3, 1], loss="squared_error", dtype="float32", random_state=0, backend=backend
    )
    before = net.params.copy()
    with pytest.raises(fastnn.DivergenceError, match="step 1:"):
        net.fit(np.ones((4, 2)), np.full(4, 3e38), epochs=5)
    assert_bits(net.params, before)


# More than a mebibyte of parameters, whose moments are kept for an average only.
LARGE = {"dtype": "float32", "random_state": 0}


def test_divergence_of_a_large_network(backend):
    X, y = np.full((8, 4), 1e30), np.arange(8) % 2
    net = fastnn.Network([4, 600, 600, 2], activation="tanh", backend=backend, **LARGE)
    net.weights[0][:] *= 1e-30
    with pytest.raises(fastnn.DivergenceError):
        net.fit(X, y, optimizer=fastnn.SGD(1e30, momentum=0.5), epochs=50)
    assert np.isfinite(net.params).all()
    history = net.fit(X * 1e-30, y, optimizer=fastnn.SGD(1e-6, momentum=0.5), epochs=3)
    assert np.isfinite(history.loss).all()


def test_divergence_of_a_large_network_keeps_the_average(backend):
    X, y = regression()
    arguments = {"activation": "relu", "loss": "squared_error", "backend": backend} | LARGE
    net, other = (fastnn.Network([6, 600, 600, 1], **arguments) for _ in range(2))
    rule = fastnn.SGD(10.0, ema=0.5)
    with pytest.raises(fastnn.DivergenceError) as error:
        net.fit(X, y, optimizer=rule, epochs=50)
    assert error.value.step - 1 == net.n_epochs_ > 1
    other.fit(X, y, optimizer=rule, epochs=net.n_epochs_)
    assert_trained_alike(net, other)


# --- threads ------------------------------------------------------------------------


def test_bits_independent_of_threads_per_chunk(backend, monkeypatch):
    X = np.random.default_rng(0).standard_normal((700, 5))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    nets = [
        fastnn.Network([5, 30, 2], random_state=0, backend=backend, n_threads=n) for n in (1, 2)
    ]
    with tuned(work_per_thread=1):
        nets[0].fit(X, y, epochs=12)
    asked = []

    def in_turn(team):
        asked.append(1 + len(asked) % team.max_threads)
        return asked[-1]

    monkeypatch.setattr(ThreadTuner, "choose", in_turn)
    with tuned(work_per_thread=1, chunk_seconds=0.0):  # one step per chunk
        nets[1].fit(X, y, epochs=12)
    assert_bits(nets[0].params, nets[1].params)
    assert set(asked) == ({1} if backend == "numpy" else {1, 2})


def test_faster_thread_count_is_kept():
    team, seconds = ThreadTuner(4), {1: 1.0, 4: 2.0}  # another program has taken the cores
    used = []
    for _ in range(60):
        used.append(team.choose())
        team.report(used[-1], seconds[used[-1]], 1)
    assert used[:12] == [4] * 8 + [1, 1, 1, 4]
    assert used.count(4) == 8 + 4  # then a look every so often, ever less
    seconds[4] = 0.3
    for _ in range(60):
        used.append(team.choose())
        team.report(used[-1], seconds[used[-1]], 1)
    assert used[-20:].count(4) >= 19
    alone = ThreadTuner(1)
    alone.report(1, 1.0, 1)
    assert alone.choose() == 1


@pytest.mark.parametrize(
    ("sizes", "batch_size", "block"),
    [
        # many inputs; weights that Cython's loops take, and BLAS for Numba
        ((300, 90, 3), 1100, None),
        ((40, 280, 250, 3), 1100, 128),  # wide layers, samples split
        ((40, 280, 250, 3), 100, 64),
        ((40, 620, 400, 3), 700, 512),  # units split, two blocks per batch
        ((40, 620, 400, 3), 300, 320),
        ((40, 200, 150, 3), 96, 128),  # units split: a batch is hardly more than a block
        ((40, 300, 300, 3), 7, 128),
        ((40, 200, 150, 3), 97, 64),
    ],
)
def test_wide_networks_use_larger_blocks(backend, sizes, batch_size, block):
    if backend == "numpy":
        pytest.skip("the reference has one block")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1100, sizes[0]), dtype=np.float32)
    y = rng.integers(0, 3, 1100)

    def trained(name, n_threads):
        net = fastnn.Network(
            list(sizes), backend=name, n_threads=n_threads, dtype="float32", random_state=0
        )
        net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=fastnn.SGD(0.05))
        return net

    nets = [trained(backend, n) for n in (1, 2, 3)]
    if block is not None:
        assert nets[0].model.batch_plan(batch_size).block_size == block
    for net in nets[1:]:
        assert_bits(net.params, nets[0].params)
    # as PyTorch compares float32: sums in another order, a few steps
    np.testing.assert_allclose(nets[0].params, trained("numpy", 1).params, rtol=1.3e-6, atol=1e-5)
