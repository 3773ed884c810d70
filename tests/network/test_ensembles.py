"""Ensembles: means with weights, what does not fit, and their files."""

import json

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open
from sklearn.metrics import r2_score

import fastnn
from fastnn import export, storage
from fastnn.tables import Encoding, TableModel

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2))
LABELS = np.where(X[:, 0] > 0, "right", "left")


def networks(loss="cross_entropy", count=2):
    outputs = 1 if loss == "squared_error" else 2
    y = LABELS if loss == "cross_entropy" else X @ [1.0, 2.0] + 5
    nets = [
        fastnn.Network(
            [2, 4 + k, outputs], loss=loss, standardize=True, random_state=k, backend="numpy"
        )
        for k in range(count)
    ]
    for net in nets:
        net.fit(X, y, epochs=5)
    return nets, y


def test_predictions_are_weighted_means():
    nets, y = networks()
    ensemble = fastnn.Ensemble(nets, [1, 3])
    proba = 0.25 * nets[0].predict_proba(X) + 0.75 * nets[1].predict_proba(X)
    np.testing.assert_allclose(ensemble.predict_proba(X), proba, rtol=1e-6)
    chosen = ensemble.classes_[proba.argmax(axis=1)]
    assert ensemble.predict(X).tolist() == chosen.tolist()
    assert ensemble.score(X, y) == np.mean(chosen == y)
    of_class = proba[np.arange(40), (y == "right").astype(int)]
    assert ensemble.loss(X, y) == pytest.approx(-np.log(of_class).mean(), rel=1e-6)
    assert ensemble.n_params == sum(net.n_params for net in nets)
    with pytest.raises(ValueError, match="return_std is for regressions"):
        ensemble.predict(X, return_std=True)


@pytest.mark.parametrize("loss", ["squared_error", "gaussian"])
def test_std_is_that_of_the_mixture(loss):
    nets, y = networks(loss)
    ensemble = fastnn.Ensemble(nets, [1, 3])
    mean, std = ensemble.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, ensemble.predict(X))
    draws = []  # a quarter of them of the first
    for net, n in zip(nets, (2500, 7500), strict=True):
        found = net.predict(X, return_std=True) if loss == "gaussian" else (net.predict(X), 0.0)
        z = RNG.standard_normal((n, 1))
        draws.append(found[0] + found[1] * (z - z.mean()) / z.std())
    np.testing.assert_allclose(std, np.concatenate(draws).std(axis=0), rtol=1e-4)
    if loss == "squared_error":  # in units of the targets' deviation, as the kernels have it
        error = (y - mean) / y.std()
        assert ensemble.loss(X, y) == pytest.approx(0.5 * np.mean(error**2), rel=1e-4)


def test_predict_point_gives_one_value_per_target():
    targets = X @ [1.0, 2.0] + 5
    nets = [
        fastnn.Network(
            [2, 4, 3], loss="quantile", quantile=(0.2, 0.6, 0.9), random_state=k, backend="numpy"
        )
        for k in range(2)
    ]
    for net in nets:
        net.fit(X, targets, epochs=5)
    ensemble = fastnn.Ensemble(nets)
    middle = ensemble.predict(X)[:, 1]  # 0.6 is nearest to the median
    np.testing.assert_allclose(ensemble.predict_point(X), middle, rtol=1e-6)
    assert ensemble.score(X, targets) == pytest.approx(r2_score(targets, middle), rel=1e-6)
    classes = fastnn.Ensemble(networks()[0])
    np.testing.assert_array_equal(classes.predict_point(X), classes.predict(X))


@pytest.mark.parametrize("weights", [[5e307, 1.5e308], [1e-307, 3e-307]])
def test_weights_are_relative(weights):
    """Also if the sum of the weights is larger than any number."""
    nets, _ = networks()
    expected = fastnn.Ensemble(nets, [1, 3])
    ensemble = fastnn.Ensemble(nets, weights)
    np.testing.assert_allclose(ensemble.weights, [0.25, 0.75], rtol=1e-15)
    np.testing.assert_allclose(ensemble.predict_proba(X), expected.predict_proba(X), rtol=1e-6)


def test_mismatched_networks_raise():
    nets, _ = networks()
    other = networks("squared_error")[0][0]
    with pytest.raises(ValueError, match="at least one network"):
        fastnn.Ensemble([])
    with pytest.raises(ValueError, match=r"networks\[1\] has n_outputs 1; networks\[0\] has 2"):
        fastnn.Ensemble([nets[0], other])
    for weights in ([1], [1, 0], [1, np.nan]):
        with pytest.raises(ValueError, match="weights must be 2 positive numbers"):
            fastnn.Ensemble(nets, weights)
    sigmoid = fastnn.Network([2, 3, 1], loss="binary_cross_entropy")
    with pytest.raises(ValueError, match="has the loss binary_cross_entropy"):
        fastnn.Ensemble([sigmoid])


@pytest.mark.parametrize("with_table", [False, True])
def test_saved_ensembles_predict_the_same_bits(tmp_path, with_table):
    nets, _ = networks(count=3)
    model = fastnn.Ensemble(nets, [1, 2, 4])
    rows = {"a": X[:, 0], "b": X[:, 1]}
    if with_table:
        model = TableModel(Encoding.fit(rows), model)
    model.save(tmp_path / "m.safetensors", training={"target": "side"})
    assert storage.describe(tmp_path / "m.safetensors").training == {"target": "side"}
    loaded = fastnn.load(tmp_path / "m.safetensors", backend="numpy")
    given = rows if with_table else X
    np.testing.assert_array_equal(loaded.predict_proba(given), model.predict_proba(given))
    loaded.save(tmp_path / "n.safetensors", training={"target": "side"})
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in "mn"]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f, a: f["members"].clear(), "members"),
        (lambda f, a: f["members"].pop(), "has the arrays"),
        (lambda f, a: f["members"][0].update(weight=0.0), "weight"),
        (lambda f, a: f["members"][0]["config"].update(layer_sizes=[3, 4, 2]), "different inputs"),
        (lambda f, a: f["members"][1]["config"].update(dtype="float64"), "different inputs"),
        (lambda f, a: f["members"][1]["config"].update(layer_sizes=[2, 9, 2]), "1.params is F32"),
        (lambda f, a: a.pop("1.params"), "has the arrays"),
        (lambda f, a: a.update({"2.params": a["1.params"]}), "has the arrays"),
        (lambda f, a: a["0.params"].fill(np.nan), "0.params is not finite"),
        (lambda f, a: f.update(run=1), "run"),
        (lambda f, a: f.update(format_version=3), "format_version"),
    ],
)
def test_damaged_files_raise(tmp_path, change, words):
    path = tmp_path / "m.safetensors"
    fastnn.Ensemble(networks()[0]).save(path)
    with safe_open(path, "numpy") as file:
        fields = json.loads(file.metadata()["fastnn"])
        arrays = {name: file.get_tensor(name) for name in list(file.keys())}
    change(fields, arrays)
    safetensors.numpy.save_file(arrays, path, {"fastnn": json.dumps(fields)})
    with pytest.raises(fastnn.ModelFormatError, match=words):
        fastnn.load(path)


def test_exports_use_weights():
    nets, _ = networks()
    rows = {"a": X[:, 0], "b": X[:, 1]}
    encoding = Encoding.fit(rows)
    for weights in (None, [1, 3]):
        ensemble = fastnn.Ensemble(nets, weights)
        plain = export.table.describe_table(TableModel(encoding, ensemble))
        expected = ensemble.predict_proba(encoding.transform(rows))
        np.testing.assert_allclose(plain.expected(plain.raw(rows)), expected, rtol=1e-6)
    with pytest.raises(TypeError, match="which ONNX and C average; other exports have one"):
        export.describe(ensemble)
    gaussian = fastnn.Ensemble(networks("gaussian")[0])
    with pytest.raises(ValueError, match="not what networks of the loss gaussian give"):
        export.to_c(TableModel(encoding, gaussian))
    with pytest.raises(AttributeError, match=r"call model\.network\.networks\[k\]\.cfunc"):
        TableModel(encoding, ensemble).cfunc  # noqa: B018


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", "gaussian"])
def test_points(loss):
    """Which plots and reports take: what predict gives."""
    ensemble = fastnn.Ensemble(networks(loss)[0], [1, 3])
    np.testing.assert_array_equal(ensemble.predict_point(X), ensemble.predict(X))
