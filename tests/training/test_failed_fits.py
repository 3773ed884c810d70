"""What is left of a training that an error or Ctrl-C ends early, or after its last step."""

import warnings

import numpy as np
import pytest
from helpers import assert_bits

import fastnn
from fastnn.estimators.base import BaseMLP
from fastnn.tables import members, realmlp, realmlp_training
from fastnn.training.batches import Batches

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)
# Other columns, classes and targets.
OTHER = rng.normal(size=(40, 5)), np.array(["u", "v", "w", "u"] * 10)


def failing(error):
    def fail(*arguments, **settings):
        raise error

    return fail


ERRORS = [KeyboardInterrupt(), MemoryError(), fastnn.DivergenceError(1, np.nan, 0.1)]


def attributes(model):
    return {name: value for name, value in vars(model).items() if not name.startswith("_made")}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("at", ["train", "calibrate"])
def test_an_estimator_for_tables_is_what_it_was(monkeypatch, error, at):
    monkeypatch.setattr(realmlp, "HIDDEN", (8,))
    model = fastnn.TabularClassifier(n_epochs=2, backend="numpy", random_state=0)
    unfitted = dict(vars(model))
    with monkeypatch.context() as patch:
        patch.setattr(realmlp_training if at == "train" else members, at, failing(error))
        with pytest.raises(type(error)):
            model.fit(X, Y)
        assert vars(model) == unfitted
    model.fit(X, Y)
    before, expected = attributes(model), model.predict_proba(X)
    with monkeypatch.context() as patch:
        patch.setattr(realmlp_training if at == "train" else members, at, failing(error))
        with pytest.raises(type(error)):
            model.fit(*OTHER)
    assert attributes(model).keys() == before.keys()
    assert all(attributes(model)[name] is value for name, value in before.items())
    assert_bits(model.predict_proba(X), expected)
    assert model.fit(*OTHER).classes_.tolist() == ["u", "v", "w"]


def test_ctrl_c_while_probabilities_are_calibrated(monkeypatch):
    """The training is complete, so it is not lost; the calibration is done again from the start."""
    monkeypatch.setattr(realmlp, "HIDDEN", (8,))
    model = fastnn.TabularClassifier(n_epochs=3, backend="numpy", random_state=0)
    expected = model.fit(X, Y).predict_proba(X)
    calibrate, calls = members.calibrate, []

    def interrupted(net, held_out):
        calls.append(net)
        if len(calls) == 1:
            net.weights[-1][...] *= 2.0  # half done
            raise KeyboardInterrupt
        calibrate(net, held_out)

    monkeypatch.setattr(members, "calibrate", interrupted)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(X, Y)
    assert model.stopped_ == "interrupted"
    assert_bits(model.predict_proba(X), expected)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["_encode", "_initialize"])
def test_an_estimator_before_its_first_step(monkeypatch, error, method):
    model = fastnn.MLPClassifier((4,), solver="lbfgs", backend="numpy", random_state=0)
    model.fit(X, Y)
    before, expected = attributes(model), model.predict_proba(X)
    owner = BaseMLP if method == "_initialize" else fastnn.MLPClassifier
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, failing(error))
        with pytest.raises(type(error)):
            model.fit(*OTHER)
    assert all(attributes(model)[name] is value for name, value in before.items())
    assert_bits(model.predict_proba(X), expected)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_network_before_its_first_step(monkeypatch, error):
    """Classes, and the scales that are learned from the data of the first training."""
    net = fastnn.Network([3, 4, 2], standardize=True, backend="numpy", random_state=0)
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "fill", failing(error))
        with pytest.raises(type(error)):
            net.fit(100 + X, Y)
    assert net.classes_ is None
    net.fit(X, np.where(Y, "yes", "no"), epochs=2)
    same = fastnn.Network([3, 4, 2], standardize=True, backend="numpy", random_state=0)
    same.fit(X, np.where(Y, "yes", "no"), epochs=2)
    assert_bits(net.params, same.params)


@pytest.mark.parametrize("calls", [1, 5, 15, 16, 29])
def test_losses_of_an_estimator_that_is_interrupted_in_an_epoch(monkeypatch, calls):
    """With several outputs, the losses of batches become means over the outputs in Python."""
    settings = {"hidden_layer_sizes": (4,), "batch_size": 4, "alpha": 0.1, "backend": "numpy"}
    settings |= {"random_state": 0, "shuffle": True}
    whole = fastnn.MLPRegressor(max_iter=4, **settings)
    model = fastnn.MLPRegressor(max_iter=4, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole.fit(X, X[:, :2])
        train, count = Batches.train, []

        def interrupted(self, state, rates, first, losses, *arguments, **more):
            done = train(self, state, rates, first, losses, *arguments, **more)
            count.append(len(losses))
            if len(count) == calls:
                raise KeyboardInterrupt
            return done

        monkeypatch.setattr(Batches, "train", interrupted)
        model.fit(X, X[:, :2])
    epochs = calls // 15
    assert (model.n_iter_, model.t_) == (epochs, 60 * epochs)
    assert model.loss_curve_ == whole.loss_curve_[:epochs]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_sets_of_classes_are_what_they_were(monkeypatch, error):
    one = fastnn.MLPClassifier((4,), solver="lbfgs", max_iter=20, backend="numpy", random_state=0)
    model = fastnn.ConformalClassifier(one, cv=3, random_state=0, n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, Y)
        before, expected = dict(vars(model)), model.predict_set(X, 0.8)
        with monkeypatch.context() as patch:
            patch.setattr(fastnn.ConformalClassifier, "_scores", failing(error))
            with pytest.raises(type(error)):
                model.fit(*OTHER)
    assert vars(model) == before
    assert_bits(model.predict_set(X, 0.8), expected)
