"""Standardisation in exports: large numbers keep their digits where the interface lets them."""

import ctypes
import io
import shutil
import subprocess

import numpy as np
import onnx
import pytest
from test_export import compiled, run_onnx

import fastnn
from fastnn import export
from fastnn.extras import require

SECONDS = np.arange(300)
TIMES = np.column_stack([1.7e9 + SECONDS, np.sin(SECONDS / 7)])
TIMES[0, 1] = 40.0  # far outside, where the clip counts
KINDS = ("classes", "multilabel", "values")


def make(kind, dtype="float32", clip=None):
    """A trained network and its outputs; float32 has steps of 128 in the first feature."""
    y = (SECONDS // 50) % 2
    outputs, loss = 2, "cross_entropy"
    if kind == "multilabel":
        y, loss = np.column_stack([y, 1 - y]), "binary_cross_entropy"
    elif kind == "values":
        y, loss, outputs = 1e8 + np.sin(SECONDS / 30), "squared_error", 1
    net = fastnn.Network(
        [2, 8, outputs], loss=loss, dtype=dtype, standardize=True, smooth_clip=clip, random_state=0
    )
    net.fit(TIMES, y, optimizer=fastnn.Adam(0.02), epochs=30, batch_size=50)
    predicted = net.predict(TIMES)[:, None] if kind == "values" else net.predict_proba(TIMES)
    return net, predicted


# Of outputs of order one from float32 layers; of values, 1e8 itself has steps of 1.5e-8.
TOLERANCE = {"float32": 2e-5, "float64": 1e-6}


@pytest.mark.parametrize("clip", [None, 3.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_of_doubles(kind, dtype, clip):
    net, expected = make(kind, dtype, clip)
    model = export.to_onnx(net, input_dtype="float64")
    outputs = run_onnx(model, TIMES)[-1]
    assert outputs.dtype == ("float64" if kind == "values" else dtype)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=TOLERANCE[dtype])
    # for what float32 holds the mean still counts to its last digit
    single = TIMES.astype("float32")
    expected = net.predict(single)[:, None] if kind == "values" else net.predict_proba(single)
    outputs = run_onnx(export.to_onnx(net), single.astype(dtype))[-1]
    tolerance = 8.0 if (kind, dtype) == ("values", "float32") else TOLERANCE[dtype]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=tolerance)


def test_onnx_of_doubles_without_standardisation():
    net = fastnn.Network([2, 3, 1], loss="poisson", random_state=0)
    data = np.random.default_rng(0).standard_normal((5, 2))
    (values,) = run_onnx(export.to_onnx(net, input_dtype="float64"), data)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values[:, 0], net.predict(data), rtol=1e-6)
    with pytest.raises(ValueError, match="input_dtype must be one of float32, float64"):
        export.to_onnx(net, input_dtype="float16")


@pytest.mark.parametrize("clip", [None, 3.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_c_of_standardised_network(tmp_path, kind, dtype, clip):
    net, expected = make(kind, dtype, clip)
    source = export.to_c(net)
    result = compiled(tmp_path, source, "-DMODEL_TEST", "-Wall", "-Wextra", "-Werror")
    assert result.returncode == 0, result.stdout
    library = tmp_path / "model.so"
    command = [shutil.which("cc"), "-std=c99", "-O1", "-shared", "-fPIC", "-o", str(library)]
    (tmp_path / "library.c").write_text(source)
    subprocess.run([*command, str(tmp_path / "library.c"), "-lm"], check=True)
    name = "model_predict" if kind == "values" else "model_predict_proba"
    name += "_double" if dtype == "float32" else ""
    function = getattr(ctypes.CDLL(str(library)), name)
    out = np.empty(expected.shape, "float64" if kind == "values" else dtype)
    for x, y in zip(TIMES, out, strict=True):
        function(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data))
    np.testing.assert_allclose(out, expected, rtol=0, atol=TOLERANCE[dtype])


def test_c_of_scaled_targets_only(tmp_path):
    """A model of Keras may shift its outputs only."""
    layer = export.Layer(np.eye(2, 1, dtype="f4"), np.zeros(1, "f4"))
    shift, scale = np.array([1e9]), np.array([0.25])
    plain = export.PlainNetwork((layer,), "squared_error", target_shift=shift, target_scale=scale)
    source = export.to_c(plain)
    assert compiled(tmp_path, source, "-DMODEL_TEST").returncode == 0
    caller = """
#include <stdio.h>
int main(void)
{
    double x[2] = {0.5, 0}, y[1];
    model_predict_double(x, y);
    printf("%.17g", y[0]);
    return 0;
}
"""
    assert float(compiled(tmp_path, source + caller).stdout) == 1e9 + 2.0


@pytest.mark.parametrize(
    ("kind", "dtype", "clip"),
    [("values", "float32", None), ("classes", "float32", 3.0), ("values", "float64", 3.0)],
)
def test_compiled_calls_of_standardised_network(kind, dtype, clip):
    net, expected = make(kind, dtype, clip)
    predict = net.numba_predict()
    out = np.empty(expected.shape, "float64" if kind == "values" else dtype)
    pointers = net.cfunc("predict_double").ctypes
    number = ctypes.POINTER(ctypes.c_double)
    called = np.empty(expected.shape)
    for x, y, z in zip(TIMES, out, called, strict=True):
        predict(x, y)
        pointers(x.ctypes.data_as(number), z.ctypes.data_as(number))
    np.testing.assert_allclose(out, expected, rtol=0, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(called, expected, rtol=0, atol=TOLERANCE[dtype])


def test_compiled_calls_without_standardisation():
    net = fastnn.Network([2, 3, 2], random_state=0)
    function = net.cfunc("predict_double")
    assert function.signature == "void (const double *, double *)"
    number, x, out = ctypes.POINTER(ctypes.c_double), np.array([0.3, -1.0]), np.empty(2)
    function.ctypes(x.ctypes.data_as(number), out.ctypes.data_as(number))
    np.testing.assert_allclose(out, net.predict_proba([x])[0], rtol=1e-6)


@pytest.mark.parametrize("clip", [None, 3.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_of_standardised_network(dtype, clip):
    torch = require("torch", "this test", "test")
    net, expected = make("classes", dtype, clip)
    module = export.to_torch(net)
    with torch.no_grad():
        outputs = module(torch.from_numpy(TIMES)).numpy()
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=TOLERANCE[dtype])
    if clip is not None:
        assert repr(module[0]) == f"Standardize(2, {dtype!r}, 3)"
        file = io.BytesIO()
        torch.save(module, file)
        file.seek(0)
        again = torch.load(file, weights_only=False)
        with torch.no_grad():
            np.testing.assert_array_equal(again(torch.from_numpy(TIMES)).numpy(), outputs)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
@pytest.mark.parametrize("clip", [None, 3.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_keras_of_standardised_network(tmp_path, dtype, clip):
    keras = require("keras", "this test", "test")
    net, expected = make("values", dtype, clip)
    export.to_keras(net).save(tmp_path / "m.keras")
    outputs = np.asarray(keras.models.load_model(tmp_path / "m.keras")(TIMES))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=TOLERANCE[dtype])


def test_sklearn_of_standardised_network():
    net, expected = make("classes", "float64")
    outputs = export.to_sklearn(net).predict_proba(TIMES)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-6)
    single, expected = make("classes", "float32")
    outputs = export.to_sklearn(single).predict_proba(TIMES)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=2e-5)
    with pytest.raises(ValueError, match="layers alone cannot express smooth_clip"):
        export.to_sklearn(make("classes", clip=3.0)[0])


def test_written_files_use_double_if_needed(tmp_path):
    net, expected = make("classes")
    what = export.write(net, tmp_path / "m.onnx")
    assert what == "ONNX, input X float64 (float32 is too coarse for features or targets so large)"
    outputs = run_onnx(onnx.load(tmp_path / "m.onnx"), TIMES)[-1]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=TOLERANCE["float32"])
    what = export.write(net, tmp_path / "m.c")
    assert "for large numbers call m_predict_double (float32 is" in what
    plain = fastnn.Network([2, 2])
    assert export.write(plain, tmp_path / "n.onnx") == "ONNX, input X float32"
    assert export.write(plain, tmp_path / "n.c") == "C99, names begin with n_"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_descriptions_keep_scales_and_clip(tmp_path, dtype):
    net, expected = make("classes", dtype, 3.0)
    net.save(tmp_path / "m")
    again = fastnn.load(tmp_path / "m")
    assert again.smooth_clip == 3.0
    np.testing.assert_array_equal(again.predict_proba(TIMES), expected)
    np.testing.assert_array_equal(again.out_of_range(TIMES + 1e5), net.out_of_range(TIMES + 1e5))
    described = export.describe(net).to_network()
    np.testing.assert_allclose(described.predict_proba(TIMES), expected, rtol=1e-6)
    divided = export.describe(net).divided(2.0).to_network()
    np.testing.assert_allclose(divided.predict_proba(TIMES * 2), expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
@pytest.mark.parametrize("form", ["network", "numba", "c", "onnx", "torch", "keras"])
@pytest.mark.parametrize("far", [[1e300, 0.0], [-1e200, 1e160]])
def test_smooth_clip_of_largest_values(tmp_path, form, far):
    """Their squares are infinite, by which z / sqrt(1 + z^2) would be zero, the mean."""
    net, _ = make("classes", "float32", 3.0)
    x = np.array([far])
    bound = net.scales.input_shift + np.sign(x) * 1e9 / net.scales.input_scale
    expected = net.predict_proba(np.where(x == 0, 0.0, bound))
    assert np.abs(expected - net.predict_proba(net.scales.input_shift[None])).max() > 1e-3
    if form == "network":
        outputs = net.predict_proba(x)
    elif form == "numba":
        outputs = np.empty_like(expected)
        net.numba_predict()(x[0], outputs[0])
    elif form == "c":
        caller = "\n#include <stdio.h>\nint main(void) { double x[2] = {%r, %r}; float y[2];"
        caller += ' model_predict_proba_double(x, y); printf("%%.9g %%.9g", y[0], y[1]); }\n'
        printed = compiled(tmp_path, export.to_c(net) + caller % tuple(far)).stdout
        outputs = np.array([printed.split()], float)
    elif form == "onnx":
        outputs = run_onnx(export.to_onnx(net, input_dtype="float64"), x)[-1]
    elif form == "torch":
        torch = require("torch", "this test", "test")
        outputs = export.to_torch(net)(torch.from_numpy(x)).detach().numpy()
    else:
        require("keras", "this test", "test")
        outputs = np.asarray(export.to_keras(net)(x))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-6)
