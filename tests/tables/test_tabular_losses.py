"""Losses of ``TabularRegressor``: deviations, quantiles, counts, and what fits held-out rows."""

import numpy as np
import onnxruntime
import pytest
from sklearn.model_selection import train_test_split
from sklearn.utils.estimator_checks import check_estimator
from test_tabular import FAILED

import fastnn
from fastnn import TabularRegressor, export
from fastnn.tables import realmlp

N = 800
QUANTILES = (0.1, 0.5, 0.9)


def draw(seed):
    """A table and targets with known mean and deviation."""
    rng = np.random.default_rng(seed)
    size, town = rng.uniform(-2, 2, N), rng.choice(["Ulm", "Kiel", "Bonn"], N)
    deviation = 4 + 8 * np.abs(size)
    mean = 1000 + 60 * (town == "Ulm") + 20 * size
    table = {"size": size, "town": town.tolist()}
    return table, mean + deviation * rng.standard_normal(N), mean, deviation


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    """Enough for three columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(realmlp, "HIDDEN", (64, 64))
        yield


@pytest.fixture(scope="module")
def gaussian(small_networks):
    table, y, *_ = draw(0)
    return TabularRegressor(loss="gaussian", n_epochs=40, n_members=2, random_state=0).fit(table, y)


@pytest.fixture(scope="module")
def quantiles(small_networks):
    table, y, *_ = draw(0)
    options = {"loss": "quantile", "quantile": QUANTILES, "n_epochs": 40, "random_state": 0}
    return TabularRegressor(**options).fit(table, y)


def binomial(share):
    """Four standard errors of a share of the test rows, and as many of the training's."""
    return 4 * np.sqrt(2 * share * (1 - share) / N)


def test_deviations_are_those_of_the_noise(gaussian):
    table, y, mean, deviation = draw(1)
    found, std = gaussian.predict(table, return_std=True)
    assert np.corrcoef(std, deviation)[0, 1] > 0.85
    # 0.9 to 1.15, with other draws
    assert np.mean(std / deviation) == pytest.approx(1, abs=0.25)
    assert np.sqrt(np.mean((found - mean) ** 2)) < 6
    for z, share in ((1.0, 0.6827), (1.6449, 0.9)):
        assert np.mean(np.abs(y - found) < z * std) == pytest.approx(share, abs=binomial(share))
    assert gaussian.score(table, y) == pytest.approx(
        1 - np.mean((y - found) ** 2) / np.var(y), rel=1e-6
    )


def test_members_are_a_mixture(gaussian):
    table, *_ = draw(1)
    encoded = gaussian.encoding_.transform(table)
    pairs = [net.predict(encoded, return_std=True) for net in gaussian.networks_]
    means, deviations = np.array(pairs).transpose(1, 0, 2)
    mean, std = gaussian.predict(table, return_std=True)
    np.testing.assert_allclose(mean, means.mean(axis=0), rtol=1e-12)
    variance = (deviations**2).mean(axis=0) + means.var(axis=0)  # law of total variance
    np.testing.assert_allclose(std, np.sqrt(variance), rtol=1e-12)
    np.testing.assert_array_equal(gaussian.predict(table), mean)


def test_quantiles_are_sorted_and_of_their_share(quantiles):
    table, y, *_ = draw(1)
    found = quantiles.predict(table)
    assert found.shape == (N, 3)
    assert (np.diff(found, axis=1) >= 0).all()
    for k, q in enumerate(QUANTILES):
        assert np.mean(y < found[:, k]) == pytest.approx(q, abs=binomial(q) + 0.02)
    with pytest.raises(ValueError, match=r"n_members=5\), or loss='gaussian'"):
        quantiles.predict(table, return_std=True)
    assert quantiles.score(table, y) == pytest.approx(
        1 - np.mean((y - found[:, 1]) ** 2) / np.var(y), rel=1e-6
    )


@pytest.mark.parametrize("which", ["gaussian", "quantiles"])
def test_a_file_predicts_the_same_bits(which, request, tmp_path):
    model, (table, y, *_) = request.getfixturevalue(which), draw(1)
    model.save(tmp_path / "m.safetensors")
    loaded = fastnn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict(table), model.predict(table))
    assert loaded.score(table, y) == model.score(table, y)
    if which == "gaussian":
        both = (each.predict(table, return_std=True) for each in (loaded, model))
        np.testing.assert_array_equal(*both)


def test_units_of_the_targets_are_undone():
    table, y, *_ = draw(0)
    options = {"loss": "gaussian", "n_epochs": 5, "random_state": 0, "dtype": "float64"}
    mean, std = TabularRegressor(**options).fit(table, y).predict(table, return_std=True)
    other = TabularRegressor(**options).fit(table, 3e5 - 1e-3 * y)
    mean_of_other, std_of_other = other.predict(table, return_std=True)
    # tanh and the like are odd, mish is not: the same up to the sign of the first steps
    assert np.corrcoef(mean_of_other, -mean)[0, 1] > 0.9
    assert std_of_other.mean() == pytest.approx(1e-3 * std.mean(), rel=0.2)
    same = TabularRegressor(**options).fit(table, 1e4 * y - 7)
    np.testing.assert_allclose(
        np.array(same.predict(table, return_std=True)), [1e4 * mean - 7, 1e4 * std], rtol=1e-6
    )


def test_several_targets():
    table, y, *_ = draw(0)
    both = np.stack([y, 2 * y + 5], axis=1)
    options = {"n_epochs": 2, "random_state": 0}
    model = TabularRegressor(loss="gaussian", **options).fit(table, both)
    mean, std = model.predict(table, return_std=True)
    assert mean.shape == std.shape == (N, 2)
    model = TabularRegressor(loss="quantile", quantile=[0.2, 0.9], **options).fit(table, both)
    assert model.predict(table).shape == (N, 2, 2)
    assert model.score(table, both) < 1


def test_the_epoch_of_the_least_loss_counts():
    table, y, *_ = draw(0)
    new, y_new, *_ = draw(1)
    for loss in ("gaussian", "quantile", "absolute_error", "huber", "poisson"):
        model = TabularRegressor(loss=loss, n_epochs=4, calibrate=False, random_state=0)
        model.fit(table, y, X_val=new, y_val=y_new)
        errors = model.validation_curves_[0]
        found = model.network_.loss(model.encoding_.transform(new), y_new)
        assert found == pytest.approx(min(errors), rel=1e-5), loss
        assert model.best_iter_ == [1 + int(np.argmin(errors))]


def test_deviations_and_quantiles_are_fitted_to_held_out_rows():
    table, y, *_ = draw(0)
    new, y_new, *_ = draw(1)
    weights = np.random.default_rng(0).choice([1.0, 3.0], N)
    kept, held = train_test_split(np.arange(N), test_size=0.25, random_state=0)
    given = {"X_val": new, "y_val": y_new}
    model = TabularRegressor(loss="gaussian", n_epochs=6, random_state=0).fit(table, y, **given)
    mean, std = model.predict(new, return_std=True)
    # one sample of one deviation counts too, before the factor
    assert np.mean(((y_new - mean) / std) ** 2) == pytest.approx(1, abs=5 / N)
    options = {"loss": "quantile", "quantile": [0.2, 0.7], "n_epochs": 6, "random_state": 0}
    model = TabularRegressor(**options).fit(table, y, **given)
    share = np.mean(y_new[:, None] <= model.predict(new), axis=0)
    # quantiles that cross are sorted afterwards, which moves a few samples
    np.testing.assert_allclose(share, [0.2, 0.7], atol=6 / N)
    # weights count there too
    rows = {name: np.asarray(column)[held] for name, column in table.items()}
    model = TabularRegressor(**options, validation_fraction=0.25).fit(table, y, weights)
    shares = np.average(y[held][:, None] <= model.predict(rows), axis=0, weights=weights[held])
    assert len(kept) + len(held) == N
    np.testing.assert_allclose(shares, [0.2, 0.7], atol=4 / len(held))


def test_counts_are_never_negative():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 3, (600, 2))
    y = rng.poisson(np.exp(x[:, 0])).astype(float)
    model = TabularRegressor(loss="poisson", n_epochs=60, random_state=0).fit(x, y)
    found = model.predict(x)
    assert (found > 0).all()
    # up to 17% with other draws
    assert found.mean() == pytest.approx(y.mean(), rel=0.3)
    assert np.corrcoef(found, np.exp(x[:, 0]))[0, 1] > 0.95
    with pytest.raises(ValueError, match="y must not be negative for loss='poisson'; got -1"):
        model.fit(x, y - 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "cross_entropy"}, "'loss' parameter of TabularRegressor must be a str among"),
        ({"loss": "quantile", "quantile": [0.9, 0.1]}, "quantile"),
        ({"loss": "quantile", "quantile": 1.5}, "'quantile' parameter"),
        ({"beta": -1}, "'beta' parameter"),
    ],
)
def test_bad_losses(options, message):
    table, y, *_ = draw(0)
    with pytest.raises(ValueError, match=message):
        TabularRegressor(n_epochs=1, **options).fit(table, y)


@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings
def test_scikit_learn_checks_of_deviations():
    check_estimator(
        TabularRegressor(loss="gaussian", n_epochs=24, dtype="float64"),
        expected_failed_checks=FAILED,
        on_skip=None,
    )


def test_exports(gaussian, quantiles):
    """A single network's outputs; of several members deviations cannot be averaged."""
    table, *_ = draw(1)
    made = export.to_onnx(quantiles)
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {"size": table["size"][:, None], "town": np.array(table["town"], object)[:, None]}
    found = np.sort(session.run(None, feeds)[0], axis=1)
    np.testing.assert_allclose(found, quantiles.predict(table), rtol=1e-5)
    with pytest.raises(ValueError, match="not what networks of the loss gaussian give"):
        export.to_onnx(gaussian)
