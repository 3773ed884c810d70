"""Networks called from compiled code: the same predictions, without memory, GIL or Python."""

import ctypes
import gc
import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest
import scipy
import scipy.integrate
from helpers import assert_same
from numba.core.errors import NumbaWarning, TypingError
from numba.core.runtime import _nrt_python, rtsys
from sklearn.exceptions import NotFittedError

import fastnn
from fastnn.backends import codes
from fastnn.backends.plan import MAX_COMPILED_UNITS

ALL_ACTIVATIONS = list(codes.ACTIVATIONS)  # one layer each


def make(sizes, **settings):
    """A network with biases, and rows for it."""
    net = fastnn.Network(sizes, random_state=0, backend="numpy", **settings)
    rng = np.random.default_rng(1)
    for b in net.biases:
        b[:] = rng.normal(size=b.shape)
    return net, rng.normal(size=(3, sizes[0])).astype(net.dtype)


def standardized(loss, dtype="float64"):
    """A network that has learned scales far from 0 and 1."""
    rng = np.random.default_rng(2)
    X = rng.normal(100.0, [1.0, 20.0, 0.1], (30, 3))
    y = rng.normal(-50.0, 7.0, (30, 2)) if loss == "squared_error" else np.arange(30) % 2
    net = fastnn.Network(
        [3, 5, 2], loss=loss, dtype=dtype, standardize=True, random_state=0, backend="numpy"
    )
    net.fit(X, y, epochs=5)
    return net, X.astype(dtype)[:3]


def expected(net, X, output="proba"):
    """What Python gives, a column an output."""
    if output == "logits":
        return net.predictor(net._inputs(X), False, None)
    if net.loss_name in codes.REGRESSION:
        return net.predict(X).reshape(len(X), -1)
    return net.predict_proba(X)[:, -net.n_outputs :]


def by_rows(predict, net, X):
    out = np.full((len(X), net.n_outputs), np.nan, net.dtype)
    for x, row in zip(X, out, strict=True):
        predict(x, row)
    return out


SHAPES = [  # one to six layers; narrower than a vector, a whole tile of them, tiles and a rest
    ([2, 3], "cross_entropy", "float64"),
    ([2, 8, 8, 8, 2], "cross_entropy", "float32"),
    ([3, 1, 1], "binary_cross_entropy", "float32"),
    ([5, 33, 4], "binary_cross_entropy", "float64"),
    ([1, 7, 9, 31, 65, 3, 2], "squared_error", "float64"),
    ([70, 600, 130, 10], "cross_entropy", "float32"),
    ([3, 5, 2], "poisson", "float32"),
    ([3, 5, 1], "quantile", "float64"),
]


@pytest.mark.parametrize(("sizes", "loss", "dtype"), SHAPES)
def test_numba_predict_equals_predict(sizes, loss, dtype):
    net, X = make(sizes, loss=loss, dtype=dtype)
    assert_same(by_rows(net.numba_predict(), net, X), expected(net, X), dtype)


@pytest.mark.parametrize(("dtype", "output"), [("float32", "proba"), ("float64", "logits")])
def test_numba_predict_of_all_activations(dtype, output):
    sizes = [4, *[6] * len(ALL_ACTIVATIONS), 3]
    net, X = make(sizes, activation=ALL_ACTIVATIONS, alpha=0.3, dtype=dtype)
    got = by_rows(net.numba_predict(output), net, X)
    assert_same(got, expected(net, X, output), dtype)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_numba_predict_includes_standardization(loss):
    net, X = standardized(loss)
    assert_same(by_rows(net.numba_predict(), net, X), expected(net, X), net.dtype)
    logits = by_rows(net.numba_predict("logits"), net, X)
    assert_same(logits, expected(net, X, "logits"), net.dtype)


def test_later_weight_changes_have_no_effect():
    net, X = make([2, 4, 2])
    before = expected(net, X)
    predict, function = net.numba_predict(), net.cfunc()
    net.fit(X, [0, 1, 0], epochs=3)
    assert np.abs(expected(net, X) - before).max() > 1e-4
    assert_same(by_rows(predict, net, X), before, "float32")
    assert_same(by_rows(as_python(function, net), net, X), before, "float32")


def test_nan_propagates_and_large_values_do_not_overflow():
    net, X = make([2, 4, 3], activation="relu")
    X[0, 1] = np.nan
    X[1:] *= 1e30
    got = by_rows(net.numba_predict(), net, X)
    assert np.isnan(got[0]).all()
    assert_same(got[1:], expected(net, X[1:]), "float32")


@numba.njit(parallel=True, nogil=True)
def all_rows(predict, X, out):
    for i in numba.prange(len(X)):
        predict(X[i], out[i])


@numba.njit(nogil=True)
def again_and_again(predict, times, X, out):
    for _ in range(times):
        for i in range(len(X)):
            predict(X[i], out[i])


def test_numba_predict_inside_prange():
    net, _ = make([2, 8, 8, 8, 2])
    X = np.random.default_rng(0).normal(size=(500, 2)).astype("float32")
    out = np.empty((500, 2), "float32")
    all_rows(net.numba_predict(), X, out)
    assert_same(out, expected(net, X), "float32")


def test_calls_allocate_no_memory():
    net, X = make([2, 8, 300, 2])
    predict, out = net.numba_predict(), np.empty((3, 2), "float32")

    def taken(times):
        before = rtsys.get_allocation_stats()
        again_and_again(predict, times, X, out)
        return np.subtract(rtsys.get_allocation_stats(), before).tolist()

    _nrt_python.memsys_enable_stats()
    try:
        taken(1)  # compiles
        # What Python's two arrays take on the way in, once. 300 units on the stack a call: were
        # they not given back, 60 MB of it would be gone.
        assert taken(1) == taken(50_000 // 3) == [2, 2, 2, 2]
    finally:
        _nrt_python.memsys_disable_stats()


def test_calls_from_many_threads():
    net, _ = make([2, 20, 20, 2])
    X = np.random.default_rng(0).normal(size=(200, 2)).astype("float32")
    predict = net.numba_predict()

    def work(seed):
        out = np.empty((200, 2), "float32")
        again_and_again(predict, 20, X, out)
        return out

    with ThreadPoolExecutor(4) as pool:
        for out in pool.map(work, range(8)):
            assert_same(out, expected(net, X), "float32")


def test_callers_are_not_cached(tmp_path, monkeypatch):
    # its code would hold addresses of this process
    net, X = make([2, 3, 2])
    path = tmp_path / "caller.py"
    path.write_text(
        "import numba\n"
        "def make(predict):\n"
        "    @numba.njit(cache=True)\n"
        "    def call(x, out):\n"
        "        predict(x, out)\n"
        "    return call\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import caller

    call = caller.make(net.numba_predict())
    with pytest.warns(NumbaWarning, match="Cannot cache"):
        call(X[0], np.empty(2, "float32"))


@pytest.mark.parametrize(
    ("x", "out", "message"),
    [
        (np.zeros(2), np.zeros(2, "f4"), "x must be a C-contiguous 1-D array of float32"),
        (np.zeros((1, 2), "f4"), np.zeros(2, "f4"), "x must be"),
        (np.zeros(4, "f4")[::2], np.zeros(2, "f4"), "x must be"),
        (np.zeros(2, "f4"), np.zeros(2), "out must be a C-contiguous writeable 1-D array"),
    ],
)
def test_wrong_types_raise_typing_errors(x, out, message):
    net, _ = make([2, 2])
    with pytest.raises(TypingError, match=message):
        net.numba_predict()(x, out)


def test_read_only_inputs_are_accepted():
    net, X = make([2, 2])
    predict, out = net.numba_predict(), np.zeros(2, "f4")
    X.setflags(write=False)
    predict(X[0], out)
    assert_same(out[None], expected(net, X[:1]), "float32")
    out.setflags(write=False)
    with pytest.raises(TypingError, match="writeable"):
        predict(X[0], out)


def test_wrong_lengths_raise():
    predict = make([2, 3])[0].numba_predict()
    with pytest.raises(ValueError, match=r"x must have shape \(2,\)"):
        predict(np.zeros(3, "f4"), np.zeros(3, "f4"))
    with pytest.raises(ValueError, match=r"out must have shape \(3,\)"):
        predict(np.zeros(2, "f4"), np.zeros(2, "f4"))


def test_invalid_arguments_raise():
    net, _ = make([2, 2])
    with pytest.raises(ValueError, match=r"output must be.*'labels'"):
        net.numba_predict("labels")
    with pytest.raises(ValueError, match="signature must be"):
        net.cfunc("double")
    with pytest.raises(ValueError, match="one output"):
        net.cfunc("integrand")
    wide, _ = make([1, MAX_COMPILED_UNITS + 1, 1], loss="squared_error")
    with pytest.raises(ValueError, match=f"up to {MAX_COMPILED_UNITS} units"):
        wide.numba_predict()


def test_estimators_have_numba_predict_and_cfunc():
    X = np.random.default_rng(0).normal(size=(40, 3))
    model = fastnn.MLPClassifier((5,), max_iter=200, tol=1.0, random_state=0)
    with pytest.raises(NotFittedError):
        model.numba_predict()
    model.fit(X, X[:, 0] > 0)
    proba = model.predict_proba(X[:3])[:, 1:]
    for predict in (model.numba_predict(), as_python(model.cfunc(), model._network())):
        assert_same(by_rows(predict, model._network(), X[:3]), proba, "float64")


# --- C functions --------------------------------------------------------------------


def as_python(function, net):
    """A C function (x, out) called through its bare address."""
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(function.address)
    return lambda x, out: call(x.ctypes.data, out.ctypes.data)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cfunc_equals_predict(dtype):
    net, X = make([3, 9, 4], dtype=dtype)
    assert_same(by_rows(as_python(net.cfunc(), net), net, X), expected(net, X), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cfunc_as_integrand(dtype):
    net, _ = make([2, 6, 1], loss="squared_error", dtype=dtype)
    function = net.cfunc("integrand")
    low_level = scipy.LowLevelCallable(function.ctypes)
    got, _ = scipy.integrate.nquad(low_level, [(0, 1), (-1, 1)], opts={"epsabs": 1e-6})
    # Gauss and Legendre's rule with 20 points a side is exact to far below the tolerance
    nodes, weights = np.polynomial.legendre.leggauss(20)
    a, b = np.meshgrid((nodes + 1) / 2, nodes, indexing="ij")
    values = net.predict(np.column_stack([a.ravel(), b.ravel()])).reshape(a.shape)
    assert got == pytest.approx(weights @ values @ weights / 2, abs=1e-5)
    assert np.isnan(function.ctypes(3, (ctypes.c_double * 3)()))


def test_compiling_does_not_warn():
    net, X = make([2, 3, 2], activation="gelu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_rows(net.numba_predict(), net, X)


def test_cfunc_lives_as_long_as_its_ctypes():
    net, X = make([2, 4, 2])
    call = net.cfunc().ctypes
    gc.collect()
    out = np.empty(2, "f4")
    pointer = ctypes.POINTER(ctypes.c_float)
    call(X[0].ctypes.data_as(pointer), out.ctypes.data_as(pointer))
    assert_same(out[None], expected(net, X[:1]), "float32")


# --- examples and Cython ------------------------------------------------------------

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_agents_example():
    main = runpy.run_path(str(EXAMPLES / "agents_in_numba.py"))["main"]
    assert main(n_agents=500) < 0.2  # from 2.3 at the start


def test_differential_equation_example():
    angle, integral = runpy.run_path(str(EXAMPLES / "ode_by_network.py"))["main"]()
    # with other initial weights up to 6e-4 and 2e-4
    assert angle < 5e-3  # of swings of 2
    assert integral < 1e-3  # of 2


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """The Cython example, built against the installed package."""
    folder = tmp_path_factory.mktemp("control") / "example"
    shutil.copytree(EXAMPLES / "cython_control", folder)
    built = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=folder,
        env=os.environ | {"CFLAGS": "-O0"},  # quicker to build
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        if os.environ.get("CI") or shutil.which("cc"):
            pytest.fail(built.stdout + built.stderr)
        pytest.skip("no C compiler")
    (path,) = [p for p in folder.iterdir() if p.suffix in (".so", ".pyd")]
    spec = importlib.util.spec_from_file_location("control", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_cython_extension_calls_cfunc(control):
    net, _ = make([2, 8, 8, 8, 2])
    X = np.random.default_rng(0).normal(size=(1000, 2)).astype("float32")
    function = net.cfunc()

    def work(_):
        out = np.empty((1000, 2), "float32")
        control.predict_rows(function, X, out)
        return out

    with ThreadPoolExecutor(3) as pool:
        for out in pool.map(work, range(6)):
            assert_same(out, expected(net, X), "float32")


def test_jacobians_in_cython(control):
    net, _ = make([2, 8, 8, 8, 2])
    X = np.random.default_rng(0).normal(size=(100, 2)).astype("float32")
    out, jac = np.empty((100, 2), "float32"), np.empty((100, 2, 2), "float32")
    function = net.cfunc("value_and_jacobian", output="logits")
    control.derive_rows(function, X, out, jac)
    # sums of at most 8 products in float32, three layers deep
    np.testing.assert_allclose(jac, net.jacobian(X, of="logits"), rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match=r"const float.*got .void \(const float \*, float \*\)"):
        control.derive_rows(net.cfunc(), X, out, jac)


def test_cython_sees_the_type(control):
    X, out = np.zeros((1, 2), "f4"), np.zeros((1, 2), "f4")
    net, _ = make([2, 2], dtype="float64")
    with pytest.raises(TypeError, match=r"const float.*got .void \(const double"):
        control.predict_rows(net.cfunc(), X, out)
    with pytest.raises(TypeError, match=r"must be net.cfunc\(\).*got 3"):
        control.predict_rows(3, X, out)
