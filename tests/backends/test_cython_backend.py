"""What only the Cython backend has: modules by dtype and vector level, the header of codes."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import load_backend, make_problem, train

from fastnn.backends import codes
from fastnn.backends.interface import Rule

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src_cython"


@pytest.fixture
def cython():
    return load_backend("cython")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_only_the_dtype_in_use_is_loaded(cython, dtype):
    code = (
        "import sys, fastnn\n"
        f"net = fastnn.Network([2, 3, 2], backend='cython', dtype={dtype!r}, random_state=0)\n"
        "net.fit([[0, 0], [0, 1], [1, 0]], [0, 1, 1], epochs=3)\n"
        "net.predict([[0, 0]])\n"
        "print([name for name in sys.modules if 'backends._cython_' in name])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(ast.literal_eval(result.stdout.splitlines()[-1]))
    assert loaded == {
        "fastnn.backends._cython_processor",
        f"fastnn.backends._cython_{cython.LEVEL}_{dtype}",
    }


def test_vector_levels_define_all_kernels(cython):
    for name in cython.levels():
        level = cython.load_level(name)
        assert level.level == name
        assert all(
            hasattr(level, kernel)
            for kernel in cython.__all__
            if kernel.islower() and kernel not in ("levels", "load_level")
        )
    with pytest.raises(ImportError, match="'sse9' is not available"):
        cython.load_level("sse9")


def test_wrong_dtypes_raise(cython):
    for dtype in (np.float16, np.int32, np.int64, np.complex64):
        with pytest.raises(TypeError, match=r"dtype|float32 or float64"):
            cython.output_transform(codes.CROSS_ENTROPY, np.ones((2, 3), dtype))
    params = np.ones(3, np.float32)
    rule = Rule(codes.SGD, np.zeros((1, 7)), 0.0)
    with pytest.raises(TypeError, match="grads has the wrong dtype, float64"):
        cython.update(np.ones(3), 0.0, rule, 0.1, 1, params, np.empty((0, 3), np.float32))
    with pytest.raises(ValueError, match="grads has 2 elements; 3 are needed"):
        cython.update(params[:2], 0.0, rule, 0.1, 1, params, np.empty((0, 3), np.float32))
    with pytest.raises(ValueError, match="C-contiguous"):
        cython.output_transform(codes.CROSS_ENTROPY, np.ones((4, 6), np.float32)[:, ::2])


def test_vector_levels_agree(cython):
    # the same formulas: an odd network, several blocks
    problem = make_problem([5, 8, 3], "tanh", samples=1291, dtype="float64")
    results = [train(cython.load_level(name), problem, steps=5).params for name in cython.levels()]
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-12)


# --- coefficients of the elementary functions


def committed(name):
    """Coefficients in maths.h, by dtype."""
    text = (SOURCE / "maths.h").read_text()
    bodies = re.findall(rf"{name}\[\] = \{{(.*?)\}};", text, re.DOTALL)
    values = [
        [
            float(np.prod([float(x.rstrip("f ")) for x in term.split("*")]))
            for term in body.split(",")
        ]
        for body in bodies
    ]
    return dict(zip(("float64", "float32"), values, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["EXP", "COTH", "LOG", "LOG1P"])
def test_coefficients_match_the_script(name, dtype):
    script = runpy.run_path(str(SOURCE / "coefficients.py"))
    polynomial = committed(name)[dtype]
    if name == "COTH":  # the script finds those behind the first, which is 1
        assert polynomial.pop(0) == 1
    found = script["coefficients"](name, dtype)
    assert len(polynomial) == len(found)
    # Rounding the coefficients adds more to the error than they differ by: in the last digit.
    tolerance = 1.01 if dtype == "float32" else 1.1
    error = script["largest_error"](name, found)
    assert script["largest_error"](name, polynomial) <= tolerance * error
