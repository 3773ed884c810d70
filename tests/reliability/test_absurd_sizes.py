"""What needs more memory than there is: refused with the number of bytes, and nothing allocated."""

import numpy as np
import pytest
from attacks import memory_within

import fastnn
from fastnn import memory

MIB = 2**20
fastnn.MLPClassifier  # noqa: B018 (imports scikit-learn, which takes memory too)
X = np.arange(60.0).reshape(20, 3) % 7
Y = np.arange(20) % 2


@pytest.fixture(autouse=True)
def _half_a_gibibyte(monkeypatch):
    """A machine with so much free memory, whatever this one has."""
    monkeypatch.setattr(memory, "available", lambda: 2**29)


def net(*sizes, **arguments):
    return fastnn.Network(sizes or [3, 4, 2], backend="numpy", random_state=0, **arguments)


def broadcast(rows, columns):
    return np.broadcast_to(np.float32(1), (rows, columns))


NEEDS = {
    "a layer of 10^9": (lambda: net(3, 10**9, 2), "layer_sizes=.* needs 24,000,000,008 bytes"),
    "layers of 10^9": (lambda: net(10**9, 10**9, 2), "layer_sizes=.* needs 4,000,000,012,000"),
    "a layer of 2^63": (lambda: net(3, 2**63, 2), "layer_sizes=.* needs 221,360,928"),
    "a layer of 10^30": (lambda: net(3, 10**30, 2), "layer_sizes="),
    "an estimator's layer": (
        lambda: fastnn.MLPClassifier((10**9,), backend="numpy").fit(X, Y),
        r"hidden_layer_sizes=\(1000000000,\) needs 40,000,000,008 bytes",
    ),
    "moments": (
        lambda: net(3, 5 * 10**6, 2, dtype="float64").fit(X, Y, epochs=1),
        "a training of 30,000,002 parameters with adam needs",
    ),
    "epochs": (
        lambda: net().fit(X, Y, epochs=10**12),
        r"epochs=1,000,000,000,000, .* needs 8,000,000,000,000 bytes",
    ),
    "steps": (
        lambda: net().fit(X, Y, epochs=10**8, batch_size=1),
        r"epochs=100,000,000, 2,000,000,000 steps, .* needs 16,000,000,000 bytes",
    ),
    "a batch of NumPy's": (
        lambda: net(3, 10**6, 2).fit(np.ones((1000, 3)), np.arange(1000) % 2, epochs=1),
        "batch_size=1,000 of 1,000,002 units with backend='numpy' needs",
    ),
    "members": (
        lambda: fastnn.TabularClassifier(n_members=10**12, backend="numpy").fit(X, Y),
        "n_members=1,000,000,000,000, a network each, needs 524,288,000,000,000,000 bytes",
    ),
    "epochs for a table": (
        lambda: fastnn.TabularClassifier(n_epochs=10**30, backend="numpy").fit(X, Y),
        "n_epochs=1,000,000,000,000,000,000,000,000,000,000, .* needs 8,000,000,",
    ),
    "estimators": (
        lambda: fastnn.MLPBaggingClassifier(n_estimators=10**30).fit(X, Y),
        "n_estimators=1,0.*00, an estimator each, needs 4,096,0.*00 bytes",
    ),
    "samples": (
        lambda: net().fit(broadcast(10**10, 3), np.broadcast_to(1, 10**10)),
        "a copy of X as float32 needs 120,000,000,000 bytes",
    ),
    "samples to predict": (
        lambda: net().predict(broadcast(10**10, 3)),
        "a copy of X as float32 needs 120,000,000,000 bytes",
    ),
    "predictions": (
        lambda: net(1, 10**6).predict_proba(np.zeros((1000, 1), np.float32)),
        "X with 1,000 rows, of 1,000,000 outputs each, needs 4,000,000,000 bytes",
    ),
}


@pytest.mark.parametrize("case", NEEDS)
def test_needs_more_than_there_is(case):
    call, message = NEEDS[case]
    # a network that does fit has up to 240 MB of parameters
    with memory_within(400 * MIB), pytest.raises(ValueError, match=message):
        call()


def test_a_training_that_ends_by_itself_may_be_of_any_length():
    """Nothing is allocated by epochs; a callback or early stopping ends them."""
    history = net().fit(X, Y, epochs=10**30, callbacks=[lambda progress: True])
    assert history.stopped == "callback"
    history = net().fit(
        X, Y, epochs=10**12, validation_fraction=0.2, early_stopping=fastnn.EarlyStopping(2)
    )
    assert history.stopped == "early stopping"


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_iterations_of_an_estimator_may_be_any_number(solver):
    model = fastnn.MLPClassifier((4,), solver=solver, max_iter=10**30, tol=1.0, backend="numpy")
    with memory_within(MIB):
        assert model.fit(X, Y).n_iter_ < 20


@pytest.mark.parametrize("batch_size", [10**12, 10**30])
def test_batches_are_not_larger_than_the_data(batch_size):
    nets = [net(), net()]
    nets[0].fit(X, Y, epochs=2, batch_size=batch_size)
    nets[1].fit(X, Y, epochs=2)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


def test_threads_are_as_many_as_there_is_work_for(backend):
    few = fastnn.Network([3, 4, 2], backend=backend, random_state=0, n_threads=10**9)
    few.fit(X, Y, epochs=2)
    assert few.predict(X).shape == (20,)


# --- how much is free -----------------------------------------------------------------


def test_what_is_free(tmp_path, monkeypatch):
    monkeypatch.undo()
    assert 2**20 < memory.available() <= memory._MOST
    machine, container = tmp_path / "meminfo", f"{tmp_path}/memory."
    machine.write_text("MemTotal: 9 kB\nMemAvailable:  3000 kB\nSwapFree:  1000 kB\n")
    monkeypatch.setattr(memory, "_FREE", str(machine))
    monkeypatch.setattr(memory, "_CONTAINER", container)
    assert memory.available() == 4000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory.available() == 4000 * 1024
    (tmp_path / "memory.max").write_text("51000\n")
    assert memory.available() == 50_000
    (tmp_path / "memory.max").write_text("500\n")
    assert memory.available() == 0
    memory.check_memory("little", 2**20)  # is not looked at
    with pytest.raises(ValueError, match="much needs 1,073,741,824 bytes of memory; 0 are free"):
        memory.check_memory("much", 2**30)


def test_where_nobody_says(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(memory, "_FREE", str(tmp_path / "none"))
    monkeypatch.setattr(memory, "_CONTAINER", str(tmp_path / "none"))
    assert memory.available() > 2**20
