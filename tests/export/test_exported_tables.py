"""Exports that take a table's columns, beside ``predict`` of random tables."""

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from exported_tables import KINDS, NAMES, TARGETS, N, assert_outputs, run_onnx, table_of
from helpers import assert_same
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_export import compiled

import fastnn
from fastnn import export
from fastnn.export.table import describe_table
from fastnn.tables import Encoding, TableEncoder, TableModel

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.mark.parametrize("kind", TARGETS)
def test_onnx_of_table_predicts_equally(models, kind):
    model = models[kind]
    made = export.to_onnx(model)
    for seed, new in ((0, False), (1, True), (2, True)):
        frame = table_of(seed, new)
        assert_outputs(run_onnx(made, frame), model, frame, np.dtype(model.dtype).name)
    inputs = {given.name: given.doc_string for given in made.graph.input}
    assert list(inputs) == [name for name in table_of(0).columns if name != "constant"]
    assert inputs["day"].startswith("double, seconds since 1970-01-01 00:00 UTC; NaN")
    assert inputs[NAMES["town"]] == 'text; "" for a missing value'
    # the graph takes a single row, too
    one = table_of(3, True, 1)
    assert_outputs(run_onnx(made, one), model, one, np.dtype(model.dtype).name)


def test_onnx_of_table_in_float32(models):
    model, frame = models["two"], table_of(1, True)
    for name in frame.select_dtypes("float"):
        frame[name] = frame[name].astype(np.float32).astype(float)  # which floats can hold
    made = export.to_onnx(model, input_dtype="float32")
    kinds = {given.name: given.type.tensor_type.elem_type for given in made.graph.input}
    assert kinds["full"] == kinds["flag"] == onnx.TensorProto.FLOAT
    assert kinds["moment"] == onnx.TensorProto.DOUBLE  # a float has steps of 128 seconds
    assert_outputs(run_onnx(made, frame), model, frame, "float32")
    for kind in ("regression", "vector"):  # several members, one
        found = run_onnx(export.to_onnx(models[kind], input_dtype="float32"), frame)["variable"]
        assert found.dtype == np.float32
        expected = models[kind].predict(frame).reshape(N, -1)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="input_dtype must be one of float32, float64"):
        export.to_onnx(model, input_dtype="int8")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scaling", ["robust-clip", "standard", None])
def test_encodings_and_networks_of_any_kind(tmp_path, scaling, dtype):
    """Networks that standardise or not, behind encodings that scale or not."""
    frame, other = table_of(0), table_of(1, True)
    encoding = Encoding.fit(frame, scaling=scaling, kinds=KINDS)
    x, y = encoding.transform(frame), TARGETS["two"](frame).to_numpy()
    net = fastnn.Network(
        [encoding.n_outputs, 5, 1],
        loss="binary_cross_entropy",
        standardize=scaling is None,
        dtype=dtype,
        backend="numpy",
        random_state=0,
    )
    net.fit(x, y, epochs=20)
    model = TableModel(encoding, net)
    assert_outputs(run_onnx(export.to_onnx(model), other), model, other, dtype)
    result = compiled(tmp_path, export.to_c(model, vectors=other), "-DMODEL_TEST")
    assert result.stdout.startswith(f"{N} vectors, 0 wrong")


def test_several_labels(tmp_path):
    frame, other = table_of(0), table_of(1, True)
    y = np.column_stack([frame["full"] > 1, frame["flag"]]).astype(int)
    model = make_pipeline(
        TableEncoder(KINDS), fastnn.MLPClassifier((5,), solver="lbfgs", tol=0.01, random_state=0)
    ).fit(frame, y)
    found = run_onnx(export.to_onnx(model), other)
    assert_same(found["probabilities"], model.predict_proba(other), "float64")
    np.testing.assert_array_equal(found["label_0"], model.predict(other))
    result = compiled(tmp_path, export.to_c(model, vectors=other), "-DMODEL_TEST")
    assert result.stdout.startswith(f"{N} vectors, 0 wrong")


def test_pipelines_that_begin_with_an_encoder():
    frame, other = table_of(0), table_of(1, True)
    y = TARGETS["regression"](frame)
    mlp = fastnn.MLPRegressor(
        hidden_layer_sizes=(5,), solver="lbfgs", tol=0.01, random_state=0, backend="numpy"
    )
    inner = make_pipeline(TableEncoder(KINDS, scaling=None), "passthrough", StandardScaler(), mlp)
    model = TransformedTargetRegressor(inner, transformer=StandardScaler()).fit(frame, y)
    assert_outputs(run_onnx(export.to_onnx(model), other), model, other, "float64")
    alone = make_pipeline(fastnn.TabularRegressor(n_epochs=1, columns=KINDS, backend="numpy"))
    alone.fit(frame, y)
    assert_outputs(run_onnx(export.to_onnx(alone), other), alone, other, "float32")


# --- C ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TARGETS)
def test_c_of_table_predicts_equally(tmp_path, models, kind):
    model, frame = models[kind], table_of(1, True)
    result = compiled(tmp_path, export.to_c(model, "my", vectors=frame), "-DMY_TEST")
    assert result.stdout.startswith(f"{N} vectors, 0 wrong")
    # what the test expects is what predict gives
    table = describe_table(model)
    given = model.predict_proba(frame) if hasattr(model, "classes_") else model.predict(frame)
    assert_same(table.expected(table.raw(frame)), given.reshape(N, -1), model.dtype)


def test_c_without_numbers_or_without_categories(tmp_path):
    frame = table_of(0)
    for names in ([NAMES["town"], "colour"], ["full", NAMES["whole"]], ["flag"]):
        model = fastnn.TabularClassifier(n_epochs=1).fit(frame[names], TARGETS["two"](frame))
        result = compiled(tmp_path, export.to_c(model), "-DMODEL_TEST")
        assert result.stdout.startswith("32 vectors, 0 wrong")


def test_c_example_of_the_manual(tmp_path, models):
    """By the names of columns and categories; a code out of range is another category."""
    model, frame = models["classes"], table_of(4, True)
    frame["moment"] = pd.Timestamp("2003-02-28 23:59:58")
    (tmp_path / "my.c").write_text(export.to_c(model, "my"))
    row = frame.iloc[0]
    at = dict(zip(["label", "a b", "T */ über", "a_b", "gemm_0"], "ignored", strict=False))
    assert at.keys() <= set(NAMES.values())

    def number(value):
        return "NAN" if pd.isna(value) else repr(float(value))

    def text(value):
        return "0" if pd.isna(value) else '"' + "".join(f"\\{b:03o}" for b in value.encode()) + '"'

    yes = row[NAMES["text"]]
    days = "NAN"
    if not pd.isna(row["day"]):
        day = row["day"]
        days = f"my_seconds({day.year}, {day.month}, {day.day}, 0, 0, 0)"
    lines = [
        f"numbers[my_at_number_label] = {number(row['label'])};",
        f"numbers[my_at_number_a_b] = {number(row['a b'])};",
        f"numbers[my_at_number_full] = {number(row['full'])};",
        f"numbers[my_at_number_flag] = {number(row['flag'])};",
        f"numbers[my_at_number_T_____ber] = {number(None if pd.isna(yes) else yes != 'no')};",
        f"numbers[my_at_number_day] = {days};",
        "numbers[my_at_number_moment] = my_seconds(2003, 2, 28, 23, 59, 58);",
        f"codes[my_at_code_a_b] = my_code_a_b({text(row['a_b'])});",
        f"codes[my_at_code_gemm_0] = my_code_gemm_0({text(row['gemm_0'])});",
        f"codes[my_at_code_colour] = my_code_colour({text(row['colour'])});",
        f"codes[my_at_code_code] = my_code_code({text(str(row['code']))});",
    ]
    program = (
        '#include <stdio.h>\n#include "my.c"\n'
        "int main(void)\n{\n    double numbers[MY_NUMBERS], p[MY_OUTPUTS];\n"
        "    int codes[MY_CODES];\n    " + "\n    ".join(lines) + "\n"
        "    my_predict_proba(numbers, codes, p);\n"
        '    printf("%.17g %.17g %.17g %s\\n", p[0], p[1], p[2], '
        "my_classes[my_predict(numbers, codes)]);\n"
        "    codes[my_at_code_colour] = 99;\n    my_predict_proba(numbers, codes, p);\n"
        '    printf("%.17g %.17g %.17g\\n", p[0], p[1], p[2]);\n    return 0;\n}\n'
    )
    result = compiled(tmp_path, program)
    first, second = result.stdout.splitlines()
    *p, label = first.split()
    one = frame.iloc[:1]
    assert_same([list(map(float, p))], model.predict_proba(one), "float32")
    assert label == model.predict(one)[0]
    other = one.assign(colour="mauve")
    assert_same([list(map(float, second.split()))], model.predict_proba(other), "float32")


def test_c_self_test_detects_a_wrong_median(tmp_path, models):
    source = export.to_c(models["regression"], vectors=table_of(1, True))
    fill = models["regression"].encoding_.columns[1].fill[0]
    wrong = source.replace(f"isnan(v) ? {fill!r} : v;", f"isnan(v) ? {fill + 1!r} : v;")
    assert wrong != source
    assert compiled(tmp_path, wrong, "-DMODEL_TEST").returncode == 1


@pytest.mark.parametrize("kind", ["regression", "classes"])
def test_weighted_members(tmp_path, models, kind):
    """What fastnn search finds: ONNX and C beside the mean of the members' predictions."""
    model, frame = models[kind], table_of(2, True)
    weights, networks = [0.125, 0.25, 0.625], model.networks_
    made = TableModel(model.encoding_, fastnn.Ensemble(networks, weights))
    x = model.encoding_.transform(frame)
    each = [net.predict(x) if net.is_regression else net.predict_proba(x) for net in networks]
    expected = np.average(np.asarray(each, float), axis=0, weights=weights).reshape(N, -1)
    found = run_onnx(export.to_onnx(made), frame)
    values = found["variable" if kind == "regression" else "probabilities"]
    assert_same(values - expected.mean(0), expected - expected.mean(0), "float32")
    if kind == "classes":
        label = next(name for name in found if name.startswith("label"))
        np.testing.assert_array_equal(found[label], made.predict(frame))
    source = export.to_c(made, vectors=frame)
    assert compiled(tmp_path, source, "-DMODEL_TEST").stdout.startswith(f"{N} vectors, 0 wrong")
    assert_same(describe_table(made).expected(describe_table(made).raw(frame)), expected, "float32")
    wrong = source.replace("0.625 * own[j]", "0.25 * own[j]")
    assert compiled(tmp_path, wrong, "-DMODEL_TEST").returncode == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_ensembles_without_encoding(tmp_path, loss, dtype):
    """Which take rows, of numbers that float32 is too coarse for."""
    rng = np.random.default_rng(0)
    x = rng.normal(1.7e9, 10.0, (60, 3))
    y = x @ [1.0, 2.0, -1.0] if loss == "squared_error" else np.where(x[:, 0] > 1.7e9, "a", "b")
    networks = [
        fastnn.Network(
            [3, 4 + k, 1 if loss == "squared_error" else 2],
            loss=loss,
            standardize=True,
            dtype=dtype,
            backend="numpy",
            random_state=k,
        )
        for k in range(2)
    ]
    for net in networks:
        net.fit(x, y, epochs=20)
    model = fastnn.Ensemble(networks, [0.25, 0.75])
    regression = loss == "squared_error"
    expected = (model.predict(x) if regression else model.predict_proba(x)).reshape(60, -1)
    shift = expected.mean(axis=0)
    for given in ("float64", "float32"):
        made = export.to_onnx(model, input_dtype=given)
        session = onnxruntime.InferenceSession(
            made.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        own = x.astype(given)
        found = session.run(None, {"X": own})
        if given == "float64":
            assert_same(found[-1] - shift, expected - shift, dtype)
        else:
            coarse = model.predict(own) if regression else model.predict_proba(own)
            np.testing.assert_allclose(found[-1], coarse.reshape(60, -1), rtol=1e-5)
        if not regression:
            assert found[0].tolist() == model.predict(own).tolist()
    source = export.to_c(model, vectors=x)
    assert ("model_predict(const double *x, double *y)" in source) == regression
    assert compiled(tmp_path, source, "-DMODEL_TEST").stdout.startswith("60 vectors, 0 wrong")
    assert_same(describe_table(model).expected(describe_table(model).raw(x)), expected, dtype)
    assert compiled(tmp_path, export.to_c(model), "-DMODEL_TEST").stdout.startswith("32 vectors, 0")
    assert compiled(tmp_path, source.replace("0.25 *", "0.5 *"), "-DMODEL_TEST").returncode == 1


# --- dates ------------------------------------------------------------------------------------


def test_date_parts(tmp_path):
    """Through a network that only passes them on: days and moments of 6,000 years."""
    days = np.concatenate(
        [np.arange(f"{year}-01-01", f"{year + 1}-01-01", dtype="M8[D]") for year in (1600, 1900)]
        + [np.arange("0001-01-01", "6000-01-01", 9973, dtype="M8[D]")]
        + [np.arange("1968-01-01", "1973-01-01", dtype="M8[D]")]
    )
    seconds = 1_000_000 * np.random.default_rng(0).integers(0, 86_400, len(days))
    moments = days.astype("M8[us]")
    moments = np.concatenate([moments, moments + seconds, [np.datetime64("NaT")]])
    frame = pd.DataFrame({"day": moments})
    encoding = Encoding.fit(frame, scaling=None)
    assert encoding.columns[0].parts == ["year", "month", "weekday", "hour", "age"]
    plain = export.PlainNetwork((export.Layer(np.eye(6), np.zeros(6)),), "squared_error")
    model = TableModel(encoding, plain.to_network("numpy"))
    expected = encoding.transform(frame)
    there = moments[:-1].astype(object)
    np.testing.assert_array_equal(expected[:-1, 0], [moment.year for moment in there])
    np.testing.assert_array_equal(expected[:-1, 2], [moment.weekday() for moment in there])
    found = run_onnx(export.to_onnx(model), frame)["variable"]
    np.testing.assert_array_equal(found[:, [0, 1, 2, 5]], expected[:, [0, 1, 2, 5]])
    # up to 24 hours, and two million days
    np.testing.assert_allclose(found[:, 3:5], expected[:, 3:5], rtol=0, atol=1e-9)
    result = compiled(tmp_path, export.to_c(model, vectors=frame[::3]), "-DMODEL_TEST")
    assert result.stdout.split(" vectors, ")[1].startswith("0 wrong")
