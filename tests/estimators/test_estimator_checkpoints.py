"""Estimators stopped and resumed: every attribute as if they had never been."""

import os
import signal
import threading

import numpy as np
import pytest
import scipy.sparse
from helpers import assert_bits, fixed_rng, load_backend
from model_files import with_value, with_zeros

import fastnn
from fastnn.estimators.epochs import EpochRun
from fastnn.storage.checkpoints import read_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # of max_iter reached

rng = fixed_rng(0)  # each field matters in a training with early stopping, not in any
X = rng.standard_normal((90, 4))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
VALUES = np.column_stack([X[:, 0] ** 2, X[:, 1]])
WEIGHTS = rng.uniform(0.5, 2.0, 90)
SPARSE = scipy.sparse.csr_array(
    np.where(rng.random((90, 70)) < 0.1, rng.standard_normal((90, 70)), 0.0)
)
DATA = {"classes": (X, Y), "values": (X, VALUES), "sparse": (SPARSE, Y)}
EPOCHS = 12

# data, parameters, arguments of fit
KINDS = {
    "plain": ("classes", {}, {}),
    "several epochs at once": ("classes", {"shuffle": False, "batch_size": 45}, {}),
    "dropout, inverse scaling": (
        "classes",
        {"dropout": 0.2, "solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
        {},
    ),
    "inverse scaling at once": (
        "classes",
        {"shuffle": False, "batch_size": 45, "solver": "sgd", "learning_rate": "invscaling",
         "power_t": 0.3},
        {},
    ),
    "adaptive": (
        "classes",
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.5,
         "n_iter_no_change": 1, "tol": 0.1},
        {},
    ),
    "early stopping, average": (
        "classes", {"early_stopping": True, "ema": 0.8, "n_iter_no_change": 3}, {}
    ),
    "schedule": ("classes", {"solver": "adamw", "learning_rate": "cosine", "warmup": 2}, {}),
    "weights": ("classes", {"solver": "rmsprop", "alpha": 0.1}, {"sample_weight": WEIGHTS}),
    "values": ("values", {"solver": "adagrad", "clip_norm": 0.5}, {}),
    "validation": ("values", {"alpha": 0.0}, {"validation_data": (X[:20], VALUES[:20])}),
    "sparse": ("sparse", {"hidden_layer_sizes": (16,)}, {}),
}  # fmt: skip

CURVES = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
NUMBERS = (
    "n_iter_",
    "t_",
    "loss_",
    "best_loss_",
    "best_validation_score_",
    "_no_improvement_count",
)


class Stop(Exception):
    """Ends a training as a fault would."""


class Case:
    def __init__(self, kind, backend):
        load_backend(backend)
        data, parameters, self.fit = KINDS[kind]
        self.data = DATA[data]
        self.cls = fastnn.MLPRegressor if data == "values" else fastnn.MLPClassifier
        self.parameters = {
            "hidden_layer_sizes": (7,), "batch_size": 16, "max_iter": EPOCHS, "backend": backend,
            "n_iter_no_change": 10**6, **parameters,
        }  # fmt: skip

    def train(self, seed=None, max_iter=EPOCHS, **more):
        model = self.cls(**{**self.parameters, "random_state": seed, "max_iter": max_iter})
        return model.fit(*self.data, **self.fit, **more)


def assert_same_estimator(model, whole):
    for one, other in zip(
        [*model.coefs_, *model.intercepts_], [*whole.coefs_, *whole.intercepts_], strict=True
    ):
        assert_bits(one, other)
    for name in (*CURVES, *NUMBERS, "_no_improvement_count"):
        np.testing.assert_equal(getattr(model, name), getattr(whole, name), err_msg=name)
    state, expected = model._optimizer, whole._optimizer
    assert_bits(state.moments, expected.moments)
    for name in ("updates", "epochs", "seed", "learning_rate"):
        assert getattr(state, name) == getattr(expected, name), name
    for one, other in zip(
        model._random_state.get_state(), whole._random_state.get_state(), strict=True
    ):
        np.testing.assert_equal(one, other)


def resumed(case, path, monkeypatch):
    """Train with a fault after every third epoch's checkpoint, and a new estimator each time."""
    look = EpochRun.save_due_checkpoint

    def fault(run):
        look(run)
        if run.checkpoints.is_due(run.step, run.batches):
            raise Stop

    seed = 3
    for _ in range(2 * EPOCHS):
        with monkeypatch.context() as context:
            context.setattr(EpochRun, "save_due_checkpoint", fault)
            try:
                return case.train(seed, checkpoint=path, checkpoint_every=3, resume=True)
            except Stop:
                seed = None  # the checkpoint has the random numbers
    raise AssertionError


ON_ALL = ("plain", "several epochs at once", "sparse")
CASES = [(kind, "cython") for kind in KINDS]
CASES += [(kind, backend) for backend in ("numba", "numpy") for kind in ON_ALL]


@pytest.mark.parametrize(("kind", "backend"), CASES)
def test_resumed_training_has_the_same_bits(kind, backend, tmp_path, monkeypatch):
    case = Case(kind, backend)
    assert_same_estimator(resumed(case, tmp_path / "c", monkeypatch), case.train(3))


def test_bits_independent_of_epochs_per_chunk(monkeypatch):
    """Those of a loss curve, and of a learning rate that shrinks, did."""
    case = Case("inverse scaling at once", "numpy")
    whole = case.train(3, max_iter=40)
    monkeypatch.setattr(EpochRun, "max_steps", lambda run: run.batches)
    assert_same_estimator(case.train(3, max_iter=40), whole)


def test_resume_with_larger_max_iter(tmp_path):
    case = Case("plain", "numpy")
    case.train(3, max_iter=5, checkpoint=tmp_path / "c")
    assert_same_estimator(case.train(resume=tmp_path / "c"), case.train(3))
    case = Case("schedule", "numpy")
    case.train(3, max_iter=5, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match="max_iter was 5, is 12"):
        case.train(resume=tmp_path / "c")


def test_converged_training_is_not_continued(tmp_path):
    case = Case("early stopping, average", "numpy")
    whole = case.train(3, max_iter=100, checkpoint=tmp_path / "c")
    assert whole.n_iter_ < 100
    assert_same_estimator(case.train(max_iter=100, resume=tmp_path / "c"), whole)
    model = fastnn.load(tmp_path / "c", backend="numpy")
    assert type(model) is fastnn.MLPClassifier
    assert model.loss_curve_ == whole.loss_curve_


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_interrupted_training_resumes(tmp_path):
    """After Ctrl-C the file has the end of an epoch that was."""
    case, path = Case("plain", "cython"), tmp_path / "c"
    case.parameters["hidden_layer_sizes"] = (40, 40)
    for _ in range(3):
        timer = threading.Timer(0.15, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        stopped = case.train(3, max_iter=10**6, checkpoint=path, resume=True)
        timer.join()
    kept = read_checkpoint(path)
    assert 0 < kept.model.n_iter_ <= stopped.n_iter_
    whole = case.train(3, max_iter=kept.model.n_iter_)
    assert_same_estimator(case.train(max_iter=kept.model.n_iter_, resume=path), whole)


def test_differences_are_named(tmp_path):
    case, path = Case("plain", "numpy"), tmp_path / "c"
    case.train(3, max_iter=2, checkpoint=path)
    changed = {"batch_size": 9, "solver": "sgd", "hidden_layer_sizes": (7,)}
    model = fastnn.MLPClassifier(**{**case.parameters, **changed})
    with pytest.raises(ValueError, match=r"batch_size was 16, is 9; solver was 'adam', is 'sgd'$"):
        model.fit(X, Y, resume=path)
    for data, weights, match in (
        ((-X, Y), None, "X is not the same$"),
        ((X, 1 - Y), None, "y is not the same$"),
        ((X, Y), WEIGHTS, "sample_weight is not the same$"),
        ((X, Y + 1), None, r"classes was \[0, 1\], is \[1, 2\]$"),
    ):
        with pytest.raises(ValueError, match=match):
            fastnn.MLPClassifier(**case.parameters).fit(*data, weights, resume=path)
    with pytest.raises(ValueError, match="a checkpoint of a MLPClassifier, not of a MLPRegressor"):
        fastnn.MLPRegressor().fit(X, X[:, 0], resume=path)
    with pytest.raises(ValueError, match=r"max_iter=1, but .* has 2 epochs already"):
        case.train(max_iter=1, resume=path)
    with pytest.raises(ValueError, match="a stochastic solver or 'lm'; solver is 'lbfgs'"):
        fastnn.MLPClassifier(solver="lbfgs").fit(X, Y, checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint_every needs checkpoint"):
        fastnn.MLPClassifier().fit(X, Y, checkpoint_every=1)


# --- nothing in a checkpoint is idle -------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Checkpoints in the middle and at the end; how to go on; what that gives."""
    folder = tmp_path_factory.mktemp("kept")
    cases = {}
    for name, more in (("early", {"early_stopping": True}), ("loss", {})):
        case = Case("plain", "numpy")
        case.parameters |= {
            "n_iter_no_change": 4, "tol": 1e-3, "solver": "sgd", "dropout": 0.1, "momentum": 0.5,
            "learning_rate": "adaptive", "learning_rate_init": 1.0, "ema": 0.5, **more,
        }  # fmt: skip
        case.train(3, max_iter=6, checkpoint=folder / name)
        cases[name] = folder / name, case, 40, case.train(3, max_iter=40)
    case = Case("plain", "numpy")
    case.parameters |= {"n_iter_no_change": 1, "tol": 10.0}
    whole = case.train(3, max_iter=40, checkpoint=folder / "over")
    assert whole.n_iter_ < 10
    cases["over"] = folder / "over", case, 40, whole
    return cases


def differs(path, case, max_iter, whole):
    try:
        assert_same_estimator(case.train(max_iter=max_iter, resume=path), whole)
    except (AssertionError, ValueError, TypeError):
        return True
    return False


def changed(kept, tmp_path, change):
    """Which of the checkpoints lead elsewhere after a change."""
    found = []
    for name, (path, *rest) in kept.items():
        copy = tmp_path / name
        copy.write_bytes(path.read_bytes())
        change(copy)
        if differs(copy, *rest):
            found.append(name)
    return found


def test_complete_checkpoint_restores_everything(kept, tmp_path):
    assert changed(kept, tmp_path, lambda path: None) == []


FIELDS = {
    "run.random": lambda value: {**value, "key": [*value["key"][1:], 0]},
    "run.random.pos": lambda value: value - 1,
    "run.steps": lambda value: value - 6,
    "run.first_epoch": lambda value: value + 1,
    "run.batches": lambda value: value + 1,
    "run.is_over": lambda value: not value,
    "training_state.updates": lambda value: value + 1,
    "training_state.epochs": lambda value: value + 1,
    "training_state.seed": lambda value: value + 1,
    "training_state.learning_rate": lambda value: 2 * value,
    "fitted.n_iter": lambda value: value - 1,
    "fitted.t": lambda value: 0,
    "fitted.loss": lambda value: 9.0,
    "fitted.best_loss": lambda value: None,
    "fitted.loss_curve": lambda value: value[1:],
    "fitted.validation_scores": lambda value: value and value[1:],
    "fitted.validation_loss_curve": lambda value: value and value[1:],
    "fitted.best_validation_score": lambda value: None,
    "fitted.no_improvement_count": lambda value: 0 if value else 1,
}


@pytest.mark.parametrize("name", FIELDS)
def test_changed_field_changes_the_result(kept, tmp_path, name):
    assert changed(kept, tmp_path, lambda path: with_value(path, name, FIELDS[name]))


@pytest.mark.parametrize("name", ["params", "moments", "best_params"])
def test_zeroed_array_changes_the_result(kept, tmp_path, name):
    kept = {"early": kept["early"]}
    assert changed(kept, tmp_path, lambda path: with_zeros(path, name))
