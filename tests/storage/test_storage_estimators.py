"""Model files of the estimators: the same format as the network's, as safe."""

import json
import struct

import numpy as np
import pytest
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.exceptions import NotFittedError

import fastnn
from fastnn import storage
from fastnn.backends import available

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
SETTINGS = {"hidden_layer_sizes": (5, 4), "max_iter": 4, "random_state": 0, "backend": "numpy"}


def fitted(kind, **settings):
    """An estimator of each kind, and its data."""
    settings = {**SETTINGS, **settings}
    if kind == "regression":
        return fastnn.MLPRegressor(**settings).fit(X, X @ [1.0, 2.0, 3.0, 4.0]), X
    if kind == "multioutput":
        return fastnn.MLPRegressor(**settings).fit(X, X[:, :2]), X
    if kind == "multilabel":
        samples, labels = make_multilabel_classification(60, random_state=0)
        return fastnn.MLPClassifier(**settings).fit(samples, labels), samples
    y = {
        "words": np.array(["rose", "lily", "daisy"])[Y],
        "objects": np.array(["b", "a"] * 75, object),
        "binary": Y > 0,
        "numbers": Y * 10 - 10,
        "single": np.full(150, 7),
    }[kind]
    return fastnn.MLPClassifier(**settings).fit(X, y), X


KINDS = (
    "words",
    "objects",
    "binary",
    "numbers",
    "single",
    "multilabel",
    "regression",
    "multioutput",
)


@pytest.mark.parametrize("backend", available())
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(tmp_path, kind, backend):
    model, samples = fitted(kind)
    model.save(tmp_path / "m.safetensors")
    again = fastnn.load(tmp_path / "m.safetensors", backend=backend)
    assert type(again) is type(model)
    assert again.get_params() == {**model.get_params(), "backend": backend}
    predicted, expected = again.predict(samples), model.predict(samples)
    assert predicted.dtype == expected.dtype
    assert predicted.shape == expected.shape
    if hasattr(model, "classes_"):
        np.testing.assert_array_equal(predicted, expected)
        np.testing.assert_array_equal(again.classes_, model.classes_)
        assert again.classes_.dtype == model.classes_.dtype
        expected, predicted = model.predict_proba(samples), again.predict_proba(samples)
    # the backends round differently
    np.testing.assert_allclose(predicted, expected, rtol=1e-12, atol=1e-14)
    same = ["loss_curve_", "best_loss_", "n_iter_", "t_", "n_layers_", "n_outputs_"]
    same += ["out_activation_", "n_features_in_", "loss_", "validation_scores_"]
    for name in same:
        assert getattr(again, name) == getattr(model, name), name


def test_loaded_estimators_continue(tmp_path):
    model, _ = fitted("words", solver="sgd", momentum=0, shuffle=False, warm_start=True)
    model.save(tmp_path / "m")
    again = fastnn.load(tmp_path / "m", backend="numpy")
    y = np.array(["rose", "lily", "daisy"])[Y]
    for one in (model, again):
        one.fit(X, y)
    assert again.loss_curve_ == model.loss_curve_
    np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])
    fresh = fastnn.load(tmp_path / "m", backend="numpy")
    assert len(fresh.partial_fit(X, y).loss_curve_) == 5


def test_every_parameter_is_saved(tmp_path):
    settings = {
        "activation": ["tanh", "logistic"],
        "dropout": [0.1, 0.2],
        "class_weight": {0: 2.0, 10: np.float32(1.5), -10: 1},
        "dtype": np.float32,
        "n_iter_no_change": np.inf,
        "alpha": np.float64(0.25),
        "early_stopping": True,
        "scoring": "balanced_accuracy",
    }
    model, _ = fitted("numbers", **settings)
    model.save(tmp_path / "m")
    again = fastnn.load(tmp_path / "m", backend="numpy")
    kept = again.get_params()
    assert kept["activation"] == ("tanh", "logistic")
    assert kept["dropout"] == (0.1, 0.2)
    assert kept["class_weight"] == settings["class_weight"]
    assert kept["dtype"] == "float32"
    assert kept["n_iter_no_change"] == np.inf
    assert again.coefs_[0].dtype == np.float32
    assert again.validation_scores_ == model.validation_scores_
    assert again.best_validation_score_ == model.best_validation_score_
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_unsavable_parameters_are_omitted(tmp_path):
    model, _ = fitted(
        "words", random_state=np.random.RandomState(0), scoring=lambda estimator, X, y: 1.0
    )
    model.save(tmp_path / "m")
    again = fastnn.load(tmp_path / "m", backend="numpy")
    assert again.random_state is None
    assert again.scoring is None
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_feature_names(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    fastnn.MLPClassifier(**SETTINGS).fit(frame, Y).save(tmp_path / "m")
    again = fastnn.load(tmp_path / "m", backend="numpy")
    assert again.feature_names_in_.tolist() == list("abcd")
    assert again.feature_names_in_.dtype == object
    again.predict(frame)
    with pytest.raises(ValueError, match="feature names"):
        again.predict(frame[list("badc")])


def test_lbfgs_and_not_fitted(tmp_path):
    model, _ = fitted("regression", solver="lbfgs")
    model.save(tmp_path / "m")
    again = fastnn.load(tmp_path / "m", backend="numpy")
    assert not hasattr(again, "loss_curve_")
    assert again.loss_ == model.loss_
    for save in (
        fastnn.MLPClassifier().save,
        lambda path: storage.save(fastnn.MLPRegressor(), path),
    ):
        with pytest.raises(NotFittedError):
            save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_description(tmp_path):
    model, _ = fitted("words")
    model.save(tmp_path / "m")
    description = storage.describe(tmp_path / "m")
    assert description.kind == "MLPClassifier"
    assert description.config.layer_sizes == [4, 5, 4, 3]
    assert description.fitted.labels.values == ["daisy", "lily", "rose"]
    assert description.parameters["solver"] == "adam"


def rewritten(path, change):
    """The file with its description changed and all sizes right."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    fields = json.loads(header["__metadata__"]["fastnn"])
    change(fields)
    header["__metadata__"]["fastnn"] = json.dumps(fields)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return path


def _set(*keys, value):
    def change(fields):
        for key in keys[:-1]:
            fields = fields[key]
        fields[keys[-1]] = value

    return change


CHANGES = {
    "unknown kind": _set("kind", value="RandomForestClassifier"),
    "other kind": _set("kind", value="MLPRegressor"),
    "network": _set("kind", value="Network"),
    "new version": _set("format_version", value=99),
    "unknown field": _set("code", value="import os"),
    "no fitted": lambda fields: fields.pop("fitted"),
    "unknown parameter": _set("parameters", "hook", value=1),
    "missing parameter": lambda fields: fields["parameters"].pop("alpha"),
    "bad solver": _set("parameters", "solver", value="magic"),
    "negative alpha": _set("parameters", "alpha", value=-1.0),
    "alpha of text": _set("parameters", "alpha", value="1"),
    "scoring": _set("parameters", "scoring", value="os.system"),
    "other layers": _set("parameters", "hidden_layer_sizes", value=[5, 5]),
    "ragged layers": _set("parameters", "hidden_layer_sizes", value=[[1], [2, 3]]),
    "other activation": _set("parameters", "activation", value="tanh"),
    "nested activation": _set("parameters", "activation", value=[["relu"], ["relu"]]),
    "other dropout": _set("parameters", "dropout", value=0.5),
    "class weights": _set("parameters", "class_weight", value=[[[1], 2]]),
    "standardize": _set("config", "standardize", value=True),
    "loss": _set("config", "loss", value="squared_error"),
    "labels missing": _set("fitted", "labels", value=None),
    "too few labels": _set("fitted", "labels", value={"dtype": "<U5", "values": ["daisy", "lily"]}),
    "labels out of order": _set(
        "fitted", "labels", value={"dtype": "<U5", "values": ["rose", "lily", "daisy"]}
    ),
    "labels of code": _set("fitted", "labels", value={"dtype": "O", "values": [{"a": 1}] * 3}),
    "target type": _set("fitted", "target_type", value="binary"),
    "feature names": _set("fitted", "feature_names", value=["a"]),
    "negative epochs": _set("fitted", "n_iter", value=-1),
    "curve of text": _set("fitted", "loss_curve", value=["a"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_inconsistent_files_raise(tmp_path, change):
    model, _ = fitted("words")
    model.save(tmp_path / "m")
    path = rewritten(tmp_path / "m", CHANGES[change])
    with pytest.raises(fastnn.ModelFormatError, match="m: "):
        fastnn.load(path, backend="numpy")


def test_unmodified_description_loads(tmp_path):
    # so that what is refused above is refused for its change
    model, _ = fitted("words")
    model.save(tmp_path / "m")
    path = rewritten(tmp_path / "m", lambda fields: None)
    np.testing.assert_array_equal(fastnn.load(path).predict(X), model.predict(X))


def test_damaged_files_raise(tmp_path):
    model, _ = fitted("words")
    model.save(tmp_path / "m")
    data = (tmp_path / "m").read_bytes()
    for wrong in (data[:-1], data + b"\0", data[:5], data[:100], b""):
        (tmp_path / "wrong").write_bytes(wrong)
        with pytest.raises(fastnn.ModelFormatError):
            fastnn.load(tmp_path / "wrong")


def test_non_finite_parameters_are_not_saved(tmp_path):
    model, _ = fitted("words")
    model.coefs_[0][0, 0] = np.nan
    with pytest.raises(fastnn.ModelFormatError, match="not finite"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_network_loads_without_scikit_learn(tmp_path):
    import subprocess
    import sys

    fastnn.Network([2, 3, 2], backend="numpy", random_state=0).save(tmp_path / "m")
    code = (
        "import sys, fastnn; fastnn.load(sys.argv[1], backend='numpy'); "
        "assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], check=True)
