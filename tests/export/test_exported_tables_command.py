"""Exports of tables: the command, what is refused, declared codes of missing values."""

import sys

import numpy as np
import onnx
import pandas as pd
import pytest
from exported_tables import NAMES, TARGETS, N, assert_outputs, run_onnx, table_of
from helpers import assert_same
from sklearn.pipeline import make_pipeline
from test_export import compiled

import fastnn
from fastnn import cli, export
from fastnn.datasets import cells
from fastnn.export.table import describe_table
from fastnn.tables import Encoding, TableEncoder, TableModel

pytestmark = pytest.mark.usefixtures("small_networks")


# --- the command, and what is refused -------------------------------------------------------


@pytest.fixture(scope="module")
def saved(models, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "m.safetensors"
    models["two"].save(path)
    return path


def test_command(saved, models, tmp_path, capsys):
    assert cli.main(["export", str(saved), str(tmp_path / "out.onnx")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert 'input   a_b        text; "" for a missing value\n' in out
    assert "input   day        double, seconds since 1970-01-01 00:00 UTC; NaN for a miss" in out
    frame = table_of(1, True)
    found = run_onnx(onnx.load(tmp_path / "out.onnx"), frame)
    assert_outputs(found, models["two"], frame, "float32")
    assert cli.main(["export", str(saved), "--out", str(tmp_path / "2nd.c"), "--json"]) == 0
    assert '"a_b": "codes[0], 3 categories; -1 for a missing or other one"' in (
        capsys.readouterr().out
    )
    source = (tmp_path / "2nd.c").read_text()
    assert compiled(tmp_path, source, "-DMODEL_2ND_TEST").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a FILE, or what to write: --to onnx|c|keras|torch|sklearn"),
        (
            ["x.onnx", "--out", "y.onnx"],
            "give FILE or --out, not both; got FILE x.onnx and --out y.onnx",
        ),
        (["x.txt"], "x.txt: the name must end in .onnx, .c"),
        (["x.onnx", "--to", "c"], "x.onnx: the name must end in .c or .h"),
    ],
)
def test_command_reports_errors(saved, arguments, message, capsys):
    assert cli.main(["export", str(saved), *arguments]) == 2
    assert message.replace("in .onnx", "in one of .onnx") in capsys.readouterr().err


def test_numeric_exports_advise_alternatives(models):
    model, table = models["two"], TableModel(models["two"].encoding_, models["two"].network_)
    with pytest.raises(TypeError, match=r"Export model\.network_, and give .* model\.encoding_\.t"):
        export.to_sklearn(model)
    with pytest.raises(TypeError, match=r"model\.network, and .* model\.encoding\.transform"):
        export.describe(table)
    pipeline = make_pipeline(TableEncoder(), fastnn.MLPClassifier((3,), tol=0.1))
    pipeline.fit(table_of(0), TARGETS["two"](table_of(0)))
    with pytest.raises(ValueError, match="ONNX and C take tables"):
        export.to_sklearn(pipeline)
    with pytest.raises(ValueError, match="derivatives are by numbers"):
        export.to_c(model, jacobian=True)
    for call in ("numba_predict", "cfunc"):
        with pytest.raises(AttributeError, match=rf"call model\.network_\.{call}\(\) and give"):
            getattr(model, call)
        with pytest.raises(AttributeError, match=rf"model\.network\.{call}\(\) .* model\.encoding"):
            getattr(table, call)
        with pytest.raises(AttributeError, match=rf"call model\.networks_\[k\]\.{call}\(\)"):
            getattr(models["classes"], call)
    behind = TableModel(pipeline[0].encoding_, pipeline[1])
    with pytest.raises(
        AttributeError, match=r"call fastnn\.export\.describe\(model\.network\)\.to_"
    ):
        behind.cfunc  # noqa: B018
    with pytest.raises(ValueError, match="not fitted"):
        export.to_onnx(fastnn.TabularClassifier())
    with pytest.raises(ValueError, match="a column without a name"):
        export.to_onnx(fastnn.TabularRegressor(n_epochs=1).fit({"": [*range(9), 3]}, range(10)))


def test_words_for_yes_and_no(models):
    words = [word for pair in cells.BOOLEANS for word in pair] + [
        "1",
        "0",
        "1.0",
        "0.0",
        "",
        "maybe",
    ]
    words += [word.upper() for word in words] + [word.title() for word in words]
    frame = pd.concat([table_of(5, n=1)] * len(words), ignore_index=True)
    frame[NAMES["text"]] = words
    with pytest.warns(UserWarning, match="are no boolean|is no boolean"):
        expected = models["numbers"].predict_proba(frame)
    found = run_onnx(export.to_onnx(models["numbers"]), frame)
    assert_same(found["probabilities"], expected, "float64")
    assert len(np.unique(expected[:, 0])) == 3  # yes, no, neither


def test_old_files_with_numeric_booleans(models):
    """Which did not say whether they were text."""
    state, arrays = models["numbers"].encoding_.to_state()
    for column in state["columns"]:
        column.pop("texts", None)
    model = TableModel(Encoding.from_state(state, arrays), models["numbers"].network_)
    kinds = {i.name: i.type.tensor_type.elem_type for i in export.to_onnx(model).graph.input}
    assert kinds[NAMES["text"]] == onnx.TensorProto.DOUBLE


def test_network_exports_do_not_import_sklearn(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastnn.tables.base", None)  # which needs it
    assert describe_table(fastnn.Network([2, 3, 2], random_state=0)) is None


# --- declared gaps --------------------------------------------------------------------------


def test_declared_codes_of_missing_values(tmp_path):
    """Numbers, dates and words that count as missing may be given as they are."""
    own = {"day": pd.Timestamp("1900-01-01"), "moment": pd.Timestamp("1900-01-01")}
    own |= {NAMES["number"]: -999.9, NAMES["whole"]: 77.0, "full": -999.9, "flag": -999.9}
    own |= dict.fromkeys((NAMES["town"], NAMES["text"], NAMES["two"], "colour"), "unknown")
    declared = [-999.9, "unknown", "1900-01-01", 77]
    frames = []
    for seed in (0, 1):
        gaps = table_of(seed, bool(seed)).astype({"flag": float})
        gaps.loc[5, ["flag", "full", NAMES["two"], "moment"]] = None
        gaps[NAMES["whole"]] = gaps[NAMES["whole"]].replace(77.0, 1.0)
        frames.append((gaps, gaps.fillna(own)))
    (train, coded), (other, coded_other) = frames
    y = TARGETS["classes"](train.astype({"flag": bool}))
    kinds = {"code": "category", "flag": "boolean"}
    options = {"columns": kinds, "n_epochs": 2, "random_state": 0, "backend": "numpy"}
    model = fastnn.TabularClassifier(missing_values=declared, **options).fit(coded, y)
    expected = model.predict_proba(other)
    np.testing.assert_array_equal(model.predict_proba(coded_other), expected)
    made = export.to_onnx(model)
    found = run_onnx(made, coded_other)["probabilities"]
    np.testing.assert_array_equal(found, run_onnx(made, other)["probabilities"])
    assert_same(found, expected, "float32")
    in_float32 = export.to_onnx(model, input_dtype="float32")
    np.testing.assert_array_equal(
        run_onnx(in_float32, coded_other)["probabilities"],
        run_onnx(in_float32, other)["probabilities"],
    )
    result = compiled(tmp_path, export.to_c(model, vectors=coded_other), "-DMODEL_TEST")
    assert result.stdout.startswith(f"{N} vectors, 0 wrong")
    raw = describe_table(model).raw(coded_other).numbers
    assert {-999.9, 77.0, -2208988800.0} <= set(raw.ravel().tolist())  # not replaced before


def test_export_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"a": [-9.0, 1.0, 2.5, 7.0] * 5, "b": [0.0, 1.0, 1.0, 0.0] * 5})
    model = fastnn.TabularClassifier(
        n_epochs=1, columns={"b": "boolean"}, missing_values=[-9, 7], backend="numpy"
    )
    model.fit(frame, ["u", "v", "v", "u", "v"] * 4).save("m.safetensors")
    for to, nan in (("m.onnx", "NaN"), ("m.c", "NAN")):
        assert cli.main(["export", "m.safetensors", to]) == 0
        assert f"; {nan} or -9 or 7 for a missing value" in capsys.readouterr().out
    assert "numbers[0]  a: a number, NAN or -9 or 7 if missing" in (tmp_path / "m.c").read_text()
