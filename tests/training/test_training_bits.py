"""Training through ``fit`` is reproducible: seeds, chunks, threads, continued calls."""

import numpy as np
import pytest
from helpers import assert_bits
from sklearn.datasets import make_moons
from training_cases import MOONS, moons_net

import fastnn
from fastnn.backends.tuning import tuned
from fastnn.training.team import ThreadTuner

WAYS = {
    "full batch": {},
    "in order": {"batch_size": 32, "shuffle": False},
    "shuffled": {"batch_size": 32},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_seed_gives_the_same_bits(backend, way, dtype):
    nets = [moons_net(backend, dtype=dtype) for _ in range(2)]
    losses = [net.fit(*MOONS, epochs=20, **WAYS[way]).loss for net in nets]
    assert_bits(nets[0].params, nets[1].params)
    assert_bits(losses[0], losses[1])
    other = moons_net(backend, dtype=dtype, random_state=4)
    assert (other.params != nets[0].params).any()


def test_one_seed_gives_one_result_in_all_backends(backend):
    # shuffling and dropout included; 1e-9 after a hundred steps, as for the kernels
    nets = [moons_net(name) for name in ("numpy", backend)]
    losses = [net.fit(*MOONS, epochs=20, batch_size=32).loss for net in nets]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-9)
    np.testing.assert_allclose(nets[1].params, nets[0].params, rtol=0, atol=1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_two_calls_equal_one(backend, way):
    optimizer = fastnn.Adam(0.01)
    once, twice = moons_net(backend), moons_net(backend)
    whole = once.fit(*MOONS, optimizer=optimizer, epochs=12, **WAYS[way])
    parts = [twice.fit(*MOONS, optimizer=optimizer, epochs=n, **WAYS[way]) for n in (5, 1, 6)]
    assert_bits(twice.params, once.params)
    # the mean over an epoch's batches may be summed in another order
    losses = np.concatenate([part.loss for part in parts])
    np.testing.assert_allclose(losses, whole.loss, rtol=1e-15)
    assert once.n_epochs_ == twice.n_epochs_ == 12


@pytest.mark.parametrize("seconds", [0.0, 10.0])
def test_bits_independent_of_chunk_length(backend, seconds):
    usual = moons_net(backend)
    usual.fit(*MOONS, epochs=30, batch_size=32)
    net = moons_net(backend)
    with tuned(chunk_seconds=seconds):
        net.fit(*MOONS, epochs=30, batch_size=32)
    assert_bits(net.params, usual.params)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_subnormal_bits_independent_of_chunk_length(backend, dtype):
    """Weights of inputs that are zero swing there through zero; also in two calls."""

    def network():
        net = fastnn.Network([4, 5, 2], backend=backend, dtype=dtype, l2=0.5, random_state=0)
        net.weights[0][:2] = np.finfo(dtype).tiny * np.geomspace(4, 1000, 10).reshape(2, 5)
        return net

    X, y = np.hstack([np.zeros((150, 2)), MOONS[0]]), MOONS[1]
    settings = {"batch_size": 50, "optimizer": fastnn.SGD(0.1, 0.9), "shuffle": False}
    nets = []
    for seconds in (0.0, 10.0):
        nets.append(network())
        with tuned(chunk_seconds=seconds):
            nets[-1].fit(X, y, epochs=50, **settings)
    stopped = network()
    for epochs in (17, 33):
        stopped.fit(X, y, epochs=epochs, **settings)
    for net in (stopped, nets[1]):
        assert_bits(net.params, nets[0].params)
        assert_bits(net.state.moments, nets[0].state.moments)
    assert (nets[0].weights[0][:2] != 0).any() or backend != "numpy"


@pytest.mark.parametrize("way", WAYS)
def test_bits_independent_of_threads(backend, way):
    X, y = make_moons(2500, noise=0.2, random_state=0)
    alone = moons_net(backend, n_threads=1)
    way = WAYS[way] | ({"batch_size": 1400} if "batch_size" in WAYS[way] else {})
    losses = alone.fit(X, y, epochs=5, **way).loss
    for n_threads in (2, 3):
        net = moons_net(backend, n_threads=n_threads)
        with tuned(work_per_thread=1):
            assert_bits(net.fit(X, y, epochs=5, **way).loss, losses)
        assert_bits(net.params, alone.params)


def test_another_optimizer_starts_with_new_moments(backend):
    net, other = moons_net(backend), moons_net(backend)
    net.fit(*MOONS, optimizer=fastnn.Adam(0.01), epochs=5)
    other.params[:] = net.params
    other.n_epochs_ = 5  # dropout goes on where it was
    net.fit(*MOONS, optimizer=fastnn.AdaGrad(), epochs=5)
    with pytest.warns(UserWarning, match="adagrad starts with new moments"):
        other.fit(*MOONS, optimizer=fastnn.AdaGrad(), epochs=5)
    assert_bits(net.params, other.params)


def test_dropout_differs_from_step_to_step(backend):
    net = moons_net(backend, dropout=0.5)
    net.params += 0.1  # no zeros: steps of 1e-300 vanish beside every parameter
    before = net.params.copy()
    losses = []
    for _ in range(5):
        losses.append(net.fit(*MOONS, optimizer=fastnn.SGD(1e-300), epochs=1).loss[0])
    assert_bits(net.params, before)  # nothing else could change the loss
    assert len(set(losses)) == 5
    assert net.loss(*MOONS) == net.loss(*MOONS)  # predictions drop nothing


def test_bits_independent_of_threads_per_chunk(backend, monkeypatch):
    X = np.random.default_rng(0).standard_normal((700, 5))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    nets = [
        fastnn.Network([5, 30, 2], random_state=0, backend=backend, n_threads=n) for n in (1, 2)
    ]
    with tuned(work_per_thread=1):
        nets[0].fit(X, y, epochs=12)
    asked = []

    def in_turn(team):
        asked.append(1 + len(asked) % team.max_threads)
        return asked[-1]

    monkeypatch.setattr(ThreadTuner, "choose", in_turn)
    with tuned(work_per_thread=1, chunk_seconds=0.0):  # one step per chunk
        nets[1].fit(X, y, epochs=12)
    assert_bits(nets[0].params, nets[1].params)
    assert set(asked) == ({1} if backend == "numpy" else {1, 2})


def chunks(team, seconds_per_step, lengths):
    """Threads chosen for chunks of these lengths, if steps take that long by number of threads."""
    used = []
    for steps in lengths:
        used.append(team.choose())
        team.report(used[-1], steps * seconds_per_step[used[-1]], steps)
    return used


def test_faster_thread_count_is_kept():
    team = ThreadTuner(4)
    used = chunks(team, {1: 1.0, 4: 2.0}, [1] * 60)  # another program has taken the cores
    assert used[:13] == [4] * 9 + [1, 1, 1, 4]
    assert used.count(4) == 9 + 4  # the probes become rarer
    used = chunks(team, {1: 1.0, 4: 0.3}, [1] * 60)
    assert used[-20:].count(4) >= 19
    assert chunks(ThreadTuner(1), {1: 1.0}, [1, 1]) == [1, 1]


def test_short_training_on_a_busy_core_uses_one_thread():
    lengths = [1, 8, 64, *[200] * 20]
    used = chunks(ThreadTuner(2), {1: 1e-4, 2: 7e-4}, lengths)
    assert used[:4] == [2, 1, 2, 1]
    assert used.count(2) <= 2 + 3  # the first, the one found slow, and ever rarer probes
    used = chunks(ThreadTuner(2), {1: 1e-4, 2: 7e-5}, lengths)
    assert used[:4] == [2, 1, 2, 2]
    assert used.count(1) <= 1 + 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_training_wakes_no_threads_of_blas(monkeypatch):
    """They busy-wait, and once made steps in float64 with two threads eight times as slow."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(600, 40)), rng.normal(size=(600, 2))
    sizes, vdot = [], np.vdot
    monkeypatch.setattr(np, "vdot", lambda a, b: sizes.append(a.size) or vdot(a, b))
    net = fastnn.Network([40, 300, 2], loss="squared_error", dtype="float64", l2=0.01)
    net.fit(X, Y, epochs=2, batch_size=200)
    fastnn.MLPRegressor(hidden_layer_sizes=300, max_iter=2, tol=0, alpha=0.1).fit(X, Y)
    assert sizes
    assert max(sizes) <= 10_000  # OpenBLAS computes shorter products in the calling thread


def test_chunks_too_short_to_be_timed_count_together():
    used = chunks(ThreadTuner(2), {1: 1e-4, 2: 1.2e-4}, [1, *[10] * 30])  # 1.2 ms each
    assert used[:7] == [2, 1, 2, 2, 2, 2, 2]
    assert used[7] == 1  # after 5 ms


@pytest.mark.parametrize(
    ("sizes", "batch_size", "block"),
    [
        # many inputs; weights that Cython's loops take, and BLAS for Numba
        ((300, 90, 3), 1100, None),
        ((40, 280, 250, 3), 1100, 128),  # wide layers, samples split
        ((40, 280, 250, 3), 100, 64),
        ((40, 620, 400, 3), 700, 512),  # units split, two blocks per batch
        ((40, 620, 400, 3), 300, 320),
        ((40, 200, 150, 3), 96, 128),  # units split: a batch is hardly more than a block
        ((40, 300, 300, 3), 7, 128),
        ((40, 200, 150, 3), 97, 64),
    ],
)
def test_wide_networks_use_larger_blocks(backend, sizes, batch_size, block):
    if backend == "numpy":
        pytest.skip("the reference has one block")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1100, sizes[0]), dtype=np.float32)
    y = rng.integers(0, 3, 1100)

    def trained(name, n_threads):
        net = fastnn.Network(
            list(sizes), backend=name, n_threads=n_threads, dtype="float32", random_state=0
        )
        net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=fastnn.SGD(0.05))
        return net

    nets = [trained(backend, n) for n in (1, 2, 3)]
    if block is not None:
        assert nets[0].model.batch_plan(batch_size).block_size == block
    for net in nets[1:]:
        assert_bits(net.params, nets[0].params)
    # as PyTorch compares float32: sums in another order, a few steps
    np.testing.assert_allclose(nets[0].params, trained("numpy", 1).params, rtol=1.3e-6, atol=1e-5)
