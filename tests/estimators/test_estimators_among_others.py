"""Estimators in pipelines, searches, cross-validation and threads of Joblib."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_classification
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn.estimators import solvers
from fastnn.training import run as training
from fastnn.training import threads as workers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_in_a_pipeline_and_searches():
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingGridSearchCV

    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(8, max_iter=100, learning_rate_init=0.01, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model)
    assert pipeline.fit(X, y).score(X, y) > 0.9
    grid = {"mlpclassifier__alpha": [1e-4, 1e3]}
    for search in (
        GridSearchCV(pipeline, grid, cv=2),
        HalvingGridSearchCV(pipeline, grid, cv=2, min_resources=60, random_state=0),
    ):
        search.fit(X, y)
        assert search.best_params_ == {"mlpclassifier__alpha": 1e-4}
    calibrated = CalibratedClassifierCV(pipeline, cv=2).fit(X, y)
    assert calibrated.predict_proba(X).sum(axis=1) == pytest.approx(1)
    assert calibrated.score(X, y) > 0.9


def test_cross_validation_in_processes(backend):
    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(8, max_iter=20, random_state=0, backend=backend)
    np.testing.assert_array_equal(
        cross_val_score(model, X, y, cv=2, n_jobs=2), cross_val_score(model, X, y, cv=2)
    )


def test_threads_are_shared_with_joblib(monkeypatch):
    import joblib

    monkeypatch.setattr(workers, "usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert solvers.n_threads() == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert solvers.n_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "50")
    assert solvers.n_threads() == 8
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    assert solvers.n_threads() == 2
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT")
    monkeypatch.delenv("OMP_NUM_THREADS")
    inside = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(solvers.n_threads)() for _ in range(2)
    )
    assert inside == [1, 1]


def test_processes_of_joblib_share_the_cores():
    import joblib

    parallel = joblib.Parallel(n_jobs=2, backend="loky")
    threads = parallel(joblib.delayed(solvers.n_threads)() for _ in range(2))
    assert sum(threads) <= max(joblib.cpu_count(), 2)


def test_training_respects_the_thread_limit(monkeypatch):
    """Under one of joblib's threads, work for many threads is done by the one that calls."""
    import joblib

    monkeypatch.setattr(workers, "usable_cores", lambda: 8)
    X, y = make_classification(4000, 40, n_informative=10, random_state=0)
    model = fastnn.MLPClassifier((32, 32), batch_size=2000, max_iter=2, random_state=0)
    most = []
    started_threads = training.started_threads

    def counting(n_threads):
        most.append(n_threads)
        return started_threads(n_threads)

    monkeypatch.setattr(training, "started_threads", counting)
    if model.fit(X, y)._network().backend != "numpy":
        assert most[0] > 0
    most.clear()
    joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(clone(model).fit)(X, y) for _ in range(2)
    )
    assert most == []


@pytest.mark.parametrize("frames", ["pandas", "polars"])
def test_frames_through_a_pipeline(frames):
    library = pytest.importorskip(frames)
    X, y = load_iris(return_X_y=True, as_frame=True)
    scaler = StandardScaler().set_output(transform=frames)
    model = fastnn.MLPClassifier(5, max_iter=5, random_state=0)
    pipeline = make_pipeline(scaler, model).fit(X, y)
    assert model.feature_names_in_.tolist() == X.columns.tolist()
    assert isinstance(scaler.transform(X), library.DataFrame)
    plain = clone(model).fit(StandardScaler().fit_transform(X.to_numpy()), y)
    np.testing.assert_array_equal(
        pipeline.predict_proba(X), plain.predict_proba(StandardScaler().fit_transform(X.to_numpy()))
    )
