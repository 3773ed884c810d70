"""Targets that could be taken for something else: masked, unknown, one-hot, soft."""

import numpy as np
import pytest
from helpers import load_backend
from sklearn.metrics import log_loss

import fastnn

rng = np.random.default_rng(0)
X = rng.standard_normal((40, 2))
Y = (X[:, 0] > 0).astype(int)
WEIGHTS = np.ones(40)


def network(sizes=(2, 3, 2), **settings):
    return fastnn.Network(sizes, random_state=0, **settings)


def trained(y=Y, **settings):
    net = network(**settings)
    net.fit(X, y, epochs=3)
    return net


def masked(array):
    return np.ma.array(array, mask=np.arange(np.size(array)).reshape(np.shape(array)) % 7 == 0)


USES = {
    "fit": lambda net, X, y, w: net.fit(X, y, sample_weight=w, epochs=1),
    "validation": lambda net, X, y, w: net.fit(
        np.zeros((4, 2)), [0, 1, 0, 1], validation_data=(X, y), epochs=1
    ),
    "score": lambda net, X, y, w: net.score(X, y, w),
    "loss": lambda net, X, y, w: net.loss(X, y, w),
    "gradients": lambda net, X, y, w: net.gradients(X, y, w),
    "predict": lambda net, X, y, w: net.predict(X),
    "predict_proba": lambda net, X, y, w: net.predict_proba(X),
    "fit_many": lambda net, X, y, w: fastnn.fit_many(
        [fastnn.Fit(net, rows=np.arange(20))], X, y, sample_weight=w, epochs=1
    ),
    "to_c": lambda net, X, y, w: fastnn.export.to_c(net, vectors=X),
}
ESTIMATORS = {
    "fit": lambda model, X, y, w: model.fit(X, y, w),
    "partial_fit": lambda model, X, y, w: model.partial_fit(X, y, w),
    "validation": lambda model, X, y, w: model.fit(
        [[0, 0], [1, 1]], [0, 1], validation_data=(X, y, w)
    ),
    "score": lambda model, X, y, w: model.score(X, y, w),
    "predict": lambda model, X, y, w: model.predict(X),
    "predict_proba": lambda model, X, y, w: model.predict_proba(X),
}
TAKES = {"predict": "X", "predict_proba": "X", "to_c": "X", "validation": "Xy"}


@pytest.mark.parametrize("argument", ["X", "y", "sample_weight"])
@pytest.mark.parametrize("use", USES)
def test_masked_entries_raise(use, argument):
    if argument[0] not in TAKES.get(use, "Xys"):
        pytest.skip("it does not take that")
    given = {"X": X, "y": Y, "sample_weight": WEIGHTS}
    given[argument] = masked(given[argument])
    net = trained()
    before = net.params.copy()
    with pytest.raises(ValueError, match=r"[1-9]\d* masked entries; fill them"):
        USES[use](net, *given.values())
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("argument", ["X", "y", "sample_weight"])
@pytest.mark.parametrize("use", ESTIMATORS)
def test_masked_entries_raise_in_estimators(use, argument):
    if argument[0] not in {"predict": "X", "predict_proba": "X"}.get(use, "Xys"):
        pytest.skip("it does not take that")
    given = {"X": X, "y": Y, "sample_weight": WEIGHTS}
    given[argument] = masked(given[argument])
    model = fastnn.MLPClassifier(3, solver="sgd", max_iter=2, tol=1e9, n_iter_no_change=1)
    model.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"[1-9]\d* masked entries; fill them"):
        ESTIMATORS[use](model, *given.values())


def test_masked_entries_raise_in_bagging():
    for model in (fastnn.MLPBaggingClassifier(), fastnn.MLPBaggingRegressor()):
        with pytest.raises(ValueError, match="X has 12 masked entries"):
            model.fit(masked(X), Y)


def test_empty_mask_is_accepted():
    net, clean = trained(), np.ma.array(X, mask=False)
    np.testing.assert_array_equal(net.predict_proba(clean), net.predict_proba(X))


# --- labels ------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize(
    ("known", "y", "label"),
    [
        (Y, Y.astype(str), "'[01]'; it knows 0, 1"),
        (Y, Y + 1, "2; it knows 0, 1"),
        (np.where(Y, "yes", "no"), Y, "[01]; it knows 'no', 'yes'"),
        (np.where(Y, "yes", "no"), np.where(Y, "yes ", "no"), "'yes '; it knows 'no', 'yes'"),
    ],
)
def test_score_and_loss_raise_alike(loss, known, y, label):
    net = trained(known, sizes=(2, 3, 2 if loss == "cross_entropy" else 1), loss=loss)
    for method in (net.score, net.loss):
        with pytest.raises(ValueError, match=f"y has a label unknown to the network: {label}"):
            method(X, y)


@pytest.mark.parametrize("kind", [bool, float, np.uint8, object])
def test_labels_of_another_numeric_dtype(kind):
    net = trained()
    right = float((net.predict(X) == Y).mean())
    assert net.score(X, Y.astype(kind)) == right
    weights = rng.random(40)
    expected = np.average(net.predict(X) == Y, weights=weights)
    assert net.score(X, Y.astype(kind), weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("outputs", [1, 2])
def test_one_hot_error_advises_argmax(outputs):
    loss = "cross_entropy" if outputs == 2 else "binary_cross_entropy"
    net = trained(sizes=(2, 3, outputs), loss=loss)
    hot = np.eye(2)[Y]
    for method in (net.fit, net.score, net.loss):
        with pytest.raises(ValueError, match=r"got shape \(40, 2\). For one-hot .* y.argmax"):
            method(X, hot)
    with pytest.raises(ValueError, match=r"validation_data\[1\].argmax\(axis=1\)"):
        net.fit(X, Y, validation_data=(X, hot))
    assert net.score(X, hot.argmax(axis=1)) == net.score(X, Y)


# --- soft targets ----------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "numba", "cython"])
def test_soft_targets_of_one_sigmoid(backend):
    load_backend(backend)
    soft = np.where(Y, 0.9, 0.2)
    settings = {"loss": "binary_cross_entropy", "dtype": "float64", "backend": backend}
    net = network((2, 3, 1), **settings)
    p = net.predict_proba(X)
    # cross-entropy of a soft target is that of both labels, weighted
    both = np.repeat([0, 1], 40)
    expected = log_loss(both, np.vstack([p, p]), sample_weight=np.append(1 - soft, soft))
    assert net.loss(X, soft) == pytest.approx(expected, rel=1e-12)
    weighted = net.gradients(np.vstack([X, X]), both, np.append(1 - soft, soft))
    np.testing.assert_allclose(net.gradients(X, soft), weighted, rtol=1e-10, atol=1e-14)
    # as the second of two labels of a multilabel network would be
    column = net.loss(X, soft[:, None])
    assert column == net.loss(X, soft)
    net.fit(X, soft, epochs=200, optimizer=fastnn.Adam(0.05))
    assert net.classes_.tolist() == [0, 1]
    assert net.score(X, soft) == net.score(X, Y) > 0.9
    # the mean of the targets, where a network can do no more
    constant = network((2, 1), **settings)
    constant.fit(np.zeros((40, 2)), soft, epochs=500, optimizer=fastnn.Adam(0.1))
    assert constant.predict_proba([[0, 0]])[0, 1] == pytest.approx(soft.mean(), abs=1e-6)


def test_invalid_soft_targets_raise():
    net = network((2, 1), loss="binary_cross_entropy")
    for y in (Y * 1.5, Y - 0.5):
        with pytest.raises(ValueError, match=r"labels or in \[0, 1\]; got real numbers"):
            net.fit(X, y)
    net.fit(X, np.where(Y, "yes", "no"), epochs=1)
    with pytest.raises(ValueError, match=r"the network has the labels \['no', 'yes'\]"):
        net.fit(X, np.where(Y, 0.9, 0.2))
    with pytest.raises(ValueError, match="y must be class labels; got real numbers"):
        network().fit(X, np.where(Y, 0.9, 0.2))
