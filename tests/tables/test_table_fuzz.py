"""Any table becomes finite numbers, the same again out of the state that a file keeps."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastnn.tables import Encoding

TEXT = st.text(max_size=6)
CELLS = (
    st.floats(allow_nan=True, allow_infinity=False, width=32),
    st.integers(-(2**40), 2**40),
    st.booleans(),
    TEXT,
    st.sampled_from(["a", "b", "yes", "no", "NA", "", "1", "2,5", "$3", "2024-02-29", "x"]),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.one_of(st.integers(0, 3), TEXT, st.none()),
)


@st.composite
def tables(draw):
    n = draw(st.integers(1, 30))
    names = draw(st.lists(TEXT, min_size=1, max_size=5, unique=True))
    columns = {}
    for name in names:
        cell = draw(st.sampled_from(CELLS))
        columns[name] = draw(st.lists(st.one_of(st.none(), cell), min_size=n, max_size=n))
    return columns


def tried(function, *arguments, **options):
    """What a function gives, and what it says if it refuses."""
    try:
        return function(*arguments, **options), None
    except ValueError as error:
        return None, str(error)


@pytest.mark.filterwarnings("ignore:column .*counted as missing")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), tables(), st.sampled_from(["robust-clip", "standard", None]))
def test_any_table(table, other, scaling):
    encoding, refusal = tried(Encoding.fit, table, scaling=scaling)
    if encoding is None:
        assert "no column is left" in refusal
        return
    X = encoding.transform(table)
    n = len(next(iter(table.values())))
    assert X.shape == (n, encoding.n_outputs) == (n, len(set(encoding.names)))
    assert np.isfinite(X).all()
    state, arrays = encoding.to_state()
    again = Encoding.from_state(json.loads(json.dumps(state)), arrays)
    np.testing.assert_array_equal(again.transform(table), X)
    assert again.summary() == encoding.summary()
    # rows do not depend on each other
    one = {name: values[-1:] for name, values in table.items()}
    found, refusal = tried(again.transform, one)
    if found is None:  # a column of mixed types whose last value is of another kind
        assert "are expected" in refusal
    else:
        np.testing.assert_allclose(found, X[-1:], rtol=1e-9, atol=1e-12)
    # another table with the same columns is encoded or refused in one line
    size = len(next(iter(other.values())))
    mixed = {name: (list(values) * size)[:size] for name, values in table.items()}
    mixed |= {name: values for name, values in other.items() if name in table}
    found, refusal = tried(again.transform, mixed)
    if found is None:
        assert "\n" not in refusal
    else:
        assert np.isfinite(found).all()


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_extreme_numbers_are_held_within_three(scale):
    x = np.array([-5.0, 1.0, 2.0, 3.0, 1e8])
    table = {"x": x * scale, "constant but one": [scale, scale, scale, scale, -scale]}
    X = Encoding.fit(table).transform(table)
    assert np.isfinite(X).all()
    assert np.abs(X).max() <= 3
    assert np.sign(X[:, 0]).tolist() == [-1, -1, 0, 1, 1] or scale < 1
    far = Encoding.fit({"x": x}).transform({"x": [1.7e308, -1.7e308]})
    np.testing.assert_allclose(far[:, 0], [3, -3])
