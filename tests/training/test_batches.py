"""How samples become batches."""

import numpy as np
import pytest
import scipy.sparse
from helpers import assert_bits

import fastnn
from fastnn.training.batches import Batches, CsrRows

RNG = np.random.default_rng(0)
X = np.where(RNG.random((90, 12)) < 0.3, RNG.normal(size=(90, 12)), 0).astype(np.float32)
TARGETS = RNG.normal(size=(90, 2)).astype(np.float32)
WEIGHTS = RNG.uniform(0.5, 2.0, 90).astype(np.float32)


def csr(x):
    rows = scipy.sparse.csr_array(x)
    return CsrRows(rows.data[None], rows.indices.astype(np.int32), rows.indptr.astype(np.int64))


def trained(backend, fill, sparse=False, steps=12):
    """Parameters and losses after some steps with batches of 16 samples."""
    net = fastnn.Network(
        [12, 9, 2], activation="relu", loss="squared_error", backend=backend, random_state=0
    )
    batches = Batches(net.model, 16, sparse, 1)
    fill(batches)
    net.state.begin(fastnn.Adam(0.01), net.params)
    losses = np.empty(steps)
    assert batches.train(net.state, np.full(steps, 0.01), 0, losses) == steps
    return net.params, losses


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weights", [np.empty(0, np.float32), WEIGHTS], ids=["plain", "weighted"])
def test_given_order_selects_the_rows(backend, sparse, weights):
    """Rows gathered in an order that is given: the same bits as the same rows copied."""
    order = RNG.permutation(90)[:70]  # not all of them, and no whole number of batches
    x, chosen = (csr(X), csr(X[order])) if sparse else (X, X[order])
    some = weights[order] if len(weights) else weights
    params, losses = trained(
        backend, lambda batches: batches.fill(x, TARGETS, weights, order=order), sparse
    )
    expected, copied = trained(
        backend, lambda batches: batches.fill(chosen, TARGETS[order], some), sparse
    )
    assert_bits(losses, copied)
    assert_bits(params, expected)


def test_order_changes_take_effect_between_calls(backend):
    order = np.arange(90)
    net = fastnn.Network([12, 2], loss="squared_error", backend=backend, random_state=0)
    batches = Batches(net.model, 90, n_threads=1)
    batches.fill(X, TARGETS, np.empty(0, np.float32), order=order[:1])
    net.state.begin(fastnn.SGD(1e-30), net.params)
    losses = np.empty(1)
    for row in (3, 50):
        order[0] = row
        batches.train(net.state, np.array([1e-30]), 0, losses)
        assert losses[0] == pytest.approx(net.loss(X[row : row + 1], TARGETS[row : row + 1]))


@pytest.mark.parametrize("row", [-1, 90])
def test_cython_checks_row_numbers(row):
    order = np.arange(90)
    order[17] = row  # of the second batch
    with pytest.raises(ValueError, match="order has rows beyond the 90 of the data"):
        trained("cython", lambda b: b.fill(X, TARGETS, np.empty(0, np.float32), order=order))
    trained("cython", lambda b: b.fill(X, TARGETS, np.empty(0, np.float32), order=order), steps=1)
