"""``fastnn export``, and files of exports."""

import os
import sys

import numpy as np
import onnx
import pytest
from helpers import assert_same
from test_export import X, Z, compiled, make, run_onnx

from fastnn import export
from fastnn.cli import main


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "m.safetensors"
    net = make("words", "relu")
    net.save(path)
    return net, path


def test_command_onnx_and_c(tmp_path, saved, capsys):
    net, path = saved
    assert main(["export", str(path), "--to", "onnx"]) == 0
    assert "m.onnx" in capsys.readouterr().out
    label, _ = run_onnx(onnx.load(tmp_path / "m.onnx"), Z)
    np.testing.assert_array_equal(label, net.predict(Z))
    assert main(["export", str(path), "--to", "c", "--out", str(tmp_path / "my-net.c")]) == 0
    source = (tmp_path / "my-net.c").read_text()
    assert compiled(tmp_path, source, "-DMY_NET_TEST").returncode == 0


def test_command_sklearn(tmp_path, saved):
    import skops.io

    net, path = saved
    assert main(["export", str(path), "--to", "sklearn"]) == 0
    mlp = skops.io.load(tmp_path / "m.skops")  # trusts scikit-learn's own types only
    np.testing.assert_array_equal(mlp.predict(Z), net.predict(Z))


def test_command_includes_feature_scaling(tmp_path):
    """What training divided by is part of the export."""
    net = make("numbers", standardize=True)
    from fastnn import storage

    storage.save(net, tmp_path / "m.safetensors", training={"scale": 4.0})
    assert main(["export", str(tmp_path / "m.safetensors"), "--to", "onnx"]) == 0
    _, p = run_onnx(onnx.load(tmp_path / "m.onnx"), X * 4)
    assert_same(p, net.predict_proba(X), "float64")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "onnx"], "m.onnx exists already"),
        (["--to", "onnx", "--out", "{}/m.txt", "--overwrite"], "must end in .onnx"),
        (["--to", "c", "--out", "{}/folder.c"], "folder.c is a folder"),
        (["--to", "c", "--out", "{}/m.safetensors/m.c"], "m.safetensors: Not a directory"),
        (["--to", "nonsense"], "nonsense"),
    ],
)
def test_command_reports_errors(tmp_path, saved, capsys, arguments, message):
    (tmp_path / "m.onnx").write_text("mine")
    (tmp_path / "folder.c").mkdir()
    before = sorted(tmp_path.iterdir())
    arguments = [argument.format(tmp_path) for argument in arguments]
    assert main(["export", str(saved[1]), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "m.onnx").read_text() == "mine"


def test_command_overwrites_on_request(tmp_path, saved):
    (tmp_path / "m.onnx").write_text("mine")
    assert main(["export", str(saved[1]), "--to", "onnx", "--overwrite"]) == 0
    onnx.load(tmp_path / "m.onnx")


def test_command_reports_unsupported_features(tmp_path, capsys):
    make("numbers", "gelu").save(tmp_path / "m.safetensors")
    assert main(["export", str(tmp_path / "m.safetensors"), "--to", "sklearn"]) == 2
    assert "scikit-learn's MLP has no gelu" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize(
    ("to", "module", "extra"),
    [
        ("onnx", "onnx", "export"),
        ("sklearn", "skops.io", "export"),
        ("torch", "torch", "torch"),
        ("keras", "keras", "cnn"),
    ],
)
def test_missing_library_is_named(tmp_path, saved, capsys, monkeypatch, to, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["export", str(saved[1]), "--to", to]) == 2
    command = f'pip install "fastnn-cpu[{extra}]"'
    assert f"needs {module.split('.')[0]}: {command}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_write_chooses_the_target_by_extension(tmp_path):
    assert export.write(make(), tmp_path / "net.c").startswith("C99")
    with pytest.raises(ValueError, match=r"must end in one of \.onnx, \.c"):
        export.write(make(), tmp_path / "net")
    with pytest.raises(ValueError, match="to must be one of onnx, c, keras"):
        export.write(make(), tmp_path / "net.c", "rust")


def test_unwritable_file_is_named(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device", "other")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*net\.c'"):
        export.write(make(), tmp_path / "net.c")
    assert list(tmp_path.iterdir()) == []
