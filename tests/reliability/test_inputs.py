"""Data of every kind: the answer that a plain C-contiguous array gives, or an error that names it.

The public functions that take samples, targets or weights, times what people give them.
"""

import functools
import warnings
from decimal import Decimal
from fractions import Fraction

import hypothesis
import numpy as np
import pytest
import scipy.sparse as sp
from attacks import cases
from hypothesis import strategies as st

import fastnn

rng = np.random.default_rng(0)
# Whole numbers, which every dtype holds.
X = rng.integers(-3, 4, (24, 3)).astype(float)
Y = (X[:, 0] > 0).astype(int)
VALUES = X @ [1.0, 2.0, 3.0]
WORDS = np.array(["no", "yes"])
SETTINGS = {"backend": "numpy", "random_state": 0}

# --- calls ------------------------------------------------------------------------


def network(**arguments):
    return fastnn.Network([3, 4, 2], **SETTINGS | arguments)


def regression(**arguments):
    return fastnn.Network([3, 4, 1], loss="squared_error", **SETTINGS | arguments)


def fitted(net, X, y, **arguments):
    net.fit(X, y, epochs=3, **arguments)
    return net.params.copy()


def estimator(kind=fastnn.MLPClassifier):
    # float64 whatever the samples are
    return kind(hidden_layer_sizes=(4,), max_iter=3, dtype="float64", **SETTINGS)


def params_of(model):
    return model._network().params.copy()


def many(X, y):
    net = network()
    fastnn.fit_many([net], X, y, epochs=3)
    return net.params.copy()


TRAINED, MODEL = network(), estimator()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    TRAINED.fit(X, Y, epochs=2)
    MODEL.fit(X, Y)

OF_SAMPLES = {
    "predict": lambda v: TRAINED.predict(v),
    "predict_proba": lambda v: TRAINED.predict_proba(v),
    "score": lambda v: TRAINED.score(v, Y),
    "loss": lambda v: TRAINED.loss(v, Y),
    "gradients": lambda v: TRAINED.gradients(v, Y),
    "fit": lambda v: fitted(network(), v, Y),
    "fit of a regression": lambda v: fitted(regression(), v, VALUES),
    "validation_data": lambda v: fitted(network(), X, Y, validation_data=(v, Y)),
    "fit_many": lambda v: many(v, Y),
    "MLPClassifier.fit": lambda v: params_of(estimator().fit(v, Y)),
    "MLPClassifier.predict_proba": lambda v: MODEL.predict_proba(v),
    "MLPClassifier.score": lambda v: MODEL.score(v, Y),
    "MLPRegressor.fit": lambda v: params_of(estimator(fastnn.MLPRegressor).fit(v, VALUES)),
    "partial_fit": lambda v: params_of(estimator().partial_fit(v, Y, classes=[0, 1])),
}
OF_LABELS = {
    "fit": lambda v: fitted(network(), X, v),
    "loss": lambda v: TRAINED.loss(X, v),
    "score": lambda v: TRAINED.score(X, v),
    "gradients": lambda v: TRAINED.gradients(X, v),
    "fit_many": lambda v: many(X, v),
    "MLPClassifier.fit": lambda v: params_of(estimator().fit(X, v)),
    "MLPClassifier.score": lambda v: MODEL.score(X, v),
}
OF_VALUES = {
    "fit": lambda v: fitted(regression(), X, v),
    "MLPRegressor.fit": lambda v: params_of(estimator(fastnn.MLPRegressor).fit(X, v)),
    "score": lambda v: regression().score(X, v),
    "loss": lambda v: regression().loss(X, v),
}
OF_WEIGHTS = {
    "fit": lambda v: fitted(network(), X, Y, sample_weight=v),
    "loss": lambda v: TRAINED.loss(X, Y, v),
    "score": lambda v: TRAINED.score(X, Y, v),
    "MLPClassifier.fit": lambda v: params_of(estimator().fit(X, Y, sample_weight=v)),
}


@pytest.fixture(autouse=True)
def _quiet():
    """scikit-learn's warnings of convergence and of columns are not what is looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@functools.cache
def plain(call):
    """The answer of a call to plain arrays."""
    argument = {
        **dict.fromkeys(OF_SAMPLES.values(), X),
        **dict.fromkeys(OF_LABELS.values(), Y),
        **dict.fromkeys(OF_VALUES.values(), VALUES),
        **dict.fromkeys(OF_WEIGHTS.values(), Y + 1.0),
    }[call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(argument)


def same(call, value):
    np.testing.assert_array_equal(call(value), plain(call))


# --- layouts, by Hypothesis ---------------------------------------------------------

DTYPES = [*("f2", "f4", "f8", "g", "i1", "i2", "i4", "i8", ">f4", ">f8", ">i2", ">i8"), "O"]


@st.composite
def laid_out(draw, array, dtypes=DTYPES):
    """An array of the same numbers in another dtype, order, stride, place and kind of container."""
    made = array.astype(draw(st.sampled_from(dtypes)))
    way = draw(st.sampled_from(["C", "F", "strided", "backwards", "offset", "transposed"]))
    if way == "F":
        made = np.asfortranarray(made)
    elif way == "strided":
        step = draw(st.integers(2, 5))
        made = np.repeat(made, step, axis=-1)[..., ::step]
    elif way == "backwards":
        made = made[::-1].copy()[::-1]
    elif way == "offset" and made.dtype != object:
        raw = np.zeros(made.nbytes + 1, np.uint8)
        odd = raw[1:].view(made.dtype).reshape(made.shape)  # not aligned
        odd[...] = made
        made = odd
    elif way == "transposed":
        made = made.T.copy().T
    if draw(st.booleans()):
        made.flags.writeable = False
    kind = draw(st.sampled_from(["array", "array", "masked", "subclass", "list"]))
    if kind == "masked":
        return np.ma.array(made)
    if kind == "subclass":
        return made.view(type("Sub", (np.ndarray,), {}))
    if kind == "list":
        return made.tolist()
    return made


@pytest.mark.parametrize("call", OF_SAMPLES)
@hypothesis.settings(max_examples=cases(12, 500))
@hypothesis.given(value=laid_out(X))
def test_layouts_of_samples(call, value):
    same(OF_SAMPLES[call], value)


@pytest.mark.parametrize("call", OF_LABELS)
@hypothesis.settings(max_examples=cases(12, 500))
@hypothesis.given(value=laid_out(Y, [each for each in DTYPES if each != "O"]))
def test_layouts_of_labels(call, value):
    same(OF_LABELS[call], value)


@pytest.mark.parametrize("call", OF_VALUES)
@hypothesis.settings(max_examples=cases(12, 500))
@hypothesis.given(value=laid_out(VALUES))
def test_layouts_of_values(call, value):
    same(OF_VALUES[call], value)


@pytest.mark.parametrize("call", OF_WEIGHTS)
@hypothesis.settings(max_examples=cases(12, 500))
@hypothesis.given(value=laid_out(Y + 1.0))
def test_layouts_of_weights(call, value):
    same(OF_WEIGHTS[call], value)


@hypothesis.settings(max_examples=cases(40, 2000))
@hypothesis.given(
    shape=st.lists(st.sampled_from([0, 1, 2, 3, 24, 25]), max_size=4).map(tuple),
    call=st.sampled_from(sorted(OF_SAMPLES)),
)
def test_shapes_of_samples(shape, call):
    """An answer for three features and as many samples as there are targets, else an error."""
    value = np.ones(shape)
    alone = "predict" in call  # without targets
    any_width = call in ("MLPClassifier.fit", "MLPRegressor.fit", "partial_fit")  # they learn it
    width = len(shape) == 2 and (shape[1] == 3 or (any_width and shape[1] > 0))
    if width and (shape[0] == 24 or (alone and shape[0] > 0)):
        OF_SAMPLES[call](value)
        return
    with pytest.raises(ValueError, match=r"X|sample|array|y has|feature|dimension"):
        OF_SAMPLES[call](value)


# --- containers ---------------------------------------------------------------------


def frames():
    """What other libraries hold the same numbers in."""
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    arrow = pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(X)
    return {
        "frame": frame,
        "nullable integers": pandas.DataFrame(X.astype(int)).astype("Int64"),
        "nullable floats": frame.astype("Float64"),
        "Arrow's floats": frame.astype("float64[pyarrow]"),
        "categories": frame.astype("category"),
        "sparse frame": frame.astype(pandas.SparseDtype("float", 0.0)),
        "other index": frame.set_index(np.arange(24)[::-1]),
        "polars": polars.DataFrame(X),
        "pyarrow": arrow.table({str(k): X[:, k] for k in range(3)}),
        "decimals": np.array([[Decimal(int(v)) for v in row] for row in X]),
        "fractions": np.array([[Fraction(int(v)) for v in row] for row in X]),
        "tensor": pytest.importorskip("torch").tensor(X),
    }


@pytest.mark.parametrize("call", OF_SAMPLES)
def test_containers_of_samples(call):
    for value in frames().values():
        same(OF_SAMPLES[call], value)


@pytest.mark.parametrize("call", OF_LABELS)
def test_containers_of_labels(call):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    series = pandas.Series(Y)
    for value in (
        series,
        series.set_axis(np.arange(24)[::-1]),
        series.astype("Int64"),
        series.astype("category"),
        series.astype("int64[pyarrow]"),
        polars.Series(Y),
        Y > 0,
        Y[:, None],
    ):
        same(OF_LABELS[call], value)
    if call.endswith("fit"):  # the classes are others, the numbers the same
        words = pandas.Series(WORDS[Y])
        for value in (WORDS[Y], words, words.astype("category"), words.astype("string")):
            same(OF_LABELS[call], value)


FORMATS = ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
SPARSE = ("predict", "predict_proba", "score", "loss")


@pytest.mark.parametrize("call", OF_SAMPLES)
def test_sparse_formats(call):
    """As the plain array, or the advice to make one."""
    takes_sparse = call in SPARSE or call.startswith(("MLP", "partial"))
    for kind in FORMATS:
        for made in (getattr(sp, f"{kind}_array"), getattr(sp, f"{kind}_matrix")):
            if takes_sparse:
                # SciPy multiplies the first layer: another order of sums
                np.testing.assert_allclose(
                    OF_SAMPLES[call](made(X)), plain(OF_SAMPLES[call]), rtol=1e-5, atol=1e-6
                )
            else:
                with pytest.raises(ValueError, match="sparse matrix"):
                    OF_SAMPLES[call](made(X))


# --- what has no answer ---------------------------------------------------------------


def unusable_samples():
    pandas = pytest.importorskip("pandas")
    torch = pytest.importorskip("torch")
    missing = pandas.DataFrame(X.astype(int)).astype("Int64")
    missing.iloc[0, 0] = pandas.NA
    of_objects = X.astype(object)
    of_objects[0, 0] = None
    return {
        "complex": X.astype(complex),
        "text": X.astype(str),
        "words": np.full((24, 3), "a"),
        "bytes": X.astype("S"),
        "dates": X.astype(int).astype("M8[s]"),
        "durations": X.astype(int).astype("m8[s]"),
        "a frame with dates": pandas.DataFrame(
            {"a": X[:, 0], "b": X[:, 1], "c": pandas.Timestamp(0)}
        ),
        "None": of_objects,
        "fields": np.zeros(24, [("a", "f8")]),
        "masked": np.ma.array(X, mask=X > 2),
        "missing": missing,
        "missing in a sparse frame": pandas.DataFrame(np.where(X > 2, np.nan, X)),
        "whole numbers beyond all": X.astype(int).astype(object) * 10**400,
        "infinity": np.where(X > 2, np.inf, X),
        "no samples": X[:0],
        "no features": X[:, :0],
        "nothing": None,
        "a number": 3.0,
        "a word": "abc",
        "a dictionary": {"a": [1, 2]},
        "a generator": (row for row in X),
        "a set": {1, 2},
        "ragged": [[1, 2, 3], [1, 2]],
        "a tensor in a computation": torch.tensor(X, requires_grad=True),
        "bfloat16": torch.tensor(X, dtype=torch.bfloat16),
        "sparse and complex": sp.csr_array(X.astype(complex)),
    } | damaged_sparse()


def damaged_sparse():
    """Sparse samples whose index arrays do not fit: SciPy's own conversions may crash of them."""
    damaged = {}
    for kind, index in (("csr", 3), ("csr", -1), ("csc", 24), ("csc", 10**8), ("bsr", -(10**8))):
        rows = getattr(sp, f"{kind}_array")(X)
        rows.indices[1] = index
        damaged[f"{kind} with index {index}"] = rows
    for kind, start in (("csr", 10**6), ("csr", -4), ("csc", 1)):
        rows = getattr(sp, f"{kind}_matrix")(X)
        rows.indptr[2] = start
        damaged[f"{kind} with start {start}"] = rows
    short = sp.csr_array(X)
    short.data = short.data[:5]
    coordinates, lists, uneven = sp.coo_array(X), sp.lil_array(X), sp.lil_array(X)
    coordinates.row[3] = 10**6
    lists.rows[2][-1] = 3
    uneven.data[2].pop()
    return damaged | {"short": short, "COO": coordinates, "LIL": lists, "uneven": uneven}


# Beside "X" scikit-learn says "Input", "array", "Complex data" and, of text, "dtype='numeric'".
NAMED = r"X|validation_data|Input|array|Complex|numeric|sparse|float\(\)"


@pytest.mark.parametrize("call", OF_SAMPLES)
def test_unusable_samples(call):
    before = TRAINED.params.copy()
    unusable = unusable_samples()
    if call.startswith("partial") or call.endswith(".fit"):
        for name in ("text", "bytes"):  # numbers as text become numbers, as in scikit-learn
            same(OF_SAMPLES[call], unusable.pop(name))
    for value in unusable.values():
        with pytest.raises((ValueError, TypeError), match=NAMED):
            OF_SAMPLES[call](value)
    np.testing.assert_array_equal(TRAINED.params, before)


def unusable_targets():
    pandas = pytest.importorskip("pandas")
    return {
        "complex": Y.astype(complex),
        "void": np.zeros(24, "V4"),
        "masked": np.ma.array(Y, mask=Y > 0),
        "missing": pandas.Series(Y).astype("Int64").mask(np.arange(24) == 3),
        "NaN": np.where(np.arange(24) == 3, np.nan, Y),
        "infinity": np.where(Y, np.inf, 0),
        "None": np.where(np.arange(24) == 3, None, Y.astype(object)),
        "several types": np.array([1, "a"] * 12, object),
        "too few": Y[:-1],
        "too many": np.r_[Y, 0],
        "none": Y[:0],
        "a number": 1,
        "nothing": None,
        "a word": "abc",
        "sparse": sp.csr_array(Y[:, None]),
        "three axes": np.zeros((24, 1, 1)),
    }


OF_Y = r"(?i)y\b|y_true|complex|label|target|class|length|samples|dimension|array"


@pytest.mark.parametrize("call", OF_LABELS)
def test_unusable_labels(call):
    for value in unusable_targets().values():
        with pytest.raises((ValueError, TypeError), match=OF_Y):
            OF_LABELS[call](value)


@pytest.mark.parametrize("call", ["loss", "score", "gradients"])
@pytest.mark.parametrize(
    "labels",
    [
        WORDS[Y],
        WORDS[Y].astype(object),
        Y.astype("M8[s]"),
        Y.astype("m8[s]"),
        Y + 5,
        WORDS[Y].astype("S"),
    ],
    ids=["words", "objects", "dates", "durations", "other numbers", "bytes"],
)
def test_labels_of_another_type_than_those_known(call, labels):
    with pytest.raises(ValueError, match=r"y has (a label unknown|labels of another type)"):
        OF_LABELS[call](labels)


@pytest.mark.parametrize("call", OF_VALUES)
def test_unusable_values(call):
    more = {"words": WORDS[Y], "dates": Y.astype("M8[s]"), "durations": Y.astype("m8[s]")}
    for value in (unusable_targets() | more).values():
        with pytest.raises((ValueError, TypeError), match=OF_Y + "|numbers|numeric|convert|dates"):
            OF_VALUES[call](value)


@pytest.mark.parametrize("call", OF_WEIGHTS)
def test_unusable_weights(call):
    unusable = unusable_targets() | {"words": WORDS[Y], "dates": Y.astype("M8[s]")}
    del unusable["nothing"]  # all ones
    if call.startswith("MLP"):
        del unusable["a number"]  # the weight of all, as for scikit-learn
    for value in unusable.values():
        with pytest.raises(
            (ValueError, TypeError),
            match=r"(?i)weight|samples|array|numbers|convert|complex|float\(\)",
        ):
            OF_WEIGHTS[call](value)
