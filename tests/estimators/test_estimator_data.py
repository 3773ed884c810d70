"""Data of estimators: sparse matrices, labels of any dtype, frames, numbers of threads."""

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification

import fastnn
from fastnn.backends.tuning import tuned

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("features", [12, 80])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_sparse_equals_dense(features, solver, shuffle, backend):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, features)) * (rng.uniform(size=(90, features)) < 0.2)
    y = rng.integers(3, size=90)
    settings = {"solver": solver, "shuffle": shuffle, "batch_size": 16, "random_state": 0}
    settings |= {"max_iter": 8, "hidden_layer_sizes": 20, "alpha": 0.01}
    theirs = sklearn.neural_network.MLPClassifier(**settings).fit(X, y)
    for container in (np.asarray, scipy.sparse.csr_array, scipy.sparse.csc_matrix):
        with tuned(lbfgs_dense_bytes=5000):  # several parts
            ours = fastnn.MLPClassifier(backend=backend, **settings).fit(container(X), y)
        np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(
            ours.predict_proba(container(X)), theirs.predict_proba(X), rtol=0, atol=1e-9
        )


def test_duplicate_sparse_entries_are_summed(backend):
    """CSR may hold an entry twice, and the columns of a row in any order."""
    X = scipy.sparse.random(90, 30, 0.2, "csr", random_state=0)
    halves = [np.r_[row.indices[::-1], row.indices] for row in map(X.getrow, range(90))]
    values = [np.r_[row.data[::-1], row.data] / 2 for row in map(X.getrow, range(90))]
    ends = np.cumsum([0, *map(len, halves)])
    parts = scipy.sparse.csr_matrix((np.concatenate(values), np.concatenate(halves), ends), X.shape)
    y = np.arange(90) % 2
    make = fastnn.MLPClassifier(8, max_iter=3, tol=0, random_state=0, backend=backend)
    fits = [clone(make).fit(data, y).coefs_[0] for data in (parts, X.toarray())]
    np.testing.assert_allclose(*fits, rtol=0, atol=1e-12)
    assert parts.nnz == 2 * X.nnz  # the user's own has not changed


def test_sparse_predictions_in_parts():
    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(5, max_iter=5, random_state=0).fit(X, y)
    with tuned(dense_bytes=7 * 4 * 8):
        parts = model.predict_proba(scipy.sparse.coo_array(X))
    np.testing.assert_allclose(parts, model.predict_proba(X), atol=1e-14)


def test_results_independent_of_threads(backend, monkeypatch):
    X, y = make_classification(4000, 40, n_informative=10, random_state=0)
    models = []
    for threads in (1, 2):
        monkeypatch.setattr("fastnn.estimators.base.n_threads", lambda threads=threads: threads)
        models.append(
            fastnn.MLPClassifier(
                (32, 32), batch_size=2000, max_iter=3, random_state=0, backend=backend
            ).fit(X, y)
        )
    # NumPy's threads are those of BLAS, which may cut sums differently: some ulps in six steps
    tolerance = {"rtol": 1e-12 if backend == "numpy" else 0, "atol": 0}
    np.testing.assert_allclose(models[0].loss_curve_, models[1].loss_curve_, **tolerance)
    np.testing.assert_allclose(models[0].coefs_[0], models[1].coefs_[0], **tolerance)


def test_labels_of_any_dtype():
    X, y = load_iris(return_X_y=True)
    for names in (["a", "b", "c"], [3, 5, 9], [0.5, 1.5, 2.5]):
        labels = np.array(names)[y] if names[0] != 0.5 else np.array(["x", "y", "z"], object)[y]
        model = fastnn.MLPClassifier(8, solver="lbfgs", random_state=0).fit(X, labels)
        assert model.score(X, labels) > 0.95
        assert set(model.predict(X)) == set(labels)


def test_feature_names_of_frames():
    pandas = pytest.importorskip("pandas")
    X, y = load_iris(return_X_y=True)
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = fastnn.MLPClassifier(
        5, early_stopping=True, scoring="balanced_accuracy", max_iter=5, random_state=0
    )
    model.fit(frame, pandas.Series(y), validation_data=(frame, y))
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(model.predict(frame), model.predict(frame.iloc[:, :]))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])


def test_polars_frames():
    polars = pytest.importorskip("polars")
    X, y = load_iris(return_X_y=True)
    frame = polars.DataFrame(X, schema=["a", "b", "c", "d"])
    model = fastnn.MLPClassifier(5, max_iter=5).fit(frame, y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert len(model.predict(frame)) == 150
