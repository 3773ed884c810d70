"""Callbacks of scikit-learn during the training of an estimator."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

import fastnn
from fastnn.backends.tuning import tuned
from fastnn.estimators.epochs import EpochRun

try:
    from sklearn.callback import ProgressBar, ScoringMonitor
except ImportError:
    ProgressBar = ScoringMonitor = None

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


needs_callbacks = pytest.mark.skipif(
    ProgressBar is None, reason="scikit-learn has callbacks from 1.9 on"
)


@needs_callbacks
def test_interrupt_keeps_completed_epochs():
    class Interrupting:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            if context.task_name == "epoch" and context.task_id == 2:
                raise KeyboardInterrupt

    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(3, random_state=0).set_callbacks(Interrupting())
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y)
    assert model.n_iter_ == 3
    assert len(model.predict(X)) == 150


class Recording:
    """Notes its calls; stops after some epochs."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.calls = []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        assert len(fitted_estimator.predict(X)) == len(X)
        self.calls.append(f"end {context.task_name}")
        return self.stop_after is not None and self.calls.count("end epoch") >= self.stop_after


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_are_called_and_stop(solver):
    X, y = load_iris(return_X_y=True)
    callback = Recording(stop_after=3)
    model = fastnn.MLPClassifier(5, solver=solver, max_iter=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_callbacks(callback).fit(X, y)
    assert callback.calls == [
        "setup",
        "begin fit",
        *["begin epoch", "end epoch"] * 3,
        "end fit",
        "teardown",
    ]
    assert model.n_iter_ == 3


@needs_callbacks
def test_callbacks_do_not_change_training():
    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(5, max_iter=20, random_state=0)
    plain = clone(model).fit(X, y)
    watched = clone(model).set_callbacks(Recording()).fit(X, y)
    assert watched.loss_curve_ == plain.loss_curve_


@needs_callbacks
def test_epochs_run_compiled_without_callbacks(monkeypatch):
    """A call of the kernels for many epochs; with a callback one for each."""
    X, y = load_iris(return_X_y=True)
    calls = []
    train = EpochRun.train

    def counting(self, rates, losses):
        calls.append(len(rates))
        return train(self, rates, losses)

    monkeypatch.setattr(EpochRun, "train", counting)
    model = fastnn.MLPClassifier(
        5, batch_size=150, max_iter=200, n_iter_no_change=np.inf, random_state=0
    )
    # not the time, which a loaded machine takes more of, but the growth limits a chunk
    with tuned(chunk_seconds=1e9):
        plain = clone(model).fit(X, y)
    assert calls == [1, 8, 64, 127]
    calls.clear()
    watched = clone(model).set_callbacks(Recording()).fit(X, y)
    assert calls == [1] * 200
    assert watched.loss_curve_ == plain.loss_curve_


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scoring_monitor(solver):
    X, y = load_iris(return_X_y=True)
    monitor = ScoringMonitor(scoring="accuracy")
    model = fastnn.MLPClassifier(5, solver=solver, max_iter=6, random_state=0)
    model.set_callbacks(monitor).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == 6
    assert rows[-1]["accuracy"] == pytest.approx(model.score(X, y))


@needs_callbacks
def test_progress_bar(capsys):
    pytest.importorskip("rich")
    X, y = load_iris(return_X_y=True)
    fastnn.MLPClassifier(5, max_iter=6).set_callbacks(ProgressBar()).fit(X, y)
    assert "MLPClassifier" in capsys.readouterr().out


@needs_callbacks
def test_callbacks_through_a_search(capsys):
    pytest.importorskip("rich")
    X, y = load_iris(return_X_y=True)
    monitor = ScoringMonitor(scoring="accuracy")
    model = fastnn.MLPClassifier(5, max_iter=3, random_state=0).set_callbacks(monitor)
    bar = ProgressBar(max_propagation_depth=2)
    search = GridSearchCV(model, {"alpha": [1e-4, 1.0]}, cv=2).set_callbacks(bar).fit(X, y)
    assert "MLPClassifier - fit" in capsys.readouterr().out
    logs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(logs) == (2 * 2 + 1) * 3  # candidates and parts, and the best on all
    assert search.score(X, y) in {row["accuracy"] for row in logs}
