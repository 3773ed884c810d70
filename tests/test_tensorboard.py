"""Summaries of dense networks for TensorBoard, read back with TensorBoard's own reader."""

import subprocess
import sys

import numpy as np
import pytest

from fastnn import Network, cli
from fastnn.tensorboard import TensorBoard

X = np.random.default_rng(0).normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), {"scalars": 0, "histograms": 0, "tensors": 0})
    return accumulator.Reload()


def test_what_is_written_is_what_the_network_has(tmp_path):
    net = Network([3, 4, 2], backend="numpy", random_state=0)
    with TensorBoard(tmp_path, X, Y, settings={"epochs": 5, "note": "a|b"}) as board:
        history = net.fit(X, Y, epochs=5, validation_data=(X, Y), callbacks=[board])
        net.fit(X, Y, epochs=2, callbacks=[board])  # goes on where the first ended
    found = events(tmp_path)
    losses = found.Scalars("loss/training")
    assert losses[0].step == 1
    assert losses[0].value == pytest.approx(history.loss[0], rel=1e-6)  # float32 in the file
    assert losses[-1].step == 7
    assert found.Scalars("loss/validation")[0].value == pytest.approx(history.validation_loss[0])
    assert found.Scalars("score/validation")[0].value == pytest.approx(history.validation_score[0])
    assert found.Scalars("score/training")[-1].value == pytest.approx(net.score(X, Y))
    groups = {"weights": net.weights, "biases": net.biases}
    groups["weight_gradients"], groups["bias_gradients"] = net.unflatten(net.gradients(X, Y))
    for name, arrays in groups.items():
        for layer, array in enumerate(arrays, 1):
            last = found.Histograms(f"layer{layer}/{name}")[-1]
            assert last.step == 7
            values = last.histogram_value
            assert values.num == array.size
            assert (values.min, values.max) == (array.min(), array.max())
            assert values.sum == pytest.approx(array.sum(), rel=1e-6, abs=1e-9)
            assert sum(values.bucket) == array.size
    (text,) = found.Tensors("settings/text_summary")
    assert "| note | a\\|b |" in text.tensor_proto.string_val[0].decode()


def test_without_data_there_are_weights_and_losses_only(tmp_path):
    with TensorBoard(tmp_path) as board:
        Network([3, 2], backend="numpy", random_state=0).fit(X, Y, epochs=2, callbacks=[board])
    tags = events(tmp_path).Tags()
    assert tags["scalars"] == ["loss/training"]
    assert sorted(tags["histograms"]) == ["layer1/biases", "layer1/weights"]


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="both X and y"):
        TensorBoard(tmp_path, X)
    with pytest.raises(ValueError, match=r"shapes \(40, 3\) and \(39,\)"):
        TensorBoard(tmp_path, X, Y[1:])
    with pytest.raises(ValueError, match="samples"):
        TensorBoard(tmp_path, X, Y, samples=0)


def test_without_tensorboardx(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "moons", "--backend", "numpy", "--epochs", "2", "--tensorboard", "board"]
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert 'pip install "fastnn-cpu[tensorboard]"' in error
    assert list(tmp_path.iterdir()) == []


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "moons", "--backend", "numpy", "--epochs", "30", "--out", "runs/first"]
    assert cli.main([*arguments, "--tensorboard", "board"]) == 0
    tags = events(tmp_path / "board" / "first").Tags()
    assert {"loss/training", "score/training"} <= set(tags["scalars"])
    assert {"layer1/weights", "layer2/bias_gradients"} <= set(tags["histograms"])
    (tmp_path / "taken").touch()
    assert cli.main([*arguments, "--overwrite", "--tensorboard", "taken"]) == 2
    assert capsys.readouterr().err.startswith("fastnn: taken")


def test_tensorflow_is_not_imported(tmp_path):
    code = (
        "import sys, fastnn, fastnn.tensorboard as t\n"
        f"with t.TensorBoard({str(tmp_path)!r}, [[0.0], [1.0]], [0, 1]) as board:\n"
        "    net = fastnn.Network([1, 2], backend='numpy')\n"
        "    net.fit([[0.0], [1.0]], [0, 1], callbacks=[board])\n"
        "assert 'tensorflow' not in sys.modules and 'tensorboard' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
