"""Elementary functions of the compiled backends against higher precision.

float32: NumPy in float64, over a million numbers spread over all bit patterns. float64: mpmath
with 40 digits. A ULP is the distance to the next number of the dtype at the true value.
"""

from functools import cache

import mpmath as mp
import numpy as np
import pytest
from scipy.special import expit, ndtr

# normal_cdf: the argument of its polynomial is a quotient with three roundings, and the polynomial
# has a logarithmic derivative of 1.5 there.
MAX_ULP = {"normal_cdf": 8}
USUAL_ULP = 4

DTYPES = {"float32": np.float32, "float64": np.float64}

# float64 reference for float32; mpmath's; domain, whose lower end may depend on the dtype.
FUNCTIONS = {
    "exp": (np.exp, mp.exp, (-np.inf, np.inf)),
    "expm1": (np.expm1, mp.expm1, (-np.inf, np.inf)),
    "tanh": (np.tanh, mp.tanh, (-np.inf, np.inf)),
    "sigmoid": (expit, lambda x: 1 / (1 + mp.exp(-x)), (-np.inf, np.inf)),
    "log": (np.log, mp.log, (None, np.inf)),
    "log1p": (np.log1p, mp.log1p, (0.0, 1.0)),
    "softplus": (lambda x: np.logaddexp(0, x), lambda x: mp.log1p(mp.exp(x)), (-np.inf, np.inf)),
    "normal_cdf": (ndtr, lambda x: mp.erfc(-x / mp.sqrt(2)) / 2, (None, np.inf)),
}
# Where the results are the smallest normal numbers.
LOWEST = {
    "log": {dtype: np.finfo(dtype).tiny for dtype in DTYPES},
    "normal_cdf": {"float32": -12.9, "float64": -37.4},
}


def spread(dtype, n):
    """Finite numbers of all magnitudes, denormal ones included: every k-th bit pattern."""
    integer = {"float32": np.uint32, "float64": np.uint64}[dtype]
    largest = int(DTYPES[dtype](np.inf).view(integer))
    patterns = (np.arange(n, dtype=object) * (largest // n)).astype(integer)
    positive = patterns.view(DTYPES[dtype])
    info = np.finfo(dtype)
    ends = np.array([0.0, info.smallest_subnormal, info.tiny, info.max, info.eps, 1.0], dtype)
    return np.concatenate([-positive[1:], positive, ends, -ends[1:]])


@cache
def samples(name, dtype):
    """Arguments, and the true values as pairs: rounded to float64, and the rest."""
    in_float64, exactly, (low, high) = FUNCTIONS[name]
    low = LOWEST[name][dtype] if low is None else low
    many = 500_000 if dtype == "float32" else 700
    # where the functions bend; where exp leaves the range of each dtype
    ranges = ((-1, 1), (-20, 20), (-110, 95), (-750, 715))
    dense = [np.linspace(*ends, many // 2).astype(dtype) for ends in ranges]
    x = np.concatenate([spread(dtype, many), *dense])
    x = np.unique(x[(x >= low) & (x <= high)])
    if dtype == "float32":
        with np.errstate(all="ignore"):
            true = in_float64(x.astype(np.float64))
        return x, true, np.zeros_like(true)
    pairs = []
    with mp.workdps(40):
        for number in x.tolist():
            y = exactly(mp.mpf(max(number, -1e6))) if number < 1e6 or name == "log" else None
            if y is None:  # what mpmath would need years for
                y = {"exp": mp.inf, "expm1": mp.inf, "softplus": mp.mpf(number)}.get(
                    name, mp.mpf(1)
                )
            rounded = float(y)
            pairs.append((rounded, float(y - rounded) if np.isfinite(rounded) else 0.0))
    true, rest = np.array(pairs).T
    return x, true, rest


def call(kernels, name, x):
    out = np.full_like(x, np.nan)
    x = x.copy()
    x.setflags(write=False)
    kernels.apply_elementary(name, x, out)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_in_ulp(compiled, name, dtype):
    x, true, rest = samples(name, dtype)
    got = call(compiled, name, x)
    assert not np.isnan(got).any()
    with np.errstate(over="ignore"):
        rounded = true.astype(dtype)
    finite = np.isfinite(rounded)
    # beyond the range: infinity, or one of the largest numbers where the truth is hardly more
    largest = np.finfo(dtype).max
    assert (got[~finite] >= largest * (1 - 4 * np.finfo(dtype).eps)).all()
    clipped = np.minimum(got[finite], largest).astype(np.float64)
    error = np.abs((clipped - true[finite]) - rest[finite])
    # of the largest number's own distance there is none
    size = np.minimum(np.abs(rounded[finite]), DTYPES[dtype](0.75) * largest)
    ulp = np.spacing(size).astype(np.float64)
    worst = np.argmax(error / ulp)
    limit = MAX_ULP.get(name, USUAL_ULP)
    assert error[worst] <= limit * ulp[worst], f"{name}({x[finite][worst]!r})"


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_odd_and_bounded(compiled, dtype):
    x = spread(dtype, 100_000)
    y = call(compiled, "tanh", x)
    np.testing.assert_array_equal(call(compiled, "tanh", -x), -y)
    assert (np.abs(y) <= 1).all()
    assert np.signbit(call(compiled, "tanh", np.array([-0.0], dtype)))[0]
    assert (np.abs(y)[np.abs(x) > 30] == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_stay_within_bounds(compiled, dtype):
    x = spread(dtype, 100_000)
    sigmoid = call(compiled, "sigmoid", x)
    assert ((sigmoid >= 0) & (sigmoid <= 1)).all()
    assert call(compiled, "sigmoid", np.zeros(3, dtype)).tolist() == [0.5] * 3
    assert (call(compiled, "exp", x) >= 0).all()
    assert (call(compiled, "expm1", x) >= -1).all()
    softplus = call(compiled, "softplus", x)
    assert (softplus >= np.maximum(x, 0)).all()
    assert call(compiled, "exp", np.zeros(3, dtype)).tolist() == [1.0] * 3


INF, NAN = float("inf"), float("nan")
ENDS = {
    "exp": ((INF, INF), (-INF, 0.0), (NAN, NAN)),
    "expm1": ((INF, INF), (-INF, -1.0), (NAN, NAN)),
    "tanh": ((INF, 1.0), (-INF, -1.0), (NAN, NAN)),
    "sigmoid": ((INF, 1.0), (-INF, 0.0), (NAN, NAN)),
    "log": ((INF, INF), (NAN, NAN), (1.0, 0.0)),
    "log1p": ((NAN, NAN), (0.0, 0.0)),
    "softplus": ((INF, INF), (-INF, 0.0), (NAN, NAN)),
    "normal_cdf": ((INF, 1.0), (-INF, 0.0), (NAN, NAN)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_infinity_and_nan_propagate(compiled, name, dtype):
    # at every place of a vector and of what is left behind the last whole one
    for n in (1, 5, 16, 67):
        for x, expected in ENDS[name]:
            y = call(compiled, name, np.full(n, x, dtype))
            np.testing.assert_array_equal(y, np.full(n, expected, dtype))
        for place in range(n):
            x = np.full(n, 0.5, dtype)
            x[place] = np.nan
            assert np.isnan(call(compiled, name, x)).nonzero()[0].tolist() == [place]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_independent_of_position_in_array(compiled, name, dtype):
    # whole vectors and what is left behind the last one compute the same
    low, high = FUNCTIONS[name][2]
    x = np.linspace(max(low or 0.1, -9), min(high, 9), 97).astype(dtype)
    x.setflags(write=False)
    whole = call(compiled, name, x)
    np.testing.assert_array_equal([call(compiled, name, x[i : i + 1])[0] for i in range(97)], whole)
