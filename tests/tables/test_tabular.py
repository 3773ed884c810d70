"""``TabularClassifier`` and ``TabularRegressor``."""

import pickle
import types

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import PartialDependenceDisplay
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn import TabularClassifier, TabularRegressor
from fastnn.backends.tuning import tuned
from fastnn.tables import realmlp, realmlp_training
from fastnn.training.batches import CsrRows

WEIGHTS = "rows are held out by chance, so that a weight is not the same as repetition"
FAILED = {"check_sample_weight_equivalence_on_dense_data": WEIGHTS}


@parametrize_with_checks(
    [TabularClassifier(n_epochs=32), TabularRegressor(n_epochs=32)],
    expected_failed_checks=lambda estimator: FAILED,
)
@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings
def test_scikit_learn_checks(estimator, check, monkeypatch):
    # Values are compared to 1e-7; in wide layers the rounding errors of float32 are larger.
    monkeypatch.setattr(realmlp, "HIDDEN", (16, 16, 16))
    check(estimator)


@pytest.fixture(scope="module")
def people():
    """A table with text, dates and gaps, and a class that depends on two of its columns."""
    rng, n = np.random.default_rng(0), 500
    table = pd.DataFrame(
        {
            "size": rng.normal(1e6, 10, n),
            "colour": rng.choice(["red", "green", "blue"], n),
            "day": pd.date_range("2024-01-01", periods=n),
            "ok": rng.random(n) < 0.5,
            "noise": rng.normal(size=n),
        }
    )
    y = np.where(table["size"] - 1e6 + 10 * (table["colour"] == "red") > 3, "yes", "no")
    table.loc[::17, "size"] = np.nan
    return table, y


@pytest.fixture(scope="module")
def model(people):
    table, y = people
    return TabularClassifier(n_epochs=60, random_state=0).fit(table[:400], y[:400])


def test_a_table_as_people_have_it(people, model):
    table, y = people
    assert model.score(table[400:], y[400:]) > 0.85
    assert model.classes_.tolist() == ["no", "yes"]
    assert list(model.feature_names_in_) == list(table.columns)
    new = pd.DataFrame(
        {
            "size": [None, 1e6 + 30],
            "colour": ["violet", None],
            "day": [None, None],
            "ok": [None] * 2,
        }
        | {"noise": [0.0, 0.0]}
    )
    assert np.isfinite(model.predict_proba(new)).all()
    assert model.predict(new)[1] == "yes"


def test_importances_tell_which_columns_count(model):
    importances = dict(zip(model.feature_names_in_, model.feature_importances_, strict=True))
    assert importances["size"] > 0.1
    assert importances["colour"] > 0.03
    assert max(importances[name] for name in ("day", "ok", "noise")) < 0.03


def test_the_network_is_a_plain_one(people, model):
    table, _ = people
    net, encoded = model.network_, model.encoding_.transform(table)
    assert type(net) is fastnn.Network
    np.testing.assert_array_equal(net.predict_proba(encoded), model.predict_proba(table))
    np.testing.assert_array_equal(net.predict(encoded), model.predict(table))


def test_a_file_has_all_that_predictions_need(people, model, tmp_path):
    table, _ = people
    model.save(tmp_path / "model.safetensors")
    loaded = fastnn.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(table), model.predict_proba(table))
    np.testing.assert_array_equal(loaded.predict(table), model.predict(table))


def test_a_pickle_has_no_data(people):
    table, y = people
    model = TabularClassifier(n_epochs=2, random_state=0).fit(table, y)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(table), model.predict_proba(table))
    with pytest.raises(AttributeError, match="was pickled before"):
        _ = copy.feature_importances_
    importances = model.feature_importances_
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.feature_importances_, importances)


@pytest.mark.parametrize("kind", ["dict", "polars", "pyarrow", "objects"])
def test_tables_of_every_library(people, model, kind):
    table, y = people
    table, y = table[["size", "colour", "noise"]].fillna(1e6)[:200], y[:200]
    given = {
        "dict": lambda: {name: table[name].tolist() for name in table},
        "polars": lambda: pytest.importorskip("polars").from_pandas(table),
        "pyarrow": lambda: pytest.importorskip("pyarrow").Table.from_pandas(table),
        "objects": lambda: table.to_numpy(object).tolist(),
    }[kind]()
    settings = {"n_epochs": 2, "random_state": 0}
    expected = TabularClassifier(**settings).fit(table, y).predict_proba(table)
    np.testing.assert_array_equal(
        TabularClassifier(**settings).fit(given, y).predict_proba(given), expected
    )


def test_the_best_epoch_counts_and_of_equal_ones_the_last():
    x, y = load_iris(return_X_y=True)
    model = TabularClassifier(n_epochs=40, random_state=1, calibrate=False)
    model.fit(x[::2], y[::2], X_val=x[1::2], y_val=y[1::2])
    errors = np.array(model.validation_curves_[0])
    assert len(errors) == model.n_iter_ == 40
    assert (errors == errors.min()).sum() > 1
    assert model.best_iter_ == [np.flatnonzero(errors == errors.min())[-1] + 1]
    assert 1 - model.score(x[1::2], y[1::2]) == pytest.approx(errors.min())


def test_a_regression_keeps_the_epoch_of_the_least_squared_error(backend):
    x, y = make_friedman1(300, noise=0.5, random_state=0)
    y = 1e6 + 100 * y
    model = TabularRegressor(n_epochs=30, random_state=0, backend=backend)
    model.fit(x[:200], y[:200], X_val=x[200:], y_val=y[200:])
    wanted = mean_squared_error(y[200:], model.predict(x[200:])) / y[:200].var()
    assert min(model.validation_curves_[0]) == pytest.approx(wanted, rel=1e-4)
    assert model.score(x[200:], y[200:]) > 0.8


def test_several_outputs():
    x, y = make_friedman1(200, random_state=0)
    both = np.stack([y, -1000 * y], axis=1)
    model = TabularRegressor(n_epochs=40, random_state=0).fit(x, both)
    assert model.predict(x).shape == (200, 2)
    assert model.score(x, both) > 0.8


def test_cross_entropy_as_the_metric(people):
    table, y = people
    model = TabularClassifier(
        n_epochs=10, eval_metric="cross_entropy", calibrate=False, random_state=0
    ).fit(table[:300], y[:300], X_val=table[300:], y_val=y[300:])
    assert model.network_.label_smoothing == 0
    wanted = log_loss(y[300:], model.predict_proba(table[300:]))
    assert min(model.validation_curves_[0]) == pytest.approx(wanted, rel=1e-4)


def test_calibration_changes_how_sure_not_what(people):
    table, y = people
    settings = {"n_epochs": 60, "random_state": 0}
    split = {"X_val": table[300:], "y_val": y[300:]}
    models = [
        TabularClassifier(**settings, calibrate=calibrate).fit(table[:300], y[:300], **split)
        for calibrate in (True, False)
    ]
    with_it, without = (model.predict_proba(table) for model in models)
    np.testing.assert_array_equal(with_it.argmax(axis=1), without.argmax(axis=1))
    # labels were smoothed by a tenth, so that a sure class had the probability 0.95
    assert log_loss(y[300:], with_it[300:]) < log_loss(y[300:], without[300:]) - 0.01


@pytest.mark.parametrize("n_threads", [1, 2])
def test_members(people, n_threads):
    """Their probabilities are averaged; neither they nor one network depends on the threads."""
    table, y = people
    settings = {"n_epochs": 3, "random_state": 0}
    model = TabularClassifier(**settings, n_members=3, n_threads=n_threads).fit(table, y)
    encoded = model.encoding_.transform(table)
    each = [net.predict_proba(encoded) for net in model.networks_]
    assert len(each) == 3
    assert abs(each[0] - each[1]).max() > 1e-3
    np.testing.assert_allclose(model.predict_proba(table), np.mean(each, axis=0), rtol=1e-6)
    with pytest.raises(AttributeError, match="3 members"):
        _ = model.network_
    one = TabularClassifier(**settings, n_threads=n_threads).fit(table, y)
    np.testing.assert_array_equal(one.predict_proba(table), each[0])


@pytest.mark.parametrize("members", [1, 3])
def test_a_saved_model_predicts_the_same_bits(people, tmp_path, members):
    table, y = people
    settings = {"n_epochs": 3, "random_state": 0, "n_members": members}
    rank = pd.factorize(y)[0] + table["noise"]
    for make, target in ((TabularClassifier, y), (TabularRegressor, rank)):
        model = make(**settings).fit(table, target)
        model.save(tmp_path / "m.safetensors")
        loaded = fastnn.load(tmp_path / "m.safetensors")
        np.testing.assert_array_equal(loaded.predict(table), model.predict(table))
        assert loaded.score(table, target) == model.score(table, target)
        assert len(getattr(loaded.network, "networks", [0])) == members
        if make is TabularClassifier:
            np.testing.assert_array_equal(loaded.predict_proba(table), model.predict_proba(table))
        elif members > 1:
            mean, std = model.predict(table, return_std=True)
            for found, own in zip(loaded.predict(table, return_std=True), (mean, std), strict=True):
                np.testing.assert_array_equal(found, own)
            each = [net.predict(model.encoding_.transform(table)) for net in model.networks_]
            np.testing.assert_allclose(std, np.std(each, axis=0, dtype=float), rtol=1e-5)
            np.testing.assert_array_equal(mean, model.predict(table))
        else:
            with pytest.raises(ValueError, match="return_std needs"):
                loaded.predict(table, return_std=True)


def test_copies_of_the_target_are_told(people):
    table, y = people
    leak = table.assign(code=np.where(y == "yes", "A", "B"), rank=table["noise"] ** 3)
    with pytest.warns(UserWarning, match=r"column 'code' determines the target.*'code': 'drop'"):
        model = TabularClassifier(n_epochs=1).fit(leak, y)
    with pytest.warns(UserWarning, match="column 'rank' determines the target") as told:
        TabularRegressor(n_epochs=1, columns={"noise": "drop"}).fit(leak, table["noise"])
    assert len(told) == 1
    assert told[0].filename == __file__
    # nothing of columns that are left out, nor of a single one (warnings are errors here)
    model.set_params(columns={"code": "drop"}).fit(leak, y)
    model.set_params(columns=None).fit(leak[["code"]], y)


def test_weights_of_zero_are_rows_left_out(people):
    table, y = people
    settings = {"n_epochs": 3, "random_state": 0, "columns": {"day": "drop"}}
    weights = np.repeat([2.0, 0.0], 250)
    weighted = TabularClassifier(**settings).fit(table, y, weights)
    fewer = TabularClassifier(**settings).fit(table[:250], y[:250])
    np.testing.assert_array_equal(weighted.predict_proba(table), fewer.predict_proba(table))


def test_weights_of_classes_and_samples_multiply(people):
    table, y = people
    settings = {"n_epochs": 3, "random_state": 0}
    weights = np.linspace(0.5, 2, len(y))
    by_class = TabularClassifier(**settings, class_weight={"yes": 3.0, "no": 1.0})
    by_class.fit(table, y, weights)
    by_sample = TabularClassifier(**settings).fit(table, y, weights * np.where(y == "yes", 3, 1))
    np.testing.assert_array_equal(by_class.predict_proba(table), by_sample.predict_proba(table))
    plain = TabularClassifier(**settings).fit(table, y).predict_proba(table)[:, 1]
    assert by_class.predict_proba(table)[:, 1].mean() > plain.mean() + 0.05


def test_columns_of_many_categories_are_sparse_rows(monkeypatch):
    rng = np.random.default_rng(0)
    town = rng.integers(0, 90, 600)
    table = pd.DataFrame({"town": [f"town {k}" for k in town], "size": rng.normal(size=600)})
    y = (town % 7 < 3).astype(int)
    given = []
    monkeypatch.setattr(
        realmlp_training.Batches,
        "fill",
        lambda self, x, *a, _f=realmlp_training.Batches.fill, **k: (
            given.append(type(x)),
            _f(self, x, *a, **k),
        ),
    )
    models = []
    for density in (0.45, 0.0):
        with tuned(sparse_density=density, sparse_density_wide=density):
            model = TabularClassifier(n_epochs=5, dtype="float64", random_state=0)
            models.append(model.fit(table, y))
    assert given == [CsrRows, np.ndarray]
    sparse, dense = (model.predict_proba(table) for model in models)
    np.testing.assert_allclose(sparse, dense, atol=1e-9)


def test_a_column_that_training_found_constant_tells_nothing():
    x, y = load_iris(return_X_y=True)
    x = np.hstack([x, np.zeros((len(x), 1))])
    x[-1, -1] = 1  # but not in all rows, so that the column is kept
    model = TabularClassifier(n_epochs=5, validation_fraction=0.02)
    for seed in range(20):  # until that row is held out
        model.set_params(random_state=seed).fit(x, y)
        if model._held_out[0][:, -1].any():
            break
    other = x.copy()
    other[:, -1] = 100
    assert model._held_out[0][:, -1].any()
    np.testing.assert_array_equal(model.predict_proba(other), model.predict_proba(x))


def test_time_limit_plans_fewer_epochs(people, monkeypatch):
    """By a clock on which every epoch takes a second."""
    table, y = people
    times = iter(range(10**6))
    monkeypatch.setattr(
        realmlp_training, "time", types.SimpleNamespace(perf_counter=lambda: next(times))
    )
    model = TabularClassifier(time_limit=30, random_state=0).fit(table, y)
    assert model.stopped_ == "time limit"
    assert 25 <= model.n_iter_ <= 30
    model = TabularClassifier(time_limit=1000, n_epochs=5, random_state=0).fit(table, y)
    assert model.stopped_ == "epochs"
    assert model.n_iter_ == 5


def test_no_validation_takes_the_last_epoch(people):
    table, y = people
    model = TabularClassifier(validation_fraction=0, n_epochs=3, random_state=0).fit(table, y)
    assert model.validation_curves_ == [[]]
    assert model.best_iter_ == [3]
    with pytest.raises(AttributeError, match="held-out rows"):
        _ = model.feature_importances_


def test_ctrl_c_keeps_the_best_epoch(people, monkeypatch):
    table, y = people
    measure, calls = realmlp_training.RealMLPRun._error, []

    def interrupted(self, held_out):
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return measure(self, held_out)

    monkeypatch.setattr(realmlp_training.RealMLPRun, "_error", interrupted)
    stop = 4
    model = TabularClassifier(random_state=0)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(table, y)
    assert model.stopped_ == "interrupted"
    assert len(model.validation_curves_[0]) == 3
    calls.clear()
    stop = 1
    with pytest.raises(KeyboardInterrupt):
        TabularClassifier(random_state=0).fit(table, y)


def test_divergence(monkeypatch):
    """In the first epoch, and after one (of a single step, whose rate is 0)."""
    x, y = make_friedman1(2000, random_state=0)
    monkeypatch.setitem(realmlp_training.RATE, "regression", 1e30)
    with pytest.raises(fastnn.DivergenceError):
        TabularRegressor(n_epochs=20, random_state=0).fit(x, y)
    with pytest.warns(ConvergenceWarning, match="not finite; the parameters of epoch 1"):
        model = TabularRegressor(n_epochs=20, random_state=0).fit(x[:500], y[:500])
    assert np.isfinite(model.predict(x)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X_val": [[0.0, 0.0]]}, "give X_val and y_val, or neither"),
        ({"X_val": [[0.0, 0.0]], "y_val": [7]}, "unknown to the training"),
        ({"sample_weight": [0.0] * 8}, "non-zero|is 0 for all"),
    ],
)
def test_bad_arguments(arguments, message):
    x = np.random.default_rng(0).normal(size=(8, 2))
    with pytest.raises(ValueError, match=message):
        TabularClassifier(n_epochs=1).fit(x, [0, 1] * 4, **arguments)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="one class"):
        TabularClassifier().fit([[0.0], [1.0]], [3, 3])


def test_logarithms_are_columns_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"volume": rng.lognormal(10, 2, 300), "sales": rng.lognormal(3, 2, 300)})
    price = np.log(table["volume"] / table["sales"])
    settings = {"n_epochs": 60, "random_state": 0}
    with_it, without = (
        TabularRegressor(**settings, log_features=logs).fit(table[:200], price[:200])
        for logs in (True, False)
    )
    assert with_it.network_.layer_sizes[0] == 4
    assert without.network_.layer_sizes[0] == 2
    unexplained = [1 - m.score(table[200:], price[200:]) for m in (with_it, without)]
    assert unexplained[0] < 0.5 * unexplained[1] < 0.05
    with_it.save(tmp_path / "model.safetensors")
    loaded = fastnn.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(table), with_it.predict(table))
    assert len(with_it.feature_importances_) == 2
    told = TabularRegressor(**settings, columns={"sales": "number"}).fit(table[:200], price[:200])
    assert told.network_.layer_sizes[0] == 3


def test_partial_dependence(people, model):
    """scikit-learn's is the mean prediction with the column set to each value of a grid."""
    pytest.importorskip("matplotlib").use("Agg")
    table = people[0][:60]
    settings = {"categorical_features": ["colour"], "grid_resolution": 4}
    display = PartialDependenceDisplay.from_estimator(model, table, ["noise", "colour"], **settings)
    assert display.axes_.size == 2
    for name, found in zip(("noise", "colour"), display.pd_results, strict=True):
        (grid,) = found["grid_values"]
        wanted = [model.predict_proba(table.assign(**{name: v}))[:, 1].mean() for v in grid]
        np.testing.assert_allclose(found["average"][0], wanted, rtol=1e-6)
