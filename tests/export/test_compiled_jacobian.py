"""Value and Jacobian from compiled code and from exported C, against ``Network.jacobian``."""

import ctypes

import numba
import numpy as np
import pytest
from helpers import assert_same
from numba.core.errors import TypingError
from test_export import compiled

import fastnn
from fastnn import export
from fastnn.backends import codes

ALL = list(codes.ACTIVATIONS)
CASES = {  # sizes, loss, dtype, whether it standardises, activations
    "one layer": ([3, 2], "cross_entropy", "float64", False, "tanh"),
    "narrow": ([2, 8, 8, 8, 2], "cross_entropy", "float32", False, "relu"),
    "backwards": ([16, 33, 9, 4], "squared_error", "float32", True, "tanh"),
    "forwards": ([3, 7, 5], "squared_error", "float64", True, "gelu"),
    "all activations": ([4, *[6] * len(ALL), 3], "poisson", "float64", False, ALL),
    "one sigmoid": ([4, 5, 1], "binary_cross_entropy", "float32", True, "mish"),
    "sigmoids": ([4, 5, 2], "binary_cross_entropy", "float64", False, "silu"),
}


def make(case):
    """A network that has learned its scales, and samples."""
    sizes, loss, dtype, standardize, activation = CASES[case]
    settings = {"standardize": True, "smooth_clip": 2.0} if standardize else {}
    net = fastnn.Network(
        sizes,
        activation=activation,
        alpha=0.3 if activation is ALL else None,
        loss=loss,
        dtype=dtype,
        random_state=0,
        backend="numpy",
        **settings,
    )
    rng = np.random.default_rng(0)
    X = rng.normal(3, 5, (20, sizes[0])) if standardize else rng.normal(size=(20, sizes[0]))
    if loss == "cross_entropy":
        y = np.arange(20) % sizes[-1]
    else:
        y = rng.integers(0, 2, (20, sizes[-1]))
        y = y[:, 0] if sizes[-1] == 1 else y
    net.fit(X, y, epochs=2)
    return net, X[:3].astype("float64" if standardize else dtype)


def expected(net, x, output="proba"):
    """What Python gives, an output a row; of one sigmoid the second class's alone."""
    of = "logits" if output == "logits" else None
    values = net.forward(x[None], of=of or ("predict" if net.is_regression else "proba"))
    return values.outputs[0, -net.n_outputs :], net.jacobian(x[None], of=of)[0, -net.n_outputs :]


@pytest.mark.parametrize("case", CASES)
def test_numba_jacobian_equals_jacobian(case):
    net, X = make(case)
    for output in ("proba", "logits") if case in ("backwards", "narrow") else ("proba",):
        predict = net.numba_predict(output, derivative="jacobian")
        for x in X:
            out, jac = (
                np.empty(net.n_outputs, x.dtype),
                np.empty((net.n_outputs, net.n_features), x.dtype),
            )
            predict(x, out, jac)
            value, jacobian = expected(net, x, output)
            assert_same(out, value, net.dtype)
            assert_same(jac, jacobian, net.dtype)


def test_cfunc_jacobian_equals_jacobian():
    net, X = make("narrow")
    function = net.cfunc("value_and_jacobian")
    assert function.signature == "void (const float *, float *, float *)"
    x, out, jac = X[0].copy(), np.empty(2, "f4"), np.empty((2, 2), "f4")
    pointer = ctypes.POINTER(ctypes.c_float)
    function.ctypes(*[array.ctypes.data_as(pointer) for array in (x, out, jac)])
    value, jacobian = expected(net, x)
    assert_same(out, value, "float32")
    assert_same(jac, jacobian, "float32")


def test_numba_jacobian_in_prange_keeps_its_weights():
    net, _ = make("narrow")
    predict = net.numba_predict(derivative="jacobian")

    @numba.njit(parallel=True)
    def all_rows(predict, X, out, jac):
        for i in numba.prange(len(X)):
            predict(X[i], out[i], jac[i])

    X = np.random.default_rng(0).normal(size=(300, 2)).astype("f4")
    out, jac = np.empty((300, 2), "f4"), np.empty((300, 2, 2), "f4")
    before = net.jacobian(X)
    net.params[:] = 0
    all_rows(predict, X, out, jac)
    assert_same(jac, before, "float32")


def test_wrong_arguments_raise():
    net, X = make("narrow")
    with pytest.raises(ValueError, match="derivative must be one of jacobian; got 'hessian'"):
        net.numba_predict(derivative="hessian")
    predict = net.numba_predict(derivative="jacobian")
    out, jac = np.empty(2, "f4"), np.empty((2, 2), "f4")
    with pytest.raises(ValueError, match=r"jac must have shape \(2, 2\), a row an output"):
        predict(X[0], out, np.empty((2, 3), "f4"))
    with pytest.raises(ValueError, match=r"out must have shape \(2,\)"):
        predict(X[0], np.empty(3, "f4"), jac)
    with pytest.raises(TypingError, match="jac must be a C-contiguous writeable 2-D array of"):
        predict(X[0], out, np.empty(4, "f4"))
    with pytest.raises(TypingError, match="x must be a C-contiguous 1-D array of float32"):
        predict(X[0].astype("f8"), out, jac)


@pytest.mark.parametrize("case", CASES)
def test_exported_c_passes_its_self_test(case, tmp_path):
    net, _ = make(case)
    source = export.to_c(net, "net", jacobian=True)
    result = compiled(tmp_path, source, "-DNET_TEST")
    assert (result.returncode, result.stdout[:18]) == (0, "8 vectors, 0 wrong"), result.stdout


def test_self_test_detects_a_wrong_derivative(tmp_path):
    net, _ = make("forwards")
    source = export.to_c(net, jacobian=True)
    assert "slope[i] /= q * sqrt(q);" in source
    wrong = source.replace("slope[i] /= q * sqrt(q);", "slope[i] /= q;")
    assert compiled(tmp_path, wrong, "-DMODEL_TEST").returncode == 1


def test_double_version_of_a_float_network(tmp_path):
    """The function for float too, which the test of the file does not call."""
    net, X = make("backwards")
    numbers = ", ".join(f"{value!r}" for value in X[0].astype("f4").tolist())
    caller = f"""
#include <stdio.h>
int main(void)
{{
    const float x[16] = {{{numbers}}};
    float out[4], jac[64];
    model_jacobian(x, out, jac);
    for (int k = 0; k < 64; k++)
        printf("%.9g ", (double)jac[k]);
    return 0;
}}
"""
    result = compiled(tmp_path, export.to_c(net, jacobian=True) + caller)
    got = np.array(result.stdout.split(), float).reshape(4, 16)
    assert_same(got, net.jacobian(X[:1].astype("f4"))[0], "float32")


def test_jacobian_is_exported_only_on_request(tmp_path):
    net, _ = make("narrow")
    assert "jacobian" not in export.to_c(net)
    export.write(net, tmp_path / "net.c", jacobian=True)
    assert (
        "void net_jacobian(const float *x, float *out, float *jac);"
        in (tmp_path / "net.c").read_text()
    )
    with pytest.raises(ValueError, match=r"jacobian=True is for C; got net.onnx"):
        export.write(net, tmp_path / "net.onnx", jacobian=True)
    assert not (tmp_path / "net.onnx").exists()
