"""Fits of estimators in parallel: bagging and searches, against scikit-learn's own; Ctrl-C."""

import os
import pickle
import signal
import threading
import time

import joblib
import numpy as np
import pytest
from helpers import when_main_is_within
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_info

import fastnn
from fastnn.estimators import solvers
from fastnn.training import pool, team, threads

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(150, 6, n_informative=4, n_classes=3, random_state=0)
VALUES = make_regression(150, 6, random_state=0)[1] / 100


@parametrize_with_checks(
    [
        fastnn.MLPBaggingClassifier(fastnn.MLPClassifier(max_iter=50), n_estimators=3, n_jobs=2),
        fastnn.MLPBaggingRegressor(
            fastnn.MLPRegressor(solver="lbfgs", max_iter=50), n_estimators=3, n_jobs=2
        ),
    ],
    # as scikit-learn expects of its own: the samples are drawn
    expected_failed_checks=lambda estimator: {
        f"check_sample_weight_equivalence_on_{kind}_data": "weights are chances to be drawn"
        for kind in ("dense", "sparse")
    },
)
@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("ours", "theirs", "model", "y"),
    [
        (
            fastnn.MLPBaggingClassifier,
            BaggingClassifier,
            fastnn.MLPClassifier((8, 4), max_iter=10),
            Y,
        ),
        (
            fastnn.MLPBaggingClassifier,
            BaggingClassifier,
            make_pipeline(StandardScaler(), fastnn.MLPClassifier(9, max_iter=10)),
            Y,
        ),
        (
            fastnn.MLPBaggingRegressor,
            BaggingRegressor,
            fastnn.MLPRegressor(hidden_layer_sizes=5, solver="lbfgs", max_iter=9),
            VALUES,
        ),
    ],
)
def test_bagging_has_the_bits_of_scikit_learn(ours, theirs, model, y):
    settings = {"n_estimators": 9, "max_samples": 0.5, "max_features": 0.8, "oob_score": True}
    expected = theirs(model, random_state=0, **settings).fit(X, y)
    predicted = expected.predict(X)
    logarithms = expected.predict_log_proba(X) if y is Y else None
    for n_jobs in (None, 1, 3):
        fitted = ours(model, random_state=0, n_jobs=n_jobs, **settings).fit(X, y)
        np.testing.assert_array_equal(fitted.set_params(n_jobs=None).predict(X), predicted)
        assert fitted.oob_score_ == expected.oob_score_
        if y is Y:
            np.testing.assert_array_equal(fitted.predict_log_proba(X), logarithms)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X), predicted)
    # the sum of nine predictions in another order
    again.set_params(n_jobs=2)
    np.testing.assert_allclose(again.predict(X), predicted, rtol=1e-12, atol=1e-14)


def test_default_networks_and_warm_start():
    model = fastnn.MLPBaggingClassifier(n_estimators=2, random_state=0, warm_start=True)
    assert model.fit(X, Y).score(X, Y) > 0.7
    assert all(type(net) is fastnn.MLPClassifier for net in model.estimators_)
    first = model.estimators_[:]
    model.set_params(n_estimators=4).fit(X, Y)
    assert model.estimators_[:2] == first
    assert len(model.estimators_) == 4
    assert type(clone(fastnn.MLPBaggingRegressor())._get_estimator()) is fastnn.MLPRegressor


def test_grid_search_equals_that_of_one_thread():
    search = GridSearchCV(
        fastnn.MLPClassifier(max_iter=8, random_state=0),
        {"hidden_layer_sizes": [(3,), (8, 8)], "solver": ["adam", "lbfgs"]},
        n_jobs=1,
    )
    expected = search.fit(X, Y).cv_results_["split0_test_score"]
    with joblib.parallel_config(fastnn.JoblibBackend(), n_jobs=2):
        found = clone(search).set_params(n_jobs=None).fit(X, Y).cv_results_["split0_test_score"]
    np.testing.assert_array_equal(found, expected)


def where():
    """How the calling thread is placed: its name, threads for a fit, for BLAS, for joblib."""
    blas = {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}
    return (
        threading.current_thread().name.split("_")[0],
        solvers.n_threads(),
        blas,
        joblib.effective_n_jobs(4),
    )


def test_each_fit_has_one_core():
    outside = where()
    with joblib.parallel_config(fastnn.JoblibBackend(), n_jobs=2):
        inside = joblib.Parallel()(joblib.delayed(where)() for _ in range(5))
        # one at a time has all of them
        assert joblib.Parallel(n_jobs=1)([joblib.delayed(where)()])[0][:3] == outside[:3]
    assert inside == [("fastnn", 1, {1}, 1)] * 5
    assert where() == outside


def test_nested_fits_run_sequentially():
    names = []

    class Named(fastnn.MLPClassifier):
        def fit(self, X, y, sample_weight=None):
            names.append(threading.current_thread().name)
            return super().fit(X, y, sample_weight)

    model = fastnn.MLPBaggingClassifier(Named(3, max_iter=2), n_estimators=4)
    with joblib.parallel_config(fastnn.JoblibBackend(), n_jobs=2):
        GridSearchCV(model, {"n_estimators": [2, 3]}, cv=2, refit=False).fit(X, Y)
    assert len(names) == 2 * (2 + 3)
    assert {name.split("_")[0] for name in names} == {"fastnn"}
    assert len(set(names)) <= 2


def test_error_stops_the_other_fits():
    started = threading.Event()

    def endless():
        started.set()
        fastnn.Network([6, 3, 3], random_state=0).fit(X, Y, epochs=10**9)

    def fail():
        assert started.wait(60)
        raise ValueError("of a fit")

    with (
        joblib.parallel_config(fastnn.JoblibBackend(), n_jobs=2),
        joblib.Parallel(pre_dispatch="all") as parallel,
    ):
        with pytest.raises(ValueError, match="of a fit"):
            parallel([joblib.delayed(endless)(), joblib.delayed(fail)()])
        assert parallel([joblib.delayed(int)(k) for k in range(5)]) == [0, 1, 2, 3, 4]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fastnn")]


class Slow(BaseEstimator):
    """Begins, when another has begun too, a training that does not end by itself."""

    both = None

    def __init__(self, solver="adam"):
        self.solver = solver

    def fit(self, X, y):
        model = fastnn.MLPClassifier(3, solver=self.solver, max_iter=10**9, tol=0.0)
        model.set_params(n_iter_no_change=np.inf)
        self.both.wait(60)
        model.fit(X, y)
        while self.solver == "lbfgs":  # which ends where nothing gets better
            pool.check_stopped()
            model.fit(X, y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.filterwarnings("ignore:Training interrupted")
def test_interrupt_stops_a_search(solver, monkeypatch):
    def ctrl_c():
        when_main_is_within("_retrieve")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    monkeypatch.setattr(Slow, "both", threading.Barrier(2, action=ctrl_c))
    search = GridSearchCV(Slow(solver), {"solver": [solver] * 2}, cv=2, scoring=lambda *a: 0.0)
    with (
        joblib.parallel_config(fastnn.JoblibBackend(), n_jobs=2),
        pytest.raises(KeyboardInterrupt),
    ):
        search.fit(X, Y)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fastnn")]


# --- threads beside the calling one -----------------------------------------------


def test_training_starts_all_its_threads():
    with team.started_threads(3) as started:
        assert sum(thread.name.startswith("fastnn") for thread in threading.enumerate()) == 3
        meeting = threading.Barrier(3)  # one task each
        assert sorted(started.map(lambda _: meeting.wait(60), range(3))) == [0, 1, 2]
    assert not any(thread.name.startswith("fastnn") for thread in threading.enumerate())


def test_interrupted_start_leaves_no_thread(monkeypatch):
    def interrupted(self, timeout=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Barrier, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt), team.started_threads(2):
        pass
    assert not any(thread.name.startswith("fastnn") for thread in threading.enumerate())


# --- pieces of predictions, and how many threads ----------------------------------


def test_each_piece_runs_once():
    seen = []
    two = threading.Barrier(2)

    def square(k):
        seen.append(threading.current_thread().name)
        if k < 2:
            two.wait(60)  # which one thread alone would not get through
        return k * k

    assert pool.run_pieces(square, 20, 3) == [k * k for k in range(20)]
    assert len(seen) == 20
    assert len(set(seen)) > 1
    assert pool.run_pieces(square, 0, 3) == []


def test_pieces_do_not_wait_for_a_busy_thread():
    free = threading.Event()
    common = pool.get_shared_pool()
    busy = [common.submit(free.wait) for _ in range(common._max_workers)]
    here = threading.current_thread().name
    try:
        assert pool.run_pieces(lambda _: threading.current_thread().name, 6, 4) == [here] * 6
    finally:
        free.set()
    assert all(one.result() for one in busy)


@pytest.mark.parametrize("error", [ValueError, IndexError, KeyboardInterrupt])
def test_error_in_a_piece_stops_the_others(error):
    begun = []

    def fail(k):
        begun.append(k)
        if k == 3:
            raise error("third")
        time.sleep(0.001)

    many = 10**5  # a minute and a half, if the others went on
    with pytest.raises(error, match="third"):
        pool.run_pieces(fail, many, 2)
    assert len(begun) < many
    assert pool.run_pieces(abs, 3, 2) == [0, 1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking beside threads
def test_pieces_run_after_a_fork():
    pool.run_pieces(abs, 4, 2)
    child = os.fork()
    if child == 0:
        os._exit(0 if pool.run_pieces(abs, 4, 2) == [0, 1, 2, 3] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def six_cores_and_no_quota(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setattr(threads, "_CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.setattr(threads, "_CPU_CFS", f"{tmp_path}/cpu.cfs_")
    threads.cpu_quota.cache_clear()
    yield tmp_path
    threads.cpu_quota.cache_clear()


@pytest.mark.parametrize(
    ("given", "cores"),
    [("200000 100000\n", 2), ("150000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", 6)],
)
def test_usable_cores_respect_container_quota(six_cores_and_no_quota, given, cores):
    (six_cores_and_no_quota / "cpu.max").write_text(given)
    assert threads.usable_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("250000\n", 3), ("-1\n", 6)])
def test_usable_cores_respect_quota_of_older_containers(six_cores_and_no_quota, quota, cores):
    assert threads.usable_cores() == 6
    threads.cpu_quota.cache_clear()
    (six_cores_and_no_quota / "cpu.cfs_quota_us").write_text(quota)
    (six_cores_and_no_quota / "cpu.cfs_period_us").write_text("100000\n")
    assert threads.usable_cores() == cores


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be chosen here")
def test_usable_cores_respect_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert threads.usable_cores() == 1


@pytest.mark.parametrize(
    ("given", "expected"), [("3", 3), ("50", 8), ("2,4", 2), ("0", 1), ("", 8), ("many", 8)]
)
def test_default_number_of_threads(monkeypatch, given, expected):
    monkeypatch.setattr(threads, "usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert threads.default_threads() == expected
