"""Models of tables: plot, info, export, evaluation, model files."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from table_cases import QUICK, call, refused

import fastnn
from fastnn import storage
from fastnn.tables import TableModel


@pytest.mark.usefixtures("rendered")
def test_plot_a_table_model(here, capsys):
    out, _ = call(capsys, "plot", "run", "--out", "m.svg")
    assert "picture   m.svg" in out
    assert "<svg" in (here / "m.svg").read_text()
    call(capsys, "train", "people.csv", "--target", "age", *QUICK, "--out", "ages")
    result = json.loads(call(capsys, "plot", "ages", "--json")[0])
    assert result["file"] == "ages/plot_people.png"
    scores = json.loads(call(capsys, "evaluate", "ages", "--json")[0])
    assert result["r2"] == scores["r2"]


def test_info_of_models(here, capsys):
    result = json.loads(call(capsys, "info", "run", "--json")[0])
    assert result["target"] == "survived"
    assert result["classes"] == ["no", "yes"]
    assert result["columns"]["sex"]["kind"] == "category"
    assert result["layer_sizes"][0] == 10
    text, _ = call(capsys, "info", "run/model.safetensors")
    assert "column             sex          2 categories (female, male), as +1 and -1\n" in text
    assert "classes            no, yes\n" in text
    call(capsys, "train", "iris", "--epochs", "1", "--out", "i")
    text, _ = call(capsys, "info", "i")
    assert "features           sepal length (cm), sepal width (cm)" in text
    assert "not a model file" in refused(capsys, "info", "people.csv")
    for command in (["info"], ["evaluate"], ["plot"], ["export", "--to", "c"]):
        said = refused(capsys, *command, "nothing")
        assert "nothing: No such file or folder; fastnn train makes run folders" in said


def test_exports_say_what_they_take(here, capsys):
    out, err = call(capsys, "export", "run", "--to", "c", "--overwrite")
    assert err == ""
    assert "input   sex    codes[0], 2 categories; -1 for a missing or other one\n" in out
    _, err = call(capsys, "export", "run", "--to", "torch", "--overwrite")
    assert "takes the 10 encoded columns (sex=female, class, age, age=missing, ...)" in err


def test_a_file_that_changed_is_scored_without_the_rows_of_training(here, people, capsys):
    people.to_csv("people2.csv", index=False)
    call(capsys, "train", "people2.csv", "--target", "survived", *QUICK, "--out", "changed")
    pd.concat([people.iloc[::-1], people.iloc[:30]]).to_csv("people2.csv", index=False)
    result = json.loads(call(capsys, "evaluate", "changed", "--json")[0])
    assert result["what"] == "189 samples; the data have changed, 639 others were trained with"


def test_a_table_that_does_not_fit_the_network_is_refused(here, tmp_path):
    import safetensors.numpy
    from safetensors import safe_open

    with safe_open("run/model.safetensors", "numpy") as file:
        metadata, arrays = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    fields = json.loads(metadata["fastnn"])
    column = next(c for c in fields["table"]["columns"] if c["name"] == "port")
    column["categories"].append("Bonn")
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(arrays, path, {"fastnn": json.dumps(fields)})
    with pytest.raises(fastnn.ModelFormatError, match="table: makes 11 columns for 10 inputs"):
        fastnn.load(path)
    with pytest.raises(fastnn.ModelFormatError, match="table: makes 11 columns for 10 inputs"):
        storage.describe(path)


def test_scaled_tables_are_kept(tmp_path, people):
    from fastnn.tables import Encoding

    table = people.drop(columns="survived")
    encoding = Encoding.fit(table)
    net = fastnn.Network([encoding.n_outputs, 4, 1], loss="squared_error", random_state=0)
    net.fit(encoding.transform(table), np.arange(800.0), epochs=2)
    model = TableModel(encoding, net)
    model.save(tmp_path / "m.safetensors", training={"target": "rank"})
    again = fastnn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(table), model.predict(table))
    assert again.classes_ is None
    assert storage.describe(tmp_path / "m.safetensors").training == {"target": "rank"}
    arrow = pa.Table.from_pandas(table)
    np.testing.assert_array_equal(again.predict(arrow), model.predict(table))


def test_members_of_numbers_are_exported(tmp_path, capsys):
    """Also of pixels, which training divides by 255."""
    import onnxruntime

    x = np.random.default_rng(0).integers(0, 256, (50, 3)).astype(float)
    nets = [fastnn.Network([3, 4, 2], random_state=k, backend="numpy") for k in range(2)]
    for net in nets:
        net.fit(x / 255, x[:, 0] > 99, epochs=5)
    model = fastnn.Ensemble(nets, [1, 3])
    model.save(tmp_path / "m.safetensors", training={"scale": 255.0})
    out, _ = call(capsys, "export", tmp_path / "m.safetensors", tmp_path / "m.onnx")
    assert "ONNX, input X float64" in out
    session = onnxruntime.InferenceSession(
        (tmp_path / "m.onnx").read_bytes(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"X": x})[1]
    np.testing.assert_allclose(found, model.predict_proba(x / 255), rtol=2e-6)
