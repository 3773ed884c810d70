"""Predictions for sparse samples are those for the same samples made dense."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn.backends.tuning import tuned

# Sums of at most 12 stored numbers in another order: some units in the last place of numbers
# around 1.
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


def samples(density, format="csr", dtype=np.float64):
    return sp.random(
        70, 120, density=density, format=format, dtype=dtype, random_state=np.random.default_rng(0)
    )


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.mark.parametrize("hidden", [[], [7], [6, 5]])
@pytest.mark.parametrize("density", [0.05, 0.5], ids=["few stored", "many stored"])
def test_sparse_predictions_equal_dense(backend, dtype, hidden, density):
    X = samples(density)
    net = fastnn.Network(
        [120, *hidden, 3], activation="silu", backend=backend, dtype=dtype, random_state=0
    )
    y = np.arange(70) % 3
    net.fit(X.toarray(), y, epochs=2)
    dense = net.predict_proba(X.toarray())
    np.testing.assert_allclose(net.predict_proba(X), dense, rtol=0, atol=TOLERANCE[dtype])
    assert net.predict_proba(X).dtype == dtype
    assert net.score(X, y) == net.score(X.toarray(), y)
    assert net.loss(X, y) == pytest.approx(net.loss(X.toarray(), y), rel=10 * TOLERANCE[dtype])
    with tuned(dense_bytes=1000):  # some rows at a time
        np.testing.assert_allclose(net.predict_proba(X), dense, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("format", ["csr", "csc", "coo", "lil", "dok"])
@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array])
def test_any_sparse_format_and_dtype(format, kind):
    X = kind(samples(0.05)).asformat(format)
    net = fastnn.Network([120, 4, 2], loss="squared_error", dtype="float64", random_state=0)
    np.testing.assert_allclose(net.predict(X), net.predict(X.toarray()), rtol=0, atol=1e-14)
    numbers = sp.csr_array((X.toarray() > 0.5).astype(np.int8))
    np.testing.assert_allclose(
        net.predict(numbers), net.predict(numbers.toarray()), rtol=0, atol=1e-14
    )


def test_sparse_predictions_with_standardize():
    X, y = samples(0.05), np.linspace(3.0, 4.0, 70)
    net = fastnn.Network([120, 4, 1], loss="squared_error", standardize=True, random_state=0)
    net.fit(X.toarray(), y, epochs=3)
    assert (net.predict(X) == net.predict(X.toarray())).all()  # made dense, in the same blocks


def test_low_density_uses_sparse_product(monkeypatch):
    X = samples(0.05).tocsr()
    net = fastnn.Network([120, 4, 2], random_state=0)
    classifier = fastnn.MLPClassifier((4,), max_iter=1, batch_size=10, random_state=0)
    with pytest.warns(ConvergenceWarning):
        classifier.fit(X.toarray(), np.arange(70) % 2)

    def toarray(*arguments, **settings):
        raise AssertionError("made dense")

    monkeypatch.setattr(sp.csr_array, "toarray", toarray)
    monkeypatch.setattr(sp.csr_matrix, "toarray", toarray)
    assert net.predict(X).shape == classifier.predict(X).shape == (70,)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (sp.csr_array((3, 119)), "X has 119 features; the network expects 120"),
        (sp.csr_array((0, 120)), "at least one sample"),
        (sp.csr_array(([np.nan], ([1], [2])), shape=(3, 120)), "X contains NaN"),
        (
            sp.csr_array(([1e300], ([1], [2])), shape=(3, 120)),
            "X contains infinity or values beyond float32",
        ),
        (sp.csr_array(([1j], ([1], [2])), shape=(3, 120)), "real numbers; got dtype complex128"),
    ],
)
def test_invalid_samples_raise(X, message):
    with pytest.raises(ValueError, match=message):
        fastnn.Network([120, 4, 2], random_state=0).predict(X)


def test_training_with_sparse_raises_with_advice():
    net = fastnn.Network([120, 4, 2], random_state=0)
    with pytest.raises(ValueError, match=r"X is a sparse matrix.*X\.toarray\(\).*MLPClassifier"):
        net.fit(samples(0.05), np.arange(70) % 2)
