"""Keras and PyTorch: predictions there are ours, and the way back."""

import doctest
import importlib

import numpy as np
import pytest
from helpers import assert_same
from test_export import ACTIVATIONS, KINDS, X, Z, make, outputs_of

from fastnn import export
from fastnn.backends import codes
from fastnn.cli import main

# Folded scales round at the size of the features, here up to ten deviations from zero.
FOLDED = {"float32": 1e-4, "float64": 1e-11}


# --- PyTorch ----------------------------------------------------------------------------


def test_examples_of_torch(torch):
    result = doctest.testmod(importlib.import_module("fastnn.export.torch"))
    assert result.attempted > 5
    assert not result.failed


def run_torch(torch, module, data):
    with torch.no_grad():
        return module(torch.from_numpy(data)).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_torch_predicts_equally_for_all_activations(torch, activation, dtype):
    net = make("vector", activation, dtype)
    module, data = export.to_torch(net), Z.astype(dtype)
    assert_same(run_torch(torch, module, data), net.predict(data), dtype)
    again = export.from_torch(module)
    assert (again.activations, again.dtype) == (net.activations, net.dtype)
    np.testing.assert_array_equal(again.params, net.params)
    assert_same(again.predict(data), net.predict(data), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_torch_predicts_equally_for_all_losses(torch, kind, dtype):
    net = make(kind, dtype=dtype, standardize=True)
    if kind == "poisson":
        with pytest.raises(ValueError, match="no module for the exp"):
            export.to_torch(net)
        logits = export.to_torch(net, logits=True)
        again = export.from_torch(logits, loss="poisson")
        assert_same(again.predict(X), net.predict(X), dtype, atol=FOLDED[dtype])
        return
    module, data = export.to_torch(net), X.astype(dtype)
    expected = outputs_of(net, data)
    assert_same(run_torch(torch, module, data), expected, dtype, atol=FOLDED[dtype])
    again = export.from_torch(module, classes=net.classes_)
    assert again.loss_name == net.loss_name
    assert_same(outputs_of(again, data), expected, dtype, atol=FOLDED[dtype])
    if net.loss_name not in codes.REGRESSION:
        np.testing.assert_array_equal(again.predict(data), net.predict(data))
        logits = export.to_torch(net, logits=True)
        assert len(logits) == len(module) - 1
        assert export.from_torch(logits, loss=net.loss_name).loss_name == net.loss_name


def test_from_torch_of_other_modules(torch):
    nn = torch.nn
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(3, 6, bias=False), nn.SiLU(), nn.Dropout(0.2))
    module = nn.Sequential(nn.Flatten(), body, nn.Linear(6, 4), nn.Identity()).eval()
    net = export.from_torch(module, loss="cross_entropy", classes=["a", "b", "c", "d"])
    assert net.dropout == (0.2,)
    data = Z.astype("float32")
    expected = torch.softmax(module(torch.from_numpy(data)), 1).detach().numpy()
    assert_same(net.predict_proba(data), expected, "float32")
    assert set(net.predict(data)) <= set("abcd")


def test_from_torch_raises_for_unsupported_layers(torch):
    nn = torch.nn
    linear = nn.Linear(3, 2)
    for parts, message in [
        ([nn.Linear(3, 3), nn.LayerNorm(3), linear], r"layer 1 \(LayerNorm\) is not supported"),
        (
            [nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False), linear],
            "no running mean",
        ),
        (
            [linear, nn.Sigmoid(), nn.BatchNorm1d(2)],
            r"layer 2 \(BatchNorm1d\): nothing can follow the outputs' activation",
        ),
        ([nn.BatchNorm1d(4), linear], "has 4 numbers; the dense layer has 3"),
        ([nn.Sequential(nn.Conv1d(1, 1, 1))], r"layer 0.0 \(Conv1d\) is not supported"),
        ([linear, nn.Tanh()], "the outputs have the activation tanh"),
        ([nn.Tanh(), linear], "does not follow a dense layer"),
        ([linear, nn.Softmax(1), nn.Linear(2, 2)], "nothing can follow the output"),
        ([linear, nn.Softmax(0)], "dim must be 1 or -1"),
        ([nn.Linear(3, 3), nn.GELU("tanh"), linear], "only the exact GELU"),
        ([nn.Linear(3, 3), nn.Softplus(2), linear], "beta must be 1"),
        ([nn.Dropout(), linear], "dropout of the inputs"),
        ([], "no dense layer"),
    ]:
        with pytest.raises(ValueError, match=message):
            export.from_torch(nn.Sequential(*parts))
    with pytest.raises(ValueError, match="loss must be one of"):
        export.from_torch(linear, loss="hinge")
    with pytest.raises(ValueError, match="loss squared_error does not fit outputs of softmax"):
        export.from_torch(nn.Sequential(linear, nn.Softmax(1)), loss="squared_error")
    for classes in (["b", "a"], ["a"]):
        with pytest.raises(ValueError, match="classes must be 2 labels in ascending order"):
            export.from_torch(linear, loss="cross_entropy", classes=classes)
    with pytest.raises(ValueError, match="classes are for softmax"):
        export.from_torch(linear, classes=["a", "b"])


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_command_torch(torch, tmp_path, capsys, ending):
    net = make("numbers", dtype="float32")
    net.save(tmp_path / "m.safetensors")
    file = tmp_path / f"net.{ending}"
    command = ["export", str(tmp_path / "m.safetensors"), "--to", "torch", "--out", str(file)]
    assert main(command) == 0
    assert "Linear(in_features=3, out_features=7" in capsys.readouterr().out
    if ending == "pt":
        state = torch.load(file, weights_only=True)
    else:
        import safetensors.torch

        state = safetensors.torch.load_file(file)
    nn = torch.nn
    module = nn.Sequential(
        nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3), nn.Softmax(1)
    )
    module.load_state_dict(state)
    data = Z.astype("float32")
    assert_same(run_torch(torch, module, data), net.predict_proba(data), "float32")


# --- Keras ------------------------------------------------------------------------------


def test_examples_of_keras(keras):
    result = doctest.testmod(importlib.import_module("fastnn.export.keras"))
    assert result.attempted > 5
    assert not result.failed


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_keras_predicts_equally_for_all_activations(keras, activation):
    dtype = "float32" if ACTIVATIONS.index(activation) % 2 else "float64"
    net = make("vector", activation, dtype)
    model, data = export.to_keras(net), Z.astype(dtype)
    # TensorFlow has the constants of these two in float32
    tolerance = "float32" if activation in ("leaky_relu", "gelu") else dtype
    assert_same(np.asarray(model(data)), net.predict(data), tolerance)
    again = export.from_keras(model)
    assert (again.activations, again.dtype) == (net.activations, net.dtype)
    np.testing.assert_array_equal(again.params, net.params)
    assert_same(again.predict(data), net.predict(data), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_keras_predicts_equally_for_all_losses(keras, kind, dtype):
    net = make(kind, dtype=dtype, standardize=True)
    model, data = export.to_keras(net), X.astype(dtype)
    expected = outputs_of(net, data)
    assert_same(np.asarray(model(data)), expected, dtype, atol=FOLDED[dtype])
    again = export.from_keras(model, classes=net.classes_)
    assert_same(outputs_of(again, data), expected, dtype, atol=FOLDED[dtype])
    assert again.loss_name == net.loss_name
    if net.loss_name not in codes.REGRESSION:
        np.testing.assert_array_equal(again.predict(data), net.predict(data))


def test_from_keras_of_other_models(keras):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    x = layers.Dense(6, use_bias=False)(inputs)
    x = layers.Dropout(0.2)(layers.LeakyReLU()(x))
    x = layers.Dense(4, activation="leaky_relu")(x)  # 0.2, where the layer has 0.3
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    with pytest.raises(ValueError, match=r"one alpha for all layers; got leaky_relu 0.3"):
        export.from_keras(model)
    model = keras.Sequential(
        [
            inputs,
            layers.Flatten(),
            layers.Dense(6),
            layers.ReLU(),
            layers.Dense(4),
            layers.Softmax(),
        ]
    )
    data = Z.astype("float32")
    net = export.from_keras(model)
    assert_same(net.predict_proba(data), np.asarray(model(data)), "float32")
    net = export.from_keras(
        keras.Sequential(
            [
                inputs,
                layers.Dense(2),
                layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0], invert=True),
            ]
        )
    )
    z = Z @ net.weights[0]
    assert_same(net.predict(data), z * [2, 3] + [1, 2], "float32")
    outer = keras.Model(inputs, layers.Dense(2)(layers.Activation("silu")(layers.Dense(5)(inputs))))
    net = export.from_keras(outer, loss="cross_entropy")
    assert_same(net.predict_proba(data), np.asarray(keras.ops.softmax(outer(data))), "float32")


def test_from_keras_raises_for_unsupported_layers(keras):
    layers = keras.layers
    dense = layers.Dense
    for parts, message in [
        ([dense(3), layers.LayerNormalization(), dense(2)], r"\(LayerNormalization\) is not supp"),
        (
            [dense(3, activation="hard_silu"), dense(2)],
            "hard_silu is not supported",
        ),
        ([dense(3, activation="tanh")], "the outputs have the activation tanh"),
        ([dense(3), layers.ReLU(6.0), dense(2)], "only the plain ReLU"),
        ([dense(3, activation="relu"), layers.Rescaling(2.0)], "nothing can follow the outputs'"),
    ]:
        with pytest.raises(ValueError, match=message):
            export.from_keras(keras.Sequential([keras.Input((3,)), *parts]))
    inputs = keras.Input((3,))
    x = dense(3)(inputs)
    forked = keras.Model(inputs, dense(1)(layers.Add()([x, dense(3)(x)])))
    with pytest.raises(ValueError, match="not a chain of layers"):
        export.from_keras(forked)
    with pytest.raises(TypeError, match="must be a Keras model; got int"):
        export.from_keras(3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
def test_command_keras(keras, tmp_path):
    net = make("words", ["elu", "gelu"], "float32", standardize=True)
    net.save(tmp_path / "m.safetensors")
    assert main(["export", str(tmp_path / "m.safetensors"), "--to", "keras"]) == 0
    model = keras.models.load_model(tmp_path / "m.keras")
    data = X.astype("float32")
    assert_same(np.asarray(model(data)), net.predict_proba(data), "float32", atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.keras", "m.safetensors"]
