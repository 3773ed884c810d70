"""Exports of deviations and quantiles: the outputs as they are, in the units of the targets."""

import os
import shutil
import subprocess

import numpy as np
import pytest

import fastnn
from fastnn import export

QUANTILES = (0.1, 0.5, 0.9)


@pytest.fixture(params=["gaussian", "quantile"])
def net(request):
    X, y = samples()
    n = 2 if request.param == "gaussian" else 3
    settings = {"loss": request.param, "quantile": QUANTILES, "dtype": "float64"}
    net = fastnn.Network([2, 6, n], standardize=True, random_state=0, **settings)
    net.fit(X, y, epochs=30)
    return net


def samples():
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 3, (100, 2))
    return X, 1000 + 50 * X[:, 0] + (5 + 10 * X[:, 1]) * rng.standard_normal(100)


def predicted(net, X, outputs):
    """What ``predict`` makes of exported outputs."""
    if net.loss_name == "gaussian":
        return outputs[:, 0], np.exp(outputs[:, 1] / 2)
    return (np.sort(outputs, axis=1),)


def expected(net, X):
    if net.loss_name == "gaussian":
        return net.predict(X, return_std=True)
    return (net.predict(X),)


def check(net, X, outputs):
    for ours, theirs in zip(predicted(net, X, outputs), expected(net, X), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_onnx_of_uncertain_losses(net):
    onnxruntime = pytest.importorskip("onnxruntime")
    X, _ = samples()
    model = export.to_onnx(net).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {session.get_inputs()[0].name: X})
    check(net, X, outputs)


def test_c_passes_its_self_test(net, tmp_path):
    compiler = os.environ.get("CC", shutil.which("cc"))
    if compiler is None:
        pytest.skip("no C compiler")
    file = tmp_path / "model.c"
    file.write_text(export.to_c(net))
    program = tmp_path / "model"
    command = [compiler, "-std=c99", "-DMODEL_TEST", str(file), "-o", str(program), "-lm"]
    subprocess.run(command, check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert " 0 wrong" in done.stdout


@pytest.mark.slow
def test_compiled_calls_of_uncertain_losses(net):
    pytest.importorskip("numba")
    X, _ = samples()
    predict, outputs = net.numba_predict(), np.empty((len(X), net.n_outputs))
    for x, out in zip(X, outputs, strict=True):
        predict(x, out)
    check(net, X, outputs)


def test_scikit_learn_of_uncertain_losses(net):
    X, _ = samples()
    check(net, X, export.to_sklearn(net).predict(X))


def test_jacobian_is_in_target_units(net):
    X, _ = samples()
    x, step = X[:1], 1e-5
    values = []
    for sign in (1, -1):
        moved = x + np.array([[sign * step, 0]])
        outputs = net.scales.outputs(net.predictor(net.scales.inputs(moved, net.spec), True, None))
        values.append(outputs[0])
    difference = (values[0] - values[1]) / (2 * step)
    np.testing.assert_allclose(net.jacobian(x)[0, :, 0], difference, rtol=1e-6)
