"""Intervals and sets by cross-validation: MAPIE's, and the share that they hold."""

import warnings

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, make_classification
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import fastnn

SMALL = {"solver": "lbfgs", "max_iter": 100, "random_state": 0}


def noisy(n, seed):
    """Targets whose deviation grows from 0.1 to 1.3."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 3, (n, 1))
    deviation = 0.1 + 0.4 * X[:, 0]
    return X, np.sin(2 * X[:, 0]) + deviation * rng.standard_normal(n), deviation


def assert_share(inside, coverage, n_held_out):
    """As many as asked for, within the errors of those held out and of those counted here.

    The first is a share of ``n_held_out`` samples; each is allowed 3.5 deviations, once in 4,000.
    """
    n = len(inside)
    sure = 3.5 * np.sqrt(coverage * (1 - coverage) * (1 / n + 1 / n_held_out))
    assert inside.mean() == pytest.approx(coverage, abs=sure)


def within(interval, y):
    low, high = interval
    return (low <= y) & (y <= high)


def fitted(model, *data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(*data)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_intervals_match_mapie(coverage):
    regression = pytest.importorskip("mapie.regression")
    X, y = load_diabetes(return_X_y=True)
    X, new, y = X[:300], X[300:], y[:300]
    folds = KFold(5, shuffle=True, random_state=0)
    theirs = regression.CrossConformalRegressor(
        Ridge(), confidence_level=coverage, cv=folds, method="plus"
    ).fit_conformalize(X, y)
    ours = fastnn.ConformalRegressor(Ridge(), cv=folds).fit(X, y)
    expected = theirs.predict_interval(new)[1][:, :, 0].T
    np.testing.assert_allclose(ours.predict_interval(new, coverage), expected, rtol=1e-12)
    # fitted already: split conformal
    model = Ridge().fit(X[:200], y[:200])
    theirs = regression.SplitConformalRegressor(model, confidence_level=coverage, prefit=True)
    expected = theirs.conformalize(X[200:], y[200:]).predict_interval(new)[1][:, :, 0].T
    ours = fastnn.ConformalRegressor(model, cv="prefit").fit(X[200:], y[200:])
    np.testing.assert_allclose(ours.predict_interval(new, coverage), expected, rtol=1e-12)


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_sets_match_mapie(coverage):
    classification = pytest.importorskip("mapie.classification")
    X, y = make_classification(
        500, 6, n_informative=5, n_redundant=0, n_classes=4, class_sep=1.5, random_state=0
    )
    X, new, y = X[:300], X[300:], y[:300]
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    one = LogisticRegression()
    theirs = classification.CrossConformalClassifier(one, confidence_level=coverage, cv=folds)
    _, sets = theirs.fit_conformalize(X, y).predict_set(new, agg_scores="crossval")
    ours = fastnn.ConformalClassifier(one, cv=folds).fit(X, y).predict_set(new, coverage)
    np.testing.assert_array_equal(ours, sets[:, :, 0])
    assert 1 < ours.sum(axis=1).mean() < 3.5


@pytest.mark.parametrize("loss", ["squared_error", "gaussian", "quantile"])
def test_coverage_of_new_targets(loss):
    X, y, _ = noisy(600, 0)
    new, targets, deviation = noisy(4000, 1)
    one = fastnn.MLPRegressor(loss, (8,), quantile=[0.1, 0.9] if loss == "quantile" else 0.5)
    if loss == "quantile":  # its loss is not smooth
        one.set_params(max_iter=60, learning_rate_init=0.02, random_state=0)
    else:
        one.set_params(**SMALL)
    model = fitted(fastnn.ConformalRegressor(one, cv=5, random_state=0), X, y)
    for coverage in (0.8, 0.9):
        low, high = model.predict_interval(new, coverage)
        assert_share(within((low, high), targets), coverage, 600)
    # only those that know the noise are wide where it is large
    related = np.corrcoef(high - low, deviation)[0, 1]
    assert related > 0.9 if loss != "squared_error" else related < 0.6


def test_coverage_of_real_targets():
    X, y = load_diabetes(return_X_y=True)
    one = make_pipeline(StandardScaler(), fastnn.MLPRegressor("gaussian", (4,), alpha=1.0))
    one.set_params(mlpregressor__max_iter=80, mlpregressor__learning_rate_init=0.01)
    one.set_params(mlpregressor__random_state=0)
    inside = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(X))
        train, test = order[:300], order[300:]
        model = fastnn.ConformalRegressor(one, cv=5, random_state=seed)
        fitted(model, X[train], (y[train] - 150) / 77)
        inside.append(within(model.predict_interval(X[test], 0.9), (y[test] - 150) / 77))
    # three splits of 442 samples are not independent: counted as one
    assert_share(np.concatenate(inside)[:142], 0.9, 300)
    assert 0.85 < np.concatenate(inside).mean() < 0.95


@pytest.mark.parametrize("score", ["lac", "aps"])
def test_coverage_of_classes(score):
    X, y = load_breast_cancer(return_X_y=True)
    X, y = X[:, :2], np.array(["bad", "good"])[y]  # two features leave some doubt
    one = make_pipeline(StandardScaler(), fastnn.MLPClassifier((4,), **SMALL))
    model = fastnn.ConformalClassifier(one, conformity_score=score, cv=5, random_state=0)
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[:300], order[300:]
    fitted(model, X[train], y[train])
    sets = model.predict_set(X[test], coverage=0.95)
    right = sets[np.arange(len(test)), (y[test] == "good").astype(int)]
    assert_share(right, 0.95, 300)
    assert 1 < sets.sum(axis=1).mean() < 1.6
    assert model.classes_.tolist() == ["bad", "good"]
    np.testing.assert_array_equal(model.predict(X), model.estimator_.predict(X))
    assert model.score(X[test], y[test]) > 0.8


def test_aps_matches_worked_example():
    class Told:
        """A classifier that is told its probabilities as the samples."""

        classes_ = np.arange(3)

        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            return X

    held = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    model = fastnn.ConformalClassifier(Told(), conformity_score="aps", cv="prefit")
    model.fit(held, [1, 1, 0])
    # likelier classes and half of its own: 0.65, 0.4 and, the first of two alike, 0.7
    new = np.array([[0.6, 0.4, 0.0], [0.39, 0.41, 0.2], [0.0, 0.0, 1.0]])
    # scores 0.3, 0.8, 1; 0.605, 0.205, 0.9; 1, 1, 0.5: below two of the three, 0.65
    expected = [[True, False, False], [True, True, False], [False, False, True]]
    np.testing.assert_array_equal(model.predict_set(new, coverage=0.5), expected)


def test_prefit_network():
    X, y, _ = noisy(600, 0)
    held, targets, _ = noisy(500, 2)
    new, new_targets, _ = noisy(4000, 1)
    for settings in (
        {"loss": "squared_error"},
        {"loss": "gaussian"},
        {"loss": "quantile", "quantile": [0.25, 0.5, 0.75]},
    ):
        n = {"squared_error": 1, "gaussian": 2, "quantile": 3}[settings["loss"]]
        net = fastnn.Network([1, 8, n], standardize=True, random_state=0, **settings)
        net.fit(X, y, epochs=40, optimizer=fastnn.Adam(0.02), batch_size=50)
        model = fastnn.ConformalRegressor(net, cv="prefit").fit(held, targets)
        assert_share(within(model.predict_interval(new), new_targets), 0.9, 500)


def test_conformal_of_ensembles_and_tables():
    X, y, _ = noisy(300, 0)
    one = fastnn.MLPRegressor("gaussian", (4,), **SMALL)
    bag = fastnn.MLPBaggingRegressor(one, n_estimators=3, random_state=0)
    new, targets, _ = noisy(2000, 1)
    model = fitted(fastnn.ConformalRegressor(bag, cv=3, random_state=0), X, y)
    low, high = model.predict_interval(new)
    assert_share(within((low, high), targets), 0.9, 300)
    assert (high - low).std() > 0.1
    table = {"x": X[:, 0].tolist(), "kind": ["a", "b"] * 150}
    pd = pytest.importorskip("pandas")
    tabular = fastnn.TabularRegressor(n_epochs=3, random_state=0)
    model = fastnn.ConformalRegressor(tabular, cv=3, random_state=0).fit(pd.DataFrame(table), y)
    inside = within(model.predict_interval(pd.DataFrame(table)), y)
    assert 0.85 < inside.mean() < 0.96
    assert model.feature_names_in_.tolist() == ["x", "kind"]


def test_result_independent_of_n_jobs():
    X, y, _ = noisy(60, 0)
    one = fastnn.MLPRegressor(hidden_layer_sizes=(3,), **SMALL | {"max_iter": 20})
    ends = [
        fitted(
            fastnn.ConformalRegressor(one, cv=4, random_state=0, n_jobs=n), X, y
        ).predict_interval(X)
        for n in (None, 1)
    ]
    np.testing.assert_array_equal(ends[0], ends[1])
    other = fitted(fastnn.ConformalRegressor(one, cv=4, random_state=1), X, y)
    assert (other.predict_interval(X)[0] != ends[0][0]).any()


def test_sample_weights_are_passed_to_fits():
    X, y, _ = noisy(60, 0)
    weights = np.linspace(0.1, 2, 60)
    folds = KFold(3)
    model = fastnn.ConformalRegressor(Ridge(), cv=folds).fit(X, y, weights)
    np.testing.assert_allclose(model.predict(X), Ridge().fit(X, y, weights).predict(X))
    scores = []
    for train, test in folds.split(X):
        fold = Ridge().fit(X[train], y[train], weights[train])
        scores.append(np.sort(np.abs(y[test] - fold.predict(X[test]))))
    for fold, expected in zip(model._folds_, scores, strict=True):
        np.testing.assert_allclose(fold.scores, expected, rtol=1e-12)


def test_too_few_samples_give_infinite_intervals():
    X, y, _ = noisy(30, 0)
    model = fastnn.ConformalRegressor(Ridge(), cv=3).fit(X, y)
    low, high = model.predict_interval(X[:4], coverage=0.97)  # 1 of 33 outside: none of 30
    assert (low == -np.inf).all()
    assert (high == np.inf).all()
    low, high = model.predict_interval(X[:4], coverage=0.96)
    assert np.isfinite([low, high]).all()


def test_coverage_is_exact_without_ties():
    # of n held-out errors and a new one, each order is as likely: split conformal holds exactly
    n, trials, coverage = 19, 400, 0.9
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(trials):
        X, y = rng.standard_normal((n + 1, 1)), rng.standard_normal(n + 1)
        model = fastnn.ConformalRegressor(_Zero(), cv="prefit").fit(X[:n], y[:n])
        inside += int(within(model.predict_interval(X[n:], coverage), y[n:])[0])
    # rank 18 of 20: 0.9
    assert binom.cdf(inside, trials, 0.9) > 1e-3
    assert binom.sf(inside - 1, trials, 0.9) > 1e-3


class _Zero:
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda X, y: fastnn.ConformalRegressor(Ridge(), cv=1).fit(X, y), "'cv' parameter"),
        (lambda X, y: fastnn.ConformalRegressor(3, cv=3).fit(X, y), "predict"),
        (lambda X, y: fastnn.ConformalRegressor(Ridge(), cv=3).fit(X, np.c_[y, y]), "1d array"),
        (
            lambda X, y: fastnn.ConformalRegressor(Ridge(), cv=3).fit(X, y).predict_interval(X, 1),
            "coverage must be a number",
        ),
        *(
            (
                lambda X, y, c=c: (
                    fastnn.ConformalRegressor(Ridge(), cv=3).fit(X, y).predict_interval(X, c)
                ),
                rf"coverage must be a number in \(0, 1\); got {c}",
            )
            for c in (0, 95)
        ),
        (
            lambda X, y: fastnn.ConformalRegressor(LogisticRegression(), cv=3).fit(X, y > 0),
            r"estimator must be a regressor; got LogisticRegression\(\)",
        ),
        (
            lambda X, y: fastnn.ConformalRegressor(fastnn.Network([2, 2]), cv=3).fit(X, y),
            'set cv="prefit"',
        ),
        (
            lambda X, y: fastnn.ConformalClassifier(LogisticRegression(), cv=3).fit(X, y),
            "Unknown label type",
        ),
    ],
)
def test_invalid_arguments_raise(call, match):
    X, y, _ = noisy(30, 0)
    with pytest.raises((ValueError, TypeError), match=match):
        call(X, y)


def test_clones():
    model = fastnn.ConformalClassifier(
        fastnn.MLPClassifier(), conformity_score="aps", cv=3, random_state=1, n_jobs=2
    )
    again = clone(model)
    assert again.get_params(deep=False).keys() == model.get_params(deep=False).keys()
    assert again.conformity_score == "aps"


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        fastnn.ConformalRegressor(Ridge(), cv=3),
        fastnn.ConformalClassifier(LogisticRegression(), cv=3),
    ],
)
def test_scikit_learn_checks(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of folds that are larger than a class
        results = check_estimator(model, on_fail=None, on_skip=None)
    assert {each["status"] for each in results} <= {"passed", "skipped"}
