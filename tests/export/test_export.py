"""Exports, each run by what it was made for; and the way back."""

import os
import shutil
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
import skl2onnx
from helpers import assert_same
from sklearn import neural_network
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn import export
from fastnn.backends import codes

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3)) * [1, 10, 100] + [5, -30, 200]
Z = rng.normal(size=(40, 3))
ACTIVATIONS = tuple(codes.ACTIVATIONS)
KINDS = ("words", "numbers", "binary", "multilabel", "regression", "vector", "poisson")


def make(kind="numbers", activation="tanh", dtype="float64", standardize=False):
    """A network of each kind with weights of order one; its scales are learned."""
    outputs = {
        "words": 2,
        "numbers": 3,
        "binary": 1,
        "multilabel": 3,
        "regression": 1,
        "vector": 2,
        "poisson": 1,
    }
    loss = {
        "binary": "binary_cross_entropy",
        "multilabel": "binary_cross_entropy",
        "poisson": "poisson",
    }.get(kind, "squared_error" if kind in ("regression", "vector", "poisson") else "cross_entropy")
    n = outputs[kind]
    # alpha is not the default, so that an export that ignores it shows
    alpha = 0.3 if activation in ("leaky_relu", "elu") else None
    net = fastnn.Network(
        [3, 7, 5, n],
        activation=activation,
        alpha=alpha,
        loss=loss,
        standardize=standardize,
        dtype=dtype,
        backend="numpy",
        random_state=0,
    )
    y = {
        "words": np.where(Z[:, 0] > 0, "ja", 'nicht "so" süß??/'),
        "numbers": np.arange(40) % 3 * 10 - 10,
        "binary": Z[:, 0] > 0,
        "multilabel": (Z > 0).astype(int),
        "regression": 100 * Z[:, 0] + 1000,
        "vector": Z[:, :2],
        "poisson": np.arange(40) % 5,
    }[kind]
    net.fit(X if standardize else Z, y, epochs=2, optimizer=fastnn.SGD(1e-3))
    for b in net.biases:
        b[:] = 0.5 * np.random.default_rng(1).standard_normal(b.shape)
    return net


def outputs_of(net, data):
    """What Keras and PyTorch have as outputs, (samples, outputs)."""
    if net.loss_name in codes.REGRESSION:
        return net.predict(data).reshape(len(data), -1)
    p = net.predict_proba(data)
    return p[:, 1:] if net.n_outputs == 1 and net.loss_name == "binary_cross_entropy" else p


# --- ONNX -----------------------------------------------------------------------------


def run_onnx(model, data):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: data})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnx_predicts_equally_for_all_activations(activation, dtype):
    net = make("vector", activation, dtype)
    (values,) = run_onnx(export.to_onnx(net), Z.astype(dtype))
    assert values.dtype == dtype
    # onnxruntime has no float64 Erf: there gelu has the precision of float32
    assert_same(values, net.predict(Z), "float32" if activation == "gelu" else dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_predicts_equally_for_all_losses(kind, dtype):
    net = make(kind, ["tanh", "relu"], dtype, standardize=True)
    data = X.astype(dtype)
    results = run_onnx(export.to_onnx(net), data)
    if net.loss_name in codes.REGRESSION:
        assert_same(results[0], net.predict(data).reshape(40, -1), dtype)
        return
    assert_same(results[1], net.predict_proba(data), dtype)
    np.testing.assert_array_equal(results[0], net.predict(data))


def test_onnx_accepts_any_number_of_samples():
    model = export.to_onnx(make())
    onnx.checker.check_model(model, full_check=True)
    operators = [node.op_type for node in model.graph.node]
    assert operators == ["Gemm", "Tanh", "Gemm", "Tanh", "Gemm", "Softmax", "ArgMax", "Gather"]
    assert [len(run_onnx(model, Z[:n])[0]) for n in (1, 7)] == [1, 7]


def test_onnx_raises_for_unsupported_labels():
    net = make("words")
    net.classes_ = np.array([0.5, 1.5])
    with pytest.raises(ValueError, match="labels must be whole numbers or text"):
        export.to_onnx(net)


def test_labels_beyond_int64_are_no_labels_of_onnx():
    net = fastnn.Network([1, 2, 2], random_state=0)
    net.fit([[0.0], [1.0]], np.array([2**63, 2**63 + 1], np.uint64), epochs=1)
    with pytest.raises(ValueError, match=f"labels must be in int64 for ONNX; got {2**63 + 1}; use"):
        export.to_onnx(net)


CLASSIFIED = {
    "two": Z[:, 0] > 0,
    "three": np.array(["a", "b", "c"])[np.arange(40) % 3],
    "one": np.full(40, 7),
    "multilabel": (Z > 0).astype(int),
}


def fitted(y, **parameters):
    return fastnn.MLPClassifier(
        (5,), solver="lbfgs", alpha=1.0, tol=0.01, random_state=0, backend="numpy", **parameters
    ).fit(Z, y)


@pytest.mark.parametrize("name", CLASSIFIED)
def test_onnx_of_estimators(name):
    model = fitted(CLASSIFIED[name])
    label, p = run_onnx(export.to_onnx(model), Z)
    if name == "one":  # both outcomes of the network are the class it knows
        p = p.sum(axis=1, keepdims=True)
    assert_same(p, model.predict_proba(Z), "float64")
    np.testing.assert_array_equal(label, model.predict(Z))


@pytest.mark.parametrize("name", ["two", "three", "multilabel"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_skl2onnx_pipelines(name, dtype):
    export.register_skl2onnx()
    model = make_pipeline(StandardScaler(), fitted(CLASSIFIED[name], activation="gelu"))
    data = X.astype(dtype)
    model.fit(data, CLASSIFIED[name])
    made = skl2onnx.to_onnx(model, data[:1], options={fastnn.MLPClassifier: {"zipmap": False}})
    label, p = run_onnx(made, data)
    # float32: the scaler's rounding of features with means of several deviations
    assert_same(p, model.predict_proba(data), "float32", atol=1e-4)
    np.testing.assert_array_equal(label, model.predict(data))


def test_skl2onnx_options_and_regression():
    export.register_skl2onnx()
    model = fitted(CLASSIFIED["three"])
    data = Z.astype("float32")  # ZipMap knows no float64
    label, maps = run_onnx(skl2onnx.to_onnx(model, data[:1]), data)
    assert list(maps[0]) == ["a", "b", "c"]  # ZipMap is skl2onnx's default
    made = skl2onnx.to_onnx(
        model, Z[:1], options={fastnn.MLPClassifier: {"zipmap": False, "nocl": True}}
    )
    np.testing.assert_array_equal(np.array(["a", "b", "c"])[run_onnx(made, Z)[0]], label)
    for y in (Z[:, 0], Z[:, :2]):
        model = fastnn.MLPRegressor(
            hidden_layer_sizes=(5,), activation="elu", solver="lbfgs", tol=0.01, random_state=0
        )
        model.fit(Z, y)
        (values,) = run_onnx(skl2onnx.to_onnx(model, Z[:1]), Z)
        assert_same(values, model.predict(Z).reshape(40, -1), "float64")
    whole = np.round(10 * Z).astype(np.int64)
    made = skl2onnx.to_onnx(model, whole[:1])
    assert_same(run_onnx(made, whole)[0], model.predict(whole), "float32")


# --- C ------------------------------------------------------------------------------------

STRICT = ["-Wall", "-Wextra", "-Werror", "-std=c99", "-pedantic", "-O2"]


def compiled(folder, source, *flags):
    """Compile and run; its output."""
    compiler = os.environ.get("CC", shutil.which("cc"))
    if compiler is None:
        pytest.skip("no C compiler")
    (folder / "net.c").write_text(source)
    program = folder / "net"
    command = [compiler, *STRICT, *flags, "net.c", "-o", str(program), "-lm"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return subprocess.run([program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_c_predicts_equally_for_all_activations(tmp_path, dtype):
    """One layer of each."""
    net = fastnn.Network(
        [3, *[6] * len(codes.ACTIVATIONS), 2],
        activation=ACTIVATIONS,
        alpha=0.3,
        loss="squared_error",
        dtype=dtype,
        random_state=0,
    )
    result = compiled(tmp_path, export.to_c(net, vectors=Z), "-DMODEL_TEST")
    assert result.stdout.startswith("40 vectors, 0 wrong")
    assert result.returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_c_predicts_equally_for_all_losses(tmp_path, kind):
    dtype = "float32" if kind in ("numbers", "multilabel", "regression") else "float64"
    net = make(kind, ["elu", "relu"], dtype, standardize=True)
    result = compiled(tmp_path, export.to_c(net, "net", vectors=X), "-DNET_TEST")
    assert result.returncode == 0, result.stdout


def test_c_of_an_estimator_with_one_label(tmp_path):
    source = export.to_c(fitted(CLASSIFIED["one"]))
    assert compiled(tmp_path, source, "-DMODEL_TEST").returncode == 0


def test_c_self_test_detects_a_wrong_weight(tmp_path):
    net = make("regression")
    source = export.to_c(net, vectors=Z)
    net.weights[1][2, 3] *= 1 + 1e-6
    tables = export.to_c(net, vectors=Z).split("model_test_x")[0]
    wrong = tables + "model_test_x" + source.split("model_test_x", 1)[1]
    assert compiled(tmp_path, wrong, "-DMODEL_TEST").returncode == 1


def test_c_called_from_another_program(tmp_path):
    """Its functions give our labels and probabilities, digit by digit."""
    net = make("words", standardize=True)
    rows = ", ".join(repr(value) for value in X[:5].ravel().tolist())
    caller = f"""
#include <stdio.h>
int main(void)
{{
    static const double x[] = {{{rows}}};
    for (int k = 0; k < 5; k++) {{
        double p[MODEL_OUTPUTS];
        model_predict_proba(x + k * MODEL_FEATURES, p);
        printf("%.17g %.17g %s\\n", p[0], p[1],
               model_classes[model_predict(x + k * MODEL_FEATURES)]);
    }}
    return 0;
}}
"""
    lines = compiled(tmp_path, export.to_c(net) + caller).stdout.splitlines()
    found = [line.split(" ", 2) for line in lines]
    assert_same([[float(a), float(b)] for a, b, _ in found], net.predict_proba(X[:5]), "float64")
    assert [label for _, _, label in found] == net.predict(X[:5]).tolist()


def test_c_weights_are_exact():
    for dtype in ("float32", "float64"):
        net = make("regression", dtype=dtype)
        table = export.to_c(net).split("model_w0")[1].split("{")[1].split("}")[0]
        numbers = np.array([float(text.strip().rstrip("f")) for text in table.split(",")])
        np.testing.assert_array_equal(numbers.astype(dtype), net.weights[0].ravel())


@pytest.mark.parametrize("name", ["1net", "_net", "a-b", "", "ä"])
def test_c_raises_for_invalid_names(name):
    with pytest.raises(ValueError, match="name must be a C identifier"):
        export.to_c(make(), name)


def test_c_raises_for_invalid_vectors():
    with pytest.raises(ValueError, match="vectors has 2 features"):
        export.to_c(make(), vectors=Z[:, :2])


# --- scikit-learn ---------------------------------------------------------------------------

SKLEARN = ["identity", "sigmoid", "tanh", "relu"]


@pytest.mark.parametrize("kind", KINDS)
def test_to_sklearn_predicts_equally(kind):
    net = make(kind, SKLEARN[KINDS.index(kind) % 4], standardize=True)
    mlp = export.to_sklearn(net)
    # folding the scales rounds at the size of the features, here up to ten deviations
    assert_same(
        mlp.predict(X) if net.loss_name in codes.REGRESSION else mlp.predict_proba(X),
        net.predict(X) if net.loss_name in codes.REGRESSION else net.predict_proba(X),
        "float64",
        atol=1e-11,
    )
    if net.loss_name not in codes.REGRESSION:
        np.testing.assert_array_equal(mlp.predict(X), net.predict(X))


@pytest.mark.parametrize("name", CLASSIFIED)
@pytest.mark.parametrize("activation", ["logistic", "tanh"])
def test_sklearn_round_trip(name, activation):
    model = fitted(CLASSIFIED[name], activation=activation)
    mlp = export.to_sklearn(model)
    assert mlp.alpha == 1.0
    if name != "one":  # of which scikit-learn's has two columns
        assert_same(mlp.predict_proba(Z), model.predict_proba(Z), "float64")
    np.testing.assert_array_equal(mlp.predict(Z), model.predict(Z))
    again = export.from_sklearn(mlp)
    np.testing.assert_array_equal(again.predict(Z), model.predict(Z))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_sklearn_predicts_equally(tmp_path, dtype):
    data = Z.astype(dtype)
    settings = {"activation": "logistic", "max_iter": 20, "tol": 1.0, "random_state": 0}
    mlp = neural_network.MLPClassifier((6, 4), **settings).fit(data, CLASSIFIED["three"])
    model = export.from_sklearn(mlp)
    assert_same(model.predict_proba(data), mlp.predict_proba(data), dtype)
    np.testing.assert_array_equal(model.predict(data), mlp.predict(data))
    model.save(tmp_path / "m.safetensors")
    assert fastnn.load(tmp_path / "m.safetensors").loss_curve_ == mlp.loss_curve_
    with pytest.warns(UserWarning, match="adam starts with new moments"):
        model.partial_fit(data, CLASSIFIED["three"])
    assert (mlp.coefs_[0] != model.coefs_[0]).any()  # its own copy
    regression = neural_network.MLPRegressor(hidden_layer_sizes=(6,), **settings).fit(
        data, Z[:, :2]
    )
    again = export.from_sklearn(regression)
    assert_same(again.predict(data), regression.predict(data), dtype)


def test_sklearn_raises_for_unsupported_models():
    with pytest.raises(ValueError, match=r"has no gelu; it has identity, logistic, tanh, relu"):
        export.to_sklearn(make(activation="gelu"))
    with pytest.raises(ValueError, match="one activation for all hidden layers; got relu, tanh"):
        export.to_sklearn(make(activation=["relu", "tanh"]))
    with pytest.raises(TypeError, match="got StandardScaler"):
        export.from_sklearn(StandardScaler())
    with pytest.raises(ValueError, match="not fitted"):
        export.from_sklearn(neural_network.MLPClassifier())


# --- what all have in common ----------------------------------------------------------------


def test_description_restores_the_network():
    net = make("words", ["elu", "tanh"], standardize=True)
    np.testing.assert_array_equal(export.describe(net).to_network().predict(X), net.predict(X))
    with pytest.raises(TypeError, match="got list"):
        export.describe([1])
    net.params[0] = np.nan
    with pytest.raises(ValueError, match="params is not finite"):
        export.describe(net)
    with pytest.raises(ValueError, match="not fitted"):
        export.describe(fastnn.MLPClassifier())


def test_different_alphas_raise():
    layers = [
        export.Layer(np.ones((2, 2)), np.zeros(2), "elu", 0.5),
        export.Layer(np.ones((2, 2)), np.zeros(2), "leaky_relu", 0.1),
        export.Layer(np.ones((2, 2)), np.zeros(2)),
    ]
    with pytest.raises(ValueError, match=r"one alpha for all layers; got elu 0.5, leaky_relu 0.1"):
        export.PlainNetwork(tuple(layers), "cross_entropy").to_network()
