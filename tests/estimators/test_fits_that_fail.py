"""A fit of an estimator that ends before its first step: the earlier model is as it was."""

import os
import pickle
import signal
import sys

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn.estimators import lbfgs, stochastic

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(60, 3)), np.arange(60) % 2
OTHER, LABELS = rng.normal(size=(40, 5)), np.arange(40) % 3  # another width, other classes
MODELS = fastnn.MLPClassifier, fastnn.MLPRegressor


@pytest.fixture(params=MODELS)
def model(request):
    """A small model that has been trained."""
    model = request.param(hidden_layer_sizes=(4,), max_iter=3, random_state=0, backend="numpy")
    with pytest.warns(ConvergenceWarning):
        return model.fit(X, Y)


def assert_same(model, before):
    """Check parameters, classes, curves and everything else that was pickled."""
    expected = pickle.loads(before)
    assert vars(model).keys() >= vars(expected).keys()
    for name, value in vars(expected).items():
        if name not in model.get_params() and not name.startswith("_"):
            np.testing.assert_equal(vars(model)[name], value)
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))


SETTINGS = {
    "samples of validation": ({}, {"validation_data": (X, Y)}, "5 features"),
    "missing values": ({}, {"validation_data": (OTHER * np.nan, LABELS)}, "NaN"),
    "negative weights": ({}, {"validation_data": (OTHER, LABELS, -np.ones(40))}, "Negative"),
    "no validation data": ({}, {"validation_data": 3}, "validation_data must be"),
    "too few to validate": ({"early_stopping": True, "validation_fraction": 1e-9}, {}, "too small"),
    "dropout": ({"solver": "lm", "dropout": 0.5}, {}, "dropout needs"),
    "an average": ({"solver": "lbfgs", "ema": 0.9}, {}, "ema needs"),
    "weights whose sum is infinite": ({}, {"sample_weight": np.full(40, 1e308)}, "got inf"),
    "weights near zero": (
        {"solver": "lbfgs"},
        {"sample_weight": np.full(40, 5e-324)},
        "got 1.98e-322",
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_an_error_before_the_first_step_changes_nothing(model, case):
    settings, arguments, message = SETTINGS[case]
    before = pickle.dumps(model)
    model.set_params(**settings)
    with pytest.raises(ValueError, match=message):
        model.fit(OTHER, LABELS, **arguments)
    assert_same(model, before)


def test_weights_beyond_the_dtype():
    """In float32 the limits are others; the range between them is a common factor."""
    model = fastnn.MLPClassifier((4,), max_iter=3, random_state=0, alpha=0, backend="numpy")
    samples = X.astype(np.float32)
    with pytest.raises(ValueError, match=r"between 1e-30 and 3e\+30; got 6e\+37"):
        model.fit(samples, Y, sample_weight=np.full(60, 1e36))
    coefs = []
    for weight in (1.0, 2.0**90, 2.0**-90):
        with pytest.warns(ConvergenceWarning):
            coefs.append(model.fit(samples, Y, sample_weight=np.full(60, weight)).coefs_[0])
    for each in coefs[1:]:
        np.testing.assert_allclose(each, coefs[0], rtol=1e-5)
    with pytest.raises(ValueError, match="must have a sum"):
        model.score(samples, Y, sample_weight=np.full(60, 1e308))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("solver", ["adam", "lbfgs", "lm"])
def test_ctrl_c_before_the_first_step_changes_nothing(model, solver, monkeypatch):
    before = pickle.dumps(model)
    model.set_params(solver=solver)
    if solver == "lbfgs":
        call = lbfgs._Objective.__call__

        def interrupted(self, params):
            os.kill(os.getpid(), signal.SIGINT)
            return call(self, params)

        monkeypatch.setattr(lbfgs._Objective, "__call__", interrupted)
    else:
        kind = stochastic.SecondOrderEpochs if solver == "lm" else stochastic.EpochRun
        begin = kind.begin

        def interrupted(self):
            os.kill(os.getpid(), signal.SIGINT)
            begin(self)

        monkeypatch.setattr(kind, "begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(OTHER, LABELS)
    assert_same(model, before)
