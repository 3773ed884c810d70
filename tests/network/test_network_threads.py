"""Predictions in several threads."""

import numpy as np
import pytest
from helpers import assert_bits
from network_cases import make

from fastnn.backends.tuning import tuned
from fastnn.network import prediction
from fastnn.training.pool import Workers


def test_predictions_from_several_threads(backend):
    # each thread has scratch memory of its own
    from concurrent.futures import ThreadPoolExecutor

    net = make([2, 30, 2], backend=backend)
    data = np.random.default_rng(0).standard_normal((8, 500, 2))
    expected = [net.predict_proba(part) for part in data]
    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(net.predict_proba, data), expected, strict=True):
            assert_bits(got, wanted)


@pytest.fixture
def easily_woken():
    """Threads take part in small predictions too."""
    with tuned(wake_thread_work=100):
        yield


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("sizes", "settings", "samples"),
    [([2, 8, 8, 3], {}, 3001), ([20, 70, 130, 2], {"activation": "relu"}, 1000)],
)
@pytest.mark.usefixtures("easily_woken")
def test_threaded_predictions_have_the_same_bits(
    backend, sizes, settings, samples, dtype, monkeypatch
):
    net = make(sizes, backend=backend, dtype=dtype, **settings)
    data = np.random.default_rng(0).standard_normal((samples, sizes[0]))
    shared = []
    run_pieces = prediction.run_pieces
    monkeypatch.setattr(
        prediction, "run_pieces", lambda *given: shared.append(given[1:]) or run_pieces(*given)
    )
    net.n_threads = 1
    expected = net.predict_proba(data)
    assert shared == []
    for n_threads in (2, 3, 16):
        net.n_threads = n_threads
        assert_bits(net.predict_proba(data), expected)
        assert_bits(net.predict(data), expected.argmax(axis=1))
    if backend == "numpy":  # its threads are those of BLAS
        assert shared == []
        return
    assert {threads for _, threads in shared} == {2, 3, 16}
    assert min(pieces for pieces, _ in shared) > 2
    # of a few samples each, the same but for rounding
    each = np.vstack([net.predict_proba(part) for part in np.array_split(data, 50)])
    np.testing.assert_allclose(each, expected, rtol=2e-4 if dtype == "float32" else 1e-12)
    data[samples - 1, 1] = np.inf  # in the last piece
    with pytest.raises(ValueError, match="X "):
        net.predict(data)


@pytest.mark.parametrize("limit", ["piece_work", "piece_samples"])
@pytest.mark.usefixtures("easily_woken")
def test_ctrl_c_stops_predictions_between_pieces(limit, monkeypatch):
    """Compiled code would hear of it when all samples are done."""
    net = make([20, 70, 130, 2], backend="auto", n_threads=1)
    data = np.random.default_rng(0).standard_normal((3000, 20))
    expected, done = net.predict_proba(data), []
    if net.backend == "numpy":
        pytest.skip("it is never long in one call")
    forward = net.model.forward

    def interrupted(x, *arguments):
        done.append(len(x))
        if len(done) == 3:
            raise KeyboardInterrupt
        return forward(x, *arguments)

    most = 3000 * net.n_params // 5 if limit == "piece_work" else 600
    with tuned(**{limit: most}):
        assert_bits(net.predict_proba(data), expected)
        monkeypatch.setattr(net.model, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            net.predict_proba(data)
    assert sum(done) < 2000


@pytest.mark.usefixtures("easily_woken")
def test_predictions_in_workers_use_one_thread(monkeypatch):
    net = make([2, 8, 2], backend="auto", n_threads=4)
    data = np.zeros((3000, 2))
    expected = net.predict_proba(data)
    monkeypatch.setattr(prediction, "run_pieces", None)  # to call it would fail
    with Workers(2) as many:
        assert_bits(many.submit(net.predict_proba, data).result(), expected)
