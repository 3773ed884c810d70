"""The search over the preset tabular: what is drawn, rounds, the ensemble, kept fits, clusters."""

import itertools
import time
from dataclasses import replace
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from helpers import fixed_rng
from sklearn.model_selection import GroupKFold
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn.tables import realmlp, trials
from fastnn.tables import search as searching
from fastnn.tables.fit_store import FitFolder, FitMemory
from fastnn.tables.search import Plan, search, select_ensemble
from fastnn.tables.trials import Problem, default_settings, drawn_settings, folds_of


def problem_of(task="classification", scoring=None, rows=240, folds=2, rng=None):
    rng = np.random.default_rng(0) if rng is None else rng
    x = rng.normal(size=(rows, 3))
    signal = x[:, 0] * x[:, 1] + 0.3 * rng.normal(size=rows)
    if task == "regression":
        targets, classes = signal[:, None], None
    else:
        targets, classes = (signal > 0).astype(int)[:, None], np.array(["no", "yes"])
    return Problem(
        x,
        targets,
        None,
        classes,
        folds_of(targets, folds, classes is not None, 0),
        scoring or ("r2" if classes is None else "accuracy"),
        seed=3,
    )


PUBLISHED = trials.SPACE


@pytest.fixture(scope="module", autouse=True)
def _small():
    """Networks that train in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(realmlp, "HIDDEN", (32, 32, 32))
        sizes = [(32, 32, 32), (8, 8), (64,)]
        patch.setattr(trials, "SPACE", PUBLISHED | {"hidden_layer_sizes": sizes})
        yield


PLAN = Plan(trials=4, epochs=48, ensemble=2)


@pytest.fixture(scope="module")
def problem():
    return problem_of()


@pytest.fixture(scope="module")
def found(problem):
    """A search that nothing stops, on one core."""
    return search(problem, PLAN, FitMemory(), n_jobs=1)


def assert_same(found, other, problem):
    """To the last bit, but for the seconds."""
    assert other.score == found.score
    assert other.members == found.members
    np.testing.assert_array_equal(
        other.model.predict_proba(problem.x), found.model.predict_proba(problem.x)
    )
    kept = [[replace(trial, seconds=0.0) for trial in one.trials] for one in (found, other)]
    assert kept[0] == kept[1]


# --- what is drawn ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "epochs", "rounds"),
    [
        (1, 256, [(256, 0)]),
        (2, 256, [(256, 1)]),
        (4, 256, [(85, 3), (256, 1)]),
        (20, 256, [(28, 19), (85, 7), (256, 3)]),
        (200, 256, [(28, 199), (85, 67), (256, 23)]),
        (20, 30, [(30, 19)]),
    ],
)
def test_rounds_of_halving(n, epochs, rounds):
    plan = Plan(n, epochs)
    assert plan.rounds() == rounds
    assert plan.n_fits(5) == 5 * (1 + sum(number for _, number in rounds))
    assert replace(plan, method="random").rounds() == [(epochs, n - 1)]


def test_settings_are_the_own_ones_and_draws_of_the_published_space(problem, monkeypatch):
    monkeypatch.setattr(trials, "SPACE", PUBLISHED)
    drawn = drawn_settings(problem, 2001)
    assert drawn[0] == default_settings(problem)
    assert drawn[:20] == drawn_settings(problem, 20)
    rest = drawn[1:]

    def share(name, value):
        return np.mean([one[name] == value for one in rest])

    for name, value, p in [
        ("hidden_layer_sizes", [256, 256, 256], 0.6),
        ("hidden_layer_sizes", [512], 0.2),
        ("activation", "mish", 1 / 3),
        ("dropout", 0.15, 0.5),
        ("label_smoothing", 0.1, 0.7),
    ]:  # five deviations of the binomial
        assert share(name, value) == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / 2000))
    rates = np.array([one["learning_rate"] for one in rest])
    assert 0.02 <= rates.min() < rates.max() <= 0.3
    assert np.mean(rates < np.sqrt(0.02 * 0.3)) == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(2000))
    # labels are not smoothed where probabilities are scored
    for other in (problem_of(scoring="roc_auc"), problem_of("regression")):
        assert {one["label_smoothing"] for one in drawn_settings(other, 50)} == {0.0}


# --- the ensemble -------------------------------------------------------------------------


def test_greedy_ensemble_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    y = rng.normal(size=(50, 1))
    predicted = [y + rng.normal(size=(50, 1)) for _ in range(4)]

    def quality(p):
        loss = float(np.square(p - y).mean())
        return -loss, loss

    bag = []  # the definition: add whichever makes the ensemble best, with replacement
    for _ in range(25):
        options = [[*bag, k] for k in range(4)]
        bag = min(options, key=lambda b: quality(np.mean([predicted[k] for k in b], axis=0))[1])
    sizes = range(1, 26)
    best = min(sizes, key=lambda n: quality(np.mean([predicted[k] for k in bag[:n]], axis=0))[1])
    assert select_ensemble(predicted, quality, 4) == {k: bag[:best].count(k) for k in bag[:best]}
    assert len(select_ensemble(predicted, quality, 2)) == 2
    # errors that cancel, without rounding: half of each, and no more of the rest
    y = y.round()
    assert select_ensemble([y + 1, y - 1, y + 3], quality, 3) == {0: 1, 1: 1}


def test_members_have_their_weights(problem, found):
    assert sum(found.members.values()) == pytest.approx(1)
    assert len(found.model) == len(found.members) * problem.n_folds
    mean = sum(
        w * net.predict_proba(problem.x).astype(float)
        for w, net in zip(found.model.weights, found.model.networks, strict=True)
    )
    np.testing.assert_allclose(found.model.predict_proba(problem.x), mean, rtol=1e-6)
    assert found.model.score(problem.x, problem.classes[problem.targets[:, 0]]) > 0.7
    best = max(trial.score for trial in found.trials)
    assert found.score >= best - 1e-12  # the greedy ensemble begins with the best trial


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_one_network_with_the_best_settings(task):
    problem = problem_of(task)
    found = search(problem, Plan(2, 16, ensemble=0), FitMemory(), n_jobs=1)
    best = min(found.trials, key=lambda trial: trial.order)
    assert isinstance(found.model, fastnn.Network)
    assert list(found.model.layer_sizes[1:-1]) == best.settings["hidden_layer_sizes"]
    assert found.members == {best.number: 1.0}


def test_a_trial_that_diverges_is_the_last(monkeypatch):
    # with other draws all units may saturate, so that no number is infinite
    problem = problem_of(rng=fixed_rng(0))
    bad = default_settings(problem) | {"learning_rate": 1e30}
    monkeypatch.setattr(
        searching, "drawn_settings", lambda problem, n: [default_settings(problem), bad]
    )
    found = search(problem, Plan(2, 8), FitMemory(), n_jobs=1)
    assert [trial.number for trial in found.trials] == [0, 1]
    assert np.isnan(found.trials[1].score)
    assert found.members == {0: 1.0}
    monkeypatch.setattr(searching, "drawn_settings", lambda problem, n: [bad])
    with pytest.raises(ValueError, match="every trial diverged"):
        search(problem, Plan(1, 8), FitMemory(), n_jobs=1)


# --- whoever does it ----------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["ours", "threading"])
def test_the_result_does_not_depend_on_who_does_it(problem, found, backend):
    if backend == "ours":
        other = search(problem, PLAN, FitMemory(), n_jobs=2)
    else:
        with joblib.parallel_config(backend, n_jobs=2):
            other = search(problem, PLAN, FitMemory())
    assert_same(found, other, problem)


class Stopping(FitFolder):
    """Ctrl-C behind some fits."""

    left = 0

    def put(self, *what):
        super().put(*what)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [1, 3, 7])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_that_goes_on_is_the_same(problem, found, tmp_path, after, n_jobs):
    fingerprint = {"seed": problem.seed, "data": problem.digest()}
    stopping = Stopping(tmp_path, fingerprint)
    stopping.left = after
    try:
        assert search(problem, PLAN, stopping, n_jobs).stopped == "interrupted"
        assert after > 1
    except KeyboardInterrupt:  # nothing to make a model of
        assert after == 1 or n_jobs > 1  # two fits at a time may be of two trials
    kept = list((tmp_path / "trials").iterdir())
    assert len(kept) == after
    before = {path: path.stat().st_mtime_ns for path in kept}
    (tmp_path / "trials" / ".trial.1-ab.tmp").touch()  # of a process that was killed
    store = FitFolder(tmp_path, fingerprint)
    assert_same(found, search(problem, PLAN, store, n_jobs), problem)
    assert {path: path.stat().st_mtime_ns for path in kept} == before  # none was done again
    with pytest.raises(ValueError, match="another search: seed was 3, is 4"):
        FitFolder(tmp_path, {**fingerprint, "seed": 4})
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    with pytest.raises(fastnn.ModelFormatError, match=kept[0].name):
        search(problem, PLAN, FitFolder(tmp_path, fingerprint), n_jobs)
    store.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["search.json"]


def test_what_is_finished_in_time_counts(problem, monkeypatch):
    clock = [0.0]
    read = lambda: clock[0]  # noqa: E731
    now = SimpleNamespace(time=read, monotonic=read, perf_counter=time.perf_counter)
    monkeypatch.setattr(trials, "time", now)

    class Slow(FitMemory):
        def put(self, *what):
            super().put(*what)
            clock[0] += 1

    found = search(problem, replace(PLAN, time_limit=2.5), Slow(), n_jobs=1)
    assert found.stopped == "time limit"
    assert [trial.number for trial in found.trials] == [0]
    with pytest.raises(ValueError, match=r"time limit of 0\.5 s was over before a trial was fini"):
        search(problem, replace(PLAN, time_limit=0.5), Slow(), n_jobs=1)


# --- on a Dask cluster ----------------------------------------------------------------------


@pytest.mark.filterwarnings("default")  # Dask's own
def test_a_cluster_of_threads(problem, found):
    distributed = pytest.importorskip("distributed")
    options = {"processes": False, "dashboard_address": None, "protocol": "tcp://"}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        joblib.parallel_config("dask", client=client),
    ):
        assert_same(found, search(problem, PLAN, FitMemory()), problem)


# --- estimators -----------------------------------------------------------------------------

SMALL = {"n_trials": 1, "n_epochs": 4, "cv": 2, "n_jobs": 1}
FAILED = {
    "check_sample_weight_equivalence_on_dense_data": "gives cv in which rows are held out twice",
}


@parametrize_with_checks(
    [
        fastnn.TabularSearchClassifier(**SMALL),
        fastnn.TabularSearchRegressor(**SMALL | {"n_epochs": 24}),
    ],
    expected_failed_checks=lambda estimator: FAILED,
)
@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def people():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(40, 9, 200), "port": rng.choice(["Rome", "Oslo"], 200)})
    y = np.where((table["age"] > 40) ^ (table["port"] == "Rome"), "yes", "no")
    table.loc[::20, "age"] = np.nan
    return table, y


def test_search_of_a_table(people, tmp_path):
    table, y = people
    model = fastnn.TabularSearchClassifier(n_trials=3, n_epochs=40, cv=3, random_state=0)
    model.set_params(folder=tmp_path / "kept").fit(table, y)
    assert model.score(table, y) > 0.85
    assert model.cv_results_["params"][0]["learning_rate"] == 0.04
    assert model.best_score_ == model.cv_results_["mean_test_score"].max()
    assert model.cv_results_["weight"].sum() == pytest.approx(1)
    model.save(tmp_path / "m.safetensors")
    loaded = fastnn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(table), model.predict_proba(table))
    np.testing.assert_array_equal(loaded.predict(table), model.predict(table))
    # a second call finds all fits done; one with other data is refused
    again = fastnn.TabularSearchClassifier(**model.get_params()).fit(table, y)
    np.testing.assert_array_equal(again.predict_proba(table), model.predict_proba(table))
    with pytest.raises(ValueError, match="has the trials of another search: digest of the data"):
        again.fit(table, y[::-1])


@pytest.mark.parametrize("log_features", [True, False])
def test_columns_are_those_of_the_preset(log_features):
    rng = np.random.default_rng(0)
    table, y = {"price": rng.lognormal(size=60), "size": rng.normal(size=60)}, np.arange(60.0)
    search = fastnn.TabularSearchRegressor(
        n_trials=1, n_epochs=2, cv=2, log_features=log_features, random_state=0
    ).fit(table, y)
    preset = fastnn.TabularRegressor(n_epochs=2, log_features=log_features, random_state=0)
    assert search.encoding_.names == preset.fit(table, y).encoding_.names
    assert len(search.encoding_.names) == 2 + log_features


def test_folds_of_the_user(people):
    table, y = people
    splits = list(GroupKFold(4).split(table, y, np.repeat(range(20), 10)))
    model = fastnn.TabularSearchClassifier(n_trials=1, n_epochs=4, cv=splits, random_state=0)
    assert len(model.fit(table, y).ensemble_) == 4
    with pytest.raises(ValueError, match="cv must hold out each row once"):
        model.set_params(cv=splits[:3]).fit(table, y)


def test_several_targets():
    X = np.random.default_rng(0).normal(size=(80, 2))
    model = fastnn.TabularSearchRegressor(n_trials=1, n_epochs=4, cv=2, random_state=0)
    assert model.fit(X, X @ [[1.0, 2.0], [3.0, -1.0]]).predict(X).shape == (80, 2)


def test_every_combination_of_sizes_and_dropout_trains():
    """Plans for training have rows for dropout, and rates by layer must find theirs."""
    problem = problem_of(rng=fixed_rng(0))  # with other draws the first epoch may be the best
    nets = []
    for hidden, dropout, backend in itertools.product(
        ([8, 8], [8]), (0.0, 0.3), ("numpy", *fastnn.available_backends())
    ):
        own = default_settings(problem) | {"hidden_layer_sizes": hidden, "dropout": dropout}
        other = replace(problem, backend=backend, dtype="float64")
        nets.append(trials.fit(other, own, 4, np.arange(120), np.arange(120, 240), 0))
    step = 1 + len(fastnn.available_backends())
    for first in range(0, len(nets), step):
        for net in nets[first + 1 : first + step]:  # backends differ by rounding
            np.testing.assert_allclose(net.params, nets[first].params, rtol=1e-6, atol=1e-9)
    assert not np.allclose(nets[0].params, nets[step].params)


def test_a_clock_that_is_set_does_not_move_the_time_limit(monkeypatch):
    """On the machine of the search a clock counts that nobody sets, elsewhere that of the day."""
    now = {"wall": 1000.0, "steady": 50.0}
    monkeypatch.setattr(trials.time, "time", lambda: now["wall"])
    monkeypatch.setattr(trials.time, "monotonic", lambda: now["steady"])
    deadline = trials.Deadline.after(10.0)
    elsewhere = deadline._replace(machine="another")
    now["wall"] += 3600
    assert (deadline.is_over, elsewhere.is_over) == (False, True)
    now["wall"] -= 7200
    now["steady"] += 11
    assert (deadline.is_over, elsewhere.is_over) == (True, False)
