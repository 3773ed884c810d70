"""scikit-learn's own tests of its multi-layer perceptron, run against ours.

The module is taken from the installed scikit-learn; a copy of it gets our classes under the names
``MLPClassifier`` and ``MLPRegressor``, and its test functions are collected here under their names.
"""

import importlib.util

import pytest
import sklearn.neural_network.tests.test_mlp as original

import fastnn

# Written for a test run in which warnings are not errors.
pytestmark = pytest.mark.filterwarnings("default")

# What is not run, and why.
EXCLUDED = {
    "test_gradient": (
        "differentiates the private _loss_grad_lbfgs; our gradient is compared with the complex "
        "step in test_reference.py"
    ),
}


def _ours():
    """A second copy of scikit-learn's test module, with our estimators in it."""
    spec = importlib.util.spec_from_file_location("fastnn_sklearn_test_mlp", original.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.MLPClassifier = fastnn.MLPClassifier
    module.MLPRegressor = fastnn.MLPRegressor
    for name, value in vars(module).items():
        if name.startswith("test_"):
            _exchange_parameters(value)
    return module


def _exchange_parameters(function):
    """Put our classes into ``parametrize`` marks, which hold the originals."""
    exchanged = {
        original.MLPClassifier: fastnn.MLPClassifier,
        original.MLPRegressor: fastnn.MLPRegressor,
    }
    for mark in getattr(function, "pytestmark", []):
        if mark.name == "parametrize":
            values = mark.args[1]
            if isinstance(values, list):
                values[:] = [
                    exchanged.get(value, value) if isinstance(value, type) else value
                    for value in values
                ]


_MODULE = _ours()
_TESTS = {name: value for name, value in vars(_MODULE).items() if name.startswith("test_")}

for _name, _function in _TESTS.items():
    if _name not in EXCLUDED:
        globals()[_name] = _function


@pytest.fixture
def global_random_seed():
    """scikit-learn's fixture of this name."""
    return 42


def test_every_exclusion_exists():
    assert set(EXCLUDED) <= set(_TESTS)


def test_our_classes_are_tested():
    assert _MODULE.MLPClassifier is fastnn.MLPClassifier
    parameters = [
        value
        for function in _TESTS.values()
        for mark in getattr(function, "pytestmark", [])
        if mark.name == "parametrize"
        for value in mark.args[1]
    ]
    assert fastnn.MLPClassifier in parameters
    assert original.MLPClassifier not in parameters
    assert len(_TESTS) - len(EXCLUDED) > 35
