"""Files of the convolutional network: runs, checkpoints, exports to Keras and ONNX."""

import json

import numpy as np
import pytest
from cnn_cases import CLOSE

from fastnn.cnn import export, runs, settings
from fastnn.cnn import model as models
from fastnn.cnn.runtime import keras
from fastnn.cnn.settings import Settings
from fastnn.errors import ModelFormatError


def _with(path, target, change):
    """A copy of a model file whose settings or arrays are changed."""
    import safetensors.numpy

    description, arrays = runs.read(path)
    fields = json.loads(description.model_dump_json(exclude_none=True))
    change(fields, arrays)
    contents = safetensors.numpy.save(arrays, {runs.METADATA_KEY: json.dumps(fields)})
    target.write_bytes(contents)


def test_files_from_before_label_smoothing_had_none(finished, tmp_path):
    path = finished[0] / runs.MODEL_FILE
    assert settings.PRESETS[runs.read(path)[0].settings.preset]["label_smoothing"] > 0
    _with(path, tmp_path / "old", lambda fields, _: fields["settings"].pop("label_smoothing"))
    assert runs.read(tmp_path / "old")[0].settings.label_smoothing == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, a: f["settings"].update(activation="maxout"), "conv1/weights is F32 of shape"),
        (lambda f, a: f["settings"].update(activation="swish"), "settings.activation"),
        (lambda f, a: f.update(pickle="x"), "no setting 'pickle'"),
        (lambda f, a: f.update(format_version=2), "format_version"),
        (lambda f, a: a.pop("fc2/biases"), "no array 'fc2/biases'"),
        (lambda f, a: a["fc2/biases"].fill(np.nan), "fc2/biases is not finite"),
        (lambda f, a: a.update({"fc2/biases": np.zeros(10)}), "is F64"),
    ],
)
def test_files_of_another_network_are_refused(finished, tmp_path, change, message):
    _with(finished[0] / runs.MODEL_FILE, tmp_path / "model.safetensors", change)
    with pytest.raises(ModelFormatError, match=message):
        runs.load(tmp_path)


def test_damaged_files_are_refused(finished, tmp_path):
    contents = (finished[0] / runs.MODEL_FILE).read_bytes()
    path = tmp_path / runs.MODEL_FILE
    for damaged in (b"", b"nonsense" * 10, contents[:1000], contents[:-1], contents + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(ModelFormatError, match=r"model\.safetensors: not a model file"):
            runs.load(path)
    with pytest.raises(FileNotFoundError, match="neither"):
        runs.load(finished[0].parent)


def test_dense_network_is_no_convolutional_one(tmp_path, finished):
    import fastnn

    net = fastnn.Network([2, 3, 2], backend="numpy")
    net.fit([[0, 0], [0, 1], [1, 0]], [0, 1, 1], epochs=1)
    net.save(tmp_path / "dense.safetensors")
    with pytest.raises(ModelFormatError, match="not a model of fastnn cnn"):
        runs.load(tmp_path / "dense.safetensors")
    with pytest.raises(ModelFormatError, match="fastnn cnn"):
        fastnn.load(finished[0] / runs.MODEL_FILE)


def test_keras_file(network, digits, tmp_path):
    export.export(network, tmp_path / "a.keras")
    model = keras.saving.load_model(tmp_path / "a.keras", safe_mode=True)
    X = digits.test[0][:50]
    np.testing.assert_allclose(model(X / np.float32(255)), network.predict_proba(X), **CLOSE)
    with pytest.raises(ValueError, match=r"must end in \.keras or \.onnx"):
        export.export(network, tmp_path / "a.h5")


@pytest.mark.parametrize("activation", settings.ACTIVATIONS)
def test_onnx_file(activation, digits, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    net = models.Network(Settings(activation=activation, init="he_normal"))
    export.export(net, tmp_path / "a.onnx")
    session = runtime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    X = digits.test[0][:20]
    (found,) = session.run(None, {"images": X.reshape(-1, 1, 28, 28) / np.float32(255)})
    np.testing.assert_allclose(found, net.predict_proba(X), **CLOSE)
